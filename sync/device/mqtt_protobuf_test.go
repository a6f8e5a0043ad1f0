package device

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// TimedAttributes gives the values the times 1000, 1001 and so on.
func (b *book) TimedAttributes(id proto.UUID, scope registry.Scope, keys []string, fn func(int64, *proto.KV)) {
	ts := int64(1000)
	b.Attributes(id, scope, keys, func(kv *proto.KV) {
		fn(ts, kv)
		ts++
	})
}

// inProtobuf gives the lamp a profile with protobuf payloads.
func (s *stand) inProtobuf(schemas registry.Schemas) {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	s.book.profiles[proto.UUID{0xf0}] = registry.Profile{ConfiguredForMQTT: true, Protobuf: true, Schemas: schemas}
}

// testSchemas are the schemas of the tests, whose messages are written by hand: field number * 8 +
// type, then the value.
var testSchemas = registry.Schemas{
	Telemetry: `syntax = "proto3";
		message Values { optional double temp = 1; int64 count_all = 2; string code = 3; }
		message Post { int64 ts = 1; Values values = 2; }`,
	Attributes: `syntax = "proto3"; enum Mode { OFF = 0; ON = 1; }
		message Attributes { Mode mode = 1; optional bool fan = 2; repeated int32 pins = 3;
		message Place { float x = 1; } Place place = 4; bytes raw = 5; }`,
	Call: `syntax = "proto3"; message Pin { int32 pin = 1; bool on = 2; }
		message Command { string method = 1; int32 requestId = 2; Pin params = 3; }`,
	Answer: `syntax = "proto3"; message Done { bool ok = 1; }`,
}

