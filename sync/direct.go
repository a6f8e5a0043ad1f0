package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/link"
)

// direct are the uplinks beside the batches that the server has not acknowledged. It belongs to a
// session: see callsOffline.
type direct struct {
	sent   map[int32]sent // by id
	bytes  int            // of them
	scouts int            // of them, see outage.go
}

// sent is one of them: an answer or a device's own call, or questions.
type sent struct {
	call  calls.Outgoing
	at    time.Time
	asked []question
	bytes int
	scout bool // an event of the queue, ahead of its turn (outage.go)
}

func newDirect() direct { return direct{sent: make(map[int32]sent)} }

func (d *direct) endSession() {
	clear(d.sent)
	*d = direct{sent: d.sent}
}

// oldest is when the oldest of them was sent; zero if there is none.
func (d *direct) oldest() (t time.Time) {
	for _, s := range d.sent {
		if t.IsZero() || s.at.Before(t) {
			t = s.at
		}
	}
	return t
}

// sendDirect sends fragments as an uplink of their own, beside the batches; false if they are too
// large.
func (l *loop) sendDirect(fragments []byte, s sent) bool {
	if proto.RequestSize(len(fragments), maxID) > l.conn.sess.ServerMax() {
		l.complain("a message is larger than the cloud takes and is not sent", "", s.at, "bytes", len(fragments))
		return false
	}
	id := l.nextID()
	s.bytes = len(fragments)
	l.direct.bytes += s.bytes
	l.write(proto.FrameUplink(append(make([]byte, proto.UplinkHeader, proto.UplinkHeader+len(fragments)), fragments...), id))
	l.direct.sent[id] = s
	return true
}

// directAnswered handles the answer to such an uplink; false if it is none.
func (l *loop) directAnswered(r *proto.UplinkResponseMsg, now time.Time) bool {
	s, ok := l.direct.sent[r.GetUplinkMsgId()]
	if !ok {
		return false
	}
	delete(l.direct.sent, r.GetUplinkMsgId())
	l.direct.bytes -= s.bytes
	if s.scout {
		l.scoutAnswered(r.GetSuccess())
	}
	if r.GetSuccess() {
		l.progress()
	} else {
		text := l.redact(r.GetErrorMsg())
		switch judge(text) {
		case refusedEdgeGone:
			l.ended(errEdgeGone, now)
			return true
		case refusedLimit: // nothing is wrong with it: it goes again, a little later
			if s.scout {
				l.sending.limited = true
				l.sending.pauseUntil = now.Add(l.sending.pause.Next())
			} else if s.asked != nil {
				l.asking.again(s.asked, now)
			} else if l.calls.Return(s.call) {
				l.rpc.notBefore = now.Add(answerPause)
			}
			return true
		}
		if s.scout {
			return true
		}
		l.complain("the cloud refuses an answer or a question", link.FirstLine(text), now)
	}
	l.calls.Done(s.call)
	if s.asked != nil {
		l.asking.acknowledged(now)
	}
	return true
}

// callsOffline is for the end of a session: answers that were not acknowledged go again once there
// is a link; the server ignores the second.
func (l *loop) callsOffline() {
	l.calls.Offline()
	for _, s := range l.direct.sent {
		l.calls.Return(s.call)
	}
}
