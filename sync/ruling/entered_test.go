package ruling

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/wal"
)

// sayNode makes telemetry of each message, which says what message it is.
const sayNode = `transform.TbTransformMsgNode|say|{"scriptLang":"TBEL","tbelScript":"return {msg: {t: msgType, d: JSON.stringify(msg), ` +
	`m: JSON.stringify(metadata)}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};"}`

// messages are those that have gone through a chain of sayNode since the last call, each with the
// last byte of its originator's id.
func (g *rig) messages() (list []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.queue {
		f, _ := open(g.queue[i].Fragment)
		v := map[string]string{}
		for _, kv := range f.values() {
			v[string(kv.Key)] = string(kv.Str)
		}
		list = append(list, fmt.Sprintf("%s %d %s %s %s", f.entityType, g.queue[i].Entity[15], v["t"], v["d"], v["m"]))
	}
	g.queue = nil
	return list
}

// What people do at the edge enters the chain as RULES.md 2.2 says.
func TestWhatPeopleDoEnters(t *testing.T) {
	const user = `"userEmail":"a@b.c","userId":"ee000000-0000-0000-0000-000000000000","userName":"a@b.c"`
	one, two := device(1), device(2)
	asset := proto.UUID{0xa0, 15: 9}
	relation := `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(one) + `"},"to":{"entityType":"DEVICE","id":"` +
		proto.FormatUUID(two) + `"},"type":"Contains"}`
	alarm := `{"type":"Hot","severity":"MAJOR","originator":{"entityType":"DEVICE","id":"` + proto.FormatUUID(one) + `"}}`
	owned := `{"name":"pump 1","type":"default","customerId":{"entityType":"CUSTOMER","id":"ac000000-0000-0000-0000-000000000001"}}`
	kv := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_LONG_V, Long: 7}}
	update := func(kind proto.Kind, id proto.UUID, text string) []byte {
		return proto.AppendUpdate(nil, kind, 0, id, text)
	}
	event := func(kind proto.Kind, action proto.Action, id proto.UUID, f []byte) proto.Event {
		return proto.Event{Kind: kind, Action: action, Entity: id, Fragment: f}
	}
	data := func(action proto.Action, f []byte) proto.Event { return event(proto.KindEntityData, action, one, f) }
	for _, c := range []struct {
		name string
		e    proto.Event
		edit registry.Edit
		want []string // starts of messages
		meta string   // of the first
	}{
		{
			"time series saved", data(proto.ActionTimeseriesUpdated, proto.AppendTelemetry(nil, one, "DEVICE", 5, kv)),
			registry.Edit{},
			[]string{`DEVICE 1 TIMESERIES_UPDATED {"timeseries":[{"ts":5,"values":{"k":7}}]} `},
			``,
		},
		{
			"customer's device changed", event(proto.KindDevice, proto.ActionUpdated, one, nil),
			registry.Edit{Kind: proto.KindDevice, ID: one, Text: owned},
			[]string{`DEVICE 1 ENTITY_UPDATED {"name":"pump 1",`},
			`"customerId":"ac000000-0000-0000-0000-000000000001"`,
		},
		{
			"customer's device deleted", event(proto.KindDevice, proto.ActionDeleted, one, nil),
			registry.Edit{Kind: proto.KindDevice, ID: one, Deleted: true},
			[]string{`DEVICE 1 ENTITY_DELETED {"name":"pump 1",`},
			`"customerId":"ac000000-0000-0000-0000-000000000001"`,
		},
		{
			"time series deleted", data(proto.ActionTimeseriesDeleted, proto.AppendAttributeDelete(nil, one, "DEVICE", "", []string{"k"})),
			registry.Edit{},
			[]string{`DEVICE 1 TIMESERIES_DELETED {"timeseries":["k"],"startTs":3,"endTs":9} `},
			``,
		},
		{
			"attributes changed", data(proto.ActionAttributesUpdated,
				proto.AppendAttributesUpdated(nil, one, "DEVICE", "SHARED_SCOPE", 5, kv)),
			registry.Edit{},
			[]string{`DEVICE 1 ATTRIBUTES_UPDATED {"k":7} `},
			`"scope":"SHARED_SCOPE"`,
		},
		{
			"attributes deleted", data(proto.ActionAttributesDeleted,
				proto.AppendAttributeDelete(nil, one, "DEVICE", "SERVER_SCOPE", []string{"k", "l"})),
			registry.Edit{},
			[]string{`DEVICE 1 ATTRIBUTES_DELETED {"attributes":["k","l"]} `},
			`"scope":"SERVER_SCOPE"`,
		},
		{
			"asset made", event(proto.KindAsset, proto.ActionAdded, asset, update(proto.KindAsset, asset, `{"name":"room"}`)),
			registry.Edit{Kind: proto.KindAsset, ID: asset, Text: `{"name":"room"}`},
			[]string{`ASSET 9 ENTITY_CREATED {"name":"room"} `},
			`"entityName":"room"`,
		},
		{
			"asset changed", event(proto.KindAsset, proto.ActionUpdated, asset, update(proto.KindAsset, asset, `{"name":"hall"}`)),
			registry.Edit{Kind: proto.KindAsset, ID: asset, Text: `{"name":"hall"}`},
			[]string{`ASSET 9 ENTITY_UPDATED {"name":"hall"} `},
			`"entityType":"ASSET"`,
		},
		{
			"asset deleted", event(proto.KindAsset, proto.ActionDeleted, asset, update(proto.KindAsset, asset, "")),
			registry.Edit{Kind: proto.KindAsset, ID: asset, Deleted: true},
			[]string{`ASSET 9 ENTITY_DELETED {"name":"hall"} `},
			`"entityName":"hall"`,
		},
		{
			"relation made", event(proto.KindRelation, proto.ActionRelationAddOrUpdate, one, update(proto.KindRelation, one, relation)),
			registry.Edit{Kind: proto.KindRelation, Text: relation},
			[]string{`DEVICE 1 RELATION_ADD_OR_UPDATE {"from":`, `DEVICE 2 RELATION_ADD_OR_UPDATE {"from":`},
			``,
		},
		{
			"relation deleted", event(proto.KindRelation, proto.ActionRelationDeleted, one, update(proto.KindRelation, one, relation)),
			registry.Edit{Kind: proto.KindRelation, Text: relation, Deleted: true},
			[]string{`DEVICE 1 RELATION_DELETED {"from":`, `DEVICE 2 RELATION_DELETED {"from":`},
			``,
		},
		{
			"relations deleted", data(proto.ActionRelationsDeleted, proto.AppendAttributeDelete(nil, one, "DEVICE", "", nil)),
			registry.Edit{},
			[]string{`DEVICE 1 RELATIONS_DELETED {} `},
			``,
		},
		{
			"alarm made", event(proto.KindAlarm, proto.ActionAdded, asset, nil),
			registry.Edit{Kind: proto.KindAlarm, ID: asset, Text: alarm},
			[]string{`DEVICE 1 ENTITY_CREATED {"type":"Hot",`},
			`"entityName":"Hot"`,
		},
		{
			"alarm acknowledged", event(proto.KindAlarm, proto.ActionAlarmAck, asset, nil),
			registry.Edit{Kind: proto.KindAlarm, ID: asset, Text: alarm},
			[]string{`DEVICE 1 ALARM_ACK {"type":"Hot",`},
			`"entityType":"DEVICE"`,
		},
		{
			"alarm deleted", event(proto.KindAlarm, proto.ActionDeleted, asset, nil),

			registry.Edit{Kind: proto.KindAlarm, ID: asset, Deleted: true},
			[]string{`DEVICE 1 ALARM_DELETE {"type":"Hot",`},
			`"entityName":"Hot"`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			defer g.close(false)
			g.chain(chainID, true, []string{sayNode, pushNode}, "0>1:Success")
			if c.edit.Kind != 0 && (c.e.Action == proto.ActionDeleted || c.e.Action == proto.ActionUpdated) {
				before := registry.Edit{Kind: c.edit.Kind, ID: c.edit.ID, Text: `{"name":"hall"}`}
				switch c.edit.Kind {
				case proto.KindAlarm:
					before.Text = alarm
				case proto.KindDevice:
					before.Text = owned
				}
				if err := g.reg.Edit(0, before); err != nil {
					t.Fatal(err)
				}
			}
			run := g.Entered([]proto.Event{c.e}, registry.User{ID: proto.UUID{0xee}, Text: []byte(`{"email":"a@b.c"}`)}, 3, 9)
			if c.edit.Kind != 0 {
				if err := g.reg.Edit(0, c.edit); err != nil {
					t.Fatal(err)
				}
			}
			run()
			got := g.messages()
			if len(got) != len(c.want) {
				t.Fatalf("%q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) || !strings.Contains(got[i], `"userId":"ee0`) || !strings.Contains(got[i], c.meta) {
					t.Errorf("%s, want %s with %s and %s", got[i], want, c.meta, user)
				}
			}
		})
	}
}

// What the cloud sends enters the chain as RULES.md 2.2 says: data as they come, an entity where it
// is new here, and no deletion.
func TestWhatTheCloudSendsEnters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		g.chain(chainID, true, []string{sayNode, pushNode}, "0>1:Success")
		g.Start()
		send := func(m *proto.DownlinkMsg, want ...string) {
			t.Helper()
			came := g.Coming(m)
			g.down(m)
			if came != nil {
				came()
			}
			synctest.Wait()
			got := g.messages()
			if len(got) != len(want) {
				t.Fatalf("%q, want %q", got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s, want %s", got[i], want[i])
				}
			}
		}
		d := &proto.DeviceUpdateMsg{Entity: `{"name":"pump 3","type":"default"}`}
		d.IdMSB, d.IdLSB = proto.Halves(device(3))
		m := &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}}
		send(m, `DEVICE 3 ENTITY_CREATED {"name":"pump 3","type":"default"} {}`)
		send(m) // as at each full sync
		of := func(id proto.UUID) *proto.EntityDataProto {
			e := &proto.EntityDataProto{EntityType: "DEVICE"}
			e.EntityIdMSB, e.EntityIdLSB = proto.Halves(id)
			return e
		}
		kv := []*proto.KeyValueProto{{Key: "k", Type: proto.KeyValueType_LONG_V, LongV: 7}}
		e := of(device(3))
		e.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: 5, Kv: kv}}}
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}},
			`DEVICE 3 POST_TELEMETRY_REQUEST {"k":7} {"deviceType":"default","source":"cloud","deviceName":"pump 3","ts":"5"}`)
		e = of(device(3))
		e.AttributesUpdatedMsg, e.PostAttributeScope = &proto.PostAttributeMsg{Kv: kv}, "SHARED_SCOPE"
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}},
			`DEVICE 3 ATTRIBUTES_UPDATED {"k":7} {"deviceType":"default","scope":"SHARED_SCOPE","source":"cloud","deviceName":"pump 3"}`)
		// Of changed attributes those that are newer than what is here, as a sync brings all of
		// them.
		at := int64(1000)
		e = of(device(3))
		e.AttributesUpdatedMsg, e.PostAttributeScope, e.AttributeTs = &proto.PostAttributeMsg{Kv: kv}, "SERVER_SCOPE", &at
		meta := `{"deviceType":"default","scope":"SERVER_SCOPE","source":"cloud","deviceName":"pump 3"}`
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}}, `DEVICE 3 ATTRIBUTES_UPDATED {"k":7} `+meta)
		both := append(kv, &proto.KeyValueProto{Key: "l", Type: proto.KeyValueType_LONG_V, LongV: 8})
		e.AttributesUpdatedMsg = &proto.PostAttributeMsg{Kv: both}
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}}, `DEVICE 3 ATTRIBUTES_UPDATED {"l":8} `+meta)
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}}, `DEVICE 3 ATTRIBUTES_UPDATED {} `+meta)
		at++
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}}, `DEVICE 3 ATTRIBUTES_UPDATED {"k":7,"l":8} `+meta)
		field := &proto.CalculatedFieldUpdateMsg{IdLSB: 5, IdMSB: 1, Entity: `{"name":"sum","entityId":{"entityType":"DEVICE","id":"` +
			proto.FormatUUID(device(3)) + `"}}`}
		before := g.engine.Sums()
		for range 2 {
			send(&proto.DownlinkMsg{CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{field}}) // none goes up
		}
		if s := g.engine.Sums(); s.Received != before.Received+1 {
			t.Errorf("%+v, before the calculated field %+v", s, before)
		}
		e = of(device(3))
		e.AttributeDeleteMsg = &proto.AttributeDeleteMsg{Scope: "SHARED_SCOPE", AttributeNames: []string{"k"}}
		send(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}}) // only the device is told
		gone := &proto.DeviceUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, IdMSB: d.IdMSB, IdLSB: d.IdLSB}
		send(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{gone}})
	})
}

