package cloudtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

func secondsOf(all []downlink) (out []int) {
	for _, d := range all {
		out = append(out, int(d.at/time.Second))
	}
	return out
}

func namesOf(all []downlink) (out []string) {
	for _, d := range all {
		out = append(out, d.name)
	}
	return out
}

func steps(sizes ...int) (all [][]*proto.DownlinkMsg) {
	for i, n := range sizes {
		var step []*proto.DownlinkMsg
		for j := range n {
			step = append(step, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
				IdMSB: int64(i + 1), IdLSB: int64(j + 1), Entity: "e",
			}}})
		}
		all = append(all, step)
	}
	return all
}

func TestEventsComeWithinASecond_6_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		time.Sleep(1500 * time.Millisecond)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		synctest.Wait()
		r.want("at once", len(c.downlinks()), 0)
		time.Sleep(time.Second)
		r.want("after a poll", namesOf(c.downlinks()), `[device 0 {"name":"d"}]`)
		r.want("acknowledged", r.cloud.Pending(edgeA.ID), 0)
	})
}

func TestResendThenGiveUp_6_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackNone)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(90 * time.Second)
		r.cloud.AddDevice(edgeA.ID, device(2, "e")) // the next page
		time.Sleep(100 * time.Second)
		all := c.downlinks()
		r.want("rhythm", secondsOf(all), "[1 61 121 121 181]")
		r.want("same id on one stream", all[0].id == all[1].id && all[1].id == all[2].id && all[3].id != all[0].id, true)
	})
}

func TestPageOfFifty_6_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackNone)
		r.cloud.FloodDeleted(120)
		time.Sleep(10 * time.Second)
		r.want("first page", len(c.downlinks()), 50)
	})
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		r.cloud.FloodDeleted(120)
		time.Sleep(2 * time.Second)
		r.want("all pages", len(c.downlinks()), 120)
	})
}

func TestUnackedComesAgainUnderNewIDs_6_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackNone)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(2 * time.Second)
		first := c.downlinks()
		c.close()
		c = r.session(edgeA, ackAll)
		time.Sleep(2 * time.Second)
		again := c.downlinks()
		r.want("content", namesOf(again), fmt.Sprint(namesOf(first)))
		r.want("new id", again[0].id != first[0].id, true)
		c.close()
		c = r.session(edgeA, ackAll)
		time.Sleep(2 * time.Second)
		r.want("once acknowledged", len(c.downlinks()), 0)
		c.close()
		r.cloud.DuplicateDownlinks(true)
		c = r.session(edgeA, ackAll)
		time.Sleep(2 * time.Second)
		r.want("duplicate by the knob", namesOf(c.downlinks()), fmt.Sprint(namesOf(first)))
	})
}

func TestNegativeAnswers_6_1(t *testing.T) {
	no := func(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
		return &proto.DownlinkResponseMsg{DownlinkMsgId: m.DownlinkMsgId, ErrorMsg: "no"}
	}
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, no)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(200 * time.Second)
		r.want("an entity is never sent again", secondsOf(c.downlinks()), "[1]")
	})
	inBubble(t, func(r *rig) {
		r.cloud.AddDevice(edgeA.ID, device(1, "d")) // before the first connect: not stored (CONTRACT.md 3.5)
		c := r.session(edgeA, no)
		r.cloud.SetSharedAttributes(device(1, "").ID, []*proto.KeyValueProto{boolKV("on", true)}, true)
		time.Sleep(30 * time.Second)
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		time.Sleep(200 * time.Second)
		r.want("entityData is, and the rest waits", secondsOf(c.downlinks()), "[1 61 121 121]")
	})
}

func TestMerging_6_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		id := device(1, "").ID
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		c := r.session(edgeA, ackAll)
		for _, n := range []string{"x", "y", "z"} {
			if err := r.cloud.RenameDevice(id, n); err != nil {
				t.Fatal(err)
			}
		}
		r.cloud.SetSharedAttributes(id, []*proto.KeyValueProto{longKV("a", 1), longKV("b", 1)}, true)
		r.cloud.SetSharedAttributes(id, []*proto.KeyValueProto{longKV("a", 2), longKV("c", 3)}, true)
		r.cloud.SetSharedAttributes(id, []*proto.KeyValueProto{longKV("unpushed", 1)}, false)
		time.Sleep(2 * time.Second)
		r.want("downlinks", namesOf(c.downlinks()), `[device 1 {"name":"z"} data]`)
		got := map[string]int64{}
		for _, kv := range c.messages()[2].DownlinkMsg.EntityData[0].AttributesUpdatedMsg.Kv {
			got[kv.Key] = kv.LongV
		}
		r.want("values", got, "map[a:2 b:1 c:3]")
	})
}

