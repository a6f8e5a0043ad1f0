package cloudtest

import (
	"math"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
)

// TestSilentDrops: the values that are acknowledged and not stored (CONTRACT.md 4.7).
func TestSilentDrops(t *testing.T) {
	long300 := strings.Repeat("k", 300)
	for _, c := range []struct {
		name   string
		list   *proto.TsKvListProto
		stored []string // keys
	}{
		{"good", kvList(1, longPair("a", 1), longPair("b", 1)), []string{"a", "b"}},
		{"an empty key takes its neighbours along", kvList(1, longPair("", 1), longPair("b", 1)), nil},
		{"a long key takes its neighbours along", kvList(1, longPair(long300, 1), longPair("b", 1)), nil},
		{"a long key that is null does not", kvList(1, kvOf(long300, proto.KeyValueType_JSON_V, 0), longPair("b", 1)), []string{"b"}},
		{"an unknown type only itself", kvList(1, kvOf("a", 9, 1), longPair("b", 1)), []string{"b"}},
		{"an empty JSON only itself", kvList(1, kvOf("a", proto.KeyValueType_JSON_V, 1), longPair("b", 1)), []string{"b"}},
		{"the last possible ts", kvList(math.MaxInt64, longPair("a", 1)), nil},
		{"the one before it is fine", kvList(math.MaxInt64-1, longPair("a", 1)), []string{"a"}},
		{"no values", kvList(1), nil},
		{"ts and values", kvList(1, longPair("ts", 5),
			&proto.KeyValueProto{Key: "values", Type: proto.KeyValueType_JSON_V, JsonV: `{"in":1}`}), []string{"in"}},
		{"ts and values that are no object", kvList(1, longPair("ts", 5), longPair("values", 5), longPair("b", 1)), nil},
		{"ts alone", kvList(1, longPair("ts", 5), longPair("b", 1)), []string{"ts", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTenantBench(t)
			before := b.Counts()
			if out := b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(c.list)}}); !out.Success {
				t.Fatalf("%+v", out)
			}
			if got := b.Keys(b.device); !slices.Equal(got, c.stored) {
				t.Errorf("stored %q, want %q", got, c.stored)
			}
			if got := b.Counts().Points - before.Points; got != uint64(len(c.stored)) {
				t.Errorf("%d points counted, want %d", got, len(c.stored))
			}
		})
	}
	b := newTenantBench(t)
	b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(kvList(1, longPair("ts", 5),
		&proto.KeyValueProto{Key: "values", Type: proto.KeyValueType_JSON_V, JsonV: `{"in":"0012"}`}))}})
	wantPoints(t, b, "in", Point{TS: 5, Value: longVal(12), Writes: 1})
}

// TestUnknownEntities: data for an unknown entity is acknowledged and counted as dropped
// (CONTRACT.md 4.7).
func TestUnknownEntities(t *testing.T) {
	b := newTenantBench(t)
	chain := dataFor(ref{typeRuleChain, b.rootChain})
	chain.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{kvList(1, longPair("a", 1))}}
	ghost := b.data(kvList(1, longPair("a", 1)))
	ghost.EntityIdLSB++
	asset := b.data(kvList(1, longPair("a", 1)))
	asset.EntityType = "ASSET"
	other := b.data(kvList(1, longPair("a", 1)))
	other.EntityType = "OTA_PACKAGE"
	for i, d := range []*proto.EntityDataProto{chain, ghost, asset, other} {
		if out := b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{d}}); !out.Success || out.Never {
			t.Errorf("%s: %+v", d.EntityType, out)
		}
		if got := b.Counts(); got.Points != 0 || got.Dropped != uint64(i+1) || got.Events != uint64(i+1) {
			t.Errorf("%s: %+v", d.EntityType, got)
		}
	}
}

