package rules

import (
	"edgesync/proto"
)

func makeInput(_ *node, c *config) work {
	target, profile := c.id("ruleChainId"), c.flag("forwardMsgToDefaultRuleChain")
	return func(r *round) {
		m := r.m
		to := r.e.chains[target]
		if profile {
			if _, id, ok := r.e.reg.Profile(m.Originator); ok && r.e.chains[id] != nil {
				to = r.e.chains[id]
			}
		}
		here := frame{r.n.chain.id, r.n.key}
		switch {
		case to == nil:
			r.fail("the rule chain that the node names is not stored here: " + proto.FormatUUID(target))
			return
		case to == r.n.chain:
			r.fail("The rule node is configured to forward messages back to the same rule chain.")
			return
		case len(m.stack) >= maxStack:
			r.fail("More than " + decimal(int64(maxStack)) + " rule chains call each other!")
			return
		}
		for _, f := range m.stack {
			if f == here {
				r.fail("Detected rule chain processing loop for rule node [" + r.n.uuid() + "]")
				return
			}
		}
		m.stack = append(m.stack[:len(m.stack):len(m.stack)], here)
		if to.first == nil {
			r.end()
			return
		}
		r.wait(m, to.first, "")
	}
}

func makeOutput(_ *node, _ *config) work {
	return func(r *round) {
		m := r.m
		if len(m.stack) == 0 {
			r.end()
			return
		}
		f := m.stack[len(m.stack)-1]
		m.stack = m.stack[: len(m.stack)-1 : len(m.stack)-1]
		c := r.e.chains[f.chain]
		if c == nil || c.byKey(f.node) == nil {
			r.end()
			return
		}
		name := r.n.name
		if r.n = c.byKey(f.node); name == "" { // it would be run again
			r.end()
			return
		}
		r.enqueue(m, name)
	}
}

func makeCheckpoint(_ *node, _ *config) work {
	return func(r *round) { r.enqueue(r.m, "Success") }
}
