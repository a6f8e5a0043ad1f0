package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

func long(key string, v int64) proto.KV {
	return proto.KV{Key: []byte(key), Type: proto.KeyValueType_LONG_V, Long: v}
}

func boolean(key string, v bool) proto.KV {
	return proto.KV{Key: []byte(key), Type: proto.KeyValueType_BOOLEAN_V, Bool: v}
}

// Attribute requests are answered from the registry, with the id in the topic.
func TestMQTTAttributeRequest(t *testing.T) {
	s := newStand(t, true)
	s.book.attributes[registry.ClientScope][lampID] = []proto.KV{long("a", 1), long("b", 2)}
	s.book.attributes[registry.SharedScope][lampID] = []proto.KV{boolean("fan", true), {Key: []byte("t"), Type: proto.KeyValueType_DOUBLE_V, Double: 21}}
	d := s.dial(5, "lamp")
	for _, c := range []struct{ topic, payload, want string }{
		{"v1/devices/me/attributes/request/1", `{"clientKeys":"a,b","sharedKeys":"fan"}`, `v1/devices/me/attributes/response/1 {"client":{"a":1,"b":2},"shared":{"fan":true}}`},
		{"v1/devices/me/attributes/request/007", `{"clientKeys":"b,x"}`, `v1/devices/me/attributes/response/7 {"client":{"b":2}}`},
		{"v1/devices/me/attributes/request/2", `{"sharedKeys":"t"}`, `v1/devices/me/attributes/response/2 {"shared":{"t":21.0}}`},
		{"v1/devices/me/attributes/request/3", `{}`, `v1/devices/me/attributes/response/3 {"client":{"a":1,"b":2},"shared":{"fan":true,"t":21.0}}`},
		{"v1/devices/me/attributes/request/4", `{"clientKeys":"x"}`, `v1/devices/me/attributes/response/4 {}`},
		{"v1/devices/me/attributes/request/5", `{"clientKeys":["a"]}`, `v1/devices/me/attributes/response/5 {"client":{"a":1}}`},
		{"v1/devices/me/attributes/request/6", `{"clientKeys":""}`, `v1/devices/me/attributes/response/6 {}`}, // the server never answers
		{"v2/a/req/8", `{"clientKeys":"a"}`, `v2/a/res/8 {"client":{"a":1}}`},
		{"v2/a/req/j/9", `{"clientKeys":"a"}`, `v2/a/res/j/9 {"client":{"a":1}}`},
	} {
		d.ask(c.topic, c.payload, 1)
		d.expect(c.want)
	}
	for _, c := range [][2]string{
		{"1", `{"clientKeys":null}`}, {"1", `{"clientKeys":["a","b"]}`}, {"99999999999", `{}`}, {"x", `{}`}, {"1", ``}, {"1", `[]`}, {"1", `{"clientKeys":"a"`},
	} {
		d.publish("v1/devices/me/attributes/request/"+c[0], c[1], 1)
		d.puback(1, reasonPayload)
	}
	// The answer has the quality of the subscription.
	d.subscribe("v1/devices/me/attributes/response/+", 0)
	d.ask("v1/devices/me/attributes/request/1", `{"clientKeys":"a"}`, 1)
	if _, _, qos := d.message(); qos != 0 {
		t.Errorf("QoS %d", qos)
	}
}

func TestMQTTSharedAttributes(t *testing.T) {
	s := newStand(t, true)
	set := []proto.KV{boolean("fan", true), {Key: []byte("q\""), Type: proto.KeyValueType_STRING_V, Str: []byte("x\n")}}
	for _, c := range []struct{ filter, topic string }{
		{"v1/devices/me/attributes", "v1/devices/me/attributes"}, {"v2/a", "v2/a"}, {"v2/a/j", "v2/a/j"},
	} {
		d := s.dial(4, "lamp")
		s.SharedAttributes(lampID, set, nil)
		d.alive() // not subscribed
		d.subscribe(c.filter, 1)
		s.SharedAttributes(lampID, set, nil)
		d.expect(c.topic + ` {"fan":true,"q\"":"x\n"}`)
		s.SharedAttributes(lampID, nil, []string{"fan", "mode"})
		d.expect(c.topic + ` {"deleted":["fan","mode"]}`)
		s.SharedAttributes(gatewayID, set, nil)
		d.alive() // not its own
		d.write(packet(0xa2, append([]byte{0, 7}, str("v1/devices/me/attributes")...)))
		if head, _ := d.read(); head != 0xb0 {
			t.Fatalf("no UNSUBACK but %#x", head)
		}
		s.SharedAttributes(lampID, set, nil)
		d.alive()
	}
}

