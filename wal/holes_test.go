package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// After segments were dropped the library opens the log again. When that fails, because the medium
// gives back other bytes than were written, devices are refused for a moment and the queue comes
// back by itself.
func TestDropSurvivesDamagedTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 512
		var armed atomic.Bool
		o.ops = byStep(func(op string) error {
			if op == "drop" && armed.CompareAndSwap(true, false) {
				p := tailOf(t, o.Dir)
				b := readFile(t, p)
				b[len(b)-1] ^= 1
				writeFile(t, p, append(b, 0x85)) // a length that the library does not take
			}
			return nil
		})
		q := openQueue(t, o)
		appendEvents(t, q, 1, 40)
		r := q.Reader()
		defer r.Close()
		n := 0
		if err := r.Read(func(*Entry) bool { n++; return n <= 30 }); err != nil {
			t.Fatal(err)
		}
		armed.Store(true)
		if err := q.Commit(r.Position(), 30, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * fileAfter)
		if armed.Load() {
			t.Fatal("nothing was dropped")
		}
		appendEvents(t, q, 41, 10)
		s := q.Stats()
		if checkIdentity(t, s); !s.Writable || s.Accepted != 50 {
			t.Fatalf("%+v", s)
		}
		got := readNumbers(t, r)
		if !slices.Equal(got[len(got)-10:], span(41, 50)) {
			t.Fatalf("read %s", sprint(got))
		}
		closeQueue(t, q)
	})
}

// Somebody deletes the last segment while the medium fails: the queue comes back all the same.
func TestTailDeletedWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 64 << 10
		q, f := openFaulty(t, o, syscall.EIO)
		appendEvents(t, q, 1, 30)
		if err := os.Remove(tailOf(t, o.Dir)); err != nil {
			t.Fatal(err)
		}
		f.arm("write")
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		f.clear()
		time.Sleep(fileAfter)
		appendEvents(t, q, 31, 10)
		if got := commitRead(t, q); !slices.Equal(got, span(31, 40)) {
			t.Fatalf("read %s, want 31 to 40", sprint(got))
		}
		if s := q.Stats(); s.Accepted != 40 || s.Damaged != 30 || s.Deployed != 10 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

// While a thinned backlog is drained, nothing of it counts as damaged or is reported as unreadable,
// wherever in a segment the removed events were.
func TestThinnedIsNotDamaged(t *testing.T) {
	o := thinOptions(t)
	q := openQueue(t, o)
	appendThin(t, q, 1, 1500)
	s := q.Stats()
	r := q.Reader()
	defer r.Close()
	var deployed uint64
	for {
		count := uint64(0)
		if err := r.Read(func(*Entry) bool {
			count++
			return count <= 7
		}); err != nil {
			t.Fatal(err)
		}
		if count = min(count, 7); count == 0 {
			break
		}
		if err := q.Commit(r.Position(), count, 0); err != nil {
			t.Fatal(err)
		}
		deployed += count
		if now := q.Stats(); now.Damaged != 0 || now.Dropped != s.Dropped || now.Deployed != deployed || now.Pending != s.Pending-deployed {
			t.Fatalf("after %d events: %+v, before %+v", deployed, now, s)
		}
	}
	if len(q.damaged) != 0 {
		t.Fatalf("segments reported as damaged: %v", q.damaged)
	}
	closeQueue(t, q)
}

// The head of a segment rots between two thinnings. The segment is left as it is, and its events
// can still be read.
func TestThinnedHeadRots(t *testing.T) {
	for k := range 2 { // the rotten one is the first, then the second, of two that are joined
		o := thinOptions(t)
		rot := ""
		o.ops = byStep(func(op string) error {
			if op == "thin" && rot == "" { // every level is known: the head is not looked at again before its turn
				segments := segmentsOf(t, o.Dir)
				rot = segments[len(segments)/2+k]
				b := readFile(t, rot)
				b[9] ^= 1
				writeFile(t, rot, b)
			}
			return nil
		})
		q := openQueue(t, o)
		appendThin(t, q, 1, 900)
		if rot == "" {
			t.Fatal("nothing was thinned")
		}
		var listed []string
		q.mu.Lock()
		for _, s := range q.segments {
			listed = append(listed, filepath.Join(o.Dir, segmentName(s.first)))
		}
		q.mu.Unlock()
		if got := segmentsOf(t, o.Dir); !slices.Equal(got, listed) {
			t.Fatalf("on the medium are\n%v, the queue knows\n%v", got, listed)
		}
		s := q.Stats()
		checkIdentity(t, s)
		if left := thinPending(t, q); uint64(len(left)) != s.Pending {
			t.Fatalf("%d are left: %+v", len(left), s)
		}
		closeQueue(t, q)
	}
}

