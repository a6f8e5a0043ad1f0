package script

func (c *compiler) forLoop(n *node) stmtFn {
	c.open()
	defer c.close()
	if c.lang == JavaScript && n.kids[0] != nil && n.flag {
		c.hoist([]*node{n.kids[0]}, false)
	}
	var first stmtFn
	if n.kids[0] != nil {
		first = c.statement(n.kids[0], false)
	}
	cond := func(*run) bool { return true }
	if n.kids[1] != nil {
		cond = c.condition(n.kids[1])
	}
	step := func(*run) *Value { return null }
	if n.kids[2] != nil {
		step = c.expr(n.kids[2])
	}
	cost := c.weight(n.kids[1]) + c.weight(n.kids[2]) - c.weight(nil)
	c.f.loops++
	body := c.body(n.kids[3], false)
	c.f.loops--
	return func(r *run) flow {
		if first != nil {
			first(r)
		}
		for cond(r) {
			r.work(cost)
			switch f := body(r); f {
			case broke:
				return onward
			case returned:
				return f
			}
			step(r)
		}
		return onward
	}
}

func (c *compiler) whileLoop(n *node) stmtFn {
	cond, cost := c.condition(n.kids[0]), c.weight(n.kids[0])
	c.f.loops++
	body := c.body(n.kids[1], false)
	c.f.loops--
	do, until := n.op == nDo, n.flag
	return func(r *run) flow {
		for do || cond(r) {
			r.work(cost)
			switch f := body(r); f {
			case broke:
				return onward
			case returned:
				return f
			}
			if do && cond(r) == until {
				break
			}
		}
		return onward
	}
}

func (c *compiler) eachLoop(n *node) stmtFn {
	over := c.expr(n.kids[0])
	c.open()
	defer c.close()
	var at place
	if p, ok := c.find(n.s); ok && c.lang == JavaScript && !n.flag {
		at = p
	} else if ok && c.lang == JavaScript && p.depth == 0 {
		at = p // hoisted
	} else {
		at = place{0, c.declare(n.s)}
	}
	c.f.loops++
	body := c.body(n.kids[1], false)
	c.f.loops--
	keys, lang, cost := n.bin == opIn, c.lang, c.weight(nil)
	return func(r *run) flow {
		list := r.members(over(r), keys, lang)
		for i := 0; i < len(list); i++ {
			r.work(cost)
			*r.variable(at) = list[i]
			switch f := body(r); f {
			case broke:
				return onward
			case returned:
				return f
			}
		}
		return onward
	}
}

func (c *compiler) choice(n *node, last bool) stmtFn {
	value, cost := c.expr(n.kids[0]), c.weight(n.kids[0])+len(n.kids)
	c.open()
	defer c.close()
	c.f.loops++
	defer func() { c.f.loops-- }()
	type clause struct {
		match evalFn
		body  stmtFn
	}
	clauses := make([]clause, 0, len(n.kids)-1)
	other := -1
	if c.lang == JavaScript {
		for _, k := range n.kids[1:] {
			c.hoist(k.kids[1:], false)
		}
	}
	for i, k := range n.kids[1:] {
		cl := clause{}
		if k.kids[0] != nil {
			cl.match = c.expr(k.kids[0])
		} else {
			other = i
		}
		cl.body = c.statements(k.kids[1:], last)
		clauses = append(clauses, cl)
	}
	same := tbelSame
	if c.lang == JavaScript {
		same = scriptSame
	}
	return func(r *run) flow {
		r.work(cost)
		v := value(r)
		from := other
		for i := range clauses {
			if m := clauses[i].match; m != nil && same(r, v, m(r)) {
				from = i
				break
			}
		}
		if from < 0 {
			return onward
		}
		for i := from; i < len(clauses); i++ {
			switch f := clauses[i].body(r); f {
			case broke:
				return onward
			case returned, continued:
				return f
			}
		}
		return onward
	}
}
