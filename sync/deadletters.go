package sync

import (
	"fmt"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// deadTry is a letter of the dead-letter log on its way to the cloud once more.
type deadTry struct {
	id     int32
	letter wal.DeadLetter
	sentAt time.Time
	// dropped: somebody gave the letter up meanwhile, and it counts as discarded whatever the answer.
	dropped bool
}

// bury writes an event to the dead-letter log, durably; false if the medium refuses, and then the event stays where it is.
func (l *loop) bury(e wal.Entry, reason string, hopeless bool, now time.Time) bool {
	err := l.Dead.Put(wal.DeadLetter{
		Event: e.Event, Offset: e.Offset, Reason: reason, Tries: 1, At: now, Resting: hopeless || l.cfg.Retry.Max <= 1,
		Pinned: isCreation(&e.Event), // without it its orphans would be worth nothing
	})
	if err != nil {
		l.complain("a refused event cannot be moved to the dead-letter log; it is tried again", err.Error(), now)
		l.pauseUntil = now.Add(l.cfg.Retry.Interval)
		return false
	}
	if isCreation(&e.Event) {
		l.unborn[e.Entity] = unborn{creation: e.Offset}
	}
	l.complain("the cloud refuses an event; it is in the dead-letter log", reason, now, "action", proto.Action(e.Action), "offset", e.Offset)
	if !hopeless {
		l.tries[e.Offset] = 1
		if l.deadDue.IsZero() {
			l.deadDue = now.Add(l.cfg.Retry.Interval)
		}
	}
	return true
}

// maybeRetryDead sends one waiting letter every retry.interval, the least tried first, beside the ordinary batches.
func (l *loop) maybeRetryDead(now time.Time) {
	if l.deadTry != nil || l.single || l.limited || l.stopping || now.Before(l.deadDue) || !l.maySend(now) {
		return
	}
	s := l.Dead.Stats()
	if s.Letters == s.Resting {
		l.deadDue = time.Time{}
		clear(l.tries)
		l.forgetBorn(nil)
		return
	}
	l.deadDue = now.Add(l.cfg.Retry.Interval)
	pick, found, orphans, err := l.pickLetter()
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), now)
		return
	}
	if !found {
		if orphans && len(l.unborn) > 0 { // which may wait for a person
			l.deadDue = now.Add(l.orphanWait())
		}
		return
	}
	if size := proto.RequestSize(len(pick.Fragment), 1<<31-1); size > l.sess.ServerMax() {
		l.rest(pick, fmt.Sprintf("event of %d bytes is larger than the %d bytes that the cloud takes", size, l.sess.ServerMax()), now)
		return
	}
	if !proto.Action(pick.Action).Sendable() {
		l.rest(pick, notTransferable(pick.Action), now)
		return
	}
	l.deadTry = &deadTry{id: l.nextID(), letter: pick, sentAt: now}
	buf := append(make([]byte, proto.UplinkHeader, proto.UplinkHeader+len(pick.Fragment)), pick.Fragment...)
	l.write(proto.FrameUplink(buf, l.deadTry.id))
}

func (l *loop) triesOf(d *wal.DeadLetter) int { return max(d.Tries, l.tries[d.Offset]) }

// deadAnswer handles the answer to a letter. Tries are counted in memory and written when the letter comes to rest, to spare the flash.
func (l *loop) deadAnswer(r *proto.UplinkResponseMsg, now time.Time) {
	d, dropped := l.deadTry.letter, l.deadTry.dropped
	l.deadTry = nil
	var err error
	if r.GetSuccess() {
		l.progress()
		delete(l.tries, d.Offset)
		l.letterDelivered(&d, now)
		err = l.Dead.Remove(d.Offset, true)
	} else {
		text := link.Redact(r.GetErrorMsg(), l.secret())
		switch judge(text) {
		case refusedLimit:
			l.limited = true
			l.pauseUntil = now.Add(l.pause.Next())
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
		n := l.triesOf(&d) + 1
		l.tries[d.Offset] = n
		if d.Resting = d.Resting || n >= l.cfg.Retry.Max; d.Resting {
			delete(l.tries, d.Offset)
			d.Tries, d.Reason = n, link.FirstLine(text)
			err = l.Dead.Put(d)
		}
	}
	if err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
	}
}
