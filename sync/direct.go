package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/link"
)

// sent is an uplink beside the batches that the server has not acknowledged: an answer or a request of
// package calls, or questions of ask.go.
type sent struct {
	call  calls.Outgoing
	at    time.Time
	asked []question
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
	l.calls.Done(s.call)
	if s.asked != nil {
		l.askAcknowledged(now)
	}
	return true
}

// again puts back what the cloud did not take because it was too fast: answers go on, a little later,
// while they are of use; questions wait longer.
func (l *loop) again(s sent, now time.Time) {
	if s.asked != nil {
		l.questions = append(l.questions, s.asked...)
		l.asking, l.askDue = false, now.Add(pauseMax)
		return
	}
	if l.calls.Return(s.call) {
		l.callsWait = now.Add(answerPause)
	}
}

// callsOffline is for the end of a session: answers that were not acknowledged go again once there is a
// link; the server ignores the second.
func (l *loop) callsOffline() {
	l.calls.Offline()
	for _, s := range l.direct {
		l.calls.Return(s.call)
	}
	clear(l.direct)
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
