package rules

import (
	"sync/atomic"

	"edgesync/proto"
)

// Way is what becomes of a device's message of one type, as far as its chain alone decides it. If
// Run is false, the message need not be decoded: its values are stored if Save is true, go to the
// cloud unchanged if Push is true, attributes in Scope, and nothing else happens. A message
// without values is always run. Call: a call for a device goes to the device, and nothing waits for
// its answer.
type Way struct {
	Run, Save, Push, Call bool
	Scope                 string
	steps                 *steps // the nodes that the message comes to; nil if it is run
}

// step is a node on a way, and the relation by which the way leaves it; nil: it ends there.
type step struct {
	node *node
	link *link
}

// steps are those of a way, and how many messages have taken it since they were last told to the
// nodes.
type steps struct {
	list  []step
	taken atomic.Pointer[taken] // nil: none ever did
	gone  atomic.Bool           // another chain is in place of the way's
}

// taken counts messages apart for each shard of originators: writers that count at one place wait
// for each other's cache lines, which costs more than all else that a way costs.
type taken [shards]struct {
	n atomic.Uint32
	_ [60]byte
}

// Count counts a message of a device that takes the way without being run where a run would have
// counted it: at its nodes. People look there for what a chain does.
func (w *Way) Count(device proto.UUID) {
	s := w.steps
	if s == nil {
		return
	}
	t := s.taken.Load()
	if t == nil {
		s.taken.CompareAndSwap(nil, new(taken))
		t = s.taken.Load()
	}
	t[device[15]%shards].n.Add(1)
	if s.gone.Load() { // the last look at the way may have been before
		s.tell()
	}
}

// tell adds to the nodes' counters what has taken the way.
func (s *steps) tell() {
	t := s.taken.Load()
	if t == nil {
		return
	}
	n := uint32(0)
	for i := range t {
		n += t[i].n.Swap(0)
	}
	for _, p := range s.list {
		p.node.mem.in.Add(n)
		if p.link != nil {
			p.link.taken.Add(n)
		} else if len(p.node.links) > 0 {
			p.node.mem.ended.Add(n)
		}
	}
}

// tell brings the counters of the chain's nodes up to date. gone: nobody will look again.
func (c *chain) tell(gone bool) {
	for i := range c.ways {
		if s := c.ways[i].steps; s != nil {
			s.gone.Store(gone)
			s.tell()
		}
	}
}

// plainWork is what a node does that needs no look at the message.
type plainWork uint8

const (
	plainNothing    plainWork = iota // it must be run
	plainPass                        // Success
	plainSwitch                      // the relation of the message's type
	plainFilter                      // True or False by type
	plainSeries                      // stores series
	plainAttributes                  // stores attributes
	plainPush
	plainCall // calls the device
	plainEnd
)

// plainTypes are the types of messages whose way can be plain.
var plainTypes = [...]string{
	PostTelemetry, PostAttributes, CallFromDevice, CallToDevice, AttributesUpdated,
	"CONNECT_EVENT", "DISCONNECT_EVENT", "ACTIVITY_EVENT", "INACTIVITY_EVENT",
}

// runWay is the way of all that is not known beforehand.
var runWay = Way{Run: true}

// WayOf is the way of a message of a device whose profile names a chain, which may be zero; ok is
// false if no chain is known. It does not allocate, and takes no lock for what names no chain.
func (e *Engine) WayOf(profile proto.UUID, typ string) (w *Way, ok bool) {
	c := e.first.Load()
	if profile != (proto.UUID{}) {
		e.mu.RLock()
		if own := e.chains[profile]; own != nil {
			c = own
		}
		e.mu.RUnlock()
	}
	if c == nil {
		return &runWay, false
	}
	for i := range plainTypes {
		if plainTypes[i] == typ {
			return &c.ways[i], true
		}
	}
	return &runWay, true
}

// unlock ends a change of the plan.
func (e *Engine) unlock() {
	e.first.Store(e.chains[e.root])
	e.mu.Unlock()
}

// Passed counts n messages that took a way without being run.
func (e *Engine) Passed(w *Way, n int) Tally {
	t := Tally{Received: n, Filtered: n}
	if w.Push {
		t.Accepted, t.Filtered = n, 0
	}
	e.add(t)
	return t
}

func (c *chain) findWays() {
	for _, typ := range plainTypes {
		var list []step
		w := c.wayOf(typ, &list)
		if !w.Run {
			w.steps = &steps{list: list}
		}
		c.ways = append(c.ways, w)
	}
}

// wayOf follows a message type from the first node as long as the way does not fork.
func (c *chain) wayOf(typ string, steps *[]step) (w Way) {
	n := c.first
	for range maxWay {
		if n == nil {
			return w
		}
		*steps = append(*steps, step{node: n})
		relation := "Success"
		switch n.plain {
		case plainNothing:
			return runWay
		case plainEnd:
			return w
		case plainSwitch:
			relation = relationOf(typ)
		case plainFilter:
			relation = "False"
			if n.types[typ] {
				relation = "True"
			}
		case plainSeries:
			if typ != PostTelemetry || w.Save || w.Push {
				return runWay
			}
			w.Save = true
		case plainAttributes:
			if typ != PostAttributes || w.Save || w.Push || n.scope != "CLIENT_SCOPE" {
				return runWay
			}
			w.Save = true
		case plainPush:
			if typ != PostTelemetry && typ != PostAttributes && typ != AttributesUpdated || w.Push {
				return runWay
			}
			w.Push = true
			if typ != PostTelemetry {
				w.Scope = n.scope
			}
		case plainCall:
			if typ != CallToDevice || n.link(relation) != nil || n.link("Failure") != nil {
				return runWay
			}
			w.Call = true
			return w
		}
		l := n.link(relation)
		if l == nil {
			if typ == CallFromDevice || typ == CallToDevice {
				return runWay // nothing has answered or called (RULES.md 7.2)
			}
			return w
		}
		if len(l.to) != 1 {
			return runWay
		}
		(*steps)[len(*steps)-1].link = l
		n = l.to[0]
	}
	return runWay
}

// maxWay bounds the nodes of a plain way; a circle is run.
const maxWay = 32
