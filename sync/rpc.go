package sync

import (
	"context"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/link"
)

// rpc is what the loop knows of calls beside their table. What waits and what was learned outlives
// the session.
type rpc struct {
	unrouted  []unrouted
	due       time.Time        // when the next call or request is over
	notBefore time.Time        // no answer goes before: the cloud limits the rate
	server    serverClock      // rpc_clock.go
	deliver   func(*Call) bool // to the doors
}

func (r *rpc) endSession() {
	r.server.fresh = false
	*r = rpc{unrouted: r.unrouted, due: r.due, notBefore: r.notBefore, server: r.server, deliver: r.deliver}
}

// Pending implements Calls.
func (a *Agent) Pending(device proto.UUID) []Call { return a.calls.Pending(device) }

// Delivered implements Calls.
func (a *Agent) Delivered(device proto.UUID, id int32) { a.calls.Delivered(device, id) }

// Sent implements Calls.
func (a *Agent) Sent(device proto.UUID, id int32) { a.calls.Sent(device, id) }

// Acknowledged implements Calls.
func (a *Agent) Acknowledged(device proto.UUID, id int32) { a.calls.Acknowledged(device, id) }

// WatchCalls names who is told of the states of persistent calls: calls.Table.Watch.
func (a *Agent) WatchCalls(fn func(c *Call, state, answer string)) { a.calls.Watch(fn) }

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
func (a *Agent) CallDevice(
	ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration,
) (string, error) {
	return a.calls.Call(ctx, device, method, params, oneway, timeout)
}

// StartCall calls a device for a rule chain: calls.Table.Start.
func (a *Agent) StartCall(
	device proto.UUID, method, params string, oneway bool, expires time.Time, done func(response, word string),
) error {
	return a.calls.Start(device, method, params, oneway, expires, done)
}

// AmendCall changes what a call says that waits for its device: calls.Table.Amend.
func (a *Agent) AmendCall(device proto.UUID, id int32, method, params string) {
	a.calls.Amend(device, id, method, params)
}

// ReachedCall says that somebody who takes the device's calls is there: calls.Table.Reached.
func (a *Agent) ReachedCall(c *Call) { a.calls.Reached(c) }

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

// takeCalls takes the calls of a message.
func (l *loop) takeCalls(d *proto.DownlinkMsg, now time.Time) {
	for _, c := range d.GetDeviceRpcCallMsg() {
		l.call(c, now)
	}
}

// call takes a DeviceRpcCallMsg: a call for a device, or the answer to a device's own.
func (l *loop) call(c *proto.DeviceRpcCallMsg, now time.Time) {
	if c.GetRequestMsg() == nil {
		l.calls.Answered(c, link.FirstLine(c.GetResponseMsg().GetError()))
		return
	}
	expires := l.rpc.server.local(c.GetExpirationTime(), now)
	soon := now.Add(callMinimum) // long enough for a refusal to be of use
	switch {
	case l.doors == nil:
		l.calls.Refuse(c, calls.NoConnection, soon)
		return
	case !l.reg.HasDevice(proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB())):
		if len(l.rpc.unrouted) < maxUnrouted && l.rpc.unroutedBytes()+textsOf(c) <= unroutedMost {
			l.rpc.unrouted = append(l.rpc.unrouted, unrouted{c, now.Add(unroutedWait)})
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

// unrouted is a call for a device that is not here. It may have overtaken the device's creation,
// which is still in the server's other queue (CONTRACT.md 6.1); or it is not ours at all, for
// servers of old sent calls to the wrong edge (CONTRACT.md 8.1).
type unrouted struct {
	msg *proto.DeviceRpcCallMsg
	due time.Time // when it counts as not ours
}

// textsOf is how many bytes the texts of a call have.
func textsOf(c *proto.DeviceRpcCallMsg) int {
	return len(c.GetRequestMsg().GetMethod()) + len(c.GetRequestMsg().GetParams()) + len(c.GetServiceId()) + len(c.GetSessionId()) +
		len(c.GetResponseMsg().GetResponse()) + len(c.GetResponseMsg().GetError())
}

func (r *rpc) unroutedBytes() (bytes int) {
	for _, u := range r.unrouted {
		bytes += textsOf(u.msg)
	}
	return bytes
}

// maybeUnrouted looks whether the devices of unrouted calls have come, and returns when that is to
// be done again at the latest; zero if none waits.
func (l *loop) maybeUnrouted(now time.Time) (next time.Time) {
	list := l.rpc.unrouted
	l.rpc.unrouted = nil
	for _, u := range list {
		switch {
		case l.reg.HasDevice(proto.UUIDOf(u.msg.GetDeviceIdMSB(), u.msg.GetDeviceIdLSB())):
			l.call(u.msg, now)
		case !u.due.After(now):
			l.calls.Refuse(u.msg, calls.NotFound, now.Add(callMinimum))
		default:
			l.rpc.unrouted = append(l.rpc.unrouted, u)
			if next.IsZero() {
				next = u.due // they stand in the order of their coming
			}
		}
	}
	return next
}

// maybeCall offers what was called here, keeps what was answered, ends what is overdue, and sends
// what waits: past the backlog, at once (CONTRACT.md 8.1).
func (l *loop) maybeCall(now time.Time) {
	if err := l.calls.Offer(l.rpc.deliver); err != nil {
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
	l.rpc.due = l.calls.Expire(now)
	if l.rpc.due.IsZero() || !waits.IsZero() && waits.Before(l.rpc.due) {
		l.rpc.due = waits
	}
	if now.Before(l.rpc.notBefore) {
		if l.rpc.due.IsZero() || l.rpc.notBefore.Before(l.rpc.due) {
			l.rpc.due = l.rpc.notBefore
		}
		return
	}
	for l.conn.sess != nil && l.conn.sess.Queued() < receiveBelow && l.direct.bytes < directBytes {
		o, ok := l.calls.Next(now)
		if !ok {
			return
		}
		if !l.sendDirect(o.Fragment, sent{call: o, at: now}) {
			l.calls.TooLarge(o)
		}
	}
}
