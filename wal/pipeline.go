package wal

import (
	"math"
	"os"
	"time"

	"edgesync/wal/disk"

	tlog "github.com/tidwall/wal"
)

// With many writers the queue is as fast as the medium only if the medium never waits for the
// queue. One part of the writers waits for the fsync under way; the other part has handed over the
// next group long before that fsync ends. So that group is written meanwhile, and its fsync begins
// at once; then the first part gets its outcome.
//
//	library   write A          write B          write C
//	medium           fsync A ------->fsync B ------->fsync C
//	writers                           outcome of A     outcome of B
//
// A group that is written in this way only goes on in the tail. Whatever needs more (a new segment,
// room, a record of a gap, patience for the flash budget) waits until nothing is under way. So the
// upkeep has its turn at the end of each segment at the latest, and after pipelineMost.
//
// On a slow medium there is nothing to win: writing early saves microseconds of an fsync of
// milliseconds, and writers who come a little later than most wait for one more fsync (with one of
// 50 ms, 100 to 150 ms instead of 100). So pipelines are for quick mediums only.
const (
	pipelineMost  = time.Second
	pipelineBelow = 2 * time.Millisecond // of the fsync before
)

// flush commits the pending group; false if there is none. The committer may go on with a pipeline
// of others; a caller of Append must not be held up for them.
func (q *Queue) flush(committer bool) bool {
	q.mu.Lock()
	g := q.takeLocked()
	q.mu.Unlock()
	if g == nil {
		return false
	}
	w, err := q.put(g, nil)
	q.crowd = false
	switch {
	case err != nil:
		q.finish(g, err)
	case committer && max(g.appends, q.lately) >= q.o.besideFrom && q.o.Interval == 0 && !q.newTail:
		q.pipeline(w)
	default:
		q.finish(g, q.makeDurable(w))
	}
	return true
}

// takeLocked takes the pending group; nil if nobody waits for one.
func (q *Queue) takeLocked() *group {
	g := q.pending
	if !g.waiting {
		return nil
	}
	if n := len(q.spare); n > 0 {
		q.pending = q.spare[n-1]
		q.spare = q.spare[:n-1]
	} else {
		q.pending = new(group)
	}
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
	return g
}

// finish hands the outcome of a group to those who wait for it.
func (q *Queue) finish(g *group, err error) {
	for _, fn := range g.done {
		fn(err)
	}
	if g.outcome != nil {
		g.outcome.err = err
		q.announce(g.outcome, g.appends)
	}
	clear(g.done)
	if cap(g.buf) > 2*groupBytes { // one oversized append is not kept for ever
		g.buf, q.batch = nil, tlog.Batch{}
	}
	q.lately = max(g.appends, q.lately*3/4)
	*g = group{buf: g.buf[:0], sizes: g.sizes[:0], done: g.done[:0]}
	q.mu.Lock()
	if len(q.spare) < cap(q.spare) {
		q.spare = append(q.spare, g)
	}
	q.mu.Unlock()
}

// announce wakes those who wait. To wake hundreds takes as long as to prepare the next group, so a
// goroutine of its own does that.
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

// wakeMany is the goroutine that announces the outcomes of large groups.
func (q *Queue) wakeMany() {
	for o := range q.outcomes {
		close(o.done)
	}
}

// fileSync asks for the fsync of a segment, and then of the names.
type fileSync struct {
	f     *os.File
	names bool
}

// syncMany is the goroutine that waits for the medium while the committer writes the next group.
func (q *Queue) syncMany() {
	for s := range q.syncs {
		began := time.Now()
		err := q.ops.FinishSync(s.f)
		q.syncTook.Store(int64(time.Since(began)))
		if err == nil {
			q.slow.note(began, q.o.Dir, q.log)
			q.ledger.add(Account{Fsyncs: 1})
		}
		if err == nil && s.names {
			if err = disk.SyncDir(q.o.Dir); err == nil {
				q.ledger.add(Account{Fsyncs: 1})
			}
		}
		q.syncErr <- err
	}
}

