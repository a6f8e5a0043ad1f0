package wal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var powercutStates = flag.String("powercut", "some", "states that TestPowerCut opens: some or all")

// cutRun is a workload of the queue, and what the check of its states has to know.
type cutRun struct {
	name    string
	options func(o *Options)
	run     func(t *testing.T, d *cutDisk, o Options)
	event   func(n uint64) Event
	thins   bool
	records bool
}

func groupOf(event func(n uint64) Event, from uint64, count int) (g []Event) {
	for i := range uint64(count) {
		g = append(g, event(from+i))
	}
	return g
}

// cutReader reads and commits as the loop does.
type cutReader struct {
	r       *Reader
	q       *Queue
	pending uint64
}

func (c *cutReader) read(t *testing.T, n int) {
	t.Helper()
	if err := c.r.Read(func(*Entry) bool {
		if n == 0 {
			return false
		}
		n--
		c.pending++
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

func (c *cutReader) commit(t *testing.T) {
	t.Helper()
	if err := c.q.Commit(c.r.Position(), c.pending, 0); err != nil {
		t.Fatal(err)
	}
	c.pending = 0
}

// elapse lets the time of a bubble pass, and waits for what then happens. Outside a bubble it
// panics.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// cutWork appends groups of one to five events, reads, commits, pauses and opens again.
func cutWork(seed uint64, groups int, event func(n uint64) Event, faults, drain bool) func(t *testing.T, d *cutDisk, o Options) {
	return func(t *testing.T, d *cutDisk, o Options) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		q := openQueue(t, o)
		r := cutReader{r: q.Reader(), q: q}
		next := uint64(1)
		for i := range groups {
			n := 1 + rnd.IntN(5)
			refuse := ""
			if faults && i%7 == 3 {
				refuse = []string{"write", "sync", "sync"}[rnd.IntN(3)]
			}
			d.add(t, q, groupOf(event, next, n), refuse)
			if refuse != "" {
				elapse(reopenEvery)
			}
			next += uint64(n)
			if drain && i%3 == 1 {
				r.read(t, 2+rnd.IntN(10))
			}
			if drain && i%5 == 4 {
				r.commit(t)
			}
			if i%9 == 8 {
				elapse(fileAfter + dropEvery)
			}
			if i == groups/2 {
				r.r.Close()
				closeQueue(t, q)
				d.mu.Lock()
				d.queue = nil
				d.mu.Unlock()
				q = openQueue(t, o)
				r = cutReader{r: q.Reader(), q: q}
			}
		}
		r.r.Close()
		closeQueue(t, q)
		d.end()
	}
}

// cutChains appends groups of which each is written while the one in front of it is synced.
func cutChains(seed uint64, chains int, faults bool) func(t *testing.T, d *cutDisk, o Options) {
	return func(t *testing.T, d *cutDisk, o Options) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		q := openQueue(t, o)
		r := cutReader{r: q.Reader(), q: q}
		next, beside, size := uint64(1), 0, 3
		for i := range chains {
			refuse, at := "", rnd.IntN(3)
			if faults && i%3 == 2 {
				refuse = []string{"write-beside", "sync"}[rnd.IntN(2)]
			}
			var groups [][]Event
			for range 4 + rnd.IntN(3) {
				groups = append(groups, groupOf(testEvent, next, size))
				next += uint64(size)
			}
			beside += d.chain(t, q, groups, refuse, at)
			if refuse != "" {
				elapse(reopenEvery)
			}
			if i%2 == 1 {
				r.read(t, 2+rnd.IntN(20))
				r.commit(t)
			}
			if i%5 == 4 {
				elapse(fileAfter + dropEvery)
			}
		}
		r.r.Close()
		closeQueue(t, q)
		d.end()
		if beside < chains {
			t.Errorf("%d groups in %d chains were written beside the fsync of another", beside, chains)
		}
	}
}

func cutRuns() []cutRun {
	record := func(o *Options) {
		o.Record = func(g Gap, _ uint64) (Event, bool) {
			return Event{Action: gapAction, Fragment: make([]byte, 16)}, true
		}
	}
	series := func(_, action uint8, fragment []byte) (uint64, bool) { return uint64(fragment[8]), action == 1 }
	return []cutRun{
		{
			name:    "plain",
			options: func(*Options) {},
			event:   testEvent,
			run:     cutWork(1, 26, testEvent, false, true),
		},
		{
			name: "filled",
			options: func(o *Options) {
				o.Fill, o.SegmentSize = true, 16<<10
			},
			event: testEvent,
			run:   cutWork(10, 120, testEvent, false, true),
		},
		{
			name: "padded",
			options: func(o *Options) {
				o.padUpTo = 200
			},
			event: testEvent,
			run:   cutWork(11, 26, testEvent, true, true),
		},
		{
			name: "pipelined",
			options: func(o *Options) {
				o.besideFrom, o.SegmentSize = 1, 4<<10
			},
			event: testEvent,
			run:   cutChains(12, 10, true),
		},
		{
			name:    "refused",
			options: func(*Options) {},
			event:   testEvent,
			run:     cutWork(2, 26, testEvent, true, true),
		},
		{
			name: "interval",
			options: func(o *Options) {
				o.Interval = time.Second
			},
			event: testEvent,
			run:   cutWork(3, 26, testEvent, false, true),
		},
		{
			name: "quota",
			options: func(o *Options) {
				o.MaxBytes = 2500
			},
			event: testEvent,
			run:   cutWork(4, 26, testEvent, false, true),
		},
		{
			name: "quota, gaps reported",
			options: func(o *Options) {
				o.MaxBytes = 2500
				record(o)
			},
			event:   testEvent,
			run:     cutWork(5, 26, testEvent, false, false),
			records: true,
		},
		{
			name: "age",
			options: func(o *Options) {
				o.MaxAge = 10 * time.Second
			},
			event: testEvent,
			run:   cutWork(6, 26, testEvent, false, false),
		},
		{
			name: "thin",
			options: func(o *Options) {
				o.MaxBytes, o.Policy, o.Series = 4000, Thin, series
			},
			event: thinEvent,
			run:   cutWork(7, 40, thinEvent, false, false),
			thins: true,
		},
		{
			name: "thin, drained",
			options: func(o *Options) {
				o.MaxBytes, o.Policy, o.Series = 4000, Thin, series
				record(o)
			},
			event:   thinEvent,
			run:     cutWork(8, 40, thinEvent, false, true),
			thins:   true,
			records: true,
		},
		{
			name: "thin, interval",
			options: func(o *Options) {
				o.MaxBytes, o.Policy, o.Series, o.Interval = 4000, Thin, series, time.Second
			},
			event: thinEvent,
			run:   cutWork(9, 30, thinEvent, false, true),
			thins: true,
		},
	}
}

// Whatever a power cut leaves, every event that was acknowledged is there or committed, in order.
// None is invented, the counts agree, none is damaged, and the queue goes on (doc.go, rows C1 to
// C8).
func TestPowerCut(t *testing.T) {
	for i, run := range cutRuns() {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(filepath.Join(memDir(t), "queue"))
			o.SegmentSize = minSegmentSize
			run.options(&o)
			cut(t, run, o, uint64(i), 100)
		})
	}
}

