package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The medium is full from each step of a run on, for one step, a few and many: writes, fsyncs, the
// committed file, dropping, thinning, cutting back. Whatever the step, the queue does not lose what
// it accepted nor show what it refused, and comes back by itself.
func TestFullAtEveryStep(t *testing.T) {
	for _, lasts := range []int{1, 3, 40} {
		for from := 0; ; from++ {
			reached := true
			t.Run(fmt.Sprintf("%d steps from %d", lasts, from), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { reached = fullFrom(t, from, lasts) })
			})
			if !reached || t.Failed() {
				break
			}
			if testing.Short() {
				from += 6
			}
		}
	}
}

// fullFrom is a run in which so many steps fail; false if it ends before the first of them.
func fullFrom(t *testing.T, from, lasts int) bool {
	o := testOptions(filepath.Join(memDir(t), "queue"))
	o.SegmentSize, o.Reserve = 1200, 4096
	var step atomic.Int64 // the committer counts
	var working atomic.Bool
	o.ops = byStep(func(op string) error {
		if op == "fsync" { // of another goroutine, and counted as the step "sync"
			return nil
		}
		if n := int(step.Add(1)); !working.Load() && n > from && n <= from+lasts {
			return fmt.Errorf("step %q: %w", op, syscall.ENOSPC)
		}
		return nil
	})
	q, err := Open(o)
	for tries := 0; err != nil; tries++ {
		if !errors.Is(err, syscall.ENOSPC) || tries > lasts {
			t.Fatalf("open: %v", err)
		}
		q, err = Open(o)
	}
	t.Cleanup(func() { q.Close() })
	var accepted, delivered []uint64
	next := uint64(1)
	appendSome := func(groups int) {
		for i := range groups {
			events := []Event{testEvent(next)}
			if i%5 == 4 { // more than a segment holds
				for n := range uint64(12) {
					events = append(events, testEvent(next+1+n))
				}
			}
			err := q.Append(context.Background(), events...)
			if err != nil && (!errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC)) {
				t.Fatalf("append: %v", err)
			}
			for range events {
				if err == nil {
					accepted = append(accepted, next)
				}
				next++
			}
		}
	}
	r := q.Reader()
	defer r.Close()
	deliver := func() {
		got := readNumbers(t, r)
		delivered = append(delivered, got...)
		if err := q.Commit(r.Position(), uint64(len(got)), 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		appendSome(10)
		time.Sleep(time.Second)
		deliver()
		time.Sleep(2 * fileAfter)
	}
	reached := int(step.Load()) > from
	working.Store(true)
	time.Sleep(fileAfter + refillEvery)
	if s := q.Stats(); !s.Writable || s.LastError != nil {
		t.Fatalf("not back by itself: %+v", s)
	}
	before := len(accepted)
	appendSome(3)
	deliver()
	if len(accepted) != before+3 || !slices.Equal(delivered, accepted) {
		t.Fatalf("%d were accepted, read %s", len(accepted), sprint(delivered))
	}
	if s := q.Stats(); s.Accepted != uint64(len(accepted)) || s.Deployed != s.Accepted || s.Damaged != 0 {
		t.Fatalf("%d were accepted: %+v", len(accepted), s)
	}
	closeQueue(t, q)
	o.ops = nil
	q = openQueue(t, o)
	if s := q.Stats(); s.Accepted != uint64(len(accepted)) || s.Deployed != s.Accepted || s.Damaged != 0 || s.Pending != 0 {
		t.Fatalf("opened again with %d accepted: %+v", len(accepted), s)
	}
	closeQueue(t, q)
	return reached
}
