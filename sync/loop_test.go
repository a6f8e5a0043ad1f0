package sync

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
	"edgesync/sync/config"
)

func seconds(d []time.Duration) []float64 {
	s := make([]float64, len(d))
	for i := range d {
		s[i] = float64(d[i].Milliseconds()) / 1000
	}
	return s
}

func upTo(n int64) (ts []int64) {
	for i := int64(1); i <= n; i++ {
		ts = append(ts, i)
	}
	return ts
}

func TestDeliversInOrder(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.settle(time.Second)
		r.state(Connected)
		r.post(250)
		r.settle(5 * time.Second)
		if got := r.script.order(); !slices.Equal(got, upTo(250)) {
			r.Errorf("arrived: %v", got)
		}
		r.counts(250, 250, 0, 0)
		r.state(Connected)
		r.script.mu.Lock()
		defer r.script.mu.Unlock()
		sizes := []int{}
		for _, u := range r.script.uplinks {
			sizes = append(sizes, len(u.EntityData))
		}
		if !slices.Equal(sizes, []int{100, 100, 50}) {
			r.Errorf("batches of %v", sizes)
		}
		if got := r.script.at[2] - r.script.at[1]; got != time.Second {
			r.Errorf("the incomplete batch left %v after the full ones, want batch.timeout", got)
		}
	})
}

// batch.timeout = 0 sends on arrival (architecture, "batch").
func TestNoWaitForCompany(t *testing.T) {
	inBubble(t, &script{}, func(c *config.Config) { c.Batch.Timeout = 0 }, func(r *rig) {
		r.settle(time.Second)
		r.post(1)
		r.settle(0)
		r.counts(1, 1, 0, 0)
		if got := seconds(r.script.at); !slices.Equal(got, []float64{1}) {
			r.Errorf("sent at %v", got)
		}
	})
}

func TestBackoffDoublesAndResets(t *testing.T) {
	s := &script{}
	s.connect = func(session int, _ *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		if session <= 7 {
			return &proto.ConnectResponseMsg{ResponseCode: proto.ConnectResponseCode_SERVER_UNAVAILABLE, ErrorMsg: "Failed to process edge connection!"}
		}
		return accepted()
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1)
		r.settle(10 * time.Minute)
		if got, want := seconds(s.connects), []float64{0, 3, 9, 21, 45, 93, 153, 213}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		r.counts(1, 1, 0, 0)
	})
}

// Refused credentials are tried again after 10 s, doubling to 5 minutes, with a sentence that helps and no secret in it.
func TestRefusedCredentials(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		return &proto.ConnectResponseMsg{ResponseCode: proto.ConnectResponseCode_BAD_CREDENTIALS, ErrorMsg: "Failed to validate the edge! Provided request secret: top-secret"}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(3)
		r.settle(1000 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 10, 30, 70, 150, 310, 610, 910}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		e := r.agent.Snapshot().LastError
		if !strings.Contains(e, "check cloud.routing_secret") || strings.Contains(e, "top-secret") {
			r.Errorf("last error: %q", e)
		}
		r.state(Disconnected)
		r.counts(3, 0, 3, 0)
	})
}

func TestUnknownRoutingKey(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		return &proto.ConnectResponseMsg{ResponseCode: proto.ConnectResponseCode_BAD_CREDENTIALS, ErrorMsg: "Failed to find the edge! Routing key: key"}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(time.Second)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "check cloud.routing_key") {
			r.Errorf("last error: %q", e)
		}
	})
}

// The cloud is away for an hour: events stay, the agent comes back by itself within reconnect.max_interval, and a hint cuts the wait.
func TestCloudAwayForAnHour(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.link.Refuse.Store(true)
		r.link.Swallow.Store(true)
		for range 60 {
			r.post(10)
			r.settle(time.Minute)
		}
		r.counts(600, 0, 600, 0)
		r.link.Refuse.Store(false)
		r.link.Swallow.Store(false)
		r.agent.Hint()
		r.settle(2 * time.Second)
		r.counts(600, 600, 0, 0)
		if got := r.script.order(); !slices.Equal(got, upTo(600)) {
			r.Errorf("arrived %d events, not in order", len(got))
		}
	})
}

