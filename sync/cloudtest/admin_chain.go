package cloudtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgesync/proto"
)

// MaxChain bounds the JSON of a rule chain, in bytes.
const MaxChain = 4 << 20

// Chain is a rule chain of type EDGE.
type Chain struct {
	ID   proto.UUID
	Name string
	Root bool // of the edge that was asked for
}

// SaveChain stores a rule chain of type EDGE as ThingsBoard's user interface exports it,
// {"ruleChain","metadata"}: a new one under a zero id, else the chain with that id, of which either
// member may be missing. A node without an id gets a new one. Each edge that has the chain gets
// head and metadata, also if nothing has changed (RULES.md 1.1).
func (c *Cloud) SaveChain(id proto.UUID, export []byte) (proto.UUID, error) {
	id, edges, gone, err := c.Tenant().saveChain(id, export, time.Now())
	for _, edge := range edges {
		for _, m := range gone {
			c.enqueue(edge, m, keepByKind)
		}
		c.enqueue(edge, c.Tenant().chainDown(edge, id, updated), keepByKind)
	}
	return id, err
}

// AssignChain assigns a rule chain to an edge.
func (c *Cloud) AssignChain(edge, chain proto.UUID) error {
	if err := c.Tenant().assignChain(edge, chain, false); err != nil {
		return err
	}
	c.enqueue(edge, c.Tenant().chainDown(edge, chain, created), keepByKind)
	return nil
}

// SetRootChain makes a rule chain the root of an edge and assigns it. The edge gets an
// EdgeUpdateMsg at once and then the chain, and nothing of the former root (RULES.md 1.4).
func (c *Cloud) SetRootChain(edge, chain proto.UUID) error {
	if err := c.Tenant().assignChain(edge, chain, true); err != nil {
		return err
	}
	if s := c.sessionOf(edge); s != nil {
		s.edgeUpdate()
	}
	c.enqueue(edge, c.Tenant().chainDown(edge, chain, updated), keepByKind)
	return nil
}

// UnassignChain takes a rule chain from an edge. It is an error for the root.
func (c *Cloud) UnassignChain(edge, chain proto.UUID) error {
	if err := c.Tenant().unassignChain(edge, chain); err != nil {
		return err
	}
	c.enqueue(edge, deletedDown(ref{typeRuleChain, chain}), keepByKind)
	return nil
}

// DeleteChain deletes a rule chain; every edge of the tenant gets the event, whether it has the
// chain or not (RULES.md 1.1).
func (c *Cloud) DeleteChain(chain proto.UUID) { c.enqueueAll(c.Tenant().deleteChain(chain)) }

// Chains lists the rule chains of an edge in the order in which they were assigned.
func (t *Tenant) Chains(edge proto.UUID) (list []Chain) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if st := t.edges[edge]; st != nil {
		for _, r := range t.chainsOf(st) {
			list = append(list, Chain{r.id, r.name, r.id == st.root})
		}
	}
	return list
}

// RootChain is the chain that a new edge has as its root.
func (t *Tenant) RootChain() proto.UUID { return t.rootChain }

// chainsOf are the rule chains of an edge in the order in which they were assigned.
func (t *Tenant) chainsOf(st *edgeState) (list []*record) {
	for _, id := range t.order[typeRuleChain] {
		if r := t.find(typeRuleChain, id); r.assigned(st.ID) && !slices.Contains(st.chains, id) {
			list = append(list, r)
		}
	}
	for _, id := range st.chains {
		if r := t.find(typeRuleChain, id); r != nil && r.assigned(st.ID) {
			list = append(list, r)
		}
	}
	return list
}

func (t *Tenant) chainDown(edge, chain proto.UUID, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, r := t.edges[edge], t.find(typeRuleChain, chain)
	if st == nil || r == nil {
		return nil
	}
	return ruleChainDown(r, chain == st.root, typ)
}

// words is an error in the server's own words.
type words string

func (w words) Error() string { return "cloudtest: " + string(w) }

var (
	errNoChain = errors.New("cloudtest: no such rule chain")
	errExport  = errors.New(`cloudtest: no rule chain's export: it is an object with "ruleChain" and "metadata"`)
)

