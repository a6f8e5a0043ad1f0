package cloudtest

import (
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// A cloud that is stopped has acknowledged what it then loses; what is older is stored.
func TestLoseAtStop_13_6(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.cloud.LoseAtStop(3 * time.Second)
		c := r.session(edgeA, ackAll)
		data := func(id int32) *proto.RequestMsg {
			return &proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: &proto.UplinkMsg{
				UplinkMsgId: id, EntityData: []*proto.EntityDataProto{{EntityType: "DEVICE"}},
			}}
		}
		c.send(data(1))
		time.Sleep(2 * time.Second)
		c.send(data(2))
		c.send(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: &proto.UplinkMsg{
			UplinkMsgId: 3, AlarmUpdateMsg: []*proto.AlarmUpdateMsg{{}},
		}})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		acks := 0
		for _, m := range c.messages() {
			if m.UplinkResponseMsg.GetSuccess() {
				acks++
			}
		}
		r.want("acknowledged", acks, 3)
		r.cloud.Stop()
		r.want("stored", r.tenant.got, []int32{3, 1})
		r.want("lost", r.cloud.Lost(), 1)
	})
}
