package cloudtest

import (
	"math"
	"strings"
	"testing"

	"edgesync/proto"
)

func longVal(n int64) Value   { return Value{Type: proto.KeyValueType_LONG_V, Long: n} }
func dblVal(f float64) Value  { return Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: f} }
func strVal(s string) Value   { return Value{Type: proto.KeyValueType_STRING_V, Str: s} }
func jsonVal(s string) Value  { return Value{Type: proto.KeyValueType_JSON_V, Str: s} }
func boolVal(b bool) Value    { return Value{Type: proto.KeyValueType_BOOLEAN_V, Bool: b} }
func zeroDigits(n int) string { return strings.Repeat("0", n) }

// TestConvertDouble: doubles are stored as CONTRACT.md 5.3 and API.md 1.3 say.
func TestConvertDouble(t *testing.T) {
	for _, c := range []struct {
		in   float64
		want Value
	}{
		{0, dblVal(0)},
		{math.Copysign(0, -1), dblVal(0)},
		{1, dblVal(1)},
		{-1.5, dblVal(-1.5)},
		{1e6, dblVal(1e6)},
		{9999999, dblVal(9999999)},
		{1e7, longVal(10000000)},
		{-1e7, longVal(-10000000)},
		{12345678.5, dblVal(12345678.5)},
		{1.5e10, longVal(15000000000)},
		{1e18, longVal(1000000000000000000)},
		{9.2e18, longVal(9200000000000000000)},
		{math.MaxInt64, strVal("9223372036854776000")},
		{math.MinInt64, strVal("-9223372036854776000")},
		{1e19, strVal("1" + zeroDigits(19))},
		{-1e19, strVal("-1" + zeroDigits(19))},
		{1e300, strVal("1" + zeroDigits(300))},
		{math.MaxFloat64, strVal("17976931348623157" + zeroDigits(292))},
		{0.1, dblVal(0.1)},
		{1.0 / 3, dblVal(0.3333333333333333)},
		{0.30000000000000004, strVal("0.30000000000000004")},
		{0.12345678901234566, strVal("0.12345678901234566")},
		{1e-3, dblVal(1e-3)},
		{9.5e-4, dblVal(9.5e-4)},
		{1.25e-15, strVal("0.00000000000000125")},
		{1.5e-15, dblVal(1.5e-15)},
		{1e-15, dblVal(1e-15)},
		{1e-16, strVal("0.00000000000000010")},
		{1.234567890123456e-05, strVal("0.00001234567890123456")},
		{1e-300, strVal("0." + zeroDigits(299) + "10")},
		{math.NaN(), strVal("NaN")},
		{math.Inf(1), strVal("Infinity")},
		{math.Inf(-1), strVal("-Infinity")},
	} {
		got := convertDouble(c.in)
		if got != c.want || math.Signbit(got.Dbl) != math.Signbit(c.want.Dbl) {
			t.Errorf("%g: %+v, want %+v", c.in, got, c.want)
		}
	}
}

// TestConvertString: strings are stored as CONTRACT.md 5.3 and API.md 1.3 say.
func TestConvertString(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Value
	}{
		{"", strVal("")},
		{"text", strVal("text")},
		{"0012", longVal(12)},
		{"-0012", longVal(-12)},
		{"-0", longVal(0)},
		{"1.50", dblVal(1.5)},
		{"5.0", dblVal(5)},
		{"-0.0", dblVal(0)},
		{".5", dblVal(.5)},
		{"-.5", dblVal(-.5)},
		{"٣٤", longVal(34)},
		{"５.５", dblVal(5.5)},
		{"9223372036854775807", longVal(math.MaxInt64)},
		{"9223372036854775808", strVal("9223372036854775808")},
		{"00092233720368547758080", strVal("92233720368547758080")},
		{"1.0000000000000000", dblVal(1)},
		{"1.00000000000000000", strVal("1.00000000000000000")},
		{"10000000.0", dblVal(1e7)},
		{"5.", strVal("5.")},
		{"+5", strVal("+5")},
		{" 12 ", strVal(" 12 ")},
		{"1e5", strVal("1e5")},
		{"1,5", strVal("1,5")},
		{"--5", strVal("--5")},
		{"-", strVal("-")},
		{".", strVal(".")},
		{"1.2.3", strVal("1.2.3")},
		{"0x10", strVal("0x10")},
		{"true", strVal("true")},
		{"NaN", strVal("NaN")},
		{"a\x00b", strVal("ab")},
		{"1\x002", strVal("12")},
		{"\x00", strVal("")},
	} {
		if got := convertString(c.in); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
}

