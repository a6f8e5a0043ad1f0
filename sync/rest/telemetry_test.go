package rest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

func TestAttributes(t *testing.T) {
	r := newRig(t)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	r.run([]step{
		{
			root, "POST", base + "/attributes/SERVER_SCOPE", `{"limit":40,"name":"x"}`, 200, "",
			[]string{`ATTRIBUTES_UPDATED ENTITY_DATA … "limit":40,"name":"x"`},
		},
		{ours, "POST", base + "/SHARED_SCOPE", `{"fan":true}`, 200, "", []string{`ATTRIBUTES_UPDATED ENTITY_DATA … "fan":true`}},
		{
			root, "POST", "/api/plugins/telemetry/" + text(meter) + "/SHARED_SCOPE", `{"fan":false,"j":{"a":[1]}}`, 200,
			"",
			[]string{`ATTRIBUTES_UPDATED ENTITY_DATA … "fan":false`},
		},
		{root, "POST", base + "/CLIENT_SCOPE", `{"fan":true}`, 400, "-", nil},
		{root, "POST", base + "/ODD_SCOPE", `{"fan":true}`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `{}`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `[1]`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `{limit:40}`, 400, "-", nil}, // another reader than that of time series
		{root, "POST", base + "/SERVER_SCOPE", "{\"limit\":\"\xb0\"}", 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `{"` + strings.Repeat("k", 256) + `":1}`, 400, "-", nil},
		{ours, "POST", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/SERVER_SCOPE", `{"a":1}`, 403, "-", nil},
		{root, "POST", "/api/plugins/telemetry/DEVICE/" + text(77) + "/SERVER_SCOPE", `{"a":1}`, 404, "-", nil},
		{
			root, "POST", "/api/plugins/telemetry/ASSET/" + text(hall) + "/attributes/SERVER_SCOPE", `{"a":1.5}`, 200,
			"",
			[]string{`ATTRIBUTES_UPDATED ENTITY_DATA … "a":1.5`},
		},
		{
			root, "GET", base + "/values/attributes", "", 200,
			`[{"key":"fan","value":false},{"key":"j","value":{"a":[1]}},{"key":"limit","value":40},{"key":"name","value":"x"}]`, nil,
		},
		{root, "GET", base + "/values/attributes/SERVER_SCOPE?keys=limit,none", "", 200, `[{"key":"limit","value":40}]`, nil},
		{ours, "GET", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/values/attributes", "", 403, "-", nil},
		{root, "GET", base + "/keys/attributes/SHARED_SCOPE", "", 200, `["fan","j"]`, nil},
		{root, "DELETE", base + "/SERVER_SCOPE?keys=name", "", 200, "", []string{`ATTRIBUTES_DELETED ENTITY_DATA … "deleted":["name"]`}},
		{root, "DELETE", base + "/SERVER_SCOPE", "", 400, "-", nil},
		{root, "GET", base + "/values/attributes/SERVER_SCOPE", "", 200, `[{"key":"limit"}]`, nil},
	})
}

// What is written here wins over what the cloud wrote by a clock that is ahead (CONTRACT.md 7.2).
func TestAttributesWinOverAFasterClock(t *testing.T) {
	r := newRig(t)
	ahead := time.Now().Add(time.Hour).UnixMilli()
	r.apply(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb(meter), EntityIdLSB: lsb(meter), EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ahead,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{Key: "fan", Type: proto.KeyValueType_LONG_V, LongV: 1}}},
	}}})
	r.run([]step{
		{
			root, "POST", "/api/plugins/telemetry/DEVICE/" + text(meter) + "/SHARED_SCOPE", `{"fan":2}`, 200, "",
			[]string{fmt.Sprintf(`ATTRIBUTES_UPDATED ENTITY_DATA … "ts":%d`, ahead+1)},
		},
		{
			root, "GET", "/api/plugins/telemetry/DEVICE/" + text(meter) + "/values/attributes/SHARED_SCOPE", "", 200,
			`[{"key":"fan","value":2}]`, nil,
		},
	})
}