// A first sync leaves no entity out, however fast its messages come.
func TestAFirstSyncEntersWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		g.chain(chainID, true, []string{
			`transform.TbTransformMsgNode|name|{"scriptLang":"TBEL","tbelScript":"return {msg: {n: msg.name}, metadata: metadata, ` +
				`msgType: 'POST_TELEMETRY_REQUEST'};"}`, pushNode,
		}, "0>1:Success")
		const devices = 1000
		for n := 3; n < 3+devices; n++ {
			d := &proto.DeviceUpdateMsg{Entity: fmt.Sprintf(`{"name":"pump %d","type":"default","additionalInfo":"%0999d"}`, n, 0)}
			d.IdMSB, d.IdLSB = proto.Halves(proto.UUID{0xd0, 1, byte(n >> 8), 15: byte(n)})
			m := &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}}
			came := g.Coming(m)
			if _, err := g.reg.Apply(m); err != nil {
				t.Fatal(err)
			}
			came()
		}
		g.Start()
		synctest.Wait()
		for i := range g.queue {
			f, _ := open(g.queue[i].Fragment)
			if got, want := string(f.appendJSON(nil)), fmt.Sprintf(`{"n":"pump %d"}`, 3+i); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
		if len(g.queue) != devices {
			t.Errorf("%d messages, want %d", len(g.queue), devices)
		}
	})
}

