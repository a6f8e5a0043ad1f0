package wal

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// A snapshot shows one moment, its oldest event included, whatever is committed while the oldest
// event is read.
func TestStatsAreOfOneMoment(t *testing.T) {
	o := testOptions(queueDir(t))
	o.SegmentSize = 1 << 20
	q := openQueue(t, o)
	const events = 3000
	var all []Event
	for n := uint64(1); n <= events; n++ {
		all = append(all, testEvent(n))
	}
	if err := q.Append(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	r := q.Reader()
	defer r.Close()
	var positions []Position
	if err := r.Read(func(e *Entry) bool { positions = append(positions, e.Position); return true }); err != nil {
		t.Fatal(err)
	}
	var looked atomic.Int64
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for i, p := range positions {
			for looked.Load() < int64(i)/10 { // so that some are committed during each look
				runtime.Gosched()
			}
			for range i % 10 * 40 { // at a different moment of each look
				q.Committed()
			}
			if err := q.Commit(p, 1, 0); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; looked.Add(1) {
		select {
		case <-finished:
			running = false
		default:
		}
		s := q.Stats()
		checkIdentity(t, s)
		want := int64(0)
		if s.Pending > 0 {
			want = testEvent(s.Deployed + 1).Time
		}
		if s.OldestPending != want {
			t.Fatalf("look %d: %d are deployed and %d pending, the oldest of %d, want %d",
				looked.Load(), s.Deployed, s.Pending, s.OldestPending, want)
		}
	}
	if looked.Load() < events/10 {
		t.Fatalf("%d looks prove little", looked.Load())
	}
	closeQueue(t, q)
}

// The oldest event of a snapshot is the one behind the snapshot's own committed position, even if
// more is committed by the time that the event is read.
func TestOldestOfAPassedPosition(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 20)
	before := q.Committed()
	r := q.Reader()
	defer r.Close()
	n := 0
	if err := r.Read(func(*Entry) bool { n++; return n <= 10 }); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(r.Position(), 10, 0); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		p    Position
		want uint64
	}{{before, 1}, {q.Committed(), 11}, {before, 1}} {
		if got, want := q.oldestBehind(test.p), testEvent(test.want).Time; got != want {
			t.Errorf("behind %+v the oldest is of %d, want %d", test.p, got, want)
		}
	}
	closeQueue(t, q)
}
