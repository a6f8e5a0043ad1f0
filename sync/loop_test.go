package sync

import (
	"fmt"
	"slices"
	"testing"
	"time"

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
