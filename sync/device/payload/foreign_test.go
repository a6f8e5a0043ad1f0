package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"edgesync/proto"
)

// shaped is what becomes of a message, as text: action, time where it is not testNow, values.
func shaped(t testing.TB, p *Parser, payload string, shape Shape) string {
	t.Helper()
	asked := 0
	events, err := p.Foreign([]byte(payload), &shape, func() (proto.UUID, bool) {
		asked++
		return testID, true
	}, testNow)
	if err != nil {
		if len(events) > 0 || asked > 0 {
			t.Errorf("%q: %d events, asked %d times, with the error %v", payload, len(events), asked, err)
		}
		return "error: " + err.Error()
	}
	if len(events) != asked {
		t.Errorf("%q: %d events, asked %d times for the device", payload, len(events), asked)
	}
	got := ""
	for i, d := range decode(t, events) {
		want := proto.ActionTimeseriesUpdated
		if shape.Attributes {
			want = proto.ActionPostAttributes
		}
		if events[i].Action != want {
			t.Errorf("%q: action %v, want %v", payload, events[i].Action, want)
		}
		for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
			if l.Ts != testNow {
				got += fmt.Sprint("@", l.Ts, " ")
			}
			got += written(l.Kv)
		}
		got += written(d.GetPostAttributesMsg().GetKv())
	}
	return got
}

