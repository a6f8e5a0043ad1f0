package sync

import (
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// sending is the way of the queue's events to the cloud: read, cut into batches, sent,
// acknowledged.
type sending struct {
	reader *wal.Reader
	take   func(e *wal.Entry) bool
	now    time.Time // of this turn, for take
	open   *batch    // being filled
	aside  aside     // the event behind what was read, if it is not to be sent
	apart  apart     // the events behind what was read that are a former edge's
	more   bool      // events to be set aside are left for the next turn
	win    window

	// Dependents that were read, and are written to the dead letters together (aside.go). What is
	// to be committed meanwhile is held.
	waiting      []wal.DeadLetter
	waitingBytes int
	waitingSince time.Time
	unstored     bool // the medium has refused them
	held         held

	births limitedBirth // refused.go

	id int32 // of the last uplink

	// After a rate limit or a failure of the medium. It outlives the session.
	pause      doubling
	pauseUntil time.Time
	limited    bool // the last answer to a batch was the rate limit
}

func newSending(r *wal.Reader) sending {
	return sending{reader: r, pause: doubling{min: pauseMin, max: pauseMax}, win: newWindow()}
}

func (s *sending) endSession() {
	s.win.endSession()
	*s = sending{
		reader: s.reader, take: s.take, now: s.now, win: s.win, id: s.id,
		pause: s.pause, pauseUntil: s.pauseUntil, limited: s.limited,
	}
}

// nextID returns an id for an uplink: positive, unlike all others in flight.
func (l *loop) nextID() int32 {
	s := &l.sending
	if s.id++; s.id <= 0 {
		s.id = 1
	}
	return s.id
}

// maySend reports whether batches may go out at all now.
func (l *loop) maySend(now time.Time) bool {
	s := &l.sending
	return l.conn.sess != nil && !l.former.waits(l.reg) && !now.Before(s.pauseUntil) && s.win.firstRefused() == nil &&
		l.conn.sess.Queued() < link.Slots-windowMax
}

// ready reports whether a batch goes as it is, or waits for more events: one event alone costs ten
// times the bytes (CONTRACT.md 2.1).
func (l *loop) ready(b *batch, now time.Time) bool {
	return b.closed || b.urgent || l.stopping || l.cfg.Batch.Timeout == 0 || now.Sub(b.opened) >= l.cfg.Batch.Timeout
}

// maybeSend fills and sends batches while the window admits them, and sets aside the events between
// them that are not to be sent.
func (l *loop) maybeSend(now time.Time) {
	s := &l.sending
	s.more = false
	if l.repeating.active() {
		return
	}
	l.sendBatches(now)
	if s.asideDue(now) || l.stopping {
		l.storeAside(now)
	}
	if b := s.open; b != nil && b.empty() && b.inside > 0 {
		l.pass(b.end, b.inside, 0, now)
		b.reset(b.end)
	}
}

// sendBatches fills and sends batches while the window admits them.
func (l *loop) sendBatches(now time.Time) {
	s := &l.sending
	for moves := 0; (!l.outage.holding || l.outage.sending) && l.maySend(now) && l.fill(now); {
		b := s.open
		switch {
		case s.apart.events > 0:
			if s.more = moves >= turnMoves; s.more || !l.setApart(now) {
				return
			}
			moves += movesApart
			continue
		case s.aside.why == isTooLarge && !l.outage.mayMove(&wal.Event{}, s.aside.offset, false):
			if len(s.win.batches) == 0 {
				l.hold(s.aside.text(l.conn.sess.ServerMax()), now)
			}
			return
		case s.aside.why != 0:
			if s.more = moves >= turnMoves; s.more || !l.moveAside(now) {
				return
			}
			moves++
			continue
		case b.empty() && (b.end.Seq == b.start.Seq || b.inside > 0 && !b.closed):
			return
		case b.empty(): // only events that are set aside, or cannot be read any more
			l.pass(b.end, b.inside, 0, now)
			b.reset(b.end)
			continue
		}
		limit := windowMax
		if l.search.active() || s.limited {
			limit = 1
		}
		if !l.ready(b, now) || !s.win.admits(b, limit) {
			return
		}
		b.id, b.sentAt, b.state = l.nextID(), now, inFlight
		l.write(proto.FrameUplink(b.buf, b.id))
		s.win.push(b)
		s.open = nil
	}
}

// fill puts more events into the open batch if it takes any; false if the queue cannot be read.
func (l *loop) fill(now time.Time) bool {
	s := &l.sending
	if s.open == nil {
		s.open = s.win.get()
		s.open.reset(s.reader.Position())
	}
	if s.open.closed || s.aside.why != 0 || s.apart.events > 0 {
		return true
	}
	if err := s.reader.Read(s.take); err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
		if s.open.empty() && s.aside.why == 0 && s.apart.events == 0 {
			return false
		}
	}
	s.open.end = s.reader.Position()
	return true
}

