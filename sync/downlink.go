package sync

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
)

// syncPatience is how long a sync may stand still. Another edge may hold up all downlinks for two minutes (wire contract 6.1).
const syncPatience = 3 * time.Minute

// beginSync asks for what belongs to this edge: changes made while we were away come in no other way (wire contract 3.5).
func (l *loop) beginSync(now time.Time) {
	full := l.cfg.Sync.Full == "always" || l.cfg.Sync.Full == "first" && !l.reg.FullySynced()
	l.setSyncing(true)
	l.syncReceived, l.syncPart, l.syncProgress, l.syncKicked = 0, "", now, false
	l.reg.BeginSync(full, l.queue.Committed().Seq)
	l.write(proto.AppendSyncRequest(nil, full))
}

// setSyncing notes whether a sync runs, and tells whoever wants to know.
func (l *loop) setSyncing(running bool) {
	if l.syncing != running && l.Syncing != nil {
		l.Syncing(running)
	}
	l.syncing = running
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
	if l.syncPart == "" {
		return fmt.Sprintf("sync: %d received", l.syncReceived)
	}
	return fmt.Sprintf("sync: %d received, %s", l.syncReceived, l.syncPart)
}

// partName is what the first part of a message holds, in words: "device profiles".
func partName(d *proto.DownlinkMsg) (name string) {
	d.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		name = PartWords(string(f.Name()))
		return false
	})
	return name
}

// downlink stages one message in the registry. It is acknowledged by answer, after the fsync that serves all of one turn. What
// cannot be stored is not acknowledged: the server sends it again (wire contract 6.1).
func (l *loop) downlink(d *proto.DownlinkMsg, now time.Time) {
	l.counters.downlinks++
	if l.syncing {
		l.syncReceived++
		l.syncProgress = now
		if d.GetSyncCompletedMsg() == nil {
			l.syncPart = partName(d)
		}
	}
	l.deafSince = time.Time{}
	l.tellTime(d, now)
	l.dropEcho(d, now)
	for _, c := range d.GetDeviceRpcCallMsg() {
		l.call(c, now)
	}
	used, err := l.reg.Apply(d)
	if err != nil {
		l.complain("a message of the cloud cannot be stored", err.Error(), now)
		return
	}
	if len(d.GetDeviceUpdateMsg()) > 0 {
		l.maybeUnrouted(now)
	}
	used = used || len(d.GetDeviceRpcCallMsg()) > 0
	if c := d.GetEdgeConfiguration(); c != nil {
		l.setEdge(c)
		used = true
	}
	if d.GetSyncCompletedMsg() != nil {
		used = true
		if l.syncing {
			removed, err := l.reg.EndSync()
			if err != nil { // not acknowledged, so it comes again
				l.complain("the end of the sync cannot be stored", err.Error(), now)
				return
			}
			l.setSyncing(false)
			l.planAsking(true)
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
	if !l.syncing {
		l.planAsking(false)
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
