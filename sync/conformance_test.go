package sync

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
)

// Each row is a rule of the wire contract, by its section, against the cloud in a box.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(b *box)
	}{
		{"2.8 a new name takes effect", func(b *box) {
			b.edge.Name = "Gateway 8"
			b.cloud.SaveEdge(b.edge)
			b.settle(time.Second)
			b.expect("edge", b.agent.Snapshot().Edge, "Gateway 8")
		}},
		{"2.8 a new secret is used at the next connect, also after a restart", func(b *box) {
			b.edge.Secret = "newer"
			b.cloud.SaveEdge(b.edge)
			b.settle(time.Second)
			b.offline(func() {})
			b.stop()
			b.start()
			b.settle(time.Minute)
			b.expect("state", b.agent.Snapshot().State, Connected)
			b.expect("refused", b.cloud.Stats().Refused, 0)
		}},
		{"2.8 users come with the edge's customer and go with it", func(b *box) {
			own, foreign := b.tenant.NewID(), b.tenant.NewID()
			ownUser, foreignUser := b.tenant.NewID(), b.tenant.NewID()
			b.tenant.AddCustomer(own, "own")
			b.tenant.AddUser(ownUser, own, "own@x")
			b.cloud.AssignCustomer(b.edge.ID, own)
			b.settle(5 * time.Second)
			b.tenant.AddCustomer(foreign, "foreign")
			b.cloud.Push(b.edge.ID, b.tenant.AddUser(foreignUser, foreign, "foreign@x")) // all edges hear of all users (6.3)
			b.settle(5 * time.Second)
			users := func() uint64 {
				n := uint64(0)
				for _, c := range b.reg.Counts() {
					if c.Part == "userUpdateMsg" {
						n = c.Received - c.Kept
					}
				}
				return n
			}
			b.expect("users not kept", users(), 1)
			b.expect("customer", b.reg.Edge().CustomerIdMSB != int64(0x138140001dd211b2), true)
			b.cloud.AssignCustomer(b.edge.ID, proto.NullUUID)
			b.settle(5 * time.Second)
			b.expect("customer", b.reg.Edge().CustomerIdMSB, int64(0x138140001dd211b2))
		}},
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
			b.settle(time.Minute)
			b.expect("full after a restart", b.cloud.Stats().Downlinks-before > 20, false)
			b.expect("synced", b.agent.Snapshot().Synced, true)
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
		{"3.6 a sync that never completes is asked for again", func(b *box) {
			b.cloud.NeverCompleteSync(true)
			b.offline(func() {})
			b.settle(10 * time.Second)
			b.expect("sync", strings.HasPrefix(b.agent.Snapshot().Sync, "sync: "), true)
			b.cloud.NeverCompleteSync(false)
			b.settle(10 * time.Minute)
			b.expect("sync", b.agent.Snapshot().Sync, "")
		}},
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
		{"7.3 the echo of old telemetry is not sent up again", func(b *box) {
			d := b.device("d")
			b.post(d.ID, 1000, 2000, 3000)
			b.settle(5 * time.Second)
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
			b.expect("stored of the echo", latest(), "")
			b.settle(5 * time.Minute)
			msb, lsb := proto.Halves(d.ID)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: 5000, Kv: longs("t", 5)}}},
			}}})
			b.settle(2 * time.Second)
			b.expect("stored of what was pushed", latest(), "5")
		}},
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
					r.Attributes(d.ID, registry.ClientScope, nil, func(kv *proto.KV) { text += string(kv.Key) + "=" + string(proto.AppendJSONValue(nil, kv)) })
					return text
				}
				b.expect("read back", read(b.reg), `ip="10.0.0.7"`)
				b.settle(flushEvery + heartbeat)
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
		{"8.1 a two-way call is answered", func(b *box) {
			d := b.device("d")
			for _, c := range []struct{ params, answer, want string }{
				{`{"pin":4}`, `{"ok":true}`, `{"ok":true}`}, {"true", "7", "7"}, {`"abc"`, "", "{}"}, {"", "plain words", `"plain words"`},
			} {
				b.doors.take(d.ID, func(call *Call) { b.agent.Answer(call.Device, call.ID, c.answer) })
				r := b.call(d.ID, c.params, false, 0)
				b.expect("answer", r.response+r.word, c.want)
				b.expect("quick", r.took <= 1100*time.Millisecond, true)
				calls, _, _ := b.doors.heard()
				want := c.params
				if want == "" {
					want = "null"
				}
				b.expect("call", []string{calls[0].Method, calls[0].Params}, []string{"do", want})
			}
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
		{"8.1 a one-way call is answered once a transport took it", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Delivered(c.Device, c.ID) })
			r := b.call(d.ID, "1", true, 0)
			b.expect("answer", r.response+r.word, "{}")
			b.doors.take(d.ID, nil)
			go func() {
				b.settle(3 * time.Second)
				for _, c := range b.agent.Pending(d.ID) { // a poll comes
					b.agent.Delivered(c.Device, c.ID)
				}
			}()
			r = b.call(d.ID, "2", true, 0)
			b.expect("answer", r.response+r.word, "{}")
			b.expect("waited for the poll", r.took >= 3*time.Second && r.took < 4*time.Second, true)
		}},
		{"8.1 nobody there: NO_ACTIVE_CONNECTION, somebody silent: TIMEOUT, both before the server gives up", func(b *box) {
			d := b.device("d")
			r := b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "NO_ACTIVE_CONNECTION")
			b.doors.take(d.ID, func(*Call) {})
			r = b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "TIMEOUT") // the server's own word would be NO_ACTIVE_CONNECTION
			b.expect("before the server's timeout", r.took < 6*time.Second && r.took > 5*time.Second, true)
			b.doors.take(d.ID, nil)
			go func() {
				b.settle(3 * time.Second)
				b.agent.Pending(d.ID) // somebody came, and is silent
			}()
			r = b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "TIMEOUT")
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
			b.expect("a late answer", b.agent.Answer(d.ID, 1, "{}"), false)
		}},
		{"8.1 an unknown device is NOT_FOUND", func(b *box) {
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(b.tenant.NewID(), 77, time.Now().Add(10*time.Second), false)}})
			b.settle(6 * time.Second)
			b.expect("answers", b.answersTo(77), []string{"NOT_FOUND"})
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
		{"8.1 an answer goes past the backlog", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
			b.cloud.SlowHandler(0, 20*time.Millisecond)
			times := make([]int64, 5000)
			for i := range times {
				times[i] = int64(i + 1)
			}
			b.post(d.ID, times...)
			r := b.call(d.ID, "1", false, 30*time.Second)
			b.expect("answer", r.response+r.word, "1")
			b.expect("backlog left", b.agent.Snapshot().Pending > 2000, true)
			b.cloud.SlowHandler(0, 0)
			b.settle(time.Minute)
			b.expect("pending", b.agent.Snapshot().Pending, 0)
		}},
		{"8.1 an answer given without a link is sent after the reconnect, unless it has expired", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(*Call) {})
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{
				rawCall(d.ID, 80, time.Now().Add(time.Hour), false), rawCall(d.ID, 81, time.Now().Add(20*time.Second), false),
			}})
			b.settle(2 * time.Second)
			b.offline(func() {
				calls := b.agent.Pending(d.ID)
				b.expect("pending", len(calls), 2)
				for _, c := range calls {
					b.agent.Answer(d.ID, c.ID, "9")
				}
				b.settle(time.Minute)
			})
			b.expect("answers", b.answersTo(80), []string{"9"})
			b.expect("expired", b.answersTo(81), []string{})
		}},
		{"8.1 an answer that was not acknowledged when the link broke is sent again", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "4") })
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.DeviceRpcCallMsg) > 0 })
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(d.ID, 84, time.Now().Add(time.Hour), false)}})
			b.settle(3 * time.Second)
			b.expect("answers", b.answersTo(84), []string{"4"})
			b.cloud.DropAcksIf(nil)
			b.offline(func() {})
			b.expect("answers", b.answersTo(84), []string{"4", "4"})
			b.settle(5 * time.Minute)
			b.expect("answers", len(b.answersTo(84)), 2)
		}},
		{"4.6 a rate limit costs neither answers nor questions", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "6") })
			b.cloud.RateLimit(true)
			go func() {
				b.settle(4 * time.Second)
				b.cloud.RateLimit(false)
			}()
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer", r.response+r.word, "6")
			b.sent(func(*proto.UplinkMsg) bool { return true })
			b.offline(func() {
				b.cloud.SetSharedAttributes(d.ID, longs("fan", 5), false)
				b.cloud.RateLimit(true)
				go func() {
					b.settle(time.Minute)
					b.cloud.RateLimit(false)
				}()
			})
			b.settle(5 * time.Minute)
			b.expect("cached", b.shared(d.ID, "fan"), "5")
		}},
		{"1.1 what is no UTF-8 never goes out", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "{\"a\":\"\xff\"}") })
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer", r.response+r.word, "{\"a\":\"\uFFFD\"}")
			b.cloud.AnswerRPC(func(c *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
				return &proto.RpcResponseMsg{Response: `"` + c.RequestMsg.Method + `"`}
			})
			got := make(chan string, 1)
			b.expect("sent", b.agent.Request(&Request{Device: d.ID, Method: "m\xff", Params: "\xff", Reply: func(r []byte, _ error) { got <- string(r) }}), nil)
			b.settle(3 * time.Second)
			b.expect("answer", <-got, "\"m\uFFFD\"")
			b.expect("connects", b.cloud.Stats().Connects, 1)
		}},
		{"8.1 a persistent call survives a restart, and its answer ends it", func(b *box) {
			d := b.device("d")
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{
				rawCall(d.ID, 82, time.Now().Add(24*time.Hour), true), rawCall(d.ID, 83, time.Now().Add(24*time.Hour), false),
			}})
			b.settle(2 * time.Second)
			b.stop()
			b.start()
			b.settle(time.Minute)
			calls := b.agent.Pending(d.ID)
			b.expect("pending", len(calls), 1)
			b.expect("call", []string{calls[0].Method, calls[0].Params}, []string{"do", `"x"`})
			b.agent.Answer(d.ID, calls[0].ID, "3")
			b.settle(time.Minute)
			b.expect("answers", b.answersTo(82), []string{"3"})
			b.stop()
			b.start()
			b.settle(time.Minute)
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
		{"8.1 what a device answered to a persistent call without a link survives a crash, and it is not called again", func(b *box) {
			d := b.device("d")
			one := rawCall(d.ID, 85, time.Now().Add(24*time.Hour), true)
			one.Oneway = true
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{rawCall(d.ID, 84, time.Now().Add(24*time.Hour), true), one}})
			b.settle(2 * time.Second)
			var after string
			b.offline(func() {
				calls := b.agent.Pending(d.ID)
				b.expect("pending", len(calls), 2)
				b.agent.Answer(d.ID, calls[0].ID, `{"pin":4}`)
				b.agent.Delivered(d.ID, calls[1].ID)
				b.settle(time.Second)
				after = filepath.Join(b.TempDir(), "data") // as a crash would leave it
				if err := os.CopyFS(after, os.DirFS(b.dir)); err != nil {
					b.Fatal(err)
				}
				b.stop()
				b.dir = after
				b.start()
				b.settle(2 * time.Second)
				b.expect("pending after the restart", len(b.agent.Pending(d.ID)), 0)
			})
			b.expect("answers", append(b.answersTo(84), b.answersTo(85)...), []string{`{"pin":4}`, "{}"})
			calls, _, _ := b.doors.heard()
			b.expect("calls after the restart", len(calls), 0)
			b.stop()
			b.start()
			b.settle(time.Minute)
			b.expect("answers in the end", append(b.answersTo(84), b.answersTo(85)...), []string{`{"pin":4}`, "{}"})
			b.expect("kept", len(b.reg.Calls()), 0)
		}},
		{"8.1 calls are bounded", func(b *box) {
			d := b.device("d")
			m := &proto.DownlinkMsg{}
			for i := range 20 {
				m.DeviceRpcCallMsg = append(m.DeviceRpcCallMsg, rawCall(d.ID, int64(100+i), time.Now().Add(time.Hour), false))
			}
			b.cloud.Push(b.edge.ID, m)
			b.settle(2 * time.Second)
			b.expect("pending", len(b.agent.Pending(d.ID)), maxCallsOfDevice)
			b.expect("refused", b.answersTo(116), []string{"INTERNAL"})
		}},
		{"8.2 a device's own call is answered", func(b *box) {
			d := b.device("d")
			b.cloud.AnswerRPC(func(c *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
				if c.RequestMsg.Method == "bad" {
					return &proto.RpcResponseMsg{Error: "INTERNAL"}
				}
				return &proto.RpcResponseMsg{Response: `{"was":` + c.RequestMsg.Params + `}`}
			})
			var mu gosync.Mutex
			var replies []string
			got := func() []string {
				mu.Lock()
				defer mu.Unlock()
				list := replies
				replies = nil
				return list
			}
			ask := func(method, params string, timeout time.Duration) error {
				return b.agent.Request(&Request{Device: d.ID, Method: method, Params: params, Timeout: timeout, Reply: func(r []byte, err error) {
					if err != nil {
						r = []byte(err.Error())
					}
					mu.Lock()
					defer mu.Unlock()
					replies = append(replies, string(r))
				}})
			}
			b.expect("sent", ask("getTime", "5", 0), nil)
			b.settle(3 * time.Second)
			b.expect("sent", ask("bad", "5", 0), nil)
			b.settle(3 * time.Second)
			b.expect("answers", got(), []string{`{"was":5}`, "the cloud answered INTERNAL"})
			b.cloud.AnswerRPC(nil) // a tenant without the node
			b.expect("sent", ask("getTime", "5", 7*time.Second), nil)
			b.settle(6 * time.Second)
			b.expect("answers", got(), []string{})
			b.settle(2 * time.Second)
			b.expect("answers", got(), []string{ErrTimeout.Error()})
			b.offline(func() { b.expect("offline", errors.Is(ask("getTime", "5", 0), ErrOffline), true) })
			for range maxRequests {
				b.expect("sent", ask("getTime", "5", time.Minute), nil)
			}
			b.expect("one more", errors.Is(ask("getTime", "5", 0), ErrTooMany), true)
			b.settle(2 * time.Minute)
			b.expect("replies", len(got()), maxRequests)
		}},
		{"10.17 a server that polls no events is left for a new stream", func(b *box) {
			b.cloud.NoPolling(true)
			b.offline(func() {})
			before := b.cloud.Stats().Connects
			b.settle(5 * time.Minute)
			b.expect("connects again", b.cloud.Stats().Connects > before, true)
			b.cloud.NoPolling(false)
			b.settle(5 * time.Minute)
			before = b.cloud.Stats().Connects
			b.settle(10 * time.Minute)
			b.expect("connects", b.cloud.Stats().Connects, before)
		}},
		{"5.5 a device made at the edge reaches the cloud before its data", func(b *box) {
			gw := b.device("gw")
			var id proto.UUID
			b.offline(func() {
				var err error
				if id, err = b.agent.Create(b.Context(), &NewDevice{Name: "Dev A", Type: "thermostat", Gateway: gw.ID, CredentialsID: "tok-a"}); err != nil {
					b.Fatal(err)
				}
				b.post(id, 1, 2, 3)
				_, err = b.agent.Create(b.Context(), &NewDevice{Name: "Dev A", Gateway: gw.ID})
				b.expect("again", errors.Is(err, ErrNameTaken), true)
				b.stop() // and a restart before there is a link
				b.start()
				b.settle(time.Second)
				b.post(id, 4)
			})
			_, _, changes := b.doors.heard()
			for _, c := range changes {
				if strings.HasSuffix(c, " 32") {
					b.Errorf("heard %q: the sync that came before its creation took it away", c)
				}
			}
			d, edge, ok := b.tenant.DeviceOf(id)
			b.expect("in the cloud", []any{d.Name, d.Profile, d.CredentialsID, edge == b.edge.ID, ok}, []any{"Dev A", "thermostat", "tok-a", true, true})
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4})
			b.expect("dead", b.agent.Snapshot().Dead, 0)
			b.offline(func() {}) // a sync brings it: it is not taken for gone, nor made again
			b.expect("here", b.reg.HasDevice(id), true)
			b.expect("devices", b.reg.Devices(), 2)
		}},
		{"4.7 data of a device whose creation is refused waits for it, also over a restart", func(b *box) {
			other := b.device("other")
			refuse := func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			}
			b.cloud.RefuseUplink(refuse)
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev D", CredentialsID: "tok-d"})
			if err != nil {
				b.Fatal(err)
			}
			b.post(id, 1, 2)
			b.post(other.ID, 7)
			b.settle(10 * time.Second)
			b.post(id, 3)
			b.post(other.ID, 8)
			b.settle(2 * time.Second)
			b.expect("of another device", b.tenant.Arrivals(other.ID, "t"), []int64{7, 8})
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{5, 0}) // creation, credentials, three values
			dropped := b.tenant.Counts().Dropped
			b.stop()
			b.start()
			b.settle(5 * time.Second)
			b.post(id, 4)
			b.settle(2 * time.Second)
			b.expect("dead", b.agent.Snapshot().Dead, 6)
			b.cloud.RefuseUplink(nil)
			b.settle(5 * time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4})
			d, _, _ := b.tenant.DeviceOf(id)
			b.expect("credentials", d.CredentialsID, "tok-d")
			b.expect("dead", b.agent.Snapshot().Dead, 0)
			b.expect("lost", b.tenant.Counts().Dropped, dropped)
			b.post(id, 5)
			b.settle(5 * time.Second)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4, 5})
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a refused device pushes out of the full dead-letter log is counted and told", func(b *box) {
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			})
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev F"})
			if err != nil {
				b.Fatal(err)
			}
			kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_STRING_V, Str: bytes.Repeat([]byte("x"), 10_000)}}
			const events = 150 // of which the log takes a hundred
			began := time.Now().UnixMilli()
			for n := range int64(events) {
				e := proto.Event{Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: began + n, Entity: id, Fragment: proto.AppendTelemetry(nil, id, "DEVICE", n, kv)}
				if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
			}
			b.settle(2 * time.Minute)
			told := map[string][]int64{}
			for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
				for _, e := range u.EntityData {
					for _, l := range e.GetPostTelemetryMsg().GetTsKvList() {
						for _, kv := range l.Kv {
							told[kv.Key] = append(told[kv.Key], kv.LongV)
							if kv.Key == "queueDroppedReason" {
								b.expect("reason", kv.StringV, "dead letters full")
							}
						}
					}
				}
			}
			s, sum := b.agent.Snapshot(), int64(0)
			for _, n := range told["queueDropped"] {
				sum += n
			}
			b.expect("dropped, in all", sum, s.Dropped)
			if s.Dropped < 40 || s.Dropped > 60 || s.Dead+s.Dropped != events+2 || s.Pending != 0 {
				b.Errorf("%d dropped, %d dead, %d pending", s.Dropped, s.Dead, s.Pending)
			}
			n := len(told["queueDropped"])
			b.expect("total", told["queueDroppedTotal"][n-1], sum)
			if from, to := told["queueDroppedFrom"][0], told["queueDroppedTo"][n-1]; from < began-60_000 || from > began+2 || to < began+30 || to >= began+events {
				b.Errorf("from %d to %d, began %d", from, to, began)
			}
			// The creation is not among them: what is left arrives behind it.
			b.cloud.RefuseUplink(nil)
			if _, err := b.agent.DeadLetters().Retry(b.Context(), 0); err != nil {
				b.Fatal(err)
			}
			lost := b.tenant.Counts().Dropped
			b.settle(5 * time.Minute)
			arrived := b.tenant.Arrivals(id, "t")
			b.expect("arrived, first and last", []int64{int64(len(arrived)), arrived[0], arrived[len(arrived)-1]}, []int64{events - sum + 1, sum - 1, events - 1})
			b.expect("lost", b.tenant.Counts().Dropped, lost)
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a device does while its orphans go up stays behind them", func(b *box) {
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			})
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev E"})
			if err != nil {
				b.Fatal(err)
			}
			want := make([]int64, 0, 300)
			for n := int64(1); n <= 300; n++ {
				if n == 50 {
					b.cloud.RefuseUplink(nil)
				}
				if n%10 == 1 && n > 50 && n < 100 { // whatever has gone up by now
					b.stop()
					b.start()
				}
				b.post(id, n)
				want = append(want, n)
				b.settle(300 * time.Millisecond)
			}
			b.settle(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), want)
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{0, 0})
			b.expect("deployed", b.agent.Snapshot().Deployed, 302)
		}},
		{"4.8 a name that is taken in the cloud is given another, and the device goes on under its own here", func(b *box) {
			other := cloudtest.Device{ID: b.tenant.NewID(), Name: "Dev B", CredentialsType: "ACCESS_TOKEN", CredentialsID: "o"}
			b.tenant.AddDevice(proto.UUID{}, other) // of another edge, or of none
			gw := b.device("gw")
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			if err != nil {
				b.Fatal(err)
			}
			b.settle(10 * time.Second)
			d, ok := b.reg.ByName("Dev B")
			b.expect("found", ok && d.ID == id && strings.HasPrefix(d.Name, "Dev B_"), true)
			again, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			b.expect("again", errors.Is(err, ErrNameTaken) && again == id, true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { inBox(t, nil, c.f) })
	}
}

// What was announced on the way is not lost by a crash between record and event (see birth.go).
func TestUnbornIsAnnouncedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, nil)
		defer func() { b.cloud.Stop(); b.lis.Close() }()
		b.start()
		b.settle(time.Minute)
		born, _, err := b.reg.Prepare(&proto.NewDevice{Name: "Dev C", CredentialsID: "c"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.stop() // between
		b.start()
		defer b.stop()
		if _, ok := b.reg.ByToken("c"); !ok {
			t.Error("not found after the start")
		}
		b.settle(time.Minute)
		if d, _, ok := b.tenant.DeviceOf(born.ID); !ok || d.Name != "Dev C" {
			t.Errorf("in the cloud: %+v %v", d, ok)
		}
	})
}
