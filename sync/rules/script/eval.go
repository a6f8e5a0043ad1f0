package script

// eval evaluates a resolved expression.
func (r *run) eval(n *node) *Value {
	kids := n.kids
	switch n.op {
	case nLiteral, nConst:
		return n.v
	case nVariable:
		v := *r.variable(n)
		if v.k == Unset && (r.lang == TBEL || n.flag) {
			break
		}
		return v
	case nArgument:
		return r.argument(n.slot)
	case nMember, nIndex:
		if n.path != nil {
			if v, ok := r.peek(n); ok {
				return kept(v)
			}
		}
		return r.member(n)
	case nCall:
		return r.call(n)
	case nBinary:
		if n.bin == opInstance {
			if v := r.eval(kids[0]); r.lang == TBEL {
				return boolOf(instanceOf(v, n.s))
			} else {
				return boolOf(scriptInstance(v, n.s))
			}
		}
		a := r.eval(kids[0])
		return r.binary(n.bin, a, r.eval(kids[1]))
	case nCompare:
		return boolOf(r.truth(n))
	case nAnd, nOr:
		if r.lang == TBEL {
			return boolOf(r.truth(n))
		}
		if v := r.eval(kids[0]); truthy(v) != (n.op == nAnd) {
			return v
		}
		return r.eval(kids[1])
	case nFirst:
		if v := r.eval(kids[0]); r.lang == TBEL && !isEmpty(v) || r.lang == JavaScript && v.k > Null {
			return v
		}
		v := r.eval(kids[1])
		if r.lang == TBEL && isEmpty(v) {
			return null
		}
		return v
	case nCond:
		if r.truth(kids[0]) {
			return r.eval(kids[1])
		}
		if len(kids) == 2 {
			return null
		}
		return r.eval(kids[2])
	case nUnary:
		if n.bin == opNot {
			return boolOf(!r.truth(kids[0]))
		}
		return r.unary(n.bin, r.eval(kids[0]))
	case nList:
		r.work(n.cost)
		r.use(objectSize + len(kids)*valueSize)
		list := make([]*Value, len(kids))
		for i, k := range kids {
			list[i] = r.eval(k)
		}
		return listOf(list)
	case nMap:
		r.work(n.cost)
		r.use(objectSize)
		m := newMap()
		for i := 0; i < len(kids); i += 2 {
			key := r.eval(kids[i])
			if r.lang == JavaScript {
				key = r.scriptKey(key)
			} else {
				key = mapKey(key)
			}
			r.put(m.o, key, r.eval(kids[i+1]))
		}
		return m
	case nAssign:
		return r.assign(n)
	case nStep:
		return r.stepOf(n)
	case nCast:
		v := r.eval(kids[0])
		if v.k <= Null && !n.flag {
			return null
		}
		r.long(v)
		return r.castTo(v, n.s)
	case nProject:
		return r.project(n)
	case nFunction:
		r.use(objectSize)
		v := &Value{k: Function, o: &object{fn: &closure{p: n.p, sc: r.sc}}}
		if n.s != "" {
			r.sc.vars[n.slot] = v
		}
		return v
	case nTemplate:
		var b []byte
		for _, k := range kids {
			if b = addText(b, r.scriptText(r.eval(k))); len(b) > maxMemory {
				panic(limitError("a text beyond the memory of a script"))
			}
		}
		return r.text(string(b))
	case nRegexp:
		r.use(objectSize)
		mine := *n.v.o.re
		return regexpOf(&mine)
	case nTypeof:
		return textOf(typeOf(r.eval(kids[0])))
	case nDelete:
		return r.remove(kids[0])
	case nComma:
		r.eval(kids[0])
		return r.eval(kids[1])
	case nVoid:
		r.eval(kids[0])
		return undefined
	}
	if r.lang == JavaScript {
		panic(&thrownValue{failure("ReferenceError", n.s+" is not defined")})
	}
	panic(failedOn("unresolvable property or identifier, or function not found: %", n.s))
}

