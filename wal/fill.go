package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Where a file system overwrites in place, a commit into room that the file has already costs half: the block of data, and none of the
// journal for a longer file (measured on ext4: 4.3 KB instead of 8.3 KB a commit of one small event). So when commits are small, the
// tail is filled with zeros to the size of a segment beforehand. Zeros are no frame; repair cuts them, and before the library reads the
// tail they are cut too, because it would take them for entries.
const (
	fillAfter = 32      // commits into a segment, before it is known whether they are small
	fillBelow = 3 << 10 // bytes of a small one, on the average; the zeros cost as much as is written into them, the journal a block a commit
)

// tailFile is the tail as the holder of Queue.own knows it: its own handle, for fdatasync, which spares the journal where only data has
// changed; the library knows fsync only.
type tailFile struct {
	f       *os.File
	first   uint64 // offset of its first frame
	commits int    // into it
	from    int64  // its size when they began
	filled  bool   // with zeros up to the size of a segment
	refused bool   // filling failed; not tried again in this segment
}

// open returns the handle of the tail, whose first frame has that offset.
func (t *tailFile) open(dir string, first uint64) (*os.File, error) {
	if t.f == nil || t.first != first {
		t.close()
		f, err := os.OpenFile(filepath.Join(dir, segmentName(first)), os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		*t = tailFile{f: f, first: first, from: -1}
	}
	return t.f, nil
}

// fdatasync makes durable what is in a segment.
func fdatasync(f *os.File) error {
	err := syscall.EINTR
	for err == syscall.EINTR {
		err, _ = syscall.Fdatasync(int(f.Fd())).(syscall.Errno)
	}
	if err != 0 {
		return fmt.Errorf("fdatasync of segment %s: %w", filepath.Base(f.Name()), err)
	}
	return nil
}

func (t *tailFile) close() {
	if t.f != nil {
		t.f.Close()
	}
	*t = tailFile{}
}

// noteCommit counts a commit after which the tail has a size.
func (t *tailFile) noteCommit(size int64) {
	if t.from < 0 {
		t.from, t.commits = size, 0
		return
	}
	t.commits++
}

// small tells whether it is worth the room to fill the tail: enough small commits, and much to come.
func (t *tailFile) small(size int64, segment int) bool {
	return t.f != nil && !t.filled && !t.refused && t.commits >= fillAfter && size-t.from < int64(t.commits)*fillBelow && size < int64(segment)*3/4
}

// fillTail puts zeros behind the tail.
func (q *Queue) fillTail(now time.Time) {
	size := q.tailSegment().bytes
	if !q.o.Fill || !q.tail.small(size, q.o.SegmentSize) {
		return
	}
	err := q.step("fill")
	// Block by block: of one large write the kernel makes one large piece of page cache, and counts all of it as written at each commit.
	var block [flashBlock]byte
	for at := size; err == nil && at < int64(q.o.SegmentSize); {
		n := min(flashBlock-at%flashBlock, int64(q.o.SegmentSize)-at)
		_, err = q.tail.f.WriteAt(block[:n], at)
		at += n
	}
	if err == nil {
		err = q.tail.f.Sync()
	}
	if err != nil { // no room for it, most likely: it is a saving, not a need
		q.tail.refused = true
		q.log.Debug("the tail of the queue cannot be filled beforehand", "error", errors.Join(err, q.tail.f.Truncate(size)))
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
	if err := q.step("cut-fill"); err != nil {
		return err
	}
	if err := q.tail.f.Truncate(q.tailSegment().bytes); err != nil {
		return err
	}
	q.tail.filled = false
	return nil
}

// commitCost is what a commit costs the medium beside further blocks.
func (q *Queue) commitCost() int64 {
	if q.tail.filled {
		return min(flashBlock, q.o.CommitBytes)
	}
	return q.o.CommitBytes
}
