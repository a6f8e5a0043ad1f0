package payload

import (
	"fmt"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

var testID = proto.UUID{0x78, 0x4f, 0x39, 0x4c, 0x42, 0xb6, 0x43, 0x5a, 0x98, 0x3c, 0xb7, 0xbe, 0xff, 0x27, 0x84, 0xf9}

const testNow = 1767225600123

// decode returns the single EntityDataProto of each event, as the server would read it.
func decode(t testing.TB, events []proto.Event) []*proto.EntityDataProto {
	t.Helper()
	var out []*proto.EntityDataProto
	for i, e := range events {
		var m proto.UplinkMsg
		if err := pb.Unmarshal(e.Fragment, &m); err != nil {
			t.Fatalf("event %d does not decode (invalid UTF-8 included): %v", i, err)
		}
		if len(m.EntityData) != 1 {
			t.Fatalf("event %d holds %d EntityDataProto, want 1", i, len(m.EntityData))
		}
		if e.Kind != proto.KindEntityData || e.Entity != testID || e.Time != testNow {
			t.Fatalf("event %d has kind %d, entity %x, time %d", i, e.Kind, e.Entity, e.Time)
		}
		out = append(out, m.EntityData[0])
	}
	return out
}

// TestTelemetryForms goes through the forms of telemetry in API.md 1.1.
func TestTelemetryForms(t *testing.T) {
	now := func(kvs string) string { return fmt.Sprintf("%d %s", int64(testNow), kvs) }
	for _, c := range []struct {
		json string
		want []string
	}{
		{`{"temperature":21.5,"door":true}`, []string{now("temperature=d21.5 door=btrue")}},
		{"\ufeff \r\n\t{ } \n", []string{now("")}},
		{`{"ts":1767225600000,"values":{"temperature":21.5}}`, []string{"1767225600000 temperature=d21.5"}},
		{`{"values":{"a":1},"x":{"y":2},"ts":7,"":null}`, []string{"7 a=l1"}},
		{`{"t\u0073":7,"value\u0073":{"a":1}}`, []string{"7 a=l1"}},
		{`{"ts":1,"values":{"a":1},"ts":2,"values":{"b":2}}`, []string{"2 b=l2"}},
		{`[{"ts":1,"values":{"a":1}},{"b":2},{"ts":-1,"values":{}}]`, []string{"1 a=l1", now("b=l2"), "-1 "}},
		{`[]`, nil},
		{` [ ] `, nil},
		{`{"ts":5}`, []string{now("ts=l5")}},
		{`{"values":{"a":1}}`, []string{now(`values=j{"a":1}`)}},
		{`{"ts":1,"values":{"ts":2}}`, []string{"1 ts=l2"}},
		{`{"ts":1,"values":{"ts":2,"values":null}}`, []string{"1 ts=l2"}},
		// The time.
		{`{"ts":"1767225600000","values":{}}`, []string{"1767225600000 "}},
		{`{"ts":"+5","values":{}}`, []string{"5 "}},
		{`{"ts":1.7e12,"values":{}}`, []string{"1700000000000 "}},
		{`{"ts":1767225600000.9,"values":{}}`, []string{"1767225600000 "}},
		{`{"ts":-1.9,"values":{}}`, []string{"-1 "}},
		{`{"ts":12.00000000000000000001,"values":{}}`, []string{"12 "}},
		{`{"ts":[1767225600000],"values":{}}`, []string{"1767225600000 "}},
		{`{"ts":[["5"]],"values":{}}`, []string{"5 "}},
		{`{"ts":0,"values":{}}`, []string{"0 "}},
		{`{"ts":253402300799999,"values":{}}`, []string{"253402300799999 "}},
		{`{"ts":-62135596800000,"values":{}}`, []string{"-62135596800000 "}},
		// Equal keys: the last wins, also a last null, and however they are written.
		{`{"a":1,"b":2,"a":3}`, []string{now("a=l3 b=l2")}},
		{`{"a":1,"b":2,"\u0061":null}`, []string{now("b=l2")}},
		{`{"a":null,"a":4}`, []string{now("a=l4")}},
	} {
		var p Parser
		events, err := p.Telemetry([]byte(c.json), testID, testNow)
		if err != nil {
			t.Errorf("%s: %v", c.json, err)
			continue
		}
		var got []string
		for i, d := range decode(t, events) {
			if events[i].Action != proto.ActionTimeseriesUpdated || d.EntityType != "DEVICE" ||
				len(d.GetPostTelemetryMsg().GetTsKvList()) != 1 {
				t.Errorf("%s: event %d is %v %v", c.json, i, events[i].Action, d)
				continue
			}
			l := d.PostTelemetryMsg.TsKvList[0]
			got = append(got, fmt.Sprintf("%d %s", l.Ts, showAll(l.Kv)))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", c.json, got, c.want)
		}
	}
}

func TestAttributesForm(t *testing.T) {
	var p Parser
	events, err := p.Attributes([]byte(`{"ts":1,"values":{"a":1},"ip":"10.0.0.7"}`), testID, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1 || events[0].Action != proto.ActionPostAttributes {
		t.Fatalf("%d events %v", len(events), events)
	}
	d := decode(t, events)[0]
	if got, want := showAll(d.PostAttributesMsg.Kv), `ts=l1 values=j{"a":1} ip=s"10.0.0.7"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if d.PostAttributeScope != "CLIENT_SCOPE" || d.AttributeTs != nil || d.AttributesUpdatedMsg != nil {
		t.Errorf("want CLIENT_SCOPE and no time, got %v", d)
	}
	if events, err = p.Attributes([]byte(`{}`), testID, testNow); err != nil || len(events) != 0 {
		t.Errorf("{}: %d events, %v; want none", len(events), err)
	}
}

// TestParserIsReusable looks for anything of one payload in the events of the next.
func TestParserIsReusable(t *testing.T) {
	var p Parser
	for range 3 {
		for json, want := range map[string]int{
			`[{"a\n":"x\ty"},{"b":{"c":"\u00fc"}}]`: 2,
			`{"a":1e999999999}`:                     -1, `{"a":"x"`: -1, `{"a":1}`: 1, `[]`: 0, "\xff": -1,
			"[{a:\xff},{b:{c:'\xfc'}}]": 2,
		} {
			events, err := p.Telemetry([]byte(json), testID, testNow)
			if (err != nil) != (want < 0) || want >= 0 && len(events) != want {
				t.Fatalf("%s: %d events, %v", json, len(events), err)
			}
			decode(t, events)
		}
	}
}

func TestParsingDoesNotAllocate(t *testing.T) {
	var p Parser
	body := []byte(`{"ts":1767225600000,"values":` +
		`{"temperature":21.5,"hum\u0069dity":48,"door":true,"state":"open\n","gps":{"lat":52.5}}}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Telemetry(body, testID, testNow); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkTelemetry(b *testing.B) {
	parse(b, `{"ts":1767225600000,"values":`+
		`{"temperature":21.5,"humidity":48,"door":true,"state":"open","battery":3.71}}`)
}

// BenchmarkLenient is BenchmarkTelemetry for the same values in the words of a careless program.
func BenchmarkLenient(b *testing.B) {
	parse(b, `{ts:1767225600000,'values'=`+
		`{temperature=>21.5;humidity:048,door:TRUE,state:open,'battery':nan}}`)
}

func parse(b *testing.B, text string) {
	var p Parser
	body := []byte(text)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Telemetry(body, testID, testNow); err != nil {
			b.Fatal(err)
		}
	}
}
