package payload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

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

// show writes a value with its type: l5, d5, s"5", j{"a":1}, btrue.
func show(kv *proto.KeyValueProto) string {
	switch kv.Type {
	case proto.KeyValueType_BOOLEAN_V:
		return fmt.Sprintf("b%v", kv.BoolV)
	case proto.KeyValueType_LONG_V:
		return fmt.Sprintf("l%d", kv.LongV)
	case proto.KeyValueType_DOUBLE_V:
		if kv.DoubleV == 0 && math.Signbit(kv.DoubleV) {
			return "d-0"
		}
		return fmt.Sprintf("d%v", kv.DoubleV)
	case proto.KeyValueType_STRING_V:
		return fmt.Sprintf("s%q", kv.StringV)
	case proto.KeyValueType_JSON_V:
		return "j" + kv.JsonV
	}
	return fmt.Sprintf("type %d", kv.Type)
}

func showAll(kvs []*proto.KeyValueProto) string {
	var b strings.Builder
	for i, kv := range kvs {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", kv.Key, show(kv))
	}
	return b.String()
}

// TestValues goes through the table of device API 1.3, for telemetry and attributes.
func TestValues(t *testing.T) {
	zeros := strings.Repeat("0", 400)
	for _, c := range []struct{ json, want string }{
		// Booleans.
		{`true`, "btrue"},
		{`false`, "bfalse"},
		// Integral forms.
		{`5`, "l5"},
		{`0`, "l0"},
		{`-0`, "l0"},
		{`0e5`, "l0"},
		{`0e-20`, "l0"},
		{`1e3`, "l1000"},
		{`1E+3`, "l1000"},
		{`1.0e5`, "l100000"},
		{`1.10e1`, "l11"},
		{`100e-2`, "l1"},
		{`-25`, "l-25"},
		{`9223372036854775807`, "l9223372036854775807"},
		{`-9223372036854775808`, "l-9223372036854775808"},
		{`9007199254740993`, "l9007199254740993"},
		// Outside int64.
		{`9223372036854775808`, `s"9223372036854775808"`},
		{`-9223372036854775809`, `s"-9223372036854775809"`},
		{`18446744073709551616`, `s"18446744073709551616"`},
		{`1e19`, `s"10000000000000000000"`},
		{`-1.50e20`, `s"-150000000000000000000"`},
		{`1e400`, `s"1` + zeros + `"`},
		// Doubles.
		{`5.0`, "d5"},
		{`0.0`, "d0"},
		{`-0.0`, "d0"},
		{`15e-1`, "d1.5"},
		{`21.5`, "d21.5"},
		{`-0.1`, "d-0.1"},
		{`10000000.0`, "d1e+07"}, // the server's second pass makes it a long, as if it had come from the device
		{`12345678901234567890.0`, "d1.2345678901234567e+19"},
		{`9223372036854775807.0`, "d9.223372036854776e+18"},
		{`1e-16`, "d1e-16"},
		{`0.3333333333333333`, "d0.3333333333333333"},
		{`123456789012.3456789`, "d1.2345678901234567e+11"},
		{`0.1000000000000000`, "d0.1"},
		{`1` + zeros + `.5`, "d+Inf"},
		// More than 16 decimals.
		{`1.00000000000000000`, `s"1.00000000000000000"`},
		{`0.30000000000000004`, `s"0.30000000000000004"`},
		{`1e-17`, `s"0.00000000000000001"`},
		{`-1.50e-16`, `s"-0.000000000000000150"`},
		{`0.00000000000000000`, `s"0.00000000000000000"`},
		{`-0.00000000000000000`, `s"0.00000000000000000"`},
		// Strings that look like plain numbers.
		{`"12"`, "l12"},
		{`"0012"`, "l12"},
		{`"-7"`, "l-7"},
		{`"-0"`, "l0"},
		{`"1.50"`, "d1.5"},
		{`"5.0"`, "d5"},
		{`".5"`, "d0.5"},
		{`"-.5"`, "d-0.5"},
		{`"٣٤"`, "l34"},
		{`"٣.٥"`, "d3.5"},
		{`"３"`, "l3"},
		{`"\u0031"`, "l1"},
		{`"92233720368547758080"`, `s"92233720368547758080"`},
		{`"0092233720368547758080"`, `s"92233720368547758080"`},
		{`"0.12345678901234567"`, `s"0.12345678901234567"`},
		{`".12345678901234567"`, `s"0.12345678901234567"`},
		// Strings that do not.
		{`"+5"`, `s"+5"`},
		{`" 5"`, `s" 5"`},
		{`"1e5"`, `s"1e5"`},
		{`"5."`, `s"5."`},
		{`"1,5"`, `s"1,5"`},
		{`"--5"`, `s"--5"`},
		{`"-"`, `s"-"`},
		{`"."`, `s"."`},
		{`"1.2.3"`, `s"1.2.3"`},
		{`""`, `s""`},
		{`"NaN"`, `s"NaN"`},
		{`"𝟑"`, `s"𝟑"`}, // a digit outside the basic plane
		{`"true"`, `s"true"`},
		{`"null"`, `s"null"`},
		{`"Grüße 温度 🌡"`, `s"Grüße 温度 🌡"`},
		{`"\u00fc\ud83c\udf21\n\"\\\/\b\f\r\t"`, `s"ü🌡\n\"\\/\b\f\r\t"`},
		{`"a\u0000b"`, `s"a\x00b"`}, // the server removes it
		{`"a\ud800b\udc00"`, `s"a?b?"`},
		{`"\ud800\u0041\ud800"`, `s"?A?"`},
		// Objects and arrays.
		{`{}`, `j{}`},
		{`[]`, `j[]`},
		{` { "unit" : "C" , "list" : [ 1 , 2.0 , null , true , { } ] } `, `j{"unit":"C","list":[1,2.0,null,true,{}]}`},
		{`["a\ud800\"\u003f","\ud83c\udf21",1e100000]`, `j["a?\"\u003f","\ud83c\udf21",1e100000]`},
		// Null is no value.
		{`null`, ""},
	} {
		var p Parser
		want := strings.TrimSuffix("k="+c.want+" ", " ")
		if c.want == "" {
			want = ""
		}
		events, err := p.Telemetry([]byte(`{"k":`+c.json+`}`), testID, testNow)
		if err != nil {
			t.Errorf("%s: %v", c.json, err)
			continue
		}
		if got := showAll(decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv); got != want {
			t.Errorf("telemetry %s: %s, want %s", c.json, got, want)
		}
		events, err = p.Attributes([]byte(`{"k":`+c.json+`}`), testID, testNow)
		if err != nil {
			t.Errorf("%s: %v", c.json, err)
			continue
		}
		if want == "" {
			if len(events) != 0 {
				t.Errorf("attributes %s: %d events, want none", c.json, len(events))
			}
		} else if got := showAll(decode(t, events)[0].PostAttributesMsg.Kv); got != want {
			t.Errorf("attributes %s: %s, want %s", c.json, got, want)
		}
	}
}

