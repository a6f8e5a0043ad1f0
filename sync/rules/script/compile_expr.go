package script

import "strings"

func (c *compiler) exprs(list []*node) []evalFn {
	fns := make([]evalFn, len(list))
	for i, n := range list {
		fns[i] = c.expr(n)
	}
	return fns
}

// expr compiles an expression.
func (c *compiler) expr(n *node) evalFn {
	defer c.deeper()()
	switch n.op {
	case nLiteral:
		v := n.v
		return func(*run) Value { return v }
	case nName:
		return c.name(n)
	case nMember, nIndex:
		return c.member(n)
	case nCall:
		return c.call(n)
	case nNew:
		return c.construct(n)
	case nList:
		items := c.exprs(n.kids)
		return func(r *run) Value {
			r.step(1)
			r.use(objectSize + len(items)*valueSize)
			list := make([]Value, len(items))
			for i, e := range items {
				list[i] = e(r)
			}
			return listOf(list)
		}
	case nMap:
		return c.inlineMap(n)
	case nUnary:
		return c.unary(n)
	case nBinary:
		return c.binary(n)
	case nAnd, nOr:
		return c.logic(n)
	case nFirst:
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		none := isEmpty
		if c.lang == JavaScript {
			none = func(v Value) bool { return v.k <= Null }
		}
		return func(r *run) Value {
			if v := a(r); !none(v) {
				return v
			}
			return b(r)
		}
	case nCond:
		cond, then := c.condition(n.kids[0]), c.expr(n.kids[1])
		other := func(*run) Value { return null }
		if len(n.kids) > 2 {
			other = c.expr(n.kids[2])
		}
		return func(r *run) Value {
			if cond(r) {
				return then(r)
			}
			return other(r)
		}
	case nAssign:
		return c.assign(n)
	case nStep:
		return c.stepOf(n)
	case nCast:
		e, to := c.expr(n.kids[0]), n.s
		return func(r *run) Value { return r.castTo(e(r), to) }
	case nProject:
		return c.project(n)
	}
	return c.scriptExpr(n)
}

// name reads a variable.
func (c *compiler) name(n *node) evalFn {
	name := n.s
	p, ok := c.find(name)
	if !ok {
		if c.lang == JavaScript {
			return c.scriptGlobal(n)
		}
		if name == "empty" {
			return func(*run) Value { return textOf("") }
		}
		if c.isClass(name) {
			v := Value{k: Class, o: &object{text: name}}
			return func(*run) Value { return v }
		}
		return func(*run) Value { panic(failed("unresolvable property or identifier: " + name)) }
	}
	if c.isArgument(p) {
		switch p.slot {
		case slotMsg:
			return func(r *run) Value { return r.message(r.top) }
		case slotMetadata:
			return func(r *run) Value { return r.metadata(r.top) }
		}
	}
	slot := p.slot
	if c.lang == JavaScript {
		if p.depth == 0 {
			return func(r *run) Value { return r.sc.vars[slot] }
		}
		return func(r *run) Value { return *r.variable(p) }
	}
	if p.depth == 0 {
		return func(r *run) Value {
			if v := &r.sc.vars[slot]; v.k != Unset {
				return *v
			}
			panic(failed("unresolvable property or identifier: " + name))
		}
	}
	return func(r *run) Value {
		if v := r.variable(p); v.k != Unset {
			return *v
		}
		panic(failed("unresolvable property or identifier: " + name))
	}
}

// isArgument reports whether a place is one of the script's arguments.
func (c *compiler) isArgument(p place) bool {
	depth := 0
	for f := c.f; f.up != nil; f = f.up {
		depth++
	}
	return p.depth == depth && p.slot < argSlots
}

// argument is the slot of the argument that a name stands for, or -1.
func (c *compiler) argument(n *node) int {
	if n.op == nName {
		if p, ok := c.find(n.s); ok && c.isArgument(p) {
			return p.slot
		}
	}
	return -1
}

