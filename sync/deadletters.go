package sync

import (
	"cmp"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// retries are the tries to send dead letters once more.
type retries struct {
	due   time.Time // of the next; zero: at once
	try   *try
	tries map[uint64]int // so far, by offset, of letters tried in this life; bounded by the log

	// While the cloud takes letters they go in their order, more and more in one uplink.
	flowing bool
	cursor  uint64 // the offset from which the next is looked for
	size    int    // letters in one uplink
	misses  int    // letters refused in a row

	refused refusedDeadLetters
}

// refusedDeadLetters says whether the cloud refuses all letters: then it is no fault of theirs, no
// try counts, and the next comes after a pause, which doubles.
type refusedDeadLetters struct {
	offset  uint64 // of the first that was refused since anything was accepted
	several bool   // others were refused too
	pause   doubling
}

// add notes that a letter was refused, and reports whether all are.
func (r *refusedDeadLetters) add(offset uint64) bool {
	if r.offset == 0 {
		r.offset = offset
	}
	r.several = r.several || r.offset != offset
	return r.several
}

func newRetries() retries { return retries{tries: make(map[uint64]int)} }

func (r *retries) endSession() { *r = retries{tries: r.tries} }

// of is how often a letter was tried. Tries are counted in memory and written when the letter comes
// to rest, to spare the flash.
func (r *retries) of(d *wal.DeadLetter) int { return max(d.Tries, r.tries[d.Offset]) }

// try is one or more dead letters on their way to the cloud once more, in one uplink.
type try struct {
	id      int32
	letters []wal.DeadLetter // with their fragments if it is one
	sentAt  time.Time
	dropped bool // somebody gave the first letter up meanwhile, and it counts as discarded whatever the answer
}

// moveToDead writes an event to the dead-letter log, durably; false if the medium refuses, and then
// the event stays where it is.
func (l *loop) moveToDead(e wal.Entry, reason string, hopeless bool, now time.Time) bool {
	err := l.deadLog.Put(wal.DeadLetter{
		Event: e.Event, Offset: e.Offset, Reason: reason, Tries: 1, At: now,
		Resting: hopeless || l.cfg.Retry.Max <= 1,
		Pinned:  isCreation(&e.Event), // without it its dependents would be worth nothing
		Class:   l.deadClass(&e.Event, e.Offset),
	})
	if err != nil {
		l.complain("a refused event cannot be moved to the dead-letter log; it is tried again", err.Error(), now)
		l.sending.pauseUntil = now.Add(l.cfg.Retry.Interval)
		return false
	}
	if isCreation(&e.Event) {
		l.dependents.refused(e.Entity, e.Offset)
	}
	l.complain("the cloud refuses an event; it is in the dead-letter log", reason, now,
		"action", proto.Action(e.Action), "offset", e.Offset)
	if !hopeless {
		l.retries.tries[e.Offset] = 1
		if l.retries.due.IsZero() {
			l.retries.due = now.Add(l.cfg.Retry.Interval)
		}
	}
	return true
}

// deadClass is the share of the dead-letter log that an event belongs to.
func (l *loop) deadClass(e *wal.Event, offset uint64) wal.DeadClass {
	switch {
	case !proto.Action(e.Action).Sendable():
		return wal.DeadNever
	case isCreation(e) || l.dependents.has(e.Entity, offset):
		return wal.DeadCreation
	}
	return wal.DeadRefused
}

// maybeRetry sends waiting letters beside the ordinary batches: one every retry.interval, the least
// tried first, and once the cloud takes one, the others as fast as it takes them.
func (l *loop) maybeRetry(now time.Time) {
	r := &l.retries
	busy := r.try != nil || l.former.holdsLetters() || l.repeating.active() || l.outage.holding || l.search.active()
	if busy || l.sending.limited || l.stopping || now.Before(r.due) || !l.maySend(now) {
		return
	}
	s := l.deadLog.Stats()
	if s.Letters == s.Resting {
		r.due, r.flowing = time.Time{}, false
		clear(r.tries)
		l.dependents.forget(nil)
		return
	}
	r.due = now.Add(l.cfg.Retry.Interval)
	if r.flowing {
		letters, err := l.nextDeadLetters(now)
		if err != nil {
			l.complain("the dead-letter log cannot be read", err.Error(), now)
		}
		if len(letters) > 0 {
			l.tryDeadLetters(letters, now)
			return
		}
		r.flowing = false
	}
	p, err := l.pickDeadLetter()
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), now)
		return
	}
	if !p.found {
		if p.dependents && l.dependents.any() { // which may wait for a person
			r.due = now.Add(l.dependents.pause())
		}
		return
	}
	if why := l.unsendable(&p.letter); why != "" {
		l.rest(p.letter, why, now)
		return
	}
	l.tryDeadLetters([]wal.DeadLetter{p.letter}, now)
}

// unsendable is why a letter cannot be sent at all; "" if it can.
func (l *loop) unsendable(d *wal.DeadLetter) string {
	switch size := proto.RequestSize(len(d.Fragment), maxID); {
	case size > l.conn.sess.ServerMax():
		return tooLarge("event", size, l.conn.sess.ServerMax())
	case !proto.Action(d.Action).Sendable():
		return noForm(d.Action)
	}
	return ""
}

