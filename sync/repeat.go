package sync

import (
	"errors"
	"math"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/link"
	"edgesync/wal"
)

// A server that is stopped acknowledges and loses: what it has acknowledged lies in its memory for
// a while (CONTRACT.md 13.6). So when a session ends that we did not end, telemetry and attributes
// that were acknowledged in its last sync.repeat are sent again, in the order of the queue, before
// anything else of the queue. They carry their times and scopes, so the server writes them over.
// Everything up to the committed offset is repeated, so the newest value of each key comes last
// here too. Alarms, relations, entity events and calls are not repeated: the server stores them
// before it acknowledges them, and a repetition of theirs can undo what people did meanwhile.
//
// What is repeated is in no count but Snapshot.Repeated, and never goes to the dead letters: the
// cloud had it. The queue keeps the segments (wal.Queue.Keep) and, beside the committed offset,
// from where to repeat; so a repetition goes on after a restart. An agent that was killed repeats
// as well: it cannot know how its last session ended. After an orderly stop nothing is repeated but
// what was due before.

// repeating is what was acknowledged lately, and the repetition that is due. It outlives sessions,
// but for what is in flight.
type repeating struct {
	last      time.Duration // sync.repeat; 0: nothing is ever repeated
	stretches []stretch     // of acknowledgements, oldest first; at most repeatParts and a few

	from, until uint64 // what is to be repeated: behind from, up to until; until 0: nothing
	queue       *wal.Queue
	reader      *wal.Reader // nil: nothing is to be repeated
	open        *batch
	full        int    // batch.size
	size        int    // events of a batch; less than batch.size while a refused one is searched
	sizeUntil   uint64 // offset up to which that is so

	// A cloud that refuses everything: the queue has its own way with that (outage.go), and the
	// repetition waits until something is accepted.
	misses  int       // refusals of one event in a row
	held    bool      // the repetition waits
	due     time.Time // of its next try, whatever the queue does
	passes  bool      // something was accepted since
	resumed bool      // what was sent meanwhile is repeated too, once nothing of it is in flight

	// The offsets up to which the last repetitions went, oldest first, at most repeatTimes, of
	// sessions that were all shorter than sync.repeat. No later one goes back to what stands in
	// front of the first: a link that ends again and again would else repeat for ever. One that
	// was cut short goes on where it was, for what it sent last must not stay the newest.
	plans []uint64

	// The stream ended so often in a row with the batch first in flight that begins at this offset.
	endsAt uint64
	ends   int
}

// stretch is a short time in which the cloud acknowledged something.
type stretch struct {
	from        uint64 // everything that was acknowledged in it lies behind this offset
	first, last time.Time
}

func newRepeating(q *wal.Queue, c *config.Config) repeating {
	return repeating{last: c.Sync.Repeat, full: c.Batch.Size, size: c.Batch.Size, queue: q}
}

func (r *repeating) endSession() {
	*r = repeating{
		last: r.last, stretches: r.stretches, from: r.from, until: r.until, queue: r.queue, reader: r.reader,
		full: r.full, size: r.size, sizeUntil: r.sizeUntil, endsAt: r.endsAt, ends: r.ends, resumed: r.held || r.resumed, plans: r.plans,
	}
	if r.reader != nil {
		r.reader.Seek(wal.Position{Offset: r.from})
	}
}

// active reports whether something is to be repeated now: then nothing else of the queue is sent.
func (r *repeating) active() bool { return r.until != 0 && !r.held }

// acknowledged notes that the cloud acknowledged something behind an offset.
func (r *repeating) acknowledged(from uint64, now time.Time) {
	if r.last == 0 {
		return
	}
	if n := len(r.stretches); n > 0 && now.Sub(r.stretches[n-1].first) < r.last/repeatParts {
		s := &r.stretches[n-1]
		s.from, s.last = min(s.from, from), now
		return
	}
	r.stretches = append(r.stretches, stretch{from: from, first: now, last: now})
}

// since returns the offset behind which everything lies that was acknowledged since a time, and
// forgets what was acknowledged before it; math.MaxUint64 if there is nothing.
func (r *repeating) since(t time.Time) (from uint64) {
	n := 0
	for n < len(r.stretches) && r.stretches[n].last.Before(t) {
		n++
	}
	if n > 0 {
		r.stretches = r.stretches[:copy(r.stretches, r.stretches[n:])]
	}
	from = math.MaxUint64
	for _, s := range r.stretches {
		from = min(from, s.from)
	}
	return from
}

