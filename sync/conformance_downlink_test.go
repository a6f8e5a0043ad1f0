package sync

import (
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// Wire contract 6: what comes down.
func TestConformanceDownlink(t *testing.T) {
	conform(t, []rule{
		{"6.1 what comes twice under new ids is applied once", func(b *box) {
			b.cloud.DuplicateDownlinks(true)
			d := b.device("d")
			b.offline(func() {})
			_, _, changes := b.doors.heard()
			b.expect("changes", changes, []string{})
			b.expect("devices", b.reg.Devices(), 1)
			_, ok := b.reg.ByID(d.ID)
			b.expect("here", ok, true)
		}},
		{"6.1 two minutes without downlinks are no dead link", func(b *box) {
			b.cloud.SilenceDownlinks(true)
			before := b.cloud.Stats().Connects
			b.settle(150 * time.Second)
			b.expect("connects", b.cloud.Stats().Connects, before)
			b.cloud.SilenceDownlinks(false)
		}},
		{"6.1 a call that overtakes its device waits for it", func(b *box) {
			id := b.tenant.NewID()
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(id, 78, time.Now().Add(20*time.Second), false)}})
			b.doors.take(id, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
			b.settle(1500 * time.Millisecond)
			b.expect("answers", b.answersTo(78), []string{})
			b.cloud.AddDevice(b.edge.ID, cloudtest.Device{ID: id, Name: "late", CredentialsType: "ACCESS_TOKEN", CredentialsID: "l"})
			b.settle(1500 * time.Millisecond)
			b.expect("answers", b.answersTo(78), []string{"1"})
		}},
		{"6.1 a call that comes twice is carried out once", func(b *box) {
			d := b.device("d")
			var n atomic.Int32
			b.doors.take(d.ID, func(*Call) { n.Add(1) })
			m := &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(d.ID, 79, time.Now().Add(time.Minute), false)}}
			b.cloud.Push(b.edge.ID, m)
			b.settle(2 * time.Second)
			b.cloud.Push(b.edge.ID, m)
			b.settle(2 * time.Second)
			b.expect("deliveries", n.Load(), 1)
			b.expect("answered", b.agent.Answer(d.ID, b.agent.Pending(d.ID)[0].ID, "5"), true)
			b.settle(time.Second)
			b.cloud.Push(b.edge.ID, m)
			b.settle(2 * time.Second)
			b.expect("deliveries", n.Load(), 1)
			b.expect("answers", b.answersTo(79), []string{"5"})
		}},
		{"6.3 a flood of foreign deletions is acknowledged and costs no write", func(b *box) {
			b.device("d")
			before := b.reg.Devices()
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.FloodDeleted(500)
			b.settle(time.Minute)
			b.expect("acknowledged", b.cloud.Stats().DownlinkAcks-acks, 500)
			b.expect("devices", b.reg.Devices(), before)
			b.expect("pending", b.cloud.Pending(b.edge.ID), 0)
		}},
		{"6.3 shared attributes that were set while away are asked for", func(b *box) {
			d := b.device("d")
			b.offline(func() { b.cloud.SetSharedAttributes(d.ID, longs("fan", 3), false) })
			b.expect("cached", b.shared(d.ID, "fan"), "3")
			_, shared, _ := b.doors.heard()
			b.expect("told", shared, []string{"fan=3"})
			b.stop() // and offline, after a restart
			b.away.Store(true)
			b.start()
			b.settle(time.Second)
			b.expect("cached", b.shared(d.ID, "fan"), "3")
		}},
		{"6.3 a push-to-edge node brings shared attributes within seconds", func(b *box) {
			d := b.device("d")
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 1), true)
			b.settle(2 * time.Second)
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 2), true)
			b.settle(2 * time.Second)
			_, shared, _ := b.doors.heard()
			b.expect("told", shared, []string{"fan=1", "fan=2"})
			msb, lsb := proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", AttributeDeleteMsg: &proto.AttributeDeleteMsg{Scope: "SHARED_SCOPE", AttributeNames: []string{"fan"}},
			}}})
			b.settle(2 * time.Second)
			_, shared, _ = b.doors.heard()
			b.expect("told", shared, []string{"-fan"})
			b.expect("cached", b.shared(d.ID, "fan"), "")
		}},
		{"6.5 data of what is not here is acknowledged and dropped", func(b *box) {
			msb, lsb := proto.Halves(b.tenant.NewID())
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs("a", 1)},
			}}})
			b.settle(2 * time.Second)
			b.expect("acknowledged", b.cloud.Stats().DownlinkAcks-acks, 1)
		}},
	})
}
