package wal

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fillQueue is a queue whose tail has been filled beforehand, with events 1 to 100.
func fillQueue(t testing.TB, o Options) *Queue {
	t.Helper()
	o.Fill, o.SegmentSize = true, 64<<10
	q := openQueue(t, o)
	appendEvents(t, q, 1, 100)
	return q
}

func tailSize(t testing.TB, o Options) int64 {
	t.Helper()
	i, err := os.Stat(tailOf(t, o.Dir))
	if err != nil {
		t.Fatal(err)
	}
	return i.Size()
}

// Small commits fill the tail: they cost half from then on. What is read, counted and inspected does not change; a crash at any byte of
// it loses nothing; segments that are full have no zeros; a clean end leaves none.
func TestFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q := fillQueue(t, o)
		time.Sleep(2 * fileAfter) // the upkeep has come round
		if n := tailSize(t, o); n != 64<<10 {
			t.Fatalf("the tail has %d bytes", n)
		}
		before := q.Stats()
		appendEvents(t, q, 101, 10)
		after := q.Stats()
		if cost := after.Today.Wear - before.Today.Wear; cost < 10*flashBlock || cost > 12*flashBlock {
			t.Fatalf("ten commits cost %d bytes", cost)
		}
		if n := tailSize(t, o); n != 64<<10 {
			t.Fatalf("the tail has %d bytes", n)
		}
		checkInspect(t, q)
		if got := pendingNumbers(t, q); !slices.Equal(got, span(1, 110)) {
			t.Fatalf("read %s", sprint(got))
		}
		if c, err := Verify(o.Dir, func(s string) { t.Error(s) }); err != nil || c.Events != 110 {
			t.Fatalf("verify: %+v, %v", c, err)
		}
		crashed := openQueue(t, testOptions(copyDir(t, o.Dir)))
		if got := pendingNumbers(t, crashed); !slices.Equal(got, span(1, 110)) || crashed.Stats().Damaged != 0 {
			t.Fatalf("after a crash %s", sprint(got))
		}
		appendEvents(t, crashed, 111, 3)
		closeQueue(t, crashed)

		// Committed segments go, which makes the library read the tail.
		appendEvents(t, q, 111, 1500)
		if got := commitRead(t, q); !slices.Equal(got, span(1, 1610)) {
			t.Fatalf("read %s", sprint(got))
		}
		time.Sleep(2 * fileAfter)
		if s := q.Stats(); s.Segments != 1 || !s.Writable || s.Damaged != 0 {
			t.Fatalf("%+v", s)
		}
		appendEvents(t, q, 1611, 100)
		time.Sleep(2 * fileAfter)
		closeQueue(t, q)
		if n, s := tailSize(t, o), q.Stats(); n != s.Bytes {
			t.Fatalf("the tail has %d bytes, with %d of frames", n, s.Bytes)
		}
		q = openQueue(t, o)
		if got := commitRead(t, q); !slices.Equal(got, span(1611, 1710)) {
			t.Fatalf("read %s", sprint(got))
		}
		closeQueue(t, q)
	})
}

// Full segments hold frames to their last byte, whatever they were filled with.
func TestFillLeavesNoZerosBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q := fillQueue(t, o)
		for n := uint64(101); n < 2000; n++ {
			appendEvents(t, q, n, 1)
			if n%70 == 0 {
				time.Sleep(2 * fileAfter)
			}
		}
		p := segmentsOf(t, o.Dir)
		if len(p) < 3 {
			t.Fatalf("%d segments", len(p))
		}
		sum := int64(0)
		for _, s := range q.segments {
			sum += s.bytes
		}
		onDisk := int64(0)
		for _, p := range p[:len(p)-1] {
			i, _ := os.Stat(p)
			onDisk += i.Size()
		}
		if tail := q.segments[len(q.segments)-1].bytes; onDisk != sum-tail || q.Stats().Bytes != sum {
			t.Fatalf("full segments take %d bytes, of %d with a tail of %d", onDisk, sum, tail)
		}
		if got := commitRead(t, q); !slices.Equal(got, span(1, 1999)) {
			t.Fatalf("read %s", sprint(got))
		}
		closeQueue(t, q)
	})
}

// No room for the zeros: nothing is refused for it, and it is not tried at every commit. A failure with a filled tail heals.
func TestFillFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		tries := 0
		f := &fault{err: syscall.EIO}
		refuse := true
		o.inject = func(op string) error {
			if op == "fill" && refuse {
				tries++
				return syscall.ENOSPC
			}
			return f.inject(op)
		}
		q := fillQueue(t, o)
		for n := uint64(101); n <= 200; n++ {
			appendEvents(t, q, n, 1)
			time.Sleep(time.Second)
		}
		if tries != 1 || tailSize(t, o) != q.Stats().Bytes {
			t.Fatalf("%d tries, a tail of %d bytes", tries, tailSize(t, o))
		}
		closeQueue(t, q)

		refuse = false
		o.Fill, o.SegmentSize = true, 64<<10
		q = openQueue(t, o)
		appendEvents(t, q, 201, 100)
		time.Sleep(2 * fileAfter)
		if n := tailSize(t, o); n != 64<<10 {
			t.Fatalf("the tail has %d bytes", n)
		}
		f.arm("sync")
		if err := q.Append(context.Background(), testEvent(9999)); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		f.clear()
		time.Sleep(2 * fileAfter)
		appendEvents(t, q, 301, 100)
		if got := commitRead(t, q); !slices.Equal(got, span(1, 400)) {
			t.Fatalf("read %s", sprint(got))
		}
		if s := q.Stats(); s.Damaged != 0 || s.Pending != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}
