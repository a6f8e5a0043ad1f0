package cloudtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"

	"edgesync/proto"
)

func TestConnect_2_3(t *testing.T) {
	for _, tt := range []struct {
		name, key, secret, code, text string
	}{
		{"unknown key", "nobody", "x", "BAD_CREDENTIALS", "Failed to find the edge! Routing key: nobody"},
		{"wrong secret", edgeA.RoutingKey, "x", "BAD_CREDENTIALS", "Failed to validate the edge! Provided request secret: x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				c := r.open(ackAll)
				c.connect(Edge{RoutingKey: tt.key, Secret: tt.secret})
				synctest.Wait()
				r.want("frames", c.frames(), "["+tt.code+"]")
				m := c.messages()[0].ConnectResponseMsg
				r.want("text", m.ErrorMsg, tt.text)
				r.want("configuration present", m.Configuration != nil, true)
				r.want("size", m.GetMaxInboundMessageSize(), 0)
				r.want("end", c.end(), "Unknown: ")
				r.want("connected", r.cloud.Connected(edgeA.ID), false)
			})
		})
	}
	t.Run("accepted", func(t *testing.T) {
		inBubble(t, func(r *rig) {
			c := r.session(edgeA, ackAll)
			m := c.messages()[0].ConnectResponseMsg
			r.want("size", m.GetMaxInboundMessageSize(), 4194304)
			r.want("cloud type", m.Configuration.CloudType, "CE")
			r.want("connected", r.cloud.Connected(edgeA.ID), true)
			r.want("active", r.tenant.active(), true)
			r.want("version seen", r.cloud.LastConnect().EdgeVersion, "V_4_2_0")
			c.close()
			r.want("connected", r.cloud.Connected(edgeA.ID), false)
			r.want("active", r.tenant.active(), false)
		})
	})
	t.Run("refused by the knob", func(t *testing.T) {
		inBubble(t, func(r *rig) {
			r.cloud.RefuseConnect(proto.ConnectResponseCode_SERVER_UNAVAILABLE)
			c := r.open(ackAll)
			c.connect(edgeA)
			synctest.Wait()
			r.want("frames", c.frames(), "[SERVER_UNAVAILABLE]")
			r.want("text", c.messages()[0].ConnectResponseMsg.ErrorMsg, "Failed to process edge connection!")
			r.cloud.RefuseConnect(proto.ConnectResponseCode_ACCEPTED)
			r.session(edgeA, ackAll)
		})
	})
}

func TestYoungEdgeGetsAnUpdateBehindAccepted_2_8(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := edgeA
		e.Created = time.Now()
		r.tenant.SaveEdge(e)
		r.want("frames", r.session(e, ackAll).frames(), "[ACCEPTED edgeUpdate secret-a]")
		time.Sleep(time.Minute)
		r.want("frames", r.session(e, ackAll).frames(), "[ACCEPTED]")
	})
}

func TestDispatch_2_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.open(ackAll)
		c.uplink(1) // before CONNECT
		c.sync()
		time.Sleep(3 * time.Second)
		r.want("before CONNECT", c.frames(), "[]")
		c.connect(edgeA)
		c.uplink(100) // pipelined behind CONNECT
		synctest.Wait()
		r.want("pipelined", c.frames(), "[ACCEPTED ack 100 true]")
		c.connect(Edge{RoutingKey: edgeA.RoutingKey, Secret: "wrong"}) // ignored when connected
		for i, typ := range []proto.RequestMsgType{0, 2, 9} {
			c.send(&proto.RequestMsg{MsgType: typ, UplinkMsg: &proto.UplinkMsg{UplinkMsgId: int32(200 + i)}})
		}
		c.send(&proto.RequestMsg{MsgType: 1})
		c.send(&proto.RequestMsg{
			MsgType: 1, UplinkMsg: &proto.UplinkMsg{UplinkMsgId: 204},
			DownlinkResponseMsg: &proto.DownlinkResponseMsg{DownlinkMsgId: 98},
		})
		synctest.Wait()
		r.want("after", c.frames(), "[ACCEPTED ack 100 true ack 204 true]")
		r.want("processed", r.tenant.ids(), "[100 204]")
		time.Sleep(time.Hour) // pings every 10 s
		r.want("end", c.end(), "open")
		c.uplink(300)
		_ = c.st.CloseSend()
		synctest.Wait()
		r.want("after the half-close", c.frames()[3], "ack 300 true")
		r.want("end", c.end(), "EOF")
	})
}

func TestSecondSessionEndsTheFirst_2_6(t *testing.T) {
	inBubble(t, func(r *rig) {
		first := r.session(edgeA, ackAll)
		second := r.session(edgeA, ackAll)
		synctest.Wait()
		r.want("first", first.end(), "EOF")
		r.want("second", second.end(), "open")
		r.want("active", r.tenant.active(), true)
		r.cloud.AddDevice(edgeA.ID, device(1, "d"))
		time.Sleep(2 * time.Second)
		r.want("downlinks of the second", len(second.downlinks()), 1)

		r.cloud.HalfOpenOld(true)
		third := r.session(edgeA, ackAll)
		r.want("the half-open one", second.end(), "open")
		second.close()
		r.want("connected after its late end", r.cloud.Connected(edgeA.ID), true)
		r.want("active after its late end", r.tenant.active(), true)
		third.close()
		r.want("active", r.tenant.active(), false)
	})
}