// A cloud that accepts and never answers: after 60 s the session ends and everything is sent again, nothing is committed.
func TestNoAcknowledgements(t *testing.T) {
	s := &script{}
	s.uplink = func(session int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if session == 1 {
			return nil
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(300)
		r.settle(59 * time.Second)
		r.counts(300, 0, 300, 0)
		if n := r.agent.Snapshot().InFlight; n != 2 {
			r.Errorf("%d batches in flight, want 2", n)
		}
		r.settle(10 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 63}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		r.counts(300, 300, 0, 0)
		if got, want := s.order(), append(upTo(200), upTo(300)...); !slices.Equal(got, want) {
			r.Errorf("arrived %v", got)
		}
	})
}

func TestAcknowledgementsOutOfOrder(t *testing.T) {
	s := &script{}
	var held *proto.UplinkMsg
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if held == nil {
			held = u
			return nil
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(200)
		r.settle(2 * time.Second)
		r.counts(200, 0, 200, 0) // the second is acknowledged, the first is not
		r.script.streams[1](&proto.ResponseMsg{UplinkResponseMsg: ok(held)})
		r.settle(0)
		r.counts(200, 200, 0, 0)
	})
}

// A clean end is a disconnect like any other.
func TestCleanEnd(t *testing.T) {
	s := &script{}
	s.end = func(session int, m *proto.RequestMsg) (bool, error) {
		return session == 1 && m.GetUplinkMsg() != nil, nil
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1)
		r.settle(time.Minute)
		if got, want := seconds(s.connects), []float64{0, 4}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		r.counts(1, 1, 0, 0)
	})
}

// Another agent with the same key: three clean ends right after ACCEPTED, then straight to the longest wait.
func TestSecondAgent(t *testing.T) {
	s := &script{}
	s.end = func(_ int, m *proto.RequestMsg) (bool, error) { return m.GetSyncRequestMsg() != nil, nil }
	inBubble(t, s, nil, func(r *rig) {
		r.settle(130 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 3, 9, 69, 129}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "another agent uses this routing key") {
			r.Errorf("last error %q", e)
		}
	})
}

// An idle link is probed after 30 s; a link that swallows everything is noticed 20 s later at the latest.
func TestProbe(t *testing.T) {
	s := &script{}
	inBubble(t, s, func(c *config.Config) { c.Keepalive.Time = time.Hour }, func(r *rig) {
		r.settle(100 * time.Second)
		s.mu.Lock()
		if got, want := seconds(s.at), []float64{30, 60, 90}; !slices.Equal(got, want) {
			r.Errorf("probes at %v, want %v", got, want)
		}
		s.mu.Unlock()
		r.link.Swallow.Store(true) // the next probe goes at 120 s and is lost
		r.settle(39 * time.Second)
		r.state(Connected)
		r.settle(2 * time.Second)
		r.state(Disconnected)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "probe") {
			r.Errorf("last error %q", e)
		}
		r.link.Swallow.Store(false)
		r.settle(3 * time.Second)
		r.state(Connected)
	})
}

// Keepalive notices a dead link while batches are in flight long before the limit for acknowledgements.
func TestKeepaliveNoticesDeadLink(t *testing.T) {
	inBubble(t, &script{}, func(c *config.Config) { c.Keepalive.Time, c.Keepalive.Timeout = 30*time.Second, 10*time.Second }, func(r *rig) {
		r.settle(time.Second)
		r.link.Swallow.Store(true)
		r.post(1)
		r.settle(39*time.Second + 500*time.Millisecond)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "keepalive") {
			r.Errorf("last error %q", e)
		}
		r.link.Swallow.Store(false)
		r.settle(time.Minute)
		r.counts(1, 1, 0, 0)
	})
}

