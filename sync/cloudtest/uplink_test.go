package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
)

// tenantBench is a tenant with one edge and one device assigned to it.
type tenantBench struct {
	*Tenant
	edge, device proto.UUID
	now          time.Time
}

func newTenantBench(t testing.TB) *tenantBench {
	t.Helper()
	b := &tenantBench{Tenant: NewTenant(), edge: proto.UUID{15: 1}, device: proto.UUID{15: 2}, now: time.UnixMilli(1767225600000)}
	b.SetWidgetTypes(60)
	b.AddEdge(Edge{ID: b.edge, Name: "edge", RoutingKey: "key", Secret: "secret"})
	b.AddDevice(b.edge, Device{ID: b.device, Name: "meter", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token"})
	return b
}

func (b *tenantBench) process(m *proto.UplinkMsg) Outcome { return b.Process(b.edge, m, b.now) }

func (b *tenantBench) data(lists ...*proto.TsKvListProto) *proto.EntityDataProto {
	d := dataFor(ref{typeDevice, b.device})
	d.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: lists}
	return d
}

func kvList(ts int64, kvs ...*proto.KeyValueProto) *proto.TsKvListProto {
	return &proto.TsKvListProto{Ts: ts, Kv: kvs}
}

func longPair(key string, n int64) *proto.KeyValueProto {
	return kvOf(key, proto.KeyValueType_LONG_V, n)
}

func (b *tenantBench) attrs(scope string, ts int64, kvs ...*proto.KeyValueProto) *proto.EntityDataProto {
	d := dataFor(ref{typeDevice, b.device})
	d.AttributesUpdatedMsg, d.PostAttributeScope, d.AttributeTs = &proto.PostAttributeMsg{Kv: kvs}, scope, &ts
	return d
}

func deviceUpdate(id proto.UUID, typ proto.UpdateMsgType, entity string) *proto.DeviceUpdateMsg {
	m := &proto.DeviceUpdateMsg{MsgType: typ, Entity: entity}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	return m
}

func (b *tenantBench) deviceJSON(name string) string {
	return `{"tenantId":` + idJSON(ref{typeTenant, b.TenantID()}) + `,"name":"` + name + `"}`
}

func wantPoints(t *testing.T, b *tenantBench, key string, want ...Point) {
	t.Helper()
	if got := b.Series(b.device, key); !slices.Equal(got, want) {
		t.Errorf("%q holds %+v, want %+v", key, got, want)
	}
}

// TestOrderOfParts: one uplink creates a device, sets its credentials, posts for it, raises an
// alarm and relates it, whatever the order of the fields (CONTRACT.md 4.2).
func TestOrderOfParts(t *testing.T) {
	b := newTenantBench(t)
	id := proto.UUID{15: 9}
	d := dataFor(ref{typeDevice, id})
	d.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{kvList(1, longPair("a", 1))}}
	alarm := &proto.AlarmUpdateMsg{Entity: `{"tenantId":` + idJSON(ref{typeTenant, b.TenantID()}) +
		`,"type":"hot","severity":"MAJOR","originator":` + idJSON(ref{typeDevice, id}) + `}`}
	alarm.IdMSB, alarm.IdLSB = 0, 77
	out := b.process(&proto.UplinkMsg{
		EntityData:      []*proto.EntityDataProto{d},
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceUpdate(id, created, b.deviceJSON("new"))},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{
			{Entity: `{"deviceId":` + idJSON(ref{typeDevice, id}) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"tok"}`},
		},
		AlarmUpdateMsg: []*proto.AlarmUpdateMsg{alarm},
		RelationUpdateMsg: []*proto.RelationUpdateMsg{
			{Entity: `{"from":` + idJSON(ref{typeDevice, b.device}) + `,"to":` + idJSON(ref{typeDevice, id}) +
				`,"type":"Contains","typeGroup":"COMMON"}`},
		},
	})
	if !out.Success || out.Mixed || len(out.Events) != 0 {
		t.Fatalf("%+v", out)
	}
	got, edge, ok := b.DeviceOf(id)
	if !ok || edge != b.edge || got.Name != "new" || got.Profile != "default" || got.CredentialsID != "tok" {
		t.Errorf("%+v of %x, %t", got, edge, ok)
	}
	if p := b.Series(id, "a"); len(p) != 1 {
		t.Errorf("telemetry %+v", p)
	}
	if b.find(typeAlarm, proto.UUID{15: 77}) == nil || len(b.relations) != 2 {
		t.Errorf("alarm or relation is missing: %+v", b.relations)
	}
}

// TestThrownAndFailed: an exception ends the uplink, a failed future does not. Parts applied before
// stay applied (CONTRACT.md 4.2).
func TestThrownAndFailed(t *testing.T) {
	id := proto.UUID{15: 9}
	for _, c := range []struct {
		name, error   string
		change        func(b *tenantBench, m *proto.UplinkMsg)
		first, second bool // whether the lists before and behind are stored
	}{
		{"thrown", "No enum constant org.thingsboard.server.common.data.EntityType.GADGET", func(b *tenantBench, m *proto.UplinkMsg) {
			m.EntityData = slices.Insert(m.EntityData, 1, &proto.EntityDataProto{EntityType: "GADGET"})
		}, true, false},
		{"thrown in an earlier part", "Device should be assigned to tenant!", func(b *tenantBench, m *proto.UplinkMsg) {
			m.DeviceUpdateMsg = []*proto.DeviceUpdateMsg{deviceUpdate(id, created, `{"name":"x"}`)}
		}, false, false},
		{"failed", "Unsupported msg type UNRECOGNIZED", func(b *tenantBench, m *proto.UplinkMsg) {
			m.DeviceUpdateMsg = []*proto.DeviceUpdateMsg{deviceUpdate(id, 7, b.deviceJSON("x"))}
		}, true, true},
		{
			"failed, then thrown", "No enum constant org.thingsboard.server.common.data.EntityType.",
			func(b *tenantBench, m *proto.UplinkMsg) {
				m.DeviceUpdateMsg = []*proto.DeviceUpdateMsg{deviceUpdate(id, 7, b.deviceJSON("x"))}
				m.EntityData = slices.Insert(m.EntityData, 1, &proto.EntityDataProto{})
			}, true, false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTenantBench(t)
			m := &proto.UplinkMsg{EntityData: []*proto.EntityDataProto{
				b.data(kvList(1, longPair("first", 1))),
				b.data(kvList(1, longPair("second", 1))),
			}}
			c.change(b, m)
			out := b.process(m)
			if line, _, _ := strings.Cut(out.Error, "\n"); out.Success || line != c.error {
				t.Errorf("%t %q, want %q", out.Success, line, c.error)
			}
			if got := len(b.Series(b.device, "first")) == 1; got != c.first {
				t.Errorf("the list before stored: %t", got)
			}
			if got := len(b.Series(b.device, "second")) == 1; got != c.second {
				t.Errorf("the list behind stored: %t", got)
			}
			if _, _, ok := b.DeviceOf(id); ok {
				t.Error("the device is there")
			}
		})
	}
}

// TestNameCollision: the incoming device is renamed, and the edge gets the new name with the
// credentials that came in the same uplink (CONTRACT.md 4.8, 5.5).
func TestNameCollision(t *testing.T) {
	b := newTenantBench(t)
	id := proto.UUID{15: 9}
	out := b.process(&proto.UplinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceUpdate(id, created, b.deviceJSON("meter"))},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{
			{Entity: `{"deviceId":` + idJSON(ref{typeDevice, id}) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"other"}`},
		},
	})
	d, _, _ := b.DeviceOf(id)
	if !out.Success || !madeUpName.MatchString(d.Name) || !strings.HasPrefix(d.Name, "meter_") {
		t.Fatalf("%q, %+v", d.Name, out)
	}
	if len(out.Events) != 1 || len(out.Events[0].DeviceUpdateMsg) != 1 || len(out.Events[0].DeviceCredentialsUpdateMsg) != 1 ||
		out.Events[0].DeviceUpdateMsg[0].MsgType != updated || !strings.Contains(out.Events[0].DeviceUpdateMsg[0].Entity, d.Name) ||
		!strings.Contains(out.Events[0].DeviceCredentialsUpdateMsg[0].Entity, `"other"`) {
		t.Errorf("events %v", out.Events)
	}
	if !strings.Contains(out.Events[0].DeviceUpdateMsg[0].Entity, `"configuration":{"type":"DEFAULT","type":"DEFAULT"}`) {
		t.Errorf("no duplicate type in %s", out.Events[0].DeviceUpdateMsg[0].Entity)
	}
	if kept, _, _ := b.DeviceOf(b.device); kept.Name != "meter" {
		t.Errorf("the other device is called %q now", kept.Name)
	}
}

