package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Power cuts. A run of the queue is stopped before each step on the medium, and the directory is looked at: what the process sees, and
// what of it is durable by the last fsync of each file and of the directory. From that follows every state that the medium may show
// after a cut between this step and the one before, and each of them must open with all that was acknowledged.
//
// Of names that are not durable any may be there, in the order of the operations or not; of a file's unsynced end any length, and behind it
// nothing, zeros or garbage; of what is overwritten, in the committed file or in a filled tail, any of its sectors. The runs have about 640,000
// such states, 525,000 different ones; 3,000 of them are opened by default, all with -powercut=all, which takes some six minutes.
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
	refuseIn int    // at this occurrence of it
	flight   []cutFlight
	onSync   func() // called once behind the next step "sync", without mu
}

// cutFlight is an fsync under way, while the next group is written.
type cutFlight struct {
	file  uint64
	data  []byte
	names bool // the directory's too
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
		if op == "fsync" { // of another goroutine: "sync" was its beginning, told is its end
			return nil
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.look(op)
		if isStep(op, d.refusing) {
			if d.refuseIn--; d.refuseIn < 0 {
				d.failed = true
				return syscall.EIO
			}
		}
		if f := d.onSync; f != nil && isStep(op, "sync") {
			d.onSync = nil
			d.mu.Unlock()
			f()
			d.mu.Lock()
		}
		return nil
	}
	return d
}

// scan reads the directory: what has changed in it since the last time goes to ops. It returns what was there then.
func (d *cutDisk) scan() (before map[string]uint64, previous map[uint64][]byte, changed []nameOp) {
	before, previous = d.names, d.data
	d.names, d.data = map[string]uint64{}, map[uint64][]byte{}
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
		if old := previous[n]; bytes.Equal(old, b) {
			b = old
		}
		d.data[n] = b
	}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if n := d.names[name]; before[name] != n {
			op := nameOp{to: name, file: n}
			for old, m := range before {
				if m == n {
					op.from = old
				}
			}
			changed = append(changed, op)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := d.names[name]; !ok && !slices.ContainsFunc(changed, func(o nameOp) bool { return o.from == name }) {
			changed = append(changed, nameOp{from: name})
		}
	}
	// A file whose name was taken by another is seen no more, and may come back.
	for n, b := range previous {
		if _, ok := d.data[n]; !ok {
			d.data[n] = b
		}
	}
	d.ops = append(slices.Clip(d.ops), changed...)
	return before, previous, changed
}

// look takes the state before a step.
func (d *cutDisk) look(op string) {
	before, previous, changed := d.scan()
	data := d.data

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
	case op == "write-beside": // the fsync is under way still; told ends that
		segments := d.segments(d.names)
		n := d.names[segments[len(segments)-1]]
		d.flight = append(d.flight, cutFlight{n, data[n], d.last == "sync-names"})
	case d.failed || d.last == "": // the handle was given up, which syncs it, and the files were cut back
		maps.Copy(d.synced, data)
		d.kept, d.ops = d.names, nil
	case isStep(d.last, "sync"):
		if s := d.segments(before); len(s) > 0 {
			n := before[s[len(s)-1]]
			d.synced[n] = previous[n]
		}
		if d.soon = d.ackedAt; len(d.ops) == 0 {
			d.safe = d.soon
		}
		if d.last == "sync-names" {
			d.kept, d.ops = before, changed
		}
	case d.last == "committed" || d.last == "open-committed":
		n := before[committedName]
		d.synced[n] = previous[n]
	case d.last == "syncdir":
		d.kept, d.ops = before, changed
		d.safe = max(d.safe, d.soon)
	case steps:
		for name, n := range d.names {
			if name != committedName {
				d.synced[n] = data[n]
			}
		}
		d.kept, d.ops = d.names, nil
	}
	d.bounds()

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

// bounds notes what must be there from now on.
func (d *cutDisk) bounds() {
	d.atLast = cutBounds{need: uint64(d.acked)}
	if d.interval {
		d.atLast.need = uint64(d.safe)
	}
	if d.queue != nil {
		d.durable = d.queue.DurablyCommitted().Seq
	}
	d.atLast.durable = d.durable
}

// told takes so many events that were accepted now. If the group behind them is written already, a cut must leave them all the same, whatever
// it leaves of that.
func (d *cutDisk) told(events int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked += events
	if len(d.flight) == 0 {
		return
	}
	f := d.flight[0]
	d.flight = d.flight[1:]
	d.synced = maps.Clone(d.synced)
	d.synced[f.file] = f.data
	if f.names {
		d.kept, d.ops = d.names, nil
	}
	d.bounds()
	d.point("told", d.names, d.ops)
}

// chain appends groups so close to each other that each is written while the one in front of it is synced, as when the writers of each come
// again with the one after the next. A step of them may be refused. It returns how many were written so.
func (d *cutDisk) chain(t *testing.T, q *Queue, groups [][]Event, refuse string, at int) (beside int) {
	t.Helper()
	d.mu.Lock()
	before := len(d.points)
	d.queue, d.refusing, d.refuseIn = q, refuse, at
	d.mu.Unlock()
	onSync := func(f func()) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.onSync = f
	}
	submitChain(t, q, groups, onSync, func(g []Event) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.hand(g)
	}, func(g []Event, err error) bool {
		if err == nil {
			d.told(len(g))
		}
		return err == nil
	})
	q.own.Lock()
	defer q.own.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.points[before:] {
		if strings.HasSuffix(p.op, " to told") {
			beside++
		}
	}
	d.refusing = ""
	if len(d.all) > d.acked {
		d.all = slices.Clip(d.all[:d.acked])
		d.look("refused")
	}
	return beside
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

// hand notes that events are handed over. d.mu is held.
func (d *cutDisk) hand(events []Event) {
	for i := range events {
		d.all = append(d.all, binary.LittleEndian.Uint64(events[i].Fragment))
	}
	d.all = slices.Clip(d.all)
}

// add appends events of the next numbers, which the medium may be made to refuse.
func (d *cutDisk) add(t *testing.T, q *Queue, events []Event, refuse string) {
	t.Helper()
	d.mu.Lock()
	d.queue = q
	accepted := d.all
	d.hand(events)
	d.refusing, d.refuseIn = refuse, 0
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
				if tail == 0 { // the committed file, where a slot is within one sector, or a tail that was filled beforehand
					var sectors []int
					for k := range (len(p.data[n]) + 511) / 512 {
						if lo, hi := k*512, min(k*512+512, len(p.data[n])); !bytes.Equal(p.synced[n][lo:hi], p.data[n][lo:hi]) {
							sectors = append(sectors, k)
						}
					}
					for i, k := range sectors { // those behind it are as written, so a medium that keeps the order tears the last one only
						add("torn sector", k, i == len(sectors)-1)
						add("half a sector", k, i == len(sectors)-1)
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
				lo, hi := s.n*512, min(s.n*512+512, len(b))
				if name != committedName { // what the write leaves as it is stays (doc.go, assumptions)
					for b[lo] == s.p.synced[n][lo] {
						lo++
					}
				}
				copy(b[lo:hi], garbage(hi-lo))
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