// A dial into a black hole ends after cloud.timeout, which doubles with each time in a row up to 60 s.
func TestBlackHole(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.link.Swallow.Store(true)
		r.link.Hole.Store(true)
		r.settle(60 * time.Minute)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "no answer in time (1m0s)") {
			r.Errorf("last error %q", e)
		}
		r.link.Hole.Store(false)
		r.link.Swallow.Store(false)
		r.settle(2 * time.Minute)
		r.state(Connected)
	})
}

func poison(ts int64, text string) func(int, *proto.UplinkMsg) *proto.UplinkResponseMsg {
	return func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if slices.Contains(stamps(u), ts) {
			return no(u, text)
		}
		return ok(u)
	}
}

// One bad event never blocks the rest: it is found by halving, moved to the dead-letter log, and everything else arrives in order.
func TestPoisonIsIsolated(t *testing.T) {
	s := &script{uplink: poison(73, "Validation error: no\n\tat org.x")}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1000)
		r.settle(20 * time.Second)
		r.counts(1000, 999, 0, 1)
		// What was behind the refused batch in the window arrived twice; the last time in order.
		last := map[int64]int{}
		place := 0
		for _, u := range s.uplinks {
			if slices.Contains(stamps(u), 73) {
				continue
			}
			for _, ts := range stamps(u) {
				place++
				last[ts] = place
			}
		}
		if len(last) != 999 {
			r.Errorf("%d events arrived, want 999", len(last))
		}
		for ts := int64(2); ts <= 1000; ts++ {
			if ts != 73 && ts != 74 && last[ts] <= last[ts-1] {
				r.Fatalf("%d arrived before %d", ts, ts-1)
			}
		}
		d := r.dead.Stats()
		if d.Letters != 1 || d.Resting != 1 {
			r.Errorf("dead letters: %+v", d)
		}
		if n := len(s.uplinks); n > 40 {
			r.Errorf("%d uplinks for 10 batches and one culprit", n)
		}
	})
}

// A refused event is tried again from the dead-letter log every retry.interval, at most retry.max times, and counts as deployed
// when the cloud takes it at last.
func TestDeadLetterIsRetried(t *testing.T) {
	for _, c := range []struct {
		name           string
		refusals       int
		deployed, dead uint64
		resting        int
	}{
		{"taken at the third try", 2, 1, 0, 0},
		{"rests after retry.max", 1000, 0, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{}
			tries := 0
			s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
				if len(u.EntityData) == 0 {
					return ok(u)
				}
				if tries++; tries <= c.refusals {
					return no(u, "database is busy")
				}
				return ok(u)
			}
			inBubble(t, s, nil, func(r *rig) {
				r.post(1)
				r.settle(5 * time.Minute)
				r.counts(1, c.deployed, 0, c.dead)
				if d := r.dead.Stats(); d.Resting != c.resting {
					r.Errorf("%d rest, want %d", d.Resting, c.resting)
				}
				if want := min(c.refusals+1, r.config.Retry.Max); tries != want {
					r.Errorf("%d tries, want %d", tries, want)
				}
			})
		})
	}
}

// The rate limit is no failure: pause, one batch at a time, nothing lost, nothing dead.
func TestRateLimit(t *testing.T) {
	s := &script{}
	n := 0
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if n++; n <= 6 {
			return no(u, "Failed to process uplink message. Rate limit reached\n\tat")
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(500)
		r.settle(3 * time.Second)
		if !r.agent.Snapshot().RateLimited {
			r.Error("the limit is not visible")
		}
		r.settle(2 * time.Minute)
		r.counts(500, 500, 0, 0)
		if r.agent.Snapshot().RateLimited {
			r.Error("still limited")
		}
		// Two were in flight at the first limit; then one by one after 1, 2, 4, 8 s and a fifth pause.
		if got, want := seconds(s.at)[:7], []float64{0, 0, 1, 3, 7, 15, 31}; !slices.Equal(got, want) {
			r.Errorf("uplinks at %v, want %v", got, want)
		}
	})
}

