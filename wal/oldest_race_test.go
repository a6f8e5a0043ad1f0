package wal

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// lockedBuilder is a log that many goroutines write.
type lockedBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

// A small quota drops segments all the time beside people who ask for the status: no drop is
// reported as damage.
func TestStatsBesideTheQuota(t *testing.T) {
	var log lockedBuilder
	o := testOptions(queueDir(t))
	o.MaxBytes, o.Policy = 32<<10, "drop_oldest"
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	q := openQueue(t, o)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				q.Stats()
			}
		})
	}
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	n := uint64(1)
	for range rounds {
		var all []Event
		for range 20 {
			all = append(all, testEvent(n))
			n++
		}
		if err := q.Append(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	closeQueue(t, q)
	if c := strings.Count(log.String(), "cannot be read"); c > 0 {
		t.Errorf("%d times damage is reported, with %d events", c, n)
	}
}
