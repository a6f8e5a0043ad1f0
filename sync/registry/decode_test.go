package registry

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"edgesync/proto"
)

// FuzzCutData compares with a decoder that builds the whole object.
func FuzzCutData(f *testing.F) {
	for _, s := range []string{
		`{"data":"AAEC","x":1}`, `{"x":{"data":"no"},"data":null}`, `{"a":"\"data\":\"x\"","data":"\\\"yes"}`,
		`{"data" : "v" }`, `{"data":["no"]}`,
		`{"data":"a","data":"b"}`, `{"x":[{"data":"n"}],"data":"y","z":"data"}`, `{`, `{"data":"`, `{"data"`,
		`"data"`, ``, `{"\u0064ata":"x"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rest, data, ok := cutData(iotest.OneByteReader(strings.NewReader(text)))
		whole, same, alike := cutData(strings.NewReader(text))
		if string(whole) != string(rest) || same != data || alike != ok {
			t.Fatalf("%q: byte by byte %q, %v, whole %q, %v", text, rest, data, whole, same)
		}
		value := text[data.from:][:data.length]
		var before map[string]any
		if json.Unmarshal([]byte(text), &before) != nil || before == nil {
			return // no object: the caller finds out from rest
		}
		if !ok {
			t.Fatalf("%q: a good object was refused", text)
		}
		var after map[string]any
		if err := json.Unmarshal(rest, &after); err != nil {
			t.Fatalf("%q: left %q: %v", text, rest, err)
		}
		if value == "" {
			return // absent, null, empty, of another type, or named with escapes: nothing was to be cut
		}
		var cut string
		if json.Unmarshal([]byte(`"`+value+`"`), &cut) != nil {
			t.Fatalf("%q: cut %q", text, value)
		}
		delete(before, "data") // of a name that comes twice the first was cut
		delete(after, "data")
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q: left %q", text, rest)
		}
	})
}

// FuzzAttributes: whatever stands in a record, what is read of it can be written and read again.
func FuzzAttributes(f *testing.F) {
	f.Add(encodeAttributes([]attribute{
		{1, proto.KV{Key: []byte("a"), Type: proto.KeyValueType_LONG_V, Long: -5}},
		{-1, proto.KV{Key: []byte("b"), Type: proto.KeyValueType_JSON_V, Str: []byte("{}")}},
	}))
	f.Add([]byte{5, 1, 2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := decodeAttributes(b)
		again, ok := decodeAttributes(encodeAttributes(list))
		if !ok || len(again) != len(list) {
			t.Fatalf("%d of %d attributes", len(again), len(list))
		}
		for i := range list {
			if list[i].ts != again[i].ts || string(list[i].kv.Key) != string(again[i].kv.Key) {
				t.Fatalf("%v became %v", list[i], again[i])
			}
		}
	})
}
