package sync

import (
	"testing"
	"time"

	"edgesync/proto"
)

// Wire contract 1, 2, 9 and 10: frames, the session and its ends.
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
			b.expect("sent", b.agent.Request(&Request{Device: d.ID, Method: "m\xff", Params: "\xff", Reply: func(r []byte, _ error) { got <- string(r) }}), nil)
			b.settle(3 * time.Second)
			b.expect("answer", <-got, "\"m\uFFFD\"")
			b.expect("connects", b.cloud.Stats().Connects, 1)
		}},
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
	})
}
