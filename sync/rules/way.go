package rules

import "edgesync/proto"

// Way is what becomes of a device's message of one type, as far as its chain alone decides it. If
// Run is false, the message need not be decoded: its values are stored if Save is true, go to the
// cloud unchanged if Push is true, attributes in Scope, and nothing else happens. A message
// without values is always run. Call: a call for a device goes to the device, and nothing waits for
// its answer.
type Way struct {
	Run, Save, Push, Call bool
	Scope                 string
	steps                 *[]step // the nodes that the message comes to; nil if it is run
}

// step is a node on a way, and the relation by which the way leaves it; nil: it ends there.
type step struct {
	node *node
	link *link
}

// Count counts a message that takes the way without being run where a run would have counted it: at
// its nodes. People look there for what a chain does.
func (w *Way) Count() {
	if w.steps == nil {
		return
	}
	for _, s := range *w.steps {
		s.node.mem.in.Add(1)
		if s.link != nil {
			s.link.taken.Add(1)
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
// false if no chain is known. It does not allocate.
func (e *Engine) WayOf(profile proto.UUID, typ string) (w *Way, ok bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var c *chain
	if profile != (proto.UUID{}) {
		c = e.chains[profile]
	}
	if c == nil {
		if c = e.chains[e.root]; c == nil {
			return &runWay, false
		}
	}
	if w = c.ways[typ]; w == nil {
		w = &runWay
	}
	return w, true
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
	c.ways = make(map[string]*Way, len(plainTypes))
	for _, typ := range plainTypes {
		var steps []step
		if w := c.wayOf(typ, &steps); !w.Run {
			w.steps = &steps
			c.ways[typ] = &w
		}
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