func TestDeletedEdgeKeepsItsStream_2_6(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		r.cloud.DeleteEdge(edgeA.ID)
		time.Sleep(70 * time.Second)
		c.uplink(1)
		synctest.Wait()
		r.want("frames", c.frames(), "[ACCEPTED ack 1 true]")
		again := r.open(ackAll)
		again.connect(edgeA)
		synctest.Wait()
		r.want("next connect", again.frames(), "[BAD_CREDENTIALS]")
		r.want("the old stream", c.end(), "open")
	})
}

func TestSecretChanges_2_8(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		e := edgeA
		e.Secret = "new"
		r.cloud.SaveEdge(e)
		synctest.Wait()
		r.want("frames", c.frames(), "[ACCEPTED edgeUpdate new]")
		old := r.open(ackAll)
		old.connect(edgeA)
		synctest.Wait()
		r.want("old secret", old.frames(), "[BAD_CREDENTIALS]")
		r.session(e, ackAll)
	})
}

func TestSizeLimit_2_5(t *testing.T) {
	for _, tt := range []struct {
		name string
		how  Oversize
		gzip bool
		end  string
	}{
		{"plain", OversizeAuto, false, "Canceled: RST_STREAM closed stream. HTTP/2 error code: CANCEL"},
		{"gzip", OversizeAuto, true, "Unknown: Application error processing RPC"},
		{"clean", OversizeOK, false, "EOF"},
		{"unknown", OversizeUnknown, false, "Unknown: Application error processing RPC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.cloud.OversizeEnding(tt.how)
				var opts []grpc.CallOption
				if tt.gzip {
					opts = append(opts, grpc.UseCompressor(gzip.Name))
				}
				c := r.open(ackAll, opts...)
				c.connect(edgeA)
				c.send(sized(t, MaxRequest))
				synctest.Wait()
				r.want("at the limit", c.frames(), "[ACCEPTED ack 7 true]")
				c.send(sized(t, MaxRequest+1))
				synctest.Wait()
				r.want("above it", c.end(), tt.end)
				r.want("processed", r.tenant.ids(), "[7]")
			})
		})
	}
	t.Run("far above", func(t *testing.T) {
		inBubble(t, func(r *rig) {
			c := r.session(edgeA, ackAll)
			c.send(sized(t, 3*MaxRequest))
			synctest.Wait()
			r.want("end", c.end(), "Canceled: RST_STREAM closed stream. HTTP/2 error code: CANCEL")
		})
	})
}

func TestBrokenFrame_1_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		for _, raw := range [][]byte{
			{0xff, 0xff, 0xff, 0xff, 0x01},
			{0x08, 0x01, 0x1a, 0x08, 0x08, 0x07, 0x12, 0x04, 0x1a, 0x02, 0xc3, 0x28},
		} {
			c := r.open(ackAll, grpc.ForceCodecV2(rawClient{}))
			_ = c.st.SendMsg(raw)
			synctest.Wait()
			r.want("end", c.end(), "Unknown: Application error processing RPC")
		}
	})
}

func TestEndings_11(t *testing.T) {
	for how, want := range map[Ending]string{
		EndOK: "EOF", EndUnknown: "Unknown: Application error processing RPC",
		EndCancelled: "Canceled: RST_STREAM closed stream. HTTP/2 error code: CANCEL",
		EndReset:     "Unavailable: error reading from server: EOF",
	} {
		inBubble(t, func(r *rig) {
			c := r.session(edgeA, ackAll)
			r.want("sessions", r.cloud.EndSessions(how), 1)
			synctest.Wait()
			r.want("end", c.end(), want)
			r.want("connected", r.cloud.Connected(edgeA.ID), false)
		})
	}
}

func TestFailedAndEndingUplinks_11(t *testing.T) {
	inBubble(t, func(r *rig) {
		third := func(u *proto.UplinkMsg) bool { return u.UplinkMsgId == 3 }
		r.cloud.FailUplink(func(u *proto.UplinkMsg) string {
			if u.UplinkMsgId == 1 {
				return "a later part failed"
			}
			return ""
		})
		r.cloud.EndStreamIf(third, EndCancelled)
		c := r.session(edgeA, ackAll)
		c.uplink(1)
		c.uplink(2)
		synctest.Wait()
		r.want("frames", c.frames(), "[ACCEPTED ack 1 false ack 2 true]")
		r.want("text", c.messages()[1].UplinkResponseMsg.ErrorMsg, "a later part failed")
		c.uplink(3)
		c.uplink(4)
		synctest.Wait()
		r.want("end", c.end(), "Canceled: RST_STREAM closed stream. HTTP/2 error code: CANCEL")
		r.want("processed", r.tenant.ids(), "[1 2]")
		r.cloud.EndStreamIf(third, EndOK)
		c = r.session(edgeA, ackAll)
		c.uplink(3)
		synctest.Wait()
		r.want("end", c.end(), "EOF")
	})
}

