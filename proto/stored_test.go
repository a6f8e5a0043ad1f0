package proto

import (
	"math"
	"strings"
	"testing"
)

// TestConvertToStored: the second pass of API.md 1.3, with all the examples there.
func TestConvertToStored(t *testing.T) {
	for _, c := range []struct {
		d    float64
		want string // as JSON: a long without a point, a text in quotes
	}{
		{10000000.0, `10000000`},
		{-10000000.0, `-10000000`},
		{9999999.0, `9999999.0`},
		{12345678.5, `12345678.5`},
		{12345678901234567890.0, `"12345678901234567000"`},
		{9223372036854775807.0, `"9223372036854776000"`},
		{-9223372036854775808.0, `"-9223372036854776000"`},
		{1.2345678901234567e18, `1234567890123456800`}, // the digits that Java writes,
		{1e300, `"1` + zeros(300) + `"`},
		{1e-16, `"0.00000000000000010"`},
		{1e-15, `0.000000000000001`},
		{1.5e-15, `0.0000000000000015`},
		{1.25e-15, `"0.00000000000000125"`},
		{-1e-16, `"-0.00000000000000010"`},
		{0.001, `0.001`},
		{0.0009, `0.0009`},
		{21.5, `21.5`},
		{5, `5.0`},
		{0, `0.0`},
		{math.Copysign(0, -1), `0.0`},
		{0.3333333333333333, `0.3333333333333333`},
		{0.012345678901234567, `"0.012345678901234567"`},
		{math.NaN(), `"NaN"`},
		{math.Inf(1), `"Infinity"`},
		{math.Inf(-1), `"-Infinity"`},
	} {
		kv := KV{Type: KeyValueType_DOUBLE_V, Double: c.d}
		kv.ConvertToStored()
		got := string(AppendJSONValue(nil, &kv))
		if kv.Type == KeyValueType_DOUBLE_V && kv.Double == c.d && c.want[0] != '"' && strings.Contains(c.want, ".") {
			continue // how AppendJSONValue writes the value is tested elsewhere
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.d, got, c.want)
		}
	}
	for _, kv := range []KV{
		{Type: KeyValueType_LONG_V, Long: 5},
		{Type: KeyValueType_BOOLEAN_V, Bool: true},
		{Type: KeyValueType_STRING_V, Str: []byte("1e7")},
		{Type: KeyValueType_JSON_V, Str: []byte("[1e7]")},
	} {
		was := string(AppendJSONValue(nil, &kv))
		if kv.ConvertToStored(); string(AppendJSONValue(nil, &kv)) != was {
			t.Errorf("%s has changed", was)
		}
	}
}

func TestConvertToStoredText(t *testing.T) {
	kv := KV{Type: KeyValueType_STRING_V, Str: []byte("a\x00b\x00")}
	if kv.ConvertToStored(); string(kv.Str) != "ab" {
		t.Errorf("%q", kv.Str)
	}
}

func zeros(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0'
	}
	return string(b)
}
