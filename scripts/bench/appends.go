//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/wal"
)

const (
	appendRounds = 3
	appendTime   = time.Second // of each half of a round
	fragmentSize = 100         // bytes: an event of three values has about 95
)

// measureAppends takes turns: a second of the queue with so many writers, a second of writing groups of the size that the
// queue has just made with write and fdatasync and nothing else, and so on.
func measureAppends(ctx context.Context, t *table, dir string, writers int) error {
	what := fmt.Sprintf("durable appends/s, %d writers", writers)
	if writers == 1 {
		what = "durable appends/s, 1 writer"
	}
	dir = filepath.Join(dir, fmt.Sprintf("appends-%d", writers))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	q, err := wal.Open(wal.Options{
		Dir: filepath.Join(dir, "queue"), CorruptDir: filepath.Join(dir, "corrupt"),
		Policy: "reject_new", Log: slog.New(slog.DiscardHandler),
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
	var took, rawTook time.Duration
	for range appendRounds {
		before := q.Stats()
		n, d, err := hammer(ctx, q, writers)
		if err != nil {
			return err
		}
		after := q.Stats()
		events, took = events+n, took+d
		groups := int64(after.Commits - before.Commits)
		size := after.Today.Written - before.Today.Written
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
		rawTook += time.Since(begin)
	}
	t.add(line{
		what: what, measured: float64(events) / took.Seconds(), format: "%.0f",
		yardstick: float64(events) / rawTook.Seconds(),
		of:        fmt.Sprintf("by write+fdatasync of the same groups (%.1f events, %d bytes)", float64(events)/float64(commits), bytes/commits),
		onRatio:   true, atLeast: true, bound: 0.8,
	})
	return nil
}

// hammer appends with so many goroutines for appendTime.
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
					failure.Store(&err)
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
