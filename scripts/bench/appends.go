//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/wal"
	"edgesync/wal/medium"
)

const (
	appendRounds = 15
	appendTime   = 200 * time.Millisecond // of the queue's turn in a round, and of the yardstick's
	fragmentSize = 100                    // in bytes; an event of three values has about 95
)

// measureAppends measures the queue and its yardstick in turns. In each round the queue takes
// appends of that many writers for a fifth of a second; then write and fdatasync alone write as
// many groups of the same size. The median of the rounds counts, because the disk of a shared
// machine is slow now and then.
func measureAppends(ctx context.Context, t *table, dir string, writers int) error {
	what := fmt.Sprintf("durable appends/s, %d writers", writers)
	if writers == 1 {
		what = "durable appends/s, 1 writer"
	}
	dir = filepath.Join(dir, fmt.Sprintf("appends-%d", writers))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	on, err := medium.Probe(dir)
	if err != nil {
		return err
	}
	q, err := wal.Open(wal.Options{
		Dir: filepath.Join(dir, "queue"), CorruptDir: filepath.Join(dir, "corrupt"),
		Policy: "reject_new", Fill: on.InPlace(), CommitBytes: on.CommitBytes, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer q.Close()
	raw, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return err
	}
	defer raw.Close()

	var events, commits, bytes int64
	var rates, rawRates []float64 // events a second, of each round
	for range appendRounds {
		before := q.Stats()
		n, d, err := hammer(ctx, q, writers)
		if err != nil {
			return err
		}
		after := q.Stats()
		events += n
		rates = append(rates, float64(n)/d.Seconds())
		groups := int64(after.Commits - before.Commits)
		size := after.Bytes - before.Bytes
		if groups == 0 || size <= 0 {
			return fmt.Errorf("the queue counts %d commits of %d bytes after %d appends", groups, size, n)
		}
		commits, bytes = commits+groups, bytes+size

		group := make([]byte, size/groups)
		begin := time.Now()
		for range groups {
			if _, err := raw.Write(group); err != nil {
				return err
			}
			if err := syscall.Fdatasync(int(raw.Fd())); err != nil {
				return err
			}
		}
		rawRates = append(rawRates, float64(n)/time.Since(begin).Seconds())
	}
	ours, bare := medianPair(rates, rawRates)
	bound := 0.9
	if writers > 100 {
		// More writers than any gateway has: with so large groups the library's copy of the tail,
		// which grows by appending, takes its share.
		bound = 0.85
	}
	t.add(line{
		what: what, measured: ours, format: "%.0f", yardstick: bare,
		of: fmt.Sprintf("by write+fdatasync of the same groups (%.1f events, %d bytes)",
			float64(events)/float64(commits), bytes/commits),
		onRatio: true, atLeast: true, bound: bound,
	})
	return nil
}

// medianPair returns the round whose ratio is the median.
func medianPair(a, b []float64) (float64, float64) {
	order := make([]int, len(a))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(a[i]/b[i], a[j]/b[j]) })
	m := order[len(order)/2]
	return a[m], b[m]
}

// hammer appends for appendTime, from that many goroutines.
func hammer(ctx context.Context, q *wal.Queue, writers int) (int64, time.Duration, error) {
	var events atomic.Int64
	var stop atomic.Bool
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	begin := time.Now()
	for w := range writers {
		all.Go(func() {
			e := wal.Event{Kind: 2, Action: 4, Entity: [16]byte{15: byte(w)}, Fragment: make([]byte, fragmentSize)}
			for !stop.Load() {
				e.Time = time.Now().UnixMilli()
				if err := q.Append(ctx, e); err != nil {
					failed := err // to keep err itself from the heap: an allocation for each append
					failure.Store(&failed)
					return
				}
				events.Add(1)
			}
		})
	}
	timer := time.AfterFunc(appendTime, func() { stop.Store(true) })
	defer timer.Stop()
	all.Wait()
	took := time.Since(begin)
	if err := failure.Load(); err != nil {
		return 0, 0, *err
	}
	return events.Load(), took, nil
}