// A gap that a record reports is not reported again after opening.
func TestGapIsReportedOnce(t *testing.T) {
	o := thinOptions(t)
	o.Policy = DropOldest
	var reported []Gap
	o.Record = func(g Gap, _ uint64) (Event, bool) {
		reported = append(reported, g)
		return Event{Action: gapAction, Fragment: make([]byte, 16)}, true
	}
	q := openQueue(t, o)
	for n := uint64(1); len(reported) == 0; n++ {
		appendThin(t, q, n, n)
	}
	dropped := q.Stats().Dropped
	closeQueue(t, q)
	q = openQueue(t, o)
	appendThin(t, q, 5001, 5010)
	if len(reported) != 1 || reported[0].Events != dropped || q.Stats().Dropped != dropped {
		t.Fatalf("%d events were dropped, reported: %+v", dropped, reported)
	}
	closeQueue(t, q)
}

// The committed position in a control frame counts when the tail is a new segment without a control
// frame yet (doc.go, row C5).
func TestCommittedBeforeEmptyTail(t *testing.T) {
	o := testOptions(queueDir(t))
	o.SegmentSize = 512
	q := openQueue(t, o)
	n := uint64(0)
	for end := false; !end; { // up to a group that fills its segment exactly
		n++
		appendEvents(t, q, n, 1)
		if n > 1 {
			commitRead(t, q)
		}
		q.mu.Lock()
		end = n > 5 && q.segments[len(q.segments)-1].bytes == 0
		q.mu.Unlock()
	}
	want := q.DurablyCommitted()
	if want.Seq == 0 {
		t.Fatal("no control frame")
	}
	after := openQueue(t, testOptions(copyDir(t, o.Dir)))
	if got := after.Committed(); got.Offset < want.Offset || got.Seq < want.Seq {
		t.Fatalf("after a crash %+v is committed, before it %+v was durably", got, want)
	}
	checkInspect(t, after)
	closeQueue(t, after)
	closeQueue(t, q)
}

// What a killed process left unsynced in the kernel's memory is made durable before anything relies
// on it: before it counts as accepted or as committed, and before segments are dropped.
func TestOpenSyncsWhatItFinds(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 20)
	closeQueue(t, q)
	var ops []string
	o.ops = byStep(func(op string) error { ops = append(ops, op); return nil })
	q = openQueue(t, o)
	if want := []string{"committed", "open"}; !slices.Equal(ops, want) {
		t.Fatalf("opening does %v, want %v", ops, want)
	}
	closeQueue(t, q)
}

// A board without a clock of its own wrote part of the backlog in 1970, or the clock once stood in
// the far future. Such a segment does not keep older ones from being dropped, once a later segment
// shows that they are too old.
func TestAgeBehindWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize, o.MaxAge = 1024, time.Hour
		time.Sleep(time.Until(time.UnixMilli(year2020).Add(-time.Minute)))
		q := openQueue(t, o)
		appendEvents(t, q, 1, 100)
		time.Sleep(2 * time.Minute)
		appendEvents(t, q, 101, 100)
		time.Sleep(2 * time.Hour)
		s := q.Stats()
		if s.Dropped < 150 || s.Damaged != 0 {
			t.Fatalf("%+v", s)
		}
		if got := pendingNumbers(t, q); !slices.Equal(got, span(s.Dropped+1, 200)) {
			t.Fatalf("read %s: %+v", sprint(got), s)
		}
		closeQueue(t, q)
	})
}

// A queue at its quota that refuses new events comes back from a failing medium all the same. It is
// full then, not unwritable.
func TestFullQueueComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := quotaOptions(t, RejectNew)
		q := openQueue(t, o)
		n := uint64(0)
		var err error
		for ; err == nil; n++ {
			err = q.Append(context.Background(), testEvent(n+1))
		}
		q.own.Lock()
		q.o.MaxBytes = q.Stats().Bytes - 1 // as after the record of a gap, which is written whatever the quota
		_ = q.poison(syscall.EIO, time.Now())
		q.own.Unlock()
		time.Sleep(2 * fileAfter)
		if s := q.Stats(); !s.Writable {
			t.Fatalf("not back: %+v", s)
		}
		if err := q.Append(context.Background(), testEvent(n)); !errors.Is(err, ErrFull) {
			t.Fatalf("append to a full queue: %v", err)
		}
		closeQueue(t, q)
	})
}