// An event that is alone larger than the server takes is never sent: the server's status would not tell why.
func TestOversizedEvent(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		c := accepted()
		*c.MaxInboundMessageSize = 2000
		return c
	}
	inBubble(t, s, nil, func(r *rig) {
		events := []proto.Event{telemetryEvent(1, 0), telemetryEvent(2, 3000), telemetryEvent(3, 0)}
		if err := r.intake.Accept(r.Context(), events); err != nil {
			r.Fatal(err)
		}
		r.settle(5 * time.Second)
		r.counts(3, 2, 0, 1)
		if got := s.order(); !slices.Equal(got, []int64{1, 3}) {
			r.Errorf("arrived %v", got)
		}
	})
}

// The edge was deleted in the cloud: the stream stays open there, so ours stops by itself and keeps the queue (wire contract 2.6).
func TestEdgeDeleted(t *testing.T) {
	s := &script{}
	var gone atomic.Bool
	gone.Store(true)
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if gone.Load() {
			return no(u, "Can't assign device to non-existent edge!")
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(5)
		r.settle(5 * time.Second)
		r.state(Disconnected)
		r.counts(5, 0, 5, 0)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "deleted in the cloud") {
			r.Errorf("last error %q", e)
		}
		gone.Store(false)
		r.settle(time.Minute)
		r.counts(5, 5, 0, 0)
	})
}

// A message that the server cannot even parse ends the stream with UNKNOWN and no word of the reason (wire contract 1.1). It must
// not end every session for ever.
func TestPoisonThatEndsTheStream(t *testing.T) {
	s := &script{}
	s.end = func(_ int, m *proto.RequestMsg) (bool, error) {
		return slices.Contains(stamps(m.GetUplinkMsg()), 42), status.Error(codes.Unknown, "Application error processing RPC")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(60)
		r.settle(2 * time.Hour)
		r.counts(60, 59, 0, 1)
	})
}

// A link that breaks in the middle of a batch, again and again, is no poison.
func TestBrokenLinkBlamesNoEvent(t *testing.T) {
	s := &script{}
	s.end = func(session int, m *proto.RequestMsg) (bool, error) {
		return session < 12 && m.GetUplinkMsg() != nil, status.Error(codes.Unavailable, "gone")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(60)
		r.settle(time.Hour)
		r.counts(60, 60, 0, 0)
	})
}

// Two updates of one entity's attributes are never in flight together (wire contract 4.3).
func TestAttributesOfOneEntityWait(t *testing.T) {
	s := &script{}
	inFlight, most := 0, 0
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		n := 0
		for _, e := range u.GetEntityData() {
			if e.PostAttributesMsg != nil {
				n++
			}
		}
		inFlight += n
		most = max(most, inFlight)
		pause(100 * time.Millisecond)
		inFlight -= n
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		id := proto.UUID{9}
		for i := range int64(5) {
			e := proto.Event{
				Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Entity: id,
				Fragment: proto.AppendPostAttributes(nil, id, "DEVICE", proto.ClientScope, []proto.KV{{Key: []byte("a"), Type: proto.KeyValueType_LONG_V, Long: i}}),
			}
			if err := r.intake.Accept(r.Context(), []proto.Event{e}); err != nil {
				r.Fatal(err)
			}
		}
		r.settle(10 * time.Second)
		r.counts(5, 5, 0, 0)
		if most != 1 {
			r.Errorf("%d in flight together", most)
		}
		if len(s.uplinks) != 5 {
			r.Errorf("%d uplinks, want 5", len(s.uplinks))
		}
	})
}