// recallRepetition takes up what an earlier process left to repeat.
func (l *loop) recallRepetition() {
	r, committed := &l.repeating, l.queue.Committed().Offset
	if kept := l.queue.Kept(); r.last > 0 && kept < committed {
		r.plan(kept, committed)
	}
}

// plan makes what lies behind from, up to until, due, beside what is due already.
func (r *repeating) plan(from, until uint64) {
	if r.until != 0 {
		from = min(from, r.from)
	}
	if from >= until {
		return
	}
	r.from, r.until = from, until
	if r.reader == nil {
		r.reader = r.queue.Past(from)
	}
	r.reader.Seek(wal.Position{Offset: from})
}

// planRepetition decides at the end of a session what is to be repeated. An end that is ours, of a
// cloud that is there, loses nothing. One that is noticed late counts from when the cloud was heard
// last.
func (l *loop) planRepetition(err error, now time.Time) {
	r := &l.repeating
	if r.last == 0 {
		return
	}
	for _, ours := range [...]error{errSyncStuck, errSilence, errOverrun, errEdgeGone} {
		if errors.Is(err, ours) {
			return
		}
	}
	end := now
	if !link.CanBeAnswer(err) {
		end = l.conn.lastReceived
	}
	from, committed := r.since(end.Add(-r.last)), l.queue.Committed().Offset
	if len(r.plans) == repeatTimes {
		from = max(from, r.plans[0])
		r.plans = r.plans[:copy(r.plans, r.plans[1:])]
	}
	r.plan(from, committed)
	if r.until != 0 && !r.held {
		r.plans = append(r.plans, committed)
	}
}

// keepAcknowledged says to the queue what may be repeated.
func (l *loop) keepAcknowledged(now time.Time) {
	r := &l.repeating
	if r.last == 0 { // an earlier process may have kept something
		l.queue.Keep(math.MaxUint64)
		return
	}
	if l.conn.sess != nil {
		if now.Sub(l.conn.acceptedAt) >= r.last {
			r.plans = r.plans[:0]
		}
		now = l.conn.lastReceived
	}
	from := r.since(now.Add(-r.last))
	if r.until != 0 {
		from = min(from, r.from)
	}
	l.queue.Keep(from)
}

// keepPending says to the queue, at a stop, what is still to be repeated in the next life.
func (l *loop) keepPending() {
	from := uint64(math.MaxUint64)
	if l.repeating.until != 0 {
		from = l.repeating.from
	}
	l.queue.Keep(from)
}

// maybeRepeat sends what is to be repeated while the window admits it, and ends the repetition when
// all of it is acknowledged.
func (l *loop) maybeRepeat(now time.Time) {
	r, s := &l.repeating, &l.sending
	if r.held && !now.Before(r.due) {
		r.resume(false)
	}
	if r.resumed {
		if len(s.win.batches) > 0 {
			return
		}
		r.resumed, r.until = false, max(r.until, l.queue.Committed().Offset)
		l.rewind(l.queue.Committed())
	}
	for r.active() && !l.stopping && l.maySend(now) {
		if r.open == nil {
			r.open = s.win.get()
			r.open.reset(r.reader.Position())
			r.open.again = true
		}
		if !r.open.closed {
			if err := r.reader.Read(l.takeAgain); err != nil {
				l.complain("acknowledged events cannot be read again, and are not repeated", err.Error(), now)
				l.endRepetition()
				return
			}
			r.open.end = r.reader.Position()
		}
		if r.open.empty() { // nothing more
			if len(s.win.batches) == 0 {
				l.endRepetition()
			}
			return
		}
		limit := windowMax
		if s.limited || r.size < r.full {
			limit = 1
		}
		if !s.win.admits(r.open, limit) {
			return
		}
		b := r.open
		r.open = nil
		b.id, b.sentAt, b.state = l.nextID(), now, inFlight
		l.write(proto.FrameUplink(b.buf, b.id))
		s.win.push(b)
	}
}

