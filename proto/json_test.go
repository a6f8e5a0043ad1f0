package proto

import (
	"encoding/json"
	"math"
	"testing"
)

func TestJSONValue(t *testing.T) {
	for _, c := range []struct {
		kv   KV
		want string
	}{
		{KV{Type: KeyValueType_BOOLEAN_V, Bool: true}, "true"},
		{KV{Type: KeyValueType_BOOLEAN_V}, "false"},
		{KV{Type: KeyValueType_LONG_V, Long: math.MinInt64}, "-9223372036854775808"},
		{KV{Type: KeyValueType_DOUBLE_V, Double: 21.5}, "21.5"},
		{KV{Type: KeyValueType_DOUBLE_V, Double: 21}, "21.0"},
		{KV{Type: KeyValueType_DOUBLE_V}, "0.0"},
		{KV{Type: KeyValueType_DOUBLE_V, Double: 12345678.5}, "1.23456785E+07"},
		{KV{Type: KeyValueType_DOUBLE_V, Double: math.NaN()}, `"NaN"`},
		{KV{Type: KeyValueType_DOUBLE_V, Double: math.Inf(-1)}, `"-Infinity"`},
		{KV{Type: KeyValueType_STRING_V, Str: []byte("a\"b\\\n\x00é\U0001F600")}, `"a\"b\\\n\u0000é😀"`},
		{KV{Type: KeyValueType_STRING_V}, `""`},
		{KV{Type: KeyValueType_STRING_V, Str: []byte{0xff, 'a'}}, `"` + "�" + `a"`},
		{KV{Type: KeyValueType_JSON_V, Str: []byte(`{"a":[1]}`)}, `{"a":[1]}`},
		{KV{Type: KeyValueType_JSON_V}, "null"},
	} {
		got := string(AppendJSONValue(nil, &c.kv))
		if got != c.want {
			t.Errorf("%v: got %s, want %s", c.kv, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON", got)
		}
	}
}
