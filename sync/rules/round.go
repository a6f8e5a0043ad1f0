package rules

import (
	"strings"

	"edgesync/sync/rules/script"
)

// roundLimit is how many times the limit of one message all that comes of it may execute nodes:
// copies that make copies end somewhere.
const roundLimit = 20

// round is the way of one message, and of what comes of it, through the chains. One goroutine has
// it, with the plan held for reading and the originator's shard locked.
type round struct {
	e     *Engine
	out   Outlet   // where what comes of it goes
	j     Journal  // nil: nothing survives a restart
	l     Ledger   // nil: what comes of the message is not refused any more
	tally Tally    // of this round, less what is in the sums
	n     *node    // that is executed
	m     *Message // that it has
	at    *node    // where the message goes on at once; nil: it does not
	t     *timer   // what woke the node; nil: a message did
	queue []item
	next  int // of queue
	left  int
	to    []*node    // scratch
	event Event      // scratch
	doc   script.Doc // scratch: the data that the last script has read; no message refers to it
	notes []*Note    // of what nodes remember
	was   []byte     // the record of the cell that was taken last; nil: it was made
	err   error      // what could not be kept of a message
}

// item is a message that waits in a round: for a node, or to be given on by a node.
type item struct {
	_        uncompared
	m        *Message
	n        *node
	relation string // if not "", n gives the message on by it
}

// round begins one. out is where what comes of it goes; nil: the engine's own.
//
//go:noinline
func (e *Engine) round(out Outlet) *round {
	r := e.rounds.Get().(*round)
	r.e, r.out, r.j, r.left = e, out, e.opt.Journal, roundLimit*int(e.limit.Load())
	if out == nil {
		r.out = e.out
	} else if j, ok := out.(Journal); ok {
		r.j = j
		r.l, _ = out.(Ledger)
	}
	return r
}

// close gives back the round, of which nobody knows any more.
func (r *round) close() {
	if e := r.e; cap(r.queue) <= 64 && cap(r.to) <= 64 {
		r.doc.Forget()
		// What stays refers to no message. To write all anew would cost more than a node does.
		r.queue, r.next, r.tally = r.queue[:0], 0, Tally{}
		r.m, r.t, r.was, r.err, r.event = nil, nil, nil, nil, Event{}
		r.out, r.j, r.l = nil, nil, nil
		e.rounds.Put(r)
	}
}

// enter brings a message to the beginning of a chain.
func (r *round) enter(m *Message, c *chain) {
	m.owned = false // the copy has Metadata too
	in := &entered{raw: *m}
	in.list[0] = &in.raw
	in.origin = origin{raw: in.list[:], live: 1, pushed: m.Up}
	m.from = &in.origin
	m.pushed = m.Up
	if c == nil || c.first == nil { // an empty chain acknowledges everything
		if c == nil {
			r.out.Dropped(m)
		}
		r.done(m)
		return
	}
	r.wait(m, c.first, "")
}

// entered is a message as it entered, with its origin.
type entered struct {
	origin
	raw  Message
	list [1]*Message
}

// make brings a message that a node has made into the chain of its originator.
func (r *round) make(m *Message) {
	r.tally.Made++
	m.count = r.m.count // so that a message that makes itself again ends
	r.enter(m, r.e.chainOf(&m.Originator))
}

// enqueue gives a message on by a relation, behind what waits. A message that is not r.m is new.
func (r *round) enqueue(m *Message, relation string) {
	if m != r.m {
		r.tally.Made++
		m.from.live++
		m.pushed = false // it is not in the queue
	}
	r.wait(m, r.n, relation)
}

// wait puts a message behind what waits: for a node, or to be given on by it.
//
//go:noinline
func (r *round) wait(m *Message, n *node, relation string) {
	r.queue = append(r.queue, item{m: m, n: n, relation: relation})
}

// run executes nodes until no message waits. A fault of the engine ends its message, not the agent.
func (r *round) run() {
	for !r.goOn() {
	}
	for _, n := range r.notes {
		r.j.Note(n)
	}
	r.notes = nil
	r.count()
}

// goOn is run until the first fault; done is true if there was none.
func (r *round) goOn() (done bool) {
	defer r.caught()
	for {
		for r.at != nil {
			r.n, r.at = r.at, nil
			r.execute()
		}
		if r.next == len(r.queue) {
			r.queue, r.next = r.queue[:0], 0
			return true
		}
		it := r.queue[r.next]
		r.queue[r.next] = item{}
		r.next++
		r.m, r.at = it.m, it.n
		if it.relation != "" {
			r.n, r.at = it.n, nil
			r.tell(it.relation)
		}
	}
}

// execute runs the node on the message.
func (r *round) execute() {
	n, m := r.n, r.m
	n.mem.in.Add(1)
	limit := r.e.limit.Load()
	m.count++
	r.left--
	switch {
	case m.count > limit:
		r.over("Message is processed by more than " + decimal(int64(limit)) + " rule nodes!")
	case r.left < 0:
		r.over("One message made more than " + decimal(roundLimit*int64(limit)) + " executions of rule nodes!")
	case n.work == nil:
		r.pass()
	default:
		n.work.do(r)
	}
}