// TestDeletedEdge: uplinks of a deleted edge are still answered; a device is saved and at once
// refused (CONTRACT.md 2.6).
func TestDeletedEdge(t *testing.T) {
	b := newTenantBench(t)
	b.DeleteEdge(b.edge)
	if _, ok := b.EdgeByKey("key"); ok || !b.Deleted(b.edge) {
		t.Error("the edge is known by its key")
	}
	if out := b.process(&proto.UplinkMsg{}); !out.Success {
		t.Errorf("an empty uplink: %+v", out)
	}
	id := proto.UUID{15: 9}
	out := b.process(&proto.UplinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceUpdate(id, created, b.deviceJSON("orphan"))}})
	if !strings.HasPrefix(out.Error, "Can't assign device to non-existent edge!\n") {
		t.Errorf("%+v", out)
	}
	if d, edge, ok := b.DeviceOf(id); !ok || d.Name != "orphan" || edge != (proto.UUID{}) {
		t.Errorf("%+v, %x, %t", d, edge, ok)
	}
	if _, edge, ok := b.DeviceOf(b.device); !ok || edge != (proto.UUID{}) {
		t.Error("the device of the edge is gone or still assigned")
	}
}

// TestDeleteEverywhere: all other edges get what an uplink deletes (CONTRACT.md 6.3).
func TestDeleteEverywhere(t *testing.T) {
	b := newTenantBench(t)
	out := b.process(&proto.UplinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceUpdate(b.device, deleted, "")}})
	if !out.Success || len(out.Events) != 0 || len(out.Everywhere) != 1 ||
		!pb.Equal(out.Everywhere[0], deletedDown(ref{typeDevice, b.device})) {
		t.Errorf("%+v", out)
	}
	if _, _, ok := b.DeviceOf(b.device); ok {
		t.Error("the device is there")
	}
	if out = b.process(&proto.UplinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceUpdate(b.device, deleted,
		"")}}); !out.Success || len(out.Everywhere) != 0 {
		t.Errorf("the second time: %+v", out)
	}
}

