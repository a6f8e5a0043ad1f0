package wal

import (
	"os"
	"time"
)

// run is the committer's goroutine: it makes group after group durable, and looks after the files
// between them.
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
			for q.flush(true) {
			}
			q.shutdown()
			q.own.Unlock()
			close(q.outcomes)
			close(q.syncs)
			return
		}
		timer.Reset(q.work())
	}
}

// work commits what is due and does the upkeep. It returns when to come again at the latest.
func (q *Queue) work() time.Duration {
	q.own.Lock()
	defer q.own.Unlock()
	for {
		now := time.Now()
		d := q.hold(now, nil)
		if d > 0 {
			return min(q.maintain(now), d)
		}
		again := q.flush(true)
		d = q.maintain(time.Now()) // between groups too, or writers that never pause would hold the upkeep up
		if !again {
			return d
		}
	}
}

// hold is how long the pending group should still collect because the flash budget is short: at
// most queue.max_delay from its first event on, and not beyond what a group holds; above 0 too if
// there is none. behind is the group in front of it if that is not durable, so not charged, yet.
func (q *Queue) hold(now time.Time, behind *written) time.Duration {
	perDay, most := q.budget.limits()
	if perDay <= 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.pending
	switch {
	case !g.waiting: // a group that begins after this look gets one of its own
		return fileAfter
	case q.space != nil || q.shut:
		return 0
	}
	size, owed := q.segments[len(q.segments)-1].bytes, int64(0)
	if behind != nil {
		size, owed = behind.newest().bytes, q.cost(behind.tail, int64(behind.bytes))
	}
	cost := owed + wear(size, int64(len(g.buf)), q.commitCost())
	return min(q.budget.wait(cost, now), most-now.Sub(g.since))
}

// commit writes one group and makes it durable: one write for each segment it touches and one
// fsync. With Options.Interval the fsync comes later.
func (q *Queue) commit(g *group) error {
	w, err := q.put(g, nil)
	if err != nil {
		return err
	}
	return q.makeDurable(w)
}

// makeDurable syncs a group that is written, and accepts it.
func (q *Queue) makeDurable(w *written) error {
	if q.o.Interval == 0 {
		if err := q.fsync(w.newest().first); err != nil {
			return q.poison(err, time.Now())
		}
	}
	q.accept(w)
	return nil
}

// written is a group that the library has written, and what the queue will be once that is durable.
type written struct {
	g         *group
	end       Position
	tail      segment   // what was the tail
	begun     []segment // segments that begin with it
	bytes     int
	committed Position // that its control frame, or an earlier one, holds
	gap       Gap      // that no event up to it reports
	err       error    // or why it is not written; then only g counts
}

// newest is the segment in which the group ends.
func (w *written) newest() *segment {
	if n := len(w.begun); n > 0 {
		return &w.begun[n-1]
	}
	return &w.tail
}

// put makes room for a group and has the library write it. behind is the group in front of it, if
// that is not durable yet.
func (q *Queue) put(g *group, behind *written) (*written, error) {
	now := time.Now()
	if q.store == nil {
		if err := q.reopen(now); err != nil {
			return nil, err
		}
	}
	recorded := false
	if behind == nil {
		if len(g.buf) > 0 { // a lone control frame is a probe of the medium, and does not wait for room
			err := q.admit()
			if err == nil {
				err = q.quota(int64(len(g.buf)), now)
			}
			if err != nil {
				return nil, err
			}
		}
		recorded = q.recordGap(g)
	}
	if perDay, _ := q.budget.limits(); perDay > 0 && now.Sub(g.since) >= time.Millisecond && !g.since.IsZero() {
		q.stretched.Add(1)
	}
	w := q.compose(g, behind, recorded)
	if err := q.write(now, w, behind != nil); err != nil {
		if behind != nil { // the outcome of the one in front of it comes first
			return nil, err
		}
		return nil, q.poison(err, now)
	}
	q.lastWrite, q.framing = now, w.committed
	return w, nil
}

// compose makes the library's batch of a group. The library begins a new segment when the present
// one has reached its size, in the middle of a batch too. Each segment begins with a control frame,
// so that start-up and repair need no other segment to know the count.
func (q *Queue) compose(g *group, behind *written, recorded bool) *written {
	w := &q.groups[0]
	if behind == w {
		w = &q.groups[1]
	}
	q.mu.Lock()
	*w = written{g: g, end: q.end, tail: q.segments[len(q.segments)-1], begun: w.begun[:0]}
	state := q.stateLocked()
	q.mu.Unlock()
	if behind != nil {
		w.end, w.tail, state.gap = behind.end, *behind.newest(), behind.gap
	}
	w.committed = state.committed
	s := &w.tail
	begin := func() {
		w.begun = append(w.begun, segment{first: w.end.Offset + 1})
		s = w.newest()
	}
	if s.bytes > int64(q.o.SegmentSize) {
		begin()
	}
	put := func(f frame) {
		w.end.Offset++
		f.seal(w.end.Offset)
		q.batch.Write(w.end.Offset, f)
		n := entrySize(len(f))
		s.bytes += int64(n)
		w.bytes += n
		if s.bytes >= int64(q.o.SegmentSize) {
			begin()
		}
	}
	var room [headerSize + maxControlSize]byte
	control := func() frame {
		state.seq = w.end.Seq
		return state.append(appendFrame(room[:0], frameControl, &Event{Time: q.o.Now()}))
	}
	q.batch.Clear()
	if state.committed.Offset != q.framing.Offset || !q.proven {
		put(control())
	}
	at := 0
	for _, n := range g.sizes {
		if s.bytes == 0 {
			put(control())
		}
		put(frame(g.buf[at : at+n]))
		w.end.Seq++
		at += n
	}
	if recorded {
		state.gap = Gap{}
		put(control())
	}
	if behind == nil && q.pads(s.bytes, w.bytes) {
		put(padded(control(), int64(q.o.SegmentSize)-s.bytes))
	}
	w.gap = state.gap
	return w
}

