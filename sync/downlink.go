package sync

import (
	"fmt"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// syncPatience is how long a sync may stand still. Another edge may hold up all downlinks for two minutes (wire contract 6.1).
const syncPatience = 3 * time.Minute

// rpcNoConnection is the word for "the device cannot be reached now" (wire contract 8.1).
const rpcNoConnection = "NO_ACTIVE_CONNECTION"

// beginSync asks for what belongs to this edge: changes made while we were away come in no other way (wire contract 3.5).
func (l *loop) beginSync(now time.Time) {
	full := l.cfg.Sync.Full == "always" || l.cfg.Sync.Full == "first" && !l.reg.Synced()
	l.syncing, l.syncReceived, l.syncProgress, l.syncKicked = true, 0, now, false
	l.reg.BeginSync()
	l.write(proto.AppendSyncRequest(nil, full))
}

func (l *loop) syncDeadline() time.Time {
	if !l.syncing {
		return time.Time{}
	}
	return l.syncProgress.Add(syncPatience)
}

// syncOverdue restarts a sync that stands still: first by clearing the server's flag on this stream, then by a new stream
// (wire contract 3.6).
func (l *loop) syncOverdue(now time.Time) error {
	if !l.syncing || now.Before(l.syncDeadline()) {
		return nil
	}
	if l.syncKicked {
		return errSyncStuck
	}
	l.complain("the sync makes no progress", fmt.Sprintf("%d messages, then none for %v; asking again", l.syncReceived, syncPatience), now)
	l.write(proto.AppendSyncEscape(nil))
	l.reg.AbortSync()
	l.beginSync(now)
	l.syncKicked = true
	return nil
}

func (l *loop) syncText() string {
	if !l.syncing {
		return ""
	}
	return fmt.Sprintf("sync: %d received", l.syncReceived)
}

// downlink stages one message in the registry. It is acknowledged by answer, after the fsync that serves all of one turn. What
// cannot be stored is not acknowledged: the server sends it again (wire contract 6.1).
func (l *loop) downlink(d *proto.DownlinkMsg, now time.Time) {
	l.counters.downlinks++
	if l.syncing {
		l.syncReceived++
		l.syncProgress = now
	}
	for _, c := range d.GetDeviceRpcCallMsg() {
		if c.GetRequestMsg() != nil {
			l.refuseCall(c)
		}
	}
	used, err := l.reg.Apply(d)
	if err != nil {
		l.complain("a message of the cloud cannot be stored", err.Error(), now)
		return
	}
	if c := d.GetEdgeConfiguration(); c != nil {
		l.setEdge(c)
		used = true
	}
	if d.GetSyncCompletedMsg() != nil {
		used = true
		if l.syncing {
			l.syncing = false
			removed, err := l.reg.EndSync()
			if err != nil {
				l.complain("the end of the sync cannot be stored", err.Error(), now)
				return
			}
			l.log.Info("synchronised", "messages", l.syncReceived, "devices", l.reg.Devices(), "removed", removed)
		}
	}
	if !used {
		l.counters.unused++
	}
	l.answers = append(l.answers, d.GetDownlinkMsgId())
}

// answer makes durable what was applied and acknowledges it.
func (l *loop) answer(now time.Time) {
	if len(l.answers) == 0 {
		return
	}
	if err := l.reg.Flush(); err != nil {
		l.complain("messages of the cloud cannot be stored", err.Error(), now)
	} else {
		for _, id := range l.answers {
			l.write(proto.AppendDownlinkResponse(nil, id, ""))
		}
	}
	l.answers = l.answers[:0]
}

// refuseCall answers a call to a device at once: no door of this release delivers calls, and a caller without an answer waits for
// its whole timeout (wire contract 8.1).
func (l *loop) refuseCall(c *proto.DeviceRpcCallMsg) {
	b, err := pb.Marshal(&proto.RequestMsg{
		MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE,
		UplinkMsg: &proto.UplinkMsg{UplinkMsgId: l.nextID(), DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{
			DeviceIdMSB: c.DeviceIdMSB, DeviceIdLSB: c.DeviceIdLSB, RequestUuidMSB: c.RequestUuidMSB, RequestUuidLSB: c.RequestUuidLSB,
			RequestId: c.RequestId, ExpirationTime: c.ExpirationTime, Oneway: c.Oneway, ResponseMsg: &proto.RpcResponseMsg{Error: rpcNoConnection},
		}}},
	})
	if err == nil { // it fails only for strings that are not UTF-8, and there is none of the server's in it
		l.write(b)
	}
}

// setEdge remembers who we are, and a new secret (wire contract 2.8).
func (l *loop) setEdge(c *proto.EdgeConfiguration) {
	if c == nil {
		return
	}
	l.edge = c.GetName()
	if err := l.reg.SetEdge(c); err != nil {
		l.complain("the edge's configuration cannot be stored", err.Error(), time.Now())
	}
}
