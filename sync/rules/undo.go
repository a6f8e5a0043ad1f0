package rules

import (
	"math"
	"sync/atomic"
)

// Tally counts messages as Sums does.
type Tally struct{ Received, Made, Accepted, Filtered, Safety int }

// Ledger is a Journal of one who may refuse what has come of messages, after Handle: a queue that
// is full. Then the device sends the message again, and each node is to see it as new. So the owner
// calls what Undo was told, the last first, and then Engine.Refused. What is forgotten meanwhile
// was the message's own.
type Ledger interface {
	Journal
	// Undo takes what undoes a change. It takes locks of the engine: no Outlet may call it.
	Undo(undo func())
	// Count takes what a message added to the sums.
	Count(t Tally)
}

// Step is a change of a thing by a message that may still be refused.
type Step struct {
	Undo func()
	By   any // whose message it was
	Of   any // what a further change of By's needs, which is undone by the same step

	before         *Step // of the same thing, if that one was on its way too
	refused, stays bool
}

// Trail are the last changes of a thing, by messages that may still be refused. Two of them are
// undone from the last one on; one in front of a change that stays stays too. Who locks the thing
// locks its trail.
type Trail struct{ last *Step }

// Add notes a change.
func (t *Trail) Add(s *Step) { s.before, t.last = t.last, s }

// Own is the last change's Of, if that one is of by; else nil. A post of thousands of rows keeps
// what was there before once.
func (t *Trail) Own(by any) any {
	if t.last == nil || t.last.By != by {
		return nil
	}
	return t.last.Of
}

// Refuse gives what is to be undone now that a change is refused, in that order. Until those behind
// it are refused too that is nothing.
func (t *Trail) Refuse(s *Step) (undo []*Step) {
	for s.refused = true; t.last != nil && t.last.refused; {
		undo = append(undo, t.last)
		if t.last = t.last.before; t.last != nil && t.last.stays {
			t.last = nil
		}
	}
	return undo
}

// Settle says that a change stays.
func (t *Trail) Settle(s *Step) {
	if s.before, s.stays = nil, true; t.last == s {
		t.last = nil
	}
}

// Over reports whether no change may be refused any more.
func (t *Trail) Over() bool { return t.last == nil }

// Refused takes back what refused messages have added to the sums.
func (e *Engine) Refused(t Tally) {
	e.add(Tally{-t.Received, -t.Made, -t.Accepted, -t.Filtered, -t.Safety})
}

func (e *Engine) add(t Tally) {
	s := &e.sums
	for i, n := range [...]int{t.Received, t.Made, t.Accepted, t.Filtered, t.Safety} {
		if n != 0 { // all writers share these words; below 0 one wraps around, and back
			[...]*atomic.Uint64{&s.received, &s.made, &s.accepted, &s.filtered, &s.safety}[i].Add(uint64(n))
		}
	}
}

// count adds to the sums what the round has counted.
func (r *round) count() {
	r.e.add(r.tally)
	if r.l != nil {
		r.l.Count(r.tally)
	}
	r.tally = Tally{}
}

// undo is the note's change undone, as soon as those behind it are.
func (n *Note) undo() {
	mem, c := n.mem, n.c
	lock(&mem.mu)
	defer unlock(&mem.mu)
	for _, s := range c.trail.Refuse(&n.step) {
		n := s.Of.(*Note)
		if mem.cells[n.who] != c { // it made room for another
			continue
		}
		if n.before == nil {
			c.staged = math.MaxUint32
			n.e.cells.Add(-c.cost())
			delete(mem.cells, n.who)
			continue
		}
		was, err := readCell(n.before)
		if err != nil {
			continue // we have written it
		}
		n.e.cells.Add(was.cost() - c.cost())
		c.value, c.time, c.word, c.intervals = was.value, was.time, was.word, was.intervals
	}
}

// stays says that what was held is counted as a message that was made: it cannot be taken back.
func (e *Engine) stays() { count(&e.sums.made) }

// undoPut has the last message of the originator's window leave it again, if it is undone.
func (r *round) undoPut(m *Message) {
	if r.l == nil {
		return
	}
	e, l, mem, who, size := r.e, r.l, r.n.mem, m.Originator, m.size()
	lock(&mem.mu)
	p := mem.windows[who]
	place := p.next - 1
	unlock(&mem.mu)
	l.Undo(func() {
		e.mu.RLock()
		defer e.mu.RUnlock()
		s := e.shard(&who)
		lock(s)
		defer unlock(s)
		lock(&mem.mu)
		ok := mem.windows[who] == p && p.remove(place, size)
		unlock(&mem.mu)
		if !ok {
			e.stays()
			return
		}
		e.gone(l, p, 1, 0, []uint32{place})
	})
}

// remove takes a message out of the window, which stays, also when it is empty: its timer ends it.
func (p *pane) remove(place uint32, size int64) bool {
	r := records{b: p.data}
	for len(r.b) > 0 {
		at := len(p.data) - len(r.b)
		n := uint32(r.number())
		entry := r.take(r.number())
		if n == place && !r.bad {
			p.cost -= size + int64(len(entry))
			p.count--
			p.data = append(p.data[:at], r.b...)
			return true
		}
	}
	return false
}

// undoHold has a message leave its delay again, if it is undone.
func (r *round) undoHold(m *Message) {
	if r.l == nil {
		return
	}
	e, l, n := r.e, r.l, r.n
	l.Undo(func() {
		e.mu.RLock()
		defer e.mu.RUnlock()
		s := e.shard(&m.Originator)
		lock(s)
		defer unlock(s)
		lock(&e.tick)
		ok := e.drop(func(t *timer) bool { return t.m == m })
		unlock(&e.tick)
		if !ok {
			e.stays()
			return
		}
		lock(&n.mem.mu)
		n.mem.waiting--
		unlock(&n.mem.mu)
		e.unhold(l, n, m)
	})
}
