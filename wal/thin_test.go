package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Events of the thinning tests: action 1 is telemetry of one of three entities with one of two
// series each; events of action 2 must stay.
const (
	thinEvery = 10 // one event in so many must stay
	gapAction = 99 // action of the record of a gap
)

func thinEvent(n uint64) Event {
	e := Event{Kind: 2, Action: 1, Time: int64(1_700_000_000_000 + n*1000), Fragment: make([]byte, 60)}
	e.Entity[0] = byte(n % 3)
	binary.LittleEndian.PutUint64(e.Fragment, n)
	e.Fragment[8] = byte(n / 3 % 2)
	if n%thinEvery == 0 {
		e.Action = 2
	}
	return e
}

func thinOptions(t testing.TB) Options {
	o := testOptions(queueDir(t))
	o.SegmentSize, o.MaxBytes, o.Policy = 4096, 40<<10, Thin
	o.Series = func(_, action uint8, fragment []byte) (uint64, bool) { return uint64(fragment[8]), action == 1 }
	return o
}

func appendThin(t testing.TB, q *Queue, from, to uint64) {
	t.Helper()
	for n := from; n <= to; n += 8 {
		var group []Event
		for k := n; k < n+8 && k <= to; k++ {
			group = append(group, thinEvent(k))
		}
		if err := q.Append(context.Background(), group...); err != nil {
			t.Fatalf("append of event %d: %v", n, err)
		}
	}
}

