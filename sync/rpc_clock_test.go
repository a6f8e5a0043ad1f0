package sync

import (
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
)

// A call that comes before the server's clock is known ends by the server's clock, although the
// clock of the agent is a year behind.
func TestCallBeforeClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	s := &script{ahead: year, takes: true}
	s.sync = func(int, *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		call := rawCall(proto.UUID{7}, 9, time.Now().Add(year+20*time.Second), false)
		return []*proto.DownlinkMsg{
			{DownlinkMsgId: 5, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{call}},
			{DownlinkMsgId: 6, SyncCompletedMsg: &proto.SyncCompletedMsg{}},
		}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(10 * time.Second)
		s.mu.Lock()
		delivered, early := len(s.calls), len(s.uplinks)
		s.mu.Unlock()
		if delivered != 1 || early != 0 {
			t.Fatalf("%d calls delivered, %d answered", delivered, early)
		}
		r.elapse(15 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.uplinks) != 1 || len(s.uplinks[0].DeviceRpcCallMsg) != 1 ||
			s.uplinks[0].DeviceRpcCallMsg[0].GetResponseMsg().GetError() != calls.TimedOut {
			t.Errorf("after its end the call is answered with %v", s.uplinks)
		}
	})
}

// How far the clocks are apart is told once an attribute of our edge has shown the server's, and
// not before.
func TestClockOffset(t *testing.T) {
	const year = 365 * 24 * time.Hour
	s := &script{ahead: year}
	inBubble(t, s, nil, func(r *rig) {
		if n := r.agent.Snapshot(); n.ClockOffsetMS != nil {
			t.Errorf("before anything has come: %d ms", *n.ClockOffsetMS)
		}
		r.elapse(10 * time.Second)
		n := r.agent.Snapshot()
		if n.ClockOffsetMS == nil || *n.ClockOffsetMS != -year.Milliseconds() {
			t.Errorf("%v, want %d ms", n.ClockOffsetMS, -year.Milliseconds())
		}
	})
}
