package rules

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// memory is what a node remembers. It outlives a change of the chain that leaves the node as it
// is (RULES.md 7.7).
type memory struct {
	node       atomic.Pointer[node] // nil: the node is gone
	begun      atomic.Bool
	in, failed atomic.Uint32
	ended      atomic.Uint32 // by a relation that is not connected, though others are

	mu      sync.Mutex // guards what follows; not held while anything is called
	last    string     // the last failure
	lastAt  int64
	windows map[Entity]*pane
	cells   map[Entity]*cell
	waiting int // messages of a delay
	n       int64
	prev    *Message // of a generator

	// was is the node, once it is gone, and root whether its messages then run through the root
	// chain. They change with the plan.
	was  *node
	root bool
}

// timer wakes a node.
type timer struct {
	_      uncompared
	at     int64
	seq    uint32
	mem    *memory
	who    Entity
	m      *Message // that waits; nil: a window's or a generator's timer
	call   uint32   // of a device
	made   *Call
	answer string
	word   string // of a call, the error: TIMEOUT if nothing came; of a window: why it goes early
}

//go:noinline
func (a *timer) before(b *timer) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// after wakes a node at a time, for a message that it holds or none.
//
//go:noinline
func (e *Engine) after(at int64, mem *memory, who *Entity, m *Message) {
	e.schedule(&timer{at: at, mem: mem, who: *who, m: m})
}

// schedule adds a timer and wakes the goroutine of Run if it is the next one.
func (e *Engine) schedule(t *timer) {
	lock(&e.tick)
	e.seq++
	t.seq = e.seq
	e.timers = append(e.timers, t)
	e.up(len(e.timers)-1, t)
	first := e.timers[0] == t
	unlock(&e.tick)
	if first {
		e.Wake()
	}
}

// up moves the timer at i of the heap to its place. The heap is locked.
func (e *Engine) up(i int, t *timer) {
	for i > 0 && t.before(e.timers[(i-1)/2]) {
		e.timers[i] = e.timers[(i-1)/2]
		i = (i - 1) / 2
	}
	e.timers[i] = t
}

// removeFirst takes the first timer off the heap, which is locked and not empty.
func (e *Engine) removeFirst() *timer {
	top, last := e.timers[0], len(e.timers)-1
	t := e.timers[last]
	e.timers[last] = nil
	e.timers = e.timers[:last]
	for i := 0; i < last; {
		child := 2*i + 1
		if child+1 < last && e.timers[child+1].before(e.timers[child]) {
			child++
		}
		if child >= last || !e.timers[child].before(t) {
			e.timers[i] = t
			break
		}
		e.timers[i] = e.timers[child]
		i = child
	}
	return top
}

// answered takes the timer of a call; nil if nobody waits for the call.
func (e *Engine) answered(id uint32) *timer {
	lock(&e.tick)
	defer unlock(&e.tick)
	t := e.calls[id]
	if t == nil {
		return nil
	}
	delete(e.calls, id)
	e.drop(func(of *timer) bool { return of == t })
	return t
}

// drop takes a timer off the heap, which is locked; false: it is not there.
func (e *Engine) drop(is func(*timer) bool) bool {
	for i, t := range e.timers {
		if is(t) {
			t.at = math.MinInt64
			e.up(i, t)
			e.removeFirst()
			return true
		}
	}
	return false
}

// pop takes the next timer that is due.
func (e *Engine) pop(now int64) *timer {
	lock(&e.tick)
	defer unlock(&e.tick)
	if len(e.timers) == 0 || e.timers[0].at > now {
		return nil
	}
	t := e.removeFirst()
	if t.call != 0 {
		delete(e.calls, t.call)
		t.word = "TIMEOUT"
	}
	return t
}

// Due is when the next timer fires; ok is false if there is none.
func (e *Engine) Due() (at int64, ok bool) {
	lock(&e.tick)
	defer unlock(&e.tick)
	if len(e.timers) == 0 {
		return 0, false
	}
	return e.timers[0].at, true
}

// Tick does what is due now. One goroutine calls it, that of Run.
func (e *Engine) Tick() {
	now := e.opt.Now()
	for t := e.pop(now); t != nil; t = e.pop(now) {
		e.fire(t)
	}
}

// Run owns windows, delays, generators and time, until ctx is done. settle, unless it is nil, is
// called between what is due, and with last when nothing more is: it makes durable what went to the
// engine's Outlet and Journal. While it returns false, nothing that is due is done, and it is
// called again each second.
func (e *Engine) Run(ctx context.Context, settle func(last bool) bool) {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		ok := settle == nil || settle(false)
		for now := e.opt.Now(); ok; ok = settle == nil || settle(false) {
			t := e.pop(now)
			if t == nil {
				break
			}
			e.fire(t)
		}
		ok = settle == nil || settle(true) && ok
		wait := time.Hour // the clock may be set meanwhile
		if !ok {
			wait = time.Second
		} else if at, ok := e.Due(); ok {
			wait = min(max(time.Duration(at-e.opt.Now())*time.Millisecond, time.Millisecond), time.Minute)
		}
		alarm.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-alarm.C:
		}
	}
}

