package sync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// edit queues a change that people made here and stores it, as the REST API does.
func (b *box) edit(e registry.Edit, action proto.Action, t proto.UpdateMsgType) {
	b.Helper()
	text := e.Text
	if e.Deleted {
		text = ""
	}
	err := b.intake.Accept(b.Context(), []proto.Event{{
		Kind: e.Kind, Action: action, Time: time.Now().UnixMilli(), Entity: e.ID, Fragment: proto.AppendUpdate(nil, e.Kind, t, e.ID, text),
	}})
	if err := errors.Join(err, b.reg.Edit(b.intake.End(), e)); err != nil {
		b.Fatal(err)
	}
}

func (b *box) tenantRef() string {
	return `{"entityType":"TENANT","id":"` + proto.FormatUUID(b.tenant.TenantID()) + `"}`
}

// What people change at the edge, and what there is of RPC and deletions that stay here, against the cloud in a box.
func TestEdits(t *testing.T) {
	const created, updated, gone = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	for _, c := range []struct {
		name string
		f    func(b *box)
	}{
		{"3.5 a sync that comes before a deletion does not bring the device back, nor before a change the old state", func(b *box) {
			away, changed := b.device("gone"), b.device("changed")
			b.offline(func() {
				b.edit(registry.Edit{Kind: proto.KindDevice, ID: away.ID, Deleted: true}, proto.ActionDeleted, gone)
				text := `{"name":"changed","type":"default","label":"new","tenantId":` + b.tenantRef() + `}`
				b.edit(registry.Edit{Kind: proto.KindDevice, ID: changed.ID, Text: text}, proto.ActionUpdated, updated)
				b.stop() // and a restart in between
				b.start()
			})
			b.expect("here", b.reg.HasDevice(away.ID), false)
			_, _, there := b.tenant.DeviceOf(away.ID)
			b.expect("there", there, false)
			d, _ := b.reg.ByID(changed.ID)
			b.expect("label here", d.Label, "new")
			cd, _, _ := b.tenant.DeviceOf(changed.ID)
			b.expect("label there", cd.Label, "new")
			_, _, changes := b.doors.heard()
			for _, c := range changes {
				if strings.HasPrefix(c, "gone") {
					b.Errorf("heard %s", c)
				}
			}
			cd.Label = "newest" // what the cloud says later counts
			b.cloud.Push(b.edge.ID, b.tenant.SaveDevice(cd))
			b.settle(5 * time.Second)
			d, _ = b.reg.ByID(changed.ID)
			b.expect("label here", d.Label, "newest")
		}},
		{"3.5 an asset made without a link survives the sync that cannot bring it", func(b *box) {
			id := b.tenant.NewID()
			b.offline(func() {
				text := `{"name":"hall","type":"default","tenantId":` + b.tenantRef() + `}`
				b.edit(registry.Edit{Kind: proto.KindAsset, ID: id, Text: text}, proto.ActionAdded, created)
				b.stop()
				b.start()
			})
			_, ok := b.reg.Entity(proto.KindAsset, id)
			b.expect("here", ok, true)
			_, ok = b.tenant.Entity("ASSET", id)
			b.expect("there", ok, true)
			b.offline(func() {})
			_, ok = b.reg.Entity(proto.KindAsset, id)
			b.expect("here after one more sync", ok, true)
		}},
		{"3.5 a change that the cloud refuses is undone by the next sync", func(b *box) {
			d := b.device("kept")
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Can't delete device that has entity views!"
				}
				return ""
			})
			b.edit(registry.Edit{Kind: proto.KindDevice, ID: d.ID, Deleted: true}, proto.ActionDeleted, gone)
			b.settle(time.Minute)
			b.expect("dead", b.agent.Snapshot().Dead, 1)
			b.offline(func() {})
			b.expect("here", b.reg.HasDevice(d.ID), true)
		}},
		{"5.7 a relation that was deleted here stays deleted while the cloud does not know, whatever it answers", func(b *box) {
			d, e := b.device("d"), b.device("e")
			text := `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(d.ID) + `"},"to":{"entityType":"DEVICE","id":"` + proto.FormatUUID(e.ID) +
				`"},"type":"Contains","typeGroup":"COMMON"}`
			relation := func(deleted bool) {
				b.Helper()
				action, typ := proto.ActionRelationAddOrUpdate, created
				if deleted {
					action, typ = proto.ActionRelationDeleted, gone
				}
				err := b.intake.Accept(b.Context(), []proto.Event{{
					Kind: proto.KindRelation, Action: action, Time: time.Now().UnixMilli(), Entity: d.ID, Fragment: proto.AppendUpdate(nil, proto.KindRelation, typ, proto.UUID{}, text),
				}})
				if err := errors.Join(err, b.reg.Edit(b.intake.End(), registry.Edit{Kind: proto.KindRelation, Text: text, Deleted: deleted})); err != nil {
					b.Fatal(err)
				}
			}
			here := func() bool { _, ok := b.reg.Relation([]byte(text)); return ok }
			relation(false)
			b.settle(5 * time.Second)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{true, 1})
			b.cloud.RateLimit(true) // the deletion waits in the queue
			relation(true)
			b.settle(5 * time.Second)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{MsgType: created, Entity: text}}}) // as the answer to a question would bring it
			b.settle(5 * time.Second)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{false, 1})
			b.cloud.RateLimit(false)
			b.settle(2 * time.Minute)
			b.expect("here, there", []any{here(), len(b.tenant.Relations(d.ID))}, []any{false, 0})
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{MsgType: created, Entity: text}}}) // somebody makes it anew
			b.settle(5 * time.Second)
			b.expect("here", here(), true)
		}},
		{"5.2 the deletion of time series is recorded and told, never sent, and holds nothing up", func(b *box) {
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
			b.settle(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2})
			letters := func() (list []wal.DeadLetter) {
				if err := b.dead.Each(func(l *wal.DeadLetter) bool { list = append(list, *l); return true }); err != nil {
					b.Fatal(err)
				}
				return list
			}
			if l := letters(); len(l) != 1 || !l[0].Resting || !strings.HasPrefix(l[0].Reason, "TIMESERIES_DELETED cannot be transferred") {
				b.Errorf("letters %+v", l)
			}
			if _, err := b.agent.DeadLetters().Retry(b.Context(), letters()[0].Offset); err != nil {
				b.Fatal(err)
			}
			b.settle(time.Minute)
			b.expect("resting again", letters()[0].Resting, true)
			b.expect("sent", len(b.sent(func(u *proto.UplinkMsg) bool {
				return len(u.EntityData) > 0 && u.EntityData[0].AttributeDeleteMsg != nil
			})), 0)
		}},
		{"7.3 an attribute that was deleted here does not come back with an answer that does not know of it", func(b *box) {
			d := b.device("d")
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 1, "limit", 2), true)
			b.settle(5 * time.Second)
			b.expect("here", b.shared(d.ID, "fan"), "1")
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.EntityData) > 0 })
			b.offline(func() {
				err := b.intake.Accept(b.Context(), []proto.Event{{
					Kind: proto.KindEntityData, Action: proto.ActionAttributesDeleted, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendAttributeDelete(nil, d.ID, "DEVICE", "SHARED_SCOPE", []string{"fan"}),
				}})
				if err := errors.Join(err, b.reg.DeleteAttributes(d.ID, registry.SharedScope, []string{"fan"}, b.intake.End())); err != nil {
					b.Fatal(err)
				}
			})
			// What the server sent before it knew, and a newer value of what is here.
			ts := time.Now().UnixMilli()
			m := &proto.EntityDataProto{EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ts, AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs("fan", 1, "limit", 3)}}
			m.EntityIdMSB, m.EntityIdLSB = proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{m}})
			b.settle(5 * time.Second)
			b.expect("here", []string{b.shared(d.ID, "fan"), b.shared(d.ID, "limit")}, []string{"", "3"})
			b.cloud.DropAcksIf(nil)
			b.settle(5 * time.Minute)
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 4), true) // somebody sets it anew
			b.settle(5 * time.Second)
			b.expect("here", b.shared(d.ID, "fan"), "4")
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
				Kind: proto.KindRuleChainMetadataAsk, Action: proto.ActionRuleChainMetadataRequest, Time: time.Now().UnixMilli(), Entity: chain,
				Fragment: proto.AppendRequest(nil, proto.KindRuleChainMetadataAsk, chain, ""),
			}})
			if err != nil {
				b.Fatal(err)
			}
			b.settle(10 * time.Second)
			b.expect("received", received()-before, 1)
			_, ok := b.reg.Entity(proto.KindRuleChainMetadata, chain)
			b.expect("here", ok, true)
		}},
		{"8.1 a call made here goes through the same doors, and its answer stays here", func(b *box) {
			d := b.device("d")
			var seen Call
			b.doors.take(d.ID, func(c *Call) { seen = *c; b.agent.Answer(c.Device, c.ID, `{"ok":true}`) })
			b.sent(func(*proto.UplinkMsg) bool { return true })
			r, err := b.agent.CallDevice(b.Context(), d.ID, "set", `{"pin":4}`, false, 10*time.Second)
			b.expect("answer", []any{r, err}, []any{`{"ok":true}`, nil})
			b.expect("call", []any{seen.Method, seen.Params, seen.OneWay}, []any{"set", `{"pin":4}`, false})
			b.doors.take(d.ID, func(c *Call) { b.agent.Delivered(c.Device, c.ID) })
			r, err = b.agent.CallDevice(b.Context(), d.ID, "beep", "", true, 10*time.Second)
			b.expect("one-way", []any{r, err}, []any{"{}", nil})
			b.offline(func() { // it needs no cloud
				b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "5") })
				r, err = b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 10*time.Second)
				b.expect("offline", []any{r, err}, []any{"5", nil})
			})
			b.expect("answers sent up", len(b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceRpcCallMsg) > 0 })), 0)
		}},
		{"8.1 a call made here ends in time, with the words of those of the cloud, and is bounded", func(b *box) {
			d := b.device("d")
			word := func(timeout time.Duration) (string, time.Duration) {
				began := time.Now()
				_, err := b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, timeout)
				var e *CallError
				if !errors.As(err, &e) || !errors.Is(err, ErrCall) {
					b.Fatal(err)
				}
				return e.Word, time.Since(began)
			}
			w, took := word(5 * time.Second)
			b.expect("nobody there", []any{w, took}, []any{"NO_ACTIVE_CONNECTION", 5 * time.Second})
			b.doors.take(d.ID, func(*Call) {})
			w, took = word(7 * time.Second)
			b.expect("silent", []any{w, took}, []any{"TIMEOUT", 7 * time.Second})
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			_, err := b.agent.CallDevice(ctx, d.ID, "set", "1", false, time.Hour)
			b.expect("the caller went away", []any{errors.Is(err, context.DeadlineExceeded), len(b.agent.Pending(d.ID))}, []any{true, 0})
			for range maxCallsOfDevice {
				go b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 5*time.Second)
			}
			b.settle(time.Second)
			_, err = b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 5*time.Second)
			b.expect("one more", errors.Is(err, ErrTooMany), true)
			b.settle(time.Minute)
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { inBox(t, nil, c.f) })
	}
}