func TestDeletedGoesToAllEdges_6_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.session(edgeA, ackAll), r.session(edgeB, ackAll)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		r.cloud.DeleteDevice(device(1, "").ID)
		r.cloud.UnassignDevice(device(2, "").ID)
		time.Sleep(2 * time.Second)
		r.want("its edge", len(a.downlinks()), 4)
		r.want("the other", namesOf(b.downlinks()), "[device 2 ]")
	})
}

func TestKeptForAnOfflineEdge_3_5(t *testing.T) {
	inBubble(t, func(r *rig) {
		id := device(1, "").ID
		r.cloud.DeleteDevice(device(9, "").ID) // before the first connect: nothing is stored
		c := r.session(edgeA, ackAll)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		r.cloud.AddDevice(edgeA.ID, device(3, "f"))
		time.Sleep(2 * time.Second)
		r.want("while connected", len(c.downlinks()), 3)
		c.close()
		_ = r.cloud.RenameDevice(id, "x")
		r.cloud.SetCredentials(id, "ACCESS_TOKEN", "t", "")
		r.cloud.AddDevice(edgeA.ID, device(4, "g"))
		r.cloud.UnassignDevice(device(3, "").ID)
		r.want("not kept", r.cloud.Pending(edgeA.ID), 0)
		r.cloud.DeleteDevice(device(2, "").ID)
		r.cloud.Push(edgeA.ID, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{Entity: "{}"}}})
		r.cloud.SetSharedAttributes(id, []*proto.KeyValueProto{longKV("a", 1)}, true)
		c = r.session(edgeA, ackAll)
		time.Sleep(2 * time.Second)
		r.want("kept", namesOf(c.downlinks()), "[device 2  other data]")
	})
}

func TestClientLimitDropsAndStalls_2_5(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.steps = steps(1, 1)
		r.tenant.steps[0][0].DeviceUpdateMsg[0].Entity = string(make([]byte, 700))
		c := r.open(ackAll)
		c.send(&proto.RequestMsg{ConnectRequestMsg: &proto.ConnectRequestMsg{
			EdgeRoutingKey: edgeA.RoutingKey,
			EdgeSecret:     edgeA.Secret, MaxInboundMessageSize: ptr(int32(600)),
		}})
		c.sync()
		time.Sleep(100 * time.Second)
		r.want("rhythm", secondsOf(c.downlinks()), "[60 60]")
		r.want("too big", r.cloud.Stats().TooBig, 1)
	})
}

func TestSync_3_2(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.steps = steps(120, 1)
		c := r.session(edgeA, ackAll)
		time.Sleep(100 * time.Millisecond)
		c.sync()
		synctest.Wait()
		all := c.downlinks()
		r.want("messages", len(all), 122)
		r.want("last", all[121].name, "synced")
		r.want("id of the last", all[121].id > 0, true)
		r.want("completed", r.cloud.Stats().SyncsCompleted, 1)
	})
}

func TestSyncWaitsForEachPageAndHoldsTheRestBack_3_4(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.steps = steps(60, 1)
		held := make(chan *proto.DownlinkMsg, 200)
		var hold atomic.Bool
		hold.Store(true)
		c := r.session(edgeA, func(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
			if hold.Load() {
				held <- m
				return nil
			}
			return ackAll(m)
		})
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		c.sync()
		synctest.Wait()
		r.want("first page", len(c.downlinks()), 50)
		c.sync() // ignored
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		go func() {
			_, _ = r.cloud.CallRPC(context.Background(), device(1, "").ID, "m", "{}", false, 0)
		}()
		c.uplink(1)
		time.Sleep(15 * time.Second)
		r.want("held back", len(c.downlinks()), 50)
		r.want("uplink during it", c.frames()[51], "ack 1 true")
		hold.Store(false)
		for range 50 {
			c.send(&proto.RequestMsg{MsgType: 1, DownlinkResponseMsg: ackAll(<-held)})
		}
		time.Sleep(2 * time.Second)
		all := namesOf(c.downlinks())
		r.want("behind the sync RPC first", all[61:], `[synced rpc 0 device 0 {"name":"d"} device 0 {"name":"e"}]`)
		r.want("syncs", r.cloud.Stats().Syncs, 1)
		time.Sleep(time.Minute)
	})
}

func TestMissingAckHoldsTheSync_3_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.steps = steps(2, 1)
		n := 0
		c := r.session(edgeA, func(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
			if n++; n == 1 {
				return nil
			}
			return ackAll(m)
		})
		c.sync()
		time.Sleep(70 * time.Second)
		r.want("rhythm", secondsOf(c.downlinks()), "[0 0 60 60 60]")
	})
}