// TestRPCParts: answers and calls are in the outcome; an unknown error word is thrown
// (CONTRACT.md 8).
func TestRPCParts(t *testing.T) {
	b := newTenantBench(t)
	reply := &proto.DeviceRpcCallMsg{RequestId: 1, ResponseMsg: &proto.RpcResponseMsg{}}
	timeout := &proto.DeviceRpcCallMsg{RequestId: 2, ResponseMsg: &proto.RpcResponseMsg{Error: "TIMEOUT"}}
	call := &proto.DeviceRpcCallMsg{RequestId: 3, RequestMsg: &proto.RpcRequestMsg{Method: "m"}}
	out := b.process(&proto.UplinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{reply, timeout, call, {RequestId: 4}}})
	if !out.Success || !slices.Equal(out.RPCReplies, []*proto.DeviceRpcCallMsg{reply, timeout}) ||
		!slices.Equal(out.RPCCalls, []*proto.DeviceRpcCallMsg{call}) {
		t.Errorf("%+v", out)
	}
}

// TestSteps: the sequence of CONTRACT.md 3.2 in both modes.
func TestSteps(t *testing.T) {
	b := newTenantBench(t)
	names := func(full bool) (list []string) {
		for _, step := range b.Steps(b.edge, full) {
			parts := map[string]int{}
			for _, m := range step {
				m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
					parts[string(f.Name())]++
					return true
				})
			}
			var all []string
			for name, n := range parts {
				all = append(all, fmt.Sprint(name, " ", n))
			}
			slices.Sort(all)
			list = append(list, strings.Join(all, ", "))
		}
		return list
	}
	always := []string{
		"assetProfileUpdateMsg 1, deviceProfileUpdateMsg 1", "deviceProfileUpdateMsg 2", "assetProfileUpdateMsg 1",
		"deviceCredentialsUpdateMsg 1, deviceProfileUpdateMsg 1, deviceUpdateMsg 1",
	}
	if got := names(false); !slices.Equal(got, always) {
		t.Errorf("differential:\n%q, want\n%q", got, always)
	}
	full := append([]string{
		"tenantProfileUpdateMsg 1, tenantUpdateMsg 1", "queueUpdateMsg 3", "ruleChainMetadataUpdateMsg 1, ruleChainUpdateMsg 1",
		"adminSettingsUpdateMsg 4", "userCredentialsUpdateMsg 1, userUpdateMsg 1", "widgetTypeUpdateMsg 60", "widgetsBundleUpdateMsg 28",
	}, always...)
	full = append(full, "notificationTemplateUpdateMsg 3", "notificationTargetUpdateMsg 2",
		"notificationRuleUpdateMsg 1", "deviceProfileUpdateMsg 2")
	if got := names(true); !slices.Equal(got, full) {
		t.Errorf("full:\n%q, want\n%q", got, full)
	}
	if n := NewTenant().widgetTypes; n != 684 {
		t.Errorf("%d widget types, want 684 (CONTRACT.md 3.3)", n)
	}
}

