package sync

import (
	"fmt"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// maySend tells whether batches may go out at all now.
func (l *loop) maySend(now time.Time) bool {
	return l.sess != nil && !now.Before(l.pauseUntil) && l.win.firstRefused() == nil && l.sess.Queued() < link.Slots-windowMax
}

// ready tells whether a batch goes as it is, or waits for company: one event alone costs ten times the bytes (wire contract 2.1).
func (l *loop) ready(b *batch, now time.Time) bool {
	return b.closed || b.urgent || l.stopping || l.cfg.Batch.Timeout == 0 || now.Sub(b.opened) >= l.cfg.Batch.Timeout
}

// maybeSend fills and sends batches while the window admits them.
func (l *loop) maybeSend(now time.Time) {
	for l.maySend(now) {
		b := l.fill(now)
		if b == nil {
			return
		}
		if b.empty() {
			if b.end.Seq == b.start.Seq {
				return
			}
			// Only events that cannot be read any more: nothing to send, but they are passed.
			b.state = acked
			l.push(b)
			l.commit(now)
			continue
		}
		if b.orphan {
			if !l.parkOrphan(b, now) {
				return
			}
			continue
		}
		size := proto.RequestSize(b.fragments(), 1<<31-1)
		if b.unsendable || size > l.sess.ServerMax() {
			if !l.parkUnsendable(b, size, now) {
				return
			}
			continue
		}
		limit := windowMax
		if l.single || l.limited {
			limit = 1
		}
		if !l.ready(b, now) || !l.win.admits(b, limit) {
			return
		}
		b.id, b.sentAt, b.state = l.nextID(), now, inFlight
		l.write(proto.FrameUplink(b.buf, b.id))
		l.push(b)
	}
}

func (l *loop) push(b *batch) {
	l.win.push(b)
	l.open = nil
}

// fill puts more events into the open batch if it takes any, and returns it; nil if the queue cannot be read.
func (l *loop) fill(now time.Time) *batch {
	if l.open == nil {
		l.open = l.win.get()
		l.open.reset(l.reader.Position())
	}
	if l.open.closed {
		return l.open
	}
	if err := l.reader.Read(l.take); err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
		if l.open.empty() {
			return nil
		}
	}
	l.open.end = l.reader.Position()
	return l.open
}

// date is the time of an event, as the queue has it or, for one that was taken before the time was known, as it has shown since. ok is false while the
// event must wait for it.
func (l *loop) date(e *wal.Entry) (date int64, ok bool) {
	date, ok = l.Clock.Date(e.Offset, e.Time)
	if !ok && proto.SetTime(e.Fragment, e.Time, e.Time) == 0 { // there is no time in it
		return e.Time, true
	}
	return date, ok
}

// peek reads the one event of b, with its time; not ok if it is no longer there, because the quota dropped it meanwhile.
func (l *loop) peek(b *batch) (e wal.Entry, ok bool, err error) {
	e, ok, err = l.queue.Peek(b.start, b.end.Offset)
	// If it is not known there is none in the fragment, or the event would not have been taken.
	if date, _ := l.Clock.Date(e.Offset, e.Time); ok && date != e.Time {
		proto.SetTime(e.Fragment, e.Time, date)
		e.Time = date
	}
	return e, ok, err
}

// parkUnsendable moves an event to the dead-letter log that can never be sent: it is alone larger than the server takes, would end the
// stream, and the status would not tell why (wire contract 2.5); or it has no form on the wire (5.2).
func (l *loop) parkUnsendable(b *batch, size int, now time.Time) bool {
	return l.parkOpen(b, true, now, func(e *wal.Entry) string {
		if b.unsendable {
			return notTransferable(e.Action)
		}
		return fmt.Sprintf("%v event of %d bytes is larger than the %d bytes that the cloud takes", proto.Action(e.Action), size, l.sess.ServerMax())
	})
}

// parkOpen moves the one event of the open batch, which is not to be sent, to the dead-letter log and passes it; what is in flight in front of it
// stays as it is. False: the medium refuses; the batch stays open, and it is tried again after a while.
func (l *loop) parkOpen(b *batch, hopeless bool, now time.Time, reason func(e *wal.Entry) string) bool {
	e, ok, err := l.peek(b)
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
		l.pauseUntil = now.Add(l.cfg.Retry.Interval)
		return false
	}
	if ok { // else the quota has dropped it meanwhile, or it cannot be read any more
		if !l.bury(e, reason(&e), hopeless, now) {
			return false
		}
		b.dead = 1
	}
	b.events, b.state = 0, acked
	l.push(b)
	l.commit(now)
	return true
}

