package device

import (
	"fmt"
	"slices"
	"strings"
	"testing"

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
	s.book.attributes[registry.SharedScope][lampID] = []proto.KV{
		boolean("fan", true), {Key: []byte("t"), Type: proto.KeyValueType_DOUBLE_V, Double: 21},
	}
	d := s.dial(5, "lamp")
	for _, c := range []struct{ topic, payload, want string }{
		{
			"v1/devices/me/attributes/request/1", `{"clientKeys":"a,b","sharedKeys":"fan"}`,
			`v1/devices/me/attributes/response/1 {"client":{"a":1,"b":2},"shared":{"fan":true}}`,
		},
		{
			"v1/devices/me/attributes/request/007", `{"clientKeys":"b,x"}`,
			`v1/devices/me/attributes/response/7 {"client":{"b":2}}`,
		},
		{
			"v1/devices/me/attributes/request/2", `{"sharedKeys":"t"}`,
			`v1/devices/me/attributes/response/2 {"shared":{"t":21.0}}`,
		},
		{
			"v1/devices/me/attributes/request/3", `{}`,
			`v1/devices/me/attributes/response/3 {"client":{"a":1,"b":2},"shared":{"fan":true,"t":21.0}}`,
		},
		{
			"v1/devices/me/attributes/request/5", `{sharedKeys='t'}`,
			`v1/devices/me/attributes/response/5 {"shared":{"t":21.0}}`,
		},
		{"v1/devices/me/attributes/request/4", `{"clientKeys":"x"}`, `v1/devices/me/attributes/response/4 {}`},
		{
			"v1/devices/me/attributes/request/5", `{"clientKeys":["a"]}`,
			`v1/devices/me/attributes/response/5 {"client":{"a":1}}`,
		},
		// the server never answers this
		{"v1/devices/me/attributes/request/6", `{"clientKeys":""}`, `v1/devices/me/attributes/response/6 {}`},
		{"v2/a/req/8", `{"clientKeys":"a"}`, `v2/a/res/8 {"client":{"a":1}}`},
		{"v2/a/req/j/9", `{"clientKeys":"a"}`, `v2/a/res/j/9 {"client":{"a":1}}`},
	} {
		d.ask(c.topic, c.payload, 1)
		d.expect(c.want)
	}
	for _, c := range [][2]string{
		{"1", `{"clientKeys":null}`},
		{"1", `{"clientKeys":["a","b"]}`},
		{"99999999999", `{}`},
		{"x", `{}`},
		{"1", ``},
		{"1", `[]`},
		{"1", `{"clientKeys":"a"`},
	} {
		d.publish("v1/devices/me/attributes/request/"+c[0], c[1], 1)
		d.puback(1, reasonPayload)
	}
	// The answer has the quality of service of the subscription.
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
	s.book.profiles[proto.UUID{0xf0}] = registry.Profile{
		ConfiguredForMQTT: true, TelemetryTopic: "my/t", AttributesTopic: "my/a", SubscribeTopic: "my/shared",
	}
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

// Commands go to subscribers only. Those that have no answer yet come again at each subscription,
// behind its SUBACK. Answers are taken whenever they come.
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
	// The answer comes before the PUBACK of the command (API.md 9).
	d.ask("v1/devices/me/rpc/response/14", `{"ok":true}`, 77)
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
	// A one-way call is over when it was handed over, whether the device acknowledges it or not.
	d.subscribe("v1/devices/me/rpc/request/+", 1)
	for range 2 {
		d.read() // the two that have no answer yet
	}
	s.Deliver(&agent.Call{Device: lampID, ID: 15, Method: "c", OneWay: true})
	if delivered, _ := s.calls.said(); slices.Index(delivered, "01/15") != len(delivered)-1 {
		t.Errorf("delivered %v before the PUBACK", delivered)
	}
	d.read()
	// After a reconnect the commands that have no answer come again.
	d.Close()
	d = s.dial(4, "lamp")
	d.subscribe("v2/r/req/+", 0)
	d.expect(`v2/r/req/12 {"method":"set\"Gpio","params":{"pin":1}}`)
}

// A persistent call that goes with QoS 1 is sent, and then acknowledged; with QoS 0 it is
// delivered. Each PUBACK counts once.
func TestMQTTPersistentCalls(t *testing.T) {
	s := newStand(t, true)
	d := s.dial(4, "lamp")
	if code := d.subscribe("v1/devices/me/rpc/request/+", 1); code != 1 {
		t.Fatalf("SUBACK %#x", code)
	}
	var packets [][]byte
	for id, persisted := range []bool{true, false, true} {
		s.Deliver(&agent.Call{Device: lampID, ID: int32(id), Method: "c", Params: "5", Persisted: persisted})
		_, body := d.read()
		packets = append(packets, body[2+len("v1/devices/me/rpc/request/1"):][:2])
	}
	for _, n := range []int{2, 1, 0, 0} {
		d.write([]byte{0x40, 2, packets[n][0], packets[n][1]})
	}
	d.alive()
	d.subscribe("v1/devices/me/rpc/request/+", 0)
	s.Deliver(&agent.Call{Device: lampID, ID: 9, Method: "c", Persisted: true})
	d.read()
	delivered, _ := s.calls.said()
	if got, want := fmt.Sprint(delivered), "[01/0 sent 01/1 01/2 sent 01/2 acknowledged 01/0 acknowledged 01/9]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestMQTTRequests(t *testing.T) {
	s := newStand(t, true)
	for _, v := range versions {
		d, gw := s.dial(v, "lamp"), s.dial(v, "gateway")
		const none = `{"messages":null,"telemetryMessages":null,"telemetryDataPoints":null}`
		const limits = `{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":` + none
		d.ask("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`, 1)
		d.expect(`v1/devices/me/rpc/response/1 ` + limits + `}`)
		gw.ask("v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{"timeout":5000}}`, 1)
		gw.expect(`v1/devices/me/rpc/response/1 ` + limits + `,"gatewayRateLimits":` + none + `}`)

		d.ask("v1/devices/me/rpc/request/2", `{"method":"getTime"}`, 2)
		r := <-s.calls.requests
		if r.Device != lampID || r.Method != "getTime" || r.Params != "null" || r.Timeout != 0 {
			t.Errorf("%+v", r)
		}
		d.alive()
		r.Reply([]byte(`{"now":5}`), nil)
		d.expect(`v1/devices/me/rpc/response/2 {"now":5}`)
		// On v2 topics getSessionLimits is a call like any other.
		d.ask("v2/r/req/3", `{"method":"getSessionLimits","params":[1]}`, 2)
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
