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

// FuzzGateway holds a gateway's message against its parts: what is stored of each device is what is
// stored of its part alone, and what is wrong with one changes nothing of the others.
func FuzzGateway(f *testing.F) {
	for _, s := range []string{
		`{"PLC 1":[{"t":1}],"PLC 2":[{"t":20.5}]}`, `{"PLC 3":{"t":1},"PLC 4":[{"t":20.5}]}`, `{"PLC 5":[{"t":1},5],"PLC 6":[{"t":20.5}]}`,
		`{"PLC 7":[{"ts":"x","values":{"t":1}}],"PLC 8":[{"t":20.5}]}`, `{"A":{"x":1},"B":[],"A":{"y":"2"}}`,
		`{"\u0041":[{"metadata":{}}],"":{}}`,
		`[]`, `{}`, ` `, `{"A":[{"":1}],"B":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var names []string
		find := func(name string) (proto.UUID, bool) {
			names = append(names, name)
			return proto.UUID{byte(len(names))}, BadKey([]byte(name)) == ""
		}
		for _, parse := range []func(p *Parser) ([]proto.Event, error, error){
			func(p *Parser) ([]proto.Event, error, error) { return p.GatewayTelemetry(body, find, testNow) },
			func(p *Parser) ([]proto.Event, error, error) { return p.GatewayAttributes(body, find, testNow) },
		} {
			names = nil
			var p, alone Parser
			events, bad, err := parse(&p)
			if err != nil {
				if len(events) > 0 || len(names) > 0 {
					t.Fatalf("%d events, %d devices with the error %q", len(events), len(names), err)
				}
				if !errors.Is(err, ErrNoDevices) {
					checkFuzzed(t, nil, err)
				}
				continue
			}
			checkFuzzed(t, nil, bad)
			for i := range events {
				n := int(events[i].Entity[0])
				if n == 0 || n > len(names) || BadKey([]byte(names[n-1])) != "" {
					t.Fatalf("event %d is of the device %d", i, n)
				}
			}
			if bad == nil {
				continue
			}
			// The same without the device whose part is wrong: a finder that leaves it out.
			var kept []proto.Event
			for i := range events {
				e := events[i]
				e.Fragment = append([]byte(nil), e.Fragment...)
				kept = append(kept, e)
			}
			good := map[proto.UUID]bool{}
			for i := range kept {
				good[kept[i].Entity] = true
			}
			names = nil
			only := func(name string) (proto.UUID, bool) { id, ok := find(name); return id, ok && good[id] }
			var again []proto.Event
			if len(kept) > 0 && kept[0].Action == proto.ActionPostAttributes {
				again, bad, err = alone.GatewayAttributes(body, only, testNow)
			} else {
				again, bad, err = alone.GatewayTelemetry(body, only, testNow)
			}
			if len(kept) > 0 && (err != nil || bad != nil || len(again) != len(kept)) {
				t.Fatalf("%d events alone, %d beside what is wrong: %v %v", len(again), len(kept), bad, err)
			}
			for i := range kept {
				if string(again[i].Fragment) != string(kept[i].Fragment) || again[i].Entity != kept[i].Entity {
					t.Fatalf("event %d alone is %x, beside what is wrong %x", i, again[i].Fragment, kept[i].Fragment)
				}
			}
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
