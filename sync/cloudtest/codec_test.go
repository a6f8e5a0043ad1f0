package cloudtest

import (
	"bytes"
	"testing"
	"testing/synctest"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

func TestFramesDecodeToWhatIsMeant(t *testing.T) {
	for _, want := range []*proto.UplinkResponseMsg{
		{Success: true, UplinkMsgId: 1},
		{Success: true},
		{Success: true, UplinkMsgId: -7},
		{ErrorMsg: "no", UplinkMsgId: 1<<31 - 1},
	} {
		var got proto.ResponseMsg
		if err := pb.Unmarshal(uplinkAck(want.UplinkMsgId, want.Success, want.ErrorMsg), &got); err != nil {
			t.Fatal(err)
		}
		if !pb.Equal(got.UplinkResponseMsg, want) {
			t.Errorf("got %v want %v", got.UplinkResponseMsg, want)
		}
	}
	m := &proto.DownlinkMsg{SyncCompletedMsg: &proto.SyncCompletedMsg{}}
	b, err := downlinkFrame(42, m)
	if err != nil {
		t.Fatal(err)
	}
	var got proto.ResponseMsg
	if err := pb.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.DownlinkMsg.GetDownlinkMsgId() != 42 || got.DownlinkMsg.SyncCompletedMsg == nil || m.DownlinkMsgId != 0 {
		t.Errorf("got %v", got.DownlinkMsg)
	}
	if _, err := downlinkFrame(1, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{Entity: "\xff"}}}); err == nil {
		t.Error("a string that is not UTF-8 passed")
	}
}

func TestDiscardCountsAndAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Discard: true})
		defer r.cloud.Stop()
		c := r.session(edgeA, ackAll)
		c.send(&proto.RequestMsg{MsgType: 1, UplinkMsg: batchOf(100)})
		c.send(&proto.RequestMsg{UplinkMsg: batchOf(100)}) // wrong msgType: ignored (CONTRACT.md 2.3)
		synctest.Wait()
		r.cloud.RateLimit(true)
		c.uplink(2)
		synctest.Wait()
		r.want("frames", c.frames(), "[ACCEPTED ack 1 true ack 2 false]")
		r.want("events", r.cloud.Stats().Events, 100)
		r.want("processed", r.tenant.ids(), "[]")
		r.cloud.AddDevice(edgeA.ID, device(1, "d")) // downlinks and their answers work as without Discard
		synctest.Wait()
	})
}

// FuzzCount compares the counting with the generated decoder: both accept the same bytes and find
// the same number of events.
func FuzzCount(f *testing.F) {
	for _, m := range []*proto.RequestMsg{
		{MsgType: 1, UplinkMsg: batchOf(3)},
		{MsgType: 1},
		{},
		{
			MsgType: 1, UplinkMsg: &proto.UplinkMsg{UplinkMsgId: -1},
			DownlinkResponseMsg: &proto.DownlinkResponseMsg{Success: true, DownlinkMsgId: 3},
		},
	} {
		b, err := pb.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := count(b)
		var m proto.RequestMsg
		if pb.Unmarshal(b, &m) != nil {
			return // counting does not parse the parts
		}
		if err != nil {
			t.Fatalf("decodes, but does not count: %x", b)
		}
		known, merr := pb.Marshal(&m)
		if merr != nil || !bytes.Equal(known, b) || len(m.ProtoReflect().GetUnknown()) > 0 ||
			m.UplinkMsg != nil && len(m.UplinkMsg.ProtoReflect().GetUnknown()) > 0 {
			return // no edge writes this form
		}
		if m.UplinkMsg == nil {
			return
		}
		if want := countParts(m.UplinkMsg); n.events != want {
			t.Fatalf("%d events, want %d", n.events, want)
		}
		if n.uplinkID != m.UplinkMsg.UplinkMsgId {
			t.Fatalf("id %d, want %d", n.uplinkID, m.UplinkMsg.UplinkMsgId)
		}
	})
}