// accept takes a group into the queue that is durable or, with Options.Interval, written.
func (q *Queue) accept(w *written) {
	now := time.Now()
	if !q.proven {
		q.log.Info("the queue can be written again", "dir", q.o.Dir)
	}
	q.proven = true
	q.commits.Add(1)
	q.ledger.add(Account{Written: int64(w.bytes), Commits: 1, Events: w.g.events, Number: uint64(len(w.g.sizes))})
	q.mu.Lock()
	q.end = w.end
	q.segments[len(q.segments)-1] = w.tail
	q.segments = append(q.segments, w.begun...)
	q.bytes += int64(w.bytes)
	if !q.starved {
		q.lastErr = nil
	}
	q.gap = w.gap
	if q.dirty.IsZero() {
		q.synced, q.framed = w.end, w.committed
	}
	q.mu.Unlock()
	if !q.dirty.IsZero() {
		q.unsynced += int64(w.bytes)
		return
	}
	q.charge(q.cost(w.tail, int64(w.bytes)), now)
	size := w.newest().bytes
	q.tail.noteCommit(size)
	if q.o.Fill && q.tail.small(size, q.o.SegmentSize) {
		poke(q.kick) // for the upkeep to fill it
	}
	poke(q.wake)
}

// cost is what a commit of n bytes costs the medium, after which the tail has its size.
func (q *Queue) cost(tail segment, n int64) int64 {
	return wear(tail.bytes-min(tail.bytes, n), n, q.commitCost())
}

// stateLocked is what control frames and the committed file hold.
func (q *Queue) stateLocked() control {
	return control{
		seq: q.end.Seq, committed: q.committed, counters: q.counters,
		ahead: q.ahead, thin: q.thin, gap: q.gap, kept: q.committed.Offset - min(q.kept, q.committed.Offset),
	}
}

// recordGap puts the event that reports what was dropped behind those of the group. The control
// frame behind it says that this is done: a crash between the two at worst makes the same record
// twice.
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

// record makes the event that reports what was dropped; false if there is nothing to report, or not
// yet.
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
	return e, ok && e.Kind <= maxKind && e.Action <= maxAction && len(e.Fragment) <= MaxFragment
}

// write has the library append the batch. beside: while the fsync of the group in front of it runs.
func (q *Queue) write(now time.Time, w *written, beside bool) error {
	began := time.Now()
	if err := q.ops.Append(beside, q.append); err != nil {
		return err
	}
	begun, empty := len(w.begun), w.newest().bytes == 0
	if begun > 0 { // the library has synced what is full, and that takes nearly all of the time
		q.slow.note(began, q.o.Dir, q.log)
		// The library keeps a copy of what is full, which nobody reads: half a MiB less to hold.
		_ = q.store.ClearCache() // fails for a closed log only
	}
	q.newNames = q.newNames || q.newTail || begun > 1 || begun == 1 && !empty
	q.newTail = begun > 0 && empty
	q.ledger.add(Account{Fsyncs: uint64(begun)}) // the library's, of segments that are full
	if q.o.Interval > 0 && q.dirty.IsZero() {
		q.dirty = now
		poke(q.kick) // for the committer to come back
	}
	return nil
}

// fsync makes durable what was written, up to the segment that is the tail now. If that is empty,
// the library has done so when it ended the segment before.
func (q *Queue) fsync(tail uint64) error {
	var f *os.File
	if q.newTail {
		q.tail.close()
	} else {
		var err error
		if f, err = q.openTail(tail); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := q.ops.SyncData(f); err != nil {
		return err
	}
	if f != nil {
		q.slow.note(began, q.o.Dir, q.log)
		q.ledger.add(Account{Fsyncs: 1})
	}
	if q.newNames {
		if err := q.ops.SyncDir(q.o.Dir); err != nil {
			return err
		}
		q.ledger.add(Account{Fsyncs: 1})
		q.newNames = false
	}
	return nil
}

// syncWrites makes durable what was accepted before its fsync (Options.Interval); false if the
// medium refuses.
func (q *Queue) syncWrites(now time.Time) bool {
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
	q.synced, q.framed = end, q.framing
	q.mu.Unlock()
	n := q.unsynced
	q.unsynced = 0
	q.charge(q.cost(tail, n), now)
	q.tail.noteCommit(tail.bytes)
	poke(q.wake)
	return true
}

// charge takes from the budget what a write costs the medium, and puts it into the account.
func (q *Queue) charge(bytes int64, now time.Time) {
	q.budget.spend(bytes, now)
	q.ledger.add(Account{Wear: bytes})
}
