package registry_test

import (
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// noted is what a watcher hears of gateways' devices.
type noted struct{ list []registry.Device }

func (w *noted) DeviceChanged(d registry.Device, what registry.Change) {
	if what&(registry.DeviceRenamed|registry.DeviceDeleted) != 0 {
		w.list = append(w.list, d)
	}
}

func (w *noted) SharedAttributes(proto.UUID, []proto.KV, []string) {}

// A gateway is what the server takes for one (API.md 4.3), and a watcher hears what a gateway must
// hear of its devices.
func TestGatewaysAndTheirDevices(t *testing.T) {
	r := open(t, t.TempDir())
	w := new(noted)
	r.Watch(w)
	info := func(n int, name, info string) *proto.DownlinkMsg {
		m := device(n, name)
		m.Entity = strings.Replace(m.Entity, `{"gateway":true}`, info, 1)
		return &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m}}
	}
	for i, c := range []struct {
		info string
		want bool
	}{
		{`{"gateway":true}`, true},
		{`{"gateway":"true"}`, true},
		{`{"gateway":1}`, true},
		{`{"gateway":false}`, false},
		{`{"gateway":"yes"}`, false},
		{`{"gateway":0}`, false},
		{`{"gateway":null}`, false},
		{`{"gateway":{}}`, false},
		{`{}`, false},
		{`null`, false},
		{`"gateway"`, false},
	} {
		apply(t, r, info(i, "d", c.info))
		if d, ok := r.ByID(id(i)); !ok || d.Gateway != c.want {
			t.Errorf("%s: %v, %v", c.info, d.Gateway, ok)
		}
	}
	gateway := id(1)
	last := `{"lastConnectedGateway":"` + proto.FormatUUID(gateway) + `"}`
	w.list = nil
	apply(t, r, info(50, "Sensor", last))
	apply(t, r, info(50, "Sensor 2", last))
	if len(w.list) != 1 || w.list[0].WasNamed != "Sensor" || w.list[0].Name != "Sensor 2" || w.list[0].LastGateway != gateway {
		t.Errorf("renamed: %+v", w.list)
	}
	w.list = nil
	apply(t, r, devices(gone(50)))
	if len(w.list) != 1 || w.list[0].Name != "Sensor 2" || w.list[0].LastGateway != gateway {
		t.Errorf("deleted: %+v", w.list)
	}
	apply(t, r, info(51, "Sensor", `{"lastConnectedGateway":7}`))
	if d, _ := r.ByID(id(51)); d.LastGateway != (proto.UUID{}) {
		t.Errorf("%+v", d)
	}
}

// What is written here reads back as what the server stores of it (API.md 1.3).
func TestWrittenValuesAreAsTheServerStoresThem(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "d")))
	double := func(key string, v float64) *proto.KeyValueProto {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_DOUBLE_V, DoubleV: v}
	}
	if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{
		double("a", 1e7),
		double("b", 21.5), double("c", 1e-16),
	}}); err != nil {
		t.Fatal(err)
	}
	if err := r.SaveAttributes(id(1), registry.SharedScope, 1,
		[]proto.KV{{Key: []byte("d"), Type: proto.KeyValueType_DOUBLE_V, Double: 1e19}}); err != nil {
		t.Fatal(err)
	}
	if got := values(r, id(1), registry.ClientScope); got != `a=10000000 b=21.5 c="0.00000000000000010"` {
		t.Errorf("posted: %s", got)
	}
	if got := values(r, id(1), registry.SharedScope); got != `d="10000000000000000000"` {
		t.Errorf("saved: %s", got)
	}
}
