package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// other is the configuration of another edge, in another tenant.
func other() *proto.EdgeConfiguration {
	return &proto.EdgeConfiguration{EdgeIdMSB: 7, TenantIdMSB: 8, Name: "other"}
}

// made makes a device here, announced at or before seq; 0: not announced.
func made(t *testing.T, r *registry.Registry, name string, seq uint64) proto.UUID {
	t.Helper()
	b, taken, err := r.Prepare(&proto.NewDevice{Name: name, CredentialsID: "token of " + name}, time.UnixMilli(1))
	if taken || err != nil {
		t.Fatal(taken, err)
	}
	if seq > 0 {
		if err := r.Adopt(b.ID, seq); err != nil {
			t.Fatal(err)
		}
	}
	return b.ID
}

// A change of the edge keeps the devices made here that the former edge did not take: they are
// found, by name and token, and belong to the new tenant. What it does not keep is gone, over
// restarts too, and wherever between two writes the process ends.
func TestChangeOfTheEdge(t *testing.T) {
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint("killed after write ", n), func(t *testing.T) { more = changeEdge(t, n) })
	}
}

func changeEdge(t *testing.T, n int) (more bool) {
	dir, killed := t.TempDir(), t.TempDir()
	writes, counting := 0, false
	r, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"),
		Meter: func(int64, int64, int) {
			if counting {
				if writes++; writes == n {
					if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
						t.Error(err)
					}
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { r.Close() }()
	if err := r.SetEdge(edgeOf(0)); err != nil {
		t.Fatal(err)
	}
	r.BeginSync(false, 0)
	apply(t, r, devices(device(1, "a")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1")))
	apply(t, r, everyKind(3))
	if _, err := r.EndSync(); err != nil {
		t.Fatal(err)
	}
	taken, waits, hidden := made(t, r, "taken", 10), made(t, r, "waits", 20), made(t, r, "hidden", 0)
	if err := r.SetHalfMade(waits, true); err != nil {
		t.Fatal(err)
	}
	counting = true
	change := func() {
		t.Helper()
		mine := func(id proto.UUID, seq uint64) bool { return id == waits && seq == 20 }
		if err := r.ChangeEdge(other(), mine); err != nil {
			t.Fatal(err)
		}
	}
	change()
	counting = false
	if more = writes >= n; more {
		r.Close()
		r = open(t, killed)
		change() // the cloud says it again at the next connect
	}
	for range 2 {
		got := state(r, "t1", "token of taken", "token of waits", "token of hidden")
		if got != "waits/default//ACCESS_TOKEN token of waits=waits" {
			t.Errorf("devices %s", got)
		}
		if r.Synced() || r.Edge().GetName() != "other" || r.Knows(taken) || !r.Knows(waits) || r.Knows(id(3)) {
			t.Errorf("synced %v, edge %s", r.Synced(), r.Edge().GetName())
		}
		if id, ok := r.DeviceNamed("waits"); !ok || id != waits {
			t.Error("not found by its name")
		}
		if !r.HalfMade(waits) {
			t.Error("the device is not half-made any more")
		}
		list := r.PendingCreations()
		if len(list) != 1 || list[0].ID != hidden || !strings.Contains(list[0].Device, proto.FormatUUID(proto.UUIDOf(8, 0))) {
			t.Errorf("pending %+v", list)
		}
		if got := r.Kinds(); got != "creation 2, devcreds 2, device 2" {
			t.Errorf("records %s", got)
		}
		r.Close()
		if more {
			r = open(t, killed)
		} else {
			r = open(t, dir)
		}
	}
	if err := r.SetHalfMade(waits, false); err != nil || r.HalfMade(waits) {
		t.Error("half-made", err)
	}
	return more
}

// Entities are listed by name, devices first, and what is not here is not known.
func TestNamed(t *testing.T) {
	r := open(t, t.TempDir())
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	apply(t, r, devices(device(1, "a")))
	msb, lsb := proto.Halves(id(2))
	apply(t, r, &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"an asset"}`}}})
	board := &proto.DashboardUpdateMsg{IdMSB: msb, IdLSB: lsb + 1, Entity: `{"title":"a board"}`}
	apply(t, r, &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{board}})
	var list []string
	r.Named(func(_ proto.UUID, typ, name string) bool {
		list = append(list, typ+" "+name)
		return true
	})
	if got := strings.Join(list, ", "); got != "DEVICE a, ASSET an asset, DASHBOARD a board" {
		t.Error(got)
	}
	n := 0
	r.Named(func(proto.UUID, string, string) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("%d after the end", n)
	}
	edge, tenant := proto.UUIDOf(1, 0), proto.UUIDOf(2, 0)
	for known, want := range map[proto.UUID]bool{id(1): true, id(2): true, id(7): true, edge: true, tenant: true, id(9): false} {
		if r.Knows(known) != want {
			t.Errorf("knows %v: %v", known, !want)
		}
	}
}
