package rest_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"edgesync/proto"
	"edgesync/sync/rest"
)

// The latest values that the cloud sends with an answer about attributes, in any order of their
// times (CONTRACT.md 7.3), are read over REST, after a restart too; a newer one of here counts
// before them.
func TestLatestOfTheCloudSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := &rig{T: t, latest: rest.NewLatest(nil), tokens: map[string]string{}}
	r.open(dir)
	r.provision()
	r.build(slog.New(slog.DiscardHandler))
	list := func(ts int64, kv ...*proto.KeyValueProto) *proto.EntityDataProto {
		msb, lsb := proto.Halves(id(meter))
		return &proto.EntityDataProto{EntityType: "DEVICE", EntityIdMSB: msb, EntityIdLSB: lsb, PostTelemetryMsg: &proto.PostTelemetryMsg{
			TsKvList: []*proto.TsKvListProto{{Ts: ts, Kv: kv}},
		}}
	}
	long := func(key string, v int64) *proto.KeyValueProto {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_LONG_V, LongV: v}
	}
	r.apply(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{
		list(3000, long("a", 3), long("b", 3)),
		list(2000, long("a", 2), &proto.KeyValueProto{Key: "text", Type: proto.KeyValueType_STRING_V, StringV: "42"}),
		list(5000, &proto.KeyValueProto{Key: "d", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 1.5}, long("here", 1)),
		list(0, &proto.KeyValueProto{Key: "on", Type: proto.KeyValueType_BOOLEAN_V, BoolV: true}),
	}})
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	if a := r.send(root, "POST", base+"/timeseries/ANY", `{"ts":6000,"values":{"here":2}}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	expect := func(when, here string) {
		t.Helper()
		a := r.send(root, "GET", base+"/values/timeseries?useStrictDataTypes=true", "")
		r.has(when, a.body, `{"a":[{"ts":3000,"value":3}],"b":[{"ts":3000,"value":3}],"text":[{"ts":2000,"value":"42"}],`+
			`"d":[{"ts":5000,"value":1.5}],"on":[{"ts":0,"value":true}],"here":[`+here+`]}`)
	}
	expect("before", `{"ts":6000,"value":2}`)
	r.queue.Close()
	r.dead.Close()
	if err := r.reg.Close(); err != nil {
		t.Fatal(err)
	}
	r.latest, r.tokens = rest.NewLatest(nil), map[string]string{}
	r.open(dir)
	r.build(slog.New(slog.DiscardHandler))
	expect("after", `{"ts":5000,"value":1}`) // what was accepted here is in the cloud, and comes back with an answer
}
