package rules

import (
	"edgesync/proto"
)

// chainInput calls another chain.
type chainInput struct {
	_       uncompared
	Chain   proto.UUID `conf:"ruleChainId"`
	Profile bool       `conf:"forwardMsgToDefaultRuleChain"`
}

func (in *chainInput) do(r *round) {
	m := r.m
	to := r.e.chains[in.Chain]
	if in.Profile {
		if _, id, ok := r.e.reg.Profile(&m.Originator); ok && r.e.chains[id] != nil {
			to = r.e.chains[id]
		}
	}
	here := frame{r.n.chain.id, r.n.key}
	fault := ""
	switch {
	case to == nil:
		fault = "the rule chain that the node names is not stored here: " + proto.FormatUUID(in.Chain)
	case to == r.n.chain:
		fault = "The rule node is configured to forward messages back to the same rule chain."
	case len(m.stack) >= maxStack:
		fault = "More than " + decimal(int64(maxStack)) + " rule chains call each other!"
	}
	for i := range m.stack {
		if m.stack[i] == here {
			fault = "Detected rule chain processing loop for rule node [" + r.n.uuid() + "]"
		}
	}
	if fault != "" {
		r.fail(fault)
		return
	}
	m.stack = append(m.stack[:len(m.stack):len(m.stack)], here)
	if to.first == nil {
		r.end()
		return
	}
	r.wait(m, to.first, "")
}

// chainOutput returns to the chain that has called.
type chainOutput struct{}

func (*chainOutput) do(r *round) {
	m := r.m
	last := len(m.stack) - 1
	var caller *node
	if last >= 0 {
		f := &m.stack[last]
		m.stack = m.stack[:last:last]
		if c := r.e.chains[f.chain]; c != nil {
			caller = c.byKey(f.node)
		}
	}
	name := r.n.name
	if caller == nil || name == "" { // without a name the caller would be run again
		r.end()
		return
	}
	r.n = caller
	r.enqueue(m, name)
}

type checkpoint struct{}

func (*checkpoint) do(r *round) { r.enqueue(r.m, "Success") }
