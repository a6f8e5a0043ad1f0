package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	tlog "github.com/tidwall/wal"
)

// run is the committer: it makes group after group durable and looks after the files between them.
func (q *Queue) run() {
	defer close(q.closed)
	timer := time.NewTimer(fileAfter)
	defer timer.Stop()
	for {
		select {
		case <-q.kick:
		case <-timer.C:
		case <-q.closing:
			for q.flush() {
			}
			q.shutdown()
			return
		}
		for again := true; again; {
			again = q.flush()
			q.maintain(time.Now()) // between groups too: writers that never pause must not hold it up
		}
		wait := fileAfter
		if !q.proven {
			wait = reopenEvery
		}
		timer.Reset(wait)
	}
}

// flush commits the group that is pending; false if there is none.
func (q *Queue) flush() bool {
	q.mu.Lock()
	g := q.pending
	if !g.waiting {
		q.mu.Unlock()
		return false
	}
	q.pending, q.spare = q.spare, nil
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
	q.mu.Unlock()

	err := q.commit(g)
	for _, fn := range g.done {
		fn(err)
	}
	if g.outcome != nil {
		g.outcome.err = err
		close(g.outcome.done)
	}
	clear(g.done)
	if cap(g.buf) > 2*groupBytes { // one oversized append is not kept for ever
		g.buf, q.batch = nil, tlog.Batch{}
	}
	g.buf, g.sizes, g.done, g.outcome, g.waiting = g.buf[:0], g.sizes[:0], g.done[:0], nil, false
	q.mu.Lock()
	q.spare = g
	q.mu.Unlock()
	if err == nil {
		poke(q.wake)
	}
	return true
}

// commit writes one group and makes it durable: one write for each segment it touches and one fsync.
func (q *Queue) commit(g *group) error {
	now := time.Now()
	if q.store == nil {
		if err := q.reopen(now); err != nil {
			return err
		}
	}
	if err := q.quota(int64(len(g.buf)), now); err != nil {
		return err
	}
	q.mu.Lock()
	end, committed, counters := q.end, q.committed, q.counters
	tail := q.segments[len(q.segments)-1]
	q.mu.Unlock()

	// The library begins a new segment when the present one has reached its size, in the middle of a batch too. Each begins with a
	// control frame, so that start-up and damage need no other segment to know the count.
	var begun []segment
	size, bytes := tail.bytes, 0
	if size > int64(q.o.SegmentSize) {
		begun = append(begun, segment{first: end.Offset + 1})
		size = 0
	}
	put := func(f frame) {
		end.Offset++
		f.seal(end.Offset)
		q.batch.Write(end.Offset, f)
		n := entrySize(len(f))
		size += int64(n)
		bytes += n
		if len(begun) == 0 {
			tail.bytes = size
		} else {
			begun[len(begun)-1].bytes = size
		}
		if size >= int64(q.o.SegmentSize) {
			begun = append(begun, segment{first: end.Offset + 1})
			size = 0
		}
	}
	var room [headerSize + controlSize]byte
	state := func() {
		c := control{seq: end.Seq, committed: committed, counters: counters}
		put(c.append(appendFrame(room[:0], frameControl, &Event{Time: now.UnixMilli()})))
	}
	q.batch.Clear()
	if (committed != q.told || !q.proven) && size > 0 {
		state()
	}
	at := 0
	for _, n := range g.sizes {
		if size == 0 {
			state()
		}
		put(frame(g.buf[at : at+n]))
		end.Seq++
		at += n
	}
	if err := q.write(len(begun) > 0); err != nil {
		return q.poison(err, now)
	}
	if !q.proven {
		q.log.Info("the queue can be written again", "dir", q.o.Dir)
	}
	q.proven = true
	q.lastWrite = now
	q.commits.Add(1)
	q.wrote(bytes)
	q.mu.Lock()
	q.told = committed
	q.end = end
	q.segments[len(q.segments)-1] = tail
	q.segments = append(q.segments, begun...)
	q.bytes += int64(bytes)
	q.lastErr = nil
	if len(begun) > 0 {
		q.urgent = true
	}
	q.mu.Unlock()
	return nil
}

func (q *Queue) write(newSegment bool) error {
	if q.o.inject != nil {
		if err := q.o.inject("write"); err != nil {
			return err
		}
	}
	if err := q.store.WriteBatch(&q.batch); err != nil {
		return err
	}
	if q.o.inject != nil {
		if err := q.o.inject("sync"); err != nil {
			return err
		}
	}
	if err := q.store.Sync(); err != nil {
		return err
	}
	if newSegment {
		return syncDir(q.o.Dir)
	}
	return nil
}

