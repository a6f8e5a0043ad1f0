package sync

import (
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Batches in flight are not forgotten when an event behind them must go to the dead-letter log and
// the log cannot be written: a refusal of them that comes later still counts.
func TestMoveToDeadFailsBesideBatchesInFlight(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		c := accepted()
		*c.MaxInboundMessageSize = 2000
		return c
	}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if slices.Contains(stamps(u), 1) {
			return nil
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.elapse(time.Second)
		broken, err := wal.OpenDead(filepath.Join(t.TempDir(), "dead"), 1<<20, 0, slog.New(slog.DiscardHandler))
		if err != nil {
			r.Fatal(err)
		}
		broken.Close()
		use := func(d *wal.DeadLog) {
			r.Helper()
			if err := r.agent.carryOut(r.Context(), func(l *loop, _ time.Time) { l.deadLog = d }); err != nil {
				r.Fatal(err)
			}
		}
		use(broken)
		events := []proto.Event{telemetryEvent(1, 0), telemetryEvent(2, 3000), telemetryEvent(3, 0)}
		if err := r.intake.Accept(r.Context(), events); err != nil {
			r.Fatal(err)
		}
		r.elapse(5 * time.Second)
		r.counts(3, 0, 3, 0)
		use(r.dead)
		r.elapse(5 * time.Second)
		r.counts(3, 0, 3, 0) // the first is not answered yet
		s.mu.Lock()
		first, send := s.uplinks[0], s.streams[1]
		s.mu.Unlock()
		if err := send(&proto.ResponseMsg{UplinkResponseMsg: no(first, "No enum constant X")}); err != nil {
			r.Fatal(err)
		}
		r.elapse(10 * time.Second)
		r.counts(3, 1, 0, 2)
		if got := s.order(); !slices.Equal(got, []int64{1, 3}) {
			r.Errorf("arrived %v", got)
		}
	})
}
