package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk/powercut"
	"edgesync/wal/medium"
)

var modelSeeds = flag.Uint64("seeds", 48, "runs of TestModelFaults")

// A queue is compared with a slice, with everything at once: quotas with each policy, age, an
// interval, the flash budget, records of gaps, media that are full or fail at any step for a while,
// crashes at any step, and opening again. The seed of a failing run is in its name.
func TestModelFaults(t *testing.T) {
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 8)
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := newModel(t, seed)
			synctest.Test(t, m.run)
			t.Logf("%s: %d events accepted, %d refused, %d records, %d crashes, %d faults, %d beside",
				m.kind, len(m.all), m.refused, m.records, m.crashes, m.faults, m.beside)
		})
	}
}

// modelRecord stands in model.all for the record of a gap.
const modelRecord = 0

type model struct {
	t    *testing.T
	rnd  *rand.Rand
	kind string
	o    Options
	q    *Queue
	r    *Reader
	work string // directory for crashes

	mu       sync.Mutex // guards what follows: steps come from the committer too
	all      []uint64   // numbers of the accepted events; a Seq is an index into it plus 1
	flying   []uint64   // numbers of the events being appended
	fault    string     // step that fails
	crash    int        // one in so many steps is checked as if the process were killed there; 0 = none
	onSync   func()     // called once at the next fsync
	beside   int        // groups written beside the fsync of another
	crashed  *rand.Rand
	crashes  int
	faults   int
	refused  int
	records  int
	next     uint64
	unacked  uint64 // events read since the last commit
	deployed uint64
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, rnd: rand.New(rand.NewPCG(seed, 5)), crashed: rand.New(rand.NewPCG(seed, 6)),
		next: 1, work: filepath.Join(memDir(t), "queue"),
	}
	m.o = testOptions(filepath.Join(memDir(t), "queue"))
	m.o.SegmentSize = minSegmentSize + m.rnd.IntN(1500)
	m.o.padUpTo = int64(m.rnd.IntN(2) * 150)
	if m.rnd.IntN(2) == 0 {
		m.o.besideFrom = 1
		m.o.SegmentSize += 1500
	}
	m.o.Series = func(_, action uint8, fragment []byte) (uint64, bool) { return uint64(fragment[8]), action == 1 }
	m.kind = []string{"", DropOldest, RejectNew, Thin}[seed%4]
	if m.kind != "" {
		m.o.Policy, m.o.MaxBytes = m.kind, int64(m.o.SegmentSize)*int64(5+m.rnd.IntN(5))
	}
	if seed/4%2 == 1 {
		m.o.Interval = time.Second
		m.kind += " interval"
	}
	if seed/8%2 == 1 {
		m.o.FlashBudget, m.o.MaxDelay = 24*40*medium.AssumedCommit, 2*time.Second
		m.kind += " budget"
	}
	if seed/16%3 == 1 {
		m.o.MaxAge = 30 * time.Second
		m.kind += " age"
	}
	if seed/2%2 == 1 && m.o.FlashBudget == 0 { // or a record may come before the events of a group that waits
		m.o.Record = func(g Gap, total uint64) (Event, bool) {
			e := Event{Action: gapAction, Fragment: make([]byte, 16)}
			binary.LittleEndian.PutUint64(e.Fragment[8:], total)
			return e, g.Events > 0
		}
		m.kind += " records"
	}
	if seed%3 != 0 {
		m.crash = 40
	}
	m.o.ops = byStep(m.step)
	return m
}

