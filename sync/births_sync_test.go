package sync

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
)

// Devices and assets whose creations are refused, or rest, stay here over any number of syncs,
// although no sync brings them, and over a restart. What they sent and send arrives when the cloud
// takes them.
func TestRefusedCreationsOutliveSyncs(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			if len(u.DeviceUpdateMsg)+len(u.AssetUpdateMsg) > 0 {
				return tenantLimit
			}
			return ""
		})
		made := b.make(3)
		b.accept(telemetryOf(made, 1))
		asset := proto.NewUUID()
		text := fmt.Sprintf(
			`{"id":{"entityType":"ASSET","id":%q},"tenantId":{"entityType":"TENANT","id":%q},"name":"shed","type":"default"}`,
			proto.FormatUUID(asset), proto.FormatUUID(b.tenant.TenantID()),
		)
		b.edit(registry.Edit{Kind: proto.KindAsset, ID: asset, Text: text}, proto.ActionAdded, entityCreated)
		b.elapse(30 * time.Second)
		here := func(when string) {
			b.Helper()
			for i, id := range made {
				d, ok := b.reg.ByToken(fmt.Sprint("token-made-", i))
				if !ok || d.ID != id {
					b.Fatalf("%s: device %d is gone", when, i)
				}
			}
			if !b.reg.Knows(asset) {
				b.Fatalf("%s: the asset is gone", when)
			}
		}
		here("refused")
		b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []uint64{3*3 + 1, 0})
		for range 2 {
			b.cloud.EndSessions(cloudtest.EndReset)
			b.elapse(2 * time.Minute)
			here("after a sync")
		}
		b.stop()
		b.start()
		b.elapse(2 * time.Minute)
		here("after a restart")
		b.accept(telemetryOf(made, 2))
		b.elapse(time.Minute)

		b.cloud.RefuseUplink(nil)
		b.elapse(5 * time.Minute)
		here("taken")
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(time.Minute)
		here("in the cloud")
		for _, id := range made {
			if got := b.tenant.Arrivals(id, "t"); !slices.Equal(got, upTo(2)) {
				b.Errorf("%v arrived", got)
			}
		}
		s := b.agent.Snapshot()
		b.expect("dead, pending, dropped", []uint64{s.Dead, s.Pending, s.Dropped}, []uint64{0, 0, 0})
	})
}
