package sync

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"edgesync/sync/link"
	"edgesync/wal/disk"
)

// A failure says until when the link worked: until the last message of the cloud, not until the end
// was noticed. While the time is not known it says that it worked.
func TestLinkWorkedUntil(t *testing.T) {
	for name, ahead := range map[string]bool{"with a clock": true, "without a clock": false} {
		t.Run(name, func(t *testing.T) {
			inClockBubble(t, true, func(r *rig, m *machine) {
				if ahead {
					m.lag.Store(0)
				}
				writes := 0
				open := func() *link.History {
					way := link.Way(&r.config.Cloud, func(string) string { return "" })
					return link.OpenHistory(r.dir, way, disk.Meter(func(_, _ int64, _ int) { writes++ }), slog.New(slog.DiscardHandler))
				}
				r.history = open()
				r.link.Refuse.Store(true)
				r.run()
				r.elapse(20 * time.Second)
				if e := r.agent.Snapshot().LastError; strings.Contains(e, "it worked") {
					t.Errorf("at first: %q", e)
				}
				r.link.Refuse.Store(false)
				r.agent.Hint()
				r.elapse(10 * time.Minute)
				r.post(1)
				r.elapse(5 * time.Second) // it is acknowledged
				heard := time.UnixMilli(m.now())
				r.link.Refuse.Store(true)
				r.link.Swallow.Store(true)
				r.elapse(10 * time.Minute)
				want := "it worked until " + heard.Format("15:04 MST")
				if !ahead {
					want = "it has worked before"
				}
				if e := r.agent.Snapshot().LastError; !strings.HasPrefix(e, want+" (") {
					t.Errorf("afterwards: %q, want %q", e, want)
				}
				if writes != 1 { // the end of the session is younger than an hour
					t.Errorf("%d writes", writes)
				}
				r.stop()
				r.history.Close()
				if got := open().Past(m.now()); got != want {
					t.Errorf("after a restart: %q, want %q", got, want)
				}
			})
		})
	}
}
