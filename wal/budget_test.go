package wal

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/medium"
)

// An event a second for a day, each from a device that waits for its answer: what the medium writes
// for them stays under the budget, no answer comes later than queue.max_delay, and all events are
// there. This is the case of ten events a second, 1 GiB a day and a delay of 1 s, ten times as
// slow, in short forty times: as many events share a commit, with a tenth or a 40th of the work.
func TestBudgetHoldsForADay(t *testing.T) {
	slower := time.Duration(10)
	if testing.Short() {
		slower = 40
	}
	synctest.Test(t, func(t *testing.T) {
		o := Options{
			Dir: filepath.Join(memDir(t), "queue"), MaxBytes: 8 << 20,
			FlashBudget: 1 << 30 / int64(slower), MaxDelay: slower * time.Second,
		}
		var fsyncs atomic.Uint64
		o.ops = byStep(func(op string) error {
			if op == "sync" {
				fsyncs.Add(1)
			}
			return nil
		})
		time.Sleep(time.Until(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)))
		q := openQueue(t, o)
		var worst atomic.Int64
		period := slower * 100 * time.Millisecond
		e := []Event{{Fragment: make([]byte, 8)}}
		for range 24*time.Hour/period - 600/slower {
			begin := time.Now()
			if err := q.Submit(context.Background(), e, func(err error) {
				if err != nil {
					t.Error(err)
				}
				if d := int64(time.Since(begin)); d > worst.Load() {
					worst.Store(d)
				}
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(period)
		}
		synctest.Wait()
		s := q.Stats()
		if s.Today.Wear > o.FlashBudget || s.Today.Wear < o.FlashBudget*9/10 {
			t.Errorf("a day cost %d bytes, its budget is %d", s.Today.Wear, o.FlashBudget)
		}
		if d := time.Duration(worst.Load()); d > o.MaxDelay || d < o.MaxDelay/2 {
			t.Errorf("the longest wait for an answer was %v", d)
		}
		if s.Accepted < (24*36_000-7_000)/uint64(slower) || fsyncs.Load() != s.Commits || s.Stretched == 0 || s.Stretched == s.Commits {
			t.Errorf("%d fsyncs: %+v", fsyncs.Load(), s)
		}
		closeQueue(t, q)
	})
}

// While tokens last, every commit is immediate. When the tokens are gone, a lone event waits for
// its tokens, at most queue.max_delay. A full group does not wait.
func TestBudgetLetsBurstsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 1 << 20
		o.FlashBudget, o.MaxDelay = 24*100*medium.AssumedCommit, 10*time.Second // an hour's share: a hundred commits
		q := openQueue(t, o)
		begin := time.Now()
		appendEvents(t, q, 1, 99)
		if d := time.Since(begin); d != 0 {
			t.Fatalf("99 commits that had their tokens took %v", d)
		}
		appendEvents(t, q, 100, 2)
		begin = time.Now()
		appendEvents(t, q, 102, 1)
		if d := time.Since(begin); d != o.MaxDelay {
			t.Fatalf("an event without tokens took %v, want %v", d, o.MaxDelay)
		}
		begin = time.Now()
		big := make([]Event, 10)
		for i := range big {
			big[i] = Event{Fragment: make([]byte, groupBytes/9)}
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := q.Append(context.Background(), big...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begin); d > o.MaxDelay {
			t.Fatalf("two full groups took %v", d)
		}
		if s := q.Stats(); s.Stretched == 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

func TestBudgetArithmetic(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := budget{perDay: 24 * 86400}
	if d := b.wait(86400, now); d != 0 {
		t.Fatalf("a full bucket makes wait %v", d)
	}
	b.spend(86400, now)
	if d, want := b.wait(23*10, now), 10*time.Second; d != want { // 23 of 24 parts flow in
		t.Fatalf("wait %v, want %v", d, want)
	}
	if d := b.wait(23*10, now.Add(10*time.Second)); d != 0 {
		t.Fatalf("after the wait another %v", d)
	}
	b.spend(1<<40, now.Add(time.Minute))
	if b.tokens != -86400 {
		t.Fatalf("debt of %d", b.tokens)
	}
	if d := b.wait(1, now.Add(-time.Hour)); d <= 0 || d > 2*time.Hour {
		t.Fatalf("after the clock went back: %v", d)
	}
	if d := b.wait(1<<40, now.Add(48*time.Hour)); d != 0 { // more tokens than the bucket ever holds
		t.Fatalf("a commit beyond the bucket would wait %v", d)
	}
	for _, w := range [][3]int64{{0, 1, 8192}, {4095, 1, 8192}, {4095, 2, 12288}, {100, 0, 8192}, {0, 40960, 8192 + 9*4096}} {
		if got := wear(w[0], w[1], medium.AssumedCommit); got != w[2] {
			t.Errorf("%d bytes at %d cost %d, want %d", w[1], w[0], got, w[2])
		}
	}
}

// With an interval, events are accepted before their fsync and read after it, and there is one
// fsync an interval.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize, o.Interval = 1<<20, 500*time.Millisecond
		var fsyncs atomic.Int64
		o.ops = byStep(func(op string) error {
			if op == "sync" {
				fsyncs.Add(1)
			}
			return nil
		})
		q := openQueue(t, o)
		r := q.Reader()
		defer r.Close()
		appendEvents(t, q, 1, 50)
		if s := q.Stats(); s.Accepted != 50 || fsyncs.Load() != 0 {
			t.Fatalf("%d fsyncs: %+v", fsyncs.Load(), s)
		}
		if got := readNumbers(t, r); len(got) != 0 {
			t.Fatalf("read before the fsync: %s", sprint(got))
		}
		killed := openQueue(t, testOptions(copyDir(t, o.Dir))) // the process dies, the machine does not
		if got := pendingNumbers(t, killed); !slices.Equal(got, span(1, 50)) {
			t.Fatalf("after a kill %s", sprint(got))
		}
		closeQueue(t, killed)
		time.Sleep(o.Interval)
		synctest.Wait()
		if got := readNumbers(t, r); !slices.Equal(got, span(1, 50)) || fsyncs.Load() != 1 {
			t.Fatalf("after %d fsyncs %s", fsyncs.Load(), sprint(got))
		}
		for range 20 { // two seconds
			appendEvents(t, q, 51, 1)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := fsyncs.Load(); n < 4 || n > 6 {
			t.Fatalf("%d fsyncs", n)
		}
		s := q.Stats()
		if s.Today.Fsyncs != uint64(fsyncs.Load()) || s.Commits != 70 ||
			s.Today.Wear < fsyncs.Load()*medium.AssumedCommit || s.Today.Wear > (fsyncs.Load()+4)*medium.AssumedCommit {
			t.Fatalf("%d fsyncs: %+v", fsyncs.Load(), s)
		}
		appendEvents(t, q, 71, 1)
		closeQueue(t, q)
		if fsyncs.Load() < 5 {
			t.Fatal("no fsync at the end")
		}
	})
}

