package sync

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
)

// Every downlink is acknowledged after it is durable; a downlink that cannot be stored is not
// acknowledged and comes again.
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
		r.elapse(time.Second)
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
		r.elapse(time.Second)
		if slices.Contains(s.acks, 14) {
			r.Error("acknowledged what could not be stored")
		}
		r.reg.mu.Lock()
		r.reg.fail = nil
		r.reg.mu.Unlock()
		s.streams[1](&proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 14, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{}}}})
		r.elapse(time.Second)
		if !slices.Contains(s.acks, 14) {
			r.Error("not acknowledged when it came again")
		}
	})
}

// A sync that stands still is asked for again on the same stream, then over a new one
// (CONTRACT.md 3.6).
func TestSyncStandsStill(t *testing.T) {
	s := &script{}
	s.sync = func(session int, _ *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		if session == 1 {
			return nil
		}
		return []*proto.DownlinkMsg{{DownlinkMsgId: 1, SyncCompletedMsg: &proto.SyncCompletedMsg{}}}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(10 * time.Minute)
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
			r.Errorf("syncs reported as %v", r.syncing)
		}
	})
}

// A call to a device is acknowledged and answered at once, because a call without acknowledgement
// holds up every edge of the server (CONTRACT.md 6.1).
func TestCallIsAnswered(t *testing.T) {
	s := &script{}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(time.Second)
		s.call(77, &proto.DeviceRpcCallMsg{
			DeviceIdMSB: 5, RequestUuidMSB: 6, RequestUuidLSB: 7, RequestId: 8, RequestMsg: &proto.RpcRequestMsg{Method: "x"},
		})
		r.elapse(time.Second)
		if !slices.Contains(s.acks, 77) {
			r.Error("not acknowledged")
		}
		a := s.uplinks[len(s.uplinks)-1].GetDeviceRpcCallMsg()
		if len(a) != 1 || a[0].RequestUuidLSB != 7 || a[0].RequestId != 8 || a[0].GetResponseMsg().GetError() != "NO_ACTIVE_CONNECTION" {
			r.Errorf("answer %v", a)
		}
	})
}

// The server's clock is learnt from the attributes of the edge, so that an agent with a wrong clock
// neither refuses every call nor carries out a call whose caller has given up (CONTRACT.md 8.1).
func TestCallsByTheServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		s := &script{ahead: ahead, takes: true}
		inBubble(t, s, nil, func(r *rig) {
			r.elapse(2 * time.Second)
			call := func(n int64, timeout time.Duration) {
				s.call(int32(n), &proto.DeviceRpcCallMsg{
					DeviceIdMSB: 5, RequestUuidMSB: n, RequestId: int32(n), RequestMsg: &proto.RpcRequestMsg{Method: "x"},
					ExpirationTime: time.Now().Add(ahead + timeout).UnixMilli(),
				})
				r.elapse(time.Second)
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
			r.elapse(20 * time.Second)
			if got := answers(); !slices.Equal(got, []string{"2 TIMEOUT", "1 TIMEOUT"}) {
				r.Errorf("ahead %v: answers %v", ahead, got)
			}
		})
	}
}

// While the server's clock is not known, every call gets the shortest timeout of the server.
func TestCallsBeforeTheClockIsKnown(t *testing.T) {
	s := &script{silent: true, takes: true}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(2 * time.Second)
		s.call(5, &proto.DeviceRpcCallMsg{
			DeviceIdMSB: 5, RequestUuidMSB: 1, RequestMsg: &proto.RpcRequestMsg{Method: "x"},
			ExpirationTime: time.Now().Add(-time.Hour).UnixMilli(),
		})
		r.elapse(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.calls) != 1 || time.Until(s.calls[0].Expires) != callMinimum-time.Second || s.calls[0].Params != "null" {
			r.Errorf("delivered %v", s.calls)
		}
	})
}

// A server that acknowledges questions and sends no downlinks is left after three minutes, not
// sooner (CONTRACT.md 10.17).
func TestServerWithoutDownlinksIsLeft(t *testing.T) {
	s := &script{silent: true}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(400 * time.Second)
		if got, want := seconds(s.connects), []float64{0, 183, 366}; !slices.Equal(got, want) {
			r.Errorf("connects at %v, want %v", got, want)
		}
	})
}
