package sync

import (
	"errors"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
)

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