func TestMQTTProfileTopics(t *testing.T) {
	s := newStand(t, true)
	s.book.profiles[proto.UUID{0xf0}] = registry.Profile{ConfiguredForMQTT: true, TelemetryTopic: "my/t", AttributesTopic: "my/a", SubscribeTopic: "my/shared"}
	d := s.dial(5, "lamp")
	d.ask("my/t", `{"a":1}`, 1)
	d.ask("my/a", `{"a":1}`, 2)
	d.ask("v2/t", `{"a":1}`, 3)
	d.publish("v1/devices/me/telemetry", `{"a":1}`, 4)
	d.puback(4, reasonTopic)
	if n := len(s.intake.durable()); n != 3 {
		t.Errorf("%d events", n)
	}
	if code := d.subscribe("my/shared", 0); code != 0 {
		t.Errorf("SUBACK %#x", code)
	}
	s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
	if topic, _, qos := d.message(); topic != "v1/devices/me/attributes" || qos != 1 {
		t.Errorf("%s with QoS %d", topic, qos)
	}
}

// Commands: to subscribers only, those pending again at each subscription and behind its SUBACK,
// answers whenever they come.
func TestMQTTCommands(t *testing.T) {
	s := newStand(t, true)
	call := agent.Call{Device: lampID, ID: 12, Method: `set"Gpio`, Params: `{"pin":1}`}
	d := s.dial(4, "lamp")
	if s.Deliver(&call) {
		t.Error("delivered to a device that did not subscribe")
	}
	s.calls.pending[lampID] = []agent.Call{call, {Device: lampID, ID: 13, Method: "b"}}
	if code := d.subscribe("v1/devices/me/rpc/request/+", 1); code != 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	d.expect(`v1/devices/me/rpc/request/12 {"method":"set\"Gpio","params":{"pin":1}}`)
	d.expect(`v1/devices/me/rpc/request/13 {"method":"b","params":null}`)
	d.subscribe("v1/devices/me/attributes", 1)
	d.alive() // that was no subscription to commands
	if !s.Deliver(&agent.Call{Device: lampID, ID: 14, Method: "c", Params: "5"}) {
		t.Error("not delivered to a subscriber")
	}
	head, body := d.read()
	if head != 0x32 {
		t.Fatalf("%#x", head)
	}
	id := body[2+len("v1/devices/me/rpc/request/14"):][:2]
	d.ask("v1/devices/me/rpc/response/14", `{"ok":true}`, 77) // before the PUBACK of the command (device API 9)
	d.write([]byte{0x40, 2, id[0], id[1]})
	d.publish("v2/r/res/13", `true`, 0)
	d.alive()
	delivered, answers := s.calls.said()
	if got, want := fmt.Sprint(delivered), "[01/12 01/13 01/14]"; got != want {
		t.Errorf("delivered %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(answers), `[01/14 {"ok":true} 01/13 true]`; got != want {
		t.Errorf("answers %s, want %s", got, want)
	}
	// A one-way call is delivered when the device acknowledges it, not before.
	d.subscribe("v1/devices/me/rpc/request/+", 1)
	for range 2 {
		d.read() // those that wait
	}
	s.Deliver(&agent.Call{Device: lampID, ID: 15, Method: "c", OneWay: true})
	_, body = d.read()
	id = body[2+len("v1/devices/me/rpc/request/15"):][:2]
	d.write([]byte{0x40, 2, id[0] + 1, id[1]}) // another one's
	d.alive()
	if delivered, _ := s.calls.said(); slices.Contains(delivered, "01/15") {
		t.Errorf("delivered %v before the PUBACK", delivered)
	}
	d.write([]byte{0x40, 2, id[0], id[1]})
	d.write([]byte{0x40, 2, id[0], id[1]})
	d.alive()
	if delivered, _ := s.calls.said(); delivered[len(delivered)-1] != "01/15" || slices.Index(delivered, "01/15") != len(delivered)-1 {
		t.Errorf("delivered %v after the PUBACK", delivered)
	}
	// After a reconnect what has no answer comes again.
	d.Close()
	d = s.dial(4, "lamp")
	d.subscribe("v2/r/req/+", 0)
	d.expect(`v2/r/req/12 {"method":"set\"Gpio","params":{"pin":1}}`)
}

func TestMQTTRequests(t *testing.T) {
	s := newStand(t, true)
	for _, v := range versions {
		d, gw := s.dial(v, "lamp"), s.dial(v, "gateway")
		const none = `{"messages":null,"telemetryMessages":null,"telemetryDataPoints":null}`
		d.ask("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`, 1)
		d.expect(`v1/devices/me/rpc/response/1 {"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":` + none + `}`)
		gw.ask("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`, 1)
		gw.expect(`v1/devices/me/rpc/response/1 {"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":` + none + `,"gatewayRateLimits":` + none + `}`)

		d.ask("v1/devices/me/rpc/request/2", `{"method":"getTime"}`, 2)
		r := <-s.calls.requests
		if r.Device != lampID || r.Method != "getTime" || r.Params != "null" || r.Timeout != 0 {
			t.Errorf("%+v", r)
		}
		d.alive()
		r.Reply([]byte(`{"now":5}`), nil)
		d.expect(`v1/devices/me/rpc/response/2 {"now":5}`)
		d.ask("v2/r/req/3", `{"method":"getSessionLimits","params":[1]}`, 2) // an ordinary call there
		r = <-s.calls.requests
		if r.Method != "getSessionLimits" || r.Params != "[1]" {
			t.Errorf("%+v", r)
		}
		r.Reply(nil, agent.ErrTimeout)
		d.expect(`v2/r/res/3 {"error":"timeout"}`)
		s.calls.offline = agent.ErrOffline
		d.ask("v1/devices/me/rpc/request/4", `{"method":"getTime","params":{}}`, 2)
		d.expect(`v1/devices/me/rpc/response/4 {"error":"no link to the cloud"}`)
		s.calls.offline = nil
		d.publish("v1/devices/me/rpc/request/4", `{"params":{}}`, 2)
		if v == 5 {
			d.puback(2, reasonPayload)
		} else {
			d.closed(0)
		}
	}
}

func TestMQTTClaimAndFirmware(t *testing.T) {
	s := newStand(t, true)
	d := s.dial(5, "lamp")
	d.ask("v1/devices/me/claim", ``, 1)
	d.ask("v1/devices/me/claim", `{"secretKey":"hush-hush","durationMs":"60000"}`, 2)
	d.publish("v1/devices/me/claim", `{"durationMs":"x"}`, 3)
	d.puback(3, reasonPayload)
	d.subscribe("v2/fw/error", 0)
	d.ask("v2/fw/request/1/chunk/0", `1024`, 4)
	d.expect("v2/fw/error NOT_FOUND")
	d.closed(reasonUnspecified)
	if strings.Contains(s.log.String(), "hush-hush") {
		t.Error("a claim's secret is in the log")
	}
}

func TestMQTTGateway(t *testing.T) {
	s := newStand(t, true)
	s.book.tokens["other"] = registry.Device{ID: proto.UUID{0x03}, Name: "Dev A"}
	g := s.dial(4, "gateway")
	g.ask("v1/gateway/connect", `{"device":"Dev A","type":"thermostat"}`, 1)
	g.ask("v1/gateway/connect", `{"device":"Dev B","type":7}`, 2)
	if len(s.book.births) != 1 || s.book.births[0] != (agent.NewDevice{Name: "Dev B", Type: "7", Gateway: gatewayID}) {
		t.Fatalf("made %+v", s.book.births)
	}
	// All forms of telemetry in one message; a device nobody knows; metadata is no data; a name
	// twice keeps both.
	g.ask("v1/gateway/telemetry", `{"Dev A":[{"ts":1000,"values":{"t":21}},{"t":22,"metadata":{"connector":"c","receivedTs":1,"publishedTs":2}}],"D\u0065v C":[{"ts":1,"values":{"a":1}}],
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
		"0300 TIMESERIES_UPDATED t", "0300 TIMESERIES_UPDATED t", "bb02 TIMESERIES_UPDATED a", "0300 TIMESERIES_UPDATED z", "0300 POST_ATTRIBUTES fw",
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
		{`{"id":10,"device":"Dev A","client":false,"keys":["mode","fan"]}`, `{"id":10,"device":"Dev A","values":{"mode":3,"fan":true}}`},
		{`{"id":10,"device":"Dev A","client":false,"keys":["mode","nix"]}`, `{"id":10,"device":"Dev A","values":{"mode":3}}`},
		{`{"id":11,"device":"Dev A","client":false,"keys":[]}`, `{"id":11,"device":"Dev A","values":{"fw":1,"fan":true,"mode":3}}`},
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

	// Renamed in the cloud the device goes on under the name that the gateway uses, whichever that
	// is.
	delete(s.book.tokens, "other")
	s.book.enrol("other", registry.Device{ID: proto.UUID{0x03}, Name: "Dev A2"})
	s.DeviceChanged(registry.Device{ID: proto.UUID{0x03}, Name: "Dev A2"}, registry.DeviceRenamed)
	for _, name := range []string{"Dev A", "Dev A2"} {
		g.ask("v1/gateway/attributes", `{"`+name+`":{"fw":"2x"}}`, 9)
		s.SharedAttributes(proto.UUID{0x03}, []proto.KV{boolean("fan", true)}, nil)
		g.expect(`v1/gateway/attributes {"device":"` + name + `","data":{"fan":true}}`)
	}
	if events := s.intake.durable(); events[len(events)-1].Entity != (proto.UUID{0x03}) || events[len(events)-2].Entity != (proto.UUID{0x03}) || len(s.book.births) != 2 {
		t.Errorf("a renamed device was made anew: %+v", s.book.births)
	}
	s.book.enrol("other", registry.Device{ID: proto.UUID{0x03}, Name: "Dev A"})
	g.ask("v1/gateway/attributes", `{"Dev A":{"fw":"3x"}}`, 9)

	// The device comes itself: the gateway loses it without a word, and takes it back with its next
	// publish.
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

// A gateway is told what happens to its devices: the one that speaks for them, or else the one that
// did last.
func TestGatewayIsToldOfItsDevices(t *testing.T) {
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
		{"renamed, and away", registry.Device{ID: proto.UUID{9}, Name: `New "B"`, WasNamed: "B", LastGateway: gatewayID}, registry.DeviceRenamed, `02 gateway_device_renamed {"B":"New \"B\""}`},
		{"deleted, and away", registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: gatewayID}, registry.DeviceDeleted, `02 gateway_device_deleted "B"`},
		{"another gateway speaks for it now", registry.Device{ID: a.ID, Name: "A2", WasNamed: "A", LastGateway: other.ID}, registry.DeviceRenamed, `02 gateway_device_renamed {"A":"A2"}`},
		{"renamed, and goes by its old name too", registry.Device{ID: proto.UUID{9}, Name: "B2", LastGateway: gatewayID}, registry.DeviceRenamed, ""},
		{"something else", registry.Device{ID: proto.UUID{9}, Name: "B2", LastGateway: gatewayID}, registry.ProfileChanged | registry.CredentialsChanged, ""},
		{"a gateway that is not here", registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: proto.UUID{0x66}}, registry.DeviceDeleted, ""},
		{"a gateway that is none any more", registry.Device{ID: proto.UUID{9}, Name: "B", LastGateway: lampID}, registry.DeviceDeleted, ""},
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
	invalid := []string{
		"telemetry {", "telemetry {\"A\":5}", `telemetry {"A":[{"a":1},5]}`, `telemetry {"A":[{"ts":"x","values":{}}],"B":[{"a":1}]}`, `telemetry {"":[{"a":1}]}`,
		`telemetry {"<b>x":[{"a":1}]}`, `telemetry []`, `telemetry `, `telemetry {"A":[{"a":1}]} x`, `attributes {"A":[1]}`, `attributes {"A":{"a":1},"B":5}`,
		`attributes {"` + strings.Repeat("x", 256) + `":{"a":1}}`, `connect {"device":`, `connect {"device":"A","type":""}`, `claim {"A":{"durationMs":"x"}}`,
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
		`connect {}`, `connect []`, `connect `, `connect {"device":null}`, `connect {"device":""}`, `disconnect {}`, `rpc {"device":"A","id":1}`,
		`rpc {"device":"A","id":"one","data":1}`, `attributes/request {"device":"A","id":1,"key":"k"}`, `attributes/request {"device":"A","client":true,"key":"k"}`,
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

	// A device that is no gateway: never a success.
	d := s.dial(5, "lamp")
	d.publish("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 1)
	d.puback(1, reasonNotAuthorized)
	d = s.dial(4, "lamp")
	d.publish("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 1)
	d.ask("v1/devices/me/telemetry", `{"a":1}`, 2) // the one before has no answer
}

func TestMQTTProvisioning(t *testing.T) {
	s := newStand(t, true)
	create, check, off := proto.UUID{0xf1}, proto.UUID{0xf2}, proto.UUID{0xf3}
	s.book.profiles[create] = registry.Profile{ID: create, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
	s.book.profiles[check] = registry.Profile{ID: check, Name: "check", Provisioning: "CHECK_PRE_PROVISIONED_DEVICES"}
	s.book.profiles[off] = registry.Profile{ID: off, Name: "off", Provisioning: "X509_CERTIFICATE_CHAIN"}
	s.book.tokens["pre"] = registry.Device{ID: proto.UUID{5}, Name: "Pre", ProfileID: check}
	s.book.secrets[proto.UUID{5}] = `{"credentialsType":"X509_CERTIFICATE","credentialsId":"h","credentialsValue":"MIIB"}`
	ask := func(fields string) string {
		d := s.pipe(4)
		if code := d.connect("", "provision", ""); code != 0 {
			t.Fatalf("CONNACK %d", code)
		}
		if code := d.subscribe("v1/devices/me/attributes", 1); code != 0x80 {
			t.Errorf("another filter: %#x", code)
		}
		d.subscribe("/provision/response", 0)
		d.publish("/provision/request", fields, 0)
		topic, payload, _ := d.message()
		if topic != "/provision/response" {
			t.Errorf("answer on %s", topic)
		}
		return payload
	}
	with := func(profile, more string) string {
		return `{"provisionDeviceKey":"key of ` + profile + `","provisionDeviceSecret":"secret of ` + profile + `"` + more + `}`
	}
	for _, c := range []struct{ request, want string }{
		{with("create", `,"deviceName":"N1","token":"mine"`), `{"credentialsValue":"mine","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`},
		{with("create", `,"deviceName":"N1"`), provisionFailure},                // the name is taken
		{with("create", `,"deviceName":"N2","token":"lamp"`), provisionFailure}, // the token is taken
		{with("create", `,"deviceName":"N3"`), `{"credentialsValue":"generated2","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`},
		{
			with("create", `,"deviceName":"N4","credentialsType":"MQTT_BASIC","clientId":"c","username":"u"`),
			`{"credentialsValue":{"clientId":"c","userName":"u","password":""},"credentialsType":"MQTT_BASIC","status":"SUCCESS"}`,
		},
		{with("create", `,"deviceName":"N5","credentialsType":"MQTT_BASIC"`), `{"credentialsValue":"generated4","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`},
		{with("check", `,"deviceName":"Pre"`), `{"credentialsValue":"MIIB","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}`},
		{with("check", `,"deviceName":"Lamp"`), provisionFailure}, // of another profile
		{with("check", ``), provisionFailure},
		{with("off", ``), provisionNotFound},
		{with("nobody", ``), provisionNotFound},
	} {
		if got := ask(c.request); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.request, got, c.want)
		}
	}
	if n := len(s.intake.durable()); n != 5 { // provisionState for each success
		t.Errorf("%d events", n)
	}
	s.book.attributes[registry.ServerScope][proto.UUID{5}] = []proto.KV{long("provisionState", 0)}
	if got := ask(with("check", `,"deviceName":"Pre"`)); got != provisionFailure {
		t.Errorf("provisioned twice: %s", got)
	}
	for _, b := range s.book.births {
		if b.Type != "create" {
			t.Errorf("%+v", b)
		}
	}
	d := s.pipe(5)
	d.connect("provision", "", "")
	d.publish("/provision/request", `{"provisionDeviceKey":"k"}`, 1)
	d.puback(1, reasonUnspecified)
	d.closed(reasonUnspecified)
	d = s.pipe(5)
	d.connect("", "provision", "")
	d.publish("v1/devices/me/telemetry", `{"a":1}`, 1)
	d.puback(1, reasonTopic)
	d.closed(reasonTopic)
	if !json.Valid(sessionLimits(true)) {
		t.Error("limits are no JSON")
	}
}

func unmarshalFragment(t *testing.T, fragment []byte) *proto.EntityDataProto {
	t.Helper()
	var m proto.UplinkMsg
	if err := pb.Unmarshal(fragment, &m); err != nil || len(m.EntityData) != 1 {
		t.Fatalf("%v: %x", err, fragment)
	}
	return m.EntityData[0]
}