// truth is the value of a condition: of TBEL it has to be a boolean.
func (r *run) truth(n *node) bool {
	switch n.op {
	case nAnd, nOr:
		if r.truth(n.kids[0]) != (n.op == nAnd) {
			return n.op == nOr
		}
		return r.truth(n.kids[1])
	case nCompare:
		a, b := n.kids[0], n.kids[1]
		if n.flag {
			if v, ok := r.peek(a); ok {
				if holds, ok := quick(n.bin, &v, b.v); ok {
					return holds
				}
			}
		}
		x := r.eval(a)
		return compareAny(r, n.bin, x, r.eval(b))
	}
	v := r.eval(n)
	if r.lang == JavaScript {
		return truthy(v)
	}
	return isTrue(v, "a condition")
}

// isTrue is the value of a condition of TBEL, which has to be a boolean.
//
//go:noinline
func isTrue(v *Value, where string) bool {
	if v.k != Bool {
		panic(failed(where + " needs a boolean, not " + v.k.String()))
	}
	return v.n != 0
}

// compareAny is the six operators of comparison.
func compareAny(r *run, op operator, x, y *Value) bool {
	switch op {
	case opEq:
		return r.equal(x, y)
	case opNotEq:
		return !r.equal(x, y)
	}
	return r.compare(op, x, y)
}

// quick compares scalars of the kinds that need no rule; ok is false for all others. It keeps
// neither.
func quick(op operator, v, lit *Value) (result, ok bool) {
	equal := false
	switch {
	case v.isNumber() && lit.isNumber():
		if op != opEq && op != opNotEq {
			return holds(op, v.Number(), lit.Number()), true
		}
		equal = v.Number() == lit.Number()
		if v.k <= Long && lit.k <= Long {
			equal = v.n == lit.n
		}
	case op != opEq && op != opNotEq:
		return false, v.k == Null
	case v.k == Text && lit.k == Text:
		equal = v.s == lit.s
	case v.k == Null || lit.k == Null:
		equal = v.k == lit.k
	case v.k == Bool && lit.k == Bool:
		equal = v.n == lit.n
	default:
		return false, false
	}
	return equal == (op == opEq), true
}