// TestStepsJSON: every entity of a full sync is JSON.
func TestStepsJSON(t *testing.T) {
	b := newTenantBench(t)
	n := 0
	for _, step := range b.Steps(b.edge, true) {
		for _, m := range step {
			for _, text := range entityTexts(m) {
				n++
				if o, err := readObject(text, "", ""); err != nil || o == nil {
					t.Errorf("%v in %s", err, text)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("%d entities looked at, want more than 100", n)
	}
}

// entityTexts lists all texts called entity in a message.
func entityTexts(m *proto.DownlinkMsg) (texts []string) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !f.IsList() || f.Message() == nil {
			return true
		}
		entity := f.Message().Fields().ByName("entity")
		for i := range v.List().Len() {
			if entity != nil {
				texts = append(texts, v.List().Get(i).Message().Get(entity).String())
			}
		}
		return true
	})
	return texts
}

// TestAdministration: the changes that scripts/cloud and the tests make to the tenant, and the
// events of each (CONTRACT.md 6.3).
func TestAdministration(t *testing.T) {
	b := newTenantBench(t)
	c := b.Configuration(b.edge)
	if c.CloudType != "CE" || c.AdditionalInfo != "null" ||
		proto.UUIDOf(c.CustomerIdMSB, c.CustomerIdLSB) != proto.NullUUID || c.Secret != "secret" {
		t.Errorf("%v", c)
	}
	e, _ := b.EdgeByKey("key")
	e.Secret, e.RoutingKey = "new", "key2"
	b.SaveEdge(e)
	if _, ok := b.EdgeByKey("key"); ok {
		t.Error("the old key still works")
	}
	if got, ok := b.EdgeByKey("key2"); !ok || got.Secret != "new" {
		t.Errorf("%+v, %t", got, ok)
	}
	down := b.AddDevice(b.edge, Device{Name: "gate", Profile: "gateway", Label: "G", Gateway: true})
	if len(down.DeviceUpdateMsg) != 1 || len(down.DeviceCredentialsUpdateMsg) != 1 ||
		len(down.DeviceProfileUpdateMsg) != 1 || down.DeviceUpdateMsg[0].MsgType != created {
		t.Errorf("%v", down)
	}
	list := b.Devices()
	if len(list) != 2 || list[0].Name != "gate" || list[1].Name != "meter" {
		t.Fatalf("%+v", list)
	}
	g := list[0]
	if g.Profile != "gateway" || g.Label != "G" || !g.Gateway || g.CredentialsType != "ACCESS_TOKEN" || len(g.CredentialsID) != 20 {
		t.Errorf("%+v", g)
	}
	g.Name = "gate-2"
	if down = b.SaveDevice(g); len(down.DeviceUpdateMsg) != 1 || down.DeviceUpdateMsg[0].MsgType != updated ||
		len(down.DeviceProfileUpdateMsg) != 0 {
		t.Errorf("%v", down)
	}
	down = b.SetCredentials(g.ID, "MQTT_BASIC", "", `{"clientId":"c","userName":"u","password":"p"}`)
	if len(down.DeviceCredentialsUpdateMsg) != 1 || !strings.Contains(down.DeviceCredentialsUpdateMsg[0].Entity, sha3Hex("c|u")) {
		t.Errorf("%v", down)
	}
	down = b.SetAttributes(g.ID, "DEVICE", "SHARED_SCOPE", []*proto.KeyValueProto{longPair("x", 1)}, b.now)
	if d := down.EntityData[0]; d.PostAttributeScope != "SHARED_SCOPE" || d.GetAttributeTs() != b.now.UnixMilli() ||
		len(d.AttributesUpdatedMsg.Kv) != 1 {
		t.Errorf("%v", down)
	}
	if down = b.SetAttributes(proto.UUID{1}, "DEVICE", "SHARED_SCOPE", nil, b.now); down != nil {
		t.Errorf("attributes of nobody: %v", down)
	}
	if down = b.Unassign(g.ID); down.DeviceUpdateMsg[0].MsgType != deleted || down.DeviceUpdateMsg[0].Entity != "" {
		t.Errorf("%v", down)
	}
	if _, edge, ok := b.DeviceOf(g.ID); !ok || edge != (proto.UUID{}) {
		t.Error("still assigned")
	}
	b.Delete(g.ID)
	if _, _, ok := b.DeviceOf(g.ID); ok {
		t.Error("still there")
	}
}

