package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

// fillQueue opens a queue whose tail is filled beforehand, and appends events 1 to 100.
func fillQueue(t testing.TB, o Options) *Queue {
	t.Helper()
	o.Fill, o.SegmentSize = true, 64<<10
	q := openQueue(t, o)
	appendEvents(t, q, 1, 100)
	return q
}

func tailSize(t testing.TB, o Options) int64 {
	t.Helper()
	return tailStat(t, o).Size
}

func tailStat(t testing.TB, o Options) syscall.Stat_t {
	t.Helper()
	var s syscall.Stat_t
	if err := syscall.Stat(tailOf(t, o.Dir), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Small commits fill the tail, and cost half from then on. What is read, counted and inspected does
// not change. A crash at any byte of the tail loses nothing. Full segments have no zeros, and a
// clean end leaves none.
func TestFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q := fillQueue(t, o)
		time.Sleep(2 * fileAfter) // long enough for the upkeep
		if n := tailSize(t, o); n != 64<<10 {
			t.Fatalf("the tail has %d bytes", n)
		}
		before := q.Stats()
		appendEvents(t, q, 101, 10)
		after := q.Stats()
		if cost := after.Today.Wear - before.Today.Wear; cost < 10*disk.Block || cost > 12*disk.Block {
			t.Fatalf("ten commits cost %d bytes", cost)
		}
		if n := tailSize(t, o); n != 64<<10 {
			t.Fatalf("the tail has %d bytes", n)
		}
		checkInspect(t, q)
		if got := pendingNumbers(t, q); !slices.Equal(got, span(1, 110)) {
			t.Fatalf("read %s", sprint(got))
		}
		if c, err := Verify(o.Dir, func(d *CorruptError) { t.Error(d) }); err != nil || c.Events != 110 {
			t.Fatalf("verify: %+v, %v", c, err)
		}
		crashed := openQueue(t, testOptions(copyDir(t, o.Dir)))
		if got := pendingNumbers(t, crashed); !slices.Equal(got, span(1, 110)) || crashed.Stats().Damaged != 0 {
			t.Fatalf("after a crash %s", sprint(got))
		}
		appendEvents(t, crashed, 111, 3)
		closeQueue(t, crashed)

		// Dropping the committed segments makes the library read the tail.
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

// Full segments hold frames to their last byte, whatever they were filled with before.
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

// Where the medium has no room for the zeros, no event is refused for it, and filling is not tried
// again at every commit. The queue comes back from a failure with a filled tail.
func TestFillFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		tries := 0
		f := &fault{err: syscall.EIO}
		refuse := true
		o.ops = byStep(func(op string) error {
			if op == "fill" && refuse {
				tries++
				return syscall.ENOSPC
			}
			return f.inject(op)
		})
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

// A segment that is begun has the room for all of it reserved, and the size of what is written. So
// has the next segment.
func TestReserveTail(t *testing.T) {
	o := testOptions(queueDir(t))
	o.Fill, o.SegmentSize = true, 64<<10
	trial, err := os.Create(o.Dir + ".trial")
	if err != nil {
		t.Fatal(err)
	}
	defer trial.Close()
	if err := syscall.Fallocate(int(trial.Fd()), 1, 0, 4096); errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		t.Skipf("this file system reserves no room: %v", err)
	}
	q := openQueue(t, o)
	next := uint64(1)
	for segments := range 3 {
		for q.Stats().Segments == segments {
			appendEvents(t, q, next, 10)
			next += 10
		}
		appendEvents(t, q, next, 10) // behind what began the segment
		next += 10
		tail := tailStat(t, o)
		if room := tail.Blocks * 512; room < 64<<10 || room > 80<<10 {
			t.Fatalf("segment %d has room for %d bytes", segments, room)
		}
		if n := q.tailSegment().bytes; tail.Size != n || n > 8<<10 {
			t.Fatalf("segment %d is %d bytes long, %d of them frames", segments, tail.Size, n)
		}
	}
	closeQueue(t, q)

	// Where the file system writes every change elsewhere, no room is reserved.
	o = testOptions(o.Dir + ".other")
	o.SegmentSize = 64 << 10
	q = openQueue(t, o)
	appendEvents(t, q, 1, 10)
	if n := tailStat(t, o).Blocks * 512; n > 8<<10 {
		t.Fatalf("the tail has room for %d bytes", n)
	}
	closeQueue(t, q)
}

// The events in the tail stay where no room can be reserved behind them.
func TestReserveTailRefused(t *testing.T) {
	o := testOptions(queueDir(t))
	o.SegmentSize = 64 << 10
	q := openQueue(t, o)
	appendEvents(t, q, 1, 10)
	closeQueue(t, q)
	f := &fault{err: syscall.ENOSPC}
	f.arm("reserve")
	o.Fill, o.ops = true, byStep(f.inject)
	q = openQueue(t, o)
	appendEvents(t, q, 11, 10)
	if s := tailStat(t, o); s.Size != q.Stats().Bytes || s.Blocks*512 >= 64<<10 {
		t.Fatalf("the tail is %d bytes long with %d of frames, and has room for %d", s.Size, q.Stats().Bytes, s.Blocks*512)
	}
	appendEvents(t, q, 21, 10)
	closeQueue(t, q)
	q = openQueue(t, testOptions(o.Dir))
	if got := commitRead(t, q); !slices.Equal(got, span(1, 30)) || q.Stats().Damaged != 0 {
		t.Fatalf("read %s", sprint(got))
	}
	closeQueue(t, q)
}

// A disk with less room than a segment is not filled by reserving, and what room is left takes
// events. When there is room again, it is reserved.
func TestReserveTailFails(t *testing.T) {
	d := newDisk(t, false)
	free := func() int64 {
		m, err := medium.Read(d.mount)
		if err != nil {
			t.Fatal(err)
		}
		return m.Free
	}
	const left = 1 << 20
	ballast, err := os.Create(filepath.Join(d.mount, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	if err := syscall.Fallocate(int(ballast.Fd()), 0, 0, free()-left); err != nil {
		t.Fatal(err)
	}
	o := testOptions(filepath.Join(d.mount, "queue"))
	o.Fill, o.SegmentSize = true, 4<<20
	q := openQueue(t, o)
	appendEvents(t, q, 1, 10)
	if n := free(); n < left/2 || n > left {
		t.Fatalf("%d of %d bytes are left", n, left)
	}
	appendEvents(t, q, 11, 10)
	closeQueue(t, q)
	if err := ballast.Truncate(0); err != nil {
		t.Fatal(err)
	}
	q = openQueue(t, o)
	appendEvents(t, q, 21, 10)
	if s := tailStat(t, o); s.Blocks*512 < 4<<20 {
		t.Fatalf("room for %d bytes is reserved when there is some again", s.Blocks*512)
	}
	if got := commitRead(t, q); !slices.Equal(got, span(1, 30)) {
		t.Fatalf("read %s", sprint(got))
	}
	closeQueue(t, q)
}
