package sync

import (
	"context"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/link"
)

// Pending implements Calls.
func (a *Agent) Pending(device proto.UUID) []Call { return a.calls.Pending(device) }

// Delivered implements Calls.
func (a *Agent) Delivered(device proto.UUID, id int32) { a.calls.Delivered(device, id) }

// Answer implements Calls.
func (a *Agent) Answer(device proto.UUID, id int32, response string) bool {
	return a.calls.Answer(device, id, response)
}

// Request implements Calls.
func (a *Agent) Request(r *Request) error { return a.calls.Request(r) }

// Notify implements Calls.
func (a *Agent) Notify(device proto.UUID, method, params string) bool {
	return a.calls.Notify(device, method, params)
}

// CallDevice calls a device here and waits for its answer: calls.Table.Call. Any goroutine.
func (a *Agent) CallDevice(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error) {
	return a.calls.Call(ctx, device, method, params, oneway, timeout)
}

// recallCalls brings back the persistent calls of an earlier life.
func (l *loop) recallCalls(now time.Time) {
	for _, c := range l.reg.Calls() {
		expires := time.UnixMilli(c.GetExpirationTime())
		if expires.After(now) && l.doors != nil {
			l.calls.Recall(c, expires)
		} else if err := l.reg.DropCall(c); err != nil {
			l.complain("the registry cannot be written", err.Error(), now)
		}
	}
}

// call takes a DeviceRpcCallMsg: a call for a device, or the answer to a device's own.
func (l *loop) call(c *proto.DeviceRpcCallMsg, now time.Time) {
	if c.GetRequestMsg() == nil {
		l.calls.Answered(c, link.FirstLine(c.GetResponseMsg().GetError()))
		return
	}
	expires := l.local(c.GetExpirationTime(), now)
	soon := now.Add(callMinimum) // long enough for a refusal to be of use
	switch {
	case l.doors == nil:
		l.calls.Refuse(c, calls.NoConnection, soon)
		return
	case !l.reg.HasDevice(proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB())):
		if len(l.unrouted) < maxUnrouted {
			l.unrouted = append(l.unrouted, unrouted{c, now.Add(unroutedWait)})
		} else {
			l.calls.Refuse(c, calls.NotFound, soon)
		}
		return
	case !expires.After(now):
		l.calls.Refuse(c, calls.TimedOut, soon)
		return
	}
	taken, refused := l.calls.Take(c, expires)
	switch {
	case refused != "":
		l.calls.Refuse(c, refused, soon)
		return
	case taken == nil:
		return
	}
	if c.GetPersisted() {
		if err := l.reg.KeepCall(c); err != nil {
			l.complain("a persistent call cannot be kept over a restart", err.Error(), now)
		}
	}
	if l.doors.Deliver(taken) {
		l.calls.Reached(taken)
	}
}

// unrouted is a call for a device that is not here. It may have overtaken the device's creation, which
// is still in the server's other queue (CONTRACT.md 6.1); or it is not ours at all, for servers of old
// sent calls to the wrong edge (CONTRACT.md 8.1).
type unrouted struct {
	msg *proto.DeviceRpcCallMsg
	due time.Time // when it counts as not ours
}

// maxUnrouted bounds the calls that wait for their devices.
const maxUnrouted = 32

// maybeUnrouted looks whether the devices of unrouted calls have come, and returns when that is to be
// done again at the latest; zero if none waits.
func (l *loop) maybeUnrouted(now time.Time) (next time.Time) {
	list := l.unrouted
	l.unrouted = nil
	for _, u := range list {
		switch {
		case l.reg.HasDevice(proto.UUIDOf(u.msg.GetDeviceIdMSB(), u.msg.GetDeviceIdLSB())):
			l.call(u.msg, now)
		case !u.due.After(now):
			l.calls.Refuse(u.msg, calls.NotFound, now.Add(callMinimum))
		default:
			l.unrouted = append(l.unrouted, u)
			if next.IsZero() {
				next = u.due // they stand in the order of their coming
			}
		}
	}
	return next
}

// maybeCall offers what was called here, keeps what was answered, ends what is overdue, and sends what
// waits: past the backlog, at once (CONTRACT.md 8.1).
func (l *loop) maybeCall(now time.Time) {
	if err := l.calls.Offer(l.deliver); err != nil {
		l.complain("a notice to a gateway cannot be kept over a restart", err.Error(), now)
	}
	kept, dropped := l.calls.Save()
	if kept != nil {
		l.complain("the answer to a persistent call cannot be kept over a restart", kept.Error(), now)
	}
	if dropped != nil {
		l.complain("the registry cannot be written", dropped.Error(), now)
	}
	waits := l.maybeUnrouted(now)
	l.callsDue = l.calls.Expire(now)
	if l.callsDue.IsZero() || !waits.IsZero() && waits.Before(l.callsDue) {
		l.callsDue = waits
	}
	if now.Before(l.callsWait) {
		if l.callsDue.IsZero() || l.callsWait.Before(l.callsDue) {
			l.callsDue = l.callsWait
		}
		return
	}
	for l.sess != nil && l.sess.Queued() < outHigh {
		o, ok := l.calls.Next(now)
		if !ok {
			return
		}
		if !l.sendDirect(o.Fragment, sent{call: o, at: now}) {
			l.calls.TooLarge(o)
		}
	}
}