// TestConvertJSON: JSON texts are stored as CONTRACT.md 5.3 says, read with the tolerance of
// API.md 1.3.
func TestConvertJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Value
		none bool
		err  string
	}{
		{in: `{"a":[1,2.50,"x",null],"b":{"c":true}}`, want: jsonVal(`{"a":[1,2.50,"x",null],"b":{"c":true}}`)},
		{in: ` [ 1 , 2 ] `, want: jsonVal(`[1,2]`)},
		{in: `5`, want: longVal(5)},
		{in: `2.50`, want: dblVal(2.5)},
		{in: `1e5`, want: longVal(100000)},
		{in: `15e-1`, want: dblVal(1.5)},
		{in: `1e19`, want: strVal("1" + zeroDigits(19))},
		{in: `"str"`, want: strVal("str")},
		{in: `"0012"`, want: longVal(12)},
		{in: `true`, want: boolVal(true)},
		{in: `TRUE`, want: boolVal(true)},
		{in: `null`, none: true},
		{in: ``, none: true},
		{in: `  `, none: true},
		{in: `hello`, want: strVal("hello")},
		{in: `+5`, want: strVal("+5")},
		{in: `012`, want: longVal(12)},
		{in: `{a:1}`, want: jsonVal(`{"a":1}`)},
		{in: `{'a'=>1;"b"=2}`, want: jsonVal(`{"a":1,"b":2}`)},
		{in: `{"a":1,"a":2}`, want: jsonVal(`{"a":2}`)},
		{in: "// note\n{\"a\":1} # end", want: jsonVal(`{"a":1}`)},
		{in: `[1,]`, want: jsonVal(`[1,null]`)},
		{in: `"\u0041\ud83c\udf21"`, want: strVal("A🌡")},
		{in: `"\ud800"`, want: strVal("?")},
		{in: `{broken`, err: "End of input at line 1 column 8 path $.broken"},
		{in: `{"a":1`, err: "End of input at line 1 column 7 path $.a"},
		{in: `[1`, err: "End of input at line 1 column 3 path $[1]"},
		{in: `{"a" 1}`, err: "Expected ':' at line 1 column 6 path $.a"},
		{in: `"x`, err: "Unterminated string at line 1 column 3 path $"},
		{in: `1 2`, err: "Did not consume the entire document."},
		{in: `{"a":1,}`, err: "Expected name at line 1 column 8 path $.a"},
		{in: strings.Repeat("[", 300), err: "Nesting limit 255 reached"},
	} {
		got, ok, err := convertJSON(c.in)
		switch {
		case c.err != "":
			if err == nil || !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("%.40q: %v, want %s", c.in, err, c.err)
			}
		case err != nil || ok == c.none || got != c.want:
			t.Errorf("%.40q: %+v, %t, %v; want %+v", c.in, got, ok, err, c.want)
		}
	}
}

// TestHugeExponent: a number whose decimal text would be enormous is kept as it was written.
func TestHugeExponent(t *testing.T) {
	if got, _, _ := convertJSON("1e100000"); got.Type != proto.KeyValueType_STRING_V || len(got.Str) != 100001 {
		t.Errorf("1e100000 is of type %v with %d bytes, want a string of 100001 digits", got.Type, len(got.Str))
	}
	for _, text := range []string{"1e2000000000", "1e-2000000000", "1e99999999999"} {
		if got, ok, err := convertJSON(text); !ok || err != nil || got != strVal(text) {
			t.Errorf("%s: %+v, %t, %v", text, got, ok, err)
		}
	}
}

// TestStorableKey: keys are refused as CONTRACT.md 4.7 and API.md 1.4 say.
func TestStorableKey(t *testing.T) {
	for key, want := range map[string]bool{
		"a": true, "": false, strings.Repeat("k", 255): true, strings.Repeat("k", 256): false, strings.Repeat("ж", 255): true,
		strings.Repeat("🌡", 127): true, strings.Repeat("🌡", 128): false, "a\x00": false, "<script>": false, "a<b": true, "a b.c/d": true,
	} {
		if got := storableKey(key); got != want {
			t.Errorf("%.20q: %t, want %t", key, got, want)
		}
	}
}

func kvOf(key string, typ proto.KeyValueType, n int64) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: typ, LongV: n}
}

// TestConvertList: of two equal keys the last one counts, also if it is null. Unknown types are
// left out (CONTRACT.md 5.3, 4.7).
func TestConvertList(t *testing.T) {
	L, J := proto.KeyValueType_LONG_V, proto.KeyValueType_JSON_V
	list := []*proto.KeyValueProto{kvOf("a", L, 1), kvOf("b", L, 2), kvOf("a", L, 3), kvOf("u", 9, 4), kvOf("b", J, 0)}
	check := func(name string, got []pair, err error) {
		t.Helper()
		if err != nil || len(got) < 2 || got[0] != (pair{"a", longVal(3)}) || got[1].key != "b" || got[1].val.Type != skipped {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := convertList(nil, list)
	check("short list", got, err)
	for i := range 40 {
		list = append(list, kvOf("k"+string(rune('A'+i)), L, 0))
	}
	got, err = convertList(nil, list)
	check("long list", got, err)
	if len(got) != 42 {
		t.Errorf("%d pairs, want 42", len(got))
	}
}

// FuzzLenient: the parser ends, never panics, and reads what it wrote as the same value.
func FuzzLenient(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.50,"x",null]}`, `{broken`, `{'a'=>1;b=2}`, "[[[[", `"\ud83c\udf21"`,
		`1e100000`, "/*", "#", "[1,]", `{"a":{"b":[{}]}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseLenient(s)
		if err != nil {
			return
		}
		once := string(e.append(nil))
		again, err := parseLenient(once)
		if err != nil {
			t.Fatalf("%q became %q: %v", s, once, err)
		}
		if twice := string(again.append(nil)); twice != once {
			t.Fatalf("%q became %q, then %q", s, once, twice)
		}
	})
}

// FuzzNumber: everything that the server takes for a number converts, without panic, to one of the
// three types.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"0012", "1.50", "-.5", "1e300", "9223372036854775808", "0.00000000000000001", "-0", "1e-131072"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, ok := convertNumber(s)
		if !ok {
			return
		}
		switch v.Type {
		case proto.KeyValueType_LONG_V, proto.KeyValueType_DOUBLE_V, proto.KeyValueType_STRING_V:
		default:
			t.Fatalf("%q became %+v", s, v)
		}
	})
}
