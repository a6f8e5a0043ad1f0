package sync

import (
	"math"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// search is the search for the event for whose sake the cloud refuses a batch, or ends the stream.
// It outlives sessions.
type search struct {
	batchSize int    // events of a batch; less than batch.size while the search runs
	until     uint64 // offset up to which it runs, one batch in flight; 0: it does not run

	// The stream ended so often in a row with the batch first in flight that begins at this offset.
	endsAt uint64
	ends   int
}

// active reports whether one batch at a time is sent.
func (s *search) active() bool { return s.until != 0 }

// narrow halves what is sent at a time, up to the end of the batch that holds the culprit.
func (s *search) narrow(b *batch) { s.batchSize, s.until = max(1, b.events/2), b.end.Offset }

// one sends single events until end is called.
func (s *search) one() { s.batchSize, s.until = 1, math.MaxUint64 }

// end ends the search.
func (s *search) end(batchSize int) { s.batchSize, s.until = batchSize, 0 }

// passed ends the search once the committed offset is behind it.
func (s *search) passed(committed wal.Position, batchSize int) {
	if committed.Offset >= s.until {
		s.end(batchSize)
	}
}

// refusedBatch acts on the first refused batch once everything in flight is answered: from its
// first event on all is sent again in order, one batch at a time, smaller ones while a culprit is
// searched. What was behind it and accepted is sent twice, which is legal; a gap would not be.
func (l *loop) refusedBatch(b *batch, now time.Time) {
	v := judge(b.reason)
	switch {
	case v == refusedEdgeGone:
		l.edgeGone(l.creationsIn(b, now), now)
		l.ended(errEdgeGone, now)
		return
	case v == refusedLimit && !b.again && l.moveLimited(b, now):
		return
	case v == refusedLimit:
		s := &l.sending
		s.limited = true
		wait := s.pause.Next()
		s.pauseUntil = now.Add(wait)
		l.complain("the cloud limits the rate", link.FirstLine(b.reason), now, "pause", wait)
		if b.again {
			l.rewindRepetition(b.start)
			return
		}
	case b.again:
		l.repetitionRefused(b, v == refusedHopeless, now)
		return
	case b.events == 1:
		l.moveRefused(b, b.reason, v == refusedHopeless, now)
		return
	default:
		l.search.narrow(b)
		if b.creates && l.dependents.refusals > 0 {
			l.search.batchSize = 1 // the first of them is refused as well, most likely
		}
	}
	l.rewind(b.start)
}

// moveRefused moves the one event of a batch, the first in the window, to the dead letters and
// passes it.
func (l *loop) moveRefused(b *batch, reason string, hopeless bool, now time.Time) {
	e, _, ok, err := l.firstSent(b, now)
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
	}
	if ok && !l.outage.mayMove(&e.Event, e.Offset, hopeless) {
		l.rewind(b.start)
		l.hold(reason, now)
		return
	}
	if !ok || !l.moveToDead(e, link.FirstLine(reason), hopeless, now) {
		l.rewind(b.start)
		return
	}
	end := b.end
	if l.outage.moved(&e.Event, e.Offset) {
		l.search.end(l.cfg.Batch.Size)
		l.conn.lastErr = ""
	} else if isCreation(&e.Event) && !l.outage.holding {
		l.search.end(l.cfg.Batch.Size) // those behind it may all be good ones
	}
	l.advance(end, 0, 1+b.inside, now)
	l.rewind(end)
}

// firstSent reads the first event that a batch has sent, and counts those before it that were set
// aside. Not ok: the quota has dropped it.
func (l *loop) firstSent(b *batch, now time.Time) (e wal.Entry, skipped int, ok bool, err error) {
	if !l.storeAside(now) {
		return e, 0, false, nil // the events of the batch stay where they are
	}
	for at := b.start; ; at = e.Position {
		e, ok, err = l.peek(at, b.end)
		if err != nil || !ok || !l.dependents.has(e.Entity, e.Offset) && !l.deadLog.Has(e.Offset) {
			return e, skipped, ok, err
		}
		skipped++
	}
}

// moveLimited moves a creation that meets the rate limit again and again, while an uplink without
// events does not, to the dead letters: the limit is about creations. False: it is no such
// creation.
func (l *loop) moveLimited(b *batch, now time.Time) bool {
	s := &l.sending.births
	if !b.creates {
		return false
	}
	if s.at != b.start.Offset {
		*s = limitedBirth{at: b.start.Offset}
	}
	if s.times++; s.times == limitedBirths && l.conn.sess.Queued() < receiveBelow {
		s.probe = l.nextID()
		l.write(proto.AppendProbe(nil, s.probe))
	}
	if !s.othersPass {
		return false
	}
	e, skipped, ok, err := l.firstSent(b, now)
	if err != nil || !ok || !isCreation(&e.Event) || !l.moveToDead(e, link.FirstLine(b.reason), false, now) {
		return false
	}
	*s = limitedBirth{}
	l.advance(e.Position, 0, 1+skipped, now)
	l.rewind(e.Position)
	return true
}

// limitedBirth is a creation that meets the rate limit.
type limitedBirth struct {
	at         uint64 // offset in front of its batch
	times      int
	probe      int32 // id of an uplink without events that asks whether others pass; 0: none is in flight
	othersPass bool
}

// suspect remembers with which batch in flight the server ended the stream: a message that it
// cannot read ends the session with no word of the reason (CONTRACT.md 1.1, 2.5). The batch that
// stands first at two such ends is split, and moved to the dead letters when it ends the stream
// alone.
func (l *loop) suspect(err error, now time.Time) {
	w, s := &l.sending.win, &l.search
	if len(w.batches) == 0 || w.batches[0].state != inFlight || !link.CanBeAnswer(err) {
		return
	}
	b := w.batches[0]
	if b.again {
		l.suspectRepetition(b, now)
		return
	}
	if s.endsAt != b.start.Offset {
		s.endsAt, s.ends = b.start.Offset, 1
		return
	}
	s.ends++
	switch {
	case b.events > 1:
		s.narrow(b)
		s.ends = 0
	case s.ends >= poisonEnds && len(w.batches) == 1:
		s.ends = 0
		l.moveRefused(b, "the stream ended each time this event was in flight: "+link.FirstLine(err.Error()), true, now)
	}
}
