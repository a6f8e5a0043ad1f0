package sync

import (
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
)

// A call made here whose caller has gone before the loop offered it must not reach the device: it
// would be carried out although its caller was answered already.
func TestFinishedCallIsNotOffered(t *testing.T) {
	table := calls.NewTable(calls.Store{
		Keep: func(*proto.DeviceRpcCallMsg) error { return nil }, Drop: func(*proto.DeviceRpcCallMsg) error { return nil },
		Flush: func() error { return nil },
	})
	table.Expire(time.Now())
	device := proto.UUID{1}
	if !table.Notify(device, calls.MethodDeleted, `"x"`) {
		t.Fatal("refused")
	}
	c := &proto.DeviceRpcCallMsg{
		DeviceIdMSB: 1 << 56, RequestUuidMSB: 7, Oneway: true, ExpirationTime: time.Now().Add(time.Minute).UnixMilli(),
		RequestMsg: &proto.RpcRequestMsg{Method: calls.MethodDeleted, Params: `"x"`},
	}
	taken, refused := table.Take(c, time.Now().Add(time.Minute)) // the notice gives way
	if taken == nil || refused != "" {
		t.Fatal(taken, refused)
	}
	heard := 1 // the loop delivers taken
	if err := table.Offer(func(*calls.Call) bool { heard++; return true }); err != nil {
		t.Fatal(err)
	}
	if heard != 1 {
		t.Errorf("the gateway hears of the change %d times", heard)
	}
}
