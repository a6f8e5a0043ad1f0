package wal

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What gives way is told with its reason and its times, and adds up to what is counted.
func TestDroppedIsTold(t *testing.T) {
	var told Gap
	q, err := Open(Options{
		Dir: t.TempDir(), SegmentSize: 4 << 10, MaxBytes: 16 << 10,
		Dropped: func(g Gap) { told.add(g) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for i := range 100 {
		if err := q.Append(t.Context(), Event{Time: 1700000000000 + int64(i), Fragment: make([]byte, 500)}); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); told.Events == 0 || told.Events != s.Dropped || told.Why != WhyQuota ||
		told.First != 1700000000000 || told.Last != 1700000000000+int64(told.Events)-1 {
		t.Errorf("told %+v, counted %d", told, s.Dropped)
	}
	if life := q.Life(); life.Number != 100 || life.Events != 50000 || life.Written < 50000 {
		t.Errorf("%+v", life)
	}
}

// A queue that refuses says since when, and begins anew after a pause without a refusal.
func TestRejectedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := Open(Options{Dir: t.TempDir(), SegmentSize: 4 << 10, MaxBytes: 16 << 10, Policy: RejectNew})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		for err == nil {
			err = q.Append(t.Context(), Event{Fragment: make([]byte, 500)})
		}
		first := time.Now()
		for _, pause := range []time.Duration{0, 5 * time.Minute, 11 * time.Minute} {
			if pause > rejectedPause {
				first = time.Now().Add(pause)
			}
			time.Sleep(pause)
			if err := q.Append(t.Context(), Event{Fragment: make([]byte, 500)}); !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			if limit, r := q.Room(); limit != 16<<10 || !r.Since.Equal(first) || !r.Last.Equal(time.Now()) {
				t.Errorf("after %v: %d, %+v, want since %v", pause, limit, r, first)
			}
		}
	})
}
