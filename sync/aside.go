package sync

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// aside is one event of the queue that is not to be sent. It goes to the dead letters, and the
// committed offset moves past it once the batches before it are acknowledged.
type aside struct {
	why    reason
	action uint8
	size   int // of a RequestMsg with it alone
	offset uint64
}

// reason is why an event is set aside; 0: it is not.
type reason uint8

const (
	isDependent reason = iota + 1 // the creation of its entity was refused (dependents.go)
	isUntried                     // a creation, and the cloud has refused those before it
	hasNoForm                     // the edge protocol has no message for it (CONTRACT.md 5.2)
	isTooLarge                    // it is alone larger than the cloud takes: it would end the stream (CONTRACT.md 2.5)
)

// waits reports whether the event goes to the dead letters to be sent from there, and not to rest.
func (r reason) waits() bool { return r == isDependent || r == isUntried }

// setAside judges an event of the queue.
func (l *loop) setAside(e *wal.Entry) aside {
	size := proto.RequestSize(len(e.Fragment), maxID)
	switch {
	case l.dependents.has(e.Entity, e.Offset):
		return aside{why: isDependent}
	case !proto.Action(e.Action).Sendable():
		return aside{why: hasNoForm, action: e.Action}
	case size > l.conn.sess.ServerMax():
		return aside{why: isTooLarge, action: e.Action, size: size, offset: e.Offset}
	case isCreation(&e.Event) && (l.dependents.refusals >= refusedInARow || l.isThere(e)):
		return aside{why: isUntried}
	}
	return aside{}
}

// isThere reports whether a creation was moved to the dead letters before, and is read once more.
func (l *loop) isThere(e *wal.Entry) bool {
	return l.dependents.any() && l.dependents.creations[e.Entity].offset == e.Offset && l.deadLog.Has(e.Offset)
}

// creationAside is the reason of a creation that was set aside untried.
const creationAside = "not tried yet: the cloud has refused the creations before it"

// takeAside puts an event with its date among those that storeAside writes; false leaves it in the
// queue until the next turn.
func (l *loop) takeAside(e *wal.Entry, why reason, date int64) bool {
	s := &l.sending
	if len(s.waiting) >= asideEvents || s.waitingBytes >= asideBytes {
		s.more = true
		return false
	}
	if why == isUntried {
		l.dependents.refused(e.Entity, e.Offset)
		l.dependents.named(e.Entity, e.Fragment)
	}
	s.open.inside++
	if l.deadLog.Has(e.Offset) || why == isDependent && l.overflow.has(e) { // it was read before the stream ended
		return true
	}
	d := wal.DeadLetter{Event: e.Event, Offset: e.Offset, At: s.now, Class: wal.DeadCreation}
	if d.Fragment = bytes.Clone(e.Fragment); date != e.Time {
		proto.SetTime(d.Fragment, e.Time, date)
		d.Time = date
	}
	if why == isUntried {
		d.Pinned, d.Reason = true, creationAside
	}
	if len(s.waiting) == 0 {
		s.waitingSince = s.now
	}
	if l.dependents.creations[e.Entity].accepted {
		s.waitingSince = time.Time{} // it may go up soon
	}
	s.waiting = append(s.waiting, d)
	s.waitingBytes += len(d.Fragment)
	return true
}

// asideDue reports whether what takeAside has taken is to be written now. It waits a moment for
// more: each write costs an fsync.
func (s *sending) asideDue(now time.Time) bool {
	return len(s.waiting) >= asideEvents || s.waitingBytes >= asideBytes || now.Sub(s.waitingSince) >= asideWait
}

// storeAside writes what takeAside has taken, in one write, and commits what was held for it; false
// if the medium refuses.
func (l *loop) storeAside(now time.Time) bool {
	s := &l.sending
	if len(s.waiting) == 0 {
		return true
	}
	if now.Before(s.pauseUntil) && s.unstored {
		return false
	}
	if err := l.putAside(now); err != nil {
		s.unstored = true
		l.notMoved(err, now)
		return false
	}
	for i := range s.waiting {
		if s.waiting[i].Pinned {
			soonest(&l.retries.birthsDue, now)
		} else if l.dependents.creations[s.waiting[i].Entity].accepted {
			soonest(&l.retries.due, now.Add(commitPause))
		}
	}
	clear(s.waiting)
	s.waiting, s.waitingBytes, s.unstored = s.waiting[:0], 0, false
	l.commitHeld(now)
	return true
}

// forgetAside forgets what storeAside could not write, and what was held for it: it is read again.
func (s *sending) forgetAside() {
	clear(s.waiting)
	s.waiting, s.waitingBytes, s.unstored, s.held = s.waiting[:0], 0, false, held{}
}

// maxID is the largest id of an uplink, for the size of one whose id is not known yet.
const maxID = 1<<31 - 1

// moveAside moves the event that was set aside to the dead letters and passes it; what is in flight
// in front of it stays as it is. False: the medium refuses. The event stays where it is, and is
// tried again after a while.
func (l *loop) moveAside(now time.Time) bool {
	s := &l.sending
	e, ok, err := l.peek(s.open.start, s.open.end)
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
		s.pauseUntil = now.Add(l.cfg.Retry.Interval)
		return false
	}
	dead := 0
	if ok { // else the quota has dropped it meanwhile, or it cannot be read any more
		if !l.moveToDead(e, s.aside.text(l.conn.sess.ServerMax()), true, now) {
			return false
		}
		dead = 1
	}
	if s.aside.why == isTooLarge && l.outage.moved(&e.Event, e.Offset) {
		l.search.end(l.cfg.Batch.Size)
		l.conn.lastErr = ""
	}
	s.aside = aside{}
	l.pass(s.open.end, dead, 1, now)
	s.open.reset(s.open.end)
	return true
}

// pass moves the committed offset to end, over so many events in the dead-letter log and none that
// is sent, once what is in flight is acknowledged. It takes so many slots of the window.
func (l *loop) pass(end wal.Position, dead, slots int, now time.Time) {
	if last := l.sending.win.last(); last != nil {
		last.behind = passed{end: end, dead: last.behind.dead + dead, slots: last.behind.slots + slots}
		return
	}
	l.advance(end, 0, dead, now)
}

// text is what stands on the dead letter.
func (a aside) text(serverMax int) string {
	if a.why == hasNoForm {
		return noForm(a.action)
	}
	return tooLarge(proto.Action(a.action).String()+" event", a.size, serverMax)
}

// noForm is the reason of a dead letter that has no form on the wire.
func noForm(action uint8) string {
	if proto.Action(action) == proto.ActionClaim {
		return "CLAIM cannot be transferred to the cloud: the edge protocol has no message for it;" +
			" nobody can claim the device there while it is connected here"
	}
	return fmt.Sprintf("%v cannot be transferred to the cloud: the edge protocol has no message for it;"+
		" it was carried out here only", proto.Action(action))
}

// isTooLargeReason reports whether tooLarge has made a reason.
func isTooLargeReason(reason string) bool {
	return strings.Contains(reason, " bytes is larger than the ") && strings.HasSuffix(reason, " bytes that the cloud takes")
}

func tooLarge(what string, size, serverMax int) string {
	return fmt.Sprintf("%s of %d bytes is larger than the %d bytes that the cloud takes", what, size, serverMax)
}
