package ruling

import (
	"sync"

	"edgesync/proto"
)

// step undoes one change of what is stored here, should the queue refuse what came of its message.
type step struct {
	what    any // what was changed; nil: undo goes by nothing else
	by      *take
	undo    func()
	more    func([]proto.Event) // of latest values: a further change by the same take
	before  *step               // of the same thing, if it was on its way too
	refused bool
	settled bool // it is not refused any more
}

// steps are the last changes of things, by messages that may still be refused. Two changes of one
// thing are undone from the last one on; one in front of a change that stays stays too. Any
// goroutine.
type steps struct {
	mu   sync.Mutex // guards what follows; held while a change is undone
	last map[any]*step
}

// add notes a change.
func (s *steps) add(t *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[any]*step)
	}
	t.before = s.last[t.what]
	s.last[t.what] = t
}

// more makes a further change of latest values part of the last one, if that is of the same take: a
// post of thousands of rows keeps what was there before once. false: it is not.
func (s *steps) more(what any, by *take, events []proto.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last[what]
	if last == nil || last.by != by || last.more == nil {
		return false
	}
	last.more(events)
	return true
}

// refuse undoes a change, as soon as those behind it are.
func (s *steps) refuse(t *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.refused = true
	for last := s.last[t.what]; last != nil && last.refused; last = s.last[t.what] {
		last.undo()
		s.set(t.what, last.before)
	}
}

// settle says that a change stays.
func (s *steps) settle(t *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.before, t.settled = nil, true
	s.set(t.what, s.last[t.what])
}

// set makes a change the last one of a thing, unless it stays. s is locked.
func (s *steps) set(what any, t *step) {
	if t == nil || t.settled {
		delete(s.last, what)
	} else {
		s.last[what] = t
	}
}

// Undo implements rules.Ledger.
func (t *take) Undo(undo func()) { t.change(nil, undo) }

// change notes a change of a thing that is stored here. What no caller waits for is not refused,
// but put off.
func (t *take) change(what any, undo func()) *step {
	one := &step{what: what, by: t, undo: undo}
	if t.shared {
		return one
	}
	t.undo = append(t.undo, one)
	if what != nil {
		t.Rules.steps.add(one)
	}
	return one
}

// refuse undoes what was done: the device sends the events again.
func (t *take) refuse() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		if one := t.undo[i]; one.what != nil {
			t.Rules.steps.refuse(one)
		} else {
			one.undo()
		}
	}
	for _, f := range t.gone { // kept and forgotten again on the way
		t.back.forget(f)
	}
	t.engine.Refused(t.tally)
	t.reset()
}

// settle says that what was done stays.
func (t *take) settle() {
	for _, one := range t.undo {
		if one.what != nil {
			t.Rules.steps.settle(one)
		}
	}
}
