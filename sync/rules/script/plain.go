package script

import (
	"math"
	"slices"
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
func hasText(s, part string) bool { return strings.Contains(s, part) }

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

//go:noinline
func addText(b []byte, s string) []byte { return append(b, s...) }

// is compares a text with a short word, which is 16 bytes of code for each letter elsewhere.
//
//go:noinline
func is(text, word string) bool { return text == word }

//go:noinline
func addBytes(b, more []byte) []byte { return append(b, more...) }

//go:noinline
func addHex(b []byte, c byte) []byte { return append(b, hexDigits[c>>4], hexDigits[c&15]) }

//go:noinline
func addNode(list []*node, n *node) []*node { return append(list, n) }

//go:noinline
func addValue(list []*Value, v *Value) []*Value { return append(list, v) }

//go:noinline
func addByte(b []byte, c byte) []byte { return append(b, c) }

//go:noinline
func replaceAll(s, old, with string) string { return strings.ReplaceAll(s, old, with) }

//go:noinline
func quote(s string) string { return strconv.Quote(s) }

//go:noinline
func formatInt(n int64, base int) string { return strconv.FormatInt(n, base) }

//go:noinline
func formatUint(n uint64, base int) string { return strconv.FormatUint(n, base) }

//go:noinline
func formatFloat(f float64, form byte, digits, bits int) string {
	return strconv.FormatFloat(f, form, digits, bits)
}

//go:noinline
func infinite(f float64) bool { return math.IsInf(f, 0) }

//go:noinline
func clone(vs []*Value) []*Value { return slices.Clone(vs) }

// oneOf reports whether a word is one of those that stand in a text, with blanks between them.
//
//go:noinline
func oneOf(words, word string) bool {
	i := strings.Index(words, word)
	for i >= 0 && word != "" {
		end := i + len(word)
		if (i == 0 || words[i-1] == ' ') && (end == len(words) || words[end] == ' ') {
			return true
		}
		next := strings.Index(words[end:], word)
		if next < 0 {
			break
		}
		i = end + next
	}
	return false
}