// Messages as Tasmota, ESPHome, Shelly and zigbee2mqtt send them.
func TestForeignPrograms(t *testing.T) {
	tele, flat := Shape{Key: "state"}, Shape{Key: "state", Flatten: true}
	var p Parser
	for _, c := range []struct {
		name, payload string
		shape         Shape
		want          string
	}{
		{
			"tasmota sensor",
			`{"Time":"2024-05-01T10:20:30","AM2301":{"Temperature":21.4,"Humidity":48.0,"DewPoint":10.0},` +
				`"TempUnit":"C"}`, flat,
			`Time="2024-05-01T10:20:30" AM2301.Temperature=21.4 AM2301.Humidity=48.0 AM2301.DewPoint=10.0 TempUnit="C"`,
		},
		{
			"tasmota sensor as it is", `{"Time":"2024-05-01T10:20:30","AM2301":{"Temperature":21.4}}`, tele,
			`Time="2024-05-01T10:20:30" AM2301={"Temperature":21.4}`,
		},
		{
			"tasmota energy",
			`{"Time":"2024-05-01T10:20:30","ENERGY":{"TotalStartTime":"2023-01-01T00:00:00",` +
				`"Total":123.456,"Power":[15,0],"Factor":0.90}}`, flat,
			`Time="2024-05-01T10:20:30" ENERGY.TotalStartTime="2023-01-01T00:00:00" ` +
				`ENERGY.Total=123.456 ENERGY.Power=[15,0] ENERGY.Factor=0.9`,
		},
		{
			"tasmota state",
			`{"Time":"2024-05-01T10:20:30","Uptime":"0T01:15:09",` +
				`"UptimeSec":4509,"POWER":"ON",` +
				`"Wifi":{"AP":1,"SSId":"home","RSSI":74,"Signal":-63}}`,
			Shape{Prefix: "state.", Flatten: true, Attributes: true},
			`state.Time="2024-05-01T10:20:30" state.Uptime="0T01:15:09" state.UptimeSec=4509 state.POWER="ON" ` +
				`state.Wifi.AP=1 state.Wifi.SSId="home" state.Wifi.RSSI=74 state.Wifi.Signal=-63`,
		},
		{
			"tasmota broken sensor", `{"Time":"2024-05-01T10:20:30","DS18B20":{"Id":"000003287CD8","Temperature":nan}}`, flat,
			`Time="2024-05-01T10:20:30" DS18B20.Id="000003287CD8" DS18B20.Temperature="nan"`,
		},
		{"tasmota will", `Offline`, tele, `state="Offline"`},

		{"esphome sensor", `21.4`, tele, `state=21.4`},
		{"esphome switch", `OFF`, Shape{Key: "relay"}, `relay="OFF"`},
		{"esphome without a value", `nan`, tele, `state="nan"`},
		{"esphome text", `Clear sky, 3 Bft`, tele, `state="Clear sky, 3 Bft"`},
		{
			"esphome light", `{"color_mode":"rgb","state":"ON","brightness":255,"color":{"r":255,"g":0,"b":12}}`,
			Shape{Prefix: "light.", Flatten: true},
			`light.color_mode="rgb" light.state="ON" light.brightness=255 light.color.r=255 light.color.g=0 light.color.b=12`,
		},

		{"shelly gen1 power", `60.25`, Shape{Key: "relay/0/power", Prefix: "m:"}, `m:relay/0/power=60.25`},
		{"shelly gen1 online", `true`, Shape{Key: "online", Attributes: true}, `online=true`},
		{"shelly gen1 input", `0`, Shape{Key: "input/0"}, `input/0=0`},
		{
			"shelly gen1 info",
			`{"wifi_sta":{"connected":true,"ssid":"home","ip":"10.0.0.7","rssi":-58},` +
				`"relays":[{"ison":false}],"update":{}}`, flat,
			`wifi_sta.connected=true wifi_sta.ssid="home" wifi_sta.ip="10.0.0.7" wifi_sta.rssi=-58 ` +
				`relays=[{"ison":false}] update={}`,
		},
		{
			"shelly gen2 switch",
			`{"id":0,"source":"init","output":true,"apower":8.9,"voltage":237.5,` +
				`"aenergy":{"total":6.532,"by_minute":[45.1,0,0],"minute_ts":1626935779},"temperature":{"tC":44.0}}`,
			Shape{Prefix: "switch:0.", Flatten: true},
			`switch:0.id=0 switch:0.source="init" switch:0.output=true switch:0.apower=8.9 ` +
				`switch:0.voltage=237.5 switch:0.aenergy.total=6.532 ` +
				`switch:0.aenergy.by_minute=[45.1,0,0] switch:0.aenergy.minute_ts=1626935779 switch:0.temperature.tC=44.0`,
		},

		{
			"zigbee2mqtt sensor",
			`{"battery":100,"humidity":44.72,"linkquality":120,"temperature":27.34,"last_seen":null,` +
				`"update":{"state":"idle","installed_version":-1}}`, flat,
			`battery=100 humidity=44.72 linkquality=120 temperature=27.34 update.state="idle" update.installed_version=-1`,
		},
		{
			"zigbee2mqtt lamp", `{"state":"ON","color":{"hue":12,"x":0.5,"y":0.4},"color_mode":"xy"}`, tele,
			`state="ON" color={"hue":12,"x":0.5,"y":0.4} color_mode="xy"`,
		},
		{"zigbee2mqtt availability", `{"state":"online"}`, Shape{Prefix: "availability."}, `availability.state="online"`},
		{"zigbee2mqtt, older availability", `online`, Shape{Key: "availability"}, `availability="online"`},
	} {
		if got := shaped(t, &p, c.payload, c.shape); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// written is values as one would write them in JSON: a double has a point, a long has none.
func written(kvs []*proto.KeyValueProto) string {
	var b strings.Builder
	for i, kv := range kvs {
		if i > 0 {
			b.WriteByte(' ')
		}
		text := show(kv)[1:]
		if kv.Type == proto.KeyValueType_DOUBLE_V && !strings.Contains(text, ".") {
			text += ".0"
		}
		b.WriteString(kv.Key + "=" + text)
	}
	return b.String()
}

func TestForeignForms(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 10) + "1" + strings.Repeat("}", 10)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":1`, i)
		}
		return `{"o":{` + b.String()[1:] + `}}`
	}
	tele, flat := Shape{Key: "k"}, Shape{Key: "k", Flatten: true}
	var p Parser
	for _, c := range []struct {
		payload string
		shape   Shape
		want    string
	}{
		// One value.
		{"21.5", tele, "k=21.5"},
		{" 21.5\r\n", tele, "k=21.5"},
		{"\ufeff7", tele, "k=7"},
		{"1e3", tele, "k=1000"},
		{"012", tele, "k=12"},
		{"+5", tele, `k="+5"`},
		{"12:30", tele, `k="12:30"`},
		{"1.2.3", tele, `k="1.2.3"`},
		{"false", tele, "k=false"},
		{"False", tele, `k="False"`},
		{`"21.5"`, tele, "k=21.5"},
		{`"a\u0041\n"`, tele, `k="aA\n"`},
		{`say "hi"`, tele, `k="say \"hi\""`},
		{"two\nlines", tele, `k="two\nlines"`},
		{"on # a comment", tele, `k="on # a comment"`},
		{"#ff0000", tele, `k="#ff0000"`}, // no comment
		{"/dev/ttyUSB0", tele, `k="/dev/ttyUSB0"`},
		{"// {}", tele, `k="// {}"`},
		{"/* x */ 5", tele, `k="/* x */ 5"`},
		{")]}'\n5", tele, `k=")]}'\n5"`},
		{"\u00a0{}", tele, "k=\"\\u00a0{}\""},
		{"[1,2]", tele, "k=[1,2]"},
		{"[0;32m[I] log", tele, `k="[0;32m[I] log"`},
		{"K\xfcche", tele, `k="K` + "\ufffd" + `che"`},
		{"", tele, ""},
		{" \n", tele, ""},
		{"null", tele, ""},
		{"5", Shape{}, `error: the key "" is empty (at byte 0)`},
		{"5", Shape{Key: "<b>"}, `error: the key "<b>" contains markup (at byte 0)`},
		{
			"5",
			Shape{Key: strings.Repeat("k", 200), Prefix: strings.Repeat("p", 56)},
			`error: the key "` + strings.Repeat("p", 40) + `…" is longer than 255 characters (at byte 0)`,
		},
		{"5", Shape{Key: "k", Attributes: true, Prefix: "p."}, "p.k=5"},
		// Objects.
		{"{}", tele, ""},
		{`{"a":null}`, flat, ""},
		{`{a:1,'b':"2"}`, tele, "a=1 b=2"},
		{`{"ts":1000,"values":{"a":{"b":1}}}`, flat, "@1000 a.b=1"},
		{`{"ts":1000,"a":1}`, tele, "ts=1000 a=1"},
		{`{"ts":1000,"values":{"a":1}}`, Shape{Attributes: true, Flatten: true}, "ts=1000 values.a=1"},
		{`{"a":1,"b":{"a":2,"c":{"d":"3","e":null}}}`, flat, "a=1 b.a=2 b.c.d=3"},
		{`{"a":{"b":1},"a.b":2}`, flat, "a.b=2"}, // the last of equal keys wins
		{`{"a.b":2,"a":{"b":1,"b":3}}`, flat, "a.b=3"},
		{`{"a":{},"b":{"c":{}},"d":{"e":[{"f":1}]}}`, flat, `a={} b.c={} d.e=[{"f":1}]`},
		{`{"a":{"":1,"\u00e4\"":2}}`, flat, `a.=1 a.ä"=2`},
		{`{"a":{"b":"c\u0041"}}`, Shape{Prefix: "p-", Flatten: true}, `p-a.b="cA"`},
		{deep, flat, `a.a.a.a.a.a.a.a={"a":{"a":1}}`},
		{`{"a":{"<b":1}}`, flat, `error: the key "a.<b" contains markup (at byte 0)`},
		{
			`{"` + strings.Repeat("a", 200) + `":{"` + strings.Repeat("b", 55) + `":1}}`, flat,
			`error: the key "` + strings.Repeat("a", 40) + `…" is longer than 255 characters (at byte 0)`,
		},
		{many(MaxFlat + 1), flat, "error: more than 1024 keys in one message (at byte 0)"},
		{`{"a":1`, flat, "error: bad JSON: the text ends where ',' or '}' should be (at byte 6)"},
		{`{"a":1} x`, flat, `error: bad JSON: 'x' where the end of the text should be (at byte 8)`},
		{
			`{"a":{"b":}}`, flat,
			`error: bad JSON: '}' where a value (an object, array, string, number, true, false or null) should be (at byte 10)`,
		},
	} {
		if got := shaped(t, &p, c.payload, c.shape); got != c.want {
			t.Errorf("%.80q:\ngot  %s\nwant %s", c.payload, got, c.want)
		}
	}
	if got := shaped(t, &p, many(MaxFlat), flat); strings.Count(got, "o.k") != MaxFlat {
		t.Errorf("%d keys of %d", strings.Count(got, "o.k"), MaxFlat)
	}
	// A device that is not to be made leaves no event.
	events, err := p.Foreign([]byte("1"), &tele, func() (proto.UUID, bool) { return testID, false }, testNow)
	if len(events) != 0 || err != nil {
		t.Errorf("%d events of nobody, %v", len(events), err)
	}
}