// notTransferable is the reason of a dead letter that has no form on the wire.
func notTransferable(action uint8) string {
	if proto.Action(action) == proto.ActionClaim {
		return "CLAIM cannot be transferred to the cloud: the edge protocol has no message for it; nobody can claim the device there while it is connected here"
	}
	return fmt.Sprintf("%v cannot be transferred to the cloud: the edge protocol has no message for it; it was carried out here only", proto.Action(action))
}

func (l *loop) uplinkResponse(r *proto.UplinkResponseMsg, now time.Time) {
	id := r.GetUplinkMsgId()
	if l.probeID != 0 && id == l.probeID {
		l.probeID = 0
		l.progress()
		return
	}
	if l.deadTry != nil && id == l.deadTry.id {
		l.deadAnswer(r, now)
		return
	}
	if l.directAnswer(r, now) {
		return
	}
	b := l.win.find(id)
	if b == nil {
		return // late
	}
	if r.GetSuccess() {
		l.progress()
		l.win.adapt(b, now.Sub(b.sentAt), len(l.win.batches) >= l.win.size)
		b.state = acked
		if l.limited {
			l.limited = false
			l.pause.Reset()
		}
		l.commit(now)
	} else {
		b.state, b.reason = refused, link.Redact(r.GetErrorMsg(), l.secret())
	}
	if f := l.win.firstRefused(); f != nil && l.win.unanswered() == 0 {
		l.refusedBatch(f, now)
	}
}

// progress is the first acknowledgement of a session: only now the link counts as good and the backoff starts anew.
func (l *loop) progress() {
	if !l.acknowledged {
		l.acknowledged = true
		l.reconnect.Reset()
	}
}

// refusedBatch acts on the first refused batch once everything in flight is answered: from its first event on all is sent again in
// order, one batch at a time, smaller ones while a culprit is searched. What was behind it and accepted is sent twice, which is
// legal; a gap would not be.
func (l *loop) refusedBatch(b *batch, now time.Time) {
	switch judge(b.reason) {
	case refusedEdgeGone:
		l.ended(errEdgeGone, now)
		return
	case refusedLimit:
		l.limited = true
		wait := l.pause.Next()
		l.pauseUntil = now.Add(wait)
		l.complain("the cloud limits the rate", link.FirstLine(b.reason), now, "pause", wait)
	case refusedHopeless:
		if b.events == 1 {
			l.park(b, b.reason, true, now)
			return
		}
		l.narrow(b)
	default:
		if b.events == 1 {
			l.park(b, b.reason, false, now)
			return
		}
		l.narrow(b)
	}
	l.rewind(b.start)
}

// narrow halves what is sent at a time, up to the end of the batch that holds the culprit.
func (l *loop) narrow(b *batch) {
	l.maxEvents, l.single, l.suspectEnd = max(1, b.events/2), true, b.end.Offset
}

// rewind forgets the window and reads again from p on. Every batch in it is answered or never sent.
func (l *loop) rewind(p wal.Position) {
	size, slowed, best, rtt := l.win.size, l.win.slowed, l.win.best, l.win.rtt
	l.win.reset()
	l.win.size, l.win.slowed, l.win.best, l.win.rtt = size, slowed, best, rtt
	l.open = nil
	l.reader.Seek(p)
}

// park moves the one event of a batch, the first in the window, to the dead-letter log and passes it.
func (l *loop) park(b *batch, reason string, hopeless bool, now time.Time) {
	e, ok, err := l.peek(b)
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
	}
	if !ok || !l.bury(e, link.FirstLine(reason), hopeless, now) {
		l.rewind(b.start)
		return
	}
	end := b.end
	if err := l.queue.Commit(end, 0, 1); err != nil {
		l.complain("the committed offset cannot be written", err.Error(), now)
	}
	if l.suspectEnd != 0 && end.Offset >= l.suspectEnd {
		l.suspectEnd, l.single, l.maxEvents = 0, false, l.cfg.Batch.Size
	}
	l.rewind(end)
}