func TestStuckSync_3_6(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.steps = steps(1)
		r.cloud.NeverCompleteSync(true)
		c := r.session(edgeA, ackAll)
		c.sync()
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(5 * time.Minute)
		r.want("stuck", len(c.downlinks()), 1)
		c.send(&proto.RequestMsg{MsgType: proto.RequestMsgType_SYNC_REQUEST_RPC_MESSAGE}) // bare: clears the flag
		time.Sleep(2 * time.Second)
		r.want("freed", namesOf(c.downlinks())[1:], `[device 0 {"name":"d"}]`)
	})
}

func TestOperatorStartsASync_3_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.want("not connected", r.cloud.StartSync(edgeA.ID), false)
		r.tenant.steps = steps(1)
		c := r.session(edgeA, ackAll)
		r.want("connected", r.cloud.StartSync(edgeA.ID), true)
		synctest.Wait()
		r.want("downlinks", len(c.downlinks()), 2)
	})
}

func TestUnackedRPCStallsAllEdges_6_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.session(edgeA, func(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
			if len(m.DeviceRpcCallMsg) > 0 {
				return nil
			}
			return ackAll(m)
		})
		b := r.session(edgeB, ackAll)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(2500 * time.Millisecond) // between two polls
		go func() {
			_, _ = r.cloud.CallRPC(context.Background(), device(1, "").ID, "m", "{}", false, 5*time.Second)
		}()
		time.Sleep(2 * time.Second)
		r.cloud.AddDevice(edgeB.ID, device(2, "e"))
		time.Sleep(2 * time.Second)
		r.want("no stall by the RPC alone", len(b.downlinks()), 1)
		r.cloud.AddDevice(edgeA.ID, device(3, "f")) // another event for A
		r.cloud.AddDevice(edgeB.ID, device(4, "g"))
		time.Sleep(100 * time.Second)
		r.want("stalled", len(b.downlinks()), 1)
		time.Sleep(20 * time.Second)
		r.want("released", len(b.downlinks()), 2)
		r.want("A's rhythm", secondsOf(a.downlinks()), "[1 3 63 123 123]")
		r.want("B's", secondsOf(b.downlinks()), "[5 123]")
	})
}

func TestSilenceAndNoPolling_11(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		r.cloud.SilenceDownlinks(true)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(2 * time.Minute)
		r.want("silence", len(c.downlinks()), 0)
		r.cloud.SilenceDownlinks(false)
		time.Sleep(2 * time.Second)
		r.want("afterwards", len(c.downlinks()), 1)
		r.cloud.NoPolling(true)
		c = r.session(edgeA, ackAll)
		r.cloud.AddDevice(edgeA.ID, device(2, "e"))
		time.Sleep(10 * time.Minute)
		r.want("no polling", len(c.downlinks()), 0)
	})
}

func TestCustomer_2_8(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		r.cloud.AssignCustomer(edgeA.ID, proto.UUID{0xc})
		synctest.Wait()
		r.want("at once", c.frames(), "[ACCEPTED edgeUpdate secret-a]")
		time.Sleep(2 * time.Second)
		r.want("then", namesOf(c.downlinks()), "[other configuration other]")
		r.cloud.AssignCustomer(edgeA.ID, proto.NullUUID)
		time.Sleep(2 * time.Second)
		all := c.messages()[len(c.messages())-2:]
		r.want("configuration", all[0].DownlinkMsg.EdgeConfiguration != nil, true)
		r.want("customer deleted", all[1].DownlinkMsg.CustomerUpdateMsg[0].MsgType, "ENTITY_DELETED_RPC_MESSAGE")
	})
}

