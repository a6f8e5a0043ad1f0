package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/foreign"
	"edgesync/sync/registry"
)

// home is the maps of a house with Tasmota, ESPHome, Shelly and zigbee2mqtt.
var home = []foreign.Map{
	{Filter: "zigbee2mqtt/bridge/#", As: foreign.Ignore},
	{Filter: "zigbee2mqtt/+/availability", Device: "$1", As: foreign.Attributes, Key: "availability", Prefix: "z2m."},
	{Filter: "zigbee2mqtt/#", Device: "$1", Type: "zigbee", As: foreign.Telemetry},
	{Filter: "tele/+/SENSOR", Device: "$1", As: foreign.Telemetry, Flatten: true},
	{Filter: "tele/+/LWT", Device: "$1", As: foreign.Attributes, Key: "online"},
	{Filter: "tele/+/STATE", Device: "$1", As: foreign.Attributes, Flatten: true},
	{Filter: "shellies/announce", As: foreign.Ignore},
	{Filter: "shellies/+/#", Device: "$1", As: foreign.Telemetry, Key: "$2"},
	{Filter: "+/status/+", Device: "$1", As: foreign.Telemetry, Prefix: "$2.", Flatten: true},
	{Filter: "+/+/+/state", Device: "$1", As: foreign.Telemetry, Key: "$3"},
	{Filter: "boiler/temperature", Device: "Boiler room", As: foreign.Telemetry},
}

func newHome(t *testing.T) *stand {
	s := newStand(t, true)
	var err error
	if s.Foreign, err = foreign.Compile(home); err != nil {
		t.Fatal(err)
	}
	return s
}

