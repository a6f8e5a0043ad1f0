package rules

import (
	"sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// Options are what a user decides of an engine.
type Options struct {
	// Drop ends a message whose node failed, as a real edge does; else the original of a device's
	// telemetry or attributes is pushed (RULES.md 7.2).
	Drop bool
	// Likeness does nothing that a real edge would not do: no message passes a node that is not
	// executed, nothing is done instead of a chain.
	Likeness bool
	// MaxHeld and MaxHeldBytes bound what waits in all windows, delays and calls; 100,000 messages
	// and 4 MiB if 0.
	MaxHeld, MaxHeldBytes int
	// Now is the clock, in ms since the epoch.
	Now func() int64
	// Zone is that of dates in scripts; UTC if nil.
	Zone *time.Location
	// Journal keeps what nodes hold; nil: nothing survives a restart.
	Journal Journal
}

// shards divide originators, by their ids.
const shards = 16

// defaultLimit are the executions of nodes for one message, unless the tenant's profile says
// fewer.
const defaultLimit = 200

// Engine executes chains. Any goroutine may call its methods. Handle runs a message in the
// goroutine that brings it; Run owns windows, delays, generators and time. Locks in the order in
// which they are taken: mu, one of shards, the lock of a node's memory, tick.
type Engine struct {
	reg Registry
	out Outlet
	opt Options

	mu     sync.RWMutex // of the plan: held for reading by each round
	chains map[proto.UUID]*chain
	names  map[proto.UUID]string
	root   proto.UUID
	first  atomic.Pointer[chain] // the root chain, for those who ask for a way

	shards [shards]sync.Mutex // the messages of an originator run in order
	limit  atomic.Int32
	rounds sync.Pool // of *round
	clock  func() time.Time
	sums   sums
	// flushing is true from when a window is to go early until it went.
	flushing atomic.Bool
	cells    atomic.Int64 // cost of what nodes remember

	tick   sync.Mutex // guards what follows
	timers []*timer   // a heap
	seq    uint32
	calls  map[uint32]*timer
	// lastCall is the id of the last call.
	lastCall uint32
	wake     chan struct{}
}

// sums count messages. received + made = accepted + filtered + held + merged, while none is on
// its way.
type sums struct {
	_                                                               uncompared
	received, made, accepted, filtered, merged, safety, failed, odd atomic.Uint64
	held, heldBytes                                                 atomic.Int64
}

// Sums are the counters of an engine: Received and Made messages are as many as those that are
// Accepted (pushed at least once), Filtered (a chain ended them without), Held in nodes, or
// Merged into others by a window. Safety are originals that were pushed instead, Failed messages
// that ended with a failure, Unsupported those that met a node which is not executed.
type Sums struct {
	Received, Made, Accepted, Filtered, Merged, Safety, Failed, Unsupported uint64
	Held, HeldBytes                                                         int64
}

// New makes an engine without chains. opt.Now is needed.
func New(reg Registry, out Outlet, opt Options) *Engine {
	if opt.MaxHeld == 0 {
		opt.MaxHeld = 100_000
	}
	if opt.MaxHeldBytes == 0 {
		opt.MaxHeldBytes = 4 << 20
	}
	e := &Engine{
		reg: reg, out: out, opt: opt,
		chains: make(map[proto.UUID]*chain), names: make(map[proto.UUID]string),
		calls: make(map[uint32]*timer), wake: make(chan struct{}, 1),
	}
	e.clock = func() time.Time { return moment(e.opt.Now()) }
	e.rounds.New = func() any { return new(round) }
	e.limit.Store(defaultLimit)
	return e
}

// SetLimit sets the executions of nodes for one message, as the tenant's profile has them; 0
// means the default, 200, and more than 10,000 are not taken.
func (e *Engine) SetLimit(n int) {
	if n <= 0 {
		n = defaultLimit
	}
	e.limit.Store(int32(min(n, 10_000)))
}

// Head takes the JSON of a RuleChainUpdateMsg.
func (e *Engine) Head(text []byte) error {
	if len(text) > MaxMetadata {
		return faultAt("a rule chain's head of % bytes", len(text))
	}
	t, err := parseTree(string(text))
	if err != nil {
		return faultOn("head of a rule chain: %", err.Error())
	}
	id := idOf(t.get("id"))
	if id == (proto.UUID{}) {
		return fault("head of a rule chain without id")
	}
	e.mu.Lock()
	defer e.unlock()
	if _, ok := e.names[id]; !ok && len(e.names) >= maxChains {
		return faultAt("more than % rule chains: unassign some", maxChains)
	}
	name := textOf(t, "name")
	e.names[id] = name
	if c := e.chains[id]; c != nil {
		c.name = name
	}
	if r := t.get("root"); r != nil && r.kind == isTrue {
		e.root = id
	}
	return nil
}

// SetRoot names the root chain, as an EdgeUpdateMsg does.
func (e *Engine) SetRoot(id proto.UUID) {
	e.mu.Lock()
	e.root = id
	e.unlock()
}

// Metadata takes the JSON of a RuleChainMetadataUpdateMsg. changed is false if the chain is as it
// was: then everything goes on (RULES.md 7.7). With an error the former chain stays.
func (e *Engine) Metadata(text []byte) (changed bool, err error) {
	m, err := readMetadata(text)
	if err != nil {
		return false, faultOn("rule chain: %", err.Error())
	}
	c, err := m.compile()
	if err != nil {
		return false, fault("rule chain " + proto.FormatUUID(m.id) + ": " + err.Error())
	}
	e.mu.Lock()
	old := e.chains[c.id]
	if old != nil && (len(c.nodes) == 0 || old.equal(c)) {
		e.mu.Unlock()
		return false, nil // a real edge ignores empty metadata (RULES.md 1.3)
	}
	if old == nil && len(e.chains) >= maxChains {
		e.mu.Unlock()
		return false, faultAt("more than % rule chains: unassign some", maxChains)
	}
	c.name = e.names[c.id]
	e.chains[c.id] = c
	if old != nil {
		old.tell(true)
		for _, n := range old.nodes {
			if next := c.byKey(n.key); next != nil && next.work != nil {
				next.succeed(n)
				continue
			}
			e.dropCells(n)
			e.vanish(n, false)
		}
	}
	for _, n := range c.nodes {
		if n.mem.begun.CompareAndSwap(false, true) && n.period > 0 {
			e.after(e.opt.Now()+n.period, n.mem, &Entity{Type: "RULE_NODE", ID: n.id}, nil)
		}
	}
	e.unlock()
	return true, nil
}

// Delete forgets a chain. What waits in its nodes runs through the root chain.
func (e *Engine) Delete(id proto.UUID) {
	e.mu.Lock()
	c := e.chains[id]
	delete(e.chains, id)
	delete(e.names, id)
	if e.root == id {
		e.root = proto.UUID{}
	}
	if c != nil {
		for _, n := range c.nodes {
			e.dropCells(n)
			e.vanish(n, true)
		}
	}
	e.unlock()
}

// chainOf is the chain of an entity's messages (RULES.md 1.6); nil if there is none. The plan is
// held.
func (e *Engine) chainOf(who *Entity) *chain {
	root := e.first.Load()
	if root != nil && len(e.chains) == 1 {
		return root // no profile can name another one
	}
	switch who.Type {
	case "DEVICE", "ASSET", "DEVICE_PROFILE", "ASSET_PROFILE":
		if _, id, ok := e.reg.Profile(who); ok {
			if c := e.chains[id]; c != nil {
				return c
			}
		}
	}
	return root
}

// Handle runs a message. known is false if no chain is known: the caller then does what the
// default chain does. An error says that the message is lost: the device must not be told that it
// is kept. What comes of the message goes to out, and what nodes keep of it too, if out is a
// Journal; nil: to the engine's own.
func (e *Engine) Handle(m *Message, out Outlet) (known bool, err error) {
	e.mu.RLock()
	s := e.shard(&m.Originator)
	lock(s)
	defer e.release(s)
	c := e.chainOf(&m.Originator)
	if c == nil {
		if out == nil {
			out = e.out
		}
		out.Dropped(m)
		return false, nil
	}
	r := e.round(out)
	r.tally.Received++
	r.enter(m, c)
	r.run()
	err = r.err
	r.close()
	return true, err
}

// release ends what holds the plan and a shard.
func (e *Engine) release(s *sync.Mutex) {
	unlock(s)
	e.mu.RUnlock()
}

//go:noinline
func (e *Engine) shard(who *Entity) *sync.Mutex { return &e.shards[who.ID[15]%shards] }

// Answer brings the answer of a device to a call: its text, or an error's word, as TIMEOUT.
func (e *Engine) Answer(id uint32, answer, word string) {
	t := e.answered(id)
	if t != nil {
		t.answer, t.word = answer, word
		e.fire(t)
	}
}

// Sums are the counters.
func (e *Engine) Sums() Sums {
	s := &e.sums
	return Sums{
		s.received.Load(), s.made.Load(), s.accepted.Load(), s.filtered.Load(), s.merged.Load(),
		s.safety.Load(), s.failed.Load(), s.odd.Load(), s.held.Load(), s.heldBytes.Load(),
	}
}

// env is the world of scripts.
//
//go:noinline
func (e *Engine) env() script.Env {
	return script.Env{Now: e.clock, Zone: e.opt.Zone}
}

//go:noinline
func moment(ms int64) time.Time { return time.UnixMilli(ms) }
