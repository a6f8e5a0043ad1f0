package wal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var powercut = flag.String("powercut", "some", "states that TestPowerCut opens: some or all")

// Power cuts. A run of the queue is stopped before each step on the medium, and the directory is looked at: what the process sees, and
// what of it is durable by the last fsync of each file and of the directory. From that follows every state that the medium may show
// after a cut between this step and the one before, and each of them must open with all that was acknowledged.
//
// Of names that are not durable any may be there, in the order of the operations or not; of a file's unsynced end any length, and
// behind it nothing, zeros or garbage; of a slot of the committed file any of its sectors. The runs have about 390,000 such states, 300,000
// different ones; 3,600 of them are opened by default, all with -powercut=all, which takes some minutes.
//
// What is durable follows from the names of the steps: that an fsync is done in them is not looked at here.
type cutDisk struct {
	dir      string
	interval bool

	mu     sync.Mutex // guards what follows: the committer looks at the disk too
	names  map[string]uint64
	data   map[uint64][]byte // of a file's number
	synced map[uint64][]byte // content as of the last fsync; none = empty
	kept   map[string]uint64 // names as of the last fsync of the directory
	ops    []nameOp          // since then
	last   string            // step that the run is in
	failed bool              // it was made to fail
	points []*cutPoint

	queue    *Queue
	all      []uint64 // numbers of the events accepted, then those in flight
	acked    int      // of them are accepted
	ackedAt  int      // at the last step
	safe     int      // of them are durable with Options.Interval
	soon     int      // of them will be when the directory is synced too
	durable  uint64   // events that were committed durably when the queue said so last
	atLast   cutBounds
	refusing string // step that fails
}

// cutBounds is what must and may be there.
type cutBounds struct {
	need, durable uint64 // events that are durable, and of them committed durably
}

type nameOp struct {
	from, to string // "" = created, removed
	file     uint64
}

// cutPoint is the interval between two steps.
type cutPoint struct {
	op           string
	names        map[string]uint64
	data, synced map[uint64][]byte
	kept         map[string]uint64
	ops          []nameOp
	cutBounds
	all       []uint64
	committed uint64 // events committed, at most
}

func newCutDisk(o *Options) *cutDisk {
	d := &cutDisk{dir: o.Dir, interval: o.Interval > 0, names: map[string]uint64{}, data: map[uint64][]byte{}, synced: map[uint64][]byte{}, kept: map[string]uint64{}}
	o.inject = func(op string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.look(op)
		if d.refusing != "" && d.refusing == op {
			d.failed = true
			return syscall.EIO
		}
		return nil
	}
	return d
}

// look takes the state before a step.
func (d *cutDisk) look(op string) {
	before := d.names
	d.names = map[string]uint64{}
	data := map[uint64][]byte{}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		i, err := e.Info()
		if err != nil || e.Name() == "LOCK" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.dir, e.Name()))
		if err != nil {
			panic(err)
		}
		n := i.Sys().(*syscall.Stat_t).Ino
		d.names[e.Name()] = n
		if old := d.data[n]; bytes.Equal(old, b) {
			b = old
		}
		data[n] = b
	}
	var made, gone []nameOp
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if n := d.names[name]; before[name] != n {
			op := nameOp{to: name, file: n}
			for old, m := range before {
				if m == n {
					op.from = old
				}
			}
			made = append(made, op)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := d.names[name]; !ok && !slices.ContainsFunc(made, func(o nameOp) bool { return o.from == name }) {
			gone = append(gone, nameOp{from: name})
		}
	}
	d.ops = append(append(slices.Clone(d.ops), made...), gone...)
	previous := d.data
	d.data = data

	// A cut in the step before, if that has more than one part: what came behind it in this interval, a slot of the committed file, is not
	// yet there.
	d.synced = maps.Clone(d.synced)
	steps := d.last == "drop" || d.last == "thin" || d.last == "thin-write" || d.last == "open"
	if steps && !d.failed {
		if n, ok := before[committedName]; ok {
			d.data = maps.Clone(data)
			d.data[n] = previous[n]
		}
		d.point(op, d.names, d.ops)
		d.data = data
	}
	switch {
	case d.failed || d.last == "": // the handle was given up, which syncs it, and the files were cut back
		maps.Copy(d.synced, data)
		d.kept, d.ops = d.names, nil
	case d.last == "sync":
		if s := d.segments(before); len(s) > 0 {
			n := before[s[len(s)-1]]
			d.synced[n] = previous[n]
		}
		if d.soon = d.ackedAt; len(d.ops) == 0 {
			d.safe = d.soon
		}
	case d.last == "committed" || d.last == "open-committed":
		n := before[committedName]
		d.synced[n] = previous[n]
	case d.last == "syncdir":
		d.kept, d.ops = before, append(made, gone...)
		d.safe = max(d.safe, d.soon)
	case steps:
		for name, n := range d.names {
			if name != committedName {
				d.synced[n] = data[n]
			}
		}
		d.kept, d.ops = d.names, nil
	}
	d.atLast = cutBounds{need: uint64(d.acked)}
	if d.interval {
		d.atLast.need = uint64(d.safe)
	}
	if d.queue != nil {
		d.durable = d.queue.DurablyCommitted().Seq
	}
	d.atLast.durable = d.durable

	// The library syncs a segment before it begins the next one: a cut before that sees the segments up to this one.
	segments := d.segments(d.names)
	for _, name := range segments[:max(0, len(segments)-1)] {
		if n := d.names[name]; !bytes.Equal(d.synced[n], data[n]) {
			names := maps.Clone(d.names)
			for _, other := range segments {
				if other > name {
					delete(names, other)
				}
			}
			d.point(op, names, nil)
			d.synced = maps.Clone(d.synced)
			d.synced[n] = data[n]
		}
	}
	d.point(op, d.names, d.ops)
	d.last, d.failed, d.ackedAt = op, false, d.acked
}

