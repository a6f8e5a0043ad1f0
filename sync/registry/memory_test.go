package registry_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// heapOfFiveThousandDevices stores 5,000 devices with tokens, each with what more adds to its
// message, opens the registry again and returns how many bytes of heap it holds.
func heapOfFiveThousandDevices(t *testing.T, more func(n int, m *proto.DownlinkMsg)) (r *registry.Registry, used int64) {
	t.Helper()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	dir := t.TempDir()
	r = open(t, dir)
	for n := range 5000 {
		m := devices(device(n, fmt.Sprintf("meter-%d", n)))
		m.DeviceCredentialsUpdateMsg = tokens(creds(n, "ACCESS_TOKEN", fmt.Sprintf("A1B2C3D4E5F6G7H8%04d", n))).DeviceCredentialsUpdateMsg
		more(n, m)
		if _, err := r.Apply(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	r = open(t, dir)
	used = heap() - before
	t.Logf("%d bytes of heap for %s", used, r.Kinds())
	return r, used
}

// 5,000 devices: what the heap holds of them. The bound leaves 20 MB of the 24 MB for everything
// else.
func TestMemoryOfFiveThousandDevices(t *testing.T) {
	r, used := heapOfFiveThousandDevices(t, func(int, *proto.DownlinkMsg) {})
	if d, ok := r.ByToken("A1B2C3D4E5F6G7H84999"); r.Devices() != 5000 || !ok || d.Name != "meter-4999" {
		t.Errorf("%d devices, %+v %v", r.Devices(), d, ok)
	}
	if used > 4<<20 {
		t.Errorf("%d bytes of heap", used)
	}
}

// 5,000 devices with 20,000 attributes: what the heap holds. Values are read from flash when they
// are asked for.
func TestMemoryOfAttributes(t *testing.T) {
	r, used := heapOfFiveThousandDevices(t, func(n int, m *proto.DownlinkMsg) {
		msb, lsb := proto.Halves(id(n))
		for _, scope := range []string{"SHARED_SCOPE", "SERVER_SCOPE"} {
			m.EntityData = append(m.EntityData, &proto.EntityDataProto{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: scope,
				AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{
					{Key: "one", Type: proto.KeyValueType_STRING_V, StringV: strings.Repeat("x", 200)},
					{Key: "two", Type: proto.KeyValueType_LONG_V, LongV: int64(n)},
				}},
			})
		}
	})
	if got := values(r, id(4999), registry.ServerScope, "two"); got != "two=4999" ||
		r.Kinds() != "attrs 10000, devcreds 5000, device 5000" {
		t.Errorf("%s, %s", got, r.Kinds())
	}
	if used > 5<<20 {
		t.Errorf("%d bytes of heap", used)
	}
}
