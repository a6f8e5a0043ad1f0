package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func quotaOptions(t testing.TB, policy string) Options {
	o := testOptions(queueDir(t))
	o.SegmentSize, o.MaxBytes, o.Policy = 4096, 64<<10, policy
	return o
}

func TestQuotaDropsOldest(t *testing.T) {
	o := quotaOptions(t, DropOldest)
	q := openQueue(t, o)
	const events = 3000
	appendEvents(t, q, 1, events)
	s := q.Stats()
	checkIdentity(t, s)
	if s.Bytes > o.MaxBytes || s.Bytes < o.MaxBytes/2 {
		t.Fatalf("%d bytes of at most %d", s.Bytes, o.MaxBytes)
	}
	got := pendingNumbers(t, q)
	if want := span(s.Dropped+1, events); s.Dropped == 0 ||
		!slices.Equal(got, want) || s.Pending != uint64(len(want)) || s.Accepted != events {
		t.Fatalf("read %s, stats %+v", sprint(got), s)
	}
	// The position was durable before anything was deleted.
	after := openQueue(t, testOptions(copyDir(t, o.Dir)))
	if a := after.Stats(); a.Dropped != s.Dropped || a.Committed != s.Committed || a.Accepted != events {
		t.Fatalf("after a crash %+v, before %+v", a, s)
	}
	closeQueue(t, after)
	commitRead(t, q)
	if s := q.Stats(); s.Deployed != uint64(len(got)) || s.Pending != 0 {
		t.Fatalf("%+v", s)
	}
	closeQueue(t, q)
}

// A commit for events that the quota has dropped meanwhile changes nothing, and counts nothing
// twice.
func TestCommitAfterDrop(t *testing.T) {
	q := openQueue(t, quotaOptions(t, DropOldest))
	appendEvents(t, q, 1, 20)
	r := q.Reader()
	defer r.Close()
	readNumbers(t, r)
	p := r.Position()
	appendEvents(t, q, 21, 2000)
	before := q.Stats()
	if err := q.Commit(p, 20, 0); err != nil {
		t.Fatal(err)
	}
	if s := q.Stats(); s.Deployed != 0 || s.Dropped != before.Dropped || s.Committed != before.Committed {
		t.Fatalf("%+v, before %+v", s, before)
	}
	if got, want := readNumbers(t, r), span(before.Dropped+1, 2020); !slices.Equal(got, want) {
		t.Fatalf("the reader goes on with %s, want %s", sprint(got), sprint(want))
	}
}

func TestQuotaRefusesNew(t *testing.T) {
	o := quotaOptions(t, RejectNew)
	q := openQueue(t, o)
	var n uint64
	var err error
	for err == nil {
		n++
		err = q.Append(context.Background(), testEvent(n))
	}
	if !errors.Is(err, ErrFull) || n < 200 {
		t.Fatalf("event %d: %v", n, err)
	}
	if s := q.Stats(); s.Dropped != 0 || s.Accepted != n-1 || s.Bytes > o.MaxBytes || !s.Writable {
		t.Fatalf("%+v", s)
	}
	if got := commitRead(t, q); !slices.Equal(got, span(1, n-1)) {
		t.Fatalf("read %s", sprint(got))
	}
	appendEvents(t, q, n, 50) // what is committed makes room
	if s := q.Stats(); s.Dropped != 0 || s.Pending != 50 {
		t.Fatalf("%+v", s)
	}
}

// An event of the greatest size is alone in its segment. Dropping goes on behind it, and a quota
// below its size does not stop the queue.
func TestQuotaAndLargestEvents(t *testing.T) {
	for _, policy := range []string{DropOldest, RejectNew} {
		t.Run(policy, func(t *testing.T) {
			o := quotaOptions(t, policy)
			o.MaxBytes = 8 << 20
			q := openQueue(t, o)
			large := Event{Fragment: make([]byte, MaxFragment)}
			for range 6 {
				if err := q.Append(context.Background(), large); err != nil {
					t.Fatal(err)
				}
				r := q.Reader()
				count := uint64(0)
				if err := r.Read(func(e *Entry) bool { count++; return len(e.Fragment) == MaxFragment }); err != nil || count != 1 {
					t.Fatalf("read %d events, %v", count, err)
				}
				if err := q.Commit(r.Position(), 1, 0); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
			if s := q.Stats(); s.Deployed != 6 || s.Bytes > o.MaxBytes+maxFrame {
				t.Fatalf("%+v", s)
			}
			large.Fragment = make([]byte, MaxFragment+1)
			if err := q.Append(context.Background(), large); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("one byte more: %v", err)
			}
			if err := q.Append(context.Background(), Event{Kind: 64}); err == nil {
				t.Fatal("kind 64 was accepted")
			}
			if err := q.Append(context.Background(), Event{Action: 128}); err == nil {
				t.Fatal("action 128 was accepted")
			}
		})
	}
}

