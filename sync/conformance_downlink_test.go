package sync

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
)

// CONTRACT.md 6: what comes down.
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
			b.elapse(150 * time.Second)
			b.expect("connects", b.cloud.Stats().Connects, before)
			b.cloud.SilenceDownlinks(false)
		}},
		{"6.1 a call that overtakes its device waits for it", func(b *box) {
			id := b.tenant.NewID()
			b.pushCalls(rawCall(id, 78, time.Now().Add(20*time.Second), false))
			b.doors.take(id, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
			b.elapse(1500 * time.Millisecond)
			b.expect("answers", b.answersTo(78), []string{})
			b.cloud.AddDevice(b.edge.ID, cloudtest.Device{ID: id, Name: "late", CredentialsType: "ACCESS_TOKEN", CredentialsID: "l"})
			b.elapse(1500 * time.Millisecond)
			b.expect("answers", b.answersTo(78), []string{"1"})
		}},
		{"6.1 a call that comes twice is carried out once", func(b *box) {
			d := b.device("d")
			var n atomic.Int32
			b.doors.take(d.ID, func(*Call) { n.Add(1) })
			m := &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(d.ID, 79, time.Now().Add(time.Minute), false)}}
			b.cloud.Push(b.edge.ID, m)
			b.elapse(2 * time.Second)
			b.cloud.Push(b.edge.ID, m)
			b.elapse(2 * time.Second)
			b.expect("deliveries", n.Load(), 1)
			b.expect("answered", b.agent.Answer(d.ID, b.agent.Pending(d.ID)[0].ID, "5"), true)
			b.elapse(time.Second)
			b.cloud.Push(b.edge.ID, m)
			b.elapse(2 * time.Second)
			b.expect("deliveries", n.Load(), 1)
			b.expect("answers", b.answersTo(79), []string{"5"})
		}},
		{"6.1 a call is acknowledged before its device answers, and holds nobody up", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(*Call) {}) // takes the call and does not answer
			b.pushCalls(rawCall(d.ID, 90, time.Now().Add(time.Hour), false))
			done := make(chan callResult, 1)
			go func() { done <- b.call(d.ID, "1", false, 30*time.Second) }() // from the cloud's queue of calls
			b.elapse(1500 * time.Millisecond)
			b.expect("waiting", len(b.agent.Pending(d.ID)), 2)
			other := cloudtest.Device{ID: b.tenant.NewID(), Name: "other", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-other"}
			b.cloud.AddDevice(b.edge.ID, other)
			b.elapse(1500 * time.Millisecond)
			b.expect("another device is here", b.reg.HasDevice(other.ID), true)
			b.expect("resent", b.cloud.Stats().Resent, 0)
			b.expect("word", (<-done).word, "TIMEOUT")
		}},
		{"6.1 what the agent took and could not acknowledge before a power cut comes again and is applied once", func(b *box) {
			b.link.Hang() // what the agent sends does not arrive any more, what the cloud sends does
			d := cloudtest.Device{ID: b.tenant.NewID(), Name: "d", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-d"}
			b.cloud.AddDevice(b.edge.ID, d)
			b.elapse(2 * time.Second)
			b.expect("here, not acknowledged", []any{b.reg.HasDevice(d.ID), b.cloud.Pending(b.edge.ID)}, []any{true, 1})
			b.stop()
			b.start()
			b.elapse(time.Minute)
			_, _, changes := b.doors.heard()
			b.expect("pending, devices, changes", []any{b.cloud.Pending(b.edge.ID), b.reg.Devices(), changes}, []any{0, 1, []string{}})
		}},
		{"6.1 what is acknowledged is on flash", func(b *box) {
			b.elapse(5 * time.Second)
			d := cloudtest.Device{ID: b.tenant.NewID(), Name: "d", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-d"}
			b.cloud.AddDevice(b.edge.ID, d)
			b.elapse(1100 * time.Millisecond)
			b.expect("waiting in the cloud", b.cloud.Pending(b.edge.ID), 0)
			store, err := os.ReadFile(filepath.Join(b.dir, "registry", "store")) // as a power cut would leave it
			dir := b.TempDir()
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, "store"), store, 0o600))
			r, err2 := registry.Open(registry.Options{Dir: dir})
			if err := errors.Join(err, err2); err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			_, ok := r.ByToken("token-d")
			b.expect("on flash", ok, true)
		}},
		{"6.3 a flood of foreign deletions is acknowledged and costs no write", func(b *box) {
			b.device("d")
			before := b.reg.Devices()
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.FloodDeleted(500)
			b.elapse(time.Minute)
			b.expect("acknowledged", b.cloud.Stats().DownlinkAcks-acks, 500)
			b.expect("devices", b.reg.Devices(), before)
			b.expect("pending", b.cloud.Pending(b.edge.ID), 0)
		}},
		{"6.3 shared attributes that were set while away are asked for", func(b *box) {
			d := b.device("d")
			b.offline(func() { b.cloud.SetSharedAttributes(d.ID, longs("fan", 3), false) })
			b.expect("cached", b.shared(d.ID, "fan"), "3")
			_, shared, _ := b.doors.heard()
			b.expect("reported", shared, []string{"fan=3"})
			b.stop() // and once more offline, after a restart
			b.link.Refuse.Store(true)
			b.start()
			b.elapse(time.Second)
			b.expect("cached", b.shared(d.ID, "fan"), "3")
		}},
		{"6.3 a push-to-edge node brings shared attributes within seconds", func(b *box) {
			d := b.device("d")
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 1), true)
			b.elapse(2 * time.Second)
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 2), true)
			b.elapse(2 * time.Second)
			_, shared, _ := b.doors.heard()
			b.expect("reported", shared, []string{"fan=1", "fan=2"})
			msb, lsb := proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE",
				AttributeDeleteMsg: &proto.AttributeDeleteMsg{Scope: "SHARED_SCOPE", AttributeNames: []string{"fan"}},
			}}})
			b.elapse(2 * time.Second)
			_, shared, _ = b.doors.heard()
			b.expect("reported", shared, []string{"-fan"})
			b.expect("cached", b.shared(d.ID, "fan"), "")
		}},
		{"6.3 a name, credentials and the end of an assignment take effect within seconds", func(b *box) {
			d := b.device("d")
			for range 3 { // three quick saves are one downlink
				if err := b.cloud.RenameDevice(d.ID, "renamed"); err != nil {
					b.Fatal(err)
				}
			}
			b.elapse(2 * time.Second)
			b.cloud.SetCredentials(d.ID, "ACCESS_TOKEN", "token-new", "")
			b.elapse(2 * time.Second)
			got, ok := b.reg.ByToken("token-new")
			_, old := b.reg.ByToken("token-d")
			b.expect("device", []any{got.Name, ok, old}, []any{"renamed", true, false})
			b.cloud.UnassignDevice(d.ID)
			b.elapse(2 * time.Second)
			_, ok = b.reg.ByToken("token-new")
			b.expect("unassigned", ok, false)
			_, _, changes := b.doors.heard()
			b.expect("changes", strings.Join(changes, "; "), "renamed 2; renamed 4; renamed 32")
		}},
		{"6.3 an alarm that a user acknowledges and clears shows here by the server's comments alone", func(b *box) {
			d := b.device("d")
			id := b.tenant.NewID()
			b.edit(registry.Edit{Kind: proto.KindAlarm, ID: id, Text: b.alarm(id, d.ID)}, proto.ActionAdded, entityCreated)
			b.elapse(5 * time.Second)
			b.cloud.Push(b.edge.ID, b.tenant.AckAlarm(id, time.Now()))
			b.elapse(2 * time.Second)
			text, ok := b.reg.Entity(proto.KindAlarm, id)
			var j struct{ Acknowledged, Cleared bool }
			if err := json.Unmarshal(text, &j); err != nil {
				b.Fatal(err)
			}
			b.expect("acknowledged, cleared, here", []bool{j.Acknowledged, j.Cleared, ok}, []bool{true, false, true})
			b.cloud.Push(b.edge.ID, b.tenant.ClearAlarm(id, time.Now()))
			b.elapse(2 * time.Second)
			_, ok = b.reg.Entity(proto.KindAlarm, id)
			b.expect("here when it is over", ok, false)
		}},
		{"6.5 data of what is not here is acknowledged and dropped", func(b *box) {
			msb, lsb := proto.Halves(b.tenant.NewID())
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE",
				AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs("a", 1)},
			}}})
			b.elapse(2 * time.Second)
			b.expect("acknowledged", b.cloud.Stats().DownlinkAcks-acks, 1)
		}},
	})
}
