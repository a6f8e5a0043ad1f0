package sync

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
)

func TestBackoffDoublesAndResets(t *testing.T) {
	s := &script{}
	s.connect = func(session int, _ *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		if session <= 7 {
			return &proto.ConnectResponseMsg{
				ResponseCode: proto.ConnectResponseCode_SERVER_UNAVAILABLE,
				ErrorMsg:     "Failed to process edge connection!",
			}
		}
		return accepted()
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1)
		r.elapse(10 * time.Minute)
		if got, want := seconds(s.connects), []float64{0, 3, 9, 21, 45, 93, 153, 213}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		r.counts(1, 1, 0, 0)
	})
}

// Refused credentials are tried again after 10 s, doubling to 5 minutes; the last error says what
// to check, and holds no secret.
func TestRefusedCredentials(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		return &proto.ConnectResponseMsg{
			ResponseCode: proto.ConnectResponseCode_BAD_CREDENTIALS,
			ErrorMsg:     "Failed to validate the edge! Provided request secret: top-secret",
		}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(3)
		r.elapse(1000 * time.Second)
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
		return &proto.ConnectResponseMsg{
			ResponseCode: proto.ConnectResponseCode_BAD_CREDENTIALS,
			ErrorMsg:     "Failed to find the edge! Routing key: key",
		}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(time.Second)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "check cloud.routing_key") {
			r.Errorf("last error: %q", e)
		}
	})
}

// Events stay in the queue while the cloud is away for an hour, and a hint ends the wait for the
// next attempt.
func TestCloudAwayForAnHour(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.link.Refuse.Store(true)
		r.link.Swallow.Store(true)
		for range 60 {
			r.post(10)
			r.elapse(time.Minute)
		}
		r.counts(600, 0, 600, 0)
		r.link.Refuse.Store(false)
		r.link.Swallow.Store(false)
		r.agent.Hint()
		r.elapse(2 * time.Second)
		r.counts(600, 600, 0, 0)
		if got := r.script.order(); !slices.Equal(got, upTo(600)) {
			r.Errorf("arrived %d events, not in order", len(got))
		}
	})
}

// A clean end of the stream is a disconnect like any other.
func TestCleanEnd(t *testing.T) {
	s := &script{}
	s.end = func(session int, m *proto.RequestMsg) (bool, error) {
		return session == 1 && m.GetUplinkMsg() != nil, nil
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1)
		r.elapse(time.Minute)
		if got, want := seconds(s.connects), []float64{0, 4}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		r.counts(1, 1, 0, 0)
	})
}

// Three clean ends right after ACCEPTED mean another agent with the same key, and the agent goes
// straight to the longest wait.
func TestSecondAgent(t *testing.T) {
	s := &script{}
	s.end = func(_ int, m *proto.RequestMsg) (bool, error) { return m.GetSyncRequestMsg() != nil, nil }
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(130 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 3, 9, 69, 129}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "another agent uses this routing key") {
			r.Errorf("last error %q", e)
		}
	})
}

// An idle link is probed after 30 s, and a link that swallows everything is noticed 20 s later at
// the latest.
func TestProbe(t *testing.T) {
	s := &script{}
	inBubble(t, s, func(c *config.Config) { c.Keepalive.Time = time.Hour }, func(r *rig) {
		r.elapse(100 * time.Second)
		s.mu.Lock()
		if got, want := seconds(s.at), []float64{30, 60, 90}; !slices.Equal(got, want) {
			r.Errorf("probes at %v, want %v", got, want)
		}
		s.mu.Unlock()
		r.link.Swallow.Store(true) // the next probe goes at 120 s and is lost
		r.elapse(39 * time.Second)
		r.state(Connected)
		r.elapse(2 * time.Second)
		r.state(Disconnected)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "probe") {
			r.Errorf("last error %q", e)
		}
		r.link.Swallow.Store(false)
		r.elapse(3 * time.Second)
		r.state(Connected)
	})
}

// While something waits for its answer and nothing is heard, one small message is sent after 5 s,
// and none more in the same silence.
func TestSilenceIsBroken(t *testing.T) {
	s := &script{}
	answers := make(chan *proto.UplinkMsg, 10)
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if len(u.EntityData) > 0 {
			answers <- u
		}
		return nil
	}
	inBubble(t, s, func(c *config.Config) { c.Keepalive.Time = time.Hour }, func(r *rig) {
		r.elapse(time.Second)
		r.post(1) // goes up at 2 s
		r.elapse(29 * time.Second)
		s.mu.Lock()
		got := seconds(s.at)
		send := s.streams[1]
		s.mu.Unlock()
		if want := []float64{2, 7}; !slices.Equal(got, want) {
			r.Errorf("messages at %v, want %v", got, want)
		}
		r.post(1) // goes up at 31 s
		r.elapse(2 * time.Second)
		send(&proto.ResponseMsg{UplinkResponseMsg: ok(<-answers)}) // at 32 s, and the silence begins anew
		r.elapse(10 * time.Second)
		send(&proto.ResponseMsg{UplinkResponseMsg: ok(<-answers)})
		r.elapse(20 * time.Second)
		r.counts(2, 2, 0, 0)
		s.mu.Lock()
		defer s.mu.Unlock()
		if got, want := seconds(s.at), []float64{2, 7, 31, 37}; !slices.Equal(got, want) {
			r.Errorf("messages at %v, want %v", got, want)
		}
		if n := len(s.connects); n != 1 {
			r.Errorf("%d connects", n)
		}
	})
}

// Keepalive notices a dead link while batches are in flight, long before the limit for
// acknowledgements.
func TestKeepaliveNoticesDeadLink(t *testing.T) {
	inBubble(t, &script{}, func(c *config.Config) { c.Keepalive.Time, c.Keepalive.Timeout = 30*time.Second, 10*time.Second }, func(r *rig) {
		r.elapse(time.Second)
		r.link.Swallow.Store(true)
		r.post(1)
		r.elapse(39*time.Second + 500*time.Millisecond)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "keepalive") {
			r.Errorf("last error %q", e)
		}
		r.link.Swallow.Store(false)
		r.elapse(time.Minute)
		r.counts(1, 1, 0, 0)
	})
}

// A dial into a black hole ends after cloud.timeout, which doubles with each attempt in a row, up
// to 60 s.
func TestBlackHole(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.link.Swallow.Store(true)
		r.link.Hole.Store(true)
		r.elapse(60 * time.Minute)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "no answer in time (1m0s)") {
			r.Errorf("last error %q", e)
		}
		r.link.Hole.Store(false)
		r.link.Swallow.Store(false)
		r.elapse(2 * time.Minute)
		r.state(Connected)
	})
}

// The secret in an EdgeUpdateMsg is used at the next connect (CONTRACT.md 2.8).
func TestNewSecret(t *testing.T) {
	var end atomic.Bool
	s := &script{end: func(session int, _ *proto.RequestMsg) (bool, error) { return session == 1 && end.Load(), nil }}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(time.Second)
		edge := &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Secret: "newer"}
		s.streams[1](&proto.ResponseMsg{EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: edge}})
		r.elapse(time.Second)
		end.Store(true)
		r.elapse(time.Minute)
		if !slices.Equal(s.secrets, []string{"top-secret", "newer"}) {
			r.Error("the new secret was not used")
		}
	})
}
