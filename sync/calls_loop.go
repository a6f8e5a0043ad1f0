package sync

import (
	"errors"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
)

// sent is an uplink of ours that the server has not acknowledged: an answer, a request, or a question of ask.go.
type sent struct {
	answer *answer
	at     time.Time
	asked  []question
}

// call takes a DeviceRpcCallMsg: a call for a device, or the answer to a device's own.
func (l *loop) call(c *proto.DeviceRpcCallMsg, now time.Time) {
	if c.GetRequestMsg() == nil {
		l.answered(c)
		return
	}
	t := l.calls
	expires := l.local(c.GetExpirationTime(), now)
	soon := now.Add(callMinimum) // long enough for a refusal to be of use
	device := proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB())
	switch {
	case l.doors == nil:
		t.refuse(c, rpcNoConnection, soon)
		return
	case !l.reg.HasDevice(device):
		if len(l.strays) < maxStrays {
			l.strays = append(l.strays, stray{c, now.Add(strayWait)})
		} else {
			t.refuse(c, rpcNotFound, soon)
		}
		return
	case !expires.After(now):
		t.refuse(c, rpcTimedOut, soon)
		return
	}
	p, word := t.add(c, expires, c.GetPersisted(), false)
	switch {
	case word != "":
		t.refuse(c, word, soon)
		return
	case p == nil:
		return
	}
	if p.kept {
		if err := l.reg.KeepCall(c); err != nil {
			l.complain("a persistent call cannot be kept over a restart", err.Error(), now)
		}
	}
	if l.doors.Deliver(&p.Call) {
		t.mu.Lock()
		p.offered = true
		t.mu.Unlock()
	}
}

// stray is a call for a device that is not here. It may have overtaken the device's creation, which is still in the server's other queue
// (wire contract 6.1); or it is not ours at all, for servers of old sent calls to the wrong edge (8.1).
type stray struct {
	msg *proto.DeviceRpcCallMsg
	due time.Time // when it counts as not ours
}

const (
	strayWait = 3 * time.Second // the server looks for new events every second
	maxStrays = 32
)

// maybeStrays looks whether the devices of stray calls have come, and tells when that is to be done again at the latest.
func (l *loop) maybeStrays(now time.Time) (next time.Time) {
	list := l.strays
	l.strays = nil
	for _, s := range list {
		switch {
		case l.reg.HasDevice(proto.UUIDOf(s.msg.GetDeviceIdMSB(), s.msg.GetDeviceIdLSB())):
			l.call(s.msg, now)
		case !s.due.After(now):
			l.calls.refuse(s.msg, rpcNotFound, now.Add(callMinimum))
		default:
			l.strays = append(l.strays, s)
			if next.IsZero() {
				next = s.due // they stand in the order of their coming
			}
		}
	}
	return next
}

// answered hands the cloud's answer to the device that asked.
func (l *loop) answered(c *proto.DeviceRpcCallMsg) {
	t := l.calls
	t.mu.Lock()
	r := t.requests[c.GetRequestId()]
	if r == nil || c.GetSessionId() != t.session || r.Device != proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB()) {
		t.mu.Unlock()
		return // late, or of another life
	}
	delete(t.requests, r.id)
	t.mu.Unlock()
	m := c.GetResponseMsg()
	if word := m.GetError(); word != "" {
		r.Reply(nil, errors.New("the cloud answered "+link.FirstLine(word)))
		return
	}
	response := m.GetResponse()
	if response == "" {
		response = "null"
	}
	r.Reply([]byte(response), nil)
}

