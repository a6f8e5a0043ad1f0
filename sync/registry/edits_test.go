package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// place stands in for the queue.
type place struct{ committed, end uint64 }

func (p *place) Committed() wal.Position { return wal.Position{Seq: p.committed} }
func (p *place) End() wal.Position       { return wal.Position{Seq: p.end} }

// Until the cloud knows of a change made here, what it sends is out of date, also after a restart and through a sync that began before.
func TestEditsHoldUntilTheCloudKnows(t *testing.T) {
	dir := t.TempDir()
	q := &place{committed: 9, end: 9}
	r := open(t, dir)
	r.Follow(q)
	apply(t, r, devices(device(1, "one"), device(2, "two")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "old")))
	edit := func(e ...registry.Edit) {
		t.Helper()
		q.end += uint64(len(e))
		if err := r.Edit(q.end, e...); err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		var list []string
		for n := 1; n <= 4; n++ {
			if d, ok := r.ByID(id(n)); ok {
				list = append(list, d.Name)
			}
		}
		_, asset := r.Entity(proto.KindAsset, id(9))
		d, _ := r.ByToken("new")
		return fmt.Sprint(strings.Join(list, " "), " ", asset, " ", d.Name)
	}
	check := func(what, want string) {
		t.Helper()
		if got := names(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`},
		registry.Edit{Kind: proto.KindDevice, ID: id(2), Deleted: true},
		registry.Edit{Kind: proto.KindAsset, ID: id(9), Text: `{"name":"hall"}`},
		registry.Edit{Kind: proto.KindDeviceCredentials, ID: id(1), Text: creds(1, "ACCESS_TOKEN", "new").Entity})
	check("edited", "uno true uno")
	old := func() {
		t.Helper()
		apply(t, r, devices(device(1, "one"), device(2, "two")))
		apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "old")))
	}
	old()
	check("not known yet", "uno true uno")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	r.Follow(q)
	old()
	check("after a restart", "uno true uno")
	r.BeginSync(false, q.committed) // a sync that does not know of it
	q.committed = q.end             // while it runs, the cloud hears of it
	old()
	if n, err := r.EndSync(); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	check("after that sync", "uno true uno")
	r.BeginSync(false, q.committed) // one that does, and somebody has changed the name in the cloud and deleted the asset
	apply(t, r, devices(device(1, "eins")))
	if n, err := r.EndSync(); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	check("the cloud's word", "eins false eins")
	if keys := r.Keys("edit"); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`})
	apply(t, r, devices(gone(1)))
	check("deleted in the cloud", " false ")
	apply(t, r, devices(device(1, "one")))
	check("assigned again", "one false ")
	edit(registry.Edit{Kind: proto.KindDevice, ID: id(1), Text: `{"name":"uno"}`})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	r.Follow(&place{}) // data_dir has a new queue
	apply(t, r, devices(device(1, "one")))
	check("another queue", "one false ")
	r.Close()
}

func TestEditRefusesWhatIsNone(t *testing.T) {
	r := open(t, t.TempDir())
	defer r.Close()
	for _, e := range []registry.Edit{
		{Kind: proto.KindDevice, ID: id(1), Text: "{"},
		{Kind: proto.KindDevice, ID: id(1), Text: "{}"},
		{Kind: proto.KindAsset, ID: id(1), Text: "[]"},
		{Kind: proto.KindRelation, Text: "{}"},
		{Kind: proto.KindUser, ID: id(1), Text: "{}"},
		{Kind: proto.KindDeviceProfile, ID: id(1), Text: "{}"},
	} {
		if r.Edit(1, e) == nil {
			t.Errorf("%v %s is taken", e.Kind, e.Text)
		}
	}
	if r.Devices() != 0 || r.Exists("ASSET", id(1)) {
		t.Error("something is stored")
	}
}
