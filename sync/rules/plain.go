package rules

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"edgesync/sync/rules/script"
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

//go:noinline
func addTree(list []*tree, t *tree) []*tree { return append(list, t) }

//go:noinline
func addNode(list []*node, n *node) []*node { return append(list, n) }

//go:noinline
func addMessage(list []*Message, m *Message) []*Message { return append(list, m) }

//go:noinline
func addString(list []string, s string) []string { return append(list, s) }

//go:noinline
func addPair(list []script.Pair, key, value string) []script.Pair {
	return append(list, script.Pair{Key: key, Value: value})
}

// fault is an errorText as an error.
//
//go:noinline
func fault(text string) error { return errorText(text) }

// faultOn is the same of a text with a word in the place of its %.
//
//go:noinline
func faultOn(text, word string) error { return errorText(filled(text, word)) }

//go:noinline
func faultAt(text string, n int) error { return faultOn(text, decimal(int64(n))) }

//go:noinline
func filled(text, word string) string { return strings.Replace(text, "%", word, 1) }

// is compares a text with a short word, which is 16 bytes of code for each letter elsewhere.
//
//go:noinline
func is(text, word string) bool { return text == word }