func (d *cutDisk) segments(names map[string]uint64) (s []string) {
	for name := range names {
		if _, ok := segmentFirst(name); ok {
			s = append(s, name)
		}
	}
	slices.Sort(s)
	return s
}

// point notes an interval that ends now. d.mu is held.
func (d *cutDisk) point(op string, names map[string]uint64, ops []nameOp) {
	p := &cutPoint{
		op: d.last + " to " + op, names: names, data: d.data, synced: d.synced, kept: d.kept, ops: ops, cutBounds: d.atLast, all: slices.Clip(d.all),
	}
	if ops == nil {
		p.kept = names
	}
	if d.interval {
		p.need = uint64(d.safe)
	}
	if d.queue != nil {
		p.committed = d.queue.Committed().Seq
	}
	d.points = append(d.points, p)
}

// add appends events of the next numbers, which the medium may be made to refuse.
func (d *cutDisk) add(t *testing.T, q *Queue, events []Event, refuse string) {
	t.Helper()
	d.mu.Lock()
	d.queue = q
	accepted := d.all
	for i := range events {
		d.all = append(d.all, binary.LittleEndian.Uint64(events[i].Fragment))
	}
	d.all = slices.Clip(d.all)
	d.refusing = refuse
	d.mu.Unlock()
	err := q.Append(context.Background(), events...)
	q.own.Lock()
	defer q.own.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refusing = ""
	if (err != nil) != (refuse != "") {
		t.Fatalf("append: %v", err)
	}
	if err != nil {
		d.all = accepted
		d.look("refused")
	}
	d.acked = len(d.all)
}

// end takes what is durable at the end of the run.
func (d *cutDisk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look("end")
	d.look("end")
}

// cutState is one state of the directory after a cut.
type cutState struct {
	p      *cutPoint
	names  map[string]uint64
	file   uint64 // the one whose unsynced part is in a special state; 0 = none
	shape  string // of that part
	n      int    // bytes of it, or sectors, that are as written
	fresh  bool   // what else is unsynced is there as written; else not
	strict bool   // a medium that keeps the order of operations may show it: nothing counts as damaged
}

func (s *cutState) String() string {
	return fmt.Sprintf("%s, file %d %s %d, fresh %v, ordered %v, names %v", s.p.op, s.file, s.shape, s.n, s.fresh, s.strict, slices.Sorted(maps.Keys(s.names)))
}