// poison gives the library's handle up after an error: what it holds in memory no longer agrees with the file (hazard "after ENOSPC a
// retry returns nil"). What was not acknowledged is cut from the files, now or before the next try.
func (q *Queue) poison(cause error, now time.Time) error {
	q.store.Close()
	q.store, q.proven = nil, false
	q.retryAt = now.Add(reopenEvery)
	q.batch.Clear()
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

// cutBack removes everything behind the last acknowledged byte.
func (q *Queue) cutBack() error {
	q.mu.Lock()
	tail := q.segments[len(q.segments)-1]
	q.mu.Unlock()
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
		err = errors.Join(err, syncDir(q.o.Dir))
	}
	path := filepath.Join(q.o.Dir, segmentName(tail.first))
	if i, statErr := os.Stat(path); statErr == nil && i.Size() <= tail.bytes {
		return err // nothing behind it; what may be missing is repair's affair
	}
	return errors.Join(err, truncateDurably(path, tail.bytes))
}

// reopen tries to come back, at most once in a while.
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
	// On a disk that this queue has filled nothing can be written before what is acknowledged has gone.
	if n := q.droppable(q.Committed().Offset); n > 0 && !q.drop(n, now) && q.store == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.lastErr // drop has set it
	}
	return nil
}

// maintain tries to come back after a failure, writes the committed position to its file and drops segments, when due.
func (q *Queue) maintain(now time.Time) {
	if !q.proven && !now.Before(q.retryAt) {
		q.commit(new(group)) // a control frame, as a probe: devices that are refused at the door would never bring one
	}
	q.mu.Lock()
	committed := q.committed
	due := committed != q.filed && (q.urgent || committed != q.told && now.Sub(q.lastWrite) >= fileAfter)
	q.mu.Unlock()
	if due {
		q.save()
	}
	if q.store == nil {
		return
	}
	if n := q.droppable(committed.Offset); n >= dropAtOnce || n > 0 && now.Sub(q.lastDrop) >= dropEvery {
		q.drop(n, now)
	}
	if q.o.MaxAge > 0 && now.Sub(q.lastAge) >= dropEvery {
		q.lastAge = now
		q.expire(now)
	}
}

