package cloudtest

import (
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// The fault refuses what the tenant does not have, with its text, for its time or until it is
// ended; whatever else comes is processed.
func TestRefuseCreations(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.tenant.outcome = func(u *proto.UplinkMsg) Outcome {
			for _, d := range u.DeviceUpdateMsg {
				id := proto.UUIDOf(d.IdMSB, d.IdLSB)
				r.tenant.devices[id] = Device{ID: id}
			}
			return Outcome{Success: true}
		}
		c := r.session(edgeA, ackAll)
		id := proto.UUID{7}
		create := func() string {
			d := &proto.DeviceUpdateMsg{Entity: "{}"}
			d.IdMSB, d.IdLSB = proto.Halves(id)
			c.send(&proto.RequestMsg{
				MsgType:   proto.RequestMsgType_UPLINK_RPC_MESSAGE,
				UplinkMsg: &proto.UplinkMsg{UplinkMsgId: 1, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}},
			})
			synctest.Wait()
			m := c.messages()
			a := m[len(m)-1].UplinkResponseMsg
			if a.GetSuccess() {
				return "taken"
			}
			return a.GetErrorMsg()
		}
		r.cloud.RefuseCreations("Devices limit reached", time.Minute)
		r.want("answer", create(), "Devices limit reached")
		_, _, ok := r.tenant.DeviceOf(id)
		r.want("created", ok, false)
		time.Sleep(time.Minute)
		r.want("answer when the time is over", create(), "taken")
		r.cloud.RefuseCreations("Not today", 0)
		time.Sleep(time.Hour)
		r.want("answer of a device that is there", create(), "taken")
		id = proto.UUID{8}
		r.want("answer until told", create(), "Not today")
		r.cloud.RefuseCreations("", 0)
		r.want("answer", create(), "taken")
	})
}