// TestUpsert: a row is counted once and may be written again; rows are sorted in whatever order
// they come (CONTRACT.md 4.8, 5.3).
func TestUpsert(t *testing.T) {
	b := newTenantBench(t)
	const n = 1000
	var arrivals []int64
	for i := range n {
		ts := int64(i * 7919 % n)
		arrivals = append(arrivals, ts)
		b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(kvList(ts, longPair("a", ts)))}})
		if i%3 == 0 {
			b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(kvList(ts, longPair("a", -ts)))}})
		}
	}
	got := b.Series(b.device, "a")
	if len(got) != n {
		t.Fatalf("%d rows, want %d", len(got), n)
	}
	for i, p := range got {
		if p.TS != int64(i) {
			t.Fatalf("row %d has ts %d", i, p.TS)
		}
		if twice := p.Writes == 2; p.Value != longVal(int64(i)) && !twice || p.Value != longVal(-int64(i)) && twice {
			t.Fatalf("row %d is %+v", i, p)
		}
	}
	if !slices.Equal(b.Arrivals(b.device, "a"), arrivals) {
		t.Error("the order of arrival is lost")
	}
	if c := b.Counts(); c.Points != n || c.Duplicates != 334 || c.Uplinks != n+334 {
		t.Errorf("%+v", c)
	}
}

// TestManyLists: several lists in one message are all stored. Without a list the answer never
// comes, unless another part fails (CONTRACT.md 4.3).
func TestManyLists(t *testing.T) {
	b := newTenantBench(t)
	out := b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(kvList(1, longPair("a", 1)),
		kvList(2, longPair("a", 2)))}})
	if !out.Success {
		t.Errorf("%+v", out)
	}
	wantPoints(t, b, "a", Point{1, longVal(1), 1}, Point{2, longVal(2), 1})
	out = b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(), b.data(kvList(3, longPair("a", 3)))}})
	if out.Success || !out.Never || out.Error != "" {
		t.Errorf("%+v, want never", out)
	}
	if got := b.Series(b.device, "a"); len(got) != 3 {
		t.Errorf("what stands beside an empty message is not stored: %+v", got)
	}
	bad := b.data()
	bad.EntityType = "GADGET"
	if out = b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(), bad}}); out.Never || out.Error == "" {
		t.Errorf("%+v, want an error", out)
	}
}

// TestTimeFilter: both forms of attributes are stored only if newer than the stored ones. A post is
// stored with the server's clock, and only if the value changes (CONTRACT.md 7.2).
func TestTimeFilter(t *testing.T) {
	b := newTenantBench(t)
	at := func(want Value, ts int64) {
		t.Helper()
		if v, got, ok := b.Attribute(b.device, "SHARED_SCOPE", "a"); !ok || v != want || got != ts {
			t.Errorf("%+v at %d (%t), want %+v at %d", v, got, ok, want, ts)
		}
	}
	send := func(d *proto.EntityDataProto) {
		t.Helper()
		if out := b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{d}}); !out.Success || !out.Mixed {
			t.Errorf("%+v", out)
		}
	}
	post := func(ts int64, n int64) *proto.EntityDataProto {
		d := b.attrs("SHARED_SCOPE", ts, longPair("a", n))
		d.PostAttributesMsg, d.AttributesUpdatedMsg = d.AttributesUpdatedMsg, nil
		return d
	}
	now := b.now.UnixMilli()
	send(b.attrs("SHARED_SCOPE", 100, longPair("a", 1)))
	at(longVal(1), 100)
	send(b.attrs("SHARED_SCOPE", 100, longPair("a", 2)))
	at(longVal(1), 100)
	send(b.attrs("SHARED_SCOPE", 101, longPair("a", 3)))
	at(longVal(3), 101)
	send(post(102, 3))
	at(longVal(3), 101)
	send(post(101, 4))
	at(longVal(3), 101)
	send(post(102, 4))
	at(longVal(4), now)
	send(b.attrs("SHARED_SCOPE", now-1, longPair("a", 5)))
	at(longVal(4), now)
	if _, _, ok := b.Attribute(b.device, "CLIENT_SCOPE", "a"); ok {
		t.Error("another scope has it too")
	}
	gone := dataFor(ref{typeDevice, b.device})
	gone.AttributeDeleteMsg = &proto.AttributeDeleteMsg{Scope: "SHARED_SCOPE", AttributeNames: []string{"a", "none"}}
	send(gone)
	if _, _, ok := b.Attribute(b.device, "SHARED_SCOPE", "a"); ok {
		t.Error("not deleted")
	}
	if v, _, ok := b.Attribute(b.device, "SERVER_SCOPE", "active"); !ok || v != boolVal(true) {
		t.Error("the device is not active")
	}
}
