package sync

import (
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
}

func newRetries() retries { return retries{tries: make(map[uint64]int)} }

func (r *retries) endSession() { *r = retries{tries: r.tries} }

// of is how often a letter was tried. Tries are counted in memory and written when the letter comes
// to rest, to spare the flash.
func (r *retries) of(d *wal.DeadLetter) int { return max(d.Tries, r.tries[d.Offset]) }

// try is a dead letter on its way to the cloud once more.
type try struct {
	id      int32
	letter  wal.DeadLetter
	sentAt  time.Time
	dropped bool // somebody gave the letter up meanwhile, and it counts as discarded whatever the answer
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

// maybeRetry sends one waiting letter every retry.interval, the least tried first, beside the
// ordinary batches.
func (l *loop) maybeRetry(now time.Time) {
	r := &l.retries
	if r.try != nil || l.search.active() || l.sending.limited || l.stopping || now.Before(r.due) || !l.maySend(now) {
		return
	}
	s := l.deadLog.Stats()
	if s.Letters == s.Resting {
		r.due = time.Time{}
		clear(r.tries)
		l.dependents.forget(nil)
		return
	}
	r.due = now.Add(l.cfg.Retry.Interval)
	p, err := l.pickLetter()
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
	if size := proto.RequestSize(len(p.letter.Fragment), maxID); size > l.conn.sess.ServerMax() {
		l.rest(p.letter, tooLarge("event", size, l.conn.sess.ServerMax()), now)
		return
	}
	if !proto.Action(p.letter.Action).Sendable() {
		l.rest(p.letter, noForm(p.letter.Action), now)
		return
	}
	r.try = &try{id: l.nextID(), letter: p.letter, sentAt: now}
	buf := append(make([]byte, proto.UplinkHeader, proto.UplinkHeader+len(p.letter.Fragment)), p.letter.Fragment...)
	l.write(proto.FrameUplink(buf, r.try.id))
}

// retryAnswered handles the answer to a letter.
func (l *loop) retryAnswered(r *proto.UplinkResponseMsg, now time.Time) {
	d, dropped := l.retries.try.letter, l.retries.try.dropped
	l.retries.try = nil
	var err error
	if r.GetSuccess() {
		l.progress()
		delete(l.retries.tries, d.Offset)
		if l.dependents.delivered(&d) {
			l.retries.due = now // the next dependent at once
		}
		err = l.deadLog.Remove(d.Offset, true)
	} else {
		text := link.Redact(r.GetErrorMsg(), l.secret())
		switch judge(text) {
		case refusedLimit:
			l.sending.limited = true
			l.sending.pauseUntil = now.Add(l.sending.pause.Next())
			return
		case refusedEdgeGone:
			l.ended(errEdgeGone, now)
			return
		case refusedHopeless:
			d.Resting = true
		}
		if dropped {
			return
		}
		n := l.retries.of(&d) + 1
		l.retries.tries[d.Offset] = n
		if d.Resting = d.Resting || n >= l.cfg.Retry.Max; d.Resting {
			delete(l.retries.tries, d.Offset)
			d.Tries, d.Reason = n, link.FirstLine(text)
			err = l.deadLog.Put(d)
		}
	}
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