func TestStopAndServeAgain(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackAll)
		r.cloud.Stop()
		synctest.Wait()
		r.want("open", c.end() == "open", false)
		r.cloud.FloodDeleted(3) // DELETED is kept for an edge that is away
		time.Sleep(time.Hour)
		r.start = time.Now()
		lis := r.lis
		r.lis = newListener()
		go func() { _ = r.cloud.Serve(r.lis) }()
		_ = lis.Close()
		c = r.session(edgeA, ackAll)
		time.Sleep(2 * time.Second)
		r.want("downlinks", len(c.downlinks()), 3)
	})
}

func TestStall_11(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.cloud.Stall(true)
		c := r.open(ackAll)
		c.connect(edgeA)
		c.uplink(1)
		time.Sleep(10 * time.Minute)
		r.want("while stalled", c.frames(), "[]")
		r.want("end", c.end(), "open")
		r.cloud.Stall(false)
		synctest.Wait()
		r.want("afterwards", c.frames(), "[ACCEPTED ack 1 true]")
	})
}

func TestAckFaults_11(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.cloud.ReorderAcks(0)
		c := r.session(edgeA, ackAll)
		r.cloud.DropAcks(1)
		c.uplink(1)
		c.uplink(2)
		synctest.Wait()
		r.want("one dropped", c.frames(), "[ACCEPTED ack 2 true]")
		r.cloud.RateLimit(true)
		c.uplink(3)
		synctest.Wait()
		r.want("rate limit", c.messages()[2].UplinkResponseMsg.ErrorMsg, "Failed to process uplink message. Rate limit reached")
		r.cloud.RateLimit(false)
		r.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			if u.UplinkMsgId == 4 {
				return "no"
			}
			return ""
		})
		c.uplink(4)
		synctest.Wait()
		r.want("refused", c.frames()[3], "ack 4 false")
		r.want("processed", r.tenant.ids(), "[1 2]")
		r.cloud.DelayAcks(time.Minute)
		c.uplink(5)
		time.Sleep(59 * time.Second)
		r.want("before the delay", len(c.frames()), 4)
		time.Sleep(2 * time.Second)
		r.want("after it", c.frames()[4], "ack 5 true")
		r.cloud.DelayAcks(0)
		r.cloud.SlowHandler(time.Second, 0)
		for i := range int32(3) {
			c.uplink(10 + i)
		}
		time.Sleep(2500 * time.Millisecond)
		r.want("slow handler: serially", r.tenant.ids(), "[1 2 5 10 11]")
		r.cloud.SlowHandler(0, 0)
		time.Sleep(time.Second)
	})
}

func TestAcksOvertakeEachOther_4_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.outcome = func(*proto.UplinkMsg) Outcome { return Outcome{Success: true, Mixed: true} }
		c := r.session(edgeA, ackAll)
		for i := range int32(500) {
			c.uplink(i + 1)
		}
		time.Sleep(time.Second)
		acks := c.frames()[1:]
		r.want("all acknowledged", len(acks), 500)
		late, last := 0, int32(0)
		for _, m := range c.messages()[1:] {
			if id := m.UplinkResponseMsg.UplinkMsgId; id < last {
				late++
			} else {
				last = id
			}
		}
		if late < 50 || late > 200 {
			t.Errorf("%d of 500 overtaken, want about 100", late)
		}
		for i, id := range r.tenant.ids() {
			if id != int32(i+1) {
				t.Fatalf("processed out of order at %d: %d", i, id)
			}
		}
	})
}

func TestNeverAnswered_4_3(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.outcome = func(u *proto.UplinkMsg) Outcome { return Outcome{Success: true, Never: u.UplinkMsgId == 1} }
		c := r.session(edgeA, ackAll)
		c.uplink(1)
		c.uplink(2)
		time.Sleep(time.Minute)
		r.want("frames", c.frames(), "[ACCEPTED ack 2 true]")
	})
}

func TestObservation(t *testing.T) {
	inBubble(t, func(r *rig) {
		var seen []int32
		r.cloud.OnUplink(func(e proto.UUID, u *proto.UplinkMsg) { seen = append(seen, u.UplinkMsgId) })
		c := r.session(edgeA, ackAll)
		got := make(chan error, 1)
		go func() {
			got <- r.cloud.WaitFor(context.Background(), func() bool { return r.cloud.Stats().Events == 2 })
		}()
		synctest.Wait()
		u := &proto.UplinkMsg{UplinkMsgId: 5, EntityData: []*proto.EntityDataProto{{}}}
		c.send(&proto.RequestMsg{MsgType: 1, UplinkMsg: u})
		c.send(&proto.RequestMsg{MsgType: 1, UplinkMsg: u})
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s := r.cloud.Stats()
		r.want("stats", []uint64{s.Uplinks, s.Events, s.DuplicateBatches, s.Acks, s.Accepted}, "[2 2 1 2 1]")
		r.want("seen", seen, "[5 5]")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r.want("a vain wait ends", r.cloud.WaitFor(ctx, func() bool { return false }) != nil, true)
	})
}