// saveChain does what Cloud.SaveChain says. edges are those that have the chain, gone the relations
// to chains that it calls no more.
func (t *Tenant) saveChain(id proto.UUID, export []byte, now time.Time,
) (_ proto.UUID, edges []proto.UUID, gone []*proto.DownlinkMsg, err error) {
	var o struct {
		RuleChain object `json:"ruleChain"`
		Metadata  object `json:"metadata"`
	}
	switch {
	case len(export) > MaxChain:
		return id, nil, nil, fmt.Errorf("cloudtest: a rule chain of %d bytes: at most %d", len(export), MaxChain)
	case json.Unmarshal(export, &o) != nil || o.RuleChain == nil && (o.Metadata == nil || id == (proto.UUID{})):
		return id, nil, nil, errExport
	}
	if err := circles(o.Metadata); err != nil {
		return id, nil, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeRuleChain, id)
	if r == nil {
		if id != (proto.UUID{}) {
			return id, nil, nil, errNoChain
		}
		r = newRecord(ref{typeRuleChain, t.newID(now)})
		r.set("createdTime", millisText(now))
		r.set("tenantId", idJSON(ref{typeTenant, t.id}))
	}
	if o.RuleChain != nil {
		name := o.RuleChain.text("name")
		if name == "" {
			return id, nil, nil, words("Rule chain name should be specified!")
		}
		t.rename(r, name)
		r.set("name", quoted(name))
		if info := o.RuleChain.given("additionalInfo"); info != nil {
			r.set("additionalInfo", string(info))
		}
	}
	if o.Metadata != nil {
		before := calledChains(r)
		u := &uplink{t: t, now: now}
		if err := u.storeNodes(r, o.Metadata, ""); err != nil {
			return id, nil, nil, fmt.Errorf("cloudtest: %w", err)
		}
		r.set("firstRuleNodeId", firstNode(r))
		after := calledChains(r)
		for _, to := range before {
			if !slices.Contains(after, to) {
				rel := relation{relationKey{r.ref, ref{typeRuleChain, to}, "Uses", "COMMON"}, "null"}
				m := &proto.RelationUpdateMsg{MsgType: deleted, Entity: rel.marshal()}
				gone = append(gone, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{m}})
			}
		}
	}
	t.insert(r)
	return r.id, slices.Clone(r.edges), gone, nil
}

// nodes are the nodes and connections of a chain's metadata, as far as this cloud looks at them.
type nodes struct {
	First *int `json:"firstNodeIndex"`
	Nodes []struct {
		ID            json.RawMessage `json:"id"`
		Type          string          `json:"type"`
		Configuration struct {
			Chain string `json:"ruleChainId"`
		} `json:"configuration"`
	} `json:"nodes"`
	Connections []struct {
		From int `json:"fromIndex"`
		To   int `json:"toIndex"`
	} `json:"connections"`
}

func nodesOf(r *record) (n nodes) {
	_ = json.Unmarshal([]byte("{"+string(r.metadata)+"}"), &n)
	return n
}

// firstNode is the reference to the first node of a chain, or null.
func firstNode(r *record) string {
	if n := nodesOf(r); n.First != nil && *n.First >= 0 && *n.First < len(n.Nodes) {
		return string(n.Nodes[*n.First].ID)
	}
	return "null"
}

// calledChains are the chains that the nodes of a chain call.
func calledChains(r *record) (list []proto.UUID) {
	for _, n := range nodesOf(r).Nodes {
		if id, ok := proto.ParseUUID(n.Configuration.Chain); ok && n.Type == "org.thingsboard.rule.engine.flow.TbRuleChainInputNode" {
			list = append(list, id)
		}
	}
	return list
}

// circles is the server's error for connections that lead nowhere or in a circle (RULES.md 1.3).
func circles(metadata object) error {
	if metadata == nil {
		return nil
	}
	var n nodes
	text, _ := json.Marshal(metadata)
	if err := json.Unmarshal(text, &n); err != nil {
		return fmt.Errorf("cloudtest: metadata of a rule chain: %w", err)
	}
	next := make([][]int, len(n.Nodes))
	for _, c := range n.Connections {
		switch {
		case c.From < 0 || c.From >= len(next) || c.To < 0 || c.To >= len(next):
			return fmt.Errorf("cloudtest: Index %d out of bounds for length %d", max(c.From, c.To), len(next))
		case c.From == c.To:
			return words("Can't create the relation to yourself.")
		}
		next[c.From] = append(next[c.From], c.To)
	}
	const open, closed = 1, 2
	state := make([]int, len(next))
	var walk func(i int) bool
	walk = func(i int) bool {
		state[i] = open
		for _, to := range next[i] {
			if state[to] == open || state[to] == 0 && walk(to) {
				return true
			}
		}
		state[i] = closed
		return false
	}
	for i := range next {
		if state[i] == 0 && walk(i) {
			return words("Can't create circling relations in rule chain.")
		}
	}
	return nil
}

func (t *Tenant) assignChain(edge, chain proto.UUID, root bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, r := t.edges[edge], t.find(typeRuleChain, chain)
	switch {
	case st == nil:
		return fmt.Errorf("cloudtest: no edge %s", proto.FormatUUID(edge))
	case r == nil:
		return errNoChain
	}
	if root {
		st.root = chain
	}
	r.assign(edge)
	st.chains = append(slices.DeleteFunc(st.chains, func(id proto.UUID) bool { return id == chain }), chain)
	return nil
}

func (t *Tenant) unassignChain(edge, chain proto.UUID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, r := t.edges[edge], t.find(typeRuleChain, chain)
	switch {
	case st == nil || r == nil || !r.assigned(edge):
		return errNoChain
	case st.root == chain:
		return words("Can't unassign root rule chain from edge [" + st.Name + "]. Please assign another root rule chain first!")
	}
	r.edges = slices.DeleteFunc(r.edges, func(e proto.UUID) bool { return e == edge })
	st.chains = slices.DeleteFunc(st.chains, func(id proto.UUID) bool { return id == chain })
	return nil
}

func (t *Tenant) deleteChain(chain proto.UUID) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(ref{typeRuleChain, chain})
	return deletedDown(ref{typeRuleChain, chain})
}
