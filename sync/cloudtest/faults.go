package cloudtest

import (
	"sync"
	"time"

	"edgesync/proto"
)

// Oversize is how the stream ends behind a RequestMsg above the limit (CONTRACT.md 2.5).
type Oversize int

// The endings seen on the real server.
const (
	OversizeAuto      Oversize = iota // UNKNOWN on a stream with gzip, else CANCELLED
	OversizeCancelled                 // status CANCELLED
	OversizeOK                        // a clean end
	OversizeUnknown                   // UNKNOWN "Application error processing RPC"
)

// Ending is how EndSessions ends a stream.
type Ending int

// The endings of a stream.
const (
	EndOK        Ending = iota // clean, as when a second session comes
	EndUnknown                 // UNKNOWN "Application error processing RPC"
	EndCancelled               // CANCELLED
	EndReset                   // the connection is cut, without a status
)

// faults are the faults in force. Guarded by mu; they may be switched at any time.
type faults struct {
	stalled gate

	mu           sync.Mutex
	refuseCode   proto.ConnectResponseCode
	oversizeEnd  Oversize
	away         bool
	halfOpen     bool
	noPolling    bool
	silent       bool
	endlessSync  bool
	duplicates   bool
	rateLimited  bool
	noCreations  string    // the text that refuses them
	creationsAt  time.Time // when they are taken again; zero: when somebody says so
	dropNext     int
	dropIf       func(*proto.UplinkMsg) bool
	refuseIf     func(*proto.UplinkMsg) string
	failIf       func(*proto.UplinkMsg) string
	endIf        func(*proto.UplinkMsg) bool
	endHow       Ending
	delay        time.Duration
	reorder      float64
	perMsg, perE time.Duration
	floodWith    func() *proto.DownlinkMsg
	longSync     longSync
	announcedMax int
}

// gate is shut while the cloud is stalled.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil = open; closed when the gate opens
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// wait returns true once the gate is open, or false if done is closed first.
func (g *gate) wait(done <-chan struct{}) bool {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return true
		}
		select {
		case <-shut:
		case <-done:
			return false
		}
	}
}

func get[T any](f *faults, p *T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *p
}

func set[T any](f *faults, p *T, v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*p = v
}

func (f *faults) refuse() proto.ConnectResponseCode { return get(f, &f.refuseCode) }
func (f *faults) oversize() Oversize                { return get(f, &f.oversizeEnd) }
func (f *faults) isAway() bool                      { return get(f, &f.away) }
func (f *faults) isHalfOpen() bool                  { return get(f, &f.halfOpen) }
func (f *faults) isPollingOff() bool                { return get(f, &f.noPolling) }
func (f *faults) isSilent() bool                    { return get(f, &f.silent) }
func (f *faults) isSyncEndless() bool               { return get(f, &f.endlessSync) }
func (f *faults) duplicate() bool                   { return get(f, &f.duplicates) }
func (f *faults) isRateLimited() bool               { return get(f, &f.rateLimited) }

func (f *faults) refuseUplink(u *proto.UplinkMsg) string {
	if fn := get(f, &f.refuseIf); fn != nil {
		return fn(u)
	}
	return ""
}

func (f *faults) failUplink(u *proto.UplinkMsg) string {
	if fn := get(f, &f.failIf); fn != nil {
		return fn(u)
	}
	return ""
}

// refuseCreation is the text for an uplink that creates what the tenant does not have; "" lets it
// pass.
func (f *faults) refuseCreation(u *proto.UplinkMsg, t tenant) string {
	f.mu.Lock()
	if !f.creationsAt.IsZero() && !time.Now().Before(f.creationsAt) {
		f.noCreations, f.creationsAt = "", time.Time{}
	}
	text := f.noCreations
	f.mu.Unlock()
	if text == "" {
		return ""
	}
	for _, d := range u.GetDeviceUpdateMsg() {
		if d.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
			continue
		}
		if _, _, known := t.DeviceOf(proto.UUIDOf(d.GetIdMSB(), d.GetIdLSB())); !known {
			return text
		}
	}
	return ""
}

func (f *faults) endsStream(u *proto.UplinkMsg) (Ending, bool) {
	f.mu.Lock()
	fn, how := f.endIf, f.endHow
	f.mu.Unlock()
	return how, fn != nil && fn(u)
}

func (f *faults) dropAck(u *proto.UplinkMsg) bool {
	f.mu.Lock()
	fn := f.dropIf
	drop := f.dropNext > 0
	if drop {
		f.dropNext--
	}
	f.mu.Unlock()
	return drop || fn != nil && fn(u)
}

func (f *faults) ackDelay() (time.Duration, float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.delay, f.reorder
}

func (f *faults) cost(events int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.perMsg + time.Duration(events)*f.perE
}

// RefuseConnect answers every CONNECT with that code; ACCEPTED ends the fault.
func (c *Cloud) RefuseConnect(code proto.ConnectResponseCode) {
	set(&c.faults, &c.faults.refuseCode, code)
}

// Stall makes the cloud accept everything and answer nothing, CONNECT included, while its transport
// lives on and answers pings. Messages that came in meanwhile are processed when the fault ends.
func (c *Cloud) Stall(on bool) { c.faults.stalled.set(on) }

// Away cuts all connections and refuses new ones until it is switched off.
func (c *Cloud) Away(on bool) {
	set(&c.faults, &c.faults.away, on)
	if on {
		c.resetConns()
	}
}

func (c *Cloud) resetConns() {
	c.mu.Lock()
	all := make([]*conn, 0, len(c.conns))
	for n := range c.conns {
		all = append(all, n)
	}
	c.mu.Unlock()
	for _, n := range all {
		n.reset()
	}
}

