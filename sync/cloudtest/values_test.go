package cloudtest

import (
	"math"
	"strings"
	"testing"

	"edgesync/proto"
)

func long(n int64) Value   { return Value{Type: proto.KeyValueType_LONG_V, Long: n} }
func dbl(f float64) Value  { return Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: f} }
func str(s string) Value   { return Value{Type: proto.KeyValueType_STRING_V, Str: s} }
func jsonV(s string) Value { return Value{Type: proto.KeyValueType_JSON_V, Str: s} }
func boolean(b bool) Value { return Value{Type: proto.KeyValueType_BOOLEAN_V, Bool: b} }
func zeros(n int) string   { return strings.Repeat("0", n) }

// TestConvertDouble: wire contract 5.3, device API 1.3.
func TestConvertDouble(t *testing.T) {
	for _, c := range []struct {
		in   float64
		want Value
	}{
		{0, dbl(0)},
		{math.Copysign(0, -1), dbl(0)},
		{1, dbl(1)},
		{-1.5, dbl(-1.5)},
		{1e6, dbl(1e6)},
		{9999999, dbl(9999999)},
		{1e7, long(10000000)},
		{-1e7, long(-10000000)},
		{12345678.5, dbl(12345678.5)},
		{1.5e10, long(15000000000)},
		{1e18, long(1000000000000000000)},
		{9.2e18, long(9200000000000000000)},
		{math.MaxInt64, str("9223372036854776000")},
		{math.MinInt64, str("-9223372036854776000")},
		{1e19, str("1" + zeros(19))},
		{-1e19, str("-1" + zeros(19))},
		{1e300, str("1" + zeros(300))},
		{math.MaxFloat64, str("17976931348623157" + zeros(292))},
		{0.1, dbl(0.1)},
		{1.0 / 3, dbl(0.3333333333333333)},
		{0.30000000000000004, str("0.30000000000000004")},
		{0.12345678901234566, str("0.12345678901234566")},
		{1e-3, dbl(1e-3)},
		{9.5e-4, dbl(9.5e-4)},
		{1.25e-15, str("0.00000000000000125")},
		{1.5e-15, dbl(1.5e-15)},
		{1e-15, dbl(1e-15)},
		{1e-16, str("0.00000000000000010")},
		{1.234567890123456e-05, str("0.00001234567890123456")},
		{1e-300, str("0." + zeros(299) + "10")},
		{math.NaN(), str("NaN")},
		{math.Inf(1), str("Infinity")},
		{math.Inf(-1), str("-Infinity")},
	} {
		got := convertDouble(c.in)
		if got != c.want || math.Signbit(got.Dbl) != math.Signbit(c.want.Dbl) {
			t.Errorf("%g: %+v, want %+v", c.in, got, c.want)
		}
	}
}

// TestConvertString: wire contract 5.3, device API 1.3.
func TestConvertString(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Value
	}{
		{"", str("")},
		{"text", str("text")},
		{"0012", long(12)},
		{"-0012", long(-12)},
		{"-0", long(0)},
		{"1.50", dbl(1.5)},
		{"5.0", dbl(5)},
		{"-0.0", dbl(0)},
		{".5", dbl(.5)},
		{"-.5", dbl(-.5)},
		{"٣٤", long(34)},
		{"５.５", dbl(5.5)},
		{"9223372036854775807", long(math.MaxInt64)},
		{"9223372036854775808", str("9223372036854775808")},
		{"00092233720368547758080", str("92233720368547758080")},
		{"1.0000000000000000", dbl(1)},
		{"1.00000000000000000", str("1.00000000000000000")},
		{"10000000.0", dbl(1e7)},
		{"5.", str("5.")},
		{"+5", str("+5")},
		{" 12 ", str(" 12 ")},
		{"1e5", str("1e5")},
		{"1,5", str("1,5")},
		{"--5", str("--5")},
		{"-", str("-")},
		{".", str(".")},
		{"1.2.3", str("1.2.3")},
		{"0x10", str("0x10")},
		{"true", str("true")},
		{"NaN", str("NaN")},
		{"a\x00b", str("ab")},
		{"1\x002", str("12")},
		{"\x00", str("")},
	} {
		if got := convertString(c.in); got != c.want {
			t.Errorf("%q: %+v, want %+v", c.in, got, c.want)
		}
	}
}

