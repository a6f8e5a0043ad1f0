package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

func TestMQTTGateway(t *testing.T) {
	s := newStand(t, true)
	s.book.tokens["other"] = registry.Device{ID: proto.UUID{0x03}, Name: "Dev A"}
	g := s.dial(4, "gateway")
	g.ask("v1/gateway/connect", `{"device":"Dev A","type":"thermostat"}`, 1)
	g.ask("v1/gateway/connect", `{"device":"Dev B","type":7}`, 2)
	if len(s.book.births) != 1 || s.book.births[0] != (agent.NewDevice{Name: "Dev B", Type: "7", Gateway: gatewayID}) {
		t.Fatalf("made %+v", s.book.births)
	}
	// One message has all forms of telemetry, a device that is not known, metadata, which are no
	// data, and a name twice, which keeps the data of both.
	g.ask("v1/gateway/telemetry", `{"Dev A":[{"ts":1000,"values":{"t":21}},
		{"t":22,"metadata":{"connector":"c","receivedTs":1,"publishedTs":2}}],"D\u0065v C":[{"ts":1,"values":{"a":1}}],
		"Dev A":[{"ts":5,"values":{"z":1}}],"Dev B":[]}`, 3)
	g.ask("v1/gateway/attributes", `{"Dev A":{"fw":"1.2x"},"Dev B":{}}`, 4)
	if len(s.book.births) != 2 || s.book.births[1] != (agent.NewDevice{Name: "Dev C", Gateway: gatewayID}) {
		t.Fatalf("made %+v", s.book.births)
	}
	var got []string
	for _, e := range s.intake.durable() {
		got = append(got, fmt.Sprintf("%x %s %s", e.Entity[:2], e.Action, keysIn(t, e)))
	}
	want := []string{
		"0300 TIMESERIES_UPDATED t", "0300 TIMESERIES_UPDATED t", "bb02 TIMESERIES_UPDATED a",
		"0300 TIMESERIES_UPDATED z", "0300 POST_ATTRIBUTES fw",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Shared attributes and commands of its devices reach the gateway on its topics.
	s.SharedAttributes(proto.UUID{0x03}, []proto.KV{boolean("fan", true)}, []string{"old"})
	g.expect(`v1/gateway/attributes {"device":"Dev A","data":{"fan":true}}`)
	g.expect(`v1/gateway/attributes {"device":"Dev A","data":{"deleted":["old"]}}`)
	g.subscribe("v1/gateway/rpc", 1)
	if !s.Deliver(&agent.Call{Device: proto.UUID{0x03}, ID: 3, Method: "setMode", Params: `"eco"`}) {
		t.Error("no delivery through the gateway")
	}
	g.expect(`v1/gateway/rpc {"device":"Dev A","data":{"id":3,"method":"setMode","params":"eco"}}`)
	g.ask("v1/gateway/rpc", `{"device":"Dev A","id":3,"data":{"success":true}}`, 5)
	if _, answers := s.calls.said(); fmt.Sprint(answers) != `[03/3 {"success":true}]` {
		t.Errorf("answers %v", answers)
	}

	// Attribute requests, in all their forms.
	s.book.attributes[registry.SharedScope][proto.UUID{0x03}] = []proto.KV{boolean("fan", true), long("mode", 3)}
	s.book.attributes[registry.ClientScope][proto.UUID{0x03}] = []proto.KV{long("fw", 1)}
	for _, c := range [][2]string{
		{`{"id":7,"device":"Dev A","client":false,"key":"fan"}`, `{"id":7,"device":"Dev A","value":true}`},
		{`{"id":"8","device":"Dev A","client":"true","key":"fw","keys":["x"]}`, `{"id":8,"device":"Dev A","value":1}`},
		{`{"id":9,"device":"Dev A","client":false,"keys":["mode"]}`, `{"id":9,"device":"Dev A","value":3}`},
		{
			`{"id":10,"device":"Dev A","client":false,"keys":["mode","fan"]}`,
			`{"id":10,"device":"Dev A","values":{"mode":3,"fan":true}}`,
		},
		{
			`{"id":10,"device":"Dev A","client":false,"keys":["mode","nix"]}`,
			`{"id":10,"device":"Dev A","values":{"mode":3}}`,
		},
		{
			`{"id":11,"device":"Dev A","client":false,"keys":[]}`,
			`{"id":11,"device":"Dev A","values":{"fw":1,"fan":true,"mode":3}}`,
		},
		{`{"id":12,"device":"Dev A","client":true,"key":"nix"}`, `{"id":12,"device":"Dev A"}`},
	} {
		g.ask("v1/gateway/attributes/request", c[0], 6)
		g.expect("v1/gateway/attributes/response " + c[1])
	}

	// A command that waits comes with the connect; after the disconnect nothing comes any more.
	s.calls.pending[proto.UUID{0x03}] = []agent.Call{{Device: proto.UUID{0x03}, ID: 4, Method: "m", Params: "1"}}
	g.ask("v1/gateway/disconnect", `{"device":"Dev A"}`, 7)
	if s.Deliver(&agent.Call{Device: proto.UUID{0x03}, ID: 4}) {
		t.Error("delivered after the disconnect")
	}
	g.ask("v1/gateway/connect", `{"device":"Dev A"}`, 8)
	g.expect(`v1/gateway/rpc {"device":"Dev A","data":{"id":4,"method":"m","params":1}}`)

	// A device that was renamed in the cloud goes on under its old name and under its new one.
	delete(s.book.tokens, "other")
	s.book.enrol("other", registry.Device{ID: proto.UUID{0x03}, Name: "Dev A2"})
	s.DeviceChanged(registry.Device{ID: proto.UUID{0x03}, Name: "Dev A2"}, registry.DeviceRenamed)
	for _, name := range []string{"Dev A", "Dev A2"} {
		g.ask("v1/gateway/attributes", `{"`+name+`":{"fw":"2x"}}`, 9)
		s.SharedAttributes(proto.UUID{0x03}, []proto.KV{boolean("fan", true)}, nil)
		g.expect(`v1/gateway/attributes {"device":"` + name + `","data":{"fan":true}}`)
	}
	events := s.intake.durable()
	for _, e := range events[len(events)-2:] {
		if e.Entity != (proto.UUID{0x03}) {
			t.Errorf("an event of a renamed device is of %x", e.Entity)
		}
	}
	if len(s.book.births) != 2 {
		t.Errorf("a renamed device was created anew: %+v", s.book.births)
	}
	s.book.enrol("other", registry.Device{ID: proto.UUID{0x03}, Name: "Dev A"})
	g.ask("v1/gateway/attributes", `{"Dev A":{"fw":"3x"}}`, 9)

	// When the device itself connects the gateway loses it, without being sent anything, and takes
	// it back with its next publish.
	d := s.dial(4, "other")
	s.SharedAttributes(proto.UUID{0x03}, []proto.KV{boolean("fan", false)}, nil)
	g.alive()
	g.ask("v1/gateway/telemetry", `{"Dev A":[{"t":1}]}`, 9)
	d.closed(0)
	g.expect(`v1/gateway/rpc {"device":"Dev A","data":{"id":4,"method":"m","params":1}}`)

	// The end of the gateway is the end of its devices.
	g.Close()
	s.dial(4, "gateway").alive()
	for s.Deliver(&agent.Call{Device: proto.UUID{0x03}, ID: 4}) {
		t.Error("delivered through a gateway that is gone")
	}
}

// keysIn lists the keys of an event.
func keysIn(t *testing.T, e proto.Event) string {
	t.Helper()
	m := unmarshalFragment(t, e.Fragment)
	var keys []string
	for _, list := range m.GetPostTelemetryMsg().GetTsKvList() {
		for _, kv := range list.GetKv() {
			keys = append(keys, kv.GetKey())
		}
	}
	for _, kv := range m.GetPostAttributesMsg().GetKv() {
		keys = append(keys, kv.GetKey())
	}
	return strings.Join(keys, ",")
}

// A gateway is sent what happens to its devices: the gateway that speaks for a device now, or else
// the one that did last.
func TestGatewayHearsOfItsDevices(t *testing.T) {
	s := newStand(t, true)
	other := registry.Device{ID: proto.UUID{0x05}, Name: "Other", Gateway: true}
	s.book.enrol("other", other)
	d := s.dial(4, "gateway")
	d.ask("v1/gateway/connect", `{"device":"A"}`, 1)
	a, _ := s.book.ByName("A")
	for _, c := range []struct {
		name string
		dev  registry.Device
		what registry.Change
		want string
	}{
		{
			"renamed, and away",
			registry.Device{ID: proto.UUID{9}, Name: `New "B"`, WasNamed: "B", LastGateway: gatewayID},
			registry.DeviceRenamed, `02 gateway_device_renamed {"B":"New \"B\""}`,
		},
		{
			"deleted, and away",
			registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: gatewayID},
			registry.DeviceDeleted, `02 gateway_device_deleted "B"`,
		},
		{
			"another gateway speaks for it now",
			registry.Device{ID: a.ID, Name: "A2", WasNamed: "A", LastGateway: other.ID},
			registry.DeviceRenamed,
			`02 gateway_device_renamed {"A":"A2"}`,
		},
		{
			"renamed, and goes by its old name too",
			registry.Device{ID: proto.UUID{9}, Name: "B2", LastGateway: gatewayID},
			registry.DeviceRenamed, "",
		},
		{
			"something else",
			registry.Device{ID: proto.UUID{9}, Name: "B2", LastGateway: gatewayID},
			registry.ProfileChanged | registry.CredentialsChanged, "",
		},
		{
			"a gateway that is not here",
			registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: proto.UUID{0x66}},
			registry.DeviceDeleted, "",
		},
		{
			"a gateway that is none any more",
			registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: lampID},
			registry.DeviceDeleted, "",
		},
		{"no gateway", registry.Device{ID: proto.UUID{9}, Name: "B"}, registry.DeviceDeleted, ""},
		{"deleted", registry.Device{ID: a.ID, Name: "A2"}, registry.DeviceDeleted, `02 gateway_device_deleted "A2"`},
	} {
		s.calls.mu.Lock()
		s.calls.notices = nil
		s.calls.mu.Unlock()
		s.DeviceChanged(c.dev, c.what)
		if got := strings.Join(s.calls.notices, "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMQTTGatewayFailures(t *testing.T) {
	s := newStand(t, true)
	long := strings.Repeat("x", 256)
	invalid := []string{
		"telemetry {", "telemetry {\"A\":5}", `telemetry {"A":[{"a":1},5]}`,
		`telemetry {"A":[{"ts":"x","values":{}}],"B":[{"a":1}]}`, `telemetry {"":[{"a":1}]}`,
		`telemetry {"<b>x":[{"a":1}]}`, `telemetry []`, `telemetry `, `telemetry {"A":[{"a":1}]} x`,
		`attributes {"A":[1]}`, `attributes {"A":{"a":1},"B":5}`,
		`attributes {"` + long + `":{"a":1}}`, `connect {"device":`, `connect {"device":"A","type":""}`,
		`claim {"A":{"durationMs":"x"}}`,
	}
	for _, text := range invalid {
		name, payload, _ := strings.Cut(text, " ")
		g := s.dial(5, "gateway")
		g.publish("v1/gateway/"+name, payload, 1)
		g.puback(1, reasonPayload)
		g.alive()
		g = s.dial(4, "gateway")
		g.publish("v1/gateway/"+name, payload, 1)
		g.closed(0)
	}
	for _, text := range []string{
		`connect {}`, `connect []`, `connect `, `connect {"device":null}`, `connect {"device":""}`,
		`disconnect {}`, `rpc {"device":"A","id":1}`,
		`rpc {"device":"A","id":"one","data":1}`, `attributes/request {"device":"A","id":1,"key":"k"}`,
		`attributes/request {"device":"A","client":true,"key":"k"}`,
		`attributes/request {"device":"A","client":true,"id":1}`,
	} {
		name, payload, _ := strings.Cut(text, " ")
		g := s.dial(5, "gateway")
		g.publish("v1/gateway/"+name, payload, 1)
		g.puback(1, reasonUnspecified)
		g.closed(reasonUnspecified)
		g = s.dial(4, "gateway")
		g.publish("v1/gateway/"+name, payload, 1)
		g.puback(1, 0)
		g.closed(0)
	}
	if len(s.book.births) != 0 || len(s.intake.durable()) != 0 {
		t.Errorf("made %v, stored %v", s.book.births, s.intake.durable())
	}
	g := s.dial(5, "gateway")
	g.publish("v1/gateway/nonsense", `{}`, 1)
	g.puback(1, reasonTopic)
	g.publish("v1/gateway/telemetry", `{"Gateway":[{"a":1}]}`, 1) // itself
	g.closed(reasonUnspecified)

	s.book.birthError = errors.New("the medium is full")
	g = s.dial(5, "gateway")
	g.publish("v1/gateway/connect", `{"device":"New"}`, 1)
	g.closed(reasonQuota)

	// A device that is no gateway never gets a success.
	d := s.dial(5, "lamp")
	d.publish("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 1)
	d.puback(1, reasonNotAuthorized)
	d = s.dial(4, "lamp")
	d.publish("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 1)
	d.ask("v1/devices/me/telemetry", `{"a":1}`, 2) // the one before has no answer
}
