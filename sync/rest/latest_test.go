package rest

import (
	"testing"

	"edgesync/proto"
)

// The latest value that the API shows is what the server stores of it (API.md 1.3).
func TestLatestIsAsTheServerStoresIt(t *testing.T) {
	id := proto.UUID{1}
	l := NewLatest(nil)
	l.Observe([]proto.Event{{
		Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, proto.DeviceEntity, 5,
			[]proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_DOUBLE_V, Double: 1e7}}),
	}})
	n := 0
	l.Each(id, func(ts int64, kv proto.KV) {
		if n++; ts != 5 || kv.Type != proto.KeyValueType_LONG_V || kv.Long != 10_000_000 {
			t.Errorf("%d %+v", ts, kv)
		}
	})
	if n != 1 {
		t.Errorf("%d values", n)
	}
}
