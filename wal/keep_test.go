package wal

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// past reads the numbers of the events behind an offset, committed ones too.
func past(t *testing.T, q *Queue, offset uint64) (numbers []uint64) {
	t.Helper()
	r := q.Past(offset)
	defer r.Close()
	if err := r.Read(func(e *Entry) bool {
		numbers = append(numbers, number(t, &e.Event))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return numbers
}

// deliverNumbers appends the events first to last, one group each, and commits them.
func deliverNumbers(t *testing.T, q *Queue, first, last uint64) {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	for k := first; k <= last; k++ {
		if err := q.Append(context.Background(), testEvent(k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Read(func(*Entry) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(r.Position(), last-first+1, 0); err != nil {
		t.Fatal(err)
	}
}

func count(first, last uint64) (list []uint64) {
	for k := first; k <= last; k++ {
		list = append(list, k)
	}
	return list
}

// What is committed stays as long as it is wanted, and goes when it is not.
func TestKeptSegmentsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(memDir(t) + "/queue")
		o.SegmentSize = 1024
		q := openQueue(t, o)
		defer q.Close()
		deliverNumbers(t, q, 1, 100)
		from := q.Committed().Offset
		q.Keep(from)
		deliverNumbers(t, q, 101, 300)
		time.Sleep(time.Minute)
		if got := past(t, q, from); !slices.Equal(got, count(101, 300)) {
			t.Errorf("behind the kept offset: %v", got)
		}
		if got := past(t, q, 0); len(got) >= 300 || !slices.Equal(got, count(301-uint64(len(got)), 300)) {
			t.Errorf("behind 0: %v", got)
		}
		if s := q.Stats(); s.Pending != 0 || s.Deployed != 300 {
			t.Errorf("%+v", s)
		}
		q.Keep(math.MaxUint64)
		time.Sleep(time.Minute)
		if got := past(t, q, from); len(got) > 50 {
			t.Errorf("%d events are still there", len(got))
		}
		if q.Kept() != math.MaxUint64 {
			t.Errorf("kept %d", q.Kept())
		}
	})
}

// The quota takes what is kept before it takes what is pending.
func TestQuotaTakesKeptSegmentsFirst(t *testing.T) {
	o := testOptions(memDir(t) + "/queue")
	o.SegmentSize = 1024
	o.MaxBytes = 20 << 10
	q := openQueue(t, o)
	defer q.Close()
	q.Keep(0)
	deliverNumbers(t, q, 1, 200)
	for k := uint64(201); k <= 300; k++ {
		if err := q.Append(context.Background(), testEvent(k)); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Dropped != 0 || s.Pending != 100 || s.Bytes > o.MaxBytes {
		t.Errorf("%+v", s)
	}
	got := past(t, q, 0)
	if len(got) <= 100 || !slices.Equal(got, count(301-uint64(len(got)), 300)) {
		t.Errorf("left: %v", got)
	}
}

// The kept offset is there after a stop and after a crash, without an fsync of its own.
func TestKeptOffsetSurvives(t *testing.T) {
	o := testOptions(memDir(t) + "/queue")
	q := openQueue(t, o)
	deliverNumbers(t, q, 1, 10)
	from := q.Committed().Offset
	q.Keep(from)
	deliverNumbers(t, q, 11, 20)
	fsyncs := q.Stats().Today.Fsyncs
	q.Keep(from + 2)
	if n := q.Stats().Today.Fsyncs; n != fsyncs {
		t.Errorf("%d fsyncs for keeping", n-fsyncs)
	}
	deliverNumbers(t, q, 21, 22) // its control frame has the offset
	crashed := o
	crashed.Dir = copyDir(t, o.Dir)
	c := openQueue(t, crashed)
	if got := c.Kept(); got != from+2 {
		t.Errorf("after a crash: kept %d, want %d", got, from+2)
	}
	if got := past(t, c, c.Kept()); !slices.Equal(got, count(12, 22)) {
		t.Errorf("after a crash: %v", got)
	}
	c.Close()
	q.Keep(from + 3)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, o)
	if got := q.Kept(); got != from+3 {
		t.Errorf("after a stop: kept %d, want %d", got, from+3)
	}
	q.Keep(math.MaxUint64)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, o)
	defer q.Close()
	if got := q.Kept(); got != math.MaxUint64 {
		t.Errorf("given up, and kept %d", got)
	}
}

// A control frame of an older version has one number less.
func TestControlOfOlderVersion(t *testing.T) {
	c := control{seq: 9, committed: Position{Offset: 300, Seq: 7}, counters: counters{deployed: 7}, kept: 200}
	b := c.append(nil)
	if got, ok := parseControl(b); !ok || got != c {
		t.Errorf("%+v %v", got, ok)
	}
	c.kept = 0
	old := c.append(nil)
	if len(old) != 16 {
		t.Errorf("%d bytes", len(old))
	}
	if got, ok := parseControl(old); !ok || got != c {
		t.Errorf("%+v %v", got, ok)
	}
	c.kept = 301
	if _, ok := parseControl(c.append(nil)); ok {
		t.Error("more is kept than there is")
	}
}

// The newest acknowledged segments stay, up to KeepBytes, over a restart too; what is pinned stays
// beyond that.
func TestKeepBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(memDir(t) + "/queue")
		o.SegmentSize, o.KeepBytes = 1024, 8<<10
		q := openQueue(t, o)
		deliverNumbers(t, q, 1, 1000)
		time.Sleep(time.Minute)
		check := func(what string, most int64) (got []uint64) {
			t.Helper()
			s := q.Stats()
			if s.Acknowledged > most || s.Acknowledged < most-2048 || s.Bytes-s.Acknowledged > 2048 {
				t.Errorf("%s: %d bytes acknowledged of %d", what, s.Acknowledged, s.Bytes)
			}
			if got = past(t, q, 0); !slices.Equal(got, count(1001-uint64(len(got)), 1000)) {
				t.Errorf("%s: %v", what, got)
			}
			return got
		}
		kept := check("kept", 8<<10)
		closeQueue(t, q)
		o.Pinned = q.Committed().Offset
		q = openQueue(t, o)
		time.Sleep(time.Minute)
		if again := check("after a restart", 8<<10); !slices.Equal(again, kept) {
			t.Errorf("%d of %d after a restart", len(again), len(kept))
		}
		deliverNumbers(t, q, 1001, 2000)
		time.Sleep(time.Minute)
		if got := past(t, q, 0); got[0] > 1000 || !slices.Equal(got, count(got[0], 2000)) {
			t.Errorf("pinned from 1000 on: from %d", got[0])
		}
		q.Pin(math.MaxUint64)
		deliverNumbers(t, q, 2001, 2002)
		time.Sleep(time.Minute)
		if s := q.Stats(); s.Acknowledged > 8<<10 {
			t.Errorf("%d bytes when nothing is pinned", s.Acknowledged)
		}
		closeQueue(t, q)
	})
}

// What is kept by its size gives way to what is pending, all of it.
func TestKeepBytesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(memDir(t) + "/queue")
		o.SegmentSize, o.KeepBytes, o.MaxBytes = 1024, 8<<10, 16<<10
		q := openQueue(t, o)
		defer q.Close()
		for n := uint64(0); n < 300; n += 50 {
			deliverNumbers(t, q, n+1, n+50)
		}
		time.Sleep(time.Minute)
		if s := q.Stats(); s.Dropped != 0 || s.Acknowledged < 6<<10 {
			t.Fatalf("%+v", s)
		}
		n := uint64(300)
		for q.Stats().Acknowledged > 0 {
			n++
			appendEvents(t, q, n, 1)
		}
		if s := q.Stats(); s.Dropped != 0 || s.Pending != n-300 {
			t.Errorf("dropped %d, pending %d of %d while %d bytes are acknowledged", s.Dropped, s.Pending, n-300, s.Acknowledged)
		}
	})
}
