package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"edgesync/wal/disk"
)

// poison gives the library's handle up after an error: what it holds in memory no longer agrees
// with the file (after ENOSPC a second try of the library returns nil). What was not acknowledged
// is cut from the files, now or before the next try.
func (q *Queue) poison(cause error, now time.Time) error {
	if q.store != nil { // nil when the log could not be opened again
		q.store.Close()
	}
	q.store, q.proven, q.dirty, q.unsynced = nil, false, time.Time{}, 0
	q.retryAt = now.Add(reopenEvery)
	q.batch.Clear()
	q.tail.close()
	q.cutBack()
	err := fmt.Errorf("%w: %w", ErrUnavailable, cause)
	q.mu.Lock()
	first := q.lastErr == nil
	q.lastErr = err
	q.mu.Unlock()
	if first {
		q.log.Error("the queue cannot be written; devices are refused until it can", "dir", q.o.Dir, "error", cause)
	}
	return err
}

// tailSegment is the segment that is being written, as far as it is accepted.
func (q *Queue) tailSegment() segment {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.segments[len(q.segments)-1]
}

// cutBack removes everything behind the last acknowledged byte. A file system that writes no block
// in place (JFFS2, UBIFS, btrfs) needs room even for that, and gets it where there is some to give.
func (q *Queue) cutBack() error {
	err := q.cut()
	for errors.Is(err, syscall.ENOSPC) && q.makeRoom() {
		err = q.cut()
	}
	return err
}

// makeRoom deletes what a full medium holds and nobody needs: the reserve, or else the segments in
// front of the committed position that is on the medium. False if there is neither.
func (q *Queue) makeRoom() bool {
	if q.releaseReserve() {
		return true
	}
	n := q.droppable(q.filed.Offset)
	return n > 0 && q.remove(n, time.Now()) == nil
}

// cut is cutBack, if there is room for it.
func (q *Queue) cut() error {
	tail := q.tailSegment()
	firsts, err := listSegments(q.o.Dir)
	if err != nil {
		return err
	}
	begun := false
	for _, f := range firsts {
		if f > tail.first {
			begun = true
			err = errors.Join(err, os.Remove(filepath.Join(q.o.Dir, segmentName(f))))
		}
	}
	if begun {
		err = errors.Join(err, disk.SyncDir(q.o.Dir))
	}
	path := filepath.Join(q.o.Dir, segmentName(tail.first))
	if i, statErr := os.Stat(path); errors.Is(statErr, fs.ErrNotExist) || statErr == nil && i.Size() <= tail.bytes {
		return err // nothing behind it; repair sees to what may be missing
	}
	return errors.Join(err, truncate(q.ops, path, tail.bytes))
}

// truncate cuts an existing file to size bytes, durably.
func truncate(ops disk.Ops, path string, size int64) error {
	f, err := disk.Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(ops.Cut(f, size), f.Close())
}

// reopen tries to come back, at most once in reopenEvery.
func (q *Queue) reopen(now time.Time) error {
	q.mu.Lock()
	last := q.lastErr
	q.mu.Unlock()
	if now.Before(q.retryAt) {
		return last
	}
	q.retryAt = now.Add(reopenEvery)
	err := q.cutBack()
	if err == nil {
		err = q.open()
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		q.mu.Lock()
		q.lastErr = err
		q.mu.Unlock()
		return err
	}
	// On a disk that this queue has filled, nothing can be written before acknowledged segments are
	// gone.
	if n := q.droppable(q.Committed().Offset); n > 0 && !q.drop(n, now) && q.store == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.lastErr // drop has set it
	}
	return nil
}

// shutdown writes what is left and closes the files.
func (q *Queue) shutdown() {
	var err error
	if q.store == nil && q.o.Interval > 0 { // what was accepted before the medium failed may not be synced
		if err = q.cutBack(); err == nil {
			err = q.open()
		}
	}
	if !q.dirty.IsZero() && !q.syncWrites(time.Now()) {
		err = errors.New("what was accepted last could not be synced at the end")
	}
	q.mu.Lock()
	unsaved := q.committed.Offset != q.filed.Offset || q.kept != q.savedKept && min(q.kept, q.savedKept) < q.committed.Offset
	q.mu.Unlock()
	if unsaved && !q.save() {
		err = errors.Join(err, errors.New("the committed offset could not be written at the end"))
	}
	if q.store != nil {
		err = errors.Join(err, q.store.Close(), q.cutFill())
	}
	q.tail.close()
	err = errors.Join(err, q.file.close(), q.lock.Close())
	q.mu.Lock()
	q.lastErr = err
	q.mu.Unlock()
}