// A device that is made here enters its chain as RULES.md 2.2 says: by a gateway, or by
// provisioning.
func TestWhatIsMadeHereEnters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		g.chain(chainID, true, []string{sayNode, pushNode}, "0>1:Success")
		g.Start()
		c := &proto.Creation{ID: device(1), Gateway: device(2), Device: `{"name":"pump 1","type":"default"}`}
		g.Made(c)
		synctest.Wait()
		c.Gateway = proto.UUID{}
		g.Made(c)
		g.Provisioned(device(1), true, "the key", "")
		g.Provisioned(device(2), false, "the key", "X509_CERTIFICATE")
		g.Provisioned(device(9), true, "the key", "") // is not here any more
		synctest.Wait()
		want := []string{
			`DEVICE 1 ENTITY_CREATED {"name":"pump 1","type":"default"} {"entityName":"pump 1","entityType":"DEVICE",` +
				`"gatewayId":"` + proto.FormatUUID(device(2)) + `"}`,
			`DEVICE 1 ENTITY_CREATED {"name":"pump 1","type":"default"} {"entityName":"pump 1","entityType":"DEVICE"}`,
			`DEVICE 1 PROVISION_SUCCESS {"name":"pump 1","type":"default"} {"deviceType":"default","provisionDeviceKey":"the key",` +
				`"deviceName":"pump 1"}`,
			`DEVICE 2 PROVISION_FAILURE {"name":"pump 2","type":"default"} {"deviceType":"default","provisionDeviceKey":"the key",` +
				`"credentialsType":"X509_CERTIFICATE","deviceName":"pump 2"}`,
		}
		if got := g.messages(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Time series that one request saves are one message.
func TestSeriesOfARequestAreOneMessage(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{sayNode, pushNode}, "0>1:Success")
	var events []proto.Event
	for i, ts := range []int64{7, 5, 5, 0} {
		kv := []proto.KV{{Key: []byte{'a' + byte(i)}, Type: proto.KeyValueType_LONG_V, Long: int64(i)}}
		events = append(events, proto.Event{
			Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: device(1),
			Fragment: proto.AppendTelemetry(nil, device(1), "DEVICE", ts, kv),
		})
	}
	g.Entered(events, registry.User{ID: proto.UUID{0xee}, Customer: proto.UUID{0xac}}, 0, 0)()
	want := `DEVICE 1 TIMESERIES_UPDATED {"timeseries":[{"ts":7,"values":{"a":0}},{"ts":5,"values":{"b":1,"c":2}},` +
		`{"ts":0,"values":{"d":3}}]} ` +
		`{"customerId":"ac000000-0000-0000-0000-000000000000","userEmail":"","userName":"","userId":"ee000000-0000-0000-0000-000000000000"}`
	if got := g.messages(); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
	if s := g.engine.Sums(); s.Received != 1 || s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
		t.Errorf("%+v", s)
	}
}

