package rules

import (
	"reflect"
	"strings"
	"sync/atomic"

	"edgesync/proto"
)

const (
	// MaxMetadata bounds the JSON of a chain, in bytes.
	MaxMetadata = 4 << 20
	// maxNodes and maxLinks bound a chain.
	maxNodes = 2000
	maxLinks = 20_000
	// maxRelations bounds the relations of a node.
	maxRelations = 256
	// maxChains bounds the chains of an edge.
	maxChains = 200

	typePrefix = "org.thingsboard.rule.engine."
)

// chain is a compiled chain. It does not change but for the counters and memory of its nodes.
type chain struct {
	id    proto.UUID
	name  string
	nodes []*node
	first *node // nil: every message is acknowledged
	ways  []Way // of plainTypes: of messages of a device
}

// node is a compiled node. What changes is in its memory.
type node struct {
	chain  *chain
	index  int        // in it
	id     proto.UUID // of the server; changes from save to save
	kind   *kind      // nil: an unknown type
	full   string     // the type
	typ    string     // without the common prefix
	name   string
	conf   string // canonical
	key    uint64 // of type, name, configuration and place among equals
	work   work
	period int64  // of a node that begins by itself: ms to its first timer
	hold   int64  // of a window: ms that it is open
	reason string // why work is nil
	links  []link
	mem    *memory
	plain  plainWork       // what it does without looking at a message
	scope  string          // of a push or a save, for a plain one
	types  map[string]bool // of a filter by type, for a plain one
}

// link are the connections of one relation.
type link struct {
	relation string
	to       []*node
	taken    *atomic.Uint32
}

// work is what a node does. Its fields are read from the configuration (config.fill).
type work interface {
	// do is what it does with the message of a round. It ends in one of the round's methods tell,
	// fail, end or hold, or in enqueue of what came of the message and then end.
	do(r *round)
}

// prepared is work that checks its configuration, or that the rest of the engine knows of.
type prepared interface{ prepare(n *node, c *config) }

// waking is work of a node whose timers fire.
type waking interface{ wake(r *round) }

// holding is work that takes back a message that it held before a restart.
type holding interface {
	again(e *Engine, n *node, m *Message)
}

// class says by which relations a node gives messages on, beside Failure, and so what is done
// instead of it where it is not executed (RULES.md 7.2).
type class uint8

const (
	filter  class = iota // True, False
	other                // Success
	several              // those of its configuration, or of its type
)

// never reports whether the node gives no message on by a relation, whatever comes.
func (n *node) never(relation string) bool {
	if n.work == nil || n.kind.class == several {
		return false
	}
	names := [...]string{"Failure", "Success", "Success"}
	if n.kind.class == filter {
		names[1], names[2] = "True", "False"
	}
	for _, name := range names {
		if strings.EqualFold(relation, name) {
			return false
		}
	}
	return true
}

// kind is a type of node.
type kind struct {
	typ     string
	version int64
	class   class
	work    work // without configuration; nil: it is not executed here
	plain   plainWork
}

// link returns the connections of a relation; nil if there are none.
//
//go:noinline
func (n *node) link(relation string) *link {
	for i := range n.links {
		if strings.EqualFold(n.links[i].relation, relation) {
			return &n.links[i]
		}
	}
	return nil
}

// connect adds a connection; false if the node has too many relations.
func (n *node) connect(relation string, to *node) bool {
	l := n.link(relation)
	if l == nil {
		if len(n.links) == maxRelations {
			return false
		}
		n.links = append(n.links, link{relation: relation, taken: new(atomic.Uint32)})
		l = &n.links[len(n.links)-1]
	}
	for _, t := range l.to {
		if t == to {
			return true
		}
	}
	l.to = addNode(l.to, to)
	return true
}

// metadata is the JSON of a chain as it is read.
type metadata struct {
	id    proto.UUID
	t     *tree
	nodes []*tree
}

func readMetadata(text []byte) (*metadata, error) {
	if len(text) > MaxMetadata {
		return nil,
			faultAt(filled("metadata of % bytes; at most % are executed", decimal(int64(len(text)))), MaxMetadata)
	}
	t, err := parseTree(string(text))
	if err != nil {
		return nil, err
	}
	if t.kind != isObject {
		return nil, errNoJSON
	}
	m := &metadata{t: t}
	if m.id = idOf(t.get("ruleChainId")); m.id == (proto.UUID{}) {
		return nil, fault("metadata without ruleChainId")
	}
	if nodes := t.get("nodes"); !nodes.null() && nodes.kind == isList {
		m.nodes = nodes.items
	}
	if len(m.nodes) > maxNodes {
		return nil,
			faultAt(filled("a chain of % nodes; at most % are executed", decimal(int64(len(m.nodes)))), maxNodes)
	}
	return m, nil
}

// idOf is the id of a reference {"entityType","id"}; zero if there is none.
func idOf(t *tree) (id proto.UUID) {
	if t = t.get("id"); t != nil && t.kind == isText {
		id, _ = proto.ParseUUID(t.text)
	}
	return id
}

// textOf is a member that is a text, else "".
//
//go:noinline
func textOf(t *tree, key string) string {
	if v := t.get(key); v != nil && v.kind == isText {
		return v.text
	}
	return ""
}