// states lists what the medium may show of an interval.
func (p *cutPoint) states() (list []cutState) {
	var nameStates []map[string]uint64
	ordered := 0 // the first of them
	prefix := maps.Clone(p.kept)
	nameStates = append(nameStates, maps.Clone(prefix))
	for _, o := range p.ops {
		o.do(prefix)
		nameStates = append(nameStates, maps.Clone(prefix))
	}
	ordered = len(nameStates)
	if n := len(p.ops); n > 1 && n <= 6 {
		for set := 1; set < 1<<n; set++ {
			if set&(set+1) == 0 {
				continue // a prefix
			}
			names := maps.Clone(p.kept)
			for i, o := range p.ops {
				if set>>i&1 != 0 {
					o.do(names)
				}
			}
			nameStates = append(nameStates, names)
		}
	}
	for i, names := range nameStates {
		strict := i < ordered
		var dirty []uint64
		for _, n := range names {
			if !bytes.Equal(p.synced[n], p.data[n]) {
				dirty = append(dirty, n)
			}
		}
		slices.Sort(dirty)
		list = append(list, cutState{p: p, names: names, strict: strict}, cutState{p: p, names: names, strict: strict, fresh: true})
		for _, n := range slices.Compact(dirty) {
			for _, fresh := range []bool{false, true}[:min(2, len(dirty))] {
				tail := len(p.data[n]) - len(p.synced[n])
				add := func(shape string, k int, ordered bool) {
					list = append(list, cutState{p: p, names: names, file: n, shape: shape, n: k, fresh: fresh, strict: strict && ordered})
				}
				if tail == 0 { // the committed file: a slot is within one sector
					for k := range (len(p.data[n]) + 511) / 512 {
						if lo, hi := k*512, min(k*512+512, len(p.data[n])); !bytes.Equal(p.synced[n][lo:hi], p.data[n][lo:hi]) {
							add("torn sector", k, true)
							add("half a sector", k, true)
						}
					}
				}
				for k := range max(0, tail) {
					add("short", k, true)
					add("zeros", k, true)
					add("garbage", k, true)
				}
				for k := 0; k+512 < tail; k += 100 { // blocks that were written before those in front of them
					add("hole", k, false)
				}
			}
		}
	}
	return list
}

func (o nameOp) do(names map[string]uint64) {
	if o.from != "" {
		if o.to != "" && names[o.from] != o.file {
			return // renamed before it was there
		}
		delete(names, o.from)
	}
	if o.to != "" {
		names[o.to] = o.file
	}
}

// build makes the directory, unless the like of it was there before: then it returns false.
func (s *cutState) build(t testing.TB, dir string, seen map[uint64]bool) bool {
	t.Helper()
	files := s.files()
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprint(h, name, len(files[name]))
		h.Write(files[name])
	}
	fmt.Fprint(h, s.strict, s.p.cutBounds, len(s.p.all), s.p.committed)
	if seen[h.Sum64()] {
		return false
	}
	seen[h.Sum64()] = true
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// files is the content of the directory.
func (s *cutState) files() map[string][]byte {
	files := make(map[string][]byte)
	for name, n := range s.names {
		b := s.p.synced[n]
		written := s.p.data[n]
		if n == s.file {
			b = bytes.Clone(written)
			from := min(len(s.p.synced[n])+s.n, len(b))
			switch s.shape {
			case "short":
				b = b[:from]
			case "zeros":
				clear(b[from:])
			case "garbage":
				copy(b[from:], garbage(len(b)-from))
			case "hole":
				clear(b[from : from+256])
			case "torn sector":
				copy(b[s.n*512:], garbage(min(512, len(b)-s.n*512)))
			case "half a sector":
				copy(b[s.n*512+60:min(len(b), s.n*512+512)], s.p.synced[n][s.n*512+60:])
			}
		} else if s.fresh {
			b = written
		}
		files[name] = b
	}
	return files
}

// cutRun is a workload.
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

// cutWork appends groups of one to five events, reads, commits, has quiet times and opens again.
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
				time.Sleep(reopenEvery)
			}
			next += uint64(n)
			if drain && i%3 == 1 {
				r.read(t, 2+rnd.IntN(10))
			}
			if drain && i%5 == 4 {
				r.commit(t)
			}
			if i%9 == 8 {
				time.Sleep(fileAfter + dropEvery)
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

func cutRuns() []cutRun {
	record := func(o *Options) {
		o.Record = func(g Gap, _ uint64) (Event, bool) {
			return Event{Action: tellsGap, Fragment: make([]byte, 16)}, true
		}
	}
	series := func(_, action uint8, fragment []byte) (uint64, bool) { return uint64(fragment[8]), action == 1 }
	return []cutRun{
		{name: "plain", options: func(*Options) {}, event: testEvent, run: cutWork(1, 26, testEvent, false, true)},
		{name: "filled", options: func(o *Options) { o.Fill, o.SegmentSize = true, 16<<10 }, event: testEvent, run: cutWork(10, 120, testEvent, false, true)},
		{name: "refused", options: func(*Options) {}, event: testEvent, run: cutWork(2, 26, testEvent, true, true)},
		{name: "interval", options: func(o *Options) { o.Interval = time.Second }, event: testEvent, run: cutWork(3, 26, testEvent, false, true)},
		{name: "quota", options: func(o *Options) { o.MaxBytes = 2500 }, event: testEvent, run: cutWork(4, 26, testEvent, false, true)},
		{name: "quota, gaps told", options: func(o *Options) { o.MaxBytes = 2500; record(o) }, event: testEvent, run: cutWork(5, 26, testEvent, false, false), records: true},
		{name: "age", options: func(o *Options) { o.MaxAge = 10 * time.Second }, event: testEvent, run: cutWork(6, 26, testEvent, false, false)},
		{name: "thin", options: func(o *Options) { o.MaxBytes, o.Policy, o.Series = 4000, Thin, series }, event: thinEvent, run: cutWork(7, 40, thinEvent, false, false), thins: true},
		{name: "thin, drained", options: func(o *Options) { o.MaxBytes, o.Policy, o.Series = 4000, Thin, series; record(o) }, event: thinEvent, run: cutWork(8, 40, thinEvent, false, true), thins: true, records: true},
		{name: "thin, interval", options: func(o *Options) { o.MaxBytes, o.Policy, o.Series, o.Interval = 4000, Thin, series, time.Second }, event: thinEvent, run: cutWork(9, 30, thinEvent, false, true), thins: true},
	}
}

// Whatever a power cut leaves: every event that was acknowledged is there or committed, in order; none is invented; the counts agree,
// none is damaged; and the queue goes on (doc.go, rows C1 to C8).
func TestPowerCut(t *testing.T) {
	for i, run := range cutRuns() {
		t.Run(run.name, func(t *testing.T) {
			o := testOptions(filepath.Join(memDir(t), "queue"))
			o.SegmentSize = minSegmentSize
			run.options(&o)
			cut(t, run, o, uint64(i), 150)
		})
	}
}

// A larger run, with another seed each time: it is printed.
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
	run := cutRun{event: testEvent, run: cutWork(seed, 120, testEvent, o.MaxBytes == 0 && rnd.IntN(2) == 0, true)}
	cut(t, run, o, seed, 200)
}

