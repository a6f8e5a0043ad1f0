package payload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"edgesync/proto"
)

// TestValues goes through the table of API.md 1.3, for telemetry and attributes.
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
		{`10000000.0`, "d1e+07"}, // the server's second pass makes it a long
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

// TestDoublesAreNearest compares doubles with those of strconv, which rounds correctly.
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
		err = p.setNumber(&kv, []byte(text), 0)
		if err != nil || kv.Type != proto.KeyValueType_DOUBLE_V || kv.Double != want {
			t.Fatalf("%s: %v %v, %v; want %v", text, kv.Type, kv.Double, err, want)
		}
	}
}

// TestGrowth holds the numbers whose exponent is written out to their bound. Beyond it a number is
// stored as it was written, and costs no other value.
func TestGrowth(t *testing.T) {
	var p Parser
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `,"k%d":1e1000`, i)
	}
	events, err := p.Telemetry([]byte(`{"huge":1e5000,"tiny":-1e-100000,"good":1`+b.String()+"}"), testID, testNow)
	if err != nil {
		t.Fatal(err)
	}
	kvs := decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv
	if got, want := showAll(kvs[:3]), `huge=s"1e5000" tiny=s"-1e-100000" good=l1`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	written := 0
	for _, kv := range kvs[3:] {
		switch kv.StringV {
		case "1e1000":
		case "1" + strings.Repeat("0", 1000):
			written++
		default:
			t.Fatalf("%q", kv.StringV)
		}
	}
	if want := maxGrowth / 1001; len(kvs) != 1003 || written != want {
		t.Errorf("%d values, %d written out, want %d", len(kvs), written, want)
	}
	// Digits that the device wrote itself are within the bound of its body.
	if _, err := p.Telemetry([]byte(`{"a":`+strings.Repeat("9", 100000)+`}`), testID, testNow); err != nil {
		t.Errorf("a number of 100,000 digits: %v", err)
	}
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