// A larger run, with another seed each time, which is printed.
func TestPowerCutRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	o := testOptions(filepath.Join(memDir(t), "queue"))
	o.SegmentSize = minSegmentSize + rnd.IntN(2000)
	if rnd.IntN(2) == 0 {
		o.Interval = time.Second
	}
	if rnd.IntN(2) == 0 {
		o.MaxBytes = int64(o.SegmentSize) * 5
	}
	if rnd.IntN(2) == 0 {
		o.padUpTo = 200
	}
	run := cutRun{event: testEvent, run: cutWork(seed, 120, testEvent, o.MaxBytes == 0 && o.Interval == 0 && rnd.IntN(2) == 0, true)}
	cut(t, run, o, seed, 200)
}

func cut(t *testing.T, run cutRun, o Options, seed uint64, some int) {
	d := newCutDisk(&o)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.UnixMilli(year2020).Add(time.Minute)))
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		run.run(t, d, o)
	})
	if testing.Short() {
		some /= 4
	}
	var list []cutState
	for _, p := range d.points {
		list = append(list, p.states()...)
	}
	total := len(list)
	if *powercutStates != "all" && total > some {
		rnd := rand.New(rand.NewPCG(seed, 3))
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		slices.SortStableFunc(list, func(a, b cutState) int { return cmp.Compare(min(a.File, 1), min(b.File, 1)) })
		whole := slices.IndexFunc(list, func(s cutState) bool { return s.File != 0 })
		list = list[:max(0, whole)+some] // all states without a torn file: they are few
	}
	o.ops = nil
	o.Dir = filepath.Join(memDir(t), "queue")
	o.CorruptDir = ""
	seen := make(map[uint64]bool)
	for i := range list {
		if !list[i].build(t, o.Dir, seen) {
			continue
		}
		checkCut(t, run, o, &list[i])
		if t.Failed() {
			t.Fatalf("state %d of %d: %s", i, total, &list[i])
		}
	}
	t.Logf("%d intervals, %d of %d states looked at, %d different ones opened", len(d.points), len(list), total, len(seen))
}

