package wal

import "slices"

// The library begins a new segment where the present one has reached its size, in the middle of a
// group too: it syncs the full one, and the group needs a second fsync for its rest. When others
// wait for that fsync, and little room is left, a last control frame takes up the rest of the
// segment: zeros behind its numbers. Then the group ends with the segment, and the library's own
// fsync is the group's. The zeros cost the medium less than the commit that they save; with many
// waiting, that commit would be what all of them wait for.
const (
	padShare      = 128 // while others wait, at most this fraction of a segment is given up
	padShareCrowd = 32  // while many wait
)

// pads reports whether the rest of a segment of this size is to be taken up behind a group of so
// many bytes: the next group would most likely go beyond it.
func (q *Queue) pads(size int64, group int) bool {
	left := int64(q.o.SegmentSize) - size
	if q.o.padUpTo > 0 {
		return left > 0 && left <= q.o.padUpTo
	}
	share := padShare
	if q.crowd {
		share = padShareCrowd
	}
	if q.o.Interval > 0 || left <= 0 || left > int64(min(group, q.o.SegmentSize/share)) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending.waiting || q.crowd
}

// padded makes a control frame take up at least left bytes of the segment.
func padded(f frame, left int64) frame {
	if n := int(left) + 1 - prefixSize(int(left)) - len(f); n > 0 {
		f = append(f, make([]byte, n)...)
	}
	return f
}

// unpadded is a control frame without what padded put behind it.
func unpadded(f frame, offset uint64) frame {
	c, ok := parseControl(f.payload())
	if !ok {
		return f
	}
	short := frame(c.append(slices.Clone(f[:headerSize])))
	short.seal(offset)
	return short
}
