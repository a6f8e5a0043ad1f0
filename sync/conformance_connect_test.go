package sync

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// CONTRACT.md 1, 2.1, 2.2, 2.3, 2.4, 2.5: frames, the connection, its limits.
func TestConformanceConnect(t *testing.T) {
	conform(t, []rule{
		{"1.1 what is no UTF-8 never goes out", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "{\"a\":\"\xff\"}") })
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer", r.response+r.word, "{\"a\":\"\uFFFD\"}")
			b.cloud.AnswerRPC(func(c *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
				return &proto.RpcResponseMsg{Response: `"` + c.RequestMsg.Method + `"`}
			})
			got := make(chan string, 1)
			b.expect("sent", b.agent.Request(&Request{
				Device: d.ID, Method: "m\xff", Params: "\xff", Reply: func(r []byte, _ error) { got <- string(r) },
			}), nil)
			b.elapse(3 * time.Second)
			select {
			case text := <-got:
				b.expect("answer", text, "\"m\uFFFD\"")
			default:
				b.Error("no answer")
			}
			b.expect("connects", b.cloud.Stats().Connects, 1)
		}},
		{"1.5 what a newer server adds is acknowledged and does no harm, and JSON as the server writes it is understood", func(b *box) {
			id := b.tenant.NewID()
			d := &proto.DeviceUpdateMsg{Entity: `{"id":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id) + `"},` +
				`"createdTime":1767225600000,"name":"odd","type":"default","label":null,` +
				`"customerId":{"entityType":"CUSTOMER","id":"13814000-1dd2-11b2-8080-808080808080"},` +
				`"additionalInfo":null,"version":null,"newMember":{"a":[1]},` +
				`"deviceData":{"configuration":{"type":"DEFAULT","type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}}`}
			d.IdMSB, d.IdLSB = proto.Halves(id)
			d.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 5}) // field 127, a number
			m := &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}}
			m.ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 2, 'n', 'o'}) // field 127, bytes
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.Push(b.edge.ID, m)
			b.elapse(2 * time.Second)
			b.expect("acknowledged, pending", []any{b.cloud.Stats().DownlinkAcks - acks, b.cloud.Pending(b.edge.ID)}, []any{1, 0})
			got, ok := b.reg.ByID(id)
			b.expect("device", []any{got.Name, got.Label, got.CustomerID == proto.NullUUID, ok}, []any{"odd", "", true, true})
		}},
		{"2.1 a backlog is compressed, and an idle hour costs 120 probes and no session", func(b *box) {
			d := b.device("d")
			before := b.cloud.Stats()
			times := make([]int64, 1000)
			for i := range times {
				times[i] = 1767225600000 + int64(i)*1000
			}
			b.post(d.ID, times...)
			b.elapse(10 * time.Second)
			s := b.cloud.Stats()
			if plain, wire := s.Bytes-before.Bytes, s.WireBytes-before.WireBytes; s.Events-before.Events != 1000 || wire*3 > plain {
				b.Errorf("%d events are %d bytes on the wire, %d without compression", s.Events-before.Events, wire, plain)
			}
			b.elapse(time.Minute)
			before = b.cloud.Stats()
			b.elapse(time.Hour)
			s = b.cloud.Stats()
			b.expect("connects, uplinks, events", []uint64{s.Connects, s.Uplinks - before.Uplinks, s.Events - before.Events},
				[]uint64{1, 120, 0})
		}},
		{"2.1 a server that answers pings and nothing else is left, and loses nothing", func(b *box) {
			d := b.device("d")
			b.cloud.Stall(true)
			b.post(d.ID, 1, 2, 3)
			b.elapse(65 * time.Second)
			b.expect("left", b.agent.Snapshot().State < Draining, true)
			b.elapse(10 * time.Minute) // no answer to CONNECT either
			b.expect("last error", strings.Contains(b.agent.Snapshot().LastError, "no answer in time (1m0s)"), true)
			b.expect("pending", b.agent.Snapshot().Pending, 3)
			b.cloud.Stall(false)
			b.elapse(3 * time.Minute)
			b.expect("state", b.agent.Snapshot().State, Connected)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2, 3})
		}},
		{"2.1 a link that freezes is left by both sides, and what was posted meanwhile arrives", func(b *box) {
			d := b.device("d")
			b.elapse(30 * time.Second)
			b.link.Freeze()
			b.elapse(5 * time.Second)
			b.post(d.ID, 1, 2)
			b.elapse(11 * time.Second)
			b.expect("connected, as the server sees it", b.cloud.Connected(b.edge.ID), false)
			b.elapse(2 * time.Minute)
			b.post(d.ID, 3)
			b.elapse(5 * time.Second)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2, 3})
			b.expect("state", b.agent.Snapshot().State, Connected)
		}},
		{"2.3 CONNECT carries key, secret, version and size, and the server's answer is taken", func(b *box) {
			c := b.cloud.LastConnect()
			b.expect("request", []any{c.EdgeRoutingKey, c.EdgeSecret, c.EdgeVersion, c.GetMaxInboundMessageSize()},
				[]any{"key", "hush-hush", "V_4_2_0", 8 << 20})
			e := b.reg.Edge()
			id, ok := b.reg.EdgeID()
			tenant := proto.UUIDOf(e.TenantIdMSB, e.TenantIdLSB)
			b.expect("edge", []any{e.Name, id == b.edge.ID, ok, tenant == b.tenant.TenantID()}, []any{"Gateway 7", true, true, true})
		}},
		{"2.3 a wrong secret and an unknown key are distinguished, tried seldom, and forgiven", func(b *box) {
			right := b.edge.Secret
			refused := func(hint string) {
				b.Helper()
				b.cloud.EndSessions(cloudtest.EndReset)
				b.elapse(3 * time.Second)
				before := b.cloud.Stats().Connects
				b.elapse(1000 * time.Second)
				if n := b.cloud.Stats().Connects - before; n < 4 || n > 8 {
					b.Errorf("%d attempts in 1000 s", n)
				}
				if e := b.agent.Snapshot().LastError; !strings.Contains(e, hint) || strings.Contains(e, right) {
					b.Errorf("last error %q, want %q", e, hint)
				}
				b.expect("state", b.agent.Snapshot().State, Disconnected)
			}
			other := b.edge
			other.Secret = "another"
			b.link.Refuse.Store(true)
			b.cloud.EndSessions(cloudtest.EndReset)
			b.elapse(time.Second)
			b.tenant.SaveEdge(other) // the edge hears nothing of it
			b.link.Refuse.Store(false)
			b.elapse(time.Minute)
			refused("check cloud.routing_secret")
			b.tenant.SaveEdge(b.edge)
			b.elapse(5 * time.Minute)
			b.expect("state", b.agent.Snapshot().State, Connected)
			b.cloud.DeleteEdge(b.edge.ID)
			refused("check cloud.routing_key")
			b.tenant.AddEdge(b.edge)
			b.elapse(5 * time.Minute)
			b.expect("state", b.agent.Snapshot().State, Connected)
		}},
		{"2.3 a server in trouble is asked again within a minute", func(b *box) {
			b.cloud.RefuseConnect(proto.ConnectResponseCode_SERVER_UNAVAILABLE)
			b.cloud.EndSessions(cloudtest.EndReset)
			b.elapse(10 * time.Minute)
			b.expect("last error", strings.Contains(b.agent.Snapshot().LastError, "Failed to process edge connection!"), true)
			b.cloud.RefuseConnect(proto.ConnectResponseCode_ACCEPTED)
			b.elapse(61 * time.Second)
			b.expect("state", b.agent.Snapshot().State, Connected)
		}},
		{"2.3 a stop closes the sending side, and what was on its way is still acknowledged", func(b *box) {
			d := b.device("d")
			b.cloud.DelayAcks(2 * time.Second)
			b.post(d.ID, 1, 2, 3)
			b.stop()
			s := b.agent.Snapshot()
			b.expect("deployed, pending", []uint64{s.Deployed, s.Pending}, []uint64{3, 0})
			b.elapse(time.Second)
			b.expect("sessions", b.cloud.Sessions(), 0)
			b.cloud.DelayAcks(0)
			b.start()
			b.elapse(time.Minute)
			b.expect("sent twice", b.tenant.Counts().Duplicates, 0)
		}},
		{"2.3 a server that is not CE is warned about", func(b *box) {
			b.edge.CloudType = "PE"
			b.tenant.SaveEdge(b.edge)
			b.expect("warned", strings.Contains(b.log.String(), "no ThingsBoard CE"), false)
			b.offline(func() {})
			b.expect("warned", strings.Contains(b.log.String(), "no ThingsBoard CE"), true)
		}},
		{"2.4 the version announced is the configured one", func(b *box) {
			version := func() string {
				v, _, _ := b.tenant.Attribute(b.edge.ID, "SERVER_SCOPE", "edgeVersion")
				return v.Str
			}
			b.expect("version", version(), "V_4_2_0")
			b.stop()
			b.config.Cloud.EdgeVersion = 4313
			b.start()
			b.elapse(time.Minute)
			b.expect("version", version(), "V_4_3_1_3")
			b.stop()
			b.config.Cloud.EdgeVersion = 5000 // of a release to come
			b.start()
			b.elapse(time.Minute)
			b.expect("version, state", []any{version(), b.agent.Snapshot().State}, []any{"UNRECOGNIZED", Connected})
		}},
		{"2.5 a downlink of the announced size arrives; one that the server drops delays the rest by a minute", func(b *box) {
			sized := func(n int) *proto.DownlinkMsg {
				resource := &proto.ResourceUpdateMsg{IdMSB: 1, IdLSB: 2, Entity: `{"data":"` + strings.Repeat("A", n-100) + `"}`}
				m := &proto.DownlinkMsg{ResourceUpdateMsg: []*proto.ResourceUpdateMsg{resource}}
				resource.Entity = strings.Replace(resource.Entity, "AA", strings.Repeat("A", n-pb.Size(m)+2), 1)
				if pb.Size(m) != n {
					b.Fatalf("%d bytes, want %d", pb.Size(m), n)
				}
				return m
			}
			acks := b.cloud.Stats().DownlinkAcks
			b.cloud.Push(b.edge.ID, sized(b.agent.Snapshot().MaxInbound))
			b.elapse(2 * time.Second)
			s := b.cloud.Stats()
			b.expect("acknowledged, dropped, connects", []uint64{s.DownlinkAcks - acks, s.TooBig, s.Connects}, []uint64{1, 0, 1})
			b.cloud.Push(b.edge.ID, sized(b.agent.Snapshot().MaxInbound+1))
			b.elapse(2 * time.Second)
			d := cloudtest.Device{ID: b.tenant.NewID(), Name: "behind", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-behind"}
			b.cloud.AddDevice(b.edge.ID, d)
			b.elapse(62 * time.Second)
			s = b.cloud.Stats()
			b.expect("dropped, connects, here", []any{s.TooBig, s.Connects, b.reg.HasDevice(d.ID)}, []any{1, 1, true})
		}},
		{"2.5 an event as large as the server takes arrives, one byte more is never sent and counted", func(b *box) {
			d := b.device("d")
			sized := func(ts int64, n int) proto.Event {
				kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_STRING_V, Str: bytes.Repeat([]byte("x"), n-100)}}
				fragment := func() []byte { return proto.AppendTelemetry(nil, d.ID, "DEVICE", ts, kv) }
				kv[0].Str = append(kv[0].Str, bytes.Repeat([]byte("x"), n-proto.RequestSize(len(fragment()), 1<<31-1))...)
				e := proto.Event{
					Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: d.ID,
					Fragment: fragment(),
				}
				if got := proto.RequestSize(len(e.Fragment), 1<<31-1); got != n {
					b.Fatalf("%d bytes, want %d", got, n)
				}
				return e
			}
			for i, n := range []int{cloudtest.MaxRequest, cloudtest.MaxRequest + 1} {
				if err := b.intake.Accept(b.Context(), []proto.Event{sized(int64(i+1), n)}); err != nil {
					b.Fatal(err)
				}
			}
			b.post(d.ID, 3)
			b.elapse(3 * time.Minute)
			s := b.agent.Snapshot()
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 3})
			// The event is larger than the dead-letter log, too; the third that is deployed is the
			// record of the gap.
			b.expect("deployed, dropped, connects", []uint64{s.Deployed, s.Dropped, s.Connects}, []uint64{3, 1, 1})
		}},
		{"2.5 a message that ends the stream goes to the dead letters, whichever of the three endings the server shows", func(b *box) {
			d := b.device("d")
			for i, how := range []cloudtest.Ending{cloudtest.EndUnknown, cloudtest.EndCancelled, cloudtest.EndOK} {
				var want, times []int64
				poison := int64(100*i + 42)
				for ts := int64(100*i + 1); ts <= int64(100*i+60); ts++ {
					times = append(times, ts)
					if ts != poison {
						want = append(want, ts)
					}
				}
				b.cloud.EndStreamIf(func(u *proto.UplinkMsg) bool { return slices.Contains(stamps(u), poison) }, how)
				b.post(d.ID, times...)
				b.elapse(2 * time.Hour)
				got := b.tenant.Arrivals(d.ID, "t")
				b.expect("arrived", got[max(0, len(got)-len(want)):], want)
				s := b.agent.Snapshot()
				b.expect("dead, pending, state", []any{s.Dead, s.Pending, s.State}, []any{i + 1, 0, Connected})
			}
		}},
	})
}