// takeAgain is what the reader offers each acknowledged event to; false ends the batch.
func (l *loop) takeAgain(e *wal.Entry) bool {
	r := &l.repeating
	if e.Offset > r.until {
		return false
	}
	date, dated := l.date(e)
	if !dated || !isRepeated(&e.Event) || l.setAside(e).why != 0 || l.deadLog.Has(e.Offset) ||
		l.former.store != nil && !l.reg.Knows(e.Entity) { // of a former edge, set apart; or taken away meanwhile
		return true
	}
	if !r.open.take(e, limits{events: r.size, server: l.conn.sess.ServerMax()}, l.sending.now) {
		return false
	}
	if date != e.Time {
		proto.SetTime(r.open.buf[len(r.open.buf)-len(e.Fragment):], e.Time, date)
	}
	return true
}

// isRepeated reports whether a repetition of an event does no harm, and is worth it: telemetry and
// attributes, of which the server keeps the newest.
func isRepeated(e *wal.Event) bool { return proto.Kind(e.Kind) == proto.KindEntityData }

// repeated notes that a batch was acknowledged once more.
func (l *loop) repeated(b *batch, now time.Time) {
	r := &l.repeating
	l.counters.repeated += uint64(b.events)
	r.acknowledged(b.start.Offset, now)
	r.from, r.misses, r.ends, r.passes = b.end.Offset, 0, 0, true
	if b.end.Offset >= r.sizeUntil {
		r.size, r.sizeUntil = r.full, 0
	}
}

// endRepetition lets the queue go on.
func (l *loop) endRepetition() {
	r := &l.repeating
	r.reader.Close()
	*r = repeating{last: r.last, stretches: r.stretches, queue: r.queue, full: r.full, size: r.full, plans: r.plans}
}

// drop forgets what another edge has acknowledged.
func (r *repeating) drop() {
	if r.reader != nil {
		r.reader.Close()
	}
	*r = repeating{last: r.last, queue: r.queue, size: r.full, full: r.full}
}

// rewindRepetition repeats again from a position on. Every batch in the window is answered.
func (l *loop) rewindRepetition(p wal.Position) {
	l.sending.win.rewind()
	l.repeating.open = nil
	l.repeating.reader.Seek(p)
}

// repetitionRefused acts on a refused batch of the repetition once everything in flight is
// answered: it goes again in halves, and the one event that is refused again and again, while
// others pass, is left out.
func (l *loop) repetitionRefused(b *batch, hopeless bool, now time.Time) {
	r, s := &l.repeating, &l.sending
	if b.events > 1 {
		r.size, r.sizeUntil = b.events/2, max(r.sizeUntil, b.end.Offset)
		l.rewindRepetition(b.start)
		return
	}
	r.from = b.start.Offset
	if r.misses++; !hopeless && r.misses < repeatRefused {
		s.pauseUntil = now.Add(s.pause.Next())
		l.rewindRepetition(b.start)
		return
	}
	s.pause.Reset()
	r.misses = 0
	if !hopeless && !r.passes {
		r.held, r.due = true, now.Add(repeatPause)
		l.rewindRepetition(b.start)
		return
	}
	l.complain("the cloud refuses an event that it acknowledged before; the event is not repeated", link.FirstLine(b.reason), now)
	r.from = b.end.Offset
	l.rewindRepetition(b.end)
}

// resume lets a repetition go on that waits for a cloud that takes events. What was sent meanwhile
// is repeated behind it, so that the newest value of an attribute comes last. accepted: something
// was accepted meanwhile, so an event that is refused even now is at fault itself.
func (r *repeating) resume(accepted bool) {
	if r.held {
		r.held, r.resumed, r.passes = false, true, accepted
	}
}

// suspectRepetition gives a repetition up with whose first batch the server ended the stream again
// and again.
func (l *loop) suspectRepetition(b *batch, now time.Time) {
	r := &l.repeating
	if r.ends == 0 || r.endsAt != b.start.Offset {
		r.endsAt, r.ends = b.start.Offset, 0
	}
	if r.ends++; r.ends >= poisonEnds {
		l.complain("the stream ended each time acknowledged events were repeated; they are not repeated any more", "", now)
		l.endRepetition()
		r.stretches = r.stretches[:0]
	}
}
