package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
			q.own.Lock()
			for q.flush() {
			}
			q.shutdown()
			q.own.Unlock()
			close(q.outcomes)
			return
		}
		timer.Reset(q.work())
	}
}

// work commits what is due and does the upkeep; it returns when to come again at the latest.
func (q *Queue) work() time.Duration {
	q.own.Lock()
	defer q.own.Unlock()
	for {
		now := time.Now()
		d := q.hold(now)
		if d > 0 {
			return min(q.maintain(now), d)
		}
		again := q.flush()
		d = q.maintain(time.Now()) // between groups too: writers that never pause must not hold it up
		if !again {
			return d
		}
	}
}

// hold is how long the pending group should still collect, because the flash budget is short; at most queue.max_delay from its first
// event on, and not beyond what a group holds.
func (q *Queue) hold(now time.Time) time.Duration {
	if q.o.FlashBudget <= 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.pending
	if !g.waiting || q.space != nil || q.shut {
		return 0
	}
	cost := wear(q.segments[len(q.segments)-1].bytes, int64(len(g.buf)), q.commitCost())
	return min(q.budget.wait(cost, now), q.o.MaxDelay-now.Sub(g.since))
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
		q.announce(g.outcome, len(g.sizes))
	}
	clear(g.done)
	if cap(g.buf) > 2*groupBytes { // one oversized append is not kept for ever
		g.buf, q.batch = nil, tlog.Batch{}
	}
	g.buf, g.sizes, g.done, g.outcome, g.waiting, g.events = g.buf[:0], g.sizes[:0], g.done[:0], nil, false, 0
	q.mu.Lock()
	q.spare = g
	q.mu.Unlock()
	return true
}

// announce wakes those who wait. To wake hundreds takes as long as to prepare the next group, so it is left to a goroutine of its own.
func (q *Queue) announce(o *outcome, waiting int) {
	if waiting >= manyWaiting {
		select {
		case q.outcomes <- o:
			return
		default:
		}
	}
	close(o.done)
}

// wakeMany is the goroutine that announce leaves large groups to.
func (q *Queue) wakeMany() {
	for o := range q.outcomes {
		close(o.done)
	}
}

// commit writes one group and makes it durable: one write for each segment it touches and one fsync. With Options.Interval the fsync
// comes later.
func (q *Queue) commit(g *group) error {
	now := time.Now()
	if q.store == nil {
		if err := q.reopen(now); err != nil {
			return err
		}
	}
	if len(g.buf) > 0 { // a lone control frame, which proves that the medium takes writes again, does not wait for room
		if err := q.quota(int64(len(g.buf)), now); err != nil {
			return err
		}
	}
	recorded := q.recordGap(g)
	if q.o.FlashBudget > 0 && now.Sub(g.since) >= time.Millisecond && !g.since.IsZero() {
		q.stretched.Add(1)
	}
	q.mu.Lock()
	end, state := q.end, q.stateLocked()
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
	var room [headerSize + maxControlSize]byte
	control := func() frame {
		state.seq = end.Seq
		return state.append(appendFrame(room[:0], frameControl, &Event{Time: q.o.Now()}))
	}
	q.batch.Clear()
	if state.committed.Offset != q.telling.Offset || !q.proven {
		put(control())
	}
	at := 0
	for _, n := range g.sizes {
		if size == 0 {
			put(control())
		}
		put(frame(g.buf[at : at+n]))
		end.Seq++
		at += n
	}
	if recorded {
		state.gap = Gap{}
		put(control())
	}
	if q.pads(size, bytes) {
		put(padded(control(), int64(q.o.SegmentSize)-size))
	}
	last := tail.first
	if n := len(begun); n > 0 {
		last = begun[n-1].first
	}
	if err := q.write(now, last, len(begun), size == 0); err != nil {
		return q.poison(err, now)
	}
	if !q.proven {
		q.log.Info("the queue can be written again", "dir", q.o.Dir)
	}
	q.proven = true
	q.lastWrite = now
	q.telling = state.committed
	q.commits.Add(1)
	q.ledger.add(Account{Written: int64(bytes), Commits: 1, Events: g.events})
	q.mu.Lock()
	q.end = end
	q.segments[len(q.segments)-1] = tail
	q.segments = append(q.segments, begun...)
	q.bytes += int64(bytes)
	q.lastErr = nil
	q.gap = state.gap
	if q.dirty.IsZero() {
		q.synced, q.told = end, q.telling
	}
	q.mu.Unlock()
	if !q.dirty.IsZero() {
		q.unsynced += int64(bytes)
		return nil
	}
	q.charge(wear(tail.bytes-min(tail.bytes, int64(bytes)), int64(bytes), q.commitCost()), now)
	q.tail.noteCommit(size)
	if q.o.Fill && q.tail.small(size, q.o.SegmentSize) {
		poke(q.kick) // the upkeep fills it
	}
	poke(q.wake)
	return nil
}

// stateLocked is what control frames and the committed file tell.
func (q *Queue) stateLocked() control {
	return control{seq: q.end.Seq, committed: q.committed, counters: q.counters, ahead: q.ahead, thin: q.thin, gap: q.gap}
}