// Wake has Run call settle, and look what is due.
func (e *Engine) Wake() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// fire runs the node of a timer.
func (e *Engine) fire(t *timer) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n := t.mem.node.Load()
	if is(t.word, "full") {
		e.flushing.Store(false)
	}
	s := e.shard(&t.who)
	lock(s)
	defer unlock(s)
	r := e.round(nil)
	var w waking
	if n != nil {
		w, _ = n.work.(waking)
	}
	if w == nil {
		r.release(t)
		return
	}
	r.n, r.t = n, t
	w.wake(r)
	r.t = nil
	r.run() // the message that went on at once, too
}

var errHeld = errorText("too many messages wait in windows and delays: the message is not kept")

// hold keeps a message in its node; an error means that there is no room. The node's memory then
// has it, and a timer or an answer brings it back.
func (r *round) hold(m *Message) error {
	e := r.e
	size := m.size()
	if e.sums.held.Load() >= int64(e.opt.MaxHeld) || e.sums.heldBytes.Load()+size > int64(e.opt.MaxHeldBytes) {
		e.flush(nil, &m.Originator)
		return errHeld
	}
	if j := r.j; j != nil {
		lock(&e.tick)
		e.seq++
		m.seq = e.seq
		unlock(&e.tick)
		if err := j.Keep(r.n.recordKey(m), m.record()); err != nil {
			return err
		}
	}
	e.sums.held.Add(1)
	e.sums.heldBytes.Add(size)
	r.rest(m)
	return nil
}

// rest takes a message that waits out of the round.
func (r *round) rest(m *Message) {
	if m.pushed { // what is in the queue stays counted; what waits is a message of its own
		m.pushed, m.from.pushed = false, true
		r.tally.Made++
		r.tally.Accepted++
	}
	o := m.from
	m.from = &origin{raw: o.raw, live: 1, odd: o.odd, pushed: o.pushed, called: o.called, replied: o.replied}
	o.odd, o.called, o.replied = false, true, true // the message that waits takes them along
	r.leave(o)
}

// unhold takes a message out of the round's node.
//
//go:noinline
func (r *round) unhold(m *Message) { r.e.unhold(r.j, r.n, m) }

// unhold takes a message out of a node.
func (e *Engine) unhold(j Journal, n *node, m *Message) {
	e.sums.held.Add(-1)
	e.sums.heldBytes.Add(-m.size())
	if j != nil && n != nil {
		if err := j.Forget(n.recordKey(m)); err != nil {
			e.out.Failed(n.name, err.Error())
		}
	}
}

// size is about how many bytes a message takes that waits, with what it was when it entered, and
// its place in the window and in the journal.
//
//go:noinline
func (m *Message) size() int64 {
	n := 512 + len(m.Type) + len(m.Data)
	for _, p := range m.Metadata {
		n += 32 + len(p.Key) + len(p.Value)
	}
	return int64(n)
}

// flush lets a window go at once: that of an originator, or, without a memory, the one that is the
// next to go.
func (e *Engine) flush(mem *memory, who *Entity) {
	if e.flushing.Swap(true) {
		return
	}
	lock(&e.tick)
	var oldest *timer
	at := 0
	for i, t := range e.timers {
		n := t.mem.node.Load()
		if n == nil || n.typ != windowType || mem != nil && (t.mem != mem || t.who != *who) || oldest != nil && oldest.before(t) {
			continue
		}
		oldest, at = t, i
	}
	if oldest != nil {
		oldest.at, oldest.word = 0, "full"
		e.up(at, oldest)
	} else {
		e.flushing.Store(false)
	}
	unlock(&e.tick)
	e.Wake()
}

// vanish has what waits in a node that is gone released, by Run. The plan is locked.
func (e *Engine) vanish(n *node, root bool) {
	mem := n.mem
	mem.was, mem.root = n, root
	mem.node.Store(nil)
	lock(&e.tick)
	for i, t := range e.timers { // what moves to the front leaves what was in front of it behind
		if t.mem == mem {
			delete(e.calls, t.call)
			t.call, t.at = 0, 0
			e.up(i, t)
		}
	}
	unlock(&e.tick)
	e.Wake()
}

// release deals with what waited in a node that is gone: through the root chain, or pushed as it
// is.
func (r *round) release(t *timer) {
	e, mem := r.e, t.mem
	var list []*Message
	if t.m != nil {
		list = addMessage(nil, t.m)
		e.unhold(r.j, mem.was, t.m)
	}
	lock(&mem.mu)
	p := mem.windows[t.who]
	delete(mem.windows, t.who)
	unlock(&mem.mu)
	if p != nil && t.m == nil {
		list = p.messages()
		e.gone(r.j, p, p.count, p.held, nil)
	}
	for _, m := range list {
		if c := e.chains[e.root]; mem.root && c != nil {
			r.enter(m, c)
			r.run()
			continue
		}
		o := m.from
		r.tally.Filtered++
		if !e.opt.Likeness && !o.pushed {
			r.save(o.raw, Vanished)
		}
	}
	r.count()
}