// Every downlink is acknowledged, after it is durable; what cannot be stored is not, and comes again.
func TestDownlinks(t *testing.T) {
	s := &script{}
	s.sync = func(int, *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		return []*proto.DownlinkMsg{
			{DownlinkMsgId: 11, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{Entity: "{}"}}},
			{DownlinkMsgId: 12, WidgetTypeUpdateMsg: []*proto.WidgetTypeUpdateMsg{{Entity: "{}"}}},
			{DownlinkMsgId: 13, SyncCompletedMsg: &proto.SyncCompletedMsg{}},
		}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(time.Second)
		if !slices.Equal(s.acks, []int32{11, 12, 13, 2001}) {
			r.Errorf("acknowledged %v", s.acks)
		}
		if !slices.Equal(s.syncs, []bool{true}) {
			r.Errorf("sync requests %v: the first is full", s.syncs)
		}
		snap := r.agent.Snapshot()
		if snap.Downlinks != 4 || snap.DownlinksUnused != 2 || !snap.Synced {
			r.Errorf("downlinks %d, unused %d, synced %v", snap.Downlinks, snap.DownlinksUnused, snap.Synced)
		}
		r.reg.mu.Lock()
		r.reg.fail = errors.New("no space")
		r.reg.mu.Unlock()
		s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 14, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{}}}})
		r.settle(time.Second)
		if slices.Contains(s.acks, 14) {
			r.Error("acknowledged what could not be stored")
		}
		r.reg.mu.Lock()
		r.reg.fail = nil
		r.reg.mu.Unlock()
		s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 14, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{}}}})
		r.settle(time.Second)
		if !slices.Contains(s.acks, 14) {
			r.Error("not acknowledged when it came again")
		}
	})
}

// A sync that stands still is asked for again on the same stream, then over a new one (wire contract 3.6).
func TestSyncStandsStill(t *testing.T) {
	s := &script{}
	s.sync = func(session int, _ *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		if session == 1 {
			return nil
		}
		return []*proto.DownlinkMsg{{DownlinkMsgId: 1, SyncCompletedMsg: &proto.SyncCompletedMsg{}}}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(10 * time.Minute)
		if got, want := seconds(s.connects), []float64{0, 363}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		if s.escapes != 1 || len(s.syncs) != 3 {
			r.Errorf("%d escapes, %d sync requests; want 1, 3", s.escapes, len(s.syncs))
		}
		if r.reg.ended != 1 || r.reg.aborted != 2 {
			r.Errorf("ended %d, aborted %d; want 1, 2", r.reg.ended, r.reg.aborted)
		}
		if !slices.Equal(r.syncing, []bool{true, false, true, false}) { // asking again on the same stream is the same sync
			r.Errorf("told %v about syncs", r.syncing)
		}
	})
}

// A call to a device is acknowledged and answered at once: an open one would hold up every edge of the server (wire contract 6.1).
func TestCallIsAnswered(t *testing.T) {
	s := &script{}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(time.Second)
		call := &proto.DeviceRpcCallMsg{DeviceIdMSB: 5, RequestUuidMSB: 6, RequestUuidLSB: 7, RequestId: 8, RequestMsg: &proto.RpcRequestMsg{Method: "x"}}
		s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 77, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{call}}})
		r.settle(time.Second)
		if !slices.Contains(s.acks, 77) {
			r.Error("not acknowledged")
		}
		a := s.uplinks[len(s.uplinks)-1].GetDeviceRpcCallMsg()
		if len(a) != 1 || a[0].RequestUuidLSB != 7 || a[0].RequestId != 8 || a[0].GetResponseMsg().GetError() != "NO_ACTIVE_CONNECTION" {
			r.Errorf("answer %v", a)
		}
	})
}

// The secret of an EdgeUpdateMsg is the one for the next connect (wire contract 2.8).
func TestNewSecret(t *testing.T) {
	var end atomic.Bool
	s := &script{end: func(session int, _ *proto.RequestMsg) (bool, error) { return session == 1 && end.Load(), nil }}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(time.Second)
		s.streams[1](&proto.ResponseMsg{EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Secret: "newer"}}})
		r.settle(time.Second)
		end.Store(true)
		r.settle(time.Minute)
		if !slices.Equal(s.secrets, []string{"top-secret", "newer"}) {
			r.Error("the new secret was not used")
		}
	})
}

// A stop sends what is ready, waits for the acknowledgements due, and commits.
func TestStopFlushes(t *testing.T) {
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		pause(time.Second)
		return ok(u)
	}
	inBubble(t, s, func(c *config.Config) { c.Batch.Timeout = time.Hour }, func(r *rig) {
		r.settle(time.Second)
		r.post(7)
		r.settle(time.Second)
		r.counts(7, 0, 7, 0)
		began := time.Now()
		r.stop()
		if took := r.stopped.Sub(began); took != time.Second {
			r.Errorf("the stop took %v", took)
		}
		r.counts(7, 7, 0, 0)
	})
}

