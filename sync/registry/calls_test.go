package registry_test

import (
	"slices"
	"testing"

	"edgesync/proto"
)

func TestKeptCalls(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	call := func(n int64) *proto.DeviceRpcCallMsg {
		return &proto.DeviceRpcCallMsg{DeviceIdMSB: 1, RequestUuidMSB: n, RequestUuidLSB: n, RequestMsg: &proto.RpcRequestMsg{Method: "m"}}
	}
	for n := range int64(3) {
		if err := r.KeepCall(call(n + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.DropCall(call(2)); err != nil {
		t.Fatal(err)
	}
	if err := r.DropCall(call(9)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r = open(t, dir)
	var got []int64
	for _, c := range r.Calls() {
		got = append(got, c.RequestUuidLSB)
	}
	if slices.Sort(got); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("kept %v", got)
	}
	var err error
	for n := int64(10); err == nil && n < 5000; n++ {
		err = r.KeepCall(call(n))
	}
	if err == nil {
		t.Error("calls are kept without bound")
	}
}
