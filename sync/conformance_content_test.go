package sync

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// CONTRACT.md 5: the content of what goes up.
func TestConformanceContent(t *testing.T) {
	conform(t, []rule{
		{"5.2 the deletion of time series goes to the dead letters, never up, and holds nothing up", func(b *box) {
			d := b.device("d")
			b.sent(func(*proto.UplinkMsg) bool { return true })
			b.post(d.ID, 1)
			err := b.intake.Accept(b.Context(), []proto.Event{{
				Kind: proto.KindEntityData, Action: proto.ActionTimeseriesDeleted, Time: time.Now().UnixMilli(), Entity: d.ID,
				Fragment: proto.AppendAttributeDelete(nil, d.ID, "DEVICE", "TIMESERIES", []string{"t"}),
			}})
			if err != nil {
				b.Fatal(err)
			}
			b.post(d.ID, 2)
			b.elapse(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2})
			deadLetters := func() (list []wal.DeadLetter) {
				if err := b.dead.Each(func(l *wal.DeadLetter) bool { list = append(list, *l); return true }); err != nil {
					b.Fatal(err)
				}
				return list
			}
			if l := deadLetters(); len(l) != 1 || !l[0].Resting ||
				!strings.HasPrefix(l[0].Reason, "TIMESERIES_DELETED cannot be transferred") {
				b.Errorf("dead letters %+v", l)
			}
			if _, err := b.agent.DeadLetters().Retry(b.Context(), deadLetters()[0].Offset); err != nil {
				b.Fatal(err)
			}
			b.elapse(time.Minute)
			b.expect("resting again", deadLetters()[0].Resting, true)
			b.expect("sent", len(b.sent(func(u *proto.UplinkMsg) bool {
				return len(u.EntityData) > 0 && u.EntityData[0].AttributeDeleteMsg != nil
			})), 0)
		}},
		{"5.3 values keep their types and times their milliseconds, late ones too", func(b *box) {
			d := b.device("d")
			kv := []proto.KV{
				{Key: []byte("bool"), Type: proto.KeyValueType_BOOLEAN_V, Bool: true},
				{Key: []byte("long"), Type: proto.KeyValueType_LONG_V, Long: math.MinInt64},
				{Key: []byte("double"), Type: proto.KeyValueType_DOUBLE_V, Double: 0.3333333333333333},
				{Key: []byte("text"), Type: proto.KeyValueType_STRING_V, Str: []byte("Grüße 温度 🌡")},
				{Key: []byte("a b/c.d"), Type: proto.KeyValueType_JSON_V, Str: []byte(`{"unit":"C"}`)},
			}
			times := []int64{4102444800000, 1767225600123, 0, -1}
			for _, ts := range times {
				e := proto.Event{
					Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendTelemetry(nil, d.ID, "DEVICE", ts, kv),
				}
				if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
			}
			b.elapse(5 * time.Second)
			for key, want := range map[string]cloudtest.Value{
				"bool":    {Type: proto.KeyValueType_BOOLEAN_V, Bool: true},
				"long":    {Type: proto.KeyValueType_LONG_V, Long: math.MinInt64},
				"double":  {Type: proto.KeyValueType_DOUBLE_V, Dbl: 0.3333333333333333},
				"text":    {Type: proto.KeyValueType_STRING_V, Str: "Grüße 温度 🌡"},
				"a b/c.d": {Type: proto.KeyValueType_JSON_V, Str: `{"unit":"C"}`},
			} {
				b.expect("arrived", b.tenant.Arrivals(d.ID, key), times)
				for _, p := range b.tenant.Series(d.ID, key) {
					b.expect(key, p.Value, want)
				}
			}
		}},
		{"5.5 a device made at the edge reaches the cloud before its data", func(b *box) {
			gw := b.device("gw")
			var id proto.UUID
			b.offlineThenSync(func() {
				var err error
				made := &NewDevice{Name: "Dev A", Type: "thermostat", Gateway: gw.ID, CredentialsID: "tok-a"}
				if id, err = b.agent.Create(b.Context(), made); err != nil {
					b.Fatal(err)
				}
				b.post(id, 1, 2, 3)
				_, err = b.agent.Create(b.Context(), &NewDevice{Name: "Dev A", Gateway: gw.ID})
				b.expect("again", errors.Is(err, ErrNameTaken), true)
				b.stop() // and a restart before there is a link
				b.start()
				b.elapse(time.Second)
				b.post(id, 4)
			})
			_, _, changes := b.doors.heard()
			for _, c := range changes {
				if strings.HasSuffix(c, " 32") {
					b.Errorf("heard %q: the sync that came before its creation took it away", c)
				}
			}
			d, edge, ok := b.tenant.DeviceOf(id)
			b.expect("in the cloud", []any{d.Name, d.Profile, d.CredentialsID, edge == b.edge.ID, ok},
				[]any{"Dev A", "thermostat", "tok-a", true, true})
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4})
			b.expect("dead", b.agent.Snapshot().Dead, 0)
			b.offline(func() {}) // a sync brings the device: it is not taken for gone, nor made again
			b.expect("here", b.reg.HasDevice(id), true)
			b.expect("devices", b.reg.Devices(), 2)
		}},
		{"5.6 an alarm is raised, acknowledged, cleared and deleted in the cloud by its id", func(b *box) {
			d := b.device("d")
			id := b.tenant.NewID()
			state := func() string {
				text, ok := b.tenant.Entity("ALARM", id)
				var j struct{ Status string }
				if ok && json.Unmarshal([]byte(text), &j) != nil {
					b.Fatal(text)
				}
				return j.Status
			}
			for _, step := range []struct {
				action  proto.Action
				typ     proto.UpdateMsgType
				deleted bool
				want    string
			}{
				{proto.ActionAdded, entityCreated, false, "ACTIVE_UNACK"},
				{proto.ActionAlarmAck, proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE, false, "ACTIVE_ACK"},
				{proto.ActionAlarmClear, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE, false, "CLEARED_ACK"},
				{proto.ActionDeleted, entityDeleted, true, ""},
			} {
				e := proto.Event{
					Kind: proto.KindAlarm, Action: step.action, Time: time.Now().UnixMilli(), Entity: id,
					Fragment: proto.AppendUpdate(nil, proto.KindAlarm, step.typ, id, b.alarm(id, d.ID)),
				}
				if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
				b.elapse(3 * time.Second)
				b.expect("status", state(), step.want)
			}
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"5.7 a relation that was deleted here stays deleted while the cloud does not know, whatever it answers", func(b *box) {
			d, e := b.device("d"), b.device("e")
			text := `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(d.ID) + `"},` +
				`"to":{"entityType":"DEVICE","id":"` + proto.FormatUUID(e.ID) + `"},"type":"Contains","typeGroup":"COMMON"}`
			// push sends the relation as the answer to a question does.
			push := func() {
				m := &proto.RelationUpdateMsg{MsgType: entityCreated, Entity: text}
				b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{m}})
			}
			relation := func(deleted bool) {
				b.Helper()
				action, typ := proto.ActionRelationAddOrUpdate, entityCreated
				if deleted {
					action, typ = proto.ActionRelationDeleted, entityDeleted
				}
				err := b.intake.Accept(b.Context(), []proto.Event{{
					Kind: proto.KindRelation, Action: action, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendUpdate(nil, proto.KindRelation, typ, proto.UUID{}, text),
				}})
				edit := registry.Edit{Kind: proto.KindRelation, Text: text, Deleted: deleted}
				if err := errors.Join(err, b.reg.Edit(b.intake.End(), edit)); err != nil {
					b.Fatal(err)
				}
			}
			here := func() bool { _, ok := b.reg.Relation([]byte(text)); return ok }
			relation(false)
			b.elapse(5 * time.Second)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{true, 1})
			b.cloud.RateLimit(true) // the deletion waits in the queue
			relation(true)
			b.elapse(5 * time.Second)
			push()
			b.elapse(5 * time.Second)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{false, 1})
			b.cloud.RateLimit(false)
			b.elapse(2 * time.Minute)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{false, 0})
			push() // a user has made the relation again
			b.elapse(5 * time.Second)
			b.expect("here", here(), true)
		}},
		{"5.9 the metadata of a rule chain are asked for and come", func(b *box) {
			received := func() (n uint64) {
				for _, c := range b.reg.Counts() {
					if c.Part == "ruleChainMetadataUpdateMsg" {
						n = c.Received
					}
				}
				return n
			}
			var chain proto.UUID
			b.reg.Entities(proto.KindRuleChain, func(id proto.UUID, _ []byte) bool { chain = id; return false })
			before := received()
			err := b.intake.Accept(b.Context(), []proto.Event{{
				Kind: proto.KindRuleChainMetadataAsk, Action: proto.ActionRuleChainMetadataRequest,
				Time: time.Now().UnixMilli(), Entity: chain, Fragment: proto.AppendRequest(nil, proto.KindRuleChainMetadataAsk, chain, ""),
			}})
			if err != nil {
				b.Fatal(err)
			}
			b.elapse(10 * time.Second)
			b.expect("received", received()-before, 1)
			_, ok := b.reg.Entity(proto.KindRuleChainMetadata, chain)
			b.expect("here", ok, true)
		}},
	})
}

// A device whose creation is recorded and not yet queued when the agent crashes is announced to the
// cloud at the next start.
func TestPendingCreationIsAnnouncedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, nil)
		defer func() { b.cloud.Stop(); b.link.Close() }()
		b.start()
		b.elapse(time.Minute)
		creation, _, err := b.reg.Prepare(&proto.NewDevice{Name: "Dev C", CredentialsID: "c"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.stop() // before the creation is queued
		b.start()
		defer b.stop()
		if _, ok := b.reg.ByToken("c"); !ok {
			t.Error("not found after the start")
		}
		b.elapse(time.Minute)
		if d, _, ok := b.tenant.DeviceOf(creation.ID); !ok || d.Name != "Dev C" {
			t.Errorf("in the cloud: %+v %v", d, ok)
		}
	})
}
