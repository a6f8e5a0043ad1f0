package registry_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// A device made here survives restarts, syncs that cannot know it yet, and the other name that the
// server may give it.
func TestCreations(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if err := r.SetEdge(edgeOf(0)); err != nil {
		t.Fatal(err)
	}
	reopen := func() {
		r.Close()
		r = open(t, dir)
	}
	gateway := device(1, "gw")
	gateway.Entity = strings.Replace(gateway.Entity, `"name"`, `"customerId":`+ref("CUSTOMER", 7)+`,"name"`, 1)
	apply(t, r, devices(gateway))
	b, taken, err := r.Prepare(&proto.NewDevice{
		Name: "Dev A", Type: "thermostat", Gateway: id(1),
		CredentialsID: "tok",
	}, time.UnixMilli(1767225600000))
	if taken || err != nil {
		t.Fatal(taken, err)
	}
	want := `{"id":{"entityType":"DEVICE","id":"` + proto.FormatUUID(b.ID) +
		`"},"createdTime":1767225600000,"tenantId":{"entityType":"TENANT","id":"` +
		proto.FormatUUID(proto.UUIDOf(2, 0)) + `"},"name":"Dev A","type":"thermostat","customerId":` + ref("CUSTOMER", 7) +
		`,"additionalInfo":{"lastConnectedGateway":"` + proto.FormatUUID(id(1)) + `"}}`
	if b.Device != want {
		t.Errorf("device %s, want %s", b.Device, want)
	}
	reopen() // a crash before it was announced
	pending := r.PendingCreations()
	if len(pending) != 1 || pending[0] != b {
		t.Fatalf("pending %+v, want %+v", pending, b)
	}
	if _, ok := r.ByToken("tok"); ok {
		t.Error("found before it was announced")
	}
	if err := r.Adopt(b.ID, 10); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	reopen()
	if len(r.PendingCreations()) != 0 {
		t.Error("announced twice")
	}
	sync := func(committed uint64, m ...*proto.DownlinkMsg) {
		t.Helper()
		r.BeginSync(false, committed)
		for _, m := range append(m, devices(gateway)) {
			apply(t, r, m)
		}
		if _, err := r.EndSync(); err != nil {
			t.Fatal(err)
		}
	}
	sync(9) // its creation was not acknowledged when this began
	if d, ok := r.ByToken("tok"); !ok || d.Name != "Dev A" || d.Type != "thermostat" {
		t.Fatalf("%+v %v", d, ok)
	}
	// The name is taken in the cloud, which gives another. The gateway goes on with its own.
	msb, lsb := proto.Halves(b.ID)
	renamed := devices(&proto.DeviceUpdateMsg{
		IdMSB: msb, IdLSB: lsb, MsgType: updated,
		Entity: `{"name":"Dev A_AbCdEfGhIjKlMnO","type":"thermostat"}`,
	})
	for range 2 {
		apply(t, r, renamed)
		for range 2 {
			d, ok := r.ByName("Dev A")
			if !ok || d.ID != b.ID || d.Name != "Dev A_AbCdEfGhIjKlMnO" {
				t.Fatalf("%+v %v", d, ok)
			}
			reopen()
		}
	}
	if _, taken, _ := r.Prepare(&proto.NewDevice{Name: "Dev A"}, time.Now()); !taken {
		t.Error("made once more under the old name")
	}
	apply(t, r, devices(device(3, "Dev A"))) // the other one is ours now too: it has the right to the name
	if d, _ := r.ByName("Dev A"); d.ID != id(3) {
		t.Error("the alias hides the device that has the name")
	}
	apply(t, r, devices(gone(3))) // and when that one is gone
	if d, _ := r.ByName("Dev A"); d.ID != b.ID {
		t.Error("the alias is lost")
	}
	apply(t, r, devices(device(4, "x"), device(5, "x"), gone(5)))
	if d, _ := r.ByName("x"); d.ID != id(4) {
		t.Error("of two devices of one name the one that stayed is not found")
	}
	apply(t, r, devices(gone(4)))
	sync(20, renamed)
	sync(20) // known to the cloud, and not brought: gone
	if _, ok := r.ByToken("tok"); ok || r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Deleted in the cloud before any sync brought it.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev B"}, time.Now())
	r.Adopt(b.ID, 30)
	msb, lsb = proto.Halves(b.ID)
	apply(t, r, devices(&proto.DeviceUpdateMsg{IdMSB: msb, IdLSB: lsb, MsgType: deleted}))
	if r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Acknowledged, and then a sync does not bring it.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev C"}, time.Now())
	r.Adopt(b.ID, 40)
	sync(39)
	if r.Kinds() != "creation 1, devcreds 1, device 2" {
		t.Errorf("left %s", r.Kinds())
	}
	waits := true
	r.Awaits(func(u proto.UUID) bool { return waits && u == b.ID })
	r.BeginSync(false, 40) // the cloud has refused it so far
	apply(t, r, devices(gateway))
	if _, err := r.EndSync(); err != nil || r.Kinds() != "creation 1, devcreds 1, device 2" {
		t.Errorf("left %s, %v", r.Kinds(), err)
	}
	waits = false
	sync(40)
	if r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Discarded: nothing is left.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev D"}, time.Now())
	if err := r.Discard(b.ID); err != nil || r.Kinds() != "device 1" || len(r.PendingCreations()) != 0 {
		t.Errorf("%v, left %s", err, r.Kinds())
	}
}

// A device that was made here goes by its profile before the cloud has sent it back: over a restart
// too.
func TestProfileOfADeviceMadeHere(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
		IdMSB: 6,
		Entity: `{"name":"meters","transportType":"MQTT","profileData":{"transportConfiguration":{
		"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":"t"}}}}`,
	}}})
	b, _, err := r.Prepare(&proto.NewDevice{Name: "meter", Type: "meters"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Adopt(b.ID, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, _ := r.ByID(b.ID)
		if p, ok := r.Profile(d.ProfileID); !ok || p.Name != "meters" || p.Schemas.Telemetry != "t" {
			t.Errorf("%+v %+v %v", d, p, ok)
		}
		r.Close()
		r = open(t, dir)
	}
}

// A creation whose event was in a queue that is gone is pending again; one that is in the queue is
// not, and neither is one that was refused and has no place in it.
func TestCreationsOfAnotherQueue(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	b, _, err := r.Prepare(&proto.NewDevice{Name: "Dev A", CredentialsID: "tok"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Adopt(b.ID, 10), r.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		end     uint64
		pending int
	}{{9, 1}, {0, 1}, {10, 0}, {11, 0}} {
		r, err := registry.Open(registry.Options{
			Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"),
			Log: slog.New(slog.DiscardHandler), End: func() uint64 { return c.end },
		})
		if err != nil {
			t.Fatal(err)
		}
		_, found := r.ByToken("tok")
		if got := len(r.PendingCreations()); got != c.pending || found == (got > 0) {
			t.Errorf("end %d: %d pending, found %v", c.end, got, found)
		}
		r.Close()
	}
}
