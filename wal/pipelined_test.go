package wal

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// watched lets a test see the steps of a queue, hold the fsyncs of its pipeline, and act at a step.
type watched struct {
	fault
	mu     sync.Mutex
	steps  []string
	at     map[string]func() // called at the next step of that name
	fsyncs chan error        // an fsync ends with one of these; nil = no fsync waits
	takes  time.Duration     // how long an fsync takes
}

func (m *watched) inject(op string) error {
	m.mu.Lock()
	m.steps = append(m.steps, op)
	f := m.at[op]
	delete(m.at, op)
	m.mu.Unlock()
	if f != nil {
		f()
	}
	if op == "fsync" {
		time.Sleep(m.takes)
		if m.fsyncs != nil {
			return <-m.fsyncs
		}
	}
	return m.fault.inject(op)
}

func (m *watched) since() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.steps
	m.steps = nil
	return s
}

// pipelined is a queue whose groups a test times.
type pipelined struct {
	*watched
	t         *testing.T
	q         *Queue
	outcomes  []string
	next      uint64
	outcomesM sync.Mutex
}

// openSeen opens a queue on a medium that lets the test see its steps.
func openSeen(t *testing.T, o Options) *pipelined {
	p := &pipelined{watched: &watched{fault: fault{err: syscall.ENOSPC}, at: map[string]func(){}}, t: t, next: 1}
	o.ops = byStep(p.inject)
	p.q = openQueue(t, o)
	return p
}

// openPipelined opens a queue with two events in it, appended one by one, so that one more event is
// enough for the next group.
func openPipelined(t *testing.T, o Options) *pipelined {
	o.besideFrom = 1
	p := openSeen(t, o)
	for range 2 {
		appendEvents(t, p.q, p.next, 1)
		p.next++
	}
	synctest.Wait()
	p.since()
	return p
}

// submit hands over n events in one group. Their outcome is noted under the name.
func (p *pipelined) submit(name string, n int) {
	var events []Event
	for range n {
		events = append(events, testEvent(p.next))
		p.next++
	}
	if err := p.q.Submit(context.Background(), events, func(err error) {
		p.outcomesM.Lock()
		defer p.outcomesM.Unlock()
		if err != nil {
			name += " refused"
		}
		p.outcomes = append(p.outcomes, name)
	}); err != nil {
		p.t.Error(err)
	}
}

// expect checks the steps taken, the outcomes noted, what a reader finds, and what a crash at this
// moment would leave.
func (p *pipelined) expect(what string, steps, outcomes []string, durable, written uint64) {
	p.t.Helper()
	synctest.Wait()
	p.outcomesM.Lock()
	defer p.outcomesM.Unlock()
	if got := p.since(); !slices.Equal(got, steps) || !slices.Equal(p.outcomes, outcomes) {
		p.t.Fatalf("%s: steps %q, outcomes %q; want %q and %q", what, got, p.outcomes, steps, outcomes)
	}
	if got := pendingNumbers(p.t, p.q); !slices.Equal(got, span(1, durable)) {
		p.t.Fatalf("%s: a reader finds %s, want 1 to %d", what, sprint(got), durable)
	}
	if s := p.q.Stats(); s.Accepted != durable {
		p.t.Fatalf("%s: %d accepted, want %d", what, s.Accepted, durable)
	}
	o := testOptions(copyDir(p.t, p.q.o.Dir))
	crashed := openQueue(p.t, o)
	if got := pendingNumbers(p.t, crashed); !slices.Equal(got, span(1, written)) {
		p.t.Fatalf("%s: a killed process leaves %s, want 1 to %d", what, sprint(got), written)
	}
	closeQueue(p.t, crashed)
}

func roomy(t *testing.T) Options {
	o := testOptions(queueDir(t))
	o.SegmentSize = 16 << 10
	return o
}

// submitChain hands over groups so close to each other that each can be written while the one in
// front of it is synced, as when the writers of each group come again with the group after the
// next. The first group is handed over at once, the second at the fsync that onSync waits for, and
// a further one whenever a group has ended and ended returns true. submitChain returns when all
// groups that were handed over have ended. handed and ended may be called by the goroutine that
// commits.
func submitChain(
	t testing.TB, q *Queue, groups [][]Event,
	onSync func(func()), handed func(g []Event), ended func(g []Event, err error) bool,
) {
	t.Helper()
	var all sync.WaitGroup
	var submit func()
	submit = func() {
		if len(groups) == 0 {
			return
		}
		g := groups[0]
		groups = groups[1:]
		handed(g)
		all.Add(1)
		if err := q.Submit(context.Background(), g, func(err error) {
			defer all.Done()
			if ended(g, err) {
				submit()
			}
		}); err != nil {
			t.Error(err)
		}
	}
	q.own.Lock()
	onSync(submit)
	submit()
	q.own.Unlock()
	all.Wait()
	onSync(nil)
}

// writers hands over events of so many writers, each of them so many. Each writer hands over its
// next event when the one before is accepted.
func (p *pipelined) writers(writers, each uint64) {
	var all sync.WaitGroup
	var submit func(n uint64)
	submit = func(n uint64) {
		if err := p.q.Submit(context.Background(), []Event{testEvent(n)}, func(err error) {
			if err != nil {
				p.t.Errorf("event %d: %v", n, err)
			}
			if n++; n%each != 0 {
				submit(n)
			} else {
				all.Done()
			}
		}); err != nil {
			p.t.Error(err)
		}
	}
	all.Add(int(writers))
	p.q.own.Lock()
	for w := range writers {
		if w == writers/2 { // the first half of the writers is one group
			p.q.own.Unlock()
			synctest.Wait()
		}
		submit((w + 1) * each)
	}
	all.Wait()
}