// member reads a.b or a[e]. A path of constant keys into msg or metadata looks in the message's text
// and builds nothing, as long as nothing else made the script build it.
func (c *compiler) member(n *node) evalFn {
	if path, slot := c.path(n); path != nil {
		slow := c.anyMember(n)
		lang := c.lang
		if slot == slotMetadata && len(path) == 1 {
			key := path[0]
			return func(r *run) Value {
				if r.top.vars[slotMetadata].k != Unset {
					return slow(r)
				}
				for i := range r.args.Metadata {
					if p := &r.args.Metadata[i]; p.Key == key {
						return textOf(p.Value)
					}
				}
				return slow(r)
			}
		}
		if slot == slotMsg {
			return func(r *run) Value {
				if r.top.vars[slotMsg].k == Unset && r.args.Msg != nil {
					if v, ok := r.args.Msg.at(path, lang); ok {
						return v
					}
				}
				return slow(r)
			}
		}
	}
	return c.anyMember(n)
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
			return null, lang == TBEL && i == len(path)-1
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
			return func(r *run) Value {
				o := obj(r)
				if o.k <= Null && safe {
					return undefined
				}
				return r.scriptMember(o, index(r))
			}
		}
		return func(r *run) Value {
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
		return func(r *run) Value {
			o := obj(r)
			if o.k <= Null && safe {
				return undefined
			}
			return r.scriptMember(o, key)
		}
	}
	special := mapMethod(name)
	return func(r *run) Value {
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

func (c *compiler) inlineMap(n *node) evalFn {
	kids := c.exprs(n.kids)
	js := c.lang == JavaScript
	return func(r *run) Value {
		r.step(1)
		r.use(objectSize)
		o := &object{keys: make([]Value, 0, len(kids)/2), items: make([]Value, 0, len(kids)/2)}
		for i := 0; i < len(kids); i += 2 {
			key := kids[i](r)
			if js {
				key = r.scriptKey(key)
			} else {
				key = mapKey(key)
			}
			r.put(o, key, kids[i+1](r))
		}
		return Value{k: Map, o: o}
	}
}

func (c *compiler) unary(n *node) evalFn {
	e := c.expr(n.kids[0])
	if c.lang == JavaScript {
		return c.scriptUnary(n.bin, e)
	}
	switch n.bin {
	case opNot:
		return func(r *run) Value { return boolOf(!isTrue(e(r), "the negation")) }
	case opMinus:
		return func(r *run) Value { return negate(e(r)) }
	case opInvert:
		return func(r *run) Value {
			switch v := e(r); v.k {
			case Int:
				return intOf(^int32(v.n))
			case Long:
				return longOf(^int64(v.n))
			}
			panic(failed("~ of what is no integer"))
		}
	}
	return e
}

// isTrue is the value of a condition of TBEL, which has to be a boolean.
func isTrue(v Value, where string) bool {
	if v.k != Bool {
		panic(failed(where + " needs a boolean, not " + v.k.String()))
	}
	return v.n != 0
}

// condition compiles an expression whose value is only asked for its truth.
func (c *compiler) condition(n *node) func(*run) bool {
	if n.op == nBinary && c.lang == TBEL {
		switch n.bin {
		case opLess, opLessEq, opMore, opMoreEq, opEq, opNotEq:
			return c.comparison(n)
		}
	}
	e := c.expr(n)
	if c.lang == JavaScript {
		return func(r *run) bool { return truthy(e(r)) }
	}
	return func(r *run) bool { return isTrue(e(r), "a condition") }
}

func (c *compiler) comparison(n *node) func(*run) bool {
	a, b, op := c.expr(n.kids[0]), c.expr(n.kids[1]), n.bin
	if op == opEq || op == opNotEq {
		want := op == opEq
		return func(r *run) bool {
			x, y := a(r), b(r)
			if x.k == y.k && (x.k == Int || x.k == Bool) {
				return (x.n == y.n) == want
			}
			return r.equal(x, y) == want
		}
	}
	return func(r *run) bool {
		x, y := a(r), b(r)
		if x.isNumber() && y.isNumber() {
			return holds(op, x.Number(), y.Number())
		}
		return tbelCompare(op, x, y)
	}
}

func (c *compiler) binary(n *node) evalFn {
	op := n.bin
	if c.lang == JavaScript {
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		if op == opInstance {
			if n.kids[1].op != nName {
				panic(&syntaxError{at: n.at, message: "instanceof with anything but a name", unsupported: true})
			}
			class := n.kids[1].s
			return func(r *run) Value { return boolOf(scriptInstance(a(r), class)) }
		}
		return func(r *run) Value {
			x := a(r)
			return scriptBinary(r, op, x, b(r))
		}
	}
	switch op {
	case opLess, opLessEq, opMore, opMoreEq, opEq, opNotEq:
		cmp := c.comparison(n)
		return func(r *run) Value { return boolOf(cmp(r)) }
	case opInstance:
		a, class := c.expr(n.kids[0]), className(n.kids[1])
		if class == "" {
			panic(syntax(n.at, "instanceof needs a class"))
		}
		return func(r *run) Value { return boolOf(instanceOf(a(r), class)) }
	}
	a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
	switch op {
	case opAdd:
		return func(r *run) Value {
			x := a(r)
			return r.add(x, b(r))
		}
	case opSub, opMul, opDiv, opMod, opPow:
		return func(r *run) Value {
			x, y := a(r), b(r)
			if x.k == Double && y.k == Double {
				switch op {
				case opSub:
					return doubleOf(x.Number() - y.Number())
				case opMul:
					return doubleOf(x.Number() * y.Number())
				case opDiv:
					return doubleOf(x.Number() / y.Number())
				}
			}
			return arithmetic(op, x, y)
		}
	}
	return func(r *run) Value {
		x := a(r)
		return tbelBinary(r, op, x, b(r))
	}
}

// className is the class that a node names, without its package.
func className(n *node) string {
	if n.op == nName || n.op == nMember {
		return n.s
	}
	return ""
}

// instanceOf compares the kind of a value with a class of Java.
func instanceOf(v Value, class string) bool {
	switch class {
	case "Integer", "int":
		return v.k == Int
	case "Long", "long":
		return v.k == Long
	case "Float", "float":
		return v.k == Float
	case "Double", "double":
		return v.k == Double
	case "Number":
		return v.isNumber()
	case "String":
		return v.k == Text
	case "Boolean", "boolean":
		return v.k == Bool
	case "Character", "char":
		return v.k == Char
	case "List", "ArrayList", "ExecutionArrayList":
		return v.k == List
	case "Collection":
		return v.k == List || v.k == Set
	case "Set":
		return v.k == Set
	case "Map", "HashMap", "LinkedHashMap", "ExecutionHashMap":
		return v.k == Map
	case "Date":
		return v.k == Date
	case "Object":
		return v.k > Null
	}
	panic(failed("unresolvable property or identifier: " + class))
}

func (c *compiler) logic(n *node) evalFn {
	if c.lang == JavaScript {
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		and := n.op == nAnd
		return func(r *run) Value {
			if v := a(r); truthy(v) != and {
				return v
			}
			return b(r)
		}
	}
	a, b := c.condition(n.kids[0]), c.condition(n.kids[1])
	// A literal that is no boolean never compiles, whether or not the other side decides.
	for _, k := range n.kids {
		if k.op == nLiteral && k.v.k != Bool {
			panic(syntax(k.at, "was expecting type: boolean; but found type: "+k.v.k.String()))
		}
	}
	if n.op == nAnd {
		return func(r *run) Value { return boolOf(a(r) && b(r)) }
	}
	return func(r *run) Value { return boolOf(a(r) || b(r)) }
}

// castTo is (int) v and its like.
func (r *run) castTo(v Value, to string) Value {
	switch strings.ToLower(to) {
	case "int", "integer":
		return intOf(argInt(v))
	case "long":
		return longOf(argLong(v))
	case "float":
		return floatOf(float32(argDouble(v)))
	case "double":
		return doubleOf(argDouble(v))
	case "string":
		return textOf(r.javaText(v))
	case "boolean":
		b, ok := asBool(v)
		if !ok {
			panic(failed("no boolean: " + v.k.String()))
		}
		return boolOf(b)
	}
	return v
}

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
		e = func(r *run) Value {
			x := old(r)
			return binary(r, op, x, right(r))
		}
	}
	if !known {
		if c.lang == JavaScript {
			name := target.s
			return func(*run) Value { panic(failed("ReferenceError: " + name + " is not defined")) }
		}
		p = place{0, c.declare(target.s)}
		c.f.made++
	}
	slot, tbel := p.slot, c.lang == TBEL
	if p.depth == 0 {
		return func(r *run) Value {
			v := e(r)
			if tbel {
				keepable(v)
			}
			r.sc.vars[slot] = v
			return v
		}
	}
	return func(r *run) Value {
		v := e(r)
		if tbel {
			keepable(v)
		}
		*r.variable(p) = v
		return v
	}
}