func TestTimeseries(t *testing.T) {
	r := newRig(t)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	values := base + "/values/timeseries"
	r.run([]step{
		{
			root, "POST", base + "/timeseries/ANY", `{"t":21.5,"on":true}`, 200, "",
			[]string{`TIMESERIES_UPDATED ENTITY_DATA … {"t":21.5,"on":true}`},
		},
		{
			ours, "POST", base + "/timeseries/ANY/60", `[{"ts":1000,"values":{"old":1}},{"ts":2000,"values":{"old":2}}]`, 200, "",
			[]string{`TIMESERIES_UPDATED ENTITY_DATA … "ts":1000`, `TIMESERIES_UPDATED ENTITY_DATA … "ts":2000`},
		},
		{root, "POST", base + "/timeseries/ANY", `{"ts":1500,"values":{"old":9}}`, 200, "", []string{"TIMESERIES_UPDATED ENTITY_DATA"}},
		{root, "POST", base + "/timeseries/ANY", `{}`, 400, "-", nil},
		{root, "POST", base + "/timeseries/ANY", `{"a":`, 400, "-", nil},
		{ours, "POST", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/timeseries/ANY", `{"a":1}`, 403, "-", nil},
		{
			root, "POST", "/api/plugins/telemetry/TENANT/" + text(tenant) + "/timeseries/ANY", `{"a":1}`, 200, "",
			[]string{"TIMESERIES_UPDATED ENTITY_DATA"},
		},
		{
			root, "POST", "/api/plugins/telemetry/TENANT/" + text(tenant) + "/timeseries/ANY", `{temperature:25,volt=nan}`, 200, "",
			[]string{`TIMESERIES_UPDATED ENTITY_DATA … {"temperature":25,"volt":"nan"}`},
		},
		{
			root, "GET", values + "?keys=t,old,none", "", 200,
			`{"t":[{"value":"21.5"}],"old":[{"ts":2000,"value":"2"}],"none":[{"value":null}]}`, nil,
		},
		{root, "GET", values + "?useStrictDataTypes=true", "", 200, `{"t":[{"value":21.5}],"on":[{"value":true}]}`, nil},
		{root, "GET", values + "?keys=t&startTs=1&endTs=2", "", 400, "-", nil},
		{root, "GET", base + "/keys/timeseries", "", 200, `["old","on","t"]`, nil},
		{root, "DELETE", base + "/timeseries/delete?keys=old", "", 400, "-", nil},
		{root, "DELETE", base + "/timeseries/delete?deleteAllDataForKeys=true", "", 400, "-", nil},
		{
			root, "DELETE", base + "/timeseries/delete?keys=old,t&startTs=1000&endTs=3000", "", 200, "",
			[]string{`TIMESERIES_DELETED ENTITY_DATA … "deleted":["old","t"]`},
		},
		{root, "GET", base + "/keys/timeseries", "", 200, `["on","t"]`, nil},
		{
			root, "DELETE", base + "/timeseries/delete?keys=on&deleteAllDataForKeys=true", "", 200, "",
			[]string{"TIMESERIES_DELETED ENTITY_DATA"},
		},
		{root, "GET", base + "/keys/timeseries", "", 200, `["t"]`, nil},
	})
	// What the cloud sent counts unless a newer value came here.
	r.apply(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb(meter), EntityIdLSB: lsb(meter), EntityType: "DEVICE",
		PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: 5, Kv: []*proto.KeyValueProto{
			{Key: "t", Type: proto.KeyValueType_LONG_V, LongV: 1}, {Key: "cloud", Type: proto.KeyValueType_LONG_V, LongV: 7},
		}}}},
	}}})
	r.run([]step{
		{root, "GET", values + "?useStrictDataTypes=true", "", 200, `{"t":[{"value":21.5}],"cloud":[{"ts":5,"value":7}]}`, nil},
		{
			root, "DELETE", base + "/timeseries/delete?keys=cloud&deleteAllDataForKeys=true", "", 200, "",
			[]string{"TIMESERIES_DELETED ENTITY_DATA"},
		},
		{root, "GET", base + "/keys/timeseries", "", 200, `["t"]`, nil},
	})
	a := r.send(root, "DELETE", base+"/timeseries/delete?keys=t&deleteAllDataForKeys=true", "")
	if !strings.Contains(a.head.Get("Warning"), "cannot transfer") {
		t.Errorf("the answer does not say that it stays here: %v", a.head)
	}
}

func TestLatestIsBounded(t *testing.T) {
	r := newRig(t)
	kv := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("x", 2000))}}
	for i := range 2000 {
		var e proto.UUID
		e[0], e[1] = byte(i>>8), byte(i)
		r.latest.Observe([]proto.Event{{
			Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: e,
			Fragment: proto.AppendTelemetry(nil, e, "DEVICE", int64(i), kv),
		}})
	}
	if n := r.latest.Bytes(); n > 512<<10 || n < 256<<10 {
		t.Errorf("%d bytes", n)
	}
}