// Long prefixes and names do not make much of a small payload.
func TestForeignIsBounded(t *testing.T) {
	deep := func(keys int) string {
		var b strings.Builder
		for range 7 {
			b.WriteString(`{"` + strings.Repeat("n", 30) + `":`)
		}
		b.WriteByte('{')
		for i := range keys {
			fmt.Fprintf(&b, `"%03d":1,`, i)
		}
		return strings.TrimSuffix(b.String(), ",") + strings.Repeat("}", 8)
	}
	var p Parser
	shape := Shape{Flatten: true, Prefix: strings.Repeat("p", 36)} // keys of 36 + 7*31 + 3 = 256 bytes are too long
	if got := shaped(t, &p, deep(1), shape); !strings.HasSuffix(got, "is longer than 255 characters (at byte 0)") {
		t.Errorf("got %s", got)
	}
	shape.Prefix = shape.Prefix[:32] // 252 bytes
	for _, c := range []struct {
		keys int
		bad  bool
	}{{maxFlatBytes / 252, false}, {maxFlatBytes/252 + 1, true}} {
		got := shaped(t, &p, deep(c.keys), shape)
		if bad := got == "error: the keys of one message take more than 131072 bytes (at byte 0)"; bad != c.bad {
			t.Errorf("%d keys: %.200s", c.keys, got)
		}
	}
	if got := p.Retained(); got > 1<<20 {
		t.Errorf("%d bytes are kept", got)
	}
}

