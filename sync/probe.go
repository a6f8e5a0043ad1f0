package sync

import (
	"time"

	"edgesync/proto"
)

// probing is the probe that is not answered.
type probing struct {
	id   int32 // 0 = none
	at   time.Time
	woke time.Time // when the last message was sent for the sake of what waits
}

func (p *probing) endSession() { *p = probing{} }

// maybeProbe asks whether the server is there when nothing has been heard of it for a while and
// nothing is in flight that it would answer.
func (l *loop) maybeProbe(now time.Time) {
	l.maybeWake(now)
	if l.probing.id != 0 || len(l.sending.win.batches) > 0 || l.retries.try != nil || now.Sub(l.since(l.conn.lastReceived)) < probeAfter {
		return
	}
	l.probing.id, l.probing.at = l.nextID(), now
	l.write(proto.AppendProbe(nil, l.probing.id))
}

// maybeWake sends one small message into the silence when something in flight waits for its answer.
// What was sent before may have reached the server's machine before the link died. Then no byte is
// under way that TCP would miss, and only the answer's own limit would end the session. With the
// message TCP notices a dead link after keepalive.timeout (TCP_USER_TIMEOUT, which gRPC sets). The
// answer comes behind those that are awaited, so no limit of its own counts for it. One message a
// silence costs a metered link nothing that matters.
func (l *loop) maybeWake(now time.Time) {
	if due := l.wakeDue(); due.IsZero() || now.Before(due) {
		return
	}
	l.probing.woke = now
	l.write(proto.AppendProbe(nil, l.nextID()))
}

// wakeDue is when that message is due; zero: nothing waits, or the message was sent in this
// silence.
func (l *loop) wakeDue() time.Time {
	since := l.awaited()
	if since.IsZero() || !l.probing.woke.IsZero() && !l.conn.lastReceived.After(l.probing.woke) {
		return time.Time{}
	}
	if l.conn.lastReceived.After(since) {
		since = l.conn.lastReceived
	}
	return since.Add(wakeAfter)
}

// awaited is since when the oldest of what is in flight waits for its answer; zero: nothing does.
func (l *loop) awaited() time.Time {
	oldest := l.sending.win.oldest()
	others := [...]time.Time{l.direct.oldest(), {}}
	if l.retries.try != nil {
		others[1] = l.retries.try.sentAt
	}
	for _, t := range others {
		if !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
	}
	return oldest
}
