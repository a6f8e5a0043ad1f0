package rules

import (
	"strconv"

	"edgesync/proto"
)

// ChainReport is what people want to know of a chain (RULES.md 7.6).
type ChainReport struct {
	ID   proto.UUID
	Name string
	Root bool
	// Silent: telemetry can reach no push node, nor a node that is not executed, behind which it
	// goes up as it came. SilentAlarms: alarms are created, and none can reach a push node.
	Silent, SilentAlarms bool
	Nodes                []NodeReport
}

// NodeReport are the counters of a node since it was first there.
type NodeReport struct {
	Name, Type string
	Reason     string // why it is not executed; "" if it is
	In, Failed uint32
	Out        []RelationCount
	Ended      uint32 // messages that left by a relation that is not connected, though others are
	Never      string // a relation that is connected, and that the node has not; "": none
	Last       string // the last failure
	LastAt     int64  // ms since the epoch
	Waiting    int    // messages in its windows or its delay
	Windows    int
}

// RelationCount is how many messages left a node by a relation that is connected.
type RelationCount struct {
	Relation string
	Taken    uint32
}

// Report describes the chains, in no order.
func (e *Engine) Report() []ChainReport {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := make([]ChainReport, 0, len(e.chains))
	for id, c := range e.chains {
		c.tell(false)
		r := ChainReport{ID: id, Name: c.name, Root: id == e.root}
		r.Silent = !reaches(c.first, PostTelemetry, make(map[*node]bool))
		created, pushed := false, false
		for _, n := range c.nodes {
			if n.typ == "action.TbCreateAlarmNode" {
				created = true
				pushed = pushed || reaches(n, "ALARM", make(map[*node]bool))
			}
			r.Nodes = append(r.Nodes, n.report())
		}
		r.SilentAlarms = created && !pushed
		all = append(all, r)
	}
	return all
}

// Facts are what most surprises people who look at such a chain, in words.
func (c *ChainReport) Facts() (facts []string) {
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.Never != "" { // the first one: what follows is seen when it is mended
			facts = addString(facts, "no message ever leaves node "+strconv.Quote(n.Name)+" by "+strconv.Quote(n.Never)+".")
			break
		}
	}
	if c.Silent {
		facts = addString(facts, "This chain sends no telemetry to the cloud.")
	}
	if c.SilentAlarms {
		facts = addString(facts, "alarms are created, none is pushed.")
	}
	return facts
}

func (n *node) report() NodeReport {
	m := n.mem
	r := NodeReport{Name: n.name, Type: n.full, Reason: n.reason, In: m.in.Load(), Failed: m.failed.Load(), Ended: m.ended.Load()}
	for i := range n.links {
		if n.never(n.links[i].relation) {
			r.Never = n.links[i].relation
		}
		r.Out = append(r.Out, RelationCount{n.links[i].relation, n.links[i].taken.Load()})
	}
	lock(&m.mu)
	defer unlock(&m.mu)
	r.Last, r.LastAt, r.Waiting, r.Windows = m.last, m.lastAt, m.waiting, len(m.windows)
	for _, p := range m.windows {
		r.Waiting += p.count
	}
	return r
}

// reaches reports whether a message of a type may come from a node to a push node, or to another
// chain.
func reaches(n *node, typ string, seen map[*node]bool) bool {
	if n == nil || seen[n] {
		return false
	}
	seen[n] = true
	if n.plain == plainPush || n.typ == "flow.TbRuleChainInputNode" || n.work == nil && typ == PostTelemetry {
		return true
	}
	for i := range n.links {
		l := &n.links[i]
		if n.plain == plainSwitch && n.link(relationOf(typ)) != l || n.never(l.relation) {
			continue
		}
		for _, to := range l.to {
			if reaches(to, typ, seen) {
				return true
			}
		}
	}
	return false
}