// step fails the step that is to fail, and checks a crash at some.
func (m *model) step(op string) error {
	if op == "cut" { // what was refused stays away from then on only (cow_test.go)
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.q != nil && m.crash > 0 && op != "fsync" && m.crashed.IntN(m.crash) == 0 {
		m.crashes++
		m.checkCrash(op)
	}
	if op == "write-beside" {
		m.beside++
	}
	if f := m.onSync; f != nil && isStep(op, "sync") {
		m.onSync = nil
		f()
	}
	if m.fault == "all" || isStep(op, m.fault) {
		m.faults++
		return fmt.Errorf("%s: %w", op, syscall.ENOSPC)
	}
	return nil
}

// checkCrash opens a copy of the directory as it is at this moment. A killed process leaves
// everything that it has written, and what is accepted is written, whatever the fsync.
func (m *model) checkCrash(op string) {
	files := dirFiles(m.t, m.o.Dir)
	names := make(map[string]uint64)
	data := make(map[uint64][]byte)
	for name, b := range files {
		n := uint64(len(names) + 1)
		names[name], data[n] = n, b
	}
	known := slices.DeleteFunc(slices.Concat(m.all, m.flying), func(n uint64) bool { return n == modelRecord })
	accepted := len(slices.DeleteFunc(slices.Clone(m.all), func(n uint64) bool { return n == modelRecord }))
	p := &cutPoint{
		Point: powercut.Point{Op: op, Names: names, Data: data, Synced: data, Slots: committedName},
		all:   known, committed: m.q.Committed().Seq,
	}
	p.need, p.durable = uint64(accepted), m.q.DurablyCommitted().Seq
	run := cutRun{event: thinEvent, thins: m.o.Policy == Thin, records: m.o.Record != nil || m.o.MaxBytes > 0 || m.o.MaxAge > 0}
	o := m.o
	o.Dir, o.CorruptDir, o.ops, o.Record, o.FlashBudget = m.work, "", nil, nil, 0
	o.MaxBytes, o.MaxAge = 0, 0 // nothing is to be dropped
	s := &cutState{powercut.State{Point: &p.Point, Names: names, Strict: true}, p}
	s.build(m.t, m.work, map[uint64]bool{})
	checkCut(m.t, run, o, s)
	if m.t.Failed() {
		m.t.Logf("crash before %q", op)
		m.crash = 0
	}
}

func (m *model) run(t *testing.T) {
	m.t = t
	elapse(time.Until(time.UnixMilli(year2020).Add(time.Minute)))
	m.open()
	for range 160 {
		if t.Failed() {
			return
		}
		switch m.rnd.IntN(15) {
		case 0, 1, 2, 3:
			m.append(1 + m.rnd.IntN(12))
		case 4:
			if m.o.Record == nil {
				m.submit(1 + m.rnd.IntN(6))
			}
		case 14:
			if m.o.Record == nil {
				m.chain(2+m.rnd.IntN(4), 1+m.rnd.IntN(4))
			}
		case 5, 6:
			m.read(m.rnd.IntN(40))
		case 7:
			m.commit()
		case 8: // as after a lost link
			m.r.Seek(m.q.Committed())
			m.unacked = 0
		case 9, 10:
			elapse(time.Duration(m.rnd.IntN(8000)) * time.Millisecond)
		case 11: // a fault comes or goes
			f := ""
			if m.rnd.IntN(2) == 0 {
				f = []string{
					"write", "write-beside", "sync", "fsync", "syncdir", "committed", "drop", "thin-write", "thin", "all",
				}[m.rnd.IntN(10)]
			}
			m.mu.Lock()
			m.fault = f
			m.mu.Unlock()
		case 12:
			if m.rnd.IntN(4) == 0 {
				m.reopen()
			}
		case 13:
			m.check()
		}
	}
	m.clear()
	elapse(2 * fileAfter)
	m.append(5)
	m.check()
	m.corrupt()
	m.r.Seek(m.q.Committed())
	m.unacked = 0
	m.read(1 << 30)
	m.commit()
	s := m.stats()
	if s.Pending != 0 || !s.Writable {
		t.Fatalf("everything was committed: %+v", s)
	}
	m.reopen()
	if a := m.stats(); a.Deployed != s.Deployed || a.Dropped != s.Dropped {
		t.Fatalf("opened with\n%+v, closed with\n%+v", a, s)
	}
	closeQueue(t, m.q)
}

func (m *model) open() {
	q := openQueue(m.t, m.o)
	m.mu.Lock()
	m.q = q
	m.mu.Unlock()
	m.r, m.unacked = q.Reader(), 0
}

// clear lets the medium work again, and waits until the queue has noticed.
func (m *model) clear() {
	m.mu.Lock()
	m.fault = ""
	m.mu.Unlock()
	elapse(fileAfter + reopenEvery)
	synctest.Wait()
}

func (m *model) reopen() {
	m.clear()
	m.r.Close()
	m.stats()
	closeQueue(m.t, m.q)
	before := stored(m.q.Stats())
	m.note(before)
	m.open()
	if after := stored(m.q.Stats()); after.Accepted != before.Accepted ||
		after.Committed != before.Committed || after.Dropped != before.Dropped || after.Pending != before.Pending {
		m.t.Fatalf("closed with\n%+v, opened with\n%+v", before, after)
	}
	checkInspect(m.t, m.q)
}

// corrupt changes one bit of a copy. That costs at most the event with the changed bit, and the
// rest is delivered.
func (m *model) corrupt() {
	syncNow(m.t, m.q)
	o := m.o
	o.Dir, o.CorruptDir, o.ops, o.Record, o.MaxBytes, o.MaxAge = copyDir(m.t, m.o.Dir), "", nil, nil, 0, 0
	drain := func(q *Queue) (offsets []uint64) {
		r := q.Reader()
		defer r.Close()
		if err := r.Read(func(e *Entry) bool {
			offsets = append(offsets, e.Offset)
			if n := binary.LittleEndian.Uint64(e.Fragment); e.Action != gapAction && !slices.Equal(e.Fragment, thinEvent(n).Fragment) {
				m.t.Errorf("an event was invented: %+v", e)
			}
			return true
		}); err != nil {
			m.t.Fatal(err)
		}
		if err := q.Commit(r.Position(), uint64(len(offsets)), 0); err != nil {
			m.t.Fatal(err)
		}
		return offsets
	}
	r := &Reader{q: m.q, pos: m.q.Committed()}
	defer r.Close()
	var want []uint64
	if err := r.Read(func(e *Entry) bool { want = append(want, e.Offset); return true }); err != nil {
		m.t.Fatal(err)
	}
	paths := segmentsOf(m.t, o.Dir)
	p := paths[m.rnd.IntN(len(paths))]
	b := readFile(m.t, p)
	if len(b) == 0 {
		return
	}
	at := m.rnd.IntN(len(b))
	b[at] ^= 1 << m.rnd.IntN(8)
	writeFile(m.t, p, b)
	q := openQueue(m.t, o)
	got := drain(q)
	missing := slices.DeleteFunc(slices.Clone(want), func(n uint64) bool { return slices.Contains(got, n) })
	s := q.Stats()
	checkIdentity(m.t, s)
	if len(missing) > 1 || len(got) > len(want) || s.Pending != 0 {
		m.t.Errorf("byte %d of %d of %s: %v are missing of %d: %+v", at, len(b), filepath.Base(p), missing, len(want), s)
	}
	appendThin(m.t, q, m.next, m.next+9)
	syncNow(m.t, q)
	if left := thinPending(m.t, q); !slices.Equal(left, span(m.next, m.next+9)) {
		m.t.Errorf("ten more read back as %v", left)
	}
	closeQueue(m.t, q)
}

func (m *model) take(n int) (events []Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flying = nil
	for range n {
		e := thinEvent(m.next)
		events = append(events, e)
		m.flying = append(m.flying, m.next)
		m.next++
	}
	return events
}

// landed notes the outcome of an append.
func (m *model) landed(err error) {
	m.mu.Lock()
	switch {
	case err == nil:
		m.all = append(m.all, m.flying...)
	case errors.Is(err, ErrFull) && m.o.Policy == RejectNew, errors.Is(err, ErrUnavailable) && errors.Is(err, syscall.ENOSPC):
		m.refused += len(m.flying)
	default:
		m.t.Fatalf("append: %v", err)
	}
	m.flying = nil
	m.mu.Unlock()
	m.stats()
}

func (m *model) append(n int) {
	m.stats()
	events := m.take(n)
	m.landed(m.q.Append(context.Background(), events...))
}

// submit hands a few groups over without waiting. Their outcomes come in order.
func (m *model) submit(n int) {
	m.stats()
	events := m.take(n)
	var outcomes []error
	for i := range events {
		if err := m.q.Submit(context.Background(), events[i:i+1], func(err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			outcomes = append(outcomes, err)
			if first := m.flying[0]; err == nil {
				m.all = append(m.all, first)
			} else {
				m.refused++
			}
			m.flying = m.flying[1:]
			if len(m.flying) > 0 && len(outcomes) == n {
				m.t.Error("more outcomes than events")
			}
		}); err != nil {
			m.t.Fatal(err)
		}
		synctest.Wait()
		m.mu.Lock()
		held := len(outcomes) <= i // the flash budget lets the group collect
		m.mu.Unlock()
		if !held {
			m.stats()
		}
	}
	elapse(3 * time.Second) // longer than queue.max_delay
	synctest.Wait()
	m.mu.Lock()
	got := len(outcomes)
	m.mu.Unlock()
	if got != n {
		m.t.Fatalf("%d outcomes of %d", got, n)
	}
	m.stats()
}

// chain hands over groups so close to each other that each can be written while the one in front of
// it is synced.
func (m *model) chain(groups, size int) {
	m.append(1) // so that few are expected to come again
	list := slices.Collect(slices.Chunk(m.take(groups*size), size))
	onSync := func(f func()) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.onSync = f
	}
	submitChain(m.t, m.q, list, onSync, func([]Event) {}, func(_ []Event, err error) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err == nil {
			m.all = append(m.all, m.flying[:size]...)
		} else {
			m.refused += size
		}
		m.flying = m.flying[size:]
		return true
	})
	m.stats()
}