// thinRead returns the numbers of the events that are left, without the records of gaps.
func thinRead(t testing.TB, r *Reader) (numbers []uint64) {
	t.Helper()
	if err := r.Read(func(e *Entry) bool {
		if e.Action != gapAction {
			numbers = append(numbers, binary.LittleEndian.Uint64(e.Fragment))
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return numbers
}

func thinPending(t testing.TB, q *Queue) []uint64 {
	t.Helper()
	r := &Reader{q: q, pos: q.Committed()}
	defer r.Close()
	return thinRead(t, r)
}

// checkThinned checks that the events are in order, that none that must stay is missing, and that
// what is left is spread over the whole backlog: none of ten stretches of the backlog has less than
// a quarter of an even share.
func checkThinned(t testing.TB, left []uint64, last uint64) {
	t.Helper()
	if !slices.IsSorted(left) {
		t.Fatalf("order: %s", sprint(left))
	}
	var share [10]int
	keep := uint64(0)
	telemetry := 0
	for _, n := range left {
		if n%thinEvery == 0 {
			if keep += thinEvery; n != keep {
				t.Fatalf("event %d, which must stay, is missing", keep)
			}
		} else {
			telemetry++
			share[(n-1)*10/last]++
		}
	}
	if keep != last/thinEvery*thinEvery {
		t.Fatalf("event %d, which must stay, is missing", keep+thinEvery)
	}
	for i, n := range share {
		if n < telemetry/40 {
			t.Fatalf("of %d values that are left %d are of tenth %d: %v", telemetry, n, i, share)
		}
	}
}

// A long outage under the policy "thin": the room lasts, the whole time is covered, nothing that
// must stay goes, and the counts agree, also after opening again and after everything went to the
// cloud.
func TestThin(t *testing.T) {
	o := thinOptions(t)
	q := openQueue(t, o)
	const last = 1500
	appendThin(t, q, 1, last)
	s := q.Stats()
	checkIdentity(t, s)
	left := thinPending(t, q)
	checkThinned(t, left, last)
	if s.Bytes > o.MaxBytes || s.Accepted != last || s.Pending != uint64(len(left)) || s.Dropped != last-s.Pending || s.Damaged != 0 {
		t.Fatalf("%d events are left: %+v", len(left), s)
	}
	// Each series of each entity keeps about the same share.
	var series [6]int
	for _, n := range left {
		if n%thinEvery != 0 {
			series[n%6]++
		}
	}
	if slices.Min(series[:]) < slices.Max(series[:])/2 {
		t.Fatalf("events left of each series: %v", series)
	}
	checkInspect(t, q)
	closeQueue(t, q)

	q = openQueue(t, o)
	checkInspect(t, q)
	if a := q.Stats(); a.Pending != s.Pending || a.Dropped != s.Dropped {
		t.Fatalf("opened with %+v, closed with %+v", a, s)
	}
	// Read in parts and seek back to positions, as the loop does.
	r := q.Reader()
	defer r.Close()
	var got []uint64
	for {
		count := 0
		if err := r.Read(func(e *Entry) bool {
			if count == 37 {
				return false
			}
			count++
			got = append(got, binary.LittleEndian.Uint64(e.Fragment))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if count == 0 {
			break
		}
		if err := q.Commit(r.Position(), uint64(count), 0); err != nil {
			t.Fatal(err)
		}
		checkIdentity(t, q.Stats())
	}
	if !slices.Equal(got, left) {
		t.Fatalf("read %s, before %s", sprint(got), sprint(left))
	}
	if a := q.Stats(); a.Deployed != uint64(len(left)) || a.Pending != 0 || a.Dropped != s.Dropped || a.Damaged != 0 {
		t.Fatalf("at the end %+v", a)
	}
	closeQueue(t, q)
}

// A backlog without anything that may be thinned is dropped as with drop_oldest, and its segments
// are not written again and again.
func TestThinWithNothingToThin(t *testing.T) {
	o := thinOptions(t)
	o.Series = func(uint8, uint8, []byte) (uint64, bool) { return 0, false }
	writes := 0
	o.ops = byStep(func(op string) error {
		if op == "thin-write" {
			writes++
		}
		return nil
	})
	q := openQueue(t, o)
	appendThin(t, q, 1, 1500)
	s := q.Stats()
	checkIdentity(t, s)
	if left := thinPending(t, q); !slices.Equal(left, span(s.Dropped+1, 1500)) || s.Dropped == 0 || writes != 0 {
		t.Fatalf("%d writes, %s left: %+v", writes, sprint(left), s)
	}
	closeQueue(t, q)
}

// What the reader has reached is not thinned: its positions stay valid.
func TestThinKeepsAwayFromTheReader(t *testing.T) {
	o := thinOptions(t)
	q := openQueue(t, o)
	appendThin(t, q, 1, 200)
	r := q.Reader()
	defer r.Close()
	got := thinRead(t, r) // delivered, not yet acknowledged
	if !slices.Equal(got, span(1, 200)) {
		t.Fatalf("read %s", sprint(got))
	}
	p := r.Position()
	// Nor is it thinned while one event of it is looked at again.
	if e, ok, err := q.Peek(Position{Offset: 10, Seq: 9}, 11); err != nil || !ok || e.Offset != 11 ||
		e.Seq != 10 || binary.LittleEndian.Uint64(e.Fragment) != 10 {
		t.Fatalf("event 10: %v, %v, %v", e, ok, err)
	}
	if e, ok, err := q.Peek(p, p.Offset+1); ok || err != nil {
		t.Fatalf("an event behind the last: %v, %v", e, err)
	}
	appendThin(t, q, 201, 600)
	if s := q.Stats(); s.Dropped == 0 {
		t.Fatalf("nothing was thinned: %+v", s)
	}
	if err := q.Commit(p, 200, 0); err != nil {
		t.Fatal(err)
	}
	if e, ok, err := q.Peek(Position{Offset: 10, Seq: 9}, 11); ok || err != nil {
		t.Fatalf("an event that was committed: %v, %v", e, err)
	}
	checkIdentity(t, q.Stats())
	rest := thinRead(t, r)
	s := q.Stats()
	if s.Deployed != 200 || s.Dropped != 400-uint64(len(rest)) || s.Damaged != 0 || rest[0] != 201 {
		t.Fatalf("%+v, %s left", s, sprint(rest))
	}
	closeQueue(t, q)
}

// A crash before or after each step of a thinning: the thinning has happened or has not, and the
// counts agree (doc.go, rows C9 to C12).
func TestThinCrashes(t *testing.T) {
	o := thinOptions(t)
	var snapshots []string
	o.ops = byStep(func(op string) error {
		if op == "thin" || op == "thin-write" || op == "committed" {
			snapshots = append(snapshots, copyDir(t, o.Dir))
		}
		return nil
	})
	q := openQueue(t, o)
	appendThin(t, q, 1, 700)
	closeQueue(t, q)
	if len(snapshots) < 20 {
		t.Fatalf("only %d steps", len(snapshots))
	}
	for i, dir := range snapshots {
		// A state may have half of the files done: the thinned segment is there, and the segment
		// that moved into it is not gone yet.
		o := o
		o.Dir, o.ops = dir, nil
		q := openQueue(t, o)
		s := q.Stats()
		checkIdentity(t, s)
		left := thinPending(t, q)
		if uint64(len(left)) != s.Pending || s.Damaged != 0 || s.Dropped+s.Pending != s.Accepted {
			t.Fatalf("step %d: %d events are left: %+v", i, len(left), s)
		}
		if f, _ := filepath.Glob(filepath.Join(dir, "*"+thinSuffix)); len(f) > 0 {
			t.Fatalf("step %d leaves %v", i, f)
		}
		commitThin(t, q)
		if s := q.Stats(); s.Pending != 0 || s.Damaged != 0 || s.Deployed != uint64(len(left)) {
			t.Fatalf("step %d, drained: %+v", i, s)
		}
		closeQueue(t, q)
	}
}

func commitThin(t testing.TB, q *Queue) {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	n := uint64(0)
	if err := r.Read(func(*Entry) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(r.Position(), n, 0); err != nil {
		t.Fatal(err)
	}
}

// The medium fails in the middle of a replacement. The queue comes back by itself and finishes it.
func TestThinSurvivesFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := thinOptions(t)
		f := &fault{err: syscall.EIO}
		o.ops = byStep(f.inject)
		q := openQueue(t, o)
		f.arm("thin")
		var failed error
		last := uint64(0)
		for n := uint64(1); n <= 1000 && failed == nil; n++ {
			if failed = q.Append(context.Background(), thinEvent(n)); failed == nil {
				last = n
			}
		}
		if !errors.Is(failed, ErrUnavailable) {
			t.Fatalf("append: %v", failed)
		}
		f.clear()
		time.Sleep(2 * fileAfter)
		s := q.Stats()
		checkIdentity(t, s)
		if left := thinPending(t, q); !s.Writable || s.Accepted != last || uint64(len(left)) != s.Pending || s.Dropped == 0 {
			t.Fatalf("%d left: %+v", len(left), s)
		}
		appendThin(t, q, last+1, last+100)
		commitThin(t, q)
		if s := q.Stats(); s.Pending != 0 || s.Damaged != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

// Damage in a thinned segment costs what cannot be read. Jumps over removed events are no damage.
func TestThinnedSegmentDamaged(t *testing.T) {
	o := thinOptions(t)
	q := openQueue(t, o)
	appendThin(t, q, 1, 1500)
	before := q.Stats()
	left := thinPending(t, q)
	closeQueue(t, q)
	p := segmentsOf(t, o.Dir)[0]
	b := readFile(t, p)
	b[len(b)/3] ^= 0xff
	writeFile(t, p, b)
	q = openQueue(t, o)
	got := thinPending(t, q)
	if len(got) != len(left)-1 {
		t.Fatalf("%d events are left of %d", len(got), len(left))
	}
	commitThin(t, q)
	s := q.Stats()
	checkIdentity(t, s)
	if s.Damaged < 1 || s.Damaged > 4 || s.Pending != 0 || s.Dropped+s.Damaged != before.Dropped+1 {
		t.Fatalf("%+v, before %+v", s, before)
	}
	closeQueue(t, q)
}

// Each drop is reported by an event: how many events, from when to when, and why. The reported
// numbers add up to the number of dropped events.
func TestGapsAreReported(t *testing.T) {
	for _, policy := range []string{DropOldest, Thin} {
		t.Run(policy, func(t *testing.T) {
			o := thinOptions(t)
			o.Policy = policy
			var reported []Gap
			var totals []uint64
			known := false
			o.Record = func(g Gap, total uint64) (Event, bool) {
				if !known {
					return Event{}, false
				}
				reported, totals = append(reported, g), append(totals, total)
				e := Event{Kind: 2, Action: gapAction, Time: g.Last, Fragment: make([]byte, 16)}
				binary.LittleEndian.PutUint64(e.Fragment, g.Events)
				return e, true
			}
			q := openQueue(t, o)
			appendThin(t, q, 1, 600)
			if s := q.Stats(); s.Dropped == 0 || len(reported) != 0 {
				t.Fatalf("%d reported: %+v", len(reported), s)
			}
			closeQueue(t, q) // what is to be reported survives
			known = true
			q = openQueue(t, o)
			appendThin(t, q, 601, 900)
			sum := uint64(0)
			why := WhyQuota
			if policy == Thin {
				why = WhyThin
			}
			for i, g := range reported {
				if sum += g.Events; sum != totals[i] || g.Why != why ||
					g.First < 1_700_000_000_000 || g.Last < g.First || g.Last > 1_700_000_900_000 {
					t.Fatalf("gap %d: %+v, total %d", i, g, totals[i])
				}
			}
			if s := q.Stats(); sum != s.Dropped || len(reported) < 2 || s.Accepted != 900+uint64(len(reported)) {
				t.Fatalf("%d gaps of %d events: %+v", len(reported), sum, s)
			}
			records := 0
			r := q.Reader()
			if err := r.Read(func(e *Entry) bool {
				if e.Action == gapAction {
					records++
				}
				return true
			}); err != nil || records == 0 {
				t.Fatalf("%d records in the queue, %v", records, err)
			}
			r.Close()
			closeQueue(t, q)
		})
	}
}

// A drop with nothing appended afterwards is reported all the same, once that is possible.
func TestGapIsReportedInQuietTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		o := thinOptions(t)
		o.MaxBytes, o.MaxAge = 0, time.Hour
		var reported []Gap
		o.Record = func(g Gap, _ uint64) (Event, bool) {
			reported = append(reported, g)
			return Event{Action: gapAction, Fragment: make([]byte, 9)}, true
		}
		q := openQueue(t, o)
		appendThin(t, q, 1, 200)
		time.Sleep(2 * time.Hour)
		s := q.Stats()
		// Record is called once to see whether there is something to report, and once to report it.
		if g := reported[len(reported)-1]; s.Accepted != 201 || s.Dropped == 0 || g.Events != s.Dropped ||
			g.Why != WhyAge || len(reported) != 2 {
			t.Fatalf("reported %+v: %+v", reported, s)
		}
		closeQueue(t, q)
	})
}

func TestWhy(t *testing.T) {
	for w, want := range map[Why]string{
		WhyQuota: "quota", WhyAge | WhyThin: "age+thin", WhyQuota | WhyDead: "quota+dead letters full",
		0: "unknown (0)", 64: "unknown (64)",
	} {
		if w.String() != want {
			t.Errorf("%d is %q, want %q", w, w, want)
		}
	}
}

// The reserve makes room for the committed position on a full medium, and is restored afterwards.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.Reserve = 10_000
		path := filepath.Join(o.Dir, reserveName)
		o.ops = byStep(func(op string) error {
			if _, err := os.Lstat(path); err == nil && op == "committed" {
				return syscall.ENOSPC // as long as the reserve takes the room
			}
			return nil
		})
		q := openQueue(t, o)
		appendEvents(t, q, 1, 20)
		time.Sleep(2 * fileAfter)
		if i, err := os.Lstat(path); err != nil || i.Size() != o.Reserve {
			t.Fatalf("no reserve: %v", err)
		}
		commitRead(t, q)
		time.Sleep(2 * fileAfter)
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatalf("the reserve was not given back: %v", err)
		}
		if got, _, ok := readCommitted(o.Dir); !ok || got.committed.Seq != 20 {
			t.Fatalf("in the file: %+v", got)
		}
		time.Sleep(2 * refillEvery)
		if i, err := os.Lstat(path); err != nil || i.Size() != o.Reserve {
			t.Fatalf("the reserve has not come back: %v", err)
		}
		closeQueue(t, q)
	})
}