// operation is the function behind the operators of two operands.
func (c *compiler) operation() func(*run, operator, Value, Value) Value {
	if c.lang == JavaScript {
		return scriptBinary
	}
	return tbelBinary
}

func (c *compiler) assignMember(n *node) evalFn {
	target, op := n.kids[0], n.bin
	obj := c.expr(target.kids[0])
	key := func(*run) Value { return textOf(target.s) }
	if target.op == nIndex {
		key = c.expr(target.kids[1])
	}
	value := c.expr(n.kids[1])
	get, set := (*run).index, (*run).setIndex
	if c.lang == JavaScript {
		get, set = (*run).scriptMember, (*run).setScriptMember
	}
	binary := c.operation()
	return func(r *run) Value {
		o := obj(r)
		k := key(r)
		var v Value
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
	change := func(r *run, old Value) (was, is Value) {
		if js {
			old = doubleOf(scriptNumber(r, old))
		} else if !old.isNumber() {
			panic(failed("++ or -- of what is no number"))
		}
		return old, binary(r, op, old, one)
	}
	pick := func(was, is Value) Value {
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
		return func(r *run) Value {
			was, is := change(r, read(r))
			*r.variable(p) = is
			return pick(was, is)
		}
	}
	obj := c.expr(target.kids[0])
	key := func(*run) Value { return textOf(target.s) }
	if target.op == nIndex {
		key = c.expr(target.kids[1])
	}
	return func(r *run) Value {
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
	return func(r *run) Value {
		from := list(r)
		if !from.isList() {
			panic(failed("a projection needs a list, not " + from.k.String()))
		}
		var out []Value
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
