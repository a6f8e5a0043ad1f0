package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
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
			q.flush()
			q.shutdown()
			return
		}
		q.flush()
		q.maintain(time.Now())
		timer.Reset(fileAfter)
	}
}

// flush commits what is pending until nothing is.
func (q *Queue) flush() {
	for {
		q.mu.Lock()
		g := q.pending
		if len(g.done) == 0 {
			q.mu.Unlock()
			return
		}
		q.pending, q.spare = q.spare, nil
		if q.space != nil {
			close(q.space)
			q.space = nil
		}
		q.mu.Unlock()

		err := q.commit(g)
		for _, w := range g.done {
			if w.fn != nil {
				w.fn(err)
			} else {
				w.c <- err
			}
		}
		clear(g.done)
		g.buf, g.sizes, g.done, g.events = g.buf[:0], g.sizes[:0], g.done[:0], 0
		if cap(g.buf) > 2*groupBytes { // one oversized append is not kept for ever
			g.buf = nil
		}
		q.mu.Lock()
		q.spare = g
		q.mu.Unlock()
		if err == nil {
			poke(q.wake)
		}
	}
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
	if committed != q.told && size > 0 {
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
	q.told = committed
	q.lastWrite = now
	q.commits.Add(1)
	q.wrote(bytes)
	q.mu.Lock()
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
	if q.inject != nil {
		if err := q.inject("write"); err != nil {
			return err
		}
	}
	if err := q.store.WriteBatch(&q.batch); err != nil {
		return err
	}
	if q.inject != nil {
		if err := q.inject("sync"); err != nil {
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
	q.store = nil
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
	for _, f := range firsts {
		if f > tail.first {
			err = errors.Join(err, os.Remove(filepath.Join(q.o.Dir, segmentName(f))))
		}
	}
	return errors.Join(err, truncateDurably(filepath.Join(q.o.Dir, segmentName(tail.first)), tail.bytes))
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
	q.log.Info("the queue can be written again", "dir", q.o.Dir)
	return nil
}

// maintain writes the committed position to its file and drops segments, when due.
func (q *Queue) maintain(now time.Time) {
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
	if q.o.MaxAge > 0 {
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
		if q.inject != nil {
			if err := q.inject("committed"); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		q.log.Warn("the committed offset cannot be written; after a crash more events would be sent twice", "error", err)
		return false
	}
	q.filed, q.told = c.committed, c.committed
	q.wrote(slotSize)
	return true
}

// droppable counts the segments at the front of which everything is committed and that are worth dropping. What follows them must
// begin with a control frame, which tells the count of events; so an empty tail never becomes the first.
func (q *Queue) droppable(committed uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(q.segments)-1 && q.segments[n+1].first <= committed+1 && q.segments[n+1].bytes > 0 {
		bytes += q.segments[n].bytes
		n++
	}
	if bytes < int64(q.o.SegmentSize)/2 { // the one frame that the last drop left
		return 0
	}
	return n
}

// drop removes the first n segments. TruncateFront rewrites the segment it lands in, so it is told to land on the last frame of the
// last of them: one frame is written, not a segment (hazard "TruncateFront rewrites"). The committed position is durable before.
func (q *Queue) drop(n int, now time.Time) bool {
	q.lastDrop = now
	if q.filed.Offset+1 < q.firstOf(n) && !q.save() {
		return false
	}
	next := q.firstOf(n)
	err := q.truncateFront(next - 1)
	if err != nil {
		err = q.truncateFront(next) // a damaged segment: land on the next one
	}
	if err == nil {
		err = syncDir(q.o.Dir)
	}
	if err != nil {
		q.poison(fmt.Errorf("drop segments below offset %d: %w", next, err), now)
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments[:n] {
		delete(q.damaged, s.first)
	}
	if err := q.listLocked(); err != nil {
		q.log.Warn("the queue's directory cannot be read", "error", err)
	}
	q.wrote(int(q.segments[0].bytes) % q.o.SegmentSize)
	return true
}

func (q *Queue) firstOf(n int) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.segments[n].first
}

// truncateFront shields us from the library's panic on a segment that holds fewer frames than its name and the next one's say.
func (q *Queue) truncateFront(index uint64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("truncate front at %d: %v", index, r)
		}
	}()
	first, err := q.store.FirstIndex()
	if err != nil || index <= first {
		return err
	}
	return q.store.TruncateFront(index)
}

// quota makes room for n more bytes or says why not.
func (q *Queue) quota(n int64, now time.Time) error {
	if q.o.MaxBytes <= 0 {
		return nil
	}
	for {
		q.mu.Lock()
		over := q.bytes+n > q.o.MaxBytes
		segments, committed := len(q.segments), q.committed.Offset
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
		if q.o.Policy != DropOldest {
			return fmt.Errorf("%w: %d bytes of at most %d (queue.max_bytes), and queue.policy is %q", ErrFull, bytes, q.o.MaxBytes, q.o.Policy)
		}
		if segments < 2 || !q.dropOldest(now, "quota") {
			return nil // a quota smaller than a segment holds the tail at least
		}
	}
}

// dropOldest gives up what is not yet committed in the first segment. The gap is counted before anything is deleted.
func (q *Queue) dropOldest(now time.Time, why string) bool {
	q.mu.Lock()
	n := 1
	if q.segments[0].bytes < int64(q.o.SegmentSize)/2 && len(q.segments) > 2 {
		n = 2 // the first is only the frame that the last drop left
	}
	next, empty := q.segments[n].first, q.segments[n].bytes == 0
	q.mu.Unlock()
	if empty {
		return false
	}
	seq, ok := headSeq(q.o.Dir, next)
	if !ok {
		seq, ok = seqBefore(q.o.Dir, q.firsts(n), next)
	}
	q.mu.Lock()
	if q.committed.Offset < next-1 {
		p := Position{next - 1, q.committed.Seq}
		if ok {
			p.Seq = min(max(seq, p.Seq), q.end.Seq)
		} else {
			p.Seq = min(q.committed.Seq+(p.Offset-q.committed.Offset), q.end.Seq)
		}
		lost := p.Seq - q.committed.Seq
		q.counters.dropped += lost
		q.committed = p
		if lost > 0 {
			q.log.Warn("the queue has dropped its oldest events", "reason", why, "events", lost, "up_to_offset", p.Offset)
		}
	}
	q.mu.Unlock()
	return q.save() && q.drop(n, now)
}

func (q *Queue) firsts(n int) []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := make([]uint64, n)
	for i := range f {
		f[i] = q.segments[i].first
	}
	return f
}

// expire drops whole segments whose events are all older than MaxAge.
func (q *Queue) expire(now time.Time) {
	for {
		q.mu.Lock()
		var second uint64
		if len(q.segments) > 1 {
			second = q.segments[1].first
		}
		q.mu.Unlock()
		if second == 0 {
			return
		}
		b, err := readBounded(filepath.Join(q.o.Dir, segmentName(second)), headerSize+controlSize+maxPrefix)
		if err != nil {
			return
		}
		f, _, bad := next(b, second)
		if bad || now.UnixMilli()-f.time() <= q.o.MaxAge.Milliseconds() || !q.dropOldest(now, "age") {
			return
		}
	}
}

// shutdown writes what is left and closes the files.
func (q *Queue) shutdown() {
	var err error
	if q.store != nil {
		if q.committedNow() != q.filed && !q.save() {
			err = errors.New("the committed offset could not be written at the end")
		}
		err = errors.Join(err, q.store.Close())
	}
	err = errors.Join(err, q.file.close(), q.lock.Close())
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	q.mu.Lock()
	q.lastErr = err
	q.mu.Unlock()
}

func (q *Queue) committedNow() Position { _, c := q.bounds(); return c }
