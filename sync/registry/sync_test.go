package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
)

// What is to be asked: what is new, once; everything after a sync (CONTRACT.md 6.3, 7.4).
func TestToAsk(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	ask := func(all bool) string {
		var list []string
		r.ToAsk(all, func(u proto.UUID, kind string, fresh bool) {
			list = append(list, fmt.Sprintf("%s %d %v", kind, u[15], fresh))
		})
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	if got := ask(false); got != "DEVICE 1 true, DEVICE 2 true" {
		t.Error(got)
	}
	msb, lsb := proto.Halves(id(3))
	apply(t, r, &proto.DownlinkMsg{
		AssetUpdateMsg:  []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: "{}"}},
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device(1, "a"), device(4, "d"), device(5, "e")},
	})
	apply(t, r, devices(gone(5)))
	if got := ask(true); got != "ASSET 3 true, DEVICE 1 false, DEVICE 2 false, DEVICE 4 true" {
		t.Error(got)
	}
	if got := ask(false); got != "" {
		t.Error(got)
	}
}

func TestSyncSweeps(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, devices(device(1, "a"), device(2, "b"), device(3, "c")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"), creds(2, "ACCESS_TOKEN", "t2"), creds(9, "ACCESS_TOKEN", "t3")))

	r.BeginSync(false, 0)
	apply(t, r, devices(device(2, "b")))
	r.AbortSync()
	if n, err := r.EndSync(); n != 0 || err != nil || r.Devices() != 3 { // a sync that nobody here began
		t.Fatalf("removed %d, %v", n, err)
	}

	r.BeginSync(false, 0)
	broken := device(3, "c")
	broken.Entity = "{"
	apply(t, r, devices(device(2, "b"), broken)) // ours, though it cannot be read
	if n, err := r.EndSync(); n != 1 || err != nil {
		t.Fatalf("removed %d, %v", n, err)
	}
	for range 2 {
		if got := state(r, "t1", "t2", "t3"); got != "b/default//ACCESS_TOKEN c/default//NONE t2=b" {
			t.Errorf("left %q", got)
		}
		if _, ok := r.Credentials(id(9)); ok {
			t.Error("credentials of a device that never came are kept")
		}
		r.Close()
		r = open(t, dir)
	}
}

// What is stored already, and what was never here, costs no write.
func TestNothingNewIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	m := &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(1, "a")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	}
	apply(t, r, m)
	size := func() int64 {
		st, err := os.Stat(filepath.Join(dir, "registry", "store"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	if !apply(t, r, m) || apply(t, r, devices(gone(77))) || size() != before {
		t.Errorf("the store grew from %d to %d", before, size())
	}
}

// A record that a sync did not bring is removed, if the sync is one that brings its kind
// (CONTRACT.md 3.2, 3.5).
func TestDiffOfEveryKind(t *testing.T) {
	for _, full := range []bool{false, true} {
		r := openKeeping(t, t.TempDir(), "widgets", "images", "ota")
		if err := r.SetEdge(edgeOf(7)); err != nil {
			t.Fatal(err)
		}
		apply(t, r, everyKind(3))
		r.BeginSync(full, 0)
		apply(t, r, everyKind(3))
		if n, err := r.EndSync(); n != 0 || err != nil || r.Kinds() != everything {
			t.Errorf("full %v: removed %d (%v) although all came again: %s", full, n, err, r.Kinds())
		}
		r.BeginSync(full, 0)
		if _, err := r.EndSync(); err != nil {
			t.Fatal(err)
		}
		// Tenants stay; so do relations of what was not here.
		want := "relation 1, tenant 1, tenantprofile 1"
		if !full {
			want = "bundle 1, chain 1, metadata 1, ota 1, relation 1, resource 1, tenant 1, tenantprofile 1, user 1, usercreds 1, widget 1"
		}
		if got := r.Kinds(); got != want {
			t.Errorf("full %v: left %s, want %s", full, got, want)
		}
		if r.FullySynced() != full || !r.Synced() {
			t.Errorf("full %v: fully synced %v", full, r.FullySynced())
		}
	}
}

// A bulky kind that is to be kept from now on needs a full sync once more.
func TestKeepMoreNeedsAFullSync(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		keep   []string
		before bool
	}{{nil, false}, {nil, true}, {[]string{"ota"}, false}, {[]string{"ota"}, true}, {nil, true}, {[]string{"images", "ota"}, false}} {
		r := openKeeping(t, dir, c.keep...)
		if r.FullySynced() != c.before {
			t.Errorf("keep %v: fully synced %v", c.keep, r.FullySynced())
		}
		r.BeginSync(true, 0)
		if _, err := r.EndSync(); err != nil || !r.FullySynced() {
			t.Errorf("keep %v: %v", c.keep, err)
		}
		r.BeginSync(false, 0) // one that is not full takes nothing back
		if _, err := r.EndSync(); err != nil || !r.FullySynced() {
			t.Errorf("keep %v: %v", c.keep, err)
		}
		r.Close()
	}
}

// No sync takes away an entity whose creation waits to be taken by the cloud, and one that is for
// something else takes nothing away.
func TestSyncsThatTakeNothingAway(t *testing.T) {
	r := open(t, t.TempDir())
	msb, lsb := proto.Halves(id(3))
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	apply(t, r, &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: "{}"}}})
	waiting := map[proto.UUID]bool{id(2): true, id(3): true}
	r.Awaits(func(u proto.UUID) bool { return waiting[u] })
	r.RemoveNothing() // outside a sync it means nothing
	for _, c := range []struct {
		nothing       bool
		removed, left int
	}{{true, 0, 2}, {false, 1, 1}, {false, 2, 0}} {
		r.BeginSync(false, 9)
		if c.nothing {
			r.RemoveNothing()
		}
		if n, err := r.EndSync(); n != c.removed || err != nil || r.Devices() != c.left || r.Knows(id(3)) != (c.left > 0) {
			t.Errorf("%+v: removed %d, %v, %d devices are left", c, n, err, r.Devices())
		}
		if !c.nothing {
			clear(waiting)
		}
	}
}
