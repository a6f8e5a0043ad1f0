package sync

import (
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
	hasNoForm                     // the edge protocol has no message for it (CONTRACT.md 5.2)
	isTooLarge                    // it is alone larger than the cloud takes: it would end the stream (CONTRACT.md 2.5)
)

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
	}
	return aside{}
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
		if !l.moveToDead(e, s.aside.text(l.conn.sess.ServerMax()), s.aside.why != isDependent, now) {
			return false
		}
		dead = 1
	}
	if s.aside.why == isTooLarge && l.outage.moved(&e.Event, e.Offset) {
		l.search.end(l.cfg.Batch.Size)
		l.conn.lastErr = ""
	}
	s.aside = aside{}
	l.pass(s.open.end, dead, now)
	s.open.reset(s.open.end)
	return true
}

// pass moves the committed offset to end, over so many events in the dead-letter log and none that
// is sent, once what is in flight is acknowledged.
func (l *loop) pass(end wal.Position, dead int, now time.Time) {
	if last := l.sending.win.last(); last != nil {
		last.behind = passed{end: end, dead: last.behind.dead + dead, slots: last.behind.slots + 1}
		return
	}
	l.commitTo(end, 0, dead, now)
}

// text is what stands on the dead letter.
func (a aside) text(serverMax int) string {
	switch a.why {
	case isDependent:
		return dependentReason
	case hasNoForm:
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
