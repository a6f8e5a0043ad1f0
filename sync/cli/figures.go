package cli

import (
	"context"
	"errors"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// figuresWait is how long the figures may wait while the group commit before them is full.
const figuresWait = time.Second

// figures makes what the agent says of itself to the cloud: one telemetry event of the edge entity
// with eleven values at most (OPERATIONS.md lists them), stamped with a time of clock.Clock.Stamp.
// What is not known is left out.
func figures(s *agent.Snapshot, id proto.UUID, stamp int64) wal.Event {
	offline := int64(0)
	if !s.State.Linked() {
		if offline = s.UptimeMS / 60_000; s.LastContact != nil {
			offline = max(0, int64(s.At.Sub(*s.LastContact)/time.Minute))
		}
	}
	kv := make([]proto.KV, 0, 11)
	for _, f := range [...]struct {
		key   string
		value int64
	}{
		{"edgesyncBacklog", int64(s.Pending)},
		{"edgesyncOldestSeconds", s.OldestPendingMS / 1000},
		{"edgesyncOfflineMinutes", offline},
		{"edgesyncDropped", int64(s.Dropped)},
		{"edgesyncDead", int64(s.Dead)},
		{"edgesyncMemory", s.RSSBytes},
	} {
		kv = append(kv, proto.KV{Key: []byte(f.key), Type: proto.KeyValueType_LONG_V, Long: f.value})
	}
	hours := 0.0
	if ms := s.Room.FullInMS; ms != nil {
		hours = float64(*ms) / 3.6e6
	}
	ahead := 0.0
	if ms := s.ClockOffsetMS; ms != nil {
		ahead = float64(*ms) / 1000
	}
	for _, f := range [...]struct {
		key   string
		value float64
		known bool
	}{
		{"edgesyncRoomPercent", s.Room.Percent, s.Room.Limit > 0},
		{"edgesyncHoursLeft", hours, s.Room.FullInMS != nil},
		{"edgesyncLatency", s.RTTMS, s.RTTMS > 0},
		{"edgesyncClockOffset", ahead, s.ClockOffsetMS != nil},
		{"edgesyncFlashYears", s.FlashYears, s.FlashYears > 0},
	} {
		if f.known {
			kv = append(kv, proto.KV{Key: []byte(f.key), Type: proto.KeyValueType_DOUBLE_V, Double: f.value})
		}
	}
	return wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: stamp, Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, proto.EdgeEntity, stamp, kv),
	}
}

// versionOf makes the attribute that says which version runs.
func versionOf(version string, id proto.UUID, stamp int64) wal.Event {
	kv := []proto.KV{{Key: []byte("edgesyncVersion"), Type: proto.KeyValueType_STRING_V, Str: []byte(version)}}
	return wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionPostAttributes), Time: stamp, Entity: id,
		Fragment: proto.AppendPostAttributes(nil, id, proto.EdgeEntity, "SERVER_SCOPE", kv),
	}
}

// reportFigures queues the figures, with the first ones of a life the version. If the queue takes
// nothing, the next ones tell.
func (g *gateway) reportFigures(ctx context.Context) {
	id, ok := g.edgeID()
	if !ok {
		return
	}
	s := g.snapshot()
	stamp := g.clock.Stamp()
	events := []wal.Event{figures(&s, id, stamp)}
	if !g.toldVersion {
		events = append(events, versionOf(s.Version, id, stamp))
	}
	ctx, cancel := context.WithTimeout(ctx, figuresWait)
	defer cancel()
	err := g.queue.Submit(ctx, events, func(error) {})
	g.toldVersion = g.toldVersion || err == nil
	if err != nil && !errors.Is(err, wal.ErrClosed) {
		g.log.Debug("the agent's figures are left out this time", "error", err)
	}
}
