package sync

import (
	"math"
	"time"

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
	}
	l.rewind(b.start)
}

// moveRefused moves the one event of a batch, the first in the window, to the dead letters and
// passes it.
func (l *loop) moveRefused(b *batch, reason string, hopeless bool, now time.Time) {
	e, ok, err := l.peek(b.start, b.end)
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
	}
	l.commitTo(end, 0, 1, now)
	l.rewind(end)
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
