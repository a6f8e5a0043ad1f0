package device

import (
	"errors"
	"fmt"
	"slices"
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
	publish := func(version byte, text string) *tester {
		name, payload, _ := strings.Cut(text, " ")
		g := s.dial(version, "gateway")
		g.publish("v1/gateway/"+name, payload, 1)
		return g
	}
	// No JSON: nothing of it counts.
	for _, text := range []string{
		"telemetry {", `telemetry {"A":[{"a":1}]} x`, `attributes {"A":{"a":1},"B":{"a":}`, `connect {"device":`,
	} {
		g := publish(5, text)
		g.puback(1, reasonPayload)
		g.alive()
		publish(4, text).closed(0)
	}
	// A name or type that no device can have is refused as often as it comes, so it does not end
	// the session.
	for _, text := range []string{
		`telemetry {"":[{"a":1}]}`, `telemetry {"<b>x":[{"a":1}]}`, `attributes {"` + long + `":{"a":1}}`, `claim {"":{}}`,
		`connect {"device":"A","type":""}`, `connect {"device":"` + long + `"}`,
	} {
		g := publish(5, text)
		g.puback(1, reasonPayload)
		g.alive()
		g = publish(4, text)
		g.puback(1, 0)
		g.alive()
	}
	for _, text := range []string{
		`telemetry []`, `telemetry `, `telemetry 5`, `telemetry null`, `telemetry "x"`, `telemetry {}`, `telemetry {"A":5}`,
		`attributes []`, `attributes {"A":[1],"B":null}`, `claim {"A":"s"}`, `claim []`, `claim {}`,
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

// TestGatewayPartsAreJudgedAlone sends messages in which one device's part is wrong: the data of
// the others are stored (API.md 4.3).
func TestGatewayPartsAreJudgedAlone(t *testing.T) {
	const stays, closed = true, false
	for _, c := range []struct {
		text   string
		reason byte // of MQTT 5
		older  bool // what becomes of an earlier version's connection; one that stays gets a PUBACK
		stored string
		made   string
	}{
		{`telemetry {"A":[{"t":1},5],"B":[{"t":20.5}]}`, reasonPayload, closed, "B t", "A B"},
		{`telemetry {"B":[{"t":20.5}],"A":[{"ts":"x","values":{"t":1}}]}`, reasonPayload, closed, "B t", "B A"},
		{`telemetry {"A":[{"ts":1,"values":5}],"B":[{"t":1}],"C":[null],"D":[{"t":1}]}`, reasonPayload, closed, "B t, D t", "A B C D"},
		{`telemetry {"A":[{"":1}],"B":[{"t":1}]}`, reasonPayload, closed, "B t", "A B"},
		{`telemetry {"A":{"t":1},"B":[{"t":20.5}]}`, 0, stays, "B t", "B"},
		{`telemetry {"A":null,"B":[{"t":1}],"C":"x","D":7}`, 0, stays, "B t", "B"},
		{`telemetry {"":[{"t":1}],"B":[{"t":1}]}`, reasonPayload, stays, "B t", "B"},
		{`telemetry {"A":[{"t":1}],"a<b>":[{"t":1}],"B":[5]}`, reasonPayload, closed, "A t", "A B"},
		{`telemetry {"A":[],"B":[{"t":1}]}`, 0, stays, "B t", "A B"},
		{`attributes {"A":{"x":1},"B":[]}`, 0, stays, "A x", "A"},
		{`attributes {"A":{"":1},"B":{"x":1}}`, reasonPayload, closed, "B x", "A B"},
		{`attributes {"A":5,"B":{"x":1},"C":true}`, 0, stays, "B x", "B"},
		{`claim {"A":{"durationMs":"x"},"B":{}}`, reasonPayload, closed, "B ", "A B"},
		{`claim {"A":"s","B":{}}`, 0, stays, "B ", "B"},
		{`claim {"":{},"B":{}}`, reasonPayload, stays, "B ", "B"},
	} {
		for _, version := range versions {
			t.Run(fmt.Sprint(c.text, " ", version), func(t *testing.T) {
				s := newStand(t, true)
				g := s.dial(version, "gateway")
				name, payload, _ := strings.Cut(c.text, " ")
				g.publish("v1/gateway/"+name, payload, 1)
				switch {
				case version == 5:
					g.puback(1, c.reason)
					g.alive()
				case c.older == stays:
					g.puback(1, 0)
					g.alive()
				default:
					g.closed(0)
				}
				var stored, made []string
				for _, e := range s.intake.durable() {
					d, _ := s.book.ByID(e.Entity)
					stored = append(stored, d.Name+" "+keysIn(t, e))
				}
				for _, b := range s.book.births {
					made = append(made, b.Name)
				}
				slices.Sort(made) // claims come in any order
				want := strings.Fields(c.made)
				slices.Sort(want)
				if got := strings.Join(stored, ", "); got != c.stored || !slices.Equal(made, want) {
					t.Errorf("stored %q, want %q; made %q, want %q", got, c.stored, made, want)
				}
			})
		}
	}
}

// A gateway that names itself says something of itself, beside others or alone, and stays (API.md
// 4.3).
func TestGatewayNamesItself(t *testing.T) {
	for _, version := range versions {
		s := newStand(t, true)
		g := s.dial(version, "gateway")
		g.ask("v1/gateway/connect", `{"device":"Gateway"}`, 1)
		g.ask("v1/gateway/telemetry", `{"Boiler":[{"t":61.5}],"Gateway":[{"cpu":12}]}`, 2)
		g.ask("v1/gateway/telemetry", `{"Gateway":[{"cpu":12}]}`, 3)
		g.ask("v1/gateway/attributes", `{"Gateway":{"fw":"x"}}`, 4)
		g.ask("v1/gateway/claim", `{"Gateway":{}}`, 5)
		s.book.attributes[registry.ClientScope][gatewayID] = []proto.KV{long("fw", 1)}
		g.ask("v1/gateway/attributes/request", `{"id":1,"device":"Gateway","client":true,"key":"fw"}`, 6)
		g.expect(`v1/gateway/attributes/response {"id":1,"device":"Gateway","value":1}`)
		g.ask("v1/gateway/rpc", `{"device":"Gateway","id":3,"data":null}`, 7)
		g.ask("v1/gateway/disconnect", `{"device":"Gateway"}`, 8)
		// Its own topics go on.
		g.subscribe("v1/devices/me/attributes", 1)
		s.SharedAttributes(gatewayID, []proto.KV{long("a", 1)}, nil)
		g.expect(`v1/devices/me/attributes {"a":1}`)
		var of []string
		for _, e := range s.intake.durable() {
			d, _ := s.book.ByID(e.Entity)
			of = append(of, d.Name)
		}
		if got := strings.Join(of, " "); got != "Boiler Gateway Gateway Gateway Gateway" {
			t.Errorf("stored for %s", got)
		}
		if _, answers := s.calls.said(); fmt.Sprint(answers) != "[02/3 null]" || len(s.book.births) != 1 {
			t.Errorf("answers %v, made %v", answers, s.book.births)
		}
	}
}

// A device that there is no room for does not keep its gateway from the others (API.md 4.3); an
// error of the medium does, and the message comes again.
func TestGatewayBeyondTheRoomForDevices(t *testing.T) {
	for _, version := range versions {
		s := newStand(t, true)
		g := s.dial(version, "gateway")
		g.ask("v1/gateway/connect", `{"device":"A"}`, 1)
		s.book.birthError = fmt.Errorf("make device: %w", registry.ErrFull)
		g.publish("v1/gateway/telemetry", `{"B":[{"t":1}],"A":[{"t":1}]}`, 2)
		reason := byte(0)
		if version == 5 {
			reason = reasonQuota
		}
		g.puback(2, reason)
		g.publish("v1/gateway/connect", `{"device":"B"}`, 3)
		g.puback(3, reason)
		if n := len(s.intake.durable()); n != 1 {
			t.Errorf("%d events", n)
		}
		s.book.birthError = fmt.Errorf("make device: %w", registry.ErrName)
		g.publish("v1/gateway/telemetry", `{"B < C":[{"t":1}],"A":[{"t":1}]}`, 4)
		if version == 5 {
			reason = reasonPayload
		}
		g.puback(4, reason)
		s.book.birthError = errors.New("the medium")
		g.publish("v1/gateway/telemetry", `{"A":[{"t":1}],"B":[{"t":1}]}`, 5)
		g.closed(reasonQuota)
		if n := len(s.intake.durable()); n != 2 {
			t.Errorf("%d events", n)
		}
	}
}

// What ends a session does not take away the acknowledgements of what came before, or the gateway
// would send all of it, and what ended the session, again and again.
func TestAcknowledgementsBeforeTheEnd(t *testing.T) {
	for _, c := range []struct {
		topic, payload string
		answered       bool
	}{
		{"v1/gateway/telemetry", `[]`, true},
		{"v1/gateway/telemetry", `{`, false},
		{"v1/devices/me/telemetry", `5`, false},
		{"v1/gateway/connect", `{}`, true},
	} {
		s := newStand(t, false)
		g := s.dial(4, "gateway")
		go func() { // the session may end while it writes
			_, _ = g.Conn.Write(slices.Concat(
				g.publishPacket("v1/devices/me/telemetry", `{"a":1}`, 1), g.publishPacket("v1/devices/me/telemetry", `{"a":1}`, 2),
				g.publishPacket(c.topic, c.payload, 3), g.publishPacket("v1/gateway/nothing", "", 4),
			))
		}()
		<-s.intake.changed
		<-s.intake.changed
		s.intake.commit(nil)
		g.puback(1, 0)
		g.puback(2, 0)
		if c.answered {
			g.puback(3, 0)
		}
		g.closed(0)
	}
}

// The gateway of a device that is known is noted when it connects the device, once (API.md 4.3).
func TestLastConnectedGateway(t *testing.T) {
	s := newStand(t, true)
	s.book.enrol("a", registry.Device{ID: proto.UUID{0x0a}, Name: "A"})
	s.book.enrol("b", registry.Device{ID: proto.UUID{0x0b}, Name: "B", LastGateway: gatewayID})
	s.book.enrol("other", registry.Device{ID: proto.UUID{0x05}, Name: "Other", Gateway: true})
	g := s.dial(4, "gateway")
	g.ask("v1/gateway/connect", `{"device":"A","type":"another"}`, 1)
	g.ask("v1/gateway/telemetry", `{"A":[{"t":1}],"B":[{"t":1}],"New":[{"t":1}]}`, 2)
	g.ask("v1/gateway/attributes", `{"A":{"t":1}}`, 3)
	o := s.dial(5, "other")
	o.ask("v1/gateway/telemetry", `{"B":[{"t":1}]}`, 1)
	if got := fmt.Sprint(s.book.connected); got != "[0a by 02 0b by 05]" {
		t.Errorf("noted %s", got)
	}
}