// A changed severity makes the comment that a server writes by itself, a user's and a node's, in
// the root chain (RULES.md 2.2). Nothing else makes one.
func TestSeverityComments(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	const create = `action.TbCreateAlarmNode|create|{"alarmType":"Hot","severity":"$[s]","dynamicSeverity":true,"scriptLang":"TBEL",` +
		`"alarmDetailsBuildTbel":"return {};"}`
	const ofAlarm = `transform.TbChangeOriginatorNode|of|{"originatorSource":"ALARM_ORIGINATOR"}`
	g.chain(chainID, true, []string{switchNode, create, sayNode, ofAlarm, pushNode},
		"0>1:Post telemetry", "0>2:Comment Created", "2>3:Success", "3>4:Success")
	take := func(severity string, refused error) {
		t.Helper()
		out, finish, err := g.Take(events(t, 1, `{"s":"`+severity+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		g.mu.Lock()
		for _, e := range out {
			if refused == nil {
				g.queue = append(g.queue, wal.Event{Entity: e.Entity, Fragment: e.Fragment})
			}
		}
		g.mu.Unlock()
		if err := finish(refused, nil); err != refused {
			t.Fatal(err)
		}
	}
	want := func(user string, from, to string) {
		t.Helper()
		got := g.messages()
		if len(got) != 1 {
			t.Fatalf("%q", got)
		}
		for _, part := range []string{
			" COMMENT_CREATED {\"id\":{\"entityType\":\"ALARM\",", `"severity":"` + to + `"`, `"entityName":"Hot"`, `"entityType":"ALARM"`,
			`\"userId\":` + user, `\"type\":\"SYSTEM\",\"comment\":{\"text\":\"Alarm severity was updated from ` + from + ` to ` + to +
				`\",\"subtype\":\"SEVERITY_CHANGED\"`,
		} {
			if !strings.Contains(got[0], part) {
				t.Errorf("%s, want %s in it", got[0], part)
			}
		}
	}
	take("MAJOR", nil)
	take("MAJOR", nil)
	if got := g.messages(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	take("CRITICAL", errFull) // leaves nothing
	take("CRITICAL", nil)
	want("null", "MAJOR", "CRITICAL")
	a := g.OpenAlarm(&rules.Entity{Type: "DEVICE", ID: device(1)}, "Hot")
	changed := proto.Event{Kind: proto.KindAlarm, Action: proto.ActionUpdated, Entity: a.ID}
	run := g.Entered([]proto.Event{changed}, registry.User{ID: proto.UUID{0xee}}, 0, 0)
	a.Severity = "MINOR"
	if err := g.reg.Edit(0, registry.Edit{Kind: proto.KindAlarm, ID: a.ID, Text: a.JSON(g)}); err != nil {
		t.Fatal(err)
	}
	run()
	want(`{\"entityType\":\"USER\",\"id\":\"ee000000-0000-0000-0000-000000000000\"}`, "CRITICAL", "MINOR")
	for _, action := range []proto.Action{proto.ActionAlarmAck, proto.ActionUpdated, proto.ActionAlarmClear} {
		g.Entered([]proto.Event{{Kind: proto.KindAlarm, Action: action, Entity: a.ID}}, registry.User{}, 0, 0)()
	}
	if got := g.messages(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	if s := g.engine.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
		t.Errorf("%+v", s)
	}
}