// save makes the committed position durable in its file; false if the medium refuses, which costs a few duplicates after a crash.
func (q *Queue) save() bool {
	q.mu.Lock()
	c := control{seq: q.end.Seq, committed: q.committed, counters: q.counters}
	q.urgent = false
	q.mu.Unlock()
	err := q.file.write(&c, func(f *os.File) error {
		if q.o.inject != nil {
			if err := q.o.inject("committed"); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		q.log.Warn("the committed offset cannot be written; after a crash more events would be sent twice", "error", err)
		return false
	}
	q.mu.Lock()
	q.filed, q.told = c.committed, c.committed // Commit looks at filed
	q.mu.Unlock()
	q.wrote(slotSize)
	return true
}

// droppable counts the segments at the front of which everything is committed. What follows them must begin with a control frame,
// which tells the count of events; so an empty tail never becomes the first.
func (q *Queue) droppable(committed uint64) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, s := range q.segments {
		if s.first > committed+1 {
			break
		}
		if s.bytes > 0 {
			n = i
		}
	}
	return n
}

// drop removes the first n segments; the committed position is durable before. The library's TruncateFront would write what is left of
// a segment anew, and fails in a damaged one, so the files are deleted here, the oldest first, and the library opens the log again,
// which costs it one segment's reading and no writing.
func (q *Queue) drop(n int, now time.Time) bool {
	q.lastDrop = now
	list := q.firsts(n + 1)
	next := list[n]
	if q.filed.Offset+1 < next && !q.save() {
		return false
	}
	var err error
	if q.o.inject != nil {
		err = q.o.inject("drop")
	}
	gone := 0
	for ; err == nil && gone < n; gone++ {
		err = os.Remove(filepath.Join(q.o.Dir, segmentName(list[gone])))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = nil
	}
	if gone > 0 {
		err = errors.Join(err, syncDir(q.o.Dir))
	}
	q.mu.Lock()
	for _, s := range q.segments[:gone] {
		delete(q.damaged, s.first)
		q.bytes -= s.bytes
	}
	q.segments = slices.Delete(q.segments, 0, gone)
	end := q.end.Offset
	q.mu.Unlock()
	if err != nil {
		q.log.Warn("committed segments cannot be deleted", "dir", q.o.Dir, "below", next, "error", err)
		return false
	}
	if err = q.store.Close(); err == nil {
		q.store, err = openLog(&q.o, end)
	}
	if err != nil {
		q.poison(fmt.Errorf("open after segments were dropped: %w", err), now)
		return false
	}
	return true
}

// quota makes room for n more bytes or says why not.
func (q *Queue) quota(n int64, now time.Time) error {
	if q.o.MaxBytes <= 0 {
		return nil
	}
	for {
		q.mu.Lock()
		over := q.bytes+n > q.o.MaxBytes
		segments, committed, idle := len(q.segments), q.committed.Offset, q.committed.Seq == q.end.Seq
		bytes := q.bytes
		q.mu.Unlock()
		if !over {
			return nil
		}
		if k := q.droppable(committed); k > 0 && q.drop(k, now) {
			continue
		}
		if q.store == nil {
			return q.lastErr
		}
		if idle {
			return nil // whatever the quota, an empty queue takes a group
		}
		if q.o.Policy != DropOldest {
			return fmt.Errorf("%w: %d bytes of at most %d (queue.max_bytes), and queue.policy is %q", ErrFull, bytes, q.o.MaxBytes, q.o.Policy)
		}
		if segments < 2 || !q.dropOldest(1, now, "quota") {
			if q.store == nil {
				return q.lastErr
			}
			return nil // a quota smaller than a segment holds the tail at least
		}
	}
}

// dropOldest gives up what is not yet committed in the first n segments, or in more until one that is not empty follows. The loss is
// counted, durably, before anything is deleted.
func (q *Queue) dropOldest(n int, now time.Time, why string) bool {
	q.mu.Lock()
	for n < len(q.segments) && q.segments[n].bytes == 0 {
		n++
	}
	if n >= len(q.segments) {
		q.mu.Unlock()
		return false
	}
	next := q.segments[n].first
	q.mu.Unlock()
	seq, ok := headSeq(q.o.Dir, next)
	if !ok {
		seq, ok = seqBefore(q.o.Dir, q.firsts(n), next)
	}
	var lost uint64
	q.mu.Lock()
	if q.committed.Offset < next-1 {
		if !ok {
			seq = q.committed.Seq + (next - 1 - q.committed.Offset)
		}
		p := Position{next - 1, min(max(seq, q.committed.Seq), q.end.Seq)}
		lost = p.Seq - q.committed.Seq
		q.counters.dropped += lost
		q.committed = p
	}
	q.mu.Unlock()
	if lost > 0 {
		q.log.Warn("the queue has dropped its oldest events", "reason", why, "events", lost, "up_to_offset", next-1)
	}
	return q.save() && q.drop(n, now)
}

// firsts returns the first offsets of the first n segments.
func (q *Queue) firsts(n int) []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := make([]uint64, n)
	for i := range f {
		f[i] = q.segments[i].first
	}
	return f
}

// clockKnown is a time before which a clock was not set yet: machines without one begin in 1970, and what they wrote then is not old.
var clockKnown = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// expire drops whole segments whose events were all written longer ago than MaxAge: those in front of a segment whose head is that old.
func (q *Queue) expire(now time.Time) {
	q.mu.Lock()
	n := len(q.segments)
	q.mu.Unlock()
	old := 0
	for i, first := range q.firsts(n) {
		if i == 0 {
			continue
		}
		f, _, ok := head(q.o.Dir, first)
		if !ok { // a damaged one tells nothing
			continue
		}
		if t := f.time(); t < clockKnown || now.UnixMilli()-t <= q.o.MaxAge.Milliseconds() {
			break
		}
		old = i
	}
	if old > 0 {
		q.dropOldest(old, now, "age")
	}
}

// shutdown writes what is left and closes the files.
func (q *Queue) shutdown() {
	var err error
	if q.Committed() != q.filed && !q.save() {
		err = errors.New("the committed offset could not be written at the end")
	}
	if q.store != nil {
		err = errors.Join(err, q.store.Close())
	}
	err = errors.Join(err, q.file.close(), q.lock.Close())
	q.mu.Lock()
	q.lastErr = err
	q.mu.Unlock()
}
