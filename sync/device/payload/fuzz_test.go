package payload

import (
	"errors"
	"testing"
	"unicode/utf8"

	"edgesync/proto"
)

func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"temperature":21.5,"door":true}`, `{"ts":1767225600000,"values":{"a":[1,{"b":null}]}}`,
		`[{"ts":"1","values":{"a":"\ud83c\udf21\ud800"}},{"b":1e400}]`,
		`{"a":-1.50e-16,"b":"٣.٥","a":null}`, `{"ts":[[1.5e3]],"values":{}}`,
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
	known := errors.As(err, &pe) || errors.Is(err, ErrTooLarge)
	if err != nil && (len(events) > 0 || !known || !utf8.ValidString(err.Error())) {
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
			s := scanner{data: []byte(kv.JsonV), strict: true}
			if _, err := s.value(nil, false, 0); err != nil || s.end() != nil {
				t.Fatalf("JSON_V %q: %v", kv.JsonV, err)
			}
		}
		if kv.Type < 0 {
			t.Fatalf("type %d", kv.Type)
		}
	}
}
