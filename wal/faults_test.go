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

// fault is the error that the medium's step of one name answers with while the fault is armed.
type fault struct {
	op  atomic.Pointer[string]
	err error
}

func (f *fault) arm(op string) { f.op.Store(&op) }
func (f *fault) clear()        { f.op.Store(nil) }
func (f *fault) inject(op string) error {
	if p := f.op.Load(); p != nil && (*p == "all" || isStep(op, *p)) {
		return f.err
	}
	return nil
}

// isStep reports whether op is the step of that name. An fsync of the names too is an fsync.
func isStep(op, name string) bool { return op == name || name == "sync" && op == "sync-names" }

// openFaulty opens a queue whose writes can be made to fail.
func openFaulty(t testing.TB, o Options, cause error) (*Queue, *fault) {
	t.Helper()
	f := &fault{err: cause}
	o.ops = byStep(f.inject)
	return openQueue(t, o), f
}

func TestFailedWriteRefusesAndComesBack(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOptions(queueDir(t))
				q, f := openFaulty(t, o, syscall.EIO)
				appendEvents(t, q, 1, 50)
				f.arm(op)
				// A refused group of many events, which begins segments, and single ones.
				var many []Event
				for n := uint64(5001); n <= 5100; n++ {
					many = append(many, testEvent(n))
				}
				if err := q.Append(context.Background(), many...); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("append on a failing medium: %v", err)
				}
				for n := uint64(5101); n < 5110; n++ {
					if err := q.Append(context.Background(), testEvent(n)); !errors.Is(err, ErrUnavailable) {
						t.Fatalf("append on a failing medium: %v", err)
					}
					time.Sleep(300 * time.Millisecond)
				}
				if s := q.Stats(); s.Writable || !errors.Is(s.LastError, syscall.EIO) || s.Accepted != 50 {
					t.Fatalf("stats while the medium fails: %+v", s)
				}
				f.clear()
				time.Sleep(fileAfter) // nothing is appended: the queue comes back by itself
				if s := q.Stats(); !s.Writable || s.LastError != nil {
					t.Fatalf("not back by itself: %+v", s)
				}
				checkInspect(t, q)
				appendEvents(t, q, 51, 50)
				if got := commitRead(t, q); !slices.Equal(got, span(1, 100)) {
					t.Fatalf("read %s, want 1 to 100", sprint(got))
				}
				closeQueue(t, q)
				q = openQueue(t, o)
				if s := q.Stats(); s.Accepted != 100 || s.Deployed != 100 || s.Pending != 0 || s.Damaged != 0 {
					t.Fatalf("after opening again: %+v", s)
				}
				closeQueue(t, q)
			})
		})
	}
}

// A crash right after a refused group does not bring back what was cut.
func TestRefusedEventsStayAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q, f := openFaulty(t, o, syscall.ENOSPC)
		appendEvents(t, q, 1, 20)
		f.arm("sync")
		var many []Event
		for n := uint64(5001); n <= 5200; n++ {
			many = append(many, testEvent(n))
		}
		if err := q.Append(context.Background(), many...); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		after := openQueue(t, testOptions(copyDir(t, o.Dir)))
		if got := pendingNumbers(t, after); !slices.Equal(got, span(1, 20)) {
			t.Fatalf("read %s, want 1 to 20", sprint(got))
		}
		closeQueue(t, after)
		f.clear()
		closeQueue(t, q)
	})
}

// A committed position that was held in memory during a failure reaches the medium afterwards.
func TestCommittedSurvivesFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		q, f := openFaulty(t, o, syscall.EIO)
		appendEvents(t, q, 1, 20)
		f.arm("all")
		commitRead(t, q)
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		f.clear()
		time.Sleep(2 * fileAfter)
		after := openQueue(t, testOptions(copyDir(t, o.Dir)))
		if s := after.Stats(); s.Deployed != 20 || s.Pending != 0 {
			t.Fatalf("after a crash: %+v", s)
		}
		closeQueue(t, after)
		closeQueue(t, q)
	})
}

// Repair may replace the tail's file when the queue comes back. A reader that holds the old file
// must not count new events as damaged.
func TestReaderSurvivesReplacedTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 64 << 10
		q, f := openFaulty(t, o, syscall.EIO)
		appendEvents(t, q, 1, 30)
		r := q.Reader()
		defer r.Close()
		if got := readNumbers(t, r); !slices.Equal(got, span(1, 30)) {
			t.Fatalf("read %s", sprint(got))
		}
		flip(-1, 5, 35)(t, o.Dir)
		f.arm("write")
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		f.clear()
		time.Sleep(fileAfter)
		appendEvents(t, q, 31, 10)
		if got := readNumbers(t, r); !slices.Equal(got, span(31, 40)) {
			t.Fatalf("read %s, want 31 to 40", sprint(got))
		}
		closeQueue(t, q)
	})
}

