package ruling

import (
	"sync"

	"edgesync/sync/rules"
)

// step undoes one change of what is stored here, should the queue refuse what came of its message.
type step struct {
	what any // what was changed; nil: undo goes by nothing else
	*rules.Step
}

// steps are the last changes of things, by messages that may still be refused. Any goroutine.
type steps struct {
	undoing sync.Mutex // held while changes are undone, one behind the other
	mu      sync.Mutex // guards last; not held while a change is undone, because that may wait
	last    map[any]*rules.Trail
}

// add notes a change.
func (s *steps) add(t step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[any]*rules.Trail)
	}
	trail := s.last[t.what]
	if trail == nil {
		trail = new(rules.Trail)
		s.last[t.what] = trail
	}
	trail.Add(t.Step)
}

// own is what a further change of a thing needs that is to be undone with the last one, if that is
// of the same take.
func (s *steps) own(what any, by *take) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.last[what]; t != nil {
		return t.Own(by)
	}
	return nil
}

// end takes a change off its thing: it is refused, or stays. undo is what is to be undone then.
func (s *steps) end(t step, refused bool) (undo []*rules.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	trail := s.last[t.what]
	if trail == nil {
		trail = new(rules.Trail) // others have taken it off, or those behind it stay
	}
	if refused {
		undo = trail.Refuse(t.Step)
	} else {
		trail.Settle(t.Step)
	}
	if trail.Over() {
		delete(s.last, t.what)
	}
	return undo
}

// Undo implements rules.Ledger.
func (t *take) Undo(undo func()) { t.change(nil, nil, undo) }

// change notes a change of a thing that is stored here, and what further ones of it need. What no
// caller waits for is not refused, but put off.
func (t *take) change(what, of any, undo func()) {
	if t.shared {
		return
	}
	one := step{what, &rules.Step{Undo: undo, By: t, Of: of}}
	t.undo = append(t.undo, one)
	if what != nil {
		t.Rules.steps.add(one)
	}
}

// own is what a further change of a thing needs that is to be undone with the last one. If that one
// is not of the same take, begin gives what undoes this one.
func own[T any](t *take, what any, begin func() (of T, undo func())) T {
	if of, ok := t.Rules.steps.own(what, t).(T); ok {
		return of
	}
	of, undo := begin()
	t.change(what, of, undo)
	return of
}

// refuse undoes what was done: the device sends the events again.
func (t *take) refuse() {
	s := &t.Rules.steps
	s.undoing.Lock()
	defer s.undoing.Unlock()
	for i := len(t.undo) - 1; i >= 0; i-- {
		one := t.undo[i]
		if one.what == nil {
			one.Undo()
			continue
		}
		for _, one := range s.end(one, true) {
			one.Undo()
		}
	}
	if len(t.gone) > 0 { // kept, and nothing of it is pushed
		t.journal.forget(t.gone)
		rouse(t.journal.wake)
	}
	t.engine.Refused(t.tally)
	t.reset()
}

// settle says that what was done stays.
func (t *take) settle() {
	for _, one := range t.undo {
		if one.what != nil {
			t.Rules.steps.end(one, false)
		}
	}
}
