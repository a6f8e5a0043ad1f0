package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// retries are the tries to send dead letters once more (retry.go).
type retries struct {
	due       time.Time // of the next letter that is no creation; zero: at once
	birthsDue time.Time // of the next creation
	try       *try
	tries     map[uint64]int // so far, by offset, of letters tried in this life; bounded by the log

	flow   flow // of all but creations
	births flow // of creations
	// passed are the letters that were refused alone since a flow began, which passes over them;
	// bounded by the log.
	passed map[uint64]bool

	refused refusedDeadLetters
	pause   doubling // between two creations while they are refused

	last lastLeg
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

func newRetries() retries { return retries{tries: make(map[uint64]int), passed: make(map[uint64]bool)} }

func (r *retries) endSession() {
	clear(r.passed)
	*r = retries{tries: r.tries, passed: r.passed}
}

// of is how often a letter was tried. Tries are counted in memory and written when the letter comes
// to rest, to spare the flash.
func (r *retries) of(d *wal.DeadLetter) int { return max(d.Tries, r.tries[d.Offset]) }

// try is one or more dead letters on their way to the cloud once more, in one uplink.
type try struct {
	id      int32
	letters []wal.DeadLetter // with their fragments if it is one
	births  bool             // they are creations
	sentAt  time.Time
	dropped bool // somebody gave the first letter up meanwhile, and it counts as discarded whatever the answer
}

// moveToDead writes an event to the dead-letter log, durably; false if the medium refuses, and then
// the event stays where it is.
func (l *loop) moveToDead(e wal.Entry, reason string, hopeless bool, now time.Time) bool {
	creation := isCreation(&e.Event)
	err := l.deadLog.Put(wal.DeadLetter{
		Event: e.Event, Offset: e.Offset, Reason: reason, Tries: 1, At: now,
		Resting: hopeless || l.cfg.Retry.Max <= 1,
		Pinned:  creation, // without it its dependents would be worth nothing
		Class:   l.deadClass(&e.Event, e.Offset),
	})
	if err != nil {
		l.notMoved(err, now)
		return false
	}
	if creation {
		l.dependents.refused(e.Entity, e.Offset)
		l.dependents.named(e.Entity, e.Fragment)
		l.dependents.refusedFor(reason, hopeless)
	}
	l.complain("the cloud refuses an event; it is in the dead-letter log", reason, now,
		"action", proto.Action(e.Action), "offset", e.Offset)
	if hopeless {
		return true
	}
	l.retries.tries[e.Offset] = 1
	if creation {
		soonest(&l.retries.birthsDue, now.Add(l.cfg.Retry.Interval))
	} else {
		soonest(&l.retries.due, now.Add(l.cfg.Retry.Interval))
	}
	return true
}

// notMoved pauses after the dead-letter log refused what was to be moved there.
func (l *loop) notMoved(err error, now time.Time) {
	l.complain("a refused event cannot be moved to the dead-letter log; it is tried again", err.Error(), now)
	l.sending.pauseUntil = now.Add(l.cfg.Retry.Interval)
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

// rest marks a dead letter as resting because it can never be sent. Without that it would be picked
// again and again, before the others.
func (l *loop) rest(d wal.DeadLetter, reason string, now time.Time) {
	delete(l.retries.tries, d.Offset)
	d.Resting, d.Reason, d.Class = true, reason, l.deadClass(&d.Event, d.Offset)
	l.retries.passed[d.Offset] = true // also if it stays as it is
	if err := l.deadLog.Put(d); err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
	}
}

// reviveFitting wakes the letters that rest because an earlier session could not take their size
// and this one can.
func (l *loop) reviveFitting(now time.Time) {
	before := l.dialing.serverMax
	l.dialing.serverMax = l.conn.sess.ServerMax()
	if l.dialing.serverMax <= before || l.deadLog.Stats().Resting == 0 {
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