// recordGap puts the event that tells of what was dropped behind those of the group. The control frame behind it tells that this is
// done: a crash between the two at worst makes the same record twice.
func (q *Queue) recordGap(g *group) bool {
	e, ok := q.record()
	if !ok {
		return false
	}
	before := len(g.buf)
	g.buf = appendFrame(g.buf, frameEvent, &e)
	g.sizes = append(g.sizes, len(g.buf)-before)
	g.events += int64(len(e.Fragment))
	return true
}

// record makes the event that tells of what was dropped; false if there is nothing to tell, or not yet.
func (q *Queue) record() (e Event, ok bool) {
	if q.o.Record == nil {
		return e, false
	}
	q.mu.Lock()
	gap, total := q.gap, q.counters.dropped+q.ahead
	q.mu.Unlock()
	if gap.Events == 0 {
		return e, false
	}
	e, ok = q.o.Record(gap, total)
	return e, ok && e.Kind <= maxKind && len(e.Fragment) <= MaxFragment
}

// write hands the batch to the library and makes it durable, or notes that this is still to come. begun is how many segments the
// library begins with it; empty: the last of them at its end, so that nothing is in it yet.
func (q *Queue) write(now time.Time, tail uint64, begun int, empty bool) error {
	if err := q.step("write"); err != nil {
		return err
	}
	if err := q.store.WriteBatch(&q.batch); err != nil {
		return err
	}
	q.newNames = q.newNames || q.newTail || begun > 1 || begun == 1 && !empty
	q.newTail = begun > 0 && empty
	q.ledger.add(Account{Fsyncs: uint64(begun)}) // the library's, of segments that are full
	if q.o.Interval > 0 {
		if q.dirty.IsZero() {
			q.dirty = now
			poke(q.kick) // the committer is to come back for it
		}
		return nil
	}
	return q.fsync(tail)
}

// fsync makes durable what was written, up to the segment that is the tail now. If that is empty the library has done it, when it ended
// the segment before.
func (q *Queue) fsync(tail uint64) error {
	if err := q.step("sync"); err != nil {
		return err
	}
	if q.newTail {
		q.tail.close()
	} else {
		if err := q.tail.sync(q.o.Dir, tail); err != nil {
			return err
		}
		q.ledger.add(Account{Fsyncs: 1})
	}
	if q.newNames {
		if err := q.step("syncdir"); err != nil {
			return err
		}
		if err := syncDir(q.o.Dir); err != nil {
			return err
		}
		q.ledger.add(Account{Fsyncs: 1})
		q.newNames = false
	}
	return nil
}

// settleWrites makes durable what was accepted before its fsync (Options.Interval); false if the medium refuses.
func (q *Queue) settleWrites(now time.Time) bool {
	if q.dirty.IsZero() || q.store == nil {
		return q.store != nil
	}
	q.mu.Lock()
	end, tail := q.end, q.segments[len(q.segments)-1]
	q.mu.Unlock()
	if err := q.fsync(tail.first); err != nil {
		q.poison(err, now)
		return false
	}
	q.dirty = time.Time{}
	q.mu.Lock()
	q.synced, q.told = end, q.telling
	q.mu.Unlock()
	n := q.unsynced
	q.unsynced = 0
	q.charge(wear(tail.bytes-min(tail.bytes, n), n, q.commitCost()), now)
	q.tail.noteCommit(tail.bytes)
	poke(q.wake)
	return true
}

// charge takes what a write cost the medium from the budget and puts it into the account.
func (q *Queue) charge(bytes int64, now time.Time) {
	q.budget.spend(bytes, now)
	q.ledger.add(Account{Wear: bytes})
}

// step lets tests fail the medium, and look at it, before each thing that is done to it.
func (q *Queue) step(op string) error {
	if q.o.inject == nil {
		return nil
	}
	return q.o.inject(op)
}

// poison gives the library's handle up after an error: what it holds in memory no longer agrees with the file (hazard "after ENOSPC a
// retry returns nil"). What was not acknowledged is cut from the files, now or before the next try.
func (q *Queue) poison(cause error, now time.Time) error {
	if q.store != nil { // it is not there when the log could not be opened again
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

// cutBack removes everything behind the last acknowledged byte.
func (q *Queue) cutBack() error {
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
		err = errors.Join(err, syncDir(q.o.Dir))
	}
	path := filepath.Join(q.o.Dir, segmentName(tail.first))
	if i, statErr := os.Stat(path); errors.Is(statErr, fs.ErrNotExist) || statErr == nil && i.Size() <= tail.bytes {
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

// shutdown writes what is left and closes the files.
func (q *Queue) shutdown() {
	var err error
	if q.store == nil && q.o.Interval > 0 { // what was accepted before the medium failed may not be synced
		if err = q.cutBack(); err == nil {
			err = q.open()
		}
	}
	if !q.dirty.IsZero() && !q.settleWrites(time.Now()) {
		err = errors.New("what was accepted last could not be synced at the end")
	}
	if q.Committed().Offset != q.filed.Offset && !q.save() {
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
