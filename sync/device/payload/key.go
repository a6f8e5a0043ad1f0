package payload

import (
	"bytes"
	"hash/maphash"
	"unicode/utf8"

	"edgesync/proto"
)

// maxKey is the most UTF-16 units that the server takes in a key (API.md 1.4).
const maxKey = 255

// BadKey returns why the server would acknowledge a message with this key and lose the key and all
// keys beside it (API.md 1.4), as the end of a sentence; "" if the server would keep them. The
// server holds the names of devices to the same rules (API.md 4.3).
func BadKey(key []byte) string {
	if len(key) == 0 {
		return "is empty"
	}
	units, prev := 0, rune(0)
	for i := 0; i < len(key); {
		r, n := rune(key[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(key[i:])
		}
		i += n
		if units++; r > 0xFFFF {
			units++
		}
		if r == 0 {
			return "contains a NUL character"
		}
		// HTML markup can begin here. This is stricter than the server, which lets some broken tags
		// pass.
		if prev == '<' && (r == '/' || r == '!' || r == '?' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return "contains markup"
		}
		prev = r
	}
	if units > maxKey {
		return "is longer than 255 characters"
	}
	return ""
}

// keyIndex finds equal keys of one object. Up to fewKeys keys are compared one by one. More of them
// go through a hash table, whose random seed keeps anybody from choosing keys that collide.
type keyIndex struct {
	seed maphash.Seed
	// table holds by cell an index into the keys, plus 1; 0 is a free cell. Its length is a power
	// of two, at least twice the keys.
	table []int32
	used  bool // the table is that of this object
}

const fewKeys = 16

func (x *keyIndex) reset() { x.used = false }

// find returns the index of key among kvs. If the key is new it returns len(kvs), and the caller
// appends the key there.
func (x *keyIndex) find(key []byte, kvs []proto.KV) int {
	if len(kvs) < fewKeys {
		for i := range kvs {
			if bytes.Equal(kvs[i].Key, key) {
				return i
			}
		}
		return len(kvs)
	}
	if !x.used || 2*(len(kvs)+1) > len(x.table) {
		x.build(kvs)
	}
	cell := x.probe(key, kvs)
	if i := x.table[cell]; i > 0 {
		return int(i - 1)
	}
	x.table[cell] = int32(len(kvs) + 1)
	return len(kvs)
}

// build makes a table of all kvs that has cells for as many keys again.
func (x *keyIndex) build(kvs []proto.KV) {
	if x.table == nil {
		x.seed = maphash.MakeSeed()
	}
	size := 8 * fewKeys
	for size < 4*len(kvs) {
		size *= 2
	}
	if cap(x.table) < size {
		x.table = make([]int32, size)
	}
	x.table = x.table[:size]
	clear(x.table)
	x.used = true
	for i := range kvs {
		x.table[x.probe(kvs[i].Key, kvs)] = int32(i + 1)
	}
}

// probe returns the cell that holds key, or the free cell where key belongs.
func (x *keyIndex) probe(key []byte, kvs []proto.KV) uint64 {
	mask := uint64(len(x.table) - 1)
	for h := maphash.Bytes(x.seed, key) & mask; ; h = (h + 1) & mask {
		i := x.table[h]
		if i == 0 || bytes.Equal(kvs[i-1].Key, key) {
			return h
		}
	}
}
