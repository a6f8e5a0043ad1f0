package wal

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines is a log that a test reads while the queue writes it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// Every fsync above the bound is counted. A line is logged when more than one in a hundred fsyncs
// is above the bound, and at most one line in ten minutes.
func TestSlowSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 1 << 20
		log := new(lines)
		o.Log = slog.New(slog.NewTextHandler(log, nil))
		takes := SlowSync
		o.ops = byStep(func(op string) error {
			if op == "sync" {
				time.Sleep(takes)
			}
			return nil
		})
		q := openQueue(t, o)
		next := uint64(1)
		add := func(n int) { // by the committer: nobody may wait for its lock while time stands still
			for range n {
				done := make(chan error)
				if err := q.Submit(t.Context(), []Event{testEvent(next)}, func(err error) { done <- err }); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				next++
			}
		}
		expect := func(what string, slow uint64, logged int) {
			t.Helper()
			if got := q.Stats().SlowSyncs; got != slow {
				t.Errorf("%s: %d slow fsyncs, want %d", what, got, slow)
			}
			if got := log.with("the medium is slow"); len(got) != logged {
				t.Errorf("%s: %d lines, want %d: %q", what, len(got), logged, got)
			}
		}
		add(1)
		expect("at the bound", 0, 0)
		takes = time.Millisecond
		add(199)
		takes = SlowSync + time.Millisecond
		add(2)
		expect("two of 202", 2, 0)
		add(1)
		expect("three of 203", 3, 1)
		if got := log.with("took=501ms p99_up_to=512ms of_fsyncs=203 bound=500ms"); len(got) != 1 {
			t.Errorf("logged %q", log.with("slow"))
		}
		add(9)
		expect("and more", 12, 1)
		time.Sleep(slowWindow)
		add(1)
		expect("in the next window", 13, 2)
		closeQueue(t, q)
	})
}

// The fsync by which the library ends a segment is timed too. A slow write alone is none.
func TestSlowSyncAtTheEndOfASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 4 << 10
		slow := false
		o.ops = byStep(func(op string) error {
			if op == "write" && slow {
				time.Sleep(SlowSync + time.Millisecond)
			}
			return nil
		})
		q := openQueue(t, o)
		add := func() {
			done := make(chan error)
			if err := q.Submit(t.Context(), []Event{{Fragment: make([]byte, 300)}}, func(err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		add()
		slow = true
		segments := q.Stats().Segments
		for range 60 {
			add()
		}
		ended := uint64(q.Stats().Segments - segments)
		if got := q.Stats().SlowSyncs; ended < 3 || got != ended {
			t.Errorf("%d slow fsyncs, and %d segments have ended", got, ended)
		}
		closeQueue(t, q)
	})
}
