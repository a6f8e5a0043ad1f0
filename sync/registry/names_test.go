package registry_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// Names are read beside the agent that holds the registry, and change nothing.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	r := openKeeping(t, dir)
	for n := range 40 {
		apply(t, r, devices(device(n+1, fmt.Sprint("dev ", n))))
	}
	asset := proto.UUID{0xa5}
	msb, lsb := proto.Halves(asset)
	apply(t, r, &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"dev 7"}`}}})
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	n, err := registry.InspectNames(filepath.Join(dir, "registry"))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for range 2 {
		if got := fmt.Sprintf("%q %q %q", n.Of(id(8)), n.Of(asset), n.Of(proto.UUID{0xff})); got != `"dev 7" "dev 7" ""` {
			t.Error(got)
		}
	}
	edge := proto.UUIDOf(edgeOf(7).EdgeIdMSB, edgeOf(7).EdgeIdLSB)
	for id, want := range map[proto.UUID]bool{id(8): true, asset: true, edge: true, {0xff}: false, id(41): false} {
		for range 2 {
			if got := n.Knows(id); got != want || got != r.Knows(id) {
				t.Errorf("%v: %v", id, got)
			}
		}
	}
	if got := n.Find("dev 7"); len(got) != 2 || !slices.Contains(got, id(8)) || !slices.Contains(got, asset) {
		t.Errorf("%v", got)
	}
	if got := n.Find("dev"); len(got) != 0 {
		t.Errorf("%v", got)
	}
	count := 0
	n.Each(func(d registry.Device) bool { count++; return d.Name != "" && d.Type == "default" })
	if count != 40 {
		t.Errorf("%d devices", count)
	}
	none, err := registry.InspectNames(filepath.Join(dir, "nowhere"))
	if err != nil || none.Of(id(1)) != "" || none.Knows(id(1)) {
		t.Errorf("%v", err)
	}
	none.Close()
	none = nil
	if !none.Knows(id(1)) {
		t.Error("a nil Names knows what is not here")
	}
	none.Each(func(registry.Device) bool { t.Error("a nil Names has devices"); return true })
}