// TestTelemetryForms goes through device API 1.1.
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
			if events[i].Action != proto.ActionTimeseriesUpdated || d.EntityType != "DEVICE" || d.PostTelemetryMsg == nil || len(d.PostTelemetryMsg.TsKvList) != 1 {
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

func TestRefusedTelemetry(t *testing.T) {
	long := strings.Repeat("k", 256)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, json, reason string }{
		{"empty", ``, "bad JSON"},
		{"white space", "  ", "bad JSON"},
		{"number", `5`, "must be a JSON object"},
		{"null", `null`, "must be a JSON object"},
		{"string", `"a"`, "must be a JSON object"},
		{"word", `hello`, "bad JSON"},
		{"number in the array", `[{"a":1},5]`, "must be a JSON object"},
		{"array in the array", `[[{"a":1}]]`, "must be a JSON object"},
		{"null in the array", `[null]`, "must be a JSON object"},
		{"nested bad element", `[{"a":1},{"ts":1,"values":{"b":[1,}]}}]`, "bad JSON"},
		{"trailing comma in the array", `[{"a":1},]`, "bad JSON"},
		{"trailing comma in the object", `{"a":1,}`, "bad JSON"},
		{"leading comma", `{,"a":1}`, "bad JSON"},
		{"no comma", `{"a":1 "b":2}`, "bad JSON"},
		{"no colon", `{"a" 1}`, "bad JSON"},
		{"no value", `{"a":}`, "bad JSON"},
		{"text behind", `{"a":1} x`, "bad JSON"},
		{"NUL behind", "{\"a\":1}\x00", "bad JSON"},
		{"second document", `{"a":1}{"b":2}`, "bad JSON"},
		{"unfinished object", `{"a":1`, "bad JSON"},
		{"unfinished array", `[{"a":1}`, "bad JSON"},
		{"unfinished string", `{"a":"b`, "bad JSON"},
		{"unfinished escape", `{"a":"b\`, "bad JSON"},
		{"bad escape", `{"a":"\x"}`, "bad JSON"},
		{"bad unicode escape", `{"a":"\u12g4"}`, "bad JSON"},
		{"control character", "{\"a\":\"b\nc\"}", "control character"},
		{"single quotes", `{'a':1}`, "bad JSON"},
		{"bare name", `{a:1}`, "bad JSON"},
		{"comment", `{"a":1/*x*/}`, "bad JSON"},
		{"NaN", `{"a":NaN}`, "bad JSON"},
		{"Infinity", `{"a":-Infinity}`, "bad JSON"},
		{"hexadecimal", `{"a":0x10}`, "bad JSON"},
		{"leading zero", `{"a":012}`, "bad JSON"},
		{"plus", `{"a":+5}`, "bad JSON"},
		{"point at the end", `{"a":5.}`, "bad JSON"},
		{"point first", `{"a":.5}`, "bad JSON"},
		{"no exponent", `{"a":5e}`, "bad JSON"},
		{"half a word", `{"a":tru}`, "bad JSON"},
		{"long word", `{"a":truex}`, "bad JSON"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "invalid UTF-8"},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", "invalid UTF-8"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8"},
		{"huge number", `{"a":1e100000}`, "too many digits"},
		{"tiny number", `{"a":1e-100000}`, "too many digits"},
		{"absurd number", `{"a":1e99999999999999999999999}`, "too large or too small"},
		{"empty key", `{"good":1,"":2}`, "is empty"},
		{"long key", `{"` + long + `":1}`, "longer than 255"},
		{"long key of pairs", `{"` + strings.Repeat("🌡", 128) + `":1}`, "longer than 255"},
		{"NUL in a key", `{"a\u0000b":1}`, "NUL"},
		{"markup in a key", `{"<script>":1}`, "markup"},
		{"closing markup in a key", `{"a</b>":1}`, "markup"},
		{"bad key in values", `{"ts":1,"values":{"":1}}`, "is empty"},
		{"ts and values as keys", `{"ts":1,"values":{"ts":2,"values":3}}`, "cannot be stored together"},
		{"ts and values as keys in an array", `[{"ts":1,"values":{"values":3,"x":1,"ts":2}}]`, "cannot be stored together"},
		{"values no object", `{"ts":1,"values":5}`, "must be a JSON object"},
		{"values null", `{"ts":1,"values":null}`, "must be a JSON object"},
		{"ts null", `{"ts":null,"values":{}}`, "must be a number"},
		{"ts word", `{"ts":"now","values":{}}`, "must be a number"},
		{"ts with a fraction as text", `{"ts":"1.5","values":{}}`, "must be a number"},
		{"ts empty", `{"ts":"","values":{}}`, "must be a number"},
		{"ts with two signs", `{"ts":"+-5","values":{}}`, "must be a number"},
		{"ts bool", `{"ts":true,"values":{}}`, "must be a number"},
		{"ts object", `{"ts":{},"values":{}}`, "must be a number"},
		{"ts of two", `{"ts":[1,2],"values":{}}`, "must be a number"},
		{"ts of none", `{"ts":[],"values":{}}`, "must be a number"},
		{"ts of int64 maximum", `{"ts":9223372036854775807,"values":{}}`, "years 1 to 9999"},
		{"ts over int64", `{"ts":18446744073709551617,"values":{}}`, "years 1 to 9999"},
		{"ts over int64 as double", `{"ts":1e300,"values":{}}`, "years 1 to 9999"},
		{"ts in the year 10000", `{"ts":253402300800000,"values":{}}`, "years 1 to 9999"},
		{"ts before the year 1", `{"ts":-62135596800001,"values":{}}`, "years 1 to 9999"},
		{"256 levels", deep(256), "must be a JSON object"},
		{"256 levels of value", `{"a":` + deep(255) + `}`, "deeper than 255"},
		{"256 levels in an array", `[{"a":` + deep(254) + `}]`, "deeper than 255"},
		{"100,000 levels", `{"a":` + deep(100000) + `}`, "deeper than 255"},
		{"100,000 levels of objects", strings.Repeat(`{"a":`, 100000), "deeper than 255"},
		{"too many elements", `[` + strings.Repeat(`{},`, MaxEvents) + `{}]`, "more than 32768 elements"},
	} {
		var p Parser
		events, err := p.Telemetry([]byte(c.json), testID, testNow)
		var pe *Error
		if c.name == "256 levels" {
			// What stands there is judged before it is told to be no object.
			if err == nil {
				t.Errorf("%s: accepted", c.name)
			}
			continue
		}
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.reason) || events != nil {
			t.Errorf("%s: %d events, error %v; want an Error with %q", c.name, len(events), err, c.reason)
			continue
		}
		if pe.Offset < 0 || pe.Offset > len(c.json) || !utf8.ValidString(err.Error()) || len(err.Error()) > 300 {
			t.Errorf("%s: bad error %d %q", c.name, pe.Offset, err)
		}
	}
}

// TestErrorsNameThePlace: the offset is that of the offending byte.
func TestErrorsNameThePlace(t *testing.T) {
	for json, want := range map[string]string{
		`{"a":1,"b":NaN}`:              `'N' where a value`,
		`{"a":1,"b":1e5000}`:           `the number 1e5000 has too many digits without its exponent (at byte 11)`,
		`{"a":1,"<b>":2}`:              `the key "<b>" contains markup (at byte 7)`,
		`{"ts":"x","values":{"a":1}}`:  `"ts" must be a number of milliseconds since 1970 (at byte 6)`,
		`{"a":1`:                       `bad JSON: the text ends where ',' or '}' should be (at byte 6)`,
		"{\"a\":\"\xff\"}":             `invalid UTF-8 (at byte 6)`,
		`{"a":[1,[2,{"b":3 "c":4}]]} `: `bad JSON: '"' where ',' or '}' should be (at byte 18)`,
	} {
		var p Parser
		if _, err := p.Telemetry([]byte(json), testID, testNow); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", json, err, want)
		}
	}
}

func TestManyKeys(t *testing.T) {
	var p Parser
	object := func(n, twice int) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n + twice {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"key%d":%d`, i%n, i)
		}
		return b.String() + "}"
	}
	for _, c := range [][2]int{{1, 0}, {15, 15}, {16, 16}, {17, 17}, {10000, 0}, {10000, 10000}, {MaxKeys, 0}} {
		events, err := p.Telemetry([]byte(object(c[0], c[1])), testID, testNow)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		kvs := decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv
		if len(kvs) != c[0] {
			t.Fatalf("%v: %d keys", c, len(kvs))
		}
		for i, kv := range kvs {
			want := i
			if i < c[1] {
				want += c[0] // the second one won
			}
			if kv.Key != fmt.Sprintf("key%d", i) || kv.LongV != int64(want) {
				t.Fatalf("%v: %s=%d, want %d", c, kv.Key, kv.LongV, want)
			}
		}
	}
	if _, err := p.Telemetry([]byte(object(MaxKeys+1, 0)), testID, testNow); err == nil || !strings.Contains(err.Error(), "more than 32768 keys") {
		t.Errorf("one key too many: %v", err)
	}
}

// TestGrowth: numbers whose exponent is written out cannot blow a payload up.
func TestGrowth(t *testing.T) {
	var p Parser
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `,"k%d":1e1000`, i)
	}
	if _, err := p.Telemetry([]byte("{"+b.String()[1:]+"}"), testID, testNow); err == nil || !strings.Contains(err.Error(), "too many digits") {
		t.Errorf("1000 numbers of 1001 digits: %v", err)
	}
	// Written out by the device they are its own bytes.
	if _, err := p.Telemetry([]byte(`{"a":`+strings.Repeat("9", 100000)+`}`), testID, testNow); err != nil {
		t.Errorf("a number of 100,000 digits: %v", err)
	}
}

