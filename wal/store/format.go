package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"
)

const (
	magic       = "edgstor1"
	headerSize  = 2 * headerCopy // both copies
	headerCopy  = 8 + 8 + 4
	frameHeader = 8 + 4 + 4 + 4
	opPut       = 1
	opDelete    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errBadOps = errors.New("store: batch does not decode")

// Batch collects changes that a Store applies together. The zero value is empty and ready; one
// goroutine uses it.
type Batch struct {
	buf      []byte // room for the frame's header, then the ops
	ops      int
	tooLarge bool
}

// Put sets key to value. Both are copied.
func (b *Batch) Put(key string, value []byte) {
	_ = b.put(key, len(value), func(dst []byte) ([]byte, error) { return append(dst, value...), nil })
}

// put is Put with a value of n bytes that read appends to dst, so that a large one is in memory
// once. After an error of read the batch is as it was.
func (b *Batch) put(key string, n int, read func(dst []byte) ([]byte, error)) error {
	was := *b
	if uint64(n) <= MaxBatch { // at once: the checksum behind a large value must not have it copied
		b.buf = slices.Grow(b.buf, frameHeader+1+2*binary.MaxVarintLen64+len(key)+n+crc32.Size)
	}
	if !b.begin(key, opPut) || uint64(n) > MaxBatch {
		b.tooLarge = true
		return nil
	}
	b.buf = binary.AppendUvarint(b.buf, uint64(n))
	at := len(b.buf)
	b.buf = append(b.buf, key...)
	buf, err := read(b.buf)
	if err != nil {
		*b = was
		return err
	}
	b.buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf[at:], castagnoli))
	return nil
}

// Delete removes key.
func (b *Batch) Delete(key string) {
	if !b.begin(key, opDelete) {
		b.tooLarge = true
		return
	}
	b.buf = append(b.buf, key...)
}

func (b *Batch) begin(key string, op byte) bool {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, frameHeader)...)
	}
	if len(key) > MaxKey || len(b.buf) > MaxBatch {
		return false
	}
	b.ops++
	b.buf = append(b.buf, op)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(key)))
	return true
}

// Len is the number of changes, those refused for their size included.
func (b *Batch) Len() int {
	if b.tooLarge {
		return b.ops + 1
	}
	return b.ops
}

// Size is the length in bytes of the batch in the file.
func (b *Batch) Size() int { return len(b.buf) }

// Reset empties the batch and keeps its memory, unless that is large.
func (b *Batch) Reset() {
	if cap(b.buf) > 64<<10 {
		b.buf = nil
	}
	b.buf, b.ops, b.tooLarge = b.buf[:0], 0, false
}

// frame fills in the header for the position at which the batch will lie.
func (b *Batch) frame(marker [8]byte, position int64) []byte {
	n := len(b.buf) - frameHeader
	copy(b.buf, marker[:])
	binary.LittleEndian.PutUint32(b.buf[8:], uint32(n))
	binary.LittleEndian.PutUint32(b.buf[12:], sumAt(position, b.buf[8:12]))
	binary.LittleEndian.PutUint32(b.buf[16:], sumAt(position, b.buf[frameHeader:]))
	return b.buf
}

// sumAt is the checksum of p at a position: a frame is good at one position only.
func sumAt(position int64, p []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(position))
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, p)
}

// frameLen reads a frame's header found at a position: the length of its ops, and whether it is a
// header at all.
func frameLen(h []byte, marker [8]byte, position int64) (n int, ok bool) {
	if len(h) < frameHeader || [8]byte(h[:8]) != marker {
		return 0, false
	}
	if binary.LittleEndian.Uint32(h[12:]) != sumAt(position, h[8:12]) {
		return 0, false
	}
	l := binary.LittleEndian.Uint32(h[8:])
	if l == 0 || l > MaxBatch-frameHeader {
		return 0, false
	}
	return int(l), true
}

// frameGood reports whether ops are what the header h promises, and can be decoded.
func frameGood(h, ops []byte, position int64) bool {
	return binary.LittleEndian.Uint32(h[16:]) == sumAt(position, ops) && decodeOps(ops, func(change) {}) == nil
}

// change is one decoded change. key lies in the decoded bytes.
type change struct {
	delete            bool
	key               []byte
	valueAt, valueLen int // of a put: where the value lies in the decoded bytes
}

// decodeOps calls fn for each change in p, up to the first that is malformed.
func decodeOps(p []byte, fn func(change)) error {
	for at := 0; at < len(p); {
		op := p[at]
		at++
		klen, ok := uvarint(p, &at)
		if !ok || klen > MaxKey {
			return errBadOps
		}
		o := change{delete: op == opDelete}
		end := at + klen
		switch op {
		case opPut:
			if o.valueLen, ok = uvarint(p, &at); !ok || o.valueLen > MaxBatch {
				return errBadOps
			}
			o.valueAt = at + klen
			end = o.valueAt + o.valueLen + 4
		case opDelete:
		default:
			return errBadOps
		}
		if end > len(p) {
			return errBadOps
		}
		o.key = p[at : at+klen]
		fn(o)
		at = end
	}
	return nil
}

// uvarint reads a number that fits an int of 31 bits, and moves at behind it.
func uvarint(p []byte, at *int) (int, bool) {
	v, n := binary.Uvarint(p[*at:])
	if n <= 0 || v > math.MaxInt32/2 {
		return 0, false
	}
	*at += n
	return int(v), true
}

// PutSize is the length in bytes that a pair takes in the file, of a key and a value of these
// lengths.
func PutSize(key, value int) int64 {
	return int64(1 + uvarintLen(key) + uvarintLen(value) + key + value + 4)
}

func uvarintLen(v int) int { return (bits.Len64(uint64(v)|1) + 6) / 7 }

// newHeader is the beginning of a file with this marker.
func newHeader(marker [8]byte) []byte {
	h := append([]byte(magic), marker[:]...)
	h = binary.LittleEndian.AppendUint32(h, crc32.Checksum(h, castagnoli))
	return append(h, slices.Clone(h)...)
}

// readHeader finds the marker in either copy.
func readHeader(h []byte) (marker [8]byte, ok bool) {
	for len(h) >= headerCopy {
		c := h[:headerCopy]
		if string(c[:8]) == magic && binary.LittleEndian.Uint32(c[16:]) == crc32.Checksum(c[:16], castagnoli) {
			return [8]byte(c[8:16]), true
		}
		h = h[headerCopy:]
	}
	return marker, false
}
