package sync

import (
	"time"

	"edgesync/proto"
)

// serverClock is what is known of the server's clock. It is kept beside the monotonic one, so that our own may be set meanwhile: a board without a
// battery often learns the time only when it has been connected for a while.
type serverClock struct {
	millis int64     // what it said
	at     time.Time // when it came; zero: not known
	fresh  bool      // in this session
}

// now is the server's time in milliseconds.
func (c *serverClock) now(now time.Time) int64 { return c.millis + now.Sub(c.at).Milliseconds() }

// local turns a time of the server's clock into ours. While the server's clock is not known, a call gets at least the server's least timeout: a
// clock that is wrong must not refuse every call.
func (l *loop) local(serverMillis int64, now time.Time) time.Time {
	if !l.clock.at.IsZero() && serverMillis > 0 {
		return now.Add(time.Duration(serverMillis-l.clock.now(now)) * time.Millisecond)
	}
	return now.Add(max(callMinimum, time.Until(time.UnixMilli(serverMillis))))
}

// tellTime learns the server's clock from attributes of our own edge, which carry its time of sending when we asked for them
// (wire contract 7.3). They take a while to come, so of a session's the one that makes it latest is the best.
func (l *loop) tellTime(d *proto.DownlinkMsg, now time.Time) {
	e := l.reg.Edge()
	for _, m := range d.GetEntityData() {
		if m.AttributeTs == nil || m.GetEntityType() != "EDGE" || e == nil || m.GetEntityIdMSB() != e.EdgeIdMSB || m.GetEntityIdLSB() != e.EdgeIdLSB {
			continue
		}
		if !l.clock.fresh || *m.AttributeTs > l.clock.now(now) {
			if l.clock.at.IsZero() {
				defer l.redateCalls(now)
			}
			l.clock = serverClock{*m.AttributeTs, now, true}
			l.Clock.ObserveCloud(*m.AttributeTs)
		}
	}
}

// redateCalls gives the calls that came before the server's clock was known their right end: by our own it may be years away.
func (l *loop) redateCalls(now time.Time) {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.calls {
		for _, c := range list {
			if c.local != nil || c.notice { // by our own clock
				continue
			}
			c.Expires = l.local(c.msg.GetExpirationTime(), now)
		}
	}
}