// take is what the reader offers each event to; false leaves it in the queue.
func (l *loop) take(e *wal.Entry) bool {
	s := &l.sending
	if s.aside.why != 0 {
		return false
	}
	date, ok := l.date(e)
	if !ok {
		return false
	}
	if l.isFormer(&e.Event, e.Offset) {
		if !s.open.empty() || s.open.inside > 0 {
			s.open.closed = true
			return false
		}
		return s.apart.take(l.former.store, e, date)
	}
	if s.apart.events > 0 {
		return false
	}
	switch a := l.setAside(e); {
	case a.why == 0:
	case a.why == isDependent && !l.retries.last.since.IsZero() && l.dependents.creations[e.Entity].accepted:
		s.open.closed = !s.open.empty() || s.open.inside > 0
		return false
	case a.why.waits():
		return l.takeAside(e, a.why, date)
	case !s.open.empty() || s.open.inside > 0:
		s.open.closed = true
		return false
	default:
		s.aside = a
		return true
	}
	if proto.Kind(e.Kind) == proto.KindAlarm {
		followed := *e
		l.followAlarm(&followed.Event)
		e = &followed
	}
	if !s.open.take(e, limits{events: l.search.batchSize, server: l.conn.sess.ServerMax()}, s.now) {
		return false
	}
	sent := s.open.buf[len(s.open.buf)-len(e.Fragment):]
	if date != e.Time {
		proto.SetTime(sent, e.Time, date)
	}
	if l.former.active {
		l.adapt(&e.Event, e.Offset, sent)
	}
	l.unmake(&e.Event, e.Offset, sent)
	s.open.gone = s.open.gone || l.isGone(&e.Event)
	return true
}

// date is the time of an event, as the queue has it or, for one that was taken before the time was
// known, as it has shown since. ok is false while the event must wait for it.
func (l *loop) date(e *wal.Entry) (date int64, ok bool) {
	date, ok = l.clock.Date(e.Offset, e.Time)
	if !ok && proto.SetTime(e.Fragment, e.Time, e.Time) == 0 { // there is no time in it
		return e.Time, true
	}
	return date, ok
}

// peek reads the first event behind start and not behind end, with its time; not ok if it is no
// longer there, because the quota dropped it meanwhile.
func (l *loop) peek(start, end wal.Position) (e wal.Entry, ok bool, err error) {
	e, ok, err = l.queue.Peek(start, end.Offset)
	// Where the time is not known the fragment holds none: else take would have refused the event.
	if date, _ := l.clock.Date(e.Offset, e.Time); ok && date != e.Time {
		proto.SetTime(e.Fragment, e.Time, date)
		e.Time = date
	}
	return e, ok, err
}

// uplinkResponse handles the acknowledgement of an uplink, or its refusal.
func (l *loop) uplinkResponse(r *proto.UplinkResponseMsg, now time.Time) {
	s, id := &l.sending, r.GetUplinkMsgId()
	if l.probing.id != 0 && id == l.probing.id {
		l.probing.id, l.probing.at = 0, time.Time{}
		l.progress()
		return
	}
	if l.retries.try != nil && id == l.retries.try.id {
		l.retryAnswered(r, now)
		return
	}
	if s.births.probe != 0 && id == s.births.probe {
		s.births.probe, s.births.othersPass = 0, r.GetSuccess()
		return
	}
	if l.directAnswered(r, now) {
		return
	}
	b := s.win.find(id)
	if b == nil {
		return // late
	}
	if r.GetSuccess() {
		kept, ok := l.keepTaken(b, now)
		if !ok {
			l.rewind(b.start)
			return
		}
		l.progress()
		s.win.adapt(b, now.Sub(b.sentAt), s.win.slots() >= s.win.size)
		b.state = acked
		if s.limited {
			s.limited = false
			s.pause.Reset()
		}
		creates, end := b.creates, b.passes() // before commit gives b back
		l.commit(now)
		l.takesEvents()
		switch {
		case kept > 0:
			l.rewind(end) // what stands behind the creations waits with them
		case creates && l.dependents.any():
			l.retries.births = flow{on: true, size: 1}
			l.takesCreations(now)
		}
	} else {
		b.state, b.reason = refused, l.redact(r.GetErrorMsg())
	}
	if f := s.win.firstRefused(); f != nil && s.win.unanswered() == 0 {
		l.refusedBatch(f, now)
	}
}

// commit moves the committed offset over the contiguous acknowledged prefix of the window, and over
// what was set aside inside it and behind it.
func (l *loop) commit(now time.Time) {
	w := &l.sending.win
	for b := w.pop(); b != nil; b = w.pop() {
		if b.again {
			l.repeated(b, now)
			w.put(b)
			continue
		}
		l.made(b.unmade, now)
		gone := 0
		if b.gone {
			gone = l.moveGone(b, now)
		}
		l.advance(b.passes(), b.events-gone, b.inside+b.behind.dead+gone, now)
		w.put(b)
	}
}

// held is what is to be committed when the dependents before its end are in the dead-letter log.
type held struct {
	end          wal.Position
	events, dead int
}

// advance moves the committed offset to end, over so many events that were sent and so many that
// are in the dead-letter log, or are to be written there: then it moves when they are.
func (l *loop) advance(end wal.Position, events, dead int, now time.Time) {
	h := &l.sending.held
	*h = held{end: end, events: h.events + events, dead: h.dead + dead}
	l.search.passed(end, l.cfg.Batch.Size)
	if len(l.sending.waiting) == 0 {
		l.commitHeld(now)
	}
}

// commitHeld moves the committed offset over what advance has held.
func (l *loop) commitHeld(now time.Time) {
	h := l.sending.held
	if h.end.Offset == 0 {
		return
	}
	l.sending.held = held{}
	l.repeating.acknowledged(l.queue.Committed().Offset, now)
	if err := l.queue.Commit(h.end, uint64(h.events), uint64(h.dead)); err != nil && !errors.Is(err, wal.ErrClosed) {
		l.complain("the committed offset cannot be written", err.Error(), now)
	}
}

// rewind forgets the window and reads again from p on, or from the committed offset where what was
// set aside cannot be written. Every batch in the window is answered or never sent.
func (l *loop) rewind(p wal.Position) {
	s := &l.sending
	if !l.storeAside(s.now) {
		p = l.queue.Committed()
	}
	s.win.rewind()
	s.open, s.aside, s.apart = nil, aside{}, apart{}
	s.forgetAside()
	s.reader.Seek(p)
}
