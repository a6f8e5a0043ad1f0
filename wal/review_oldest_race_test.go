package wal

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type lockedBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

// The same without help: a small quota, writers, and people who ask for the status.
func TestReviewStatsBesideTheQuota(t *testing.T) {
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
	end := time.Now().Add(15 * time.Second)
	n := uint64(1)
	for time.Now().Before(end) {
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
