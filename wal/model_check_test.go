package wal

import (
	"slices"
	"testing/synctest"
)

// note takes the records that the queue has appended by itself. They stand behind a group.
func (m *model) note(s Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	extra := int(s.Accepted) - len(m.all)
	if extra < 0 || extra > 0 && m.o.Record == nil {
		m.t.Fatalf("%d events were accepted: %+v", len(m.all), s)
	}
	for range extra {
		m.all = append(m.all, modelRecord)
		m.records++
	}
}

func (m *model) stats() Stats {
	m.t.Helper()
	synctest.Wait()
	s := m.q.Stats()
	m.note(s)
	checkIdentity(m.t, s)
	if s.Damaged != 0 || s.Deployed > m.deployed {
		m.t.Fatalf("%d deployed: %+v", m.deployed, s)
	}
	if m.o.MaxBytes == 0 && m.o.MaxAge == 0 && (s.Dropped != 0 || s.Deployed != m.deployed) {
		m.t.Fatalf("%d deployed: %+v", m.deployed, s)
	}
	return s
}

func (m *model) see(e *Entry, last uint64) {
	m.t.Helper()
	if e.Seq <= last || e.Seq > uint64(len(m.all)) {
		m.t.Fatalf("event %d behind %d, of %d", e.Seq, last, len(m.all))
	}
	n := m.all[e.Seq-1]
	if want := thinEvent(n); n == modelRecord && e.Action != gapAction ||
		n != modelRecord && (!slices.Equal(want.Fragment, e.Fragment) || want.Action != e.Action || want.Time != e.Time) {
		m.t.Fatalf("event %d is %d, read %+v", e.Seq, n, e)
	}
	// The events between were dropped. That is allowed behind a committed position that the quota
	// has moved, or where the segments were thinned.
	for seq := max(last, m.q.Committed().Seq) + 1; seq < e.Seq; seq++ {
		if k := m.all[seq-1]; m.o.Policy != Thin || k%thinEvery == 0 {
			m.t.Fatalf("event %d (%d) is missing behind %d, before %d", seq, k, last, e.Seq)
		}
	}
}

func (m *model) read(n int) {
	m.stats()
	last := m.r.Position().Seq
	if err := m.r.Read(func(e *Entry) bool {
		if n == 0 {
			return false
		}
		n--
		m.see(e, last)
		last = e.Seq
		m.unacked++
		return true
	}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) commit() {
	before := m.q.Committed().Seq
	p := m.r.Position()
	if err := m.q.Commit(p, m.unacked, 0); err != nil {
		m.t.Fatal(err)
	}
	m.deployed += min(m.unacked, p.Seq-min(before, p.Seq))
	m.unacked = 0
	m.stats()
}

// check compares everything that is pending with the slice.
func (m *model) check() {
	m.clear()
	syncNow(m.t, m.q)
	s := m.stats()
	r := &Reader{q: m.q, pos: m.q.Committed()}
	defer r.Close()
	last, count := r.pos.Seq, uint64(0)
	if err := r.Read(func(e *Entry) bool {
		m.see(e, last)
		last = e.Seq
		count++
		return true
	}); err != nil {
		m.t.Fatal(err)
	}
	if count != s.Pending || r.pos.Seq != uint64(len(m.all)) {
		m.t.Fatalf("%d events are read, up to %d of %d: %+v", count, r.pos.Seq, len(m.all), s)
	}
	if last < uint64(len(m.all)) && s.Pending > 0 { // the last event is never thinned
		m.t.Fatalf("event %d is missing at the end: %+v", last+1, s)
	}
}