// caller returns a client that answers each RPC with f; a nil answer is not sent.
func (r *rig) caller(f func(*proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg) *client {
	var c *client
	ready := make(chan struct{})
	c = r.session(edgeA, func(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
		<-ready
		for _, call := range m.DeviceRpcCallMsg {
			if a := f(call); a != nil {
				c.send(&proto.RequestMsg{
					MsgType:   1,
					UplinkMsg: &proto.UplinkMsg{UplinkMsgId: 1, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{a}},
				})
			}
		}
		return ackAll(m)
	})
	close(ready)
	return c
}

func TestRPC_8_1(t *testing.T) {
	answer := func(m *proto.DeviceRpcCallMsg, a *proto.RpcResponseMsg) *proto.DeviceRpcCallMsg {
		return &proto.DeviceRpcCallMsg{
			DeviceIdMSB: m.DeviceIdMSB, DeviceIdLSB: m.DeviceIdLSB, RequestUuidMSB: m.RequestUuidMSB,
			RequestUuidLSB: m.RequestUuidLSB, RequestId: m.RequestId, ResponseMsg: a,
		}
	}
	for _, tt := range []struct {
		name   string
		oneway bool
		f      func(*proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg
		want   string
		after  time.Duration
	}{
		{"json", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, &proto.RpcResponseMsg{Response: `{"ok":true}`})
		}, `{"ok":true} <nil>`, time.Second},
		{"one-way waits too", true, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, &proto.RpcResponseMsg{})
		}, " <nil>", time.Second},
		{"not json", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, &proto.RpcResponseMsg{Response: "x"})
		}, " rpc: 406 NOT_ACCEPTABLE", time.Second},
		{"error wins", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, &proto.RpcResponseMsg{Response: "{}", Error: "TIMEOUT"})
		}, " rpc: 504 TIMEOUT", time.Second},
		{
			"no answer", false, func(*proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg { return nil },
			" rpc: 504 NO_ACTIVE_CONNECTION", 6 * time.Second,
		},
		{"without responseMsg", true, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, nil)
		}, " rpc: 504 NO_ACTIVE_CONNECTION", 6 * time.Second},
		{"unknown word", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			return answer(m, &proto.RpcResponseMsg{Error: "BROKEN"})
		}, " rpc: 504 NO_ACTIVE_CONNECTION", 6 * time.Second},
		{"wrong uuid", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			a := answer(m, &proto.RpcResponseMsg{Response: "{}"})
			a.RequestUuidLSB++
			return a
		}, " rpc: 504 NO_ACTIVE_CONNECTION", 6 * time.Second},
		{"wrong id", false, func(m *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
			a := answer(m, &proto.RpcResponseMsg{Response: "{}"})
			a.RequestId++
			return a
		}, " rpc: 504 NO_ACTIVE_CONNECTION", 6 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				_ = r.tenant.AddDevice(edgeA.ID, device(1, "d"))
				c := r.caller(tt.f)
				start := time.Now()
				got, err := r.cloud.CallRPC(context.Background(), device(1, "").ID, "set", `{"on":true}`, tt.oneway, 6*time.Second)
				r.want("result", fmt.Sprint(got, " ", err), tt.want)
				r.want("after", time.Since(start).Truncate(time.Second), tt.after)
				m := c.messages()[1].DownlinkMsg.DeviceRpcCallMsg[0]
				r.want("call", []any{m.RequestId, m.GetAdditionalInfo(), m.Oneway, m.RequestMsg.Method, m.RequestMsg.Params},
					fmt.Sprintf(`[0 "null" %v set {"on":true}]`, tt.oneway))
				_, _ = r.cloud.CallRPC(context.Background(), device(1, "").ID, "set", "1", true, time.Second)
				time.Sleep(10 * time.Second)
				r.want("next id", c.downlinks()[1].name, "rpc 1")
			})
		})
	}
}

func TestRPCToAnInactiveEdge_8_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		_ = r.tenant.AddDevice(edgeA.ID, device(1, "d"))
		r.session(edgeA, ackAll).close()
		start := time.Now()
		_, err := r.cloud.CallRPC(context.Background(), device(1, "").ID, "m", "1", false, 0)
		var e *RPCError
		r.want("error", errors.As(err, &e) && e.Word == "NO_ACTIVE_CONNECTION", true)
		r.want("after", time.Since(start), 10*time.Second)
		c := r.session(edgeA, ackAll)
		time.Sleep(time.Minute)
		r.want("nothing comes later", len(c.downlinks()), 0)
		start = time.Now()
		_, err = r.cloud.CallRPC(context.Background(), device(1, "").ID, "m", "1", false, time.Minute)
		r.want("the caller waits 30 s at most", fmt.Sprint(err, time.Since(start)), "rpc: 500 Request timeout 30s")
		time.Sleep(time.Minute)
	})
}

func TestClientSideRPC_8_2(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.outcome = func(u *proto.UplinkMsg) Outcome { return Outcome{Success: true, RPCCalls: u.DeviceRpcCallMsg} }
		c := r.session(edgeA, ackAll)
		call := &proto.DeviceRpcCallMsg{
			RequestId: 3, ServiceId: ptr("s"), SessionId: ptr("t"),
			RequestMsg: &proto.RpcRequestMsg{Method: "time"},
		}
		u := &proto.RequestMsg{MsgType: 1, UplinkMsg: &proto.UplinkMsg{UplinkMsgId: 1, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{call}}}
		c.send(u)
		time.Sleep(5 * time.Second)
		r.want("without a reply node", c.frames(), "[ACCEPTED ack 1 true]")
		r.cloud.AnswerRPC(func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg { return &proto.RpcResponseMsg{Response: "12"} })
		c.send(u)
		time.Sleep(2 * time.Second)
		m := c.messages()[3].DownlinkMsg.DeviceRpcCallMsg[0]
		r.want("answer", []any{m.RequestId, m.GetServiceId(), m.GetSessionId(), m.ResponseMsg.Response}, "[3 s t 12]")
	})
}