// checkCut opens a state and checks what is there.
func checkCut(t *testing.T, run cutRun, o Options, s *cutState) {
	t.Helper()
	inspected, err := Inspect(o.Dir)
	if err != nil {
		t.Errorf("inspect: %v", err)
		return
	}
	q, err := Open(o)
	if err != nil {
		t.Errorf("open: %v", err)
		return
	}
	defer q.Close()
	opened := q.Stats()
	p := s.p
	read := func() (numbers []uint64, records uint64) {
		r := q.Reader()
		defer r.Close()
		if err := r.Read(func(e *Entry) bool {
			if run.records && e.Action == gapAction && binary.LittleEndian.Uint64(e.Fragment) == 0 {
				records++
				return true
			}
			n := binary.LittleEndian.Uint64(e.Fragment)
			if want := run.event(n); !bytes.Equal(want.Fragment, e.Fragment) ||
				want.Kind != e.Kind || want.Action != e.Action || want.Again != e.Again || want.Time != e.Time || want.Entity != e.Entity {
				t.Errorf("an event was invented: %+v", e)
			}
			numbers = append(numbers, n)
			return true
		}); err != nil {
			t.Errorf("read: %v", err)
		}
		return numbers, records
	}
	got, records := read()
	if !slices.IsSortedFunc(got, cmp.Compare[uint64]) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("order: %v", got)
	}
	if sum := opened.Deployed + opened.Pending + opened.Dropped + opened.Dead + opened.Damaged; sum != opened.Accepted {
		t.Errorf("accepted is not the sum: %+v", opened)
	}
	c := q.Committed().Seq
	if c < p.durable || c > p.committed && len(p.all) > 0 && p.committed > 0 {
		t.Errorf("%d events are committed, durably were %d, at all %d", c, p.durable, p.committed)
	}
	// All events behind the committed position must be there, at least up to what was acknowledged.
	from := 0
	if !run.records {
		from = int(min(c, uint64(len(p.all))))
	} else if len(got) > 0 {
		from, _ = slices.BinarySearch(p.all, got[0])
	} else if opened.Pending == records {
		from = len(p.all)
	}
	to := from
	if len(got) > 0 {
		to, _ = slices.BinarySearch(p.all, got[len(got)-1])
		to++
	}
	lost := opened.Accepted - min(opened.Accepted, uint64(to))
	want := p.all[min(from, len(p.all)):min(max(to, from), len(p.all))]
	missing := slices.DeleteFunc(slices.Clone(want), func(n uint64) bool { _, ok := slices.BinarySearch(got, n); return ok })
	switch {
	case slices.ContainsFunc(got, func(n uint64) bool { _, ok := slices.BinarySearch(p.all, n); return !ok }):
		t.Errorf("an event that was refused is there: %v of %v", got, p.all)
	case slices.ContainsFunc(missing, func(n uint64) bool {
		i, _ := slices.BinarySearch(p.all, n)
		return (s.Strict || uint64(i) < p.need) && (!run.thins || n%thinEvery == 0)
	}):
		t.Errorf("%v are missing of %v", missing, want)
	case uint64(max(to, from)) < p.need && !(run.thins && opened.Accepted-records >= p.need && p.need-uint64(max(to, from)) < thinEvery):
		t.Errorf("%d events were acknowledged, %d are there or committed: %v", p.need, to, got)
	}
	exact := s.Strict && !run.records && o.Interval == 0
	if exact && !run.thins && lost != 0 || opened.Damaged != 0 && s.Strict && o.Interval == 0 {
		t.Errorf("%d are there: %+v", to, opened)
	}
	if s.Strict && o.Interval == 0 && opened.Pending != uint64(len(got))+records {
		t.Errorf("%d are there, %d records: %+v", len(got), records, opened)
	}
	midThinning := slices.ContainsFunc(slices.Collect(maps.Keys(s.Names)), func(n string) bool {
		return strings.HasSuffix(n, thinSuffix)
	})
	if a, b := stored(inspected), stored(opened); !midThinning && s.Strict &&
		(a.Accepted != b.Accepted || a.Committed != b.Committed || a.Pending != b.Pending || a.Dropped != b.Dropped || a.Last != b.Last) {
		t.Errorf("inspect says\n%+v, open\n%+v", a, b)
	}
	if t.Failed() {
		return
	}
	// The queue goes on.
	before := p.all[len(p.all)-min(1, len(p.all)):]
	next := uint64(1_000_000)
	if len(before) > 0 {
		next += before[0]
	}
	next -= next % thinEvery
	for i := range uint64(10) {
		if err := q.Append(context.Background(), run.event(next+i*thinEvery)); err != nil {
			t.Errorf("append: %v", err)
			return
		}
	}
	var fresh []uint64
	for i := range uint64(10) {
		fresh = append(fresh, next+i*thinEvery)
	}
	syncNow(t, q)
	r := q.Reader()
	defer r.Close()
	after, records := read()
	if len(after) < 10 || !slices.Equal(after[len(after)-10:], fresh) {
		t.Errorf("ten more events read back as %v", after)
		return
	}
	count := uint64(len(after)) + records
	if err := r.Read(func(*Entry) bool { return true }); err != nil {
		t.Error(err)
	}
	if err := q.Commit(r.Position(), count, 0); err != nil {
		t.Error(err)
	}
	st := q.Stats()
	if sum := st.Deployed + st.Pending + st.Dropped + st.Dead + st.Damaged; sum != st.Accepted || st.Pending != 0 ||
		st.Damaged != 0 && s.Strict && o.Interval == 0 {
		t.Errorf("at the end: %+v", st)
	}
	if o.Interval > 0 && s.Strict && st.Damaged > uint64(len(p.all))-p.need {
		t.Errorf("at the end, %d acknowledged before the last fsync: %+v", p.need, st)
	}
}