func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock begins in 2000, which the queue takes for a clock that was not set.
		o := testOptions(queueDir(t))
		o.MaxAge = time.Hour
		q := openQueue(t, o)
		appendEvents(t, q, 1, 100)
		time.Sleep(3 * time.Hour)
		if s := q.Stats(); s.Dropped != 0 {
			t.Fatalf("events of an unset clock have expired: %+v", s)
		}
		closeQueue(t, q)

		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		o.Dir = queueDir(t)
		q = openQueue(t, o)
		appendEvents(t, q, 1, 100)
		time.Sleep(30 * time.Minute)
		appendEvents(t, q, 101, 100)
		time.Sleep(40 * time.Minute)
		s := q.Stats()
		checkIdentity(t, s)
		// Only whole segments are dropped: what shares one with younger events stays.
		if got := pendingNumbers(t, q); s.Dropped > 100 || s.Dropped < 60 || !slices.Equal(got, span(s.Dropped+1, 200)) {
			t.Fatalf("read %s, stats %+v", sprint(got), s)
		}
		closeQueue(t, q)
	})
}

// Without a known time a queue drops nothing for its age, whatever the machine's clock shows.
// Newest says how late it was when the queue was last open.
func TestMaxAgeOfGivenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		known := time.Now().UnixMilli()
		var given atomic.Int64
		given.Store(year2100 + 5)
		o := testOptions(queueDir(t))
		o.MaxAge, o.Now = time.Hour, given.Load
		q := openQueue(t, o)
		if n := q.Newest(); n != 0 {
			t.Errorf("an empty queue is of %d", n)
		}
		appendEvents(t, q, 1, 200)
		time.Sleep(3 * time.Hour)
		given.Store(known) // the clock is set: the age of the events before is unknown, not high
		appendEvents(t, q, 201, 200)
		time.Sleep(3 * time.Hour)
		if s := q.Stats(); s.Dropped != 0 {
			t.Fatalf("dropped by a clock that stands: %+v", s)
		}
		given.Store(known + 2*time.Hour.Milliseconds())
		time.Sleep(time.Minute)
		s := q.Stats()
		if checkIdentity(t, s); s.Dropped < 350 {
			t.Fatalf("two hours by the given time have dropped %+v", s)
		}
		if err := q.Append(context.Background(), Event{Time: 4711, Fragment: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		closeQueue(t, q)
		q = openQueue(t, o)
		if n := q.Newest(); n != 4711 {
			t.Errorf("the newest frame is of %d, want 4711", n)
		}
		closeQueue(t, q)
	})
}

// Segments below the committed offset are dropped though the writers never pause, and dropping
// rewrites nothing.
func TestCommittedSegmentsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q := openQueue(t, o)
		appendEvents(t, q, 1, 500)
		commitRead(t, q)
		written := q.Stats().Today.Written
		time.Sleep(2 * fileAfter)
		s := q.Stats()
		if s.Segments > 2 || s.First < 450 || s.Accepted != 500 || s.Deployed != 500 {
			t.Fatalf("%+v", s)
		}
		if rewritten := s.Today.Written - written; rewritten > 4*slotSize {
			t.Fatalf("dropping wrote %d bytes", rewritten)
		}
		checkInspect(t, q)
		closeQueue(t, q)

		// Somebody leaves only an empty tail: offsets and counts go on.
		p := segmentsOf(t, o.Dir)
		for _, p := range p {
			os.Remove(p)
		}
		writeFile(t, filepath.Join(o.Dir, segmentName(s.Last+1)), nil)
		q = openQueue(t, o)
		if a := q.Stats(); a.Accepted != 500 || a.Deployed != 500 || a.Last != s.Last || a.Pending != 0 {
			t.Fatalf("%+v, before %+v", a, s)
		}
		appendEvents(t, q, 501, 10)
		if got := commitRead(t, q); !slices.Equal(got, span(501, 510)) {
			t.Fatalf("read %s", sprint(got))
		}
		closeQueue(t, q)
	})
}

// A committed offset beyond the end hides nothing that is appended later, not even after a crash,
// when the file still holds the old offset.
func TestCommittedBeyondEndThenCrash(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 20)
	commitRead(t, q)
	closeQueue(t, q)
	if err := os.Truncate(tailOf(t, o.Dir), 200); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, o)
	appendEvents(t, q, 21, 40)
	crashed := openQueue(t, testOptions(copyDir(t, o.Dir)))
	if got := pendingNumbers(t, crashed); !slices.Equal(got, span(21, 60)) {
		t.Fatalf("read %s, want 21 to 60", sprint(got))
	}
	if s := crashed.Stats(); s.Accepted != 60 || s.Deployed != 20 || s.Damaged != 0 {
		t.Fatalf("%+v", s)
	}
}