// pipeline makes w durable, and group after group behind it, as long as each could be written while
// the one in front of it was synced.
func (q *Queue) pipeline(w *written) {
	if err := q.startSync(w); err != nil {
		q.finish(w.g, q.poison(err, time.Now()))
		return
	}
	q.expect(q.lately)
	until := time.Now().Add(pipelineMost)
	for w != nil {
		next, err := q.await(w, until)
		if err != nil {
			if next != nil && next.err == nil {
				<-q.syncErr // whatever its outcome
			}
			err = q.poison(err, time.Now())
			q.finish(w.g, err)
			if next != nil {
				q.finish(next.g, err)
			}
			return
		}
		q.accept(w)
		if next != nil && next.err != nil {
			q.finish(w.g, nil)
			q.finish(next.g, q.poison(next.err, time.Now()))
			return
		}
		if next != nil {
			q.expect(q.waiting() + w.g.appends)
		}
		q.finish(w.g, nil)
		w = next
	}
}

// startSync has syncMany make a written group durable.
func (q *Queue) startSync(w *written) error {
	f, err := q.openTail(w.newest().first)
	if err != nil {
		return err
	}
	s := fileSync{f, q.newNames}
	if err := q.ops.StartSync(s.f, s.names); err != nil {
		return err
	}
	q.newNames = false // after a failure opening syncs the directory
	q.syncs <- s
	return nil
}

// expect has submit signal when a quarter of the appends wait that will: those there, and one for
// each writer that gets its outcome now. To wait for most of them would make larger groups, but the
// fsync under way often ends before so many are there, and then the medium waits for the queue:
// measured with 256 writers and an fsync of 130 us, 0.66 to 0.72 of bare write and fdatasync
// instead of 0.76 to 0.93.
func (q *Queue) expect(appends int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.many: // of an earlier expectation
	default:
	}
	q.enough = max(1, appends/4)
	q.signalEnoughLocked()
}

// signalEnoughLocked puts one token into many when enough appends wait.
func (q *Queue) signalEnoughLocked() {
	if q.pending.appends >= q.enough {
		q.enough = math.MaxInt
		poke(q.many)
	}
}

// waiting is how many appends wait for the next commit.
func (q *Queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending.appends
}

// await waits for the fsync of w under way, and writes the next group meanwhile if enough wait for
// it.
func (q *Queue) await(w *written, until time.Time) (next *written, err error) {
	select {
	case <-q.many: // enough waited when the fsync began
		next = q.beside(w, until)
	default:
	}
	for {
		select {
		case <-q.many:
			next = q.beside(w, until)
		case err := <-q.syncErr:
			q.mu.Lock()
			q.enough = math.MaxInt
			q.mu.Unlock()
			return next, err
		}
	}
}

// beside writes the next group while w is synced, and has it synced behind w; nil if that cannot
// be.
func (q *Queue) beside(w *written, until time.Time) *written {
	now := time.Now()
	slow := time.Duration(q.syncTook.Load()) >= pipelineBelow
	if !now.Before(until) || slow || q.o.Record != nil && w.gap.Events > 0 || q.hold(now, w) > 0 {
		return nil
	}
	q.mu.Lock()
	p := q.pending
	q.crowd = p.appends >= manyWaiting
	need := int64(len(p.buf) + (len(p.sizes)+1)*maxPrefix + headerSize + maxControlSize)
	if w.newest().bytes+need > int64(q.o.SegmentSize-q.o.SegmentSize/padShareCrowd) ||
		q.o.MaxBytes > 0 && q.bytes+int64(w.bytes)+need > q.o.MaxBytes {
		q.mu.Unlock()
		return nil
	}
	g := q.takeLocked()
	q.mu.Unlock()
	next, err := q.put(g, w)
	if err == nil {
		err = q.startSync(next)
	}
	if err != nil {
		return &written{g: g, err: err}
	}
	return next
}
