package sync

import (
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// Without a link neither calls nor answers grow without bound; the oldest answers give way.
func TestCallTableIsBounded(t *testing.T) {
	a := &Agent{calls: newCallTable()}
	now := time.Now()
	add := func(device, n int64) string {
		_, word := a.calls.add(&proto.DeviceRpcCallMsg{DeviceIdMSB: device, RequestUuidMSB: device, RequestUuidLSB: n}, now.Add(time.Hour), false, false)
		return word
	}
	for device := range int64(maxCalls / maxCallsOfDevice) {
		for n := range int64(maxCallsOfDevice) {
			if word := add(device, n); word != "" {
				t.Fatalf("call %d of device %d: %s", n, device, word)
			}
		}
	}
	if add(0, 99) != rpcInternal || add(9999, 1) != rpcInternal || a.calls.count != maxCalls {
		t.Errorf("%d calls", a.calls.count)
	}
	seen := map[int32]bool{}
	big := strings.Repeat("x", 16<<10)
	for device := range int64(maxCalls / maxCallsOfDevice) {
		id := proto.UUIDOf(device, 0)
		for _, c := range a.Pending(id) {
			if seen[c.ID] {
				t.Errorf("id %d twice", c.ID)
			}
			seen[c.ID] = true
			if !a.Answer(id, c.ID, big) || a.Answer(id, c.ID, big) {
				t.Error("answered never or twice")
			}
		}
	}
	if a.calls.count != 0 || len(a.calls.calls) != 0 || len(a.calls.answers) > maxAnswers || a.calls.bytes > 2*maxResponse || len(a.calls.answers) < 4 {
		t.Errorf("%d calls, %d answers of %d bytes", a.calls.count, len(a.calls.answers), a.calls.bytes)
	}
	n := 0
	for _, x := range a.calls.answers {
		n += len(x.fragment)
	}
	if n != a.calls.bytes {
		t.Errorf("%d bytes counted, %d there", a.calls.bytes, n)
	}
	if word := add(1, 1); word != "" || a.Answer(proto.UUIDOf(1, 0), -1, "{}") {
		t.Error("a call that is over is taken again")
	}
	// An answer that is too large for the link tells so.
	add(2, 1000)
	c := a.Pending(proto.UUIDOf(2, 0))[0]
	a.Answer(c.Device, c.ID, strings.Repeat("x", maxResponse+1))
	last := a.calls.answers[len(a.calls.answers)-1]
	if !strings.Contains(string(last.fragment), rpcInternal) {
		t.Errorf("answer of %d bytes", len(last.fragment))
	}
}

// TestCallBeforeClock: a call that comes before the server's clock is known ends by it all the same, although ours is a year behind.
func TestCallBeforeClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	s := &script{ahead: year, takes: true}
	s.sync = func(int, *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		return []*proto.DownlinkMsg{
			{DownlinkMsgId: 5, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(proto.UUID{7}, 9, time.Now().Add(year+20*time.Second), false)}},
			{DownlinkMsgId: 6, SyncCompletedMsg: &proto.SyncCompletedMsg{}},
		}
	}
	inBubble(t, s, nil, func(r *rig) {
		r.settle(10 * time.Second)
		s.mu.Lock()
		calls, early := len(s.calls), len(s.uplinks)
		s.mu.Unlock()
		if calls != 1 || early != 0 {
			t.Fatalf("%d calls delivered, %d answered", calls, early)
		}
		r.settle(15 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.uplinks) != 1 || len(s.uplinks[0].DeviceRpcCallMsg) != 1 || s.uplinks[0].DeviceRpcCallMsg[0].GetResponseMsg().GetError() != rpcTimedOut {
			t.Errorf("after its end the call is answered with %v", s.uplinks)
		}
	})
}

// Answers to persistent calls that give way are given up in the registry too.
func TestAnswersThatGiveWayAreNotKept(t *testing.T) {
	a := &Agent{calls: newCallTable()}
	big := strings.Repeat("x", maxResponse-100)
	for n := range int64(4) {
		a.calls.add(&proto.DeviceRpcCallMsg{DeviceIdMSB: n, RequestUuidLSB: n + 1}, time.Now().Add(time.Hour), true, false)
		a.Answer(proto.UUIDOf(n, 0), a.Pending(proto.UUIDOf(n, 0))[0].ID, big)
	}
	if len(a.calls.answers) != 2 || len(a.calls.over) != 2 || a.calls.over[0].RequestUuidLSB != 1 || a.calls.over[1].RequestUuidLSB != 2 {
		t.Errorf("%d answers, given up: %v", len(a.calls.answers), a.calls.over)
	}
}