func raw(t testing.TB, text string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// values is what an event has, in words.
func values(t *testing.T, e *proto.Event) string {
	t.Helper()
	m := unmarshalFragment(t, e.Fragment)
	var b strings.Builder
	kvs := m.GetPostAttributesMsg().GetKv()
	for _, l := range m.GetPostTelemetryMsg().GetTsKvList() {
		fmt.Fprintf(&b, "%d", l.GetTs())
		kvs = append(kvs, l.GetKv()...)
	}
	for _, m := range kvs {
		kv := proto.KVOf(m)
		fmt.Fprintf(&b, " %s:%s=%s", kv.Key, m.GetType(), proto.AppendJSONValue(nil, &kv))
	}
	return strings.TrimSpace(b.String())
}

// Data come in protobuf on every topic that is protobuf for such a profile, and their values are
// converted like those of JSON.
func TestProtobufData(t *testing.T) {
	s := newStand(t, true)
	s.inProtobuf(testSchemas)
	d := s.dial(5, "lamp")
	const telemetry = "08 e807 12 10 09 0000000000003540 10 05 1a 03 303132"
	for i, topic := range []string{"v1/devices/me/telemetry", "v2/t", "v2/t/p"} {
		d.ask(topic, raw(t, telemetry), 1)
		if got := values(t, &s.intake.durable()[i]); got != `1000 temp:DOUBLE_V=21.0 countAll:LONG_V=5 code:LONG_V=12` {
			t.Errorf("%s: %s", topic, got)
		}
	}
	d.ask("v2/t/j", `{"a":1}`, 1)
	const attributes = "08 01 1a 02 0102 22 05 0d 0000003f 2a 01 ff"
	for i, topic := range []string{"v1/devices/me/attributes", "v2/a", "v2/a/p"} {
		d.ask(topic, raw(t, attributes), 1)
		want := `mode:STRING_V="ON" pins:JSON_V=[1,2] place:JSON_V={"x":0.5} raw:STRING_V="/w=="`
		if got := values(t, &s.intake.durable()[4+i]); got != want {
			t.Errorf("%s: %s", topic, got)
		}
	}
	d.ask("v2/a/j", `{"a":1}`, 1)
	if n := len(s.intake.durable()); n != 8 {
		t.Errorf("%d events", n)
	}
}

// A payload that is no protobuf of the schema is refused like bad JSON.
func TestProtobufInvalid(t *testing.T) {
	bad := registry.Schemas{Telemetry: `syntax = "proto2"; message A {}`}
	for _, c := range []struct {
		schemas        registry.Schemas
		topic, payload string
	}{
		{testSchemas, "v1/devices/me/telemetry", "\x08"},
		{testSchemas, "v1/devices/me/telemetry", `{"ts":1,"values":{"temp":1}}`},
		{testSchemas, "v2/t/p", `{"temp":1}`},
		{testSchemas, "v2/a/p", "\x08\xff"},
		{testSchemas, "v2/a/req/p/1", "\x0a\x05a"},
		{testSchemas, "v2/a/req/1", `{}`},
		{testSchemas, "v2/r/res/p/1", "\x08"},
		{testSchemas, "v2/r/req/p/1", "\x0a\x01m\x12\x01{"},
		{testSchemas, "v2/r/req/p/1", "\x0a\x01\xff"},
		{testSchemas, "v1/devices/me/claim", "\x0a\x05a"},
		{registry.Schemas{}, "v1/devices/me/telemetry", ""},
		{registry.Schemas{}, "v1/devices/me/attributes", ""},
		{registry.Schemas{}, "v2/r/res/p/1", ""},
		{bad, "v1/devices/me/telemetry", ""},
	} {
		s := newStand(t, true)
		s.inProtobuf(c.schemas)
		d := s.dial(4, "lamp")
		d.publish(c.topic, c.payload, 1)
		d.closed(reasonPayload)
		d = s.dial(5, "lamp")
		d.publish(c.topic, c.payload, 1)
		d.puback(1, reasonPayload)
		d.alive()
		if n := len(s.intake.durable()); n != 0 {
			t.Errorf("%s %q: %d events", c.topic, c.payload, n)
		}
	}
	// Without such a profile the topics with /p have schemas for requests only.
	s := newStand(t, true)
	d := s.dial(5, "lamp")
	for _, topic := range []string{"v2/t/p", "v2/a/p", "v2/r/res/p/1"} {
		d.publish(topic, "", 1)
		d.puback(1, reasonPayload)
	}
	d.ask("v2/a/req/p/3", "", 2)
	d.expect("v2/a/res/p/3 \x08\x03")
}

// With both flags of the profile a payload that is no protobuf is read as JSON, and JSON goes down
// on v1 topics.
func TestProtobufCompatibility(t *testing.T) {
	s := newStand(t, true)
	both := testSchemas
	both.JSONToo = true
	s.inProtobuf(both)
	s.book.attributes[registry.SharedScope][lampID] = []proto.KV{long("a", 1)}
	d := s.dial(5, "lamp")
	d.ask("v1/devices/me/telemetry", `{"ts":5,"values":{"temp":1}}`, 1)
	d.ask("v2/a", `{"x":true}`, 1)
	d.ask("v2/t", raw(t, "08 06 12 00"), 1)
	d.publish("v2/t/p", `{"temp":1}`, 1)
	d.puback(1, reasonPayload)
	d.publish("v2/t", `{"temp"`, 1)
	d.puback(1, reasonPayload)
	for i, want := range []string{`5 temp:LONG_V=1`, `x:BOOLEAN_V=true`, `6 countAll:LONG_V=0 code:STRING_V=""`} {
		if got := values(t, &s.intake.durable()[i]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	const response = "\x08\x01\x1a\x0c\x08\xe8\x07\x12\x07\x0a\x01a\x10\x01\x20\x01" // as protobuf
	d.ask("v1/devices/me/attributes/request/1", `{"sharedKeys":"a"}`, 1)
	d.expect("v1/devices/me/attributes/response/1 " + response)
	both.JSONDown = true
	s.inProtobuf(both)
	lamp, _ := s.book.ByID(lampID)
	s.DeviceChanged(lamp, registry.ProfileChanged) // the session follows
	d.ask("v1/devices/me/attributes/request/1", `{"sharedKeys":"a"}`, 1)
	d.expect(`v1/devices/me/attributes/response/1 {"shared":{"a":1}}`)
	d.ask("v2/a/req/1", "\x12\x01a", 1)
	d.expect("v2/a/res/1 " + response)
	s.inProtobuf(registry.Schemas{})
	s.DeviceChanged(lamp, registry.ProfileChanged)
	d.publish("v1/devices/me/telemetry", `{"a":1}`, 1)
	d.puback(1, reasonPayload)
	s.book.mu.Lock()
	s.book.profiles[proto.UUID{0xf0}] = registry.Profile{}
	s.book.mu.Unlock()
	s.DeviceChanged(lamp, registry.ProfileChanged)
	d.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
}

// Attributes go down in the server's own messages.
func TestProtobufAttributes(t *testing.T) {
	s := newStand(t, true)
	s.inProtobuf(testSchemas)
	s.book.attributes[registry.ClientScope][lampID] = []proto.KV{
		long("a", 1), {Key: []byte("b"), Type: proto.KeyValueType_STRING_V, Str: []byte("x")},
	}
	s.book.attributes[registry.SharedScope][lampID] = []proto.KV{
		boolean("fan", true), {Key: []byte("t"), Type: proto.KeyValueType_DOUBLE_V, Double: 21},
	}
	d := s.dial(5, "lamp")
	const (
		a   = "08e807 1207 0a0161 1001 2001"
		b   = "08e907 1208 0a0162 1003 320178"
		fan = "08e807 1207 0a0366616e 1801"
		tt  = "08e907 120e 0a0174 1002 290000000000003540"
	)
	for _, c := range []struct{ request, want string }{
		{"", "0807 120c" + a + " 120d" + b + " 1a0c" + fan + " 1a13" + tt},
		{"0a0161", "0807 120c" + a},
		{"0a03612c78 120366616e", "0807 120c" + a + " 1a0c" + fan + " 2001"},
		{"120178", "0807"},
	} {
		for _, topic := range [][2]string{
			{"v1/devices/me/attributes/request/7", "v1/devices/me/attributes/response/7"},
			{"v2/a/req/7", "v2/a/res/7"},
			{"v2/a/req/p/7", "v2/a/res/p/7"},
		} {
			d.ask(topic[0], raw(t, c.request), 1)
			d.expect(topic[1] + " " + raw(t, c.want))
		}
	}
	d.ask("v2/a/req/j/7", `{"clientKeys":"a"}`, 1)
	d.expect(`v2/a/res/j/7 {"client":{"a":1}}`)

	set := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_DOUBLE_V, Double: 21}, boolean("fan", true)}
	first, second := strings.Replace(tt, "e907", "e807", 1), strings.Replace(fan, "e807", "e907", 1)
	for _, filter := range []string{"v1/devices/me/attributes", "v2/a", "v2/a/p"} {
		d.subscribe(filter, 1)
		s.SharedAttributes(lampID, set, nil)
		d.expect(filter + " " + raw(t, "0a13"+first+"0a0c"+second))
		s.SharedAttributes(lampID, nil, []string{"fan", "x"})
		d.expect(filter + " " + raw(t, "120366616e 120178"))
	}
	d.subscribe("v2/a/j", 1)
	s.SharedAttributes(lampID, set[1:], nil)
	d.expect(`v2/a/j {"fan":true}`)
}

func TestProtobufCommands(t *testing.T) {
	s := newStand(t, true)
	s.inProtobuf(testSchemas)
	d := s.dial(5, "lamp")
	call := agent.Call{Device: lampID, ID: 12, Method: "set", Params: `{"pin":4,"on":true,"more":[1]}`}
	for i, c := range [][3]string{
		{"v1/devices/me/rpc/request/+", "v1/devices/me/rpc/request/12", "v1/devices/me/rpc/response/12"},
		{"v2/r/req/+", "v2/r/req/12", "v2/r/res/12"},
		{"v2/r/req/p/+", "v2/r/req/p/12", "v2/r/res/p/12"},
	} {
		d.subscribe(c[0], 0)
		if !s.Deliver(&call) {
			t.Fatal("nobody took it")
		}
		d.expect(c[1] + " " + raw(t, "0a03736574 100c 1a04 0804 1001"))
		d.ask(c[2], raw(t, "0801"), 1)
		delivered, answers := s.calls.said()
		if len(delivered) != i+1 || len(answers) != i+1 || answers[i] != `01/12 {"ok":true}` {
			t.Errorf("%s %s", delivered, answers)
		}
	}
	d.subscribe("v2/r/req/j/+", 0)
	s.Deliver(&call)
	d.expect(`v2/r/req/j/12 {"method":"set","params":{"pin":4,"on":true,"more":[1]}}`)

	// A command that does not fit the schema is answered for the device.
	d.subscribe("v2/r/req/p/+", 0)
	call.Params = `"eco"`
	if !s.Deliver(&call) {
		t.Error("left to wait")
	}
	d.alive()
	_, answers := s.calls.said()
	const text = `"Failed to convert device RPC command to MQTT msg: set\"eco\""`
	if want := `01/12 {"result":"INVALID_ARGUMENTS","error":` + text + `}`; answers[len(answers)-1] != want {
		t.Errorf("%s", answers)
	}
}

// Calls of the device have requests and answers in protobuf, getSessionLimits on the v1 topic too.
func TestProtobufRequests(t *testing.T) {
	s := newStand(t, true)
	s.inProtobuf(testSchemas)
	d := s.dial(5, "lamp")
	for _, c := range [][2]string{
		{"v1/devices/me/rpc/request/7", "v1/devices/me/rpc/response/7"},
		{"v2/r/req/7", "v2/r/res/7"},
		{"v2/r/req/p/7", "v2/r/res/p/7"},
	} {
		d.ask(c[0], raw(t, "0a0367657412037b7d20"), 1)
		r := <-s.calls.requests
		if r.Device != lampID || r.Method != "get" || strings.TrimSpace(r.Params) != "{}" {
			t.Errorf("%+v", r)
		}
		r.Reply([]byte(`{"now":5}`), nil)
		d.expect(c[1] + " " + raw(t, "0807 1209") + `{"now":5}`)
		d.ask(c[0], raw(t, "0a03676574"), 1)
		if r = <-s.calls.requests; r.Params != "null" {
			t.Errorf("%+v", r)
		}
		r.Reply(nil, agent.ErrTimeout)
		d.expect(c[1] + " " + raw(t, "0807 1a07") + "timeout")
	}
	d.ask("v1/devices/me/rpc/request/7", raw(t, "0a10")+"getSessionLimits", 1)
	limits := sessionLimits(false)
	d.expect("v1/devices/me/rpc/response/7 " + string(appendText([]byte{8, 7}, 2, limits)))
	d.ask("v1/devices/me/claim", raw(t, "0a0173 10e807"), 1)
}

func TestProtobufProvisioning(t *testing.T) {
	s := newStand(t, true)
	create := proto.UUID{0xf1}
	s.book.profiles[create] = registry.Profile{ID: create, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
	// The numbers are those of the server's ProvisionDeviceRequestMsg.
	text := func(dst []byte, field protowire.Number, v string) []byte { return appendText(dst, field, []byte(v)) }
	request := func(name string, kind int64, credentials []byte, gateway int64) string {
		profile := text(text(nil, 1, "key of create"), 2, "secret of create")
		b := appendText(appendVarint(text(nil, 1, name), 2, kind), 3, profile)
		return string(appendVarint(appendText(b, 4, credentials), 5, gateway))
	}
	token := appendText(nil, 1, text(nil, 1, "mine"))
	hash := appendText(nil, 2, text(nil, 1, "MIIB"))
	basic := appendText(nil, 3, text(text(text(nil, 1, "c"), 2, "u"), 3, "p"))
	d := s.pipe(5)
	d.connect("", "provision", "")
	for _, c := range []struct{ request, want string }{
		{"", "\x08\x02"}, // NOT_FOUND, as a running server answered (API.md 5)
		{request("N1", 0, token, 1), "\x08\x01\x1a\x04mine"},
		{request("N1", 0, nil, 0), "\x08\x03"},
		{request("N2", 1, hash, 0), "\x08\x01\x10\x01\x1a\x04MIIB"},
		{request("N3", 2, basic, 0), "\x08\x01\x10\x02\x1a\x2e" + `{"clientId":"c","userName":"u","password":"p"}`},
		{`{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`, provisionNotFound}, // JSON still
	} {
		d.ask("/provision/request", c.request, 1)
		if topic, got, _ := d.message(); topic != "/provision/response" || got != c.want {
			t.Errorf("%q on %s\nwant %q", got, topic, c.want)
		}
	}
	var made []string
	for _, b := range s.book.births {
		made = append(made, fmt.Sprintf("%s %t %s", b.Name, b.IsGateway, b.CredentialsType))
	}
	if want := "[N1 true ACCESS_TOKEN N2 false X509_CERTIFICATE N3 false MQTT_BASIC]"; fmt.Sprint(made) != want {
		t.Errorf("created %s, want %s", made, want)
	}
	d.publish("/provision/request", "\x0a\x05a", 1)
	d.puback(1, reasonPayload)
	d.publish("/provision/request", request("N9", 3, nil, 0), 1)
	d.puback(1, reasonUnspecified)
	d.closed(reasonUnspecified)
}

// The cache of schemas does not grow with the number of schemas.
func TestSchemasAreBounded(t *testing.T) {
	var c schemas
	for i := range 3 * maxSchemas / 1024 {
		text := fmt.Sprintf(`syntax = "proto3"; message A { int32 a%d = 1; }%1000s`, i, "")
		m, err := c.parse(text)
		again, _ := c.parse(text)
		kept := 0
		for text := range c.byText {
			kept += len(text)
		}
		if err != nil || m != again || kept > maxSchemas || kept != c.bytes {
			t.Fatalf("%v, %d bytes in %d", err, kept, len(c.byText))
		}
	}
}