func cut(t *testing.T, run cutRun, o Options, seed uint64, some int) {
	d := newCutDisk(&o)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.UnixMilli(clockKnown).Add(time.Minute)))
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
	if *powercut != "all" && total > some {
		rnd := rand.New(rand.NewPCG(seed, 3))
		rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		slices.SortStableFunc(list, func(a, b cutState) int { return cmp.Compare(min(a.file, 1), min(b.file, 1)) })
		whole := slices.IndexFunc(list, func(s cutState) bool { return s.file != 0 })
		list = list[:max(0, whole)+some] // those without a torn file are few: all of them
	}
	o.inject = nil
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

// checkCut opens a state.
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
			if run.records && e.Action == tellsGap && binary.LittleEndian.Uint64(e.Fragment) == 0 {
				records++
				return true
			}
			n := binary.LittleEndian.Uint64(e.Fragment)
			if want := run.event(n); !bytes.Equal(want.Fragment, e.Fragment) || want.Kind != e.Kind || want.Action != e.Action || want.Time != e.Time || want.Entity != e.Entity {
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
	// What must be there: all behind the committed position, up to what was acknowledged at least.
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
		return (s.strict || uint64(i) < p.need) && (!run.thins || n%thinEvery == 0)
	}):
		t.Errorf("%v are missing of %v", missing, want)
	case uint64(max(to, from)) < p.need && !(run.thins && opened.Accepted-records >= p.need && p.need-uint64(max(to, from)) < thinEvery):
		t.Errorf("%d events were acknowledged, %d are there or committed: %v", p.need, to, got)
	}
	exact := s.strict && !run.records && o.Interval == 0
	if exact && !run.thins && lost != 0 || opened.Damaged != 0 && s.strict && o.Interval == 0 {
		t.Errorf("%d are there: %+v", to, opened)
	}
	if s.strict && o.Interval == 0 && opened.Pending != uint64(len(got))+records {
		t.Errorf("%d are there, %d records: %+v", len(got), records, opened)
	}
	if a, b := stored(inspected), stored(opened); !slices.ContainsFunc(slices.Collect(maps.Keys(s.names)), func(n string) bool { return strings.HasSuffix(n, thinSuffix) }) && s.strict &&
		(a.Accepted != b.Accepted || a.Committed != b.Committed || a.Pending != b.Pending || a.Dropped != b.Dropped || a.Last != b.Last) {
		t.Errorf("inspect says\n%+v, open\n%+v", a, b)
	}
	if t.Failed() {
		return
	}
	// It goes on.
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
	settleNow(t, q)
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
	if sum := st.Deployed + st.Pending + st.Dropped + st.Dead + st.Damaged; sum != st.Accepted || st.Pending != 0 || st.Damaged != 0 && s.strict && o.Interval == 0 {
		t.Errorf("at the end: %+v", st)
	}
	if o.Interval > 0 && s.strict && st.Damaged > uint64(len(p.all))-p.need {
		t.Errorf("at the end, %d acknowledged before the last fsync: %+v", p.need, st)
	}
}
