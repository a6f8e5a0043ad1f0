package script

// name reads a variable.
func (c *compiler) name(n *node) evalFn {
	name := n.s
	p, ok := c.find(name)
	if !ok {
		if c.lang == JavaScript {
			return c.scriptGlobal(n)
		}
		if name == "empty" {
			return func(*run) *Value { return textOf("") }
		}
		if c.isClass(name) {
			v := &Value{k: Class, o: &object{text: name}}
			return func(*run) *Value { return v }
		}
		return func(*run) *Value { panic(failed("unresolvable property or identifier: " + name)) }
	}
	if c.isArgument(p) {
		switch p.slot {
		case slotMsg:
			return func(r *run) *Value { return r.message(r.top) }
		case slotMetadata:
			return func(r *run) *Value { return r.metadata(r.top) }
		case slotType:
			return func(r *run) *Value { return r.kind(r.top) }
		}
	}
	slot := p.slot
	if c.lang == JavaScript {
		if p.depth == 0 {
			return func(r *run) *Value { return r.sc.vars[slot] }
		}
		return func(r *run) *Value { return *r.variable(p) }
	}
	if p.depth == 0 {
		return func(r *run) *Value {
			if v := r.sc.vars[slot]; v.k != Unset {
				return v
			}
			panic(failed("unresolvable property or identifier: " + name))
		}
	}
	return func(r *run) *Value {
		if v := *r.variable(p); v.k != Unset {
			return v
		}
		panic(failed("unresolvable property or identifier: " + name))
	}
}

// isArgument reports whether a place is one of the script's arguments.
//
//go:noinline
func (c *compiler) isArgument(p place) bool {
	if c.lib {
		return false
	}
	depth := 0
	for f := c.f; f.up != nil; f = f.up {
		depth++
	}
	return p.depth == depth && p.slot < argSlots
}

// argument is the slot of the argument that a name stands for, or -1.
//
//go:noinline
func (c *compiler) argument(n *node) int {
	if n.op == nName {
		if p, ok := c.find(n.s); ok && c.isArgument(p) {
			return p.slot
		}
	}
	return -1
}

// member reads a.b or a[e]. A path of constant keys into msg or metadata looks in the message's
// text and builds nothing, as long as nothing else made the script build it.
func (c *compiler) member(n *node) evalFn {
	slow, peek := c.anyMember(n), c.peeker(n)
	if peek == nil {
		return slow
	}
	return func(r *run) *Value {
		if v, ok := peek(r); ok {
			return kept(v)
		}
		return slow(r)
	}
}

// peeker gives the scalar that a path into the arguments leads to, without making a value of it. ok
// is false where the arguments were built or changed, or the path leads elsewhere.
//
//go:noinline
func (c *compiler) peeker(n *node) func(*run) (v Value, ok bool) {
	if c.argument(n) == slotType {
		return func(r *run) (Value, bool) {
			return Value{k: Text, s: r.args.MsgType}, r.top.vars[slotType].k == Unset
		}
	}
	path, slot := c.path(n)
	lang := c.lang
	switch {
	case path == nil:
	case slot == slotMsg:
		return func(r *run) (Value, bool) {
			if r.top.vars[slotMsg].k != Unset || r.args.Msg == nil {
				return Value{}, false
			}
			return r.args.Msg.at(path, lang)
		}
	case len(path) == 1:
		key := path[0]
		return func(r *run) (Value, bool) {
			if r.top.vars[slotMetadata].k == Unset {
				for i := range r.args.Metadata {
					if p := &r.args.Metadata[i]; p.Key == key {
						return Value{k: Text, s: p.Value}, true
					}
				}
			}
			return Value{}, false
		}
	}
	return nil
}

// at looks up a scalar by its path. ok is false for everything else: lists, maps, and keys that are
// not there, where the answer depends on more than the text.
func (d *Doc) at(path []string, lang Language) (Value, bool) {
	if len(d.cells) == 0 {
		return Value{}, false
	}
	at := uint32(0)
	for i, key := range path {
		if d.cells[at].kind != cellMap {
			return Value{}, false
		}
		if at = d.find(at, key); at == 0 {
			return Value{k: Null}, lang == TBEL && i == len(path)-1
		}
	}
	if k := d.cells[at].kind; k == cellList || k == cellMap {
		return Value{}, false
	}
	return d.scalar(at, lang), true
}

// path is the constant keys of a member chain that begins at an argument; nil if it is none.
func (c *compiler) path(n *node) (path []string, slot int) {
	for n.op == nMember || n.op == nIndex {
		key := n.s
		if n.op == nIndex {
			k := n.kids[1]
			if k.op != nLiteral || k.v.k != Text {
				return nil, 0
			}
			key = k.v.s
		} else if c.lang == TBEL && mapMethod(key) {
			return nil, 0
		}
		path = append([]string{key}, path...)
		n = n.kids[0]
	}
	slot = c.argument(n)
	if slot != slotMsg && slot != slotMetadata {
		return nil, 0
	}
	return path, slot
}

// nullSafe reports whether a member chain holds a null-safe point: what is behind it is null too.
//
//go:noinline
func nullSafe(n *node) bool {
	for n.op == nMember || n.op == nIndex || n.op == nCall {
		if n.flag {
			return true
		}
		n = n.kids[0]
	}
	return false
}

func (c *compiler) anyMember(n *node) evalFn {
	obj, safe := c.expr(n.kids[0]), nullSafe(n)
	if n.op == nIndex {
		index := c.expr(n.kids[1])
		if c.lang == JavaScript {
			return func(r *run) *Value {
				o := obj(r)
				if o.k <= Null && safe {
					return undefined
				}
				return r.scriptMember(o, index(r))
			}
		}
		return func(r *run) *Value {
			o := obj(r)
			if o.k == Null && safe {
				return null
			}
			return r.index(o, index(r))
		}
	}
	name := n.s
	key := textOf(name)
	if c.lang == JavaScript {
		return func(r *run) *Value {
			o := obj(r)
			if o.k <= Null && safe {
				return undefined
			}
			return r.scriptMember(o, key)
		}
	}
	special := mapMethod(name)
	return func(r *run) *Value {
		o := obj(r)
		if o.k == Map && !special {
			if v, ok := o.o.get(key); ok {
				return v
			}
			return null
		}
		if o.k == Null && safe {
			return null
		}
		return r.property(o, name)
	}
}
