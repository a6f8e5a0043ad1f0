package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Layout of a frame; doc.go has the diagram. All numbers are little-endian.
const (
	headerSize = 30
	offCRC     = 0
	offType    = 4
	offAction  = 5
	offLow     = 6
	offTime    = 8
	offEntity  = 14

	maxFrame  = headerSize + MaxFragment
	maxKind   = 63
	maxAction = 127
	again     = maxAction + 1 // the high bit of the action: Event.Again
	maxPrefix = 4             // bytes of the library's length in front of a frame of maxFrame

	// maxOffset bounds offsets and counts, so that sums of them never overflow.
	maxOffset = math.MaxInt64 / 8

	// A time beyond what 48 bits hold (the year 6429) is kept as the last one.
	minTime, maxTime = -1 << 47, 1<<47 - 1
)

// frameType is the two high bits of a frame's type byte. 0 is invalid, so that zeros are never a
// frame.
type frameType uint8

const (
	frameEvent   frameType = 1
	frameControl frameType = 2
	frameLost    frameType = 3 // repair found nothing readable at this offset
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is a view of one frame's bytes.
type frame []byte

func (f frame) typ() frameType  { return frameType(f[offType] >> 6) }
func (f frame) kind() uint8     { return f[offType] & 0x3f }
func (f frame) action() uint8   { return f[offAction] & maxAction }
func (f frame) low() uint16     { return binary.LittleEndian.Uint16(f[offLow:]) }
func (f frame) payload() []byte { return f[headerSize:] }
func (f frame) time() int64 {
	v := uint64(binary.LittleEndian.Uint32(f[offTime:])) | uint64(binary.LittleEndian.Uint16(f[offTime+4:]))<<32
	return int64(v<<16) >> 16
}

func (f frame) event(e *Event) {
	e.Kind, e.Action, e.Again, e.Time, e.Fragment = f.kind(), f.action(), f[offAction]&again != 0, f.time(), f.payload()
	copy(e.Entity[:], f[offEntity:headerSize])
}

// sum is the checksum over the full offset and everything behind the checksum itself. A frame at
// another offset than its own, such as old content of a block, does not match.
func (f frame) sum(offset uint64) uint32 {
	crc := ^uint32(0) // byte by byte for the offset: an array would escape to the heap
	for i := 0; i < 64; i += 8 {
		crc = castagnoli[byte(crc)^byte(offset>>i)] ^ crc>>8
	}
	return crc32.Update(^crc, castagnoli, f[offType:])
}

// intact reports whether f is a whole frame that was written for this offset.
func (f frame) intact(offset uint64) bool {
	return len(f) >= headerSize && f.typ() != 0 && f.low() == uint16(offset) &&
		binary.LittleEndian.Uint32(f[offCRC:]) == f.sum(offset)
}

// seal gives the frame its offset and checksum.
func (f frame) seal(offset uint64) {
	binary.LittleEndian.PutUint16(f[offLow:], uint16(offset))
	binary.LittleEndian.PutUint32(f[offCRC:], f.sum(offset))
}

// appendFrame appends an unsealed frame.
func appendFrame(dst []byte, t frameType, e *Event) []byte {
	var h [headerSize]byte
	h[offType] = byte(t)<<6 | e.Kind&0x3f
	h[offAction] = e.Action & maxAction
	if e.Again {
		h[offAction] |= again
	}
	ms := min(max(e.Time, minTime), maxTime)
	binary.LittleEndian.PutUint32(h[offTime:], uint32(ms))
	binary.LittleEndian.PutUint16(h[offTime+4:], uint16(ms>>32))
	copy(h[offEntity:], e.Entity[:])
	return append(append(dst, h[:]...), e.Fragment...)
}

// prefixSize is how many bytes the library spends on the length of n.
func prefixSize(n int) int {
	s := 1
	for n >= 0x80 {
		n >>= 7
		s++
	}
	return s
}

// entrySize is how many bytes of the segment a frame takes.
func entrySize(n int) int { return prefixSize(n) + n }

// next finds the frame at the beginning of b, which should be the one of this offset, and how many
// bytes of b it takes with its length. bad means that it is damaged or not whole.
func next(b []byte, offset uint64) (f frame, n int, bad bool) {
	size, p := binary.Uvarint(b)
	if !plausible(size, p) || uint64(len(b)-p) < size {
		return nil, 0, true
	}
	f = frame(b[p : p+int(size)])
	return f, p + int(size), !f.intact(offset)
}

// follow is next for segments that thinning may have rewritten: the frame may be of a later offset
// below limit. Where a frame is intact right behind another, the frames between were removed on
// purpose.
func follow(b []byte, offset, limit uint64) (f frame, at uint64, n int, bad bool) {
	size, p := binary.Uvarint(b)
	if !plausible(size, p) || uint64(len(b)-p) < size {
		return nil, 0, 0, true
	}
	f = frame(b[p : p+int(size)])
	at = offset + uint64(f.low()-uint16(offset))
	return f, at, p + int(size), at >= limit || !f.intact(at)
}

// appendEntry appends a frame as the library would write it.
func appendEntry(dst []byte, f frame) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(f))), f...)
}

// plausible reports whether a length that was read from p bytes may stand before a frame. The
// library writes lengths as short as they can be.
func plausible(size uint64, p int) bool {
	return p > 0 && size >= headerSize && size <= maxFrame && p == prefixSize(int(size))
}

// resync looks in b for the next intact frame whose offset lies in [from, limit). It returns where
// the frame's length begins, and its offset. A candidate has a plausible length, and low bits of an
// offset in that range; only then is the checksum tried. The work is bounded: bytes made up to hold
// nothing but candidates are given up.
func resync(b []byte, from, limit uint64) (at int, offset uint64, ok bool) {
	budget := 32*int64(len(b)) + maxFrame
	for at = 1; at+1+headerSize <= len(b) && budget > 0; at++ {
		size, p := binary.Uvarint(b[at:])
		if !plausible(size, p) || uint64(len(b)-at-p) < size {
			continue
		}
		f := frame(b[at+p : at+p+int(size)])
		offset = from + uint64(f.low()-uint16(from))
		if f.typ() == 0 || offset >= limit {
			continue
		}
		if budget -= int64(len(f)); f.intact(offset) {
			return at, offset, true
		}
	}
	return 0, 0, false
}