// Once its buffers have grown, a parser allocates nothing for a foreign message.
func TestForeignDoesNotAllocate(t *testing.T) {
	var p Parser
	find := func() (proto.UUID, bool) { return testID, true }
	object := []byte(`{"Time":"2024-05-01T10:20:30","AM2301":{"Temperature":21.4,"Humidity":48.0}}`)
	shapes := [...]Shape{{Prefix: "x.", Flatten: true}, {Key: "state"}, {Key: "state"}}
	texts := [...][]byte{object, []byte("21.5"), []byte("ON")}
	if n := testing.AllocsPerRun(100, func() {
		for i, text := range texts {
			if events, err := p.Foreign(text, &shapes[i], find, testNow); len(events) != 1 || err != nil {
				t.Fatal(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzForeign holds what is flattened against what is not, taken apart with encoding/json.
func FuzzForeign(f *testing.F) {
	for _, s := range []string{
		`{"Time":"x","AM2301":{"Temperature":21.4,"a":{"b":{"c":[{}]}}}}`,
		`{"a":{},"a.b":1,"b":{"c":null,"d":{"e":"\ud800"}}}`, "21.5", "ON",
		`{"ts":1,"values":{"a":{"b":"1e400"}}}`, `[{"a":1}]`, "\xff\x00", `{a:{b:'c"',d:NaN}}`, `{"ts":{"":1},"values":2}`,
	} {
		f.Add([]byte(s), "p.", true)
		f.Add([]byte(s), "", false)
	}
	f.Fuzz(func(t *testing.T, body []byte, prefix string, attributes bool) {
		if !utf8.ValidString(prefix) {
			return
		}
		var p, q Parser
		find := func() (proto.UUID, bool) { return testID, true }
		read := func(p *Parser, s Shape) (kvs []*proto.KeyValueProto, err error) {
			events, err := p.Foreign(body, &s, find, testNow)
			checkFuzzed(t, events, err)
			for _, d := range decode(t, events) {
				for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
					kvs = append(kvs, l.Kv...)
				}
				kvs = append(kvs, d.GetPostAttributesMsg().GetKv()...)
			}
			checkKVs(t, kvs)
			return kvs, err
		}
		whole, err := read(&p, Shape{Key: "k", Attributes: attributes})
		text := strings.Trim(strings.TrimPrefix(string(body), "\ufeff"), " \t\r\n")
		if one := text != "" && text != "null" && text[0] != '{'; one && (err != nil || len(whole) != 1 || whole[0].Key != "k") {
			t.Fatalf("%q is %v, %v; want one value", text, whole, err)
		}
		flat, flatErr := read(&q, Shape{Key: "k", Attributes: attributes, Prefix: prefix, Flatten: true})
		if err != nil && flatErr == nil {
			t.Fatalf("%v, and not when flattened", err)
		}
		if flatErr != nil {
			return
		}
		var want []string
		put := func(key, value string) {
			if i := slices.IndexFunc(want, func(s string) bool { return strings.HasPrefix(s, key+"\x01=") }); i >= 0 {
				want[i] = key + "\x01=" + value
				return
			}
			want = append(want, key+"\x01="+value)
		}
		var walk func(key string, text []byte, names int)
		walk = func(key string, text []byte, names int) {
			d := json.NewDecoder(bytes.NewReader(text))
			if tok, _ := d.Token(); tok != json.Delim('{') || names == MaxFlatDepth || !d.More() {
				var one Parser
				events, err := one.Telemetry(append(append([]byte(`{"k":`), text...), '}'), testID, testNow)
				if err != nil {
					t.Fatal(err)
				}
				if kvs := decode(t, events)[0].GetPostTelemetryMsg().GetTsKvList()[0].Kv; len(kvs) == 1 {
					kvs[0].Key = ""
					put(key, show(kvs[0]))
				}
				return
			}
			for d.More() {
				name, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				var raw json.RawMessage
				if err := d.Decode(&raw); err != nil {
					t.Fatal(err)
				}
				walk(key+"."+name.(string), raw, names+1)
			}
		}
		for _, kv := range whole {
			key := prefix + kv.Key
			if kv.Type == proto.KeyValueType_JSON_V {
				walk(key, []byte(kv.JsonV), 1)
				continue
			}
			kv.Key = ""
			put(key, show(kv))
		}
		var got []string
		for _, kv := range flat {
			key := kv.Key
			kv.Key = ""
			got = append(got, key+"\x01="+show(kv))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got\n%q\nwant\n%q", got, want)
		}
	})
}
