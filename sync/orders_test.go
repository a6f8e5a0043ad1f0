package sync

import (
	"errors"
	"testing"
	"time"

	"edgesync/sync/cloudtest"
)

// A person's order ends the session and opens another at once; while there is no link it cuts the
// wait short.
func TestReconnectOrder(t *testing.T) {
	inBox(t, nil, func(b *box) {
		before := b.cloud.Stats().Accepted
		if err := b.agent.Reconnect(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.elapse(6 * time.Second) // the old stream may take five to close
		if got := b.cloud.Stats().Accepted; got != before+1 || !b.cloud.Connected(b.edge.ID) {
			b.Errorf("%d sessions more, want 1", got-before)
		}
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndUnknown)
		b.elapse(30 * time.Minute)
		next := b.agent.Snapshot().NextAttemptMS
		if next < 10_000 {
			b.elapse(time.Duration(next+1) * time.Millisecond)
		}
		b.link.Refuse.Store(false)
		if err := b.agent.Reconnect(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.elapse(time.Second)
		if !b.cloud.Connected(b.edge.ID) {
			b.Error("it waits, although a person has ordered an attempt")
		}
	})
}

// A person's order asks for a sync, which removes nothing; not while one runs, and not without a
// link.
func TestSyncOrder(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.device("station")
		before, devices := b.cloud.Stats().SyncsCompleted, b.reg.Devices()
		if err := b.agent.Sync(b.Context(), true); err != nil {
			b.Fatal(err)
		}
		if err := b.agent.Sync(b.Context(), false); !errors.Is(err, ErrSyncRuns) {
			b.Errorf("%v, want %v", err, ErrSyncRuns)
		}
		b.elapse(time.Minute)
		if got := b.cloud.Stats().SyncsCompleted; got != before+1 || b.agent.Snapshot().Sync != "" || b.reg.Devices() != devices {
			b.Errorf("%d syncs more, want 1; %d devices, want %d", got-before, b.reg.Devices(), devices)
		}
		b.offline(func() {
			if err := b.agent.Sync(b.Context(), false); !errors.Is(err, ErrNoLink) {
				b.Errorf("%v, want %v", err, ErrNoLink)
			}
		})
	})
}

// What can change while the agent runs does.
func TestReload(t *testing.T) {
	inBox(t, nil, func(b *box) {
		d := b.device("station")
		c := *b.config
		c.Batch.Timeout = 20 * time.Second
		c.Reconnect.Interval, c.Reconnect.MaxInterval = 7*time.Second, 7*time.Second
		if err := b.agent.Reload(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
		b.post(d.ID, 1000)
		b.elapse(19 * time.Second)
		if s := b.agent.Snapshot(); s.Pending != 1 {
			b.Errorf("%d pending before batch.timeout is over", s.Pending)
		}
		b.elapse(2 * time.Second)
		if s := b.agent.Snapshot(); s.Pending != 0 {
			b.Errorf("%d pending behind batch.timeout", s.Pending)
		}
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(time.Second)
		if next := b.agent.Snapshot().NextAttemptMS; next < 5000 || next > 7000 {
			b.Errorf("the next attempt in %d ms, want 7 s less what has passed", next)
		}
		if b.config.Batch.Timeout == c.Batch.Timeout {
			b.Error("the configuration of others was changed")
		}
	})
}