func TestEventLargerThanTheCloudTakes(t *testing.T) {
	var p Parser
	if _, err := p.Telemetry([]byte(`{"a":"`+strings.Repeat("x", maxRequest)+`"}`), testID, testNow); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if _, err := p.Attributes([]byte(`{"a":"`+strings.Repeat("x", maxRequest)+`"}`), testID, testNow); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestNestingAllowed(t *testing.T) {
	var p Parser
	json := `{"a":` + strings.Repeat("[", 254) + strings.Repeat("]", 254) + `}`
	if _, err := p.Telemetry([]byte(json), testID, testNow); err != nil {
		t.Errorf("255 levels: %v", err)
	}
}

func TestKeysAllowed(t *testing.T) {
	var p Parser
	for _, key := range []string{"a", " ", "a.b/c d", "温度", "a < b", "<", "a<1", "&lt;b&gt;", strings.Repeat("ü", 255), strings.Repeat("🌡", 127)} {
		events, err := p.Telemetry([]byte(`{"`+key+`":1}`), testID, testNow)
		if err != nil {
			t.Errorf("%q: %v", key, err)
			continue
		}
		if got := decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv[0].Key; got != key {
			t.Errorf("%q became %q", key, got)
		}
	}
}

// TestParserIsReusable: nothing of one payload shows in the next.
func TestParserIsReusable(t *testing.T) {
	var p Parser
	for range 3 {
		for json, want := range map[string]int{
			`[{"a\n":"x\ty"},{"b":{"c":"\u00fc"}}]`: 2, `{"a":1e5000}`: -1, `{"a":"x"`: -1, `{"a":1}`: 1, `[]`: 0, "\xff": -1,
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
	body := []byte(`{"ts":1767225600000,"values":{"temperature":21.5,"hum\u0069dity":48,"door":true,"state":"open\n","gps":{"lat":52.5}}}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Telemetry(body, testID, testNow); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"temperature":21.5,"door":true}`, `{"ts":1767225600000,"values":{"a":[1,{"b":null}]}}`,
		`[{"ts":"1","values":{"a":"\ud83c\udf21\ud800"}},{"b":1e400}]`, `{"a":-1.50e-16,"b":"٣.٥","a":null}`, `{"ts":[[1.5e3]],"values":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var p Parser
		events, err := p.Telemetry(body, testID, testNow)
		checkFuzzed(t, events, err)
		for _, d := range decode(t, events) {
			l := d.GetPostTelemetryMsg().GetTsKvList()
			if len(l) != 1 || l[0].Ts < minTime || l[0].Ts > maxTime {
				t.Fatalf("lists %v", l)
			}
			checkKVs(t, l[0].Kv)
		}
		events, err = p.Attributes(body, testID, testNow)
		checkFuzzed(t, events, err)
		for _, d := range decode(t, events) {
			checkKVs(t, d.GetPostAttributesMsg().GetKv())
		}
	})
}

func checkFuzzed(t *testing.T, events []proto.Event, err error) {
	var pe *Error
	if err != nil && (len(events) > 0 || !errors.As(err, &pe) && !errors.Is(err, ErrTooLarge) || !utf8.ValidString(err.Error())) {
		t.Fatalf("%d events with the error %q", len(events), err)
	}
}

func checkKVs(t *testing.T, kvs []*proto.KeyValueProto) {
	seen := map[string]bool{}
	for _, kv := range kvs {
		if seen[kv.Key] || BadKey([]byte(kv.Key)) != "" {
			t.Fatalf("key %q twice or bad", kv.Key)
		}
		seen[kv.Key] = true
		if kv.Type == proto.KeyValueType_JSON_V {
			s := scanner{data: []byte(kv.JsonV)}
			if _, err := s.value(nil, false, 0); err != nil || s.end() != nil {
				t.Fatalf("JSON_V %q: %v", kv.JsonV, err)
			}
		}
		if kv.Type < 0 {
			t.Fatalf("type %d", kv.Type)
		}
	}
}

func BenchmarkTelemetry(b *testing.B) {
	var p Parser
	body := []byte(`{"ts":1767225600000,"values":{"temperature":21.5,"humidity":48,"door":true,"state":"open","battery":3.71}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Telemetry(body, testID, testNow); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDoublesAreNearest compares with the library's conversion, which rounds correctly.
func TestDoublesAreNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		text := fmt.Sprintf("%d.%0*d", r.Uint64()>>r.IntN(64), 1+r.IntN(maxScale), r.IntN(10))
		want, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		var p Parser
		var kv proto.KV
		if err := p.setNumber(&kv, []byte(text), 0); err != nil || kv.Type != proto.KeyValueType_DOUBLE_V || kv.Double != want {
			t.Fatalf("%s: %v %v, %v; want %v", text, kv.Type, kv.Double, err, want)
		}
	}
}
