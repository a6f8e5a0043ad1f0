package script

// assign compiles a = e and a += e.
func (c *compiler) assign(n *node) evalFn {
	target, op := n.kids[0], n.bin
	if target.op != nName {
		return c.assignMember(n)
	}
	e := c.expr(n.kids[1])
	p, known := c.find(target.s)
	if op != opNone {
		old := c.expr(target)
		right, binary := e, c.operation()
		e = func(r *run) *Value {
			x := old(r)
			return binary(r, op, x, right(r))
		}
	}
	if !known {
		if c.lang == JavaScript {
			name := target.s
			return func(*run) *Value { panic(failed("ReferenceError: " + name + " is not defined")) }
		}
		p = place{0, c.declare(target.s)}
		c.f.made++
	}
	slot, tbel := p.slot, c.lang == TBEL
	if p.depth == 0 {
		return func(r *run) *Value {
			v := e(r)
			if tbel {
				keepable(v)
			}
			r.sc.vars[slot] = v
			return v
		}
	}
	return func(r *run) *Value {
		v := e(r)
		if tbel {
			keepable(v)
		}
		*r.variable(p) = v
		return v
	}
}

// operation is the function behind the operators of two operands.
//
//go:noinline
func (c *compiler) operation() func(*run, operator, *Value, *Value) *Value {
	if c.lang == JavaScript {
		return scriptBinary
	}
	return tbelBinary
}

func (c *compiler) assignMember(n *node) evalFn {
	target, op := n.kids[0], n.bin
	obj := c.expr(target.kids[0])
	key := func(*run) *Value { return textOf(target.s) }
	if target.op == nIndex {
		key = c.expr(target.kids[1])
	}
	value := c.expr(n.kids[1])
	get, set := (*run).index, (*run).setIndex
	if c.lang == JavaScript {
		get, set = (*run).scriptMember, (*run).setScriptMember
	}
	binary := c.operation()
	return func(r *run) *Value {
		o := obj(r)
		k := key(r)
		var v *Value
		if op == opNone {
			v = value(r)
		} else {
			old := get(r, o, k)
			v = binary(r, op, old, value(r))
		}
		set(r, o, k, v)
		return v
	}
}

// stepOf compiles ++ and --.
func (c *compiler) stepOf(n *node) evalFn {
	target, before := n.kids[0], n.flag
	op, binary := n.bin, c.operation()
	one := intOf(1)
	js := c.lang == JavaScript
	if js {
		one = doubleOf(1)
	}
	change := func(r *run, old *Value) (was, is *Value) {
		if js {
			old = doubleOf(scriptNumber(r, old))
		} else if !old.isNumber() {
			panic(failed("++ or -- of what is no number"))
		}
		return old, binary(r, op, old, one)
	}
	pick := func(was, is *Value) *Value {
		if before {
			return is
		}
		return was
	}
	if target.op == nName {
		p, ok := c.find(target.s)
		read := c.expr(target)
		if !ok {
			return read // it fails
		}
		return func(r *run) *Value {
			was, is := change(r, read(r))
			*r.variable(p) = is
			return pick(was, is)
		}
	}
	obj := c.expr(target.kids[0])
	key := func(*run) *Value { return textOf(target.s) }
	if target.op == nIndex {
		key = c.expr(target.kids[1])
	}
	return func(r *run) *Value {
		o := obj(r)
		k := key(r)
		was, is := change(r, r.scriptMember(o, k))
		r.setScriptMember(o, k, is)
		return pick(was, is)
	}
}

// project compiles (e in list if condition): $ is the member.
func (c *compiler) project(n *node) evalFn {
	list := c.expr(n.kids[1])
	c.open()
	defer c.close()
	slot := c.declare("$")
	member := c.expr(n.kids[0])
	cond := func(*run) bool { return true }
	if len(n.kids) > 2 {
		cond = c.condition(n.kids[2])
	}
	return func(r *run) *Value {
		from := list(r)
		if !from.isList() {
			panic(failed("a projection needs a list, not " + from.k.String()))
		}
		var out []*Value
		for _, v := range from.o.items {
			r.step(1)
			r.use(valueSize)
			r.sc.vars[slot] = v
			if cond(r) {
				out = append(out, member(r))
			}
		}
		return r.list(out)
	}
}
