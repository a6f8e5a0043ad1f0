package cloudtest

import (
	"encoding/json"
	"testing"
	"time"

	"edgesync/proto"
)

// TestReplayDeviceLimit processes the uplinks of a conversation with a server whose tenant may have
// no more devices and one more asset (CONTRACT.md 13.1). All are answered with success; the device
// and the second asset are not there, nor is what was sent of the device.
func TestReplayDeviceLimit(t *testing.T) {
	const name = "device-limit"
	p := newPlayerOf(t, name, mustUUID("23b84190-ebd7-11f1-b7e7-a9b7ab7e4883"),
		mustUUID("23bcae60-ebd7-11f1-b7e7-a9b7ab7e4883"), mustUUID("23bd2390-ebd7-11f1-b7e7-a9b7ab7e4883"))
	p.base = time.UnixMilli(1795944620621)
	p.edge = mustUUID("52662cd0-e76f-11f1-814e-4d5cb1db8aab")
	p.tenant.AddEdge(Edge{ID: p.edge, Name: "edge", RoutingKey: "k", Secret: "s"})
	for kinds, n := range map[string]int{"devices": 0, "assets": 1} {
		if err := p.tenant.Limit(kinds, n); err != nil {
			t.Fatal(err)
		}
	}
	lines := readTape(t, name)
	// The message with the credentials is recorded without its bytes.
	var first struct {
		Devices []struct {
			IDMSB  int64  `json:"idMSB,string"`
			IDLSB  int64  `json:"idLSB,string"`
			Entity string `json:"entity"`
		} `json:"deviceUpdateMsg"`
		Credentials []struct {
			Entity string `json:"entity"`
		} `json:"deviceCredentialsUpdateMsg"`
	}
	if err := json.Unmarshal(lines[0].JSON, &first); err != nil {
		t.Fatal(err)
	}
	d := first.Devices[0]
	out := p.tenant.Process(p.edge, &proto.UplinkMsg{
		UplinkMsgId:                2,
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{{IdMSB: d.IDMSB, IdLSB: d.IDLSB, Entity: d.Entity}},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{Entity: first.Credentials[0].Entity}},
	}, p.now(lines[0]))
	if a := lines[1].Answer; a.ID != 2 || out.Success != a.Success {
		t.Errorf("success %t, recorded %+v", out.Success, a)
	}
	p.play(lines[2:])
	if p.replayed != 3 || p.noAnswer != 0 || p.cut != 0 {
		t.Errorf("replayed, without answer, cut = %d, %d, %d; want 3, 0, 0", p.replayed, p.noAnswer, p.cut)
	}
	if n := len(p.tenant.Devices()); n != 0 {
		t.Errorf("%d devices", n)
	}
	if n := len(p.tenant.order[typeAsset]); n != 1 || p.tenant.Refused() != 2 {
		t.Errorf("%d assets, %d creations swallowed; want 1, 2", n, p.tenant.Refused())
	}
	if n := p.tenant.Counts().Dropped; n != 3 {
		t.Errorf("%d parts dropped, want the credentials, the telemetry and the attribute", n)
	}
}

// A limit swallows creations of its kind only, lets updates of what is there pass, and ends.
func TestLimit(t *testing.T) {
	tenant := NewTenant()
	edge := Edge{ID: tenant.NewID(), Name: "edge", RoutingKey: "k", Secret: "s"}
	tenant.AddEdge(edge)
	if err := tenant.Limit("lamps", 1); err == nil {
		t.Error("a limit of lamps")
	}
	if err := tenant.Limit("devices", 1); err != nil {
		t.Fatal(err)
	}
	send := func(id byte, name string) {
		t.Helper()
		d := &proto.DeviceUpdateMsg{Entity: `{"tenantId":{"entityType":"TENANT","id":"` + proto.FormatUUID(tenant.TenantID()) +
			`"},"name":"` + name + `","type":"default"}`}
		d.IdMSB, d.IdLSB = proto.Halves(proto.UUID{id})
		if out := tenant.Process(edge.ID, &proto.UplinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}}, time.Now()); !out.Success {
			t.Errorf("%s: %q", name, out.Error)
		}
	}
	there := func() (names []string) {
		for _, d := range tenant.Devices() {
			names = append(names, d.Name)
		}
		return names
	}
	send(1, "a")
	send(2, "b")
	send(1, "c")
	if got := there(); len(got) != 1 || got[0] != "c" || tenant.Refused() != 1 {
		t.Errorf("%v, %d swallowed", got, tenant.Refused())
	}
	if err := tenant.Limit("devices", -1); err != nil {
		t.Fatal(err)
	}
	send(2, "b")
	if got := there(); len(got) != 2 || tenant.Refused() != 1 {
		t.Errorf("%v, %d swallowed", got, tenant.Refused())
	}
}