// DropAcks loses the next n acknowledgements of uplinks; the uplinks are processed.
func (c *Cloud) DropAcks(n int) { set(&c.faults, &c.faults.dropNext, n) }

// DropAcksIf loses the acknowledgements of the uplinks for which f returns true; nil ends the
// fault.
func (c *Cloud) DropAcksIf(f func(*proto.UplinkMsg) bool) { set(&c.faults, &c.faults.dropIf, f) }

// DelayAcks holds every acknowledgement back for d.
func (c *Cloud) DelayAcks(d time.Duration) { set(&c.faults, &c.faults.delay, d) }

// ReorderAcks sets the share of the acknowledgements of telemetry that others overtake, from 0 to
// 1. The default is 0.004, as measured (CONTRACT.md 4.3).
func (c *Cloud) ReorderAcks(part float64) { set(&c.faults, &c.faults.reorder, part) }

// RateLimit answers every uplink with the text of the tenant profile's rate limit and processes
// none (CONTRACT.md 4.6).
func (c *Cloud) RateLimit(on bool) { set(&c.faults, &c.faults.rateLimited, on) }

// RefuseCreations refuses, with the text, each uplink with a device that the tenant does not have,
// as a tenant at its limit may, and processes nothing of it: for the time d, or, if d is 0, until
// it is called with the text "".
func (c *Cloud) RefuseCreations(text string, d time.Duration) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.noCreations, c.faults.creationsAt = text, time.Time{}
	if d > 0 {
		c.faults.creationsAt = time.Now().Add(d)
	}
}

// RefuseUplink answers success=false with the text that f returns, and processes nothing of that
// uplink. The text "" lets the uplink pass; nil ends the fault.
func (c *Cloud) RefuseUplink(f func(*proto.UplinkMsg) string) { set(&c.faults, &c.faults.refuseIf, f) }

// FailUplink processes an uplink and nevertheless answers success=false with the text that f
// returns: the server does so when a later part fails (CONTRACT.md 4.2). The text "" lets the
// answer pass; nil ends the fault.
func (c *Cloud) FailUplink(f func(*proto.UplinkMsg) string) { set(&c.faults, &c.faults.failIf, f) }

// EndStreamIf ends the stream at each uplink for which f returns true, and processes nothing of it.
// So the server treats a message that it cannot read or that is too large (CONTRACT.md 1.1, 2.5);
// how chooses among the endings that were seen. nil ends the fault.
func (c *Cloud) EndStreamIf(f func(*proto.UplinkMsg) bool, how Ending) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.endIf, c.faults.endHow = f, how
}

// SlowHandler makes each uplink cost time, so that the stream is read slowly and the edge's writes
// block in the end. The real server takes about 0.4 ms an event (CONTRACT.md 4.3).
func (c *Cloud) SlowHandler(perMessage, perEvent time.Duration) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.perMsg, c.faults.perE = perMessage, perEvent
}

// NeverCompleteSync leaves SyncCompleted out: events and RPC stay blocked until a bare SYNC or the
// next session (CONTRACT.md 3.6).
func (c *Cloud) NeverCompleteSync(on bool) { set(&c.faults, &c.faults.endlessSync, on) }

// SilenceDownlinks holds back all events and RPC, as another edge can for two minutes
// (CONTRACT.md 6.1). Syncs go on.
func (c *Cloud) SilenceDownlinks(on bool) {
	set(&c.faults, &c.faults.silent, on)
}

// AnnounceMax makes each session that begins from now on announce and enforce another limit for a
// RequestMsg, in bytes; 0 is the server's own, MaxRequest (CONTRACT.md 2.5).
func (c *Cloud) AnnounceMax(bytes int) { set(&c.faults, &c.faults.announcedMax, bytes) }

func (f *faults) maxRequest() int {
	if n := get(f, &f.announcedMax); n > 0 {
		return n
	}
	return MaxRequest
}

// DuplicateDownlinks sends the last acknowledged pack once more, under new ids, to an edge that
// connects again.
func (c *Cloud) DuplicateDownlinks(on bool) { set(&c.faults, &c.faults.duplicates, on) }

// HalfOpenOld leaves the old stream open when an edge connects a second time, as when its end is
// noticed late (CONTRACT.md 2.6).
func (c *Cloud) HalfOpenOld(on bool) { set(&c.faults, &c.faults.halfOpen, on) }

// NoPolling withholds events and RPC from sessions that begin while it is on (number 17 in
// CONTRACT.md 10).
func (c *Cloud) NoPolling(on bool) { set(&c.faults, &c.faults.noPolling, on) }

// OversizeEnding chooses how a stream ends behind a message above the limit.
func (c *Cloud) OversizeEnding(how Oversize) { set(&c.faults, &c.faults.oversizeEnd, how) }

// EndSessions ends all streams and returns their number. The cloud stays; edges may connect again
// at once.
func (c *Cloud) EndSessions(how Ending) int {
	c.mu.Lock()
	all := make([]*session, 0, len(c.sessions))
	for s := range c.sessions {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		s.endAs(how)
	}
	return len(all)
}

// endAs ends the stream as how says.
func (s *session) endAs(how Ending) {
	switch how {
	case EndOK:
		s.finish(verdict{})
	case EndUnknown:
		s.finish(verdict{err: errApplication})
	case EndCancelled:
		s.finish(verdict{err: errCancelled})
	case EndReset:
		if s.conn != nil {
			s.conn.reset()
		}
	}
}