// TestConvertJSON: wire contract 5.3; the tolerance of the parser: device API 1.3.
func TestConvertJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Value
		none bool
		err  string
	}{
		{in: `{"a":[1,2.50,"x",null],"b":{"c":true}}`, want: jsonV(`{"a":[1,2.50,"x",null],"b":{"c":true}}`)},
		{in: ` [ 1 , 2 ] `, want: jsonV(`[1,2]`)},
		{in: `5`, want: long(5)},
		{in: `2.50`, want: dbl(2.5)},
		{in: `1e5`, want: long(100000)},
		{in: `15e-1`, want: dbl(1.5)},
		{in: `1e19`, want: str("1" + zeros(19))},
		{in: `"str"`, want: str("str")},
		{in: `"0012"`, want: long(12)},
		{in: `true`, want: boolean(true)},
		{in: `TRUE`, want: boolean(true)},
		{in: `null`, none: true},
		{in: ``, none: true},
		{in: `  `, none: true},
		{in: `hello`, want: str("hello")},
		{in: `+5`, want: str("+5")},
		{in: `012`, want: long(12)},
		{in: `{a:1}`, want: jsonV(`{"a":1}`)},
		{in: `{'a'=>1;"b"=2}`, want: jsonV(`{"a":1,"b":2}`)},
		{in: `{"a":1,"a":2}`, want: jsonV(`{"a":2}`)},
		{in: "// note\n{\"a\":1} # end", want: jsonV(`{"a":1}`)},
		{in: `[1,]`, want: jsonV(`[1,null]`)},
		{in: `"\u0041\ud83c\udf21"`, want: str("A🌡")},
		{in: `"\ud800"`, want: str("?")},
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
		if got, ok, err := convertJSON(text); !ok || err != nil || got != str(text) {
			t.Errorf("%s: %+v, %t, %v", text, got, ok, err)
		}
	}
}

// TestStorableKey: wire contract 4.7, device API 1.4.
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

func kv(key string, typ proto.KeyValueType, n int64) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: typ, LongV: n}
}

// TestConvertList: the last of two equal keys counts, also when it is null; unknown types are left out (wire contract 5.3, 4.7).
func TestConvertList(t *testing.T) {
	L, J := proto.KeyValueType_LONG_V, proto.KeyValueType_JSON_V
	list := []*proto.KeyValueProto{kv("a", L, 1), kv("b", L, 2), kv("a", L, 3), kv("u", 9, 4), kv("b", J, 0)}
	check := func(name string, got []pair, err error) {
		t.Helper()
		if err != nil || len(got) < 2 || got[0] != (pair{"a", long(3)}) || got[1].key != "b" || got[1].val.Type != skipped {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := convertList(nil, list)
	check("short list", got, err)
	for i := range 40 {
		list = append(list, kv("k"+string(rune('A'+i)), L, 0))
	}
	got, err = convertList(nil, list)
	check("long list", got, err)
	if len(got) != 42 {
		t.Errorf("%d pairs, want 42", len(got))
	}
}

// FuzzLenient: the parser ends, never panics, and what it writes it reads again as the same.
func FuzzLenient(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.50,"x",null]}`, `{broken`, `{'a'=>1;b=2}`, "[[[[", `"\ud83c\udf21"`, `1e100000`, "/*", "#", "[1,]", `{"a":{"b":[{}]}}`} {
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

// FuzzNumber: whatever looks like a number to the server converts without panic into one of the three types.
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
