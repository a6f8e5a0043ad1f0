package sync

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// CONTRACT.md 7: attributes.
func TestConformanceAttributes(t *testing.T) {
	conform(t, []rule{
		{"7.2 a device reads back what it posted, offline too, after a power cut a minute later too", func(b *box) {
			d := b.device("d")
			b.offline(func() {
				kv := []proto.KV{{Key: []byte("ip"), Type: proto.KeyValueType_STRING_V, Str: []byte("10.0.0.7")}}
				err := b.intake.Accept(b.Context(), []proto.Event{{
					Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendPostAttributes(nil, d.ID, "DEVICE", proto.ClientScope, kv),
				}})
				if err != nil {
					b.Fatal(err)
				}
				read := func(r *registry.Registry) (text string) {
					r.Attributes(d.ID, registry.ClientScope, nil, func(kv *proto.KV) {
						text += string(kv.Key) + "=" + string(proto.AppendJSONValue(nil, kv))
					})
					return text
				}
				b.expect("read back", read(b.reg), `ip="10.0.0.7"`)
				b.elapse(flushEvery + heartbeat)
				dir := b.TempDir() // what is on flash now
				store, err := os.ReadFile(filepath.Join(b.dir, "registry", "store"))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, "store"), store, 0o600)
				}
				r, err2 := registry.Open(registry.Options{Dir: dir})
				if err != nil || err2 != nil {
					b.Fatal(err, err2)
				}
				defer r.Close()
				b.expect("on flash", read(r), `ip="10.0.0.7"`)
			})
			v, _, ok := b.tenant.Attribute(d.ID, "CLIENT_SCOPE", "ip")
			b.expect("in the cloud", []any{v.Str, ok}, []any{"10.0.0.7", true})
		}},
		{"7.2 of shared attributes the newest time wins, in whatever order they come", func(b *box) {
			d := b.device("d")
			b.elapse(duplicateFor + time.Second) // no answer is under way
			send := func(ts int64, value int) { b.pushShared(d.ID, ts, "fan", value) }
			now := time.Now().UnixMilli()
			send(now, 2)
			send(now-1000, 1)
			b.expect("here", b.shared(d.ID, "fan"), "2")
			send(now+1, 3)
			b.expect("here", b.shared(d.ID, "fan"), "3")
			_, shared, _ := b.doors.heard()
			b.expect("reported", shared, []string{"fan=2", "fan=3"})
		}},
		{"7.3 a change that was made before its answer was converted follows it, and counts", func(b *box) {
			d := b.device("d")
			send := func(ts int64, name string, value int) { b.pushShared(d.ID, ts, name, value) }
			now := time.Now().UnixMilli()
			send(now, "fan", 1) // the answer: read at now-1000, converted at now
			send(now-500, "fan", 2)
			b.expect("here", b.shared(d.ID, "fan"), "2")
			send(now-400, "fan", 3)
			b.expect("here", b.shared(d.ID, "fan"), "3")
			send(now-300, "limit", 4)
			send(now-200, "limit", 5)
			b.expect("limit", b.shared(d.ID, "limit"), "5")
			b.elapse(duplicateFor + time.Second)
			send(now-100, "fan", 6)
			b.expect("later an older value", b.shared(d.ID, "fan"), "3")
			send(now+1, "fan", 7)
			b.expect("later a newer value", b.shared(d.ID, "fan"), "7")
		}},
		{"7.2 attributes of a device go up one after the other, each acknowledged before the next", func(b *box) {
			d := b.device("d")
			b.cloud.DelayAcks(time.Second)
			for n := range int64(5) {
				kv := []proto.KV{{Key: []byte("n"), Type: proto.KeyValueType_LONG_V, Long: n}}
				e := proto.Event{
					Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendPostAttributes(nil, d.ID, "DEVICE", proto.ClientScope, kv),
				}
				if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
			}
			for n := range int64(5) {
				b.elapse(time.Second)
				v, _, _ := b.tenant.Attribute(d.ID, "CLIENT_SCOPE", "n")
				if v.Long > n+1 {
					b.Errorf("after %d s the cloud has %d", n+1, v.Long)
				}
				b.expect("in flight", b.agent.Snapshot().InFlight <= 1, true)
			}
			b.elapse(10 * time.Second)
			v, _, _ := b.tenant.Attribute(d.ID, "CLIENT_SCOPE", "n")
			b.expect("in the end, pending", []any{v.Long, b.agent.Snapshot().Pending}, []any{4, 0})
		}},
		{"7.3 old telemetry that comes back is not sent up again", func(b *box) {
			d := b.device("d")
			b.post(d.ID, 1000, 2000, 3000)
			b.elapse(time.Minute) // longer than sync.repeat
			points := b.tenant.Counts()
			b.offline(func() {})
			b.offline(func() {})
			after := b.tenant.Counts()
			b.expect("points", after.Points, points.Points)
			b.expect("duplicates", after.Duplicates, points.Duplicates)
			b.expect("accepted", b.agent.Snapshot().Accepted, 3)
			latest := func() (text string) {
				b.reg.Attributes(d.ID, registry.Latest, nil, func(kv *proto.KV) { text += string(proto.AppendJSONValue(nil, kv)) })
				return text
			}
			b.expect("stored of what comes back", latest(), "")
			b.elapse(5 * time.Minute)
			msb, lsb := proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE",
				PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: 5000, Kv: longs("t", 5)}}},
			}}})
			b.elapse(2 * time.Second)
			b.expect("stored of what was pushed", latest(), "5")
		}},
		{"7.3 an attribute that was deleted here does not come back with an answer that does not know of it", func(b *box) {
			d := b.device("d")
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 1, "limit", 2), true)
			b.elapse(5 * time.Second)
			b.expect("here", b.shared(d.ID, "fan"), "1")
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.EntityData) > 0 })
			b.offline(func() {
				err := b.intake.Accept(b.Context(), []proto.Event{{
					Kind: proto.KindEntityData, Action: proto.ActionAttributesDeleted, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: proto.AppendAttributeDelete(nil, d.ID, "DEVICE", "SHARED_SCOPE", []string{"fan"}),
				}})
				err = errors.Join(err, b.reg.DeleteAttributes(d.ID, registry.SharedScope, []string{"fan"}, b.intake.End()))
				if err != nil {
					b.Fatal(err)
				}
			})
			// The server answers before it knows of the deletion, with a newer value of another
			// attribute.
			ts := time.Now().UnixMilli()
			m := &proto.EntityDataProto{
				EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ts,
				AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs("fan", 1, "limit", 3)},
			}
			m.EntityIdMSB, m.EntityIdLSB = proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{m}})
			b.elapse(5 * time.Second)
			b.expect("here", []string{b.shared(d.ID, "fan"), b.shared(d.ID, "limit")}, []string{"", "3"})
			b.cloud.DropAcksIf(nil)
			b.elapse(5 * time.Minute)
			b.cloud.SetSharedAttributes(d.ID, longs("fan", 4), true) // a user sets it again
			b.elapse(5 * time.Second)
			b.expect("here", b.shared(d.ID, "fan"), "4")
		}},
		{"7.3 a scope that the server leaves blank is the server's", func(b *box) {
			d := b.device("d")
			ts := time.Now().UnixMilli()
			m := &proto.EntityDataProto{
				EntityType: "DEVICE", AttributeTs: &ts, AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs("limit", 7)},
			}
			m.EntityIdMSB, m.EntityIdLSB = proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{m}})
			b.elapse(2 * time.Second)
			var got []string
			b.reg.Attributes(d.ID, registry.ServerScope, nil, func(kv *proto.KV) { got = append(got, string(kv.Key)) })
			b.expect("here", got, []string{"limit"})
		}},
		{"7.4 what is new is asked about once, in the server's own words", func(b *box) {
			b.sent(func(*proto.UplinkMsg) bool { return true })
			d := b.device("d")
			asked := b.sent(func(u *proto.UplinkMsg) bool { return len(u.AttributesRequestMsg) > 0 })
			b.expect("uplinks", len(asked), 1)
			if len(asked) != 1 {
				return
			}
			u := asked[0]
			var scopes []string
			for _, a := range u.AttributesRequestMsg {
				if proto.UUIDOf(a.EntityIdMSB, a.EntityIdLSB) != d.ID || a.EntityType != "DEVICE" {
					b.Errorf("asked about %v", a)
				}
				scopes = append(scopes, a.Scope)
			}
			b.expect("scopes", scopes, []string{"SHARED_SCOPE", "SERVER_SCOPE"})
			b.expect("relations and fields", []int{len(u.RelationRequestMsg), len(u.CalculatedFieldRequestMsg)}, []int{1, 1})
			b.offline(func() {})
			asked = b.sent(func(u *proto.UplinkMsg) bool { return len(u.AttributesRequestMsg) > 0 })
			b.expect("after a reconnect", []int{len(asked), len(asked[0].RelationRequestMsg)}, []int{1, 0})
			b.expect("about edge, tenant and device", len(asked[0].AttributesRequestMsg), 5)
		}},
	})
}
