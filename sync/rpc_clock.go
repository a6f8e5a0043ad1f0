package sync

import (
	"time"

	"edgesync/proto"
)

// serverClock is what is known of the server's clock. It is kept beside the monotonic one, so that
// our own may be set meanwhile: a board without a battery often learns the time only when it has
// been connected for a while.
type serverClock struct {
	millis int64     // what the server said
	at     time.Time // when that came; zero: not known
	fresh  bool      // in this session
}

// now is the server's time in milliseconds.
func (c *serverClock) now(now time.Time) int64 { return c.millis + now.Sub(c.at).Milliseconds() }

// local turns a time of the server's clock into ours. While the server's clock is not known, a call
// gets at least the server's least timeout: a clock that is wrong must not refuse every call.
func (c *serverClock) local(serverMillis int64, now time.Time) time.Time {
	if !c.at.IsZero() && serverMillis > 0 {
		return now.Add(time.Duration(serverMillis-c.now(now)) * time.Millisecond)
	}
	return now.Add(max(callMinimum, time.Until(time.UnixMilli(serverMillis))))
}

// learnClock learns the server's clock from attributes of our own edge, which carry its time of
// sending when we asked for them (CONTRACT.md 7.3). They take a while to come, so of a session's
// the one that makes it latest is the best.
func (l *loop) learnClock(d *proto.DownlinkMsg, now time.Time) {
	e, c := l.reg.Edge(), &l.rpc.server
	for _, m := range d.GetEntityData() {
		ours := e != nil && m.GetEntityType() == "EDGE" && m.GetEntityIdMSB() == e.EdgeIdMSB && m.GetEntityIdLSB() == e.EdgeIdLSB
		if !ours || m.AttributeTs == nil {
			continue
		}
		if c.fresh && *m.AttributeTs <= c.now(now) {
			continue
		}
		first := c.at.IsZero()
		*c = serverClock{*m.AttributeTs, now, true}
		l.clock.ObserveCloud(*m.AttributeTs)
		if first {
			l.calls.Redate(func(serverMillis int64) time.Time { return c.local(serverMillis, now) })
		}
	}
}