// The probe of a medium that failed writes a frame even where a segment begins. An fsync alone
// proves nothing on a full medium, and stores no committed position.
func TestProbeWritesIntoEmptyTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 512
		q, f := openFaulty(t, o, syscall.EIO)
		n := uint64(0)
		for empty := false; !empty; { // up to a group that fills its segment exactly
			n++
			appendEvents(t, q, n, 1)
			q.mu.Lock()
			empty = n > 5 && q.segments[len(q.segments)-1].bytes == 0
			q.mu.Unlock()
		}
		f.arm("all")
		commitRead(t, q)
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		f.arm("committed")
		time.Sleep(3 * fileAfter)
		if s := q.Stats(); !s.Writable || q.DurablyCommitted().Seq != n {
			t.Fatalf("%d of %d are committed durably: %+v", q.DurablyCommitted().Seq, n, s)
		}
		after := openQueue(t, testOptions(copyDir(t, o.Dir)))
		if s := after.Stats(); s.Deployed != n || s.Pending != 0 {
			t.Fatalf("after a crash: %+v", s)
		}
		closeQueue(t, after)
		f.clear()
		closeQueue(t, q)
	})
}

// A new directory is durable before anything is accepted into it, so that a power cut does not take
// it away as a whole.
func TestNewDirectoryIsSynced(t *testing.T) {
	o := testOptions(queueDir(t))
	var ops []string
	o.ops = byStep(func(op string) error {
		if ops = append(ops, op); op == "parent" {
			return syscall.EIO
		}
		return nil
	})
	if q, err := Open(o); !errors.Is(err, syscall.EIO) {
		if err == nil {
			q.Close()
		}
		t.Fatalf("open: %v", err)
	}
	if !slices.Equal(ops, []string{"parent"}) {
		t.Fatalf("opening does %v", ops)
	}
}

// With an interval, what was accepted before the medium failed is synced by Close, if the medium
// takes it again by then.
func TestCloseSyncsAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.Interval = time.Hour
		var ops []string
		failing := false
		o.ops = byStep(func(op string) error {
			ops = append(ops, op)
			if failing && op == "write" {
				return syscall.EIO
			}
			return nil
		})
		q := openQueue(t, o)
		appendEvents(t, q, 1, 20)
		failing = true
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		failing = false
		ops = nil
		closeQueue(t, q)
		if !slices.Contains(ops, "open") { // the step that syncs what is found
			t.Fatalf("closing does %v", ops)
		}
	})
}

// The bound of a search does not overflow where an int has 32 bits.
func TestResyncInLargeFile(t *testing.T) {
	f := frame(appendFrame(nil, frameEvent, &Event{Fragment: []byte("x")}))
	f.seal(7)
	b := appendEntry(make([]byte, tailBytes), f)
	if at, offset, ok := resync(b, 5, 100); !ok || at != tailBytes || offset != 7 {
		t.Fatalf("found at %d, offset %d, %v", at, offset, ok)
	}
}

// What is committed while the queue comes back from a failure stays committed. It counts as
// deployed, not as damaged.
func TestCommitWhileComingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		f := &fault{err: syscall.EIO}
		var q *Queue
		var during func()
		o.ops = byStep(func(op string) error {
			if op == "open" && during != nil {
				during()
			}
			return f.inject(op)
		})
		q = openQueue(t, o)
		appendEvents(t, q, 1, 20)
		f.arm("sync")
		if err := q.Append(context.Background(), testEvent(9999)); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		f.clear()
		r := q.Reader()
		defer r.Close()
		during = func() {
			during = nil
			if err := q.Commit(r.Position(), uint64(len(readNumbers(t, r))), 0); err != nil { // nothing read yet: no move
				t.Error(err)
			}
			if err := q.Commit(r.Position(), 20, 0); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * reopenEvery)
		appendEvents(t, q, 21, 5)
		if got := commitRead(t, q); !slices.Equal(got, span(21, 25)) {
			t.Fatalf("read %s", sprint(got))
		}
		if s := q.Stats(); s.Deployed != 25 || s.Damaged != 0 || s.Pending != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}
