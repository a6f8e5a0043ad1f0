package wal

import "slices"

// sieve takes segments and makes the content of the one that replaces them.
type sieve struct {
	series func(kind, action uint8, fragment []byte) (uint64, bool)
	salt   uint64
	room   int // bytes of out, where it stops: lost frames may take more room than what was damaged
	out    []byte
	gap    Gap
	odd    [thinBits / 64]uint64 // whether a series, by its hash, has had an odd number of events
	run    uint64                // offsets left out since the last frame written
}

// segment takes one segment. The head of the new segment gets the level; what is damaged stays so,
// offset for offset.
func (s *sieve) segment(data []byte, first, limit uint64, isHead bool, level uint8) {
	if s.out == nil {
		s.out = make([]byte, 0, len(data))
	}
	offset := first
	for pos := 0; pos < len(data) && offset < limit && len(s.out) <= s.room; {
		f, at, n, bad := follow(data[pos:], offset, limit)
		if bad {
			jump, found, ok := resync(data[pos:], offset+1, limit)
			if !ok {
				break
			}
			for ; offset < found && len(s.out) <= s.room; offset++ {
				s.put(nil, offset)
			}
			pos += jump
			continue
		}
		s.run += at - offset
		raw := data[pos : pos+n]
		switch {
		case f.typ() == frameControl && at == first && isHead:
			h := frame(slices.Clone(f))
			h[offAction] = level
			h.seal(at)
			s.put(h, at)
		// The last frame stays: it shows that the end is not torn.
		case f.typ() == frameEvent && s.run < maxJump && at+1 < limit && pos+n < len(data) && s.drops(f):
			s.gap.see(f.time())
			s.run++
		case f.typ() == frameControl:
			s.put(unpadded(f, at), at)
		default:
			s.out = append(s.out, raw...)
			s.run = 0
		}
		pos, offset = pos+n, at+1
	}
	for ; offset < limit && len(s.out) <= s.room; offset++ { // a torn end is damage too
		s.put(nil, offset)
	}
}

// put writes a frame, or a lost one where there is nothing readable at the offset.
func (s *sieve) put(f frame, offset uint64) {
	if f == nil {
		s.out = appendLost(s.out, offset)
	} else {
		s.out = appendEntry(s.out, f)
	}
	s.run = 0
}

// drops reports whether this event is the second of two of its series.
func (s *sieve) drops(f frame) bool {
	series, may := s.series(f.kind(), f.action(), f.payload())
	if !may {
		return false
	}
	h := (series ^ s.salt) * 0x9e3779b97f4a7c15 // so that a series and an entity do not cancel each other out
	h ^= h >> 29
	for _, c := range f[offEntity:headerSize] {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h ^= h >> 32
	h ^= h >> 16
	bit := h % thinBits
	mask := uint64(1) << (bit % 64)
	s.odd[bit/64] ^= mask
	return s.odd[bit/64]&mask == 0
}
