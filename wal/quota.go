package wal

import (
	"fmt"
	"time"
)

// quota makes room for n more bytes or says why not.
func (q *Queue) quota(n int64, now time.Time) error {
	q.measure(now)
	most := q.most
	if most <= 0 {
		return nil
	}
	for {
		q.mu.Lock()
		over := q.bytes+n > most
		segments, committed, idle := len(q.segments), q.committed.Offset, q.committed.Seq == q.end.Seq
		unwanted := q.unwantedLocked()
		bytes := q.bytes
		q.mu.Unlock()
		if !over {
			return nil
		}
		if k := q.droppable(unwanted); k > 0 && q.drop(k, now) {
			continue
		}
		if k := q.droppable(committed); k > 0 && q.drop((k+1)/2, now) { // what is kept, the older half first
			continue
		}
		if q.store == nil {
			return q.lastErr
		}
		if idle {
			return nil // whatever the quota, an empty queue takes a group
		}
		if q.o.Policy == RejectNew {
			q.mu.Lock()
			q.rejected.note(now)
			q.mu.Unlock()
			key := "queue.max_bytes"
			if most != q.o.MaxBytes {
				key = "more would fill the medium"
			}
			return fmt.Errorf("%w: %d bytes of at most %d (%s), and queue.policy is %q", ErrFull, bytes, most, key, q.o.Policy)
		}
		if q.o.Policy == Thin && q.thinOnce(now) {
			continue
		}
		if q.store == nil {
			return q.lastErr
		}
		if segments < 2 || !q.dropOldest(1, now, WhyQuota) {
			if q.store == nil {
				return q.lastErr
			}
			return nil // a quota smaller than a segment holds the tail at least
		}
	}
}

// measure looks once a second how much the queue may hold on a medium that must not be filled: what
// it holds, and what is free above the floor. Below it the queue does not grow, and does not shrink
// either because others fill the medium: what comes takes the place of what gives way. One segment
// is always the queue's.
func (q *Queue) measure(now time.Time) {
	if q.o.Floor <= 0 || now.Sub(q.measured) < time.Second {
		return
	}
	q.measured = now
	free, err := q.o.free(q.o.Dir)
	if err != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	left, segment := free-q.o.Floor, int64(q.o.SegmentSize)
	most := q.bytes + max(left, 0)
	if left < 0 && q.below {
		most = min(q.most, q.bytes+segment)
	}
	q.below = left < 0
	if most = max(most, segment); q.o.MaxBytes > 0 {
		most = min(most, q.o.MaxBytes)
	}
	q.most = most
}

// dropOldest gives up what is not yet committed in the first n segments, or in more until one that
// is not empty follows. The loss is counted, durably, before anything is deleted.
func (q *Queue) dropOldest(n int, now time.Time, why Why) bool {
	if !q.syncWrites(now) {
		return false
	}
	q.mu.Lock()
	for n < len(q.segments) && q.segments[n].bytes == 0 {
		n++
	}
	if n >= len(q.segments) {
		q.mu.Unlock()
		return false
	}
	next := q.segments[n].first
	from := q.committed
	q.mu.Unlock()
	seq, ok := headSeq(q.o.Dir, next)
	if !ok {
		var before tail
		before, ok = countedBefore(q.o.Dir, q.firsts(n), next)
		seq = before.seq
	}
	gap := Gap{}
	thinned := from.Thinned
	if from.Offset < next-1 {
		gap, thinned = q.survey(from, next)
	}
	q.mu.Lock()
	var lost uint64
	if q.committed.Offset < next-1 {
		if q.committed.Offset > from.Offset { // part of it was acknowledged while we looked
			gap.Events = 0
		}
		if !ok {
			seq = q.committed.Seq + (next - 1 - q.committed.Offset)
		}
		p := Position{next - 1, min(max(seq, q.committed.Seq), q.end.Seq), max(thinned, q.committed.Thinned)}
		all := p.Seq - q.committed.Seq
		already := min(p.Thinned-q.committed.Thinned, q.ahead, all) // counted and reported when they were thinned
		lost = all - already
		q.counters.dropped += all
		q.ahead -= already
		q.committed = p
		gap.Events, gap.Why = lost, why
		q.gap.add(gap)
		q.balanceLocked()
	}
	q.mu.Unlock()
	if lost > 0 {
		q.tell(gap)
		q.log.Warn("the queue has dropped its oldest events",
			"reason", why.String(), "events", lost, "up_to_offset", next-1)
	}
	return q.save() && q.drop(n, now)
}

// survey reads what is about to be dropped: the events behind a position and before the offset
// next. It returns their gap, and how many thinning has removed up to there.
func (q *Queue) survey(from Position, next uint64) (g Gap, thinned uint64) {
	r := &Reader{q: q, pos: from}
	defer r.Close()
	// An error leaves the times of what cannot be read unknown; the count does not depend on it.
	_ = r.Read(func(e *Entry) bool {
		if e.Offset >= next {
			return false
		}
		g.see(e.Time)
		return true
	})
	return g, r.pos.Thinned
}

// clockKnown reports whether t is of a clock that was set: machines without one begin in 1970, and
// what they wrote then is not old.
func clockKnown(t int64) bool { return t >= year2020 && t < year2100 }

const year2020, year2100 = 1577836800000, 4102444800000

// expire drops whole segments whose events were all written longer ago than MaxAge: those in front
// of a segment whose head is that old.
func (q *Queue) expire(now time.Time) {
	today := q.o.Now()
	if !clockKnown(today) {
		return
	}
	q.mu.Lock()
	n := len(q.segments)
	q.mu.Unlock()
	old := 0
	for i, first := range q.firsts(n) {
		if i == 0 {
			continue
		}
		f, _, ok := head(q.o.Dir, first)
		if !ok { // a damaged head says nothing
			continue
		}
		age := today - f.time()
		if !clockKnown(f.time()) || age < 0 { // nor does one from a wrong clock; a later head counts for all before it
			continue
		}
		if age <= q.o.MaxAge.Milliseconds() {
			break
		}
		old = i
	}
	if old > 0 {
		q.dropOldest(old, now, WhyAge)
	}
}