// compile makes a chain of metadata. An error refuses them as a whole (RULES.md 1.3).
func (m *metadata) compile() (*chain, error) {
	c := &chain{id: m.id}
	keys := make(map[uint64]bool)
	for i, t := range m.nodes {
		n := &node{chain: c, index: i, id: idOf(t.get("id")), name: textOf(t, "name"), mem: new(memory)}
		typ := textOf(t, "type")
		if typ == "" {
			return nil, faultAt("node % has no type", i)
		}
		n.full, n.typ = typ, strings.TrimPrefix(typ, typePrefix)
		n.compile(t)
		h := hash(14695981039346656037, n.typ, n.name, n.conf)
		for keys[h] {
			h = hash(h, "+")
		}
		n.key, keys[h] = h, true
		n.mem.node.Store(n)
		c.nodes = addNode(c.nodes, n)
	}
	if f, ok := m.t.get("firstNodeIndex").number(); ok {
		n := c.at(f)
		if n == nil {
			return nil, fault("firstNodeIndex names no node")
		}
		c.first = n
	}
	if err := m.connect(c); err != nil {
		return nil, err
	}
	c.findWays()
	return c, nil
}

//go:noinline
func (c *chain) at(f float64) *node {
	if i := int(f); f >= 0 && f == float64(i) && i < len(c.nodes) {
		return c.nodes[i]
	}
	return nil
}

func (m *metadata) connect(c *chain) error {
	links := m.t.get("connections")
	if links.null() {
		links = &tree{kind: isList}
	}
	if links.kind != isList || len(links.items) > maxLinks {
		return faultAt("connections are no list, or more than %", maxLinks)
	}
	for i, l := range links.items {
		from, _ := l.get("fromIndex").number()
		to, ok := l.get("toIndex").number()
		a, b := c.at(from), c.at(to)
		if !ok || l.get("fromIndex").null() || a == nil || b == nil {
			return faultAt("connection % leads from or to a node that is not there", i)
		}
		if !a.connect(textOf(l, "type"), b) {
			return faultAt("a node has more than % relations", maxRelations)
		}
	}
	// Servers before 3.4: a jump to another chain is a node of its own.
	jumps := m.t.get("ruleChainConnections")
	if jumps.null() || jumps.kind != isList {
		return nil
	}
	for _, l := range jumps.items {
		from, _ := l.get("fromIndex").number()
		a := c.at(from)
		target := idOf(l.get("targetRuleChainId"))
		if a == nil || target == (proto.UUID{}) || len(c.nodes) >= maxNodes {
			return fault("a connection to another chain leads nowhere")
		}
		n := &node{chain: c, index: len(c.nodes), name: "rule chain", mem: new(memory), typ: "flow.TbRuleChainInputNode"}
		n.full = typePrefix + n.typ
		n.compile(members("configurationVersion configuration", wholeTree(1),
			members("ruleChainId", textTree(proto.FormatUUID(target)))))
		n.key = hash(uint64(len(c.nodes)), n.typ, n.conf)
		n.mem.node.Store(n)
		c.nodes = addNode(c.nodes, n)
		if !a.connect(textOf(l, "type"), n) {
			return faultAt("a node has more than % relations", maxRelations)
		}
	}
	return nil
}

// compile makes the node's work of its type and configuration; reason says why there is none.
func (n *node) compile(t *tree) {
	conf := t.get("configuration")
	if conf.null() || conf.kind != isObject {
		conf = &tree{kind: isObject}
	}
	version, _ := t.get("configurationVersion").number()
	n.conf = conf.String() + decimal(int64(version)) + textOf(t, "queueName")
	if n.kind = kindOf(n.typ); n.kind == nil {
		n.reason = "the type is unknown"
		return
	}
	if n.kind.work == nil {
		n.reason = "the type is not executed here"
		return
	}
	if int64(version) < n.kind.version {
		upgrade(n.typ, int64(version), conf)
	}
	c := &config{t: conf}
	v := reflect.New(reflect.TypeOf(n.kind.work).Elem())
	c.fill(v.Elem())
	w := v.Interface().(work)
	n.plain = n.kind.plain
	if p, ok := w.(prepared); ok {
		p.prepare(n, c)
	}
	if c.err != nil {
		n.reason, n.plain, n.period = c.err.Error(), plainNothing, 0
		return
	}
	n.work = w
}

func kindOf(typ string) *kind {
	for i := range kinds {
		if kinds[i].typ == typ {
			return &kinds[i]
		}
	}
	return nil
}

// hash goes on with an FNV-1a hash; texts are divided from each other.
//
//go:noinline
func hash(h uint64, texts ...string) uint64 {
	for _, s := range texts {
		for i := 0; i < len(s); i++ {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

// equal reports whether two chains are made of the same nodes and connections, by position
// (RULES.md 7.7). Ids of nodes do not count.
func (c *chain) equal(d *chain) bool {
	if len(c.nodes) != len(d.nodes) || c.first.place() != d.first.place() {
		return false
	}
	for i, n := range c.nodes {
		o := d.nodes[i]
		if n.key != o.key || n.conf != o.conf || n.name != o.name || len(n.links) != len(o.links) {
			return false
		}
		for _, l := range n.links {
			k := o.link(l.relation)
			if k == nil || len(k.to) != len(l.to) {
				return false
			}
			for j := range l.to {
				if l.to[j].index != k.to[j].index {
					return false
				}
			}
		}
	}
	return true
}

// place is the node's index; -1 of none.
//
//go:noinline
func (n *node) place() int {
	if n == nil {
		return -1
	}
	return n.index
}

// succeed takes over what a node remembers that this one is in place of, and its counters.
func (n *node) succeed(old *node) {
	n.mem = old.mem
	n.mem.node.Store(n)
	for i := range n.links {
		if l := old.link(n.links[i].relation); l != nil {
			n.links[i].taken = l.taken
		}
	}
}

// byKey is the node with a key; nil if there is none.
//
//go:noinline
func (c *chain) byKey(key uint64) *node {
	for _, n := range c.nodes {
		if n.key == key {
			return n
		}
	}
	return nil
}
