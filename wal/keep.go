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

// Past returns a reader that stands at offset, and reads what is committed too, as far as that is
// still there. Seq and Thinned of its positions are not to be relied on in front of the committed
// offset.
func (q *Queue) Past(offset uint64) *Reader {
	return &Reader{q: q, pos: Position{Offset: offset}, passed: true}
}
