package sync

import (
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// Data of a device that was deleted in the cloud while they waited count as refused, once that
// shows; those of others, and those of a device that was deleted here, do not.
func TestDataOfADeletedDevice(t *testing.T) {
	for _, c := range []struct {
		name       string
		f          func(b *box, device, other proto.UUID)
		dead, rows int
	}{
		{"a sync shows it", func(b *box, device, other proto.UUID) {
			b.offlineThenSync(func() {
				b.post(device, 2, 3, 4)
				b.post(other, 2)
				b.cloud.DeleteDevice(device)
			})
		}, 3, 0},
		{"a deletion that comes down shows it", func(b *box, device, other proto.UUID) {
			b.cloud.RateLimit(true)
			b.post(device, 2, 3, 4)
			b.post(other, 2)
			b.cloud.DeleteDevice(device)
			b.elapse(10 * time.Second)
			b.cloud.RateLimit(false)
		}, 3, 0},
		{"it is only unassigned, and the cloud has the data", func(b *box, device, other proto.UUID) {
			b.cloud.RateLimit(true)
			b.post(device, 2, 3, 4)
			b.post(other, 2)
			b.cloud.UnassignDevice(device)
			b.elapse(10 * time.Second)
			b.cloud.RateLimit(false)
		}, 3, 4},
		{"it was deleted here", func(b *box, device, other proto.UUID) {
			b.cloud.RateLimit(true)
			b.post(device, 2, 3, 4)
			b.edit(registry.Edit{Kind: proto.KindDevice, ID: device, Deleted: true}, proto.ActionDeleted, entityDeleted)
			b.post(other, 2)
			b.elapse(time.Minute)
			b.cloud.RateLimit(false)
		}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBox(t, nil, func(b *box) {
				device, other := b.device("d").ID, b.device("e").ID
				b.post(device, 1)
				b.elapse(time.Minute)
				c.f(b, device, other)
				b.elapse(3 * time.Minute)
				s := b.agent.Snapshot()
				b.expect("dead, pending", []uint64{s.Dead, s.Pending}, []uint64{uint64(c.dead), 0})
				b.expect("deployed", s.Deployed, s.Accepted-uint64(c.dead))
				if c.rows > 0 {
					b.expect("rows", len(b.tenant.Series(device, "t")), c.rows)
				}
				b.expect("of the other", len(b.tenant.Series(other, "t")), 1)
				list, _, err := b.agent.DeadLetters().List(b.Context(), 0, 100)
				if err != nil {
					b.Fatal(err)
				}
				for _, d := range list {
					if !d.Resting || !strings.Contains(d.Reason, "not this edge's any more") || d.Entity != proto.FormatUUID(device) {
						b.Errorf("%+v", d)
					}
				}
			})
		})
	}
}