// After a failed fsync devices are refused until the queue is back. What was accepted before stays,
// and is synced then.
func TestIntervalFailingSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.Interval = 500 * time.Millisecond
		f := &fault{err: syscall.EIO}
		o.ops = byStep(f.inject)
		q := openQueue(t, o)
		appendEvents(t, q, 1, 200)
		f.arm("sync")
		time.Sleep(o.Interval)
		synctest.Wait()
		if s := q.Stats(); s.Writable || s.Accepted != 200 {
			t.Fatalf("%+v", s)
		}
		f.clear()
		time.Sleep(2 * fileAfter)
		appendEvents(t, q, 201, 20)
		time.Sleep(o.Interval)
		synctest.Wait()
		if got := commitRead(t, q); !slices.Equal(got, span(1, 220)) {
			t.Fatalf("read %s", sprint(got))
		}
		if s := q.Stats(); !s.Writable || s.Damaged != 0 || s.Pending != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

// A budget that is set while the queue is open counts from then on, and its end does too.
func TestSetBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		now := time.Now()
		if d := q.budget.wait(1<<20, now); d != 0 {
			t.Errorf("without a budget a commit waits %v", d)
		}
		q.SetBudget(24*86400, time.Minute) // 86,400 bytes at once, and 23 a second
		q.budget.spend(86400, now)
		if d := q.budget.wait(2300, now); d != 100*time.Second {
			t.Errorf("a commit waits %v, want 100 s", d)
		}
		if _, most := q.budget.limits(); most != time.Minute {
			t.Errorf("collected for %v", most)
		}
		q.SetBudget(0, time.Second)
		if d := q.budget.wait(2300, now); d != 0 || !q.Spare() {
			t.Errorf("after the budget a commit waits %v", d)
		}
	})
}
