package sync

import (
	"cmp"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// flow is the way of dead letters of one sort while the cloud takes them: in their order, more and
// more in one uplink.
type flow struct {
	on     bool
	size   int // letters in one uplink
	misses int // letters refused alone, in a row
}

// taken notes that the cloud took an uplink of the flow.
func (f *flow) taken(most int) {
	if !f.on {
		f.size = 1
	}
	f.on, f.size, f.misses = true, min(2*max(f.size, 1), most), 0
}

// missed notes that the cloud refused a letter alone, and reports whether the flow goes on.
func (f *flow) missed() bool {
	f.size = 1
	f.misses++
	f.on = f.on && f.misses < 2
	return f.on
}

// choice is what a look through the dead letters brings.
type choice struct {
	births []uint64 // offsets of the creations to try in one uplink
	others []uint64 // of other letters
	left   map[proto.UUID]struct{}

	// Dependents, or creations, or any, may go when the commit that passed them is durable.
	lag, lagBirths, lagOthers bool
}

// choosing chooses letters for an uplink in order of their offsets.
type choosing struct {
	offsets []uint64
	most    int   // letters
	bytes   int64 // of room that is left
	full    bool
	rank    uint8                    // of the last one, for creations
	last    map[proto.UUID]lastTaken // by entity
	blocked map[proto.UUID]struct{}  // entities of which a letter was passed over
}

// lastTaken is what an uplink holds of an entity so far.
type lastTaken struct {
	rank      uint8
	attribute bool
}

func newChoosing(most int, server int) *choosing {
	return &choosing{
		most: most, bytes: int64(min(batchBytes, server-proto.RequestSize(0, maxID))),
		last: make(map[proto.UUID]lastTaken), blocked: make(map[proto.UUID]struct{}),
	}
}

// creation takes a creation if it may stand behind the others (CONTRACT.md 4.2).
func (c *choosing) creation(e *wal.DeadEntry) {
	rank := proto.Kind(e.Kind).Rank()
	if c.full || len(c.offsets) > 0 && (rank < c.rank || e.Size > c.bytes) {
		c.full = true
		return
	}
	c.rank = rank
	c.add(e)
}

// letter takes a letter if the server keeps the order of its entity, which is what counts: it works
// an uplink off by ranks (CONTRACT.md 4.2), and two updates of an entity's attributes in either
// order (CONTRACT.md 4.3).
func (c *choosing) letter(e *wal.DeadEntry) {
	if c.full {
		return
	}
	if _, blocked := c.blocked[e.Entity]; blocked {
		return
	}
	rank, attribute := proto.Kind(e.Kind).Rank(), isAttribute(proto.Action(e.Action))
	last, ok := c.last[e.Entity]
	switch {
	case ok && (rank < last.rank || attribute && last.attribute):
		c.blocked[e.Entity] = struct{}{}
		return
	case len(c.offsets) > 0 && e.Size > c.bytes:
		c.full = true
		return
	}
	c.last[e.Entity] = lastTaken{rank: rank, attribute: attribute || last.attribute}
	c.add(e)
}

func (c *choosing) add(e *wal.DeadEntry) {
	c.offsets = append(c.offsets, e.Offset)
	c.bytes -= e.Size
	c.full = c.full || len(c.offsets) >= c.most
}

// choose looks through what is in memory of the dead letters for those that are to be tried next. A
// dependent whose creation is accepted goes before other letters; of those the least tried.
func (l *loop) choose(now time.Time) choice {
	r, server := &l.retries, l.conn.sess.ServerMax()
	// Not before the commit that passed it is durable: after a crash the queue would still count as
	// pending what was delivered here.
	durable := l.queue.DurablyCommitted().Offset
	c := choice{left: make(map[proto.UUID]struct{})}
	births, others := newChoosing(max(1, r.births.size), server), newChoosing(max(1, r.flow.size), server)
	birthsDue, othersDue := !now.Before(r.birthsDue), !now.Before(r.due)
	var first, least, leastBirth struct {
		offset uint64
		tries  int
		found  bool
	}
	l.deadLog.Entries(func(e *wal.DeadEntry) bool {
		known, refused := l.dependents.creations[e.Entity]
		dependent := refused && e.Class == wal.DeadCreation && !e.Pinned && e.Offset > known.offset
		tries := max(e.Tries, r.tries[e.Offset])
		inOrder := dependent && tries <= 1
		if t, taken := l.proofs.taken[e.Entity]; e.Resting || dependent && known.until != 0 || taken && t.offset == e.Offset {
			return true
		}
		if inOrder {
			c.left[e.Entity] = struct{}{}
		}
		switch {
		case inOrder && !known.accepted:
			return true
		case e.Offset > durable:
			c.lag = c.lag || inOrder
			c.lagBirths = c.lagBirths || creates(e.Kind, e.Action)
			c.lagOthers = true
			return true
		}
		switch {
		case creates(e.Kind, e.Action):
			if r.births.on && !r.passed[e.Offset] {
				births.creation(e)
			} else if !r.births.on && (!leastBirth.found || tries < leastBirth.tries) {
				leastBirth.offset, leastBirth.tries, leastBirth.found = e.Offset, tries, true
			}
		case r.flow.on:
			if !r.passed[e.Offset] {
				others.letter(e)
			}
		case inOrder:
			if !first.found {
				first.offset, first.found = e.Offset, true
			}
		case !least.found || tries < least.tries:
			least.offset, least.tries, least.found = e.Offset, tries, true
		}
		return true
	})
	switch {
	case r.births.on:
		c.births = births.offsets
	case l.proofs.silent && len(l.proofs.taken) > 0: // the answer to the last try says nothing yet
	case leastBirth.found && birthsDue:
		c.births = []uint64{leastBirth.offset}
	}
	switch {
	case r.flow.on:
		c.others = others.offsets
	case first.found && othersDue:
		c.others = []uint64{first.offset}
	case least.found && othersDue:
		c.others = []uint64{least.offset}
	}
	return c
}

// maybeRetry sends waiting letters beside the ordinary batches: one every retry.interval, the least
// tried first, and once the cloud takes one, the others as fast as it takes them. Creations have a
// pace of their own: while the cloud refuses them, one is tried after a pause that doubles.
func (l *loop) maybeRetry(now time.Time) {
	r := &l.retries
	defer l.maybeReadOn(now)
	busy := r.try != nil || l.former.holdsLetters() || l.repeating.active() || l.outage.holding || l.search.active()
	if busy || l.sending.limited || l.stopping || !l.maySend(now) {
		return
	}
	if now.Before(r.due) && now.Before(r.birthsDue) {
		return
	}
	l.dropGivenUp(now)
	s := l.deadLog.Stats()
	if s.Letters == s.Resting {
		r.due, r.birthsDue, r.flow, r.births = time.Time{}, time.Time{}, flow{}, flow{}
		clear(r.tries)
		clear(r.passed)
		l.forgetAccepted(make(map[proto.UUID]struct{}))
		return
	}
	c := l.choose(now)
	l.forgetAccepted(c.left)
	switch {
	case len(c.births) > 0:
		r.birthsDue = now.Add(l.cfg.Retry.Interval)
		l.tryOffsets(c.births, now)
		return
	case len(c.others) > 0:
		r.due = now.Add(l.cfg.Retry.Interval)
		l.tryOffsets(c.others, now)
		return
	case r.births.on || r.flow.on: // all that may flow has gone
		r.births.on, r.flow.on = false, false
		clear(r.passed)
		r.due, r.birthsDue = now.Add(l.cfg.Retry.Interval), later(r.birthsDue, now.Add(l.cfg.Retry.Interval))
	}
	if c.lagOthers && !now.Before(r.due) {
		r.due = now.Add(l.cfg.Retry.Interval)
	}
	r.due, r.birthsDue = notBefore(r.due, now, dependentPause), notBefore(r.birthsDue, now, dependentPause)
	if c.lagBirths {
		soonest(&r.birthsDue, now.Add(commitPause))
	}
	if c.lag {
		r.flow.on, r.flow.size = true, l.cfg.Batch.Size
		r.due = now.Add(r.last.begin(now))
		l.queue.Settle()
	}
}

// lastLeg is the end of the detour by the dead letters. A device that never pauses would go that
// way for ever: when all of its dependents that may go have gone, the next one is there. So the
// loop reads no further than to such an event for a moment, until the last ones are durable and
// gone.
type lastLeg struct {
	since time.Time // zero: it reads on
	next  time.Time // not before this, so that nobody waits often
}

// begin starts the last leg, if it is time for one, and returns when to look again.
func (f *lastLeg) begin(now time.Time) time.Duration {
	if f.since.IsZero() && !now.Before(f.next) {
		f.since = now
	}
	if f.since.IsZero() {
		return commitPause
	}
	return lastLegLook
}

// end lets the loop read on. It reports whether it did not.
func (f *lastLeg) end(now time.Time) bool {
	if f.since.IsZero() {
		return false
	}
	*f = lastLeg{next: now.Add(lastLegPause)}
	return true
}

// maybeReadOn ends the last leg when the dependents have gone, or it has taken too long.
func (l *loop) maybeReadOn(now time.Time) {
	f := &l.retries.last
	over := now.Sub(f.since) >= lastLegMax
	for _, c := range l.dependents.creations {
		if over {
			break
		}
		if c.accepted {
			return
		}
	}
	if f.end(now) {
		l.sending.more = true // at once
	}
}

// forgetAccepted ends the detour of entities whose creations are accepted, but for those with
// dependents left: in the log, or still to be written there.
func (l *loop) forgetAccepted(left map[proto.UUID]struct{}) {
	for i := range l.sending.waiting {
		left[l.sending.waiting[i].Entity] = struct{}{}
	}
	l.dependents.forget(left)
}

// notBefore is at, or, where that has passed, the time after a pause: whoever adds a letter, or
// hears of one, brings it forward.
func notBefore(at, now time.Time, pause time.Duration) time.Time {
	if now.Before(at) {
		return at
	}
	return now.Add(pause)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// soonest brings a time forward; a zero one is not set.
func soonest(at *time.Time, t time.Time) {
	if at.IsZero() || t.Before(*at) {
		*at = t
	}
}

// tryOffsets sends the letters at the offsets in one uplink. One that cannot be sent at all comes
// to rest.
func (l *loop) tryOffsets(offsets []uint64, now time.Time) {
	letters := make([]wal.DeadLetter, 0, len(offsets))
	for _, offset := range offsets {
		d, ok, err := l.deadLog.Get(offset)
		switch {
		case err != nil:
			l.complain("the dead-letter log cannot be read", err.Error(), now)
			l.retries.passed[offset] = true
			l.retries.tries[offset]++ // others are tried before it
		case !ok:
		default:
			if why := l.unsendable(&d); why != "" {
				l.rest(d, why, now)
				continue
			}
			letters = append(letters, d)
		}
	}
	if len(letters) > 0 {
		l.tryDeadLetters(letters, now)
	}
}

// tryDeadLetters sends letters in one uplink.
func (l *loop) tryDeadLetters(letters []wal.DeadLetter, now time.Time) {
	l.retries.try = &try{id: l.nextID(), letters: letters, births: isCreation(&letters[0].Event), sentAt: now}
	buf := make([]byte, proto.UplinkHeader)
	for i := range letters {
		if d := &letters[i]; isDeviceCreation(&d.Event) && l.reg.HalfMade(d.Entity) {
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
		l.deadLettersDelivered(t, now)
		return
	}
	text := l.redact(answer.GetErrorMsg())
	v := judge(text)
	switch {
	case v == refusedEdgeGone:
		var creations []proto.UUID
		for i := range t.letters {
			if d := &t.letters[i]; isDeviceCreation(&d.Event) {
				creations = append(creations, d.Entity)
			}
		}
		l.edgeGone(creations, now)
		l.ended(errEdgeGone, now)
		return
	case v == refusedLimit && !t.births:
		l.sending.limited = true
		l.sending.pauseUntil = now.Add(l.sending.pause.Next())
		return
	}
	if n := len(t.letters); n > 1 && v != refusedLimit { // the culprit is searched at once
		if t.births {
			r.births.size, r.birthsDue = n/2, now
		} else {
			r.flow.size, r.due = n/2, now
		}
		return
	}
	if t.births {
		l.birthRefused(t, text, v, now)
		return
	}
	d := t.letters[0]
	all := r.refused.add(d.Offset)
	r.passed[d.Offset] = true
	if r.flow.missed() {
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

// birthRefused handles the refusal of a creation that was tried alone, or of several for their
// rate. A creation comes to rest only for a hopeless text, or where retry.max allows no tries: its
// dependents could not go up without it, and the cloud may take creations again next week.
func (l *loop) birthRefused(t *try, text string, v verdict, now time.Time) {
	r := &l.retries
	hopeless := v == refusedHopeless
	l.dependents.refusedFor(text, hopeless)
	d := t.letters[0]
	r.passed[d.Offset] = true
	if v != refusedLimit && r.births.missed() {
		r.birthsDue = now
	} else {
		r.births = flow{}
		clear(r.passed)
		r.pause.min, r.pause.max = l.cfg.Retry.Interval, max(pauseMax, l.cfg.Retry.Interval)
		r.birthsDue = now.Add(r.pause.Next())
	}
	if t.dropped || len(t.letters) > 1 || l.outage.holding && !hopeless {
		return
	}
	n := r.of(&d) + 1
	r.tries[d.Offset] = n
	if hopeless || l.cfg.Retry.Max <= 1 {
		d.Tries = n
		l.rest(d, link.FirstLine(text), now)
	}
}

// deadLettersDelivered removes the letters that the cloud took, and lets the others follow.
func (l *loop) deadLettersDelivered(t *try, now time.Time) {
	r := &l.retries
	l.progress()
	l.takesEvents()
	proving := make(map[uint64]bool)
	var made []proto.UUID
	for i := range t.letters {
		d := &t.letters[i]
		if isCreation(&d.Event) && l.reg.HalfMade(d.Entity) {
			made = append(made, d.Entity)
		}
		if t.births && provable(&d.Event) {
			// Else it is a second one of a device that a crash has announced twice.
			if id := (taken{offset: d.Offset, sent: d.Offset}); l.stillTaken(d.Entity, id) {
				l.toProve(d.Entity, id, now)
				proving[d.Offset] = true
			}
		}
		if !proving[d.Offset] {
			delete(r.tries, d.Offset)
			l.dependents.delivered(d)
		}
	}
	l.made(made, now)
	switch {
	case t.births && l.proofs.silent && len(proving) > 0:
		r.births = flow{} // not before a sync has shown that it is there
	case t.births:
		r.births.taken(l.cfg.Batch.Size)
		l.takesCreations(now)
	default:
		if !r.flow.on {
			clear(r.passed)
		}
		r.flow.taken(l.cfg.Batch.Size)
		r.due = now
	}
	_, err := l.deadLog.Deliver(func(offset uint64) bool {
		_, ok := slices.BinarySearchFunc(t.letters, offset, func(d wal.DeadLetter, o uint64) int { return cmp.Compare(d.Offset, o) })
		return ok && !proving[offset]
	})
	if err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
		r.births, r.flow = flow{}, flow{}
		r.due, r.birthsDue = now.Add(l.cfg.Retry.Interval), now.Add(l.cfg.Retry.Interval)
	}
}

// takesCreations notes that the cloud has accepted a creation: others that wait are tried at once,
// and dependents as many at a time as other data of devices that are there.
func (l *loop) takesCreations(now time.Time) {
	r := &l.retries
	l.dependents.refusals = 0
	r.pause.Reset()
	r.birthsDue, r.due = now, now
	r.flow = flow{on: true, size: l.cfg.Batch.Size}
}
