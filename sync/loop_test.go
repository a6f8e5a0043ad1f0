package sync

import (
	"slices"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
)

// seconds returns durations in seconds, to the millisecond.
func seconds(d []time.Duration) []float64 {
	s := make([]float64, len(d))
	for i := range d {
		s[i] = float64(d[i].Milliseconds()) / 1000
	}
	return s
}

// upTo returns the timestamps 1 to n.
func upTo(n int64) (ts []int64) {
	for i := int64(1); i <= n; i++ {
		ts = append(ts, i)
	}
	return ts
}

func TestDeliversInOrder(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.elapse(time.Second)
		r.state(Connected)
		r.post(250)
		r.elapse(5 * time.Second)
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

// A batch.timeout of 0 sends each event on arrival.
func TestNoWaitForMoreEvents(t *testing.T) {
	inBubble(t, &script{}, func(c *config.Config) { c.Batch.Timeout = 0 }, func(r *rig) {
		r.elapse(time.Second)
		r.post(1)
		r.elapse(0)
		r.counts(1, 1, 0, 0)
		if got := seconds(r.script.at); !slices.Equal(got, []float64{1}) {
			r.Errorf("sent at %v", got)
		}
	})
}

// The first session of a life ends after 15 s without acknowledgements; nothing is committed, and
// everything is sent again.
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
		r.elapse(14 * time.Second)
		r.counts(300, 0, 300, 0)
		if n := r.agent.Snapshot().InFlight; n != 2 {
			r.Errorf("%d batches in flight, want 2", n)
		}
		r.elapse(10 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 18}; !slices.Equal(got, want) {
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
		r.elapse(2 * time.Second)
		r.counts(200, 0, 200, 0) // the second is acknowledged, the first is not
		r.script.streams[1](&proto.ResponseMsg{UplinkResponseMsg: ok(held)})
		r.elapse(0)
		r.counts(200, 200, 0, 0)
	})
}

// Two updates of one entity's attributes are never in flight together (CONTRACT.md 4.3).
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
			kv := []proto.KV{{Key: []byte("a"), Type: proto.KeyValueType_LONG_V, Long: i}}
			e := proto.Event{
				Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Entity: id,
				Fragment: proto.AppendPostAttributes(nil, id, "DEVICE", proto.ClientScope, kv),
			}
			if err := r.intake.Accept(r.Context(), []proto.Event{e}); err != nil {
				r.Fatal(err)
			}
		}
		r.elapse(10 * time.Second)
		r.counts(5, 5, 0, 0)
		if most != 1 {
			r.Errorf("%d in flight together", most)
		}
		if len(s.uplinks) != 5 {
			r.Errorf("%d uplinks, want 5", len(s.uplinks))
		}
	})
}

// A stop sends what is ready, waits for the acknowledgements that are due, and commits.
func TestStopFlushes(t *testing.T) {
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		pause(time.Second)
		return ok(u)
	}
	inBubble(t, s, func(c *config.Config) { c.Batch.Timeout = time.Hour }, func(r *rig) {
		r.elapse(time.Second)
		r.post(7)
		r.elapse(time.Second)
		r.counts(7, 0, 7, 0)
		began := time.Now()
		r.stop()
		if took := r.stopped.Sub(began); took != time.Second {
			r.Errorf("the stop took %v", took)
		}
		r.counts(7, 7, 0, 0)
	})
}

// A stop waits at most stopTimeout for a cloud that does not answer.
func TestStopIsBounded(t *testing.T) {
	s := &script{uplink: func(int, *proto.UplinkMsg) *proto.UplinkResponseMsg { pause(10 * time.Second); return nil }}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(time.Second)
		r.post(7)
		r.elapse(2 * time.Second)
		began := time.Now()
		r.stop()
		if took := r.stopped.Sub(began); took != stopTimeout {
			r.Errorf("the stop took %v, want %v", took, stopTimeout)
		}
		pause(10 * time.Second) // until the cloud's handler has returned
		r.counts(7, 0, 7, 0)
	})
}

// The limit for acknowledgements follows what they take on the link. The first ones of a life get
// 15 s, and each session that ends for want of one doubles that, up to 60 s, so that a cloud that
// needs longer is waited for.
func TestPatienceFollowsTheLink(t *testing.T) {
	w := newWindow()
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := w.patience(); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for n, want := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, time.Minute} {
		w.timeouts = n
		check("ended", want)
	}
	w.measure(20 * time.Millisecond)
	check("one that was quick", 15*time.Second)
	w.measure(3 * time.Second)
	check("one that was slow", 30*time.Second)
	w.measure(10 * time.Second)
	check("one that was slower", time.Minute)
	for range 100 {
		w.measure(20 * time.Millisecond)
	}
	check("many that were quick", 5*time.Second)
	w.endSession()
	check("the next session", 5*time.Second)
}
