package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"edgesync/wal/disk/powercut"
)

// cutDisk follows what of a queue's directory is durable, for the tests of power cuts.
//
// A run of the queue is stopped before each step on the medium, and the directory is looked at:
// what the process sees, and what of it is durable by the last fsync of each file and of the
// directory. From that follows every state that the medium may show after a cut between this step
// and the one before. Each of these states must open with all that was acknowledged.
//
// Of names that are not durable any may be there, in the order of the operations or not. Of a
// file's unsynced end any length may be there, and behind it nothing, zeros or garbage. Of what is
// overwritten, in the committed file or in a filled tail, any sector may be there. The runs have
// about 640,000 such states, 525,000 of them different. By default 3,000 are opened; -powercut=all
// opens all, which takes some six minutes.
//
// What is durable follows from the names of the steps. That an fsync is done in these steps is not
// checked here.
type cutDisk struct {
	*powercut.Disk
	interval bool

	mu     sync.Mutex // guards what follows: the committer looks at the disk too
	last   string     // step that the run is in
	failed bool       // the step was made to fail
	points []*cutPoint

	queue    *Queue
	all      []uint64 // numbers of the events accepted, then those in flight
	acked    int      // number of those in all that are accepted
	ackedAt  int      // acked as of the last step
	safe     int      // number of those in all that are durable with Options.Interval
	soon     int      // number of those in all that are durable once the directory is synced too
	durable  uint64   // events that the queue last reported as committed durably
	atLast   cutBounds
	refusing string // step to refuse
	refuseIn int    // which occurrence of that step is refused
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

// cutPoint is the interval between two steps.
type cutPoint struct {
	powercut.Point
	cutBounds
	all       []uint64
	committed uint64 // events committed, at most
}

// states lists what the medium may show of an interval.
func (p *cutPoint) states() (list []cutState) {
	for _, s := range p.States() {
		list = append(list, cutState{s, p})
	}
	return list
}

func newCutDisk(o *Options) *cutDisk {
	d := &cutDisk{Disk: powercut.New(o.Dir), interval: o.Interval > 0}
	o.ops = byStep(func(op string) error {
		// An fsync is another goroutine's: the step "sync" began it, accepted ends it. A cut is
		// part of the failure that it follows.
		if op == "fsync" || op == "cut" {
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
	})
	return d
}

// look takes the state of the directory before a step.
func (d *cutDisk) look(op string) {
	before, previous, changed := d.Scan()
	data := d.Data

	// A cut within the step before, if that step has more than one part. What came behind the step
	// in this interval, a slot of the committed file, is not there yet.
	d.Synced = maps.Clone(d.Synced)
	steps := d.last == "drop" || d.last == "thin" || d.last == "thin-write" || d.last == "open"
	if steps && !d.failed {
		if n, ok := before[committedName]; ok {
			d.Data = maps.Clone(data)
			d.Data[n] = previous[n]
		}
		d.point(op, d.Names, d.Ops)
		d.Data = data
	}
	switch {
	case op == "write-beside": // the fsync is still under way; accepted ends it
		segments := d.segments(d.Names)
		n := d.Names[segments[len(segments)-1]]
		d.flight = append(d.flight, cutFlight{n, data[n], d.last == "sync-names"})
	case d.failed || d.last == "": // the handle was given up, which syncs, and the files were cut back
		maps.Copy(d.Synced, data)
		d.Kept, d.Ops = d.Names, nil
	case isStep(d.last, "sync"):
		if s := d.segments(before); len(s) > 0 {
			n := before[s[len(s)-1]]
			d.Synced[n] = previous[n]
		}
		if d.soon = d.ackedAt; len(d.Ops) == 0 {
			d.safe = d.soon
		}
		if d.last == "sync-names" {
			d.Kept, d.Ops = before, changed
		}
	case d.last == "committed":
		n := before[committedName]
		d.Synced[n] = previous[n]
	case d.last == "syncdir":
		d.Kept, d.Ops = before, changed
		d.safe = max(d.safe, d.soon)
	case steps:
		for name, n := range d.Names {
			if name != committedName {
				d.Synced[n] = data[n]
			}
		}
		d.Kept, d.Ops = d.Names, nil
	}
	d.bounds()

	// The library syncs a segment before it begins the next one: a cut before that sees the
	// segments up to this one.
	segments := d.segments(d.Names)
	for _, name := range segments[:max(0, len(segments)-1)] {
		if n := d.Names[name]; !bytes.Equal(d.Synced[n], data[n]) {
			names := maps.Clone(d.Names)
			for _, other := range segments {
				if other > name {
					delete(names, other)
				}
			}
			d.point(op, names, nil)
			d.Synced = maps.Clone(d.Synced)
			d.Synced[n] = data[n]
		}
	}
	d.point(op, d.Names, d.Ops)
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

// accepted notes that so many more events are accepted. If the group behind these events is already
// written, a cut must leave these events all the same, whatever it leaves of that group.
func (d *cutDisk) accepted(events int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked += events
	if len(d.flight) == 0 {
		return
	}
	f := d.flight[0]
	d.flight = d.flight[1:]
	d.Synced = maps.Clone(d.Synced)
	d.Synced[f.file] = f.data
	if f.names {
		d.Kept, d.Ops = d.Names, nil
	}
	d.bounds()
	d.point("accepted", d.Names, d.Ops)
}

// chain appends groups so close to each other that each is written while the one in front of it is
// synced, as when the writers of each group come again with the group after the next. A step of the
// chain may be refused. chain returns how many groups were written beside an fsync.
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
			d.accepted(len(g))
		}
		return err == nil
	})
	q.own.Lock()
	defer q.own.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.points[before:] {
		if strings.HasSuffix(p.Op, " to accepted") {
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

// point notes an interval that ends now. The caller holds d.mu.
func (d *cutDisk) point(op string, names map[string]uint64, ops []powercut.NameOp) {
	p := &cutPoint{
		Point: powercut.Point{
			Op: d.last + " to " + op, Names: names, Data: d.Data, Synced: d.Synced, Kept: d.Kept, Ops: ops, Slots: committedName,
		},
		cutBounds: d.atLast, all: slices.Clip(d.all),
	}
	if ops == nil {
		p.Kept = names
	}
	if d.interval {
		p.need = uint64(d.safe)
	}
	if d.queue != nil {
		p.committed = d.queue.Committed().Seq
	}
	d.points = append(d.points, p)
}

// hand notes that events are handed over. The caller holds d.mu.
func (d *cutDisk) hand(events []Event) {
	for i := range events {
		d.all = append(d.all, binary.LittleEndian.Uint64(events[i].Fragment))
	}
	d.all = slices.Clip(d.all)
}

// add appends events of the next numbers. The medium may be made to refuse them.
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

// end notes what is durable at the end of the run.
func (d *cutDisk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look("end")
	d.look("end")
}

// cutState is one state of the directory after a cut.
type cutState struct {
	powercut.State
	p *cutPoint
}

// build makes the directory and returns true. It returns false, and makes nothing, if an equal
// directory was there before.
func (s *cutState) build(t testing.TB, dir string, seen map[uint64]bool) bool {
	t.Helper()
	return s.Build(t, dir, seen, s.p.cutBounds, len(s.p.all), s.p.committed)
}
