package wal

import "math"

// noneKept stands for no offset behind which committed events are wanted.
const noneKept = math.MaxUint64

// Keep says that committed events behind offset may be read once more (Past), from now on. The
// segments that hold them stay until a later Keep gives them up, unless the quota, max_age or a
// full medium needs their room: they give way before any event that is pending. An offset at or
// behind the committed one keeps nothing.
//
// The offset is stored beside the committed position, with the next group commit or write of the
// committed file that come for other reasons, and at Close. After a crash it may be an older one,
// never one further on than what was asked for last before the newest durable control frame.
func (q *Queue) Keep(offset uint64) {
	q.mu.Lock()
	q.kept = offset
	q.mu.Unlock()
}

// Kept is the offset of the last Keep, of an earlier process too; math.MaxUint64 if that kept
// nothing.
func (q *Queue) Kept() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kept >= q.committed.Offset {
		return noneKept
	}
	return q.kept
}

// Pin says that committed events behind offset are being read once more: their segments stay as
// those do that Keep asks for, and give way as they do. math.MaxUint64 pins nothing. Nothing of it
// is stored.
func (q *Queue) Pin(offset uint64) {
	q.mu.Lock()
	q.pinned = offset
	q.mu.Unlock()
}

// Unanswered is how many events stand behind the committed position, those among them that thinning
// has removed.
func (q *Queue) Unanswered() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end.Seq - q.committed.Seq
}

// unwantedLocked is the offset up to which nobody asks for what is committed.
func (q *Queue) unwantedLocked() uint64 {
	unwanted := min(q.committed.Offset, q.kept, q.pinned)
	if q.o.KeepBytes <= 0 {
		return unwanted
	}
	room := q.o.KeepBytes
	for i := len(q.segments) - 2; i >= 0; i-- {
		if end := q.segments[i+1].first - 1; end <= q.committed.Offset {
			if room -= q.segments[i].bytes; room < 0 {
				return min(unwanted, end)
			}
		}
	}
	return min(unwanted, q.segments[0].first-1)
}

// acknowledgedLocked is how many bytes the segments take of which all is committed.
func (q *Queue) acknowledgedLocked() (bytes int64) {
	for i := 1; i < len(q.segments) && q.segments[i].first <= q.committed.Offset+1; i++ {
		bytes += q.segments[i-1].bytes
	}
	return bytes
}

// Past returns a reader that stands at offset, and reads what is committed too, as far as that is
// still there. Seq and Thinned of its positions are not to be relied on in front of the committed
// offset.
func (q *Queue) Past(offset uint64) *Reader {
	return &Reader{q: q, pos: Position{Offset: offset}, passed: true}
}