func (r *round) caught() {
	if p := recover(); p != nil {
		text := "a fault of the engine"
		if err, ok := p.(error); ok {
			text += ": " + err.Error()
		}
		r.at = nil
		r.over(text)
	}
}

// pass goes on behind a node that is not executed (RULES.md 7.2).
func (r *round) pass() {
	n := r.n
	r.m.from.odd = true
	count(&r.e.sums.odd)
	r.out.Unsupported(n.name, n.full, r.m)
	if r.e.opt.Likeness {
		if n.kind != nil && n.kind.work != nil {
			r.over("Rule Node is not active! Failed to initialize.")
			return
		}
		r.end()
		return
	}
	first, second := "Success", "True"
	if n.kind != nil && n.kind.class == filter {
		first, second = second, first
	}
	switch {
	case n.link(first) != nil:
		r.tell(first)
	case n.link(second) != nil:
		r.tell(second)
	default:
		var names []string
		for i := range n.links {
			if name := n.links[i].relation; name != "Failure" {
				names = addString(names, name)
			}
		}
		r.tell(names...)
	}
}

// tell gives the message on by relations: at once where there is one connection, as copies behind
// what waits where there are several.
func (r *round) tell(names ...string) {
	r.to = r.to[:0]
	left := len(names) // to be found: mostly there is one, of a switch's many links
	for i := 0; i < len(r.n.links) && left > 0; i++ {
		l := &r.n.links[i]
		for _, name := range names {
			if strings.EqualFold(name, l.relation) {
				l.taken.Add(1)
				r.to = append(r.to, l.to...)
				left--
				break
			}
		}
	}
	switch len(r.to) {
	case 0:
		for _, name := range names {
			if is(name, "Failure") { // which a script or an output may name
				r.over("the relation Failure leads nowhere")
				return
			}
		}
		if len(r.n.links) > 0 {
			r.n.mem.ended.Add(1)
		}
		r.done(r.m)
	case 1:
		r.at = r.to[0]
	default:
		m := r.m
		for i, n := range r.to {
			c := m
			if i > 0 {
				c = m.copyOf()
				c.pushed = false // it is not in the queue
				m.from.live++
				r.tally.Made++
			}
			r.wait(c, n, "")
		}
		m.owned = false
	}
}

// fail is the node's failure: relation Failure, or the message's end.
func (r *round) fail(text string) {
	if r.n.link("Failure") != nil {
		r.n.mem.failure(r.e.opt.Now(), text)
		r.tell("Failure")
		return
	}
	r.over(text)
}

// failOn is the same with a word in the place of the text's %.
//
//go:noinline
func (r *round) failOn(text, word string) { r.fail(filled(text, word)) }

// over ends the message with a failure that no connection takes.
func (r *round) over(text string) {
	r.n.mem.failure(r.e.opt.Now(), text)
	r.out.Failed(r.n.name, text)
	count(&r.e.sums.failed)
	r.m.from.failed = true
	r.done(r.m)
}

// check fails with an error; ok is true if there is none.
func (r *round) check(err error) (ok bool) {
	if err != nil {
		r.fail(err.Error())
	}
	return err == nil
}

// end finishes the message.
//
//go:noinline
func (r *round) end() { r.done(r.m) }

func (r *round) done(m *Message) {
	if m.pushed {
		r.tally.Accepted++
	} else {
		r.tally.Filtered++
	}
	r.leave(m.from)
}

// leave takes a message off its origin; the last one settles what is left to do.
func (r *round) leave(o *origin) {
	if o.live--; o.live > 0 || r.e.opt.Likeness || len(o.raw) == 0 {
		return
	}
	raw := o.raw[0]
	switch {
	case raw.Type == CallToDevice && !o.called:
		r.instead(raw, NotCalled)
	case raw.Type == CallFromDevice && !o.replied && !o.pushed:
		r.instead(raw, NotAnswered)
	case o.pushed:
	case o.odd:
		r.save(o.raw, Unreached)
	case o.failed && !r.e.opt.Drop:
		r.save(o.raw, AfterFailure)
	}
}

// save pushes original messages, if they are telemetry or attributes of a device. What came of
// them was counted as filtered, once, and now is not.
func (r *round) save(raw []*Message, why Why) {
	first := true
	for _, m := range raw {
		if m.Originator.Type == "DEVICE" && (m.Type == PostTelemetry || m.Type == PostAttributes) {
			if first {
				r.tally.Filtered--
			} else {
				r.tally.Made++
			}
			first = false
			r.tally.Accepted++
			r.tally.Safety++
			r.instead(m, why)
		}
	}
}

func (r *round) instead(m *Message, why Why) {
	if err := r.out.Instead(m, why); err != nil && r.err == nil {
		r.err = err
	}
}

func (m *memory) failure(now int64, text string) {
	m.failed.Add(1)
	lock(&m.mu)
	m.last, m.lastAt = text, now
	unlock(&m.mu)
}