// peek gives the scalar that a path into the arguments leads to, without making a value of it. ok
// is false where the arguments were built or changed, or the path leads elsewhere.
func (r *run) peek(n *node) (v Value, ok bool) {
	if r.top.vars[n.slot].k != Unset {
		return Value{}, false
	}
	switch n.slot {
	case slotMsg:
		if r.args.Msg != nil {
			return r.args.Msg.at(n.path, r.lang)
		}
	case slotMetadata:
		for i := range r.args.Metadata {
			if p := &r.args.Metadata[i]; len(n.path) == 1 && p.Key == n.path[0] {
				return Value{k: Text, s: p.Value}, true
			}
		}
	case slotType:
		return Value{k: Text, s: r.args.MsgType}, true
	}
	return Value{}, false
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

// member is a.b and a[e].
func (r *run) member(n *node) *Value {
	o := r.eval(n.kids[0])
	if o.k <= Null && n.flag {
		return r.none()
	}
	key := n.v
	if n.op == nIndex {
		key = r.eval(n.kids[1])
	}
	switch {
	case r.lang == JavaScript:
		return r.scriptMember(o, key)
	case n.op == nIndex || o.k == Map && !n.last:
		return r.index(o, key)
	}
	return r.property(o, n.s)
}

// binary is the operators of two operands.
//
//go:noinline
func (r *run) binary(op operator, a, b *Value) *Value {
	if r.lang == JavaScript {
		return scriptBinary(r, op, a, b)
	}
	return tbelBinary(r, op, a, b)
}

func (r *run) unary(op operator, v *Value) *Value {
	if r.lang == JavaScript && op != opNone {
		f := scriptNumber(r, v)
		switch op {
		case opMinus:
			f = -f
		case opInvert:
			f = float64(^toInt32(f))
		}
		return doubleOf(f)
	}
	switch op {
	case opMinus:
		return negate(v)
	case opInvert:
		if v.k != Int {
			panic(failed("~ of what is no int"))
		}
		return bits(opXor, v, intOf(-1))
	}
	return v
}

// assign is a = e and a += e; n.last: of a name.
func (r *run) assign(n *node) *Value {
	target := n.kids[0]
	var o, key, old *Value
	if !n.last {
		o, key = r.place(target)
		if n.bin != opNone {
			old = r.at(o, key)
		}
	} else if n.bin != opNone {
		old = r.eval(target)
	}
	v := r.eval(n.kids[1])
	if n.bin != opNone {
		v = r.binary(n.bin, old, v)
	}
	if n.last {
		keepable(v)
		*r.variable(n) = v
		return v
	}
	r.setAt(o, key, v)
	return v
}

// place is the object and the key that a member names.
//
//go:noinline
func (r *run) place(n *node) (o, key *Value) {
	o, key = r.eval(n.kids[0]), n.v
	if n.op == nIndex {
		key = r.eval(n.kids[1])
	}
	return o, key
}

//go:noinline
func (r *run) at(o, key *Value) *Value {
	if r.lang == JavaScript {
		return r.scriptMember(o, key)
	}
	return r.index(o, key)
}

//go:noinline
func (r *run) setAt(o, key, v *Value) {
	if r.lang == JavaScript {
		r.setScriptMember(o, key, v)
	} else {
		r.setIndex(o, key, v)
	}
}

// stepOf is ++ and --.
func (r *run) stepOf(n *node) *Value {
	var o, key, was *Value
	if n.last {
		was = r.eval(n.kids[0])
	} else {
		o, key = r.place(n.kids[0])
		was = r.at(o, key)
	}
	one := intOf(1)
	if r.lang == JavaScript {
		was, one = doubleOf(scriptNumber(r, was)), doubleOf(1)
	} else if !was.isNumber() {
		panic(failed("++ or -- of what is no number"))
	}
	is := r.binary(n.bin, was, one)
	if n.last {
		*r.variable(n) = is
	} else {
		r.setAt(o, key, is)
	}
	if n.flag {
		return is
	}
	return was
}

// project is (e in list if condition): $ is the member.
func (r *run) project(n *node) *Value {
	from := r.eval(n.kids[1])
	if !from.isList() {
		panic(failedKind("a projection needs a list, not %", from))
	}
	var out []*Value
	for _, v := range from.o.items {
		r.step(1)
		r.use(valueSize)
		r.sc.vars[n.slot] = v
		if len(n.kids) == 2 || r.truth(n.kids[2]) {
			out = addValue(out, r.eval(n.kids[0]))
		}
	}
	return r.list(out)
}

// remove is delete of JavaScript.
func (r *run) remove(n *node) *Value {
	if n.op != nMember && n.op != nIndex {
		return no
	}
	o, key := r.place(n)
	name := r.scriptText(key)
	switch o.k {
	case Map:
		r.drop(o.o, textOf(name))
	case List:
		if i, ok := arrayIndex(name); ok && i < len(o.o.items) {
			o.o.items[i] = undefined
		}
	case Unset, Null:
		panic(typeError("Cannot convert undefined or null to object"))
	}
	return yes
}

// className is the class that a node names, without its package.
func className(n *node) string {
	if n.op == nName || n.op == nMember {
		return n.s
	}
	return ""
}

// classKinds are the kinds of the values of Java's classes. The class $array is the library's.
var classKinds = [...]struct {
	names       string
	first, last Kind
}{
	{"Integer int", Int, Int},
	{"Long long", Long, Long},
	{"Float float", Float, Float},
	{"Double double", Double, Double},
	{"Number", Int, Double},
	{"String", Text, Text},
	{"Boolean boolean", Bool, Bool},
	{"Character char", Char, Char},
	{"List ArrayList ExecutionArrayList", List, List},
	{"$array", Array, Array},
	{"Set", Set, Set},
	{"Map HashMap LinkedHashMap ExecutionHashMap", Map, Map},
	{"Date", Date, Date},
	{"Object", Bool, Class},
}

// instanceOf compares the kind of a value with a class of Java.
func instanceOf(v *Value, class string) bool {
	if class == "Collection" {
		return v.k == List || v.k == Set
	}
	for i := range classKinds {
		if c := &classKinds[i]; oneOf(c.names, class) {
			return v.k >= c.first && v.k <= c.last
		}
	}
	panic(failedOn("unresolvable property or identifier: %", class))
}

// castTo is (int) v and its like; to the other classes v is what it was.
func (r *run) castTo(v *Value, to string) *Value {
	for i := range classKinds {
		c := &classKinds[i]
		if c.first != c.last || !oneOf(c.names, to) {
			continue
		}
		switch c.first {
		case Int:
			return intOf(argInt(v))
		case Long:
			return longOf(argLong(v))
		case Float, Double:
			return narrow(argDouble(v), c.first)
		case Text:
			return textOf(r.javaText(v))
		case Bool:
			return boolOf(argBool(v))
		}
	}
	return v
}
