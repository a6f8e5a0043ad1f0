package sync

import (
	"errors"
	"time"

	"edgesync/proto"
)

// Persistent calls are kept in the registry until the cloud has acknowledged their answers: first the call, then in its place the answer, so that
// after a restart a device that has answered is not called again.

// recallCalls brings back the persistent calls of an earlier life.
func (l *loop) recallCalls(now time.Time) {
	for _, c := range l.reg.Calls() {
		expires := time.UnixMilli(c.GetExpirationTime())
		if !expires.After(now) || l.doors == nil {
			l.dropCall(c, now)
			continue
		}
		if m := c.GetResponseMsg(); m != nil {
			l.calls.recall(&answer{fragment: proto.AppendRPCAnswer(nil, c, m.GetResponse(), m.GetError()), expires: expires, kept: c})
			continue
		}
		l.calls.add(c, expires, true, c.GetServiceId() == serviceID)
	}
}

// recall queues an answer of an earlier life.
func (t *callTable) recall(a *answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended(proto.UUIDOf(a.kept.GetRequestUuidMSB(), a.kept.GetRequestUuidLSB()))
	t.queue(a)
}

// saveAnswers makes durable what devices answered to persistent calls, before it is sent, and forgets the answers that gave way.
func (l *loop) saveAnswers(now time.Time) {
	t := l.calls
	t.mu.Lock()
	var list []*proto.DeviceRpcCallMsg
	for _, a := range t.answers {
		if a.unsaved {
			a.unsaved = false
			list = append(list, a.kept)
		}
	}
	over := t.over
	t.over = nil
	t.mu.Unlock()
	for _, c := range over {
		l.dropCall(c, now)
	}
	if len(list) == 0 {
		return
	}
	var err error
	for _, c := range list {
		err = errors.Join(err, l.reg.KeepCall(c))
		c.ResponseMsg = nil // the fragment has it
	}
	if err = errors.Join(err, l.reg.Flush()); err != nil { // it is sent all the same
		l.complain("the answer to a persistent call cannot be kept over a restart", err.Error(), now)
	}
}

func (l *loop) dropKept(a *answer, now time.Time) {
	if a.kept != nil {
		l.dropCall(a.kept, now)
	}
}

func (l *loop) dropCall(c *proto.DeviceRpcCallMsg, now time.Time) {
	if err := l.reg.DropCall(c); err != nil {
		l.complain("the registry cannot be written", err.Error(), now)
	}
}