// nextDeadLetters are those that go next in one uplink while the cloud takes letters: in their
// order, and together only what a batch of the queue would hold together. A creation goes alone.
func (l *loop) nextDeadLetters(now time.Time) (letters []wal.DeadLetter, err error) {
	r := &l.retries
	committed := l.queue.DurablyCommitted().Offset // see pickDeadLetter
	var b batch
	b.reset(wal.Position{})
	size := limits{events: r.size, server: l.conn.sess.ServerMax()}
	err = l.deadLog.Waiting(r.cursor, func(d *wal.DeadLetter) bool {
		if d.Offset > committed {
			return false
		}
		if l.dependents.waits(d) || l.unsendable(d) != "" { // pickDeadLetter lets it rest
			return true
		}
		alone := isCreation(&d.Event) || r.size == 1
		if alone && len(letters) > 0 || !b.take(&wal.Entry{Event: d.Event, Position: wal.Position{Offset: d.Offset}}, size, now) {
			return false
		}
		c := *d
		c.Fragment = append([]byte(nil), d.Fragment...)
		letters = append(letters, c)
		return !alone
	})
	return letters, err
}

// tryDeadLetters sends letters in one uplink.
func (l *loop) tryDeadLetters(letters []wal.DeadLetter, now time.Time) {
	l.retries.try = &try{id: l.nextID(), letters: letters, sentAt: now}
	buf := make([]byte, proto.UplinkHeader)
	for i := range letters {
		if d := &letters[i]; isCreation(&d.Event) && proto.Kind(d.Kind) == proto.KindDevice && l.reg.HalfMade(d.Entity) {
			buf = append(buf, deletionOf(d.Entity)...)
		}
		e := letters[i].Event
		l.followAlarm(&e)
		buf = append(buf, e.Fragment...)
		if len(letters) > 1 {
			letters[i].Fragment = nil
		}
	}
	l.write(proto.FrameUplink(buf, l.retries.try.id))
}

// retryAnswered handles the answer to letters.
func (l *loop) retryAnswered(answer *proto.UplinkResponseMsg, now time.Time) {
	r := &l.retries
	t := r.try
	r.try = nil
	if answer.GetSuccess() {
		l.deadLettersDelivered(t.letters, now)
		return
	}
	text := l.redact(answer.GetErrorMsg())
	v := judge(text)
	switch v {
	case refusedLimit:
		l.sending.limited = true
		l.sending.pauseUntil = now.Add(l.sending.pause.Next())
		return
	case refusedEdgeGone:
		if d := &t.letters[0]; isCreation(&d.Event) && proto.Kind(d.Kind) == proto.KindDevice {
			l.edgeGone([]proto.UUID{d.Entity}, now)
		}
		l.ended(errEdgeGone, now)
		return
	}
	if n := len(t.letters); n > 1 { // the culprit is searched at once
		r.size, r.due = n/2, now
		return
	}
	d := t.letters[0]
	all := r.refused.add(d.Offset)
	r.cursor, r.size = d.Offset+1, 1
	if r.misses++; r.flowing && r.misses < 2 {
		r.due = now
	} else if all {
		r.refused.pause.min, r.refused.pause.max = l.cfg.Retry.Interval, max(pauseMax, l.cfg.Retry.Interval)
		r.due = now.Add(r.refused.pause.Next())
	}
	if t.dropped || v != refusedHopeless && (all || l.outage.holding) {
		return
	}
	n := r.of(&d) + 1
	r.tries[d.Offset] = n
	if v == refusedHopeless || n >= l.cfg.Retry.Max {
		d.Tries = n
		l.rest(d, link.FirstLine(text), now)
	}
}

// deadLettersDelivered removes the letters that the cloud took, and lets the others follow.
func (l *loop) deadLettersDelivered(letters []wal.DeadLetter, now time.Time) {
	r := &l.retries
	l.progress()
	l.takesEvents()
	if !r.flowing {
		r.flowing, r.cursor, r.size = true, 0, 1
	} else {
		r.cursor = letters[len(letters)-1].Offset + 1
	}
	r.size, r.misses, r.due = min(2*r.size, l.cfg.Batch.Size), 0, now
	for i := range letters {
		delete(r.tries, letters[i].Offset)
		if isCreation(&letters[i].Event) && l.reg.HalfMade(letters[i].Entity) {
			l.made([]proto.UUID{letters[i].Entity}, now)
		}
		l.dependents.delivered(&letters[i])
	}
	_, err := l.deadLog.Deliver(func(offset uint64) bool {
		_, ok := slices.BinarySearchFunc(letters, offset, func(d wal.DeadLetter, o uint64) int { return cmp.Compare(d.Offset, o) })
		return ok
	})
	if err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
	}
}

// rest marks a dead letter as resting because it can never be sent. Without that it would be picked
// again and again, before the others.
func (l *loop) rest(d wal.DeadLetter, reason string, now time.Time) {
	delete(l.retries.tries, d.Offset)
	d.Resting, d.Reason, d.Class = true, reason, l.deadClass(&d.Event, d.Offset)
	if err := l.deadLog.Put(d); err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
	}
}

// reviveFitting wakes the letters that rest because an earlier session could not take their size
// and this one can.
func (l *loop) reviveFitting(now time.Time) {
	if l.conn.sess.ServerMax() <= l.dialing.serverMax {
		return
	}
	l.dialing.serverMax = l.conn.sess.ServerMax()
	if l.deadLog.Stats().Resting == 0 {
		return
	}
	fits := make(map[uint64]bool)
	err := l.deadLog.Each(func(d *wal.DeadLetter) bool {
		if d.Resting && isTooLargeReason(d.Reason) && l.unsendable(d) == "" {
			fits[d.Offset] = true
		}
		return true
	})
	if err == nil && len(fits) > 0 {
		_, err = l.deadLog.Revive(func(offset uint64) bool { return fits[offset] })
	}
	if err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
	}
}
