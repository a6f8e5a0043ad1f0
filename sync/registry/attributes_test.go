package registry_test

import (
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

func attrs(n int, scope string, ts int64, kvs ...*proto.KeyValueProto) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: scope, AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: kvs},
	}}}
}

func long(key string, v int64) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_LONG_V, LongV: v}
}

func unset(n int, scope string, names ...string) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE",
		AttributeDeleteMsg: &proto.AttributeDeleteMsg{Scope: scope, AttributeNames: names},
	}}}
}

func TestAttributeCache(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	w := &witness{}
	r.Watch(w)
	apply(t, r, attrs(1, "SHARED_SCOPE", 100, long("a", 1))) // a device that is not here
	if got := r.Kinds(); got != "" {
		t.Errorf("kept %s", got)
	}
	apply(t, r, devices(device(1, "d"), device(2, "e")))
	w.since()
	steps := []struct {
		m                              *proto.DownlinkMsg
		client, shared, server, latest string
		heard                          string
	}{
		{attrs(1, "SHARED_SCOPE", 100, long("b", 1), long("a", 2)), "", "a=2 b=1", "", "", "1: b=1 a=2 -"},
		// Older: only the key that was not there counts.
		{attrs(1, "SHARED_SCOPE", 99, long("a", 3), long("c", 3)), "", "a=2 b=1 c=3", "", "", "1: c=3 -"},
		// Of the same time: what comes later counts.
		{attrs(1, "SHARED_SCOPE", 100, long("a", 4)), "", "a=4 b=1 c=3", "", "", "1: a=4 -"},
		// The same value is heard too.
		{attrs(1, "SHARED_SCOPE", 200, long("a", 4)), "", "a=4 b=1 c=3", "", "", "1: a=4 -"},
		{attrs(1, "SERVER_SCOPE", 1, long("s", 1), long("lastActivityTime", 5)), "", "a=4 b=1 c=3", "s=1", "", ""},
		{attrs(1, "", 1, long("t", 1)), "", "a=4 b=1 c=3", "s=1 t=1", "", ""}, // a blank scope (CONTRACT.md 7.3)
		{attrs(1, "CLIENT_SCOPE", 1, long("x", 1)), "x=1", "a=4 b=1 c=3", "s=1 t=1", "", ""},
		{attrs(1, "NO_SCOPE", 1, long("y", 1)), "x=1", "a=4 b=1 c=3", "s=1 t=1", "", ""},
		{unset(1, "SHARED_SCOPE", "b", "nothing"), "x=1", "a=4 c=3", "s=1 t=1", "", "1: -b,nothing"},
		// The deletion of what is not there is heard too (API.md 2).
		{unset(1, "SHARED_SCOPE", "nothing"), "x=1", "a=4 c=3", "s=1 t=1", "", "1: -nothing"},
		{unset(1, "SHARED_SCOPE", "a", "c"), "x=1", "", "s=1 t=1", "", "1: -a,c"},
		{&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: 0x1100, EntityIdLSB: 1, EntityType: "DEVICE",
			PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{
				// Not in order of time.
				{Ts: 602, Kv: []*proto.KeyValueProto{long("t", 602)}},
				{Ts: 600, Kv: []*proto.KeyValueProto{long("t", 600), long("u", 600)}},
			}},
		}}}, "x=1", "", "s=1 t=1", "t=602 u=600", ""},
		{attrs(1, "SHARED_SCOPE", 300, &proto.KeyValueProto{Key: "", Type: proto.KeyValueType_LONG_V},
			&proto.KeyValueProto{Key: "j", Type: proto.KeyValueType_JSON_V, JsonV: "{"},
			&proto.KeyValueProto{Key: "k", Type: 9},
			&proto.KeyValueProto{
				Key: "big", Type: proto.KeyValueType_STRING_V,
				StringV: strings.Repeat("x", 300<<10),
			}), "x=1", "", "s=1 t=1", "t=602 u=600", ""},
	}
	for i, s := range steps {
		apply(t, r, s.m)
		if got := w.since(); got != s.heard {
			t.Errorf("step %d: heard %q, want %q", i, got, s.heard)
		}
		for range 2 {
			for scope, want := range map[registry.Scope]string{
				registry.ClientScope: s.client,
				registry.SharedScope: s.shared, registry.ServerScope: s.server, registry.Latest: s.latest,
			} {
				if got := values(r, id(1), scope); got != want {
					t.Errorf("step %d, scope %d: %q, want %q", i, scope, got, want)
				}
			}
			r.Close()
			r = open(t, dir)
			r.Watch(w)
		}
	}
	if got := values(r, id(1), registry.ServerScope, "t", "zz", "s"); got != "t=1 s=1" {
		t.Errorf("by key: %q", got)
	}
	if got := values(r, id(2), registry.ServerScope); got != "" {
		t.Errorf("of another device: %q", got)
	}
	apply(t, r, devices(gone(1)))
	if got := r.Kinds(); got != "device 1" {
		t.Errorf("left %s", got)
	}
}

// A device reads back at once what it posted, whatever the time of the stored value; a later value
// of the cloud counts again.
func TestPosted(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, devices(device(1, "d")))
	future := time.Now().Add(time.Hour).UnixMilli()
	apply(t, r, attrs(1, "CLIENT_SCOPE", future, long("a", 1)))
	post := func(v int64) {
		t.Helper()
		if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", v)}}); err != nil {
			t.Fatal(err)
		}
	}
	post(2)
	if got := values(r, id(1), registry.ClientScope); got != "a=2" {
		t.Error(got)
	}
	apply(t, r, attrs(1, "CLIENT_SCOPE", future+1, long("a", 3)))
	if got := values(r, id(1), registry.ClientScope); got != "a=3" {
		t.Error(got)
	}
	// Server attributes too. What the cloud sends without a time counts, although this machine's
	// clock may be behind the time of the stored value.
	if err := r.Posted(id(1), "SERVER_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("s", 1)}}); err != nil {
		t.Fatal(err)
	}
	if got := values(r, id(1), registry.ServerScope); got != "s=1" {
		t.Error(got)
	}
	if err := r.Posted(id(1), "NO_SCOPE", &proto.PostAttributeMsg{}); err == nil {
		t.Error("a scope that there is not")
	}
	m := attrs(1, "CLIENT_SCOPE", 0, long("a", 4))
	m.EntityData[0].AttributeTs = nil
	apply(t, r, m)
	if got := values(r, id(1), registry.ClientScope); got != "a=4" {
		t.Error(got)
	}
	err := r.Posted(id(9), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", 1)}})
	if err != nil || r.Kinds() != "attrs 2, device 1" {
		t.Errorf("%v, %s", err, r.Kinds())
	}
}