// A stop does not wait for ever for a cloud that does not answer.
func TestStopIsBounded(t *testing.T) {
	s := &script{uplink: func(int, *proto.UplinkMsg) *proto.UplinkResponseMsg { pause(10 * time.Second); return nil }}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(time.Second)
		r.post(7)
		r.settle(2 * time.Second)
		began := time.Now()
		r.stop()
		if took := r.stopped.Sub(began); took != stopTimeout {
			r.Errorf("the stop took %v, want %v", took, stopTimeout)
		}
		pause(10 * time.Second) // until the cloud's handler has returned
		r.counts(7, 0, 7, 0)
	})
}

// Hopeless events rest at once and leave nothing in memory; others are retried only when the commit that passed them is durable.
func TestDeadLettersLeaveNoTrace(t *testing.T) {
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if len(u.EntityData) == 0 {
			return ok(u)
		}
		return no(u, "Validation error: no")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(20)
		r.settle(time.Minute)
		r.counts(20, 0, 0, 20)
		if d := r.dead.Stats(); d.Resting != 20 {
			r.Errorf("dead letters: %+v", d)
		}
		if got := r.queue.DurablyCommitted(); got != r.queue.Committed() {
			r.Errorf("durably committed %v, committed %v", got, r.queue.Committed())
		}
	})
}

// The server's clock is learnt from what it says about our own edge, so that a wrong clock here neither refuses every call nor carries out one whose
// caller has given up (wire contract 8.1).
func TestCallsByTheServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		s := &script{ahead: ahead, takes: true}
		inBubble(t, s, nil, func(r *rig) {
			r.settle(2 * time.Second)
			call := func(n int64, timeout time.Duration) {
				s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: int32(n), DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{
					DeviceIdMSB: 5, RequestUuidMSB: n, RequestId: int32(n), ExpirationTime: time.Now().Add(ahead + timeout).UnixMilli(), RequestMsg: &proto.RpcRequestMsg{Method: "x"},
				}}}})
				r.settle(time.Second)
			}
			answers := func() (words []string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, u := range s.uplinks {
					for _, c := range u.DeviceRpcCallMsg {
						words = append(words, fmt.Sprintf("%d %s", c.RequestId, c.ResponseMsg.GetError()))
					}
				}
				return words
			}
			call(1, 10*time.Second)
			call(2, -time.Second) // too old
			s.mu.Lock()
			calls := s.calls
			s.mu.Unlock()
			if len(calls) != 1 || time.Until(calls[0].Expires).Round(time.Second) != 8*time.Second {
				r.Errorf("ahead %v: delivered %v", ahead, calls)
			}
			if got := answers(); !slices.Equal(got, []string{"2 TIMEOUT"}) {
				r.Errorf("ahead %v: answers %v", ahead, got)
			}
			r.settle(20 * time.Second)
			if got := answers(); !slices.Equal(got, []string{"2 TIMEOUT", "1 TIMEOUT"}) {
				r.Errorf("ahead %v: answers %v", ahead, got)
			}
		})
	}
}

// While the server's clock is not known every call gets the server's least timeout.
func TestCallsBeforeTheClockIsKnown(t *testing.T) {
	s := &script{deaf: true, takes: true}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(2 * time.Second)
		s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 5, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{
			DeviceIdMSB: 5, RequestUuidMSB: 1, ExpirationTime: time.Now().Add(-time.Hour).UnixMilli(), RequestMsg: &proto.RpcRequestMsg{Method: "x"},
		}}}})
		r.settle(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.calls) != 1 || time.Until(s.calls[0].Expires) != callMinimum-time.Second || s.calls[0].Params != "null" {
			r.Errorf("delivered %v", s.calls)
		}
	})
}

// A server that answers no question, although it acknowledges it, is left after three minutes, not sooner (wire contract 10.17).
func TestDeafServerIsLeft(t *testing.T) {
	s := &script{deaf: true}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(400 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 183, 366}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
	})
}