// maybeCall ends what is overdue and sends what waits: past the backlog, at once (wire contract 8.1).
func (l *loop) maybeCall(now time.Time) {
	t := l.calls
	l.offerLocal(now)
	l.saveAnswers(now)
	strays := l.maybeStrays(now)
	late, next := t.expire(now)
	if next.IsZero() || !strays.IsZero() && strays.Before(next) {
		next = strays
	}
	for _, r := range late {
		r.Reply(nil, ErrTimeout)
	}
	l.callsDue = next
	if now.Before(l.callsWait) {
		if next.IsZero() || l.callsWait.Before(next) {
			l.callsDue = l.callsWait
		}
		return
	}
	for l.sess != nil && l.sess.Queued() < outHigh {
		t.mu.Lock()
		var a *answer
		var r *pendingRequest
		switch {
		case len(t.answers) > 0 && t.answers[0].unsaved: // it came this moment, and has woken the loop
			t.mu.Unlock()
			return
		case len(t.answers) > 0:
			a = t.answers[0]
			t.answers = slices.Delete(t.answers, 0, 1)
			t.bytes -= len(a.fragment)
		case len(t.unsent) > 0:
			r = t.requests[t.unsent[0]] // nil if it is overdue already
			t.unsent = slices.Delete(t.unsent, 0, 1)
		default:
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		switch {
		case a != nil && a.expires.After(now):
			l.sendDirect(a.fragment, sent{answer: a, at: now})
		case a != nil:
			l.dropKept(a, now)
		case r != nil:
			l.sendDirect(proto.AppendRPCRequest(nil, r.Device, r.id, serviceID, t.session, r.Method, r.Params), sent{at: now})
		}
	}
}

// sendDirect sends fragments as an uplink of their own, beside the batches; false if they are too large.
func (l *loop) sendDirect(fragments []byte, s sent) bool {
	if proto.RequestSize(len(fragments), 1<<31-1) > l.sess.ServerMax() {
		l.complain("a message is larger than the cloud takes and is not sent", "", s.at, "bytes", len(fragments))
		return false
	}
	id := l.nextID()
	l.write(proto.FrameUplink(append(make([]byte, proto.UplinkHeader, proto.UplinkHeader+len(fragments)), fragments...), id))
	l.direct[id] = s
	return true
}

// directAnswer handles the acknowledgement of such an uplink; false if it is none.
func (l *loop) directAnswer(r *proto.UplinkResponseMsg, now time.Time) bool {
	s, ok := l.direct[r.GetUplinkMsgId()]
	if !ok {
		return false
	}
	delete(l.direct, r.GetUplinkMsgId())
	if r.GetSuccess() {
		l.progress()
	} else {
		text := link.Redact(r.GetErrorMsg(), l.secret())
		switch judge(text) {
		case refusedEdgeGone:
			l.ended(errEdgeGone, now)
			return true
		case refusedLimit: // nothing is wrong with it
			l.again(s, now)
			return true
		}
		l.complain("the cloud refuses an answer or a question", link.FirstLine(text), now)
	}
	if s.answer != nil {
		l.dropKept(s.answer, now)
	}
	if s.asked != nil {
		l.askAcknowledged(now)
	}
	return true
}

// again puts back what the cloud did not take because it was too fast: answers go on, a little later, while they are of use; questions wait longer.
func (l *loop) again(s sent, now time.Time) {
	if s.answer != nil {
		l.calls.mu.Lock()
		l.calls.queue(s.answer)
		l.calls.mu.Unlock()
		l.callsWait = now.Add(answerPause)
	}
	if s.asked != nil {
		l.questions = append(l.questions, s.asked...)
		l.asking, l.askDue = false, now.Add(pauseMax)
	}
}

// answerPause is the wait before an answer is tried again after a rate limit answer: its caller waits ten seconds in all.
const answerPause = 2 * time.Second

// callsOffline is for the end of a session: answers that were not acknowledged go again, once there is a link; the server ignores the second. A
// device's own call does not go again: it might be carried out twice.
func (l *loop) callsOffline() {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = false
	for _, s := range l.direct {
		if s.answer != nil {
			t.queue(s.answer)
		}
	}
	clear(l.direct)
}

func (l *loop) callsOnline() {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = true
	t.unsent = t.unsent[:0]
}

// oldestDirect is when the oldest of them was sent; zero if there is none.
func (l *loop) oldestDirect() (t time.Time) {
	for _, s := range l.direct {
		if t.IsZero() || s.at.Before(t) {
			t = s.at
		}
	}
	return t
}