// TestConcurrency uses a tenant from many goroutines, for the race detector.
func TestConcurrency(t *testing.T) {
	b := newTenantBench(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				b.process(&proto.UplinkMsg{EntityData: []*proto.EntityDataProto{b.data(kvList(int64(n), longPair(fmt.Sprint("k", i), 1)))}})
				b.Series(b.device, "k0")
				b.Steps(b.edge, false)
				b.Devices()
				b.Counts()
			}
		})
	}
	wg.Wait()
	if c := b.Counts(); c.Points != 200 || c.Uplinks != 200 {
		t.Errorf("%+v", c)
	}
}

// FuzzProcess: no uplink makes the database panic, and each uplink gets exactly one kind of answer.
func FuzzProcess(f *testing.F) {
	for _, name := range []string{"uplink-bad", "uplink-entities", "uplink-alarm", "uplink-requests"} {
		for _, raw := range tapeUplinks(f, name) {
			f.Add(raw)
		}
	}
	b := newTenantBench(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m proto.UplinkMsg
		if pb.Unmarshal(raw, &m) != nil {
			return
		}
		out := b.process(&m)
		answers := 0
		for _, one := range []bool{out.Success, out.Error != "", out.Never} {
			if one {
				answers++
			}
		}
		if answers != 1 {
			t.Fatalf("%+v", out)
		}
	})
}

// BenchmarkProcess measures uplinks of 100 events of three values.
func BenchmarkProcess(b *testing.B) {
	bn := newTenantBench(b)
	m := &proto.UplinkMsg{}
	for range 100 {
		m.EntityData = append(m.EntityData, bn.data(kvList(0, longPair("a", 1), longPair("b", 2),
			&proto.KeyValueProto{Key: "c", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 21.5})))
	}
	ts := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range m.EntityData {
			ts++
			d.PostTelemetryMsg.TsKvList[0].Ts = ts
		}
		if !bn.process(m).Success {
			b.Fatal("failed")
		}
	}
	b.ReportMetric(float64(ts)/b.Elapsed().Seconds(), "events/s")
}

// An alarm that is active here and raised at the edge keeps its id; acknowledge and clear under the
// edge's id do nothing, and nobody is told. The recording is edgesync's against the real server.
func TestAlarmTwoIDs_13_5(t *testing.T) {
	tenant := newTenant(mustUUID("4dc638f0-ebcf-11f1-905b-ebac168d5fb1"))
	edge := edgeA
	tenant.AddEdge(edge)
	own, device := mustUUID("45d6271e-a5ec-422d-8174-08fe2244f166"), mustUUID("d2f9cd20-ebcf-11f1-b7e7-a9b7ab7e4883")
	first := tenant.NewID()
	u := &proto.AlarmUpdateMsg{Entity: `{"tenantId":` + idJSON(ref{typeTenant, tenant.TenantID()}) +
		`,"type":"both-db337yb","severity":"MINOR","originator":` + idJSON(ref{typeDevice, device}) + `}`}
	u.IdMSB, u.IdLSB = proto.Halves(first)
	tenant.Process(edge.ID, &proto.UplinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{u}}, time.Now())
	n, lines := 0, readTape(t, "alarm-two-ids")
	for i, l := range lines {
		if l.Up == nil {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(*l.Up)
		var m proto.RequestMsg
		if err == nil {
			err = pb.Unmarshal(raw, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		out := tenant.Process(edge.ID, m.UplinkMsg, time.Now())
		if want := lines[i+1].Answer; out.Success != want.Success || m.UplinkMsg.UplinkMsgId != want.ID {
			t.Errorf("line %d: %+v, recorded %+v", l.Line, out, want)
		}
		if len(out.Events)+len(out.Everywhere) != 0 {
			t.Errorf("line %d: somebody is told", l.Line)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d uplinks", n)
	}
	if _, ok := tenant.Entity("ALARM", own); ok {
		t.Error("there are two alarms")
	}
	text, _ := tenant.Entity("ALARM", first)
	var j struct{ Status, Severity string }
	if err := json.Unmarshal([]byte(text), &j); err != nil || j.Status != "ACTIVE_UNACK" || j.Severity != "MAJOR" {
		t.Errorf("the alarm is %s (%v)", text, err)
	}
}
