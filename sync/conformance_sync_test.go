package sync

import (
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
)

// CONTRACT.md 3: synchronisation.
func TestConformanceSync(t *testing.T) {
	conform(t, []rule{
		{"3.1 the first sync is full, those after it are not", func(b *box) {
			full := func() bool {
				before := b.cloud.Stats().Downlinks
				b.offline(func() {})
				return b.cloud.Stats().Downlinks-before > 20
			}
			b.expect("downlinks of the first sync", b.cloud.Stats().Downlinks > 20, true)
			b.expect("full after a reconnect", full(), false)
			b.stop()
			before := b.cloud.Stats().Downlinks
			b.start()
			b.elapse(time.Minute)
			b.expect("full after a restart", b.cloud.Stats().Downlinks-before > 20, false)
			b.expect("synced", b.agent.Snapshot().Synced, true)
		}},
		{"3.1 a full sync that an operator starts comes unasked, is acknowledged, and takes nothing away", func(b *box) {
			d := b.device("d")
			b.tenant.Unassign(d.ID) // the edge hears nothing of it
			before := b.cloud.Stats()
			b.expect("started", b.cloud.StartSync(b.edge.ID), true)
			b.elapse(30 * time.Second)
			s := b.cloud.Stats()
			b.expect("completed, resent", []uint64{s.SyncsCompleted - before.SyncsCompleted, s.Resent}, []uint64{1, 0})
			b.expect("full", s.Downlinks-before.Downlinks > 20, true)
			b.expect("here", b.reg.HasDevice(d.ID), true)
			b.offline(func() {}) // the sync that the edge asks for does
			b.expect("here", b.reg.HasDevice(d.ID), false)
		}},
		{"3.2 everything of a full sync is acknowledged, and shown by part", func(b *box) {
			s := b.cloud.Stats()
			b.expect("given up, resent", s.GivenUp+s.Resent, 0)
			b.expect("pending", b.cloud.Pending(b.edge.ID), 0)
			got := map[string]registry.Count{}
			for _, c := range b.reg.Counts() {
				got[c.Part] = c
			}
			b.expect("widget types", got["widgetTypeUpdateMsg"], registry.Count{Part: "widgetTypeUpdateMsg", Received: 5})
			b.expect("admin settings kept", got["adminSettingsUpdateMsg"].Kept, 0)
			b.expect("admin settings received", got["adminSettingsUpdateMsg"].Received, 4)
		}},
		{"3.4 data goes up while a sync runs", func(b *box) {
			d := b.device("d")
			b.cloud.NeverCompleteSync(true)
			b.stop()
			b.start()
			b.elapse(10 * time.Second)
			b.post(d.ID, 1, 2)
			b.elapse(5 * time.Second)
			b.expect("syncing", b.agent.Snapshot().Sync != "", true)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2})
			b.cloud.NeverCompleteSync(false)
		}},
		{"3.5 what was unassigned, renamed or changed while away is right after the next connect", func(b *box) {
			kept, gone := b.device("kept"), b.device("gone")
			b.offline(func() {
				b.cloud.UnassignDevice(gone.ID)
				if err := b.cloud.RenameDevice(kept.ID, "renamed"); err != nil {
					b.Error(err)
				}
				b.cloud.SetCredentials(kept.ID, "ACCESS_TOKEN", "other", "")
			})
			_, ok := b.reg.ByToken("token-gone")
			b.expect("the unassigned one is here", ok, false)
			_, ok = b.reg.ByToken("token-kept")
			b.expect("the old token works", ok, false)
			d, _ := b.reg.ByToken("other")
			b.expect("name", d.Name, "renamed")
			_, _, changes := b.doors.heard()
			b.expect("changes", strings.Join(changes, "; "), "renamed 2; renamed 4; gone 32")
		}},
		{"3.5 a sync that comes before a deletion does not bring the device back, nor before a change the old state", func(b *box) {
			away, changed := b.device("gone"), b.device("changed")
			b.offlineThenSync(func() {
				b.edit(registry.Edit{Kind: proto.KindDevice, ID: away.ID, Deleted: true}, proto.ActionDeleted, entityDeleted)
				text := `{"name":"changed","type":"default","label":"new","tenantId":` + b.tenantRef() + `}`
				b.edit(registry.Edit{Kind: proto.KindDevice, ID: changed.ID, Text: text}, proto.ActionUpdated, entityUpdated)
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
			cd.Label = "newest" // what comes from the cloud later wins
			b.cloud.Push(b.edge.ID, b.tenant.SaveDevice(cd))
			b.elapse(5 * time.Second)
			d, _ = b.reg.ByID(changed.ID)
			b.expect("label here", d.Label, "newest")
		}},
		{"3.5 an asset made or changed without a link survives the sync that comes first", func(b *box) {
			id := b.tenant.NewID()
			b.offlineThenSync(func() {
				text := `{"name":"hall","type":"default","tenantId":` + b.tenantRef() + `}`
				b.edit(registry.Edit{Kind: proto.KindAsset, ID: id, Text: text}, proto.ActionAdded, entityCreated)
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
			b.offlineThenSync(func() { // which brings the old state
				text := `{"name":"hall","type":"default","label":"big","tenantId":` + b.tenantRef() + `}`
				b.edit(registry.Edit{Kind: proto.KindAsset, ID: id, Text: text}, proto.ActionUpdated, entityUpdated)
			})
			here, _ := b.reg.Entity(proto.KindAsset, id)
			there, _ := b.tenant.Entity("ASSET", id)
			b.expect("label here, there", []bool{strings.Contains(string(here), `"big"`), strings.Contains(there, `"big"`)},
				[]bool{true, true})
		}},
		{"3.5 a change that the cloud refuses is undone by the next sync", func(b *box) {
			d := b.device("kept")
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Can't delete device that has entity views!"
				}
				return ""
			})
			b.edit(registry.Edit{Kind: proto.KindDevice, ID: d.ID, Deleted: true}, proto.ActionDeleted, entityDeleted)
			b.elapse(time.Minute)
			b.expect("dead", b.agent.Snapshot().Dead, 1)
			b.offline(func() {})
			b.expect("here", b.reg.HasDevice(d.ID), true)
		}},
		{"3.5 what the server keeps for an edge that is away comes with the next connect", func(b *box) {
			d, e, gone := b.device("d"), b.device("e"), b.device("gone")
			relation := `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(d.ID) + `"},` +
				`"to":{"entityType":"DEVICE","id":"` + proto.FormatUUID(e.ID) + `"},"type":"Feeds","typeGroup":"COMMON"}`
			b.offline(func() {
				b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{Entity: relation}}})
				b.cloud.DeleteDevice(gone.ID)
				b.expect("kept", b.cloud.Pending(b.edge.ID), 2)
			})
			_, ok := b.reg.Relation([]byte(relation))
			b.expect("relation, deleted device", []any{ok, b.reg.HasDevice(gone.ID)}, []any{true, false})
		}},
		{"3.5 a device that comes while a sync runs, and before its end, is not taken for gone", func(b *box) {
			b.cloud.NeverCompleteSync(true)
			b.stop()
			b.start()
			b.elapse(5 * time.Second)
			b.expect("syncing", b.agent.Snapshot().Sync != "", true)
			d := cloudtest.Device{ID: b.tenant.NewID(), Name: "late", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-late"}
			b.cloud.AddDevice(b.edge.ID, d) // held back until the sync is over (CONTRACT.md 3.4)
			b.cloud.NeverCompleteSync(false)
			b.elapse(10 * time.Minute)
			b.expect("sync, here", []any{b.agent.Snapshot().Sync, b.reg.HasDevice(d.ID)}, []any{"", true})
		}},
		{"3.6 a sync that never completes is asked for again", func(b *box) {
			b.cloud.NeverCompleteSync(true)
			b.offline(func() {})
			b.elapse(10 * time.Second)
			b.expect("sync", strings.HasPrefix(b.agent.Snapshot().Sync, "sync: "), true)
			b.cloud.NeverCompleteSync(false)
			b.elapse(10 * time.Minute)
			b.expect("sync", b.agent.Snapshot().Sync, "")
		}},
	})
}