// The tail loses acknowledged frames while the process runs, and the queue comes back from a
// failure. The offsets of these frames are not used again, so that neither the reader nor the
// committed position passes over new events.
func TestTailLostWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 64 << 10
		q, f := openFaulty(t, o, syscall.EIO)
		appendEvents(t, q, 1, 30)
		r := q.Reader()
		defer r.Close()
		readNumbers(t, r)
		writeFile(t, tailOf(t, o.Dir), nil)
		f.arm("write")
		if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("append: %v", err)
		}
		f.clear()
		time.Sleep(fileAfter)
		appendEvents(t, q, 31, 10)
		if got := readNumbers(t, r); !slices.Equal(got, span(31, 40)) {
			t.Fatalf("read %s, want 31 to 40", sprint(got))
		}
		if err := q.Commit(r.Position(), 10, 0); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Accepted != 40 || s.Deployed != 10 || s.Damaged != 30 || s.Pending != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

// A segment that vanishes under a reader costs the events in it and not one more.
func TestSegmentVanishesUnderReader(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 200)
	s := segmentsOf(t, o.Dir)
	first, _ := segmentFirst(filepath.Base(s[2]))
	var gone []uint64
	data := readFile(t, s[2])
	for i, at := range frames(t, data, first) {
		if f, _, _ := next(data[at:], first+uint64(i)); f.typ() == frameEvent {
			var e Event
			f.event(&e)
			gone = append(gone, number(t, &e))
		}
	}
	if err := os.Remove(s[2]); err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(span(1, 200), func(n uint64) bool { return slices.Contains(gone, n) })
	if got := commitRead(t, q); !slices.Equal(got, want) {
		t.Fatalf("read %s without %s", sprint(got), sprint(gone))
	}
	if s := q.Stats(); s.Damaged != uint64(len(gone)) || s.Pending != 0 {
		t.Fatalf("%d events were lost: %+v", len(gone), s)
	}
	closeQueue(t, q)
}

func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	o := testOptions(filepath.Join(mount, "queue"))
	o.SegmentSize = 8192
	q := openQueue(t, o)
	var accepted []uint64
	refused := 0
	fill := func() {
		for n := uint64(len(accepted) + 1); ; n++ {
			err := q.Append(context.Background(), testEvent(n))
			if err != nil {
				if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("append on a full disk: %v", err)
				}
				refused++
				return
			}
			accepted = append(accepted, n)
		}
	}
	fill()
	if got := pendingNumbers(t, q); !slices.Equal(got, accepted) {
		t.Fatalf("read %s of %d accepted", sprint(got), len(accepted))
	}
	// The committed position is written all the same, and dropping makes room.
	commitRead(t, q)
	closeQueue(t, q)
	q = openQueue(t, o)
	if s := q.Stats(); s.Deployed != uint64(len(accepted)) || s.Pending != 0 {
		t.Fatalf("after opening on a full disk: %+v", s)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=256k"); err != nil {
		t.Skipf("tmpfs cannot be made larger here: %v", err)
	}
	before := len(accepted)
	fill()
	if got, want := commitRead(t, q), accepted[before:]; !slices.Equal(got, want) || len(want) == 0 {
		t.Fatalf("read %s, want %s", sprint(got), sprint(want))
	}
	closeQueue(t, q)

	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("tmpfs cannot be made read-only here: %v", err)
	}
	if q, err := Open(o); !errors.Is(err, syscall.EROFS) {
		if err == nil {
			q.Close()
		}
		t.Fatalf("open on a read-only medium: %v", err)
	}
	if s, err := Inspect(o.Dir); err != nil || s.Accepted != uint64(len(accepted)) {
		t.Fatalf("inspect on a read-only medium: %+v, %v", s, err)
	}
}

// The log cannot be opened again after segments were dropped. Devices are refused until the queue
// comes back by itself.
func TestLogThatDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		var hurt atomic.Bool
		o.ops = byStep(func(op string) error {
			if op == "drop" && hurt.CompareAndSwap(false, true) {
				addTail([]byte{0x85})(t, o.Dir) // the library takes it for a corrupt log
			}
			return nil
		})
		q := openQueue(t, o)
		appendEvents(t, q, 1, 200)
		commitRead(t, q)
		time.Sleep(2 * fileAfter)
		if !hurt.Load() {
			t.Fatal("no segment was dropped")
		}
		appendEvents(t, q, 201, 10)
		if got := commitRead(t, q); !slices.Equal(got, span(201, 210)) {
			t.Fatalf("read %s", sprint(got))
		}
		if s := q.Stats(); s.Accepted != 210 || s.Deployed != 210 || s.Damaged != 0 || !s.Writable {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}
