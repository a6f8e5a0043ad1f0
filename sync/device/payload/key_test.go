package payload

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
)

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
				want += c[0] // the second of equal keys wins
			}
			if kv.Key != fmt.Sprintf("key%d", i) || kv.LongV != int64(want) {
				t.Fatalf("%v: %s=%d, want %d", c, kv.Key, kv.LongV, want)
			}
		}
	}
	_, err := p.Telemetry([]byte(object(MaxKeys+1, 0)), testID, testNow)
	if err == nil || !strings.Contains(err.Error(), "more than 32768 keys") {
		t.Errorf("one key too many: %v", err)
	}
}

func TestKeysAllowed(t *testing.T) {
	var p Parser
	for _, key := range []string{
		"a", " ", "a.b/c d", "温度", "a < b", "<", "a<1", "&lt;b&gt;",
		strings.Repeat("ü", 255), strings.Repeat("🌡", 127),
	} {
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

// TestLargeObjectsBecomeSeveralEvents reads objects beyond a megabyte: no value is lost, the last
// of equal keys wins, all have the time of the object, and none of the events is large.
func TestLargeObjectsBecomeSeveralEvents(t *testing.T) {
	for _, n := range []int{9, 10, 12, 30} {
		var b strings.Builder
		b.WriteString(`{"k0":1`)
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":"%s"`, i, strings.Repeat(string(rune('a'+i%26)), 100<<10))
		}
		object := b.String() + `}`
		var p Parser
		for what, parse := range map[string]func() ([]proto.Event, error){
			"telemetry": func() ([]proto.Event, error) {
				return p.Telemetry([]byte(`{"ts":5,"values":`+object+`}`), testID, testNow)
			},
			"attributes": func() ([]proto.Event, error) { return p.Attributes([]byte(object), testID, testNow) },
		} {
			events, err := parse()
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for i, d := range decode(t, events) {
				kvs := d.GetPostAttributesMsg().GetKv()
				if what == "telemetry" {
					kvs = d.PostTelemetryMsg.TsKvList[0].Kv
					if d.PostTelemetryMsg.TsKvList[0].Ts != 5 {
						t.Errorf("event %d has another time", i)
					}
				}
				for _, kv := range kvs {
					if kv.Key != fmt.Sprint("k", got) || kv.StringV != strings.Repeat(string(rune('a'+got%26)), 100<<10) {
						t.Errorf("%s of %d: %s is %.20q…", what, n, kv.Key, kv.StringV)
					}
					got++
				}
				if size := len(events[i].Fragment); len(events) > 1 && size > partEvent+1024 {
					t.Errorf("%s of %d: event %d of %d has %d bytes", what, n, i, len(events), size)
				}
			}
			if got != n || n <= 10 && len(events) != 1 || n > 10 && len(events) < n/3 {
				t.Errorf("%s of %d: %d values in %d events", what, n, got, len(events))
			}
		}
	}
}
