package script

import "strings"

//go:noinline
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
		return func(*run) *Value { return v }
	case nName:
		return c.name(n)
	case nMember, nIndex:
		return c.member(n)
	case nCall:
		return c.call(n)
	case nNew:
		return c.construct(n)
	case nList:
		items, cost := c.exprs(n.kids), c.weight(nil)
		return func(r *run) *Value {
			r.work(cost)
			r.use(objectSize + len(items)*valueSize)
			list := make([]*Value, len(items))
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
			none = func(v *Value) bool { return v.k <= Null }
		}
		return func(r *run) *Value {
			if v := a(r); !none(v) {
				return v
			}
			return b(r)
		}
	case nCond:
		cond, then := c.condition(n.kids[0]), c.expr(n.kids[1])
		other := func(*run) *Value { return null }
		if len(n.kids) > 2 {
			other = c.expr(n.kids[2])
		}
		return func(r *run) *Value {
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
		return func(r *run) *Value { return r.castTo(e(r), to) }
	case nProject:
		return c.project(n)
	}
	return c.scriptExpr(n)
}

func (c *compiler) inlineMap(n *node) evalFn {
	kids := c.exprs(n.kids)
	js, cost := c.lang == JavaScript, c.weight(nil)
	return func(r *run) *Value {
		r.work(cost)
		r.use(objectSize)
		o := &object{keys: make([]*Value, 0, len(kids)/2), items: make([]*Value, 0, len(kids)/2)}
		for i := 0; i < len(kids); i += 2 {
			key := kids[i](r)
			if js {
				key = r.scriptKey(key)
			} else {
				key = mapKey(key)
			}
			r.put(o, key, kids[i+1](r))
		}
		return &Value{k: Map, o: o}
	}
}

func (c *compiler) unary(n *node) evalFn {
	e := c.expr(n.kids[0])
	if c.lang == JavaScript {
		return c.scriptUnary(n.bin, e)
	}
	switch n.bin {
	case opNot:
		return func(r *run) *Value { return boolOf(!isTrue(e(r), "the negation")) }
	case opMinus:
		return func(r *run) *Value { return negate(e(r)) }
	case opInvert:
		return func(r *run) *Value {
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
//
//go:noinline
func isTrue(v *Value, where string) bool {
	if v.k != Bool {
		panic(failed(where + " needs a boolean, not " + v.k.String()))
	}
	return v.n != 0
}

// condition compiles an expression whose value is only asked for its truth.
//
//go:noinline
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
	slow := func(r *run) bool {
		x := a(r)
		return compareAny(r, op, x, b(r))
	}
	// A key against a literal is what most filters are: it makes no value.
	peek, lit := c.peeker(n.kids[0]), n.kids[1].v
	if peek == nil || n.kids[1].op != nLiteral {
		return slow
	}
	return func(r *run) bool {
		if v, ok := peek(r); ok {
			if holds, ok := quick(op, &v, lit); ok {
				return holds
			}
		}
		return slow(r)
	}
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

func (c *compiler) binary(n *node) evalFn {
	op := n.bin
	if c.lang == JavaScript {
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		if op == opInstance {
			if n.kids[1].op != nName {
				panic(&syntaxError{at: n.at, message: "instanceof with anything but a name", unsupported: true})
			}
			class := n.kids[1].s
			return func(r *run) *Value { return boolOf(scriptInstance(a(r), class)) }
		}
		return func(r *run) *Value {
			x := a(r)
			return scriptBinary(r, op, x, b(r))
		}
	}
	switch op {
	case opLess, opLessEq, opMore, opMoreEq, opEq, opNotEq:
		cmp := c.comparison(n)
		return func(r *run) *Value { return boolOf(cmp(r)) }
	case opInstance:
		a, class := c.expr(n.kids[0]), className(n.kids[1])
		if class == "" {
			panic(syntax(n.at, "instanceof needs a class"))
		}
		return func(r *run) *Value { return boolOf(instanceOf(a(r), class)) }
	}
	a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
	switch op {
	case opAdd:
		return func(r *run) *Value {
			x := a(r)
			return r.add(x, b(r))
		}
	case opSub, opMul, opDiv, opMod, opPow:
		return func(r *run) *Value {
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
	return func(r *run) *Value {
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
		if c := &classKinds[i]; hasText(" "+c.names+" ", " "+class+" ") {
			return v.k >= c.first && v.k <= c.last
		}
	}
	panic(failed("unresolvable property or identifier: " + class))
}

func (c *compiler) logic(n *node) evalFn {
	if c.lang == JavaScript {
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		and := n.op == nAnd
		return func(r *run) *Value {
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
		return func(r *run) *Value { return boolOf(a(r) && b(r)) }
	}
	return func(r *run) *Value { return boolOf(a(r) || b(r)) }
}

// castTo is (int) v and its like.
func (r *run) castTo(v *Value, to string) *Value {
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
