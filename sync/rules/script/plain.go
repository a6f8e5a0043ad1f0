package script

import (
	"strconv"
	"strings"
)

// The functions of the library that the compiler would copy to every place that calls them. On a
// router the copies were a tenth of this package.

//go:noinline
func hasPrefix(s, prefix string) bool { return strings.HasPrefix(s, prefix) }

//go:noinline
func trimPrefix(s, prefix string) string { return strings.TrimPrefix(s, prefix) }

//go:noinline
func indexText(s, part string) int { return strings.Index(s, part) }

//go:noinline
func hasText(s, part string) bool { return strings.Index(s, part) >= 0 }

//go:noinline
func hasByte(s string, c byte) bool { return strings.IndexByte(s, c) >= 0 }

//go:noinline
func decimal(n int) string { return strconv.Itoa(n) }

//go:noinline
func putByte(b *strings.Builder, c byte) { b.WriteByte(c) }

//go:noinline
func putText(b *strings.Builder, s string) { b.WriteString(s) }

//go:noinline
func putRune(b *strings.Builder, c rune) { b.WriteRune(c) }
