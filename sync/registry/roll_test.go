package registry_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"edgesync/proto"
)

// A sync without an end takes no memory for what it brings: neither for entities that are not kept,
// nor for devices that come and go.
func TestEndlessSyncTakesNoMemory(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	r.BeginSync(true, 0)
	const entities = 80_000
	step := func(from, to int) {
		for n := from; n < to; n++ {
			var u proto.UUID
			copy(u[:], fmt.Sprintf("%016d", n))
			msb, lsb := proto.Halves(u)
			m := &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: "{"}}}
			if n%50 == 0 { // these come and go
				d, g := device(3, "c"), gone(3)
				d.IdMSB, d.IdLSB, g.IdMSB, g.IdLSB = msb, lsb, msb, lsb
				m.DeviceUpdateMsg = []*proto.DeviceUpdateMsg{d, g}
			}
			if _, err := r.Apply(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	step(0, entities/2)
	before := heap()
	step(entities/2, entities)
	if grown := heap() - before; grown > 512<<10 {
		t.Errorf("%d entities more take %d bytes", entities/2, grown)
	}
	apply(t, r, devices(device(2, "b")))
	if n, err := r.EndSync(); n != 1 || err != nil || r.Devices() != 1 {
		t.Errorf("removed %d, %d left, %v", n, r.Devices(), err)
	}
}

// Where not all of a sync could be taken its end removes nothing; the next whole one does.
func TestIncompleteSyncRemovesNothing(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	r.Incomplete() // outside a sync it means nothing
	for _, c := range []struct {
		incomplete bool
		left       int
	}{{true, 2}, {false, 1}} {
		r.BeginSync(false, 0)
		apply(t, r, devices(device(2, "b")))
		if c.incomplete {
			r.Incomplete()
		}
		if n, err := r.EndSync(); n != 2-c.left || err != nil || r.Devices() != c.left || !r.Synced() {
			t.Errorf("incomplete %v: removed %d, %d left, synced %v, %v", c.incomplete, n, r.Devices(), r.Synced(), err)
		}
	}
}

// Names, labels and types of devices are in memory, so their bytes have a bound. A device beyond it
// is not taken, and one that is here keeps the name that it has.
func TestTextsOfDevicesAreBounded(t *testing.T) {
	r := open(t, t.TempDir())
	long := strings.Repeat("n", 1000)
	named := func(n int, name string) *proto.DeviceUpdateMsg {
		var u proto.UUID
		copy(u[:], fmt.Sprintf("%016d", n))
		d := device(1, name)
		d.IdMSB, d.IdLSB = proto.Halves(u)
		return d
	}
	const most = 4 << 20 / 1012 // the name has 5 bytes more, the type 7
	fill := func(from, to int, tail string) {
		for n := from; n < to; n += 100 {
			m := &proto.DownlinkMsg{}
			for i := range 100 {
				m.DeviceUpdateMsg = append(m.DeviceUpdateMsg, named(n+i, fmt.Sprintf("%05d", n+i)+tail))
			}
			apply(t, r, m)
		}
	}
	fill(0, most+100, long)
	if got := r.Devices(); got < most-2 || got > most {
		t.Errorf("%d devices, at most %d", got, most)
	}
	fill(10_000, 10_100, "") // what is left
	apply(t, r, devices(named(0, "00000"+long+"longer than it was")))
	if d, ok := r.ByName("00000" + long); !ok || d.Name != "00000"+long {
		t.Errorf("%v %.30s", ok, d.Name)
	}
	apply(t, r, devices(named(0, "short")))
	if _, ok := r.ByName("short"); !ok {
		t.Error("a shorter name is not taken")
	}
	was := r.Devices()
	r.BeginSync(false, 0)
	if n, err := r.EndSync(); n != was || err != nil {
		t.Errorf("removed %d of %d, %v", n, was, err)
	}
	fill(0, most-100, long)
	if got := r.Devices(); got < most-200 {
		t.Errorf("%d devices once the others have gone", got)
	}
}

// What people call an entity by has a bound, and so has the JSON of each kind: one beyond it is not
// kept, and is this edge's all the same.
func TestTextsOfEntitiesAreBounded(t *testing.T) {
	r := open(t, t.TempDir())
	msb, lsb := proto.Halves(id(7))
	asset := func(text string) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: text}}}
	}
	board := func(text string) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: text}}}
	}
	user := func(text string) *proto.DownlinkMsg {
		return &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: text}}}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name string
		m    *proto.DownlinkMsg
		kept bool
	}{
		{"a name", asset(`{"name":"` + long(1<<10) + `"}`), true},
		{"a long name", asset(`{"name":"` + long(1<<10+1) + `"}`), false},
		{"a long label", asset(`{"name":"a","label":"` + long(1<<10+1) + `"}`), false},
		{"a long title", board(`{"title":"` + long(1<<10+1) + `"}`), false},
		{"a long address", user(`{"authority":"TENANT_ADMIN","email":"` + long(1<<10+1) + `"}`), false},
		{"a user of 64 KiB", user(`{"authority":"TENANT_ADMIN","x":"` + long(64<<10-36) + `"}`), true},
		{"a larger user, who goes", user(`{"authority":"TENANT_ADMIN","x":"` + long(64<<10) + `"}`), false},
		{"an asset of 1 MiB", asset(`{"x":"` + long(1<<20-8) + `"}`), true},
		{"a larger asset", asset(`{"x":"` + long(1<<20) + `"}`), false},
		{"a dashboard of 4 MiB", board(`{"x":"` + long(4<<20-8) + `"}`), true},
		{"a larger dashboard", board(`{"x":"` + long(4<<20) + `"}`), false},
	} {
		if got := apply(t, r, c.m); got != c.kept {
			t.Errorf("%s: kept %v", c.name, got)
		}
	}
	if _, ok := r.User(id(7)); ok {
		t.Error("a user whose change cannot be kept may act as before")
	}
	r.BeginSync(true, 0)
	apply(t, r, asset(`{"x":"`+long(1<<20)+`"}`))
	apply(t, r, board(`{"x":"`+long(4<<20)+`"}`))
	if n, err := r.EndSync(); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
}
