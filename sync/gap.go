package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/wal"
)

// ThinSeries says to the queue what it may thin (queue.policy = "thin"): telemetry, each series of
// an entity by itself. Attributes, alarms, entity events and the records of gaps stay.
func ThinSeries(kind, action uint8, fragment []byte) (series uint64, may bool) {
	if proto.Kind(kind) != proto.KindEntityData || proto.Action(action) != proto.ActionTimeseriesUpdated {
		return 0, false
	}
	return proto.Series(fragment)
}

// actionOfGap marks the records of gaps: they are telemetry, and not to be thinned.
const actionOfGap = proto.ActionNone

// GapRecord makes the event that says to the cloud what was dropped, as telemetry of the edge
// entity (CONTRACT.md 5.3). edge is the id of the edge, false while it is not known; discarded,
// which is not called before, how many dead letters were dropped in all. Both are called from the
// goroutine that commits. Times of before the clock was known are left out.
func GapRecord(clock *clock.Clock, edge func() (proto.UUID, bool), discarded func() uint64) func(wal.Gap, uint64) (wal.Event, bool) {
	return func(g wal.Gap, total uint64) (wal.Event, bool) {
		id, ok := edge()
		if !ok {
			return wal.Event{}, false
		}
		now := clock.Stamp()
		kv := []proto.KV{
			{Key: []byte("queueDropped"), Type: proto.KeyValueType_LONG_V, Long: int64(g.Events)},
			{Key: []byte("queueDroppedReason"), Type: proto.KeyValueType_STRING_V, Str: []byte(g.Why.String())},
			{Key: []byte("queueDroppedTotal"), Type: proto.KeyValueType_LONG_V, Long: int64(total + discarded())},
		}
		if _, undated := proto.Uptime(g.First); g.First != 0 && !undated {
			kv = append(kv, proto.KV{Key: []byte("queueDroppedFrom"), Type: proto.KeyValueType_LONG_V, Long: g.First})
		}
		if _, undated := proto.Uptime(g.Last); g.Last != 0 && !undated {
			kv = append(kv, proto.KV{Key: []byte("queueDroppedTo"), Type: proto.KeyValueType_LONG_V, Long: g.Last})
		}
		return wal.Event{
			Kind: uint8(proto.KindEntityData), Action: uint8(actionOfGap), Time: now, Entity: id,
			Fragment: proto.AppendTelemetry(nil, id, proto.EdgeEntity, now, kv),
		}, true
	}
}

// reportDiscarded has the queue report to the cloud what the bound of the dead-letter log has
// pushed out.
func (l *loop) reportDiscarded(now time.Time) {
	if g := l.deadLog.TakeGap(); g.Events > 0 {
		l.queue.AddGap(g)
		l.tally.Gap(g)
		l.complain("the dead-letter log is full, and its oldest letters were dropped",
			"what the cloud goes on refusing", now, "letters", g.Events)
	}
}
