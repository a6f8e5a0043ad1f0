package cloudtest

import (
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// A flood goes on while nothing is acknowledged, beside what is due, in this session and the next,
// until it is switched off.
func TestFlood(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := r.session(edgeA, ackNone)
		const most = 300
		made := make(chan struct{}, most)
		flood := func() *proto.DownlinkMsg {
			select {
			case made <- struct{}{}:
			default: // enough: as if the edge read no further
				time.Sleep(time.Hour)
			}
			return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{Entity: "{}"}}}
		}
		r.cloud.Flood(flood)
		time.Sleep(time.Second)
		r.want("while nothing is acknowledged", len(c.downlinks()), most)
		c.close()
		for range most {
			<-made
		}
		c = r.session(edgeA, ackAll)
		time.Sleep(time.Second)
		r.want("in the next session", len(c.downlinks()), most)
		r.cloud.Flood(nil)
		time.Sleep(2 * time.Hour)
		r.want("and the one that was made meanwhile", len(c.downlinks()), most+1)
	})
}

// A lengthened sync brings assets with ids of their own, so many or for so long, and then ends.
func TestLongSync(t *testing.T) {
	for _, c := range []struct {
		entities int
		lasting  time.Duration
		want     int
	}{{120, 0, 120}, {0, time.Minute, 50}, {120, time.Minute, 50}, {-1, 0, 0}} {
		inBubble(t, func(r *rig) {
			r.tenant.steps = steps(1)
			r.cloud.LongSync(c.entities, c.lasting)
			ack := ackAll
			if c.lasting > 0 {
				ack = ackNone // each pack is sent three times and given up after two minutes
			}
			s := r.session(edgeA, ack)
			s.sync()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			ids, completed := map[int64]bool{}, false
			for _, m := range s.messages() {
				for _, a := range m.GetDownlinkMsg().GetAssetUpdateMsg() {
					ids[a.GetIdLSB()] = true
				}
				completed = completed || m.GetDownlinkMsg().GetSyncCompletedMsg() != nil
			}
			r.want("assets", len(ids), c.want)
			r.want("completed", completed, true)
		})
	}
}

// The limit for messages is announced with ACCEPTED and enforced, for each session its own.
func TestAnnounceMax_2_5(t *testing.T) {
	inBubble(t, func(r *rig) {
		announced := func(c *client) int32 {
			for _, m := range c.messages() {
				if a := m.GetConnectResponseMsg(); a != nil {
					return a.GetMaxInboundMessageSize()
				}
			}
			return 0
		}
		r.cloud.AnnounceMax(10)
		c := r.session(edgeA, ackAll)
		r.want("announced", announced(c), int32(10))
		r.cloud.AnnounceMax(0)
		c.send(&proto.RequestMsg{
			MsgType:   proto.RequestMsgType_UPLINK_RPC_MESSAGE,
			UplinkMsg: &proto.UplinkMsg{UplinkMsgId: 7, EntityData: []*proto.EntityDataProto{{EntityType: "DEVICE"}}},
		})
		synctest.Wait()
		r.want("beyond it", r.cloud.Stats().Oversized, uint64(1))
		c = r.session(edgeA, ackAll)
		r.want("the server's own", announced(c), int32(MaxRequest))
	})
}