// stored lists the durable events: device, action, keys and values.
func (s *stand) stored() string {
	s.Helper()
	names := map[proto.UUID]string{gatewayID: "Gateway", lampID: "Lamp"}
	for i, b := range s.book.births {
		names[proto.UUID{0xbb, byte(i + 1)}] = b.Name
	}
	var lines []string
	for _, e := range s.intake.durable() {
		m := unmarshalFragment(s.T, e.Fragment)
		kvs := m.GetPostAttributesMsg().GetKv()
		for _, list := range m.GetPostTelemetryMsg().GetTsKvList() {
			kvs = append(kvs, list.Kv...)
		}
		line := names[e.Entity] + " " + e.Action.String()
		for _, kv := range kvs {
			line += " " + kv.Key + "="
			switch kv.Type {
			case proto.KeyValueType_BOOLEAN_V:
				line += fmt.Sprint(kv.BoolV)
			case proto.KeyValueType_LONG_V:
				line += fmt.Sprint(kv.LongV)
			case proto.KeyValueType_DOUBLE_V:
				line += fmt.Sprint(kv.DoubleV)
			case proto.KeyValueType_JSON_V:
				line += kv.JsonV
			default:
				line += fmt.Sprintf("%q", kv.StringV)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// What Tasmota, ESPHome, Shelly and zigbee2mqtt publish arrives, in each version of MQTT.
func TestForeignTopics(t *testing.T) {
	for _, version := range []byte{3, 4, 5} {
		s := newHome(t)
		g := s.dial(version, "gateway")
		for i, m := range [][2]string{
			{"tele/tasmota_3F/LWT", "Online"},
			{"tele/tasmota_3F/SENSOR", `{"Time":"2024-05-01T10:20:30","AM2301":{"Temperature":21.4,"Humidity":48.5},"TempUnit":"C"}`},
			{"tele/tasmota_3F/STATE", `{"POWER":"ON","Wifi":{"RSSI":74}}`},
			{"node/sensor/water_temperature/state", "55.25"},
			{"node/binary_sensor/door/state", "ON"},
			{"node/sensor/uptime/state", "4509"},
			{"shellies/announce", `{"id":"shelly1pm-AA"}`},
			{"shellies/shelly1pm-AA/relay/0", "on"},
			{"shellies/shelly1pm-AA/relay/0/power", "60.25"},
			{"shellies/shelly1pm-AA/online", "true"},
			{"shellyplus1-08/status/switch:0", `{"id":0,"output":false,"apower":8.9,"aenergy":{"total":6.532,"by_minute":[45.1,0]}}`},
			{"shellyplus1-08/status/sys", `{"mac":"08B61F","uptime":12}`},
			{"zigbee2mqtt/bridge/state", `{"state":"online"}`},
			{"zigbee2mqtt/bridge/devices", `[not even JSON`},
			{"zigbee2mqtt/pantry", `{"humidity":44.72,"temperature":27.34,"last_seen":null}`},
			{"zigbee2mqtt/pantry/availability", "online"},
			{"zigbee2mqtt/floor 1/lamp", `{"state":"ON","color":{"x":0.5}}`},
			{"boiler/temperature", "71"},
			{"boiler/temperature", ""}, // what ends a retained message
		} {
			g.ask(m[0], m[1], uint16(i+1))
		}
		want := `tasmota_3F POST_ATTRIBUTES online="Online"
tasmota_3F TIMESERIES_UPDATED Time="2024-05-01T10:20:30" AM2301.Temperature=21.4 AM2301.Humidity=48.5 TempUnit="C"
tasmota_3F POST_ATTRIBUTES POWER="ON" Wifi.RSSI=74
node TIMESERIES_UPDATED water_temperature=55.25
node TIMESERIES_UPDATED door="ON"
node TIMESERIES_UPDATED uptime=4509
shelly1pm-AA TIMESERIES_UPDATED relay/0="on"
shelly1pm-AA TIMESERIES_UPDATED relay/0/power=60.25
shelly1pm-AA TIMESERIES_UPDATED online=true
shellyplus1-08 TIMESERIES_UPDATED switch:0.id=0 switch:0.output=false switch:0.apower=8.9 switch:0.aenergy.total=6.532 switch:0.aenergy.by_minute=[45.1,0]
shellyplus1-08 TIMESERIES_UPDATED sys.mac="08B61F" sys.uptime=12
pantry TIMESERIES_UPDATED humidity=44.72 temperature=27.34
pantry POST_ATTRIBUTES z2m.availability="online"
floor 1/lamp TIMESERIES_UPDATED state="ON" color={"x":0.5}
Boiler room TIMESERIES_UPDATED temperature=71`
		if got := s.stored(); got != want {
			t.Errorf("version %d:\n%s\nwant\n%s", version, got, want)
		}
		var births []string
		for _, b := range s.book.births {
			if b.Gateway != gatewayID {
				t.Errorf("%s is not the gateway's", b.Name)
			}
			births = append(births, b.Name+":"+b.Type)
		}
		if got := strings.Join(births, " "); got != "tasmota_3F: node: shelly1pm-AA: shellyplus1-08: pantry:zigbee "+
			"floor 1/lamp:zigbee Boiler room:" {
			t.Errorf("version %d made %s", version, got)
		}
		if log := s.log.String(); log != "" {
			t.Errorf("version %d logs %s", version, log)
		}
		// The gateway speaks for the devices: their commands come to it.
		g.subscribe("v1/gateway/rpc", 1)
		if !s.Deliver(&agent.Call{Device: proto.UUID{0xbb, 1}, ID: 3, Method: "m", Params: "1"}) {
			t.Error("no delivery through the gateway")
		}
		g.expect(`v1/gateway/rpc {"device":"tasmota_3F","data":{"id":3,"method":"m","params":1}}`)
	}
}

// Quality of service, and the flags of retained and repeated messages, change nothing of what is
// stored. A message that comes again is stored again, as on every topic.
func TestForeignTopicsInEachQuality(t *testing.T) {
	s := newHome(t)
	g := s.dial(4, "gateway")
	g.publish("boiler/temperature", "1", 0)
	first := g.publishPacket("boiler/temperature", "2", 7)
	g.write(first)
	g.puback(7, 0)
	first[0] |= 8 | 1 // repeated, retained
	g.write(first)
	g.puback(7, 0)
	second := g.publishPacket("boiler/temperature", "3", 8)
	second[0] = 0x34 // QoS 2
	g.write(second)
	if head, body := g.read(); head != 0x50 || body[1] != 8 {
		t.Errorf("got %#x %x, want PUBREC 8", head, body)
	}
	g.write([]byte{0x62, 2, 0, 8})
	if head, body := g.read(); head != 0x70 || body[1] != 8 {
		t.Errorf("got %#x %x, want PUBCOMP 8", head, body)
	}
	if got := strings.ReplaceAll(s.stored(), "Boiler room TIMESERIES_UPDATED temperature=", ""); got != "1\n2\n2\n3" {
		t.Errorf("stored %q", got)
	}
}

// Topics without a map, and all topics of a device that is no gateway, are what they are without
// maps: acknowledged, and nothing of them kept. Subscriptions to such topics stay refused.
func TestForeignTopicsWithoutAMap(t *testing.T) {
	for _, c := range []struct {
		token, topic string
		maps         bool
	}{
		{"gateway", "tele/x/RESULT", true},
		{"gateway", "zigbee2mqtt", true},
		{"gateway", "v1/devices/me/nothing", true},
		{"gateway", "tele/x/SENSOR", false},
		{"lamp", "tele/x/SENSOR", true},
		{"lamp", "zigbee2mqtt/bridge/state", true},
	} {
		s := newStand(t, true)
		if c.maps {
			s = newHome(t)
		}
		old := s.dial(4, c.token)
		old.ask(c.topic, "{broken", 1)
		old.publish(c.topic, "1", 0)
		if code := old.subscribe(c.topic, 1); code != 0x80 {
			t.Errorf("%v: SUBACK %#x", c, code)
		}
		old.Close()
		d := s.dial(5, c.token)
		d.publish(c.topic, "1", 2)
		d.puback(2, 0x90)
		if code := d.subscribe(c.topic, 1); code != 0x8f {
			t.Errorf("%v: SUBACK %#x", c, code)
		}
		d.alive()
		if got := s.stored(); got != "" || len(s.book.births) != 0 {
			t.Errorf("%v: stored %s, made %v", c, got, s.book.births)
		}
		if log := s.log.String(); !strings.Contains(log, "was refused: the topic or path does not exist") {
			t.Errorf("%v: the log says %s", c, log)
		}
	}
	// The topics of ThingsBoard are no foreign topics, whatever the maps say.
	s := newStand(t, true)
	s.Foreign, _ = foreign.Compile([]foreign.Map{{Filter: "#", Device: "all", As: foreign.Telemetry}})
	g := s.dial(5, "gateway")
	g.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
	g.ask("v1/gateway/telemetry", `{"sub":[{"a":2}]}`, 2)
	g.ask("v2/t", `{"a":3}`, 3)
	g.publish("v1/gateway/nothing", `{"a":4}`, 4)
	g.puback(4, 0x90)
	if got := s.stored(); got != "Gateway TIMESERIES_UPDATED a=1\nsub TIMESERIES_UPDATED a=2\nGateway TIMESERIES_UPDATED a=3" {
		t.Errorf("stored %s", got)
	}
}

// What cannot be stored is acknowledged and named in the log, and ends no session: its program
// would send it again and again. No device is made for it.
func TestForeignPayloadsThatCannotBeStored(t *testing.T) {
	for _, m := range [][2]string{
		{"tele/x/SENSOR", `{"Time":"2024`},
		{"tele/x/SENSOR", `{"a":{"<b>":1}}`},
		{"zigbee2mqtt/x", `{"":1}`},
		{"node/sensor//state", "5"},                            // no key
		{"tele//SENSOR", `{"a":1}`},                            // no name
		{"tele/<script>/SENSOR", `{"a":1}`},                    // a name that the server refuses
		{"zigbee2mqtt/" + strings.Repeat("x", 256), `{"a":1}`}, // one that is too long
	} {
		s := newHome(t)
		g := s.dial(4, "gateway")
		g.ask(m[0], m[1], 1)
		g.publish(m[0], m[1], 0)
		g.ask("boiler/temperature", "1", 2)
		g.Close()
		g = s.dial(5, "gateway")
		g.publish(m[0], m[1], 3)
		g.puback(3, reasonPayload)
		g.publish(m[0], m[1], 0)
		g.alive()
		if got := s.stored(); got != "Boiler room TIMESERIES_UPDATED temperature=1" || len(s.book.births) != 1 {
			t.Errorf("%.60q: stored %s, made %v", m, got, s.book.births)
		}
		if s.log.String() == "" {
			t.Errorf("%.60q: nothing in the log", m)
		}
	}
	s := newHome(t)
	s.dial(4, "gateway").ask("tele/kitchen/SENSOR", `{"a"`, 1)
	if log := s.log.String(); !strings.Contains(log, "tele/kitchen/SENSOR") || !strings.Contains(log, "bad JSON") {
		t.Errorf("the log does not name topic and reason: %s", log)
	}
}

// A device that cannot be made now, and events that are not stored, are answered as in a message on
// the gateway's own topics.
func TestForeignTopicsAndTheMedium(t *testing.T) {
	s := newHome(t)
	s.book.birthError = registry.ErrFull
	g := s.dial(5, "gateway")
	g.publish("boiler/temperature", "1", 1)
	g.puback(1, reasonQuota)
	s.book.birthError = errors.New("the medium")
	g.publish("boiler/temperature", "1", 2)
	g.closed(reasonQuota)

	s.book.birthError, s.intake.fail = nil, errors.New("the medium")
	g = s.dial(5, "gateway")
	g.publish("boiler/temperature", "1", 1)
	g.closed(reasonQuota)
	s.intake.fail = nil
	g = s.dial(5, "gateway")
	g.ask("boiler/temperature", "1", 1)
	if got := s.stored(); got != "Boiler room TIMESERIES_UPDATED temperature=1" {
		t.Errorf("stored %s", got)
	}
}

// FuzzForeignTopics holds the door against any topic and payload: an answer always comes, and what
// is stored is what the cloud can read.
func FuzzForeignTopics(f *testing.F) {
	for _, s := range [][2]string{
		{"tele/x/SENSOR", `{"a":{"b":1}}`},
		{"shellies/x/relay/0", "on"},
		{"node/sensor/t/state", "nan"},
		{"zigbee2mqtt/a/b", `{"ts":1,"values":{}}`},
		{"/status/", "\xff"},
		{"x/status/\u00e4", "[1"},
		{"a//b/state", `"\ud800"`},
		{"$SYS/a/b/state", "1"},
		{"unknown", ""},
	} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		if len(topic) > 1000 || len(payload) > 4000 || strings.ContainsAny(topic, "+#\x00") || strings.ToValidUTF8(topic, "") != topic ||
			strings.HasPrefix(topic, "v1/") || strings.HasPrefix(topic, "v2/") {
			return
		}
		s := newHome(t)
		g := s.dial(4, "gateway")
		g.ask(topic, string(payload), 1)
		g.alive()
		s.stored()
	})
}
