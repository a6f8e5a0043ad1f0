package wal

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"edgesync/wal/disk"
)

// Where a file system overwrites in place, a commit into room that the file has already costs half:
// the block of data, and none of the journal for a longer file (measured on ext4: 4.3 KB instead of
// 8.3 KB a commit of one small event). So while commits are small, the tail is filled with zeros to
// the size of a segment beforehand. Zeros are no frame: repair cuts them. Before the library reads
// the tail they are cut too, because it would take them for entries.
//
// Large commits do not spare the journal so, because the zeros would cost more than it. But the
// room for them is reserved before the first fsync of a segment. Then no commit has to look for
// blocks, unless zeros were cut from the segment since (measured on ext4: 200 us instead of 220 for
// a commit of 16 KB, and 195 instead of 280 for the slowest tenth; the journal gets as much). The
// file keeps the size of what is written, so readers notice nothing of the reserve.
const (
	fillAfter = 32 // commits into a segment, before it is known whether they are small
	// fillBelow bounds a small commit in bytes, on the average: zeros cost as much as is written
	// into them, the journal a block a commit.
	fillBelow = 3 << 10
)

// tailFile is the tail as the holder of Queue.own knows it. It has a handle of its own for
// fdatasync, which spares the journal where only data has changed; the library calls fsync only.
type tailFile struct {
	f       *os.File
	first   uint64 // offset of its first frame
	commits int    // into it
	from    int64  // its size when they began
	filled  bool   // with zeros up to the size of a segment
	refused bool   // filling failed; not tried again in this segment
}

// openTail returns the handle of the tail, whose first frame has that offset.
func (q *Queue) openTail(first uint64) (*os.File, error) {
	t := &q.tail
	if t.f == nil || t.first != first {
		t.close()
		f, err := disk.Open(filepath.Join(q.o.Dir, segmentName(first)), os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		*t = tailFile{f: f, first: first, from: -1}
		q.reserveTail()
	}
	return t.f, nil
}

// reserveTail has the file system set the rest of the segment aside for the tail. Where there is
// less room, nothing is.
func (q *Queue) reserveTail() {
	if !q.o.Fill {
		return
	}
	err := q.ops.Allocate(q.tail.f, int64(q.o.SegmentSize))
	if err == nil {
		return
	}
	// Some of the room may have been set aside: it is given back.
	i, statErr := q.tail.f.Stat()
	if statErr == nil {
		statErr = q.tail.f.Truncate(i.Size())
	}
	q.log.Debug("no room can be reserved for the tail of the queue", "error", errors.Join(err, statErr))
}

func (t *tailFile) close() {
	if t.f != nil {
		t.f.Close()
	}
	*t = tailFile{}
}

// noteCommit counts a commit after which the tail has that size.
func (t *tailFile) noteCommit(size int64) {
	if t.from < 0 {
		t.from, t.commits = size, 0
		return
	}
	t.commits++
}

// small reports whether filling the tail is worth the room: after enough small commits, with much
// to come.
func (t *tailFile) small(size int64, segment int) bool {
	return t.f != nil && !t.filled && !t.refused && t.commits >= fillAfter &&
		size-t.from < int64(t.commits)*fillBelow && size < int64(segment)*3/4
}

// fillTail puts zeros behind the tail where that is worth it.
func (q *Queue) fillTail(now time.Time) {
	size := q.tailSegment().bytes
	if !q.o.Fill || !q.tail.small(size, q.o.SegmentSize) {
		return
	}
	err := q.ops.Fill(q.tail.f, size, int64(q.o.SegmentSize))
	if err != nil { // most likely no room; filling only saves wear
		q.tail.refused = true
		q.log.Debug("the tail of the queue cannot be filled beforehand",
			"error", errors.Join(err, q.tail.f.Truncate(size)))
		return
	}
	q.tail.filled = true
	q.ledger.add(Account{Written: int64(q.o.SegmentSize) - size, Fsyncs: 1})
	q.charge(wear(size, int64(q.o.SegmentSize)-size, q.o.CommitBytes), now)
}

// cutFill removes the zeros, so that the library can read the tail.
func (q *Queue) cutFill() error {
	if !q.tail.filled {
		return nil
	}
	if err := q.ops.Truncate(q.tail.f, q.tailSegment().bytes); err != nil {
		return err
	}
	q.tail.filled = false
	return nil
}

// commitCost is what a commit costs the medium in bytes, beside further blocks.
func (q *Queue) commitCost() int64 {
	if q.tail.filled {
		return min(disk.Block, q.o.CommitBytes)
	}
	return q.o.CommitBytes
}
