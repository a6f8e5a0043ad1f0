package rules

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// The functions here are called in many places and kept from being copied there: on a router code
// is what costs.

//go:noinline
func lock(m *sync.Mutex) { m.Lock() }

//go:noinline
func unlock(m *sync.Mutex) { m.Unlock() }

//go:noinline
func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// errorText is an error that is only its text.
type errorText string

func (e errorText) Error() string { return string(e) }

//go:noinline
func count(n *atomic.Uint64) { n.Add(1) }

// table is pairs of a key and a value: as data, where a map would be code.
type table []string

//go:noinline
func (t table) find(key string) (value string) {
	for i := 0; i+1 < len(t); i += 2 {
		if t[i] == key {
			return t[i+1]
		}
	}
	return ""
}

//go:noinline
func addByte(b []byte, c byte) []byte { return append(b, c) }

//go:noinline
func addText(b []byte, s string) []byte { return append(b, s...) }
