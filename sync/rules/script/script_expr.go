package script

import "math"

// What the compiler does for JavaScript only.

// hoist makes the names that a function (deep) or a block declares, wherever in it they stand.
func (c *compiler) hoist(list []*node, deep bool) {
	for _, n := range list {
		if n == nil {
			continue
		}
		switch {
		case n.op == nVar && n.flag, n.op == nDeclare:
			c.declare(n.s)
		case n.op == nVars && n.flag:
			for _, k := range n.kids {
				c.declare(k.s)
			}
		}
		if deep {
			c.hoistVars(n)
		}
	}
}

// hoistVars makes the names of every var inside a statement, but not of functions in it.
func (c *compiler) hoistVars(n *node) {
	if n == nil {
		return
	}
	switch n.op {
	case nVar:
		if !n.flag {
			c.declare(n.s)
		}
		return
	case nEach:
		if n.flag {
			c.declare(n.s)
		}
	case nVars, nBlock, nIf, nFor, nWhile, nDo, nSwitch, nCase, nTry:
	default:
		return
	}
	for _, k := range n.kids {
		c.hoistVars(k)
	}
}

// makeFunction compiles a function; its scope will be captured by what it makes.
func (c *compiler) makeFunction(fn *function) *proto {
	p := &proto{name: fn.name}
	for f := c.f; f != nil; f = f.up {
		f.escapes = true
	}
	c.enter(c.f)
	c.function(p, c.f, fn.params, fn.body)
	return p
}

func closureOf(p *proto) evalFn {
	return func(r *run) *Value {
		r.use(objectSize)
		return &Value{k: Function, o: &object{fn: &closure{p: p, sc: r.sc}}}
	}
}

// declared makes the functions of a block when the block is entered.
func (c *compiler) declared(list []*node) (fns []stmtFn) {
	for _, n := range list {
		if n.op != nDeclare {
			continue
		}
		slot := c.declare(n.s)
		e := closureOf(c.makeFunction(n.fn))
		fns = append(fns, func(r *run) flow {
			r.sc.vars[slot] = e(r)
			return onward
		})
	}
	return fns
}

// scriptExpr compiles the expressions that TBEL does not have.
func (c *compiler) scriptExpr(n *node) evalFn {
	switch n.op {
	case nFunction:
		if n.s == "" {
			return closureOf(c.makeFunction(n.fn))
		}
		c.open()
		defer c.close()
		slot := c.declare(n.s)
		e := closureOf(c.makeFunction(n.fn))
		return func(r *run) *Value {
			v := e(r)
			r.sc.vars[slot] = v
			return v
		}
	case nTemplate:
		parts := c.exprs(n.kids)
		return func(r *run) *Value {
			var b []byte
			for _, e := range parts {
				b = append(b, r.scriptText(e(r))...)
				if len(b) > maxMemory {
					panic(limitError("a text beyond the memory of a script"))
				}
			}
			return r.text(string(b))
		}
	case nRegexp:
		p := compilePattern(n.s, n.v.s, scriptPattern)
		return func(r *run) *Value {
			r.use(objectSize)
			mine := *p
			return &Value{k: Regexp, o: &object{re: &mine}}
		}
	case nTypeof:
		if k := n.kids[0]; k.op == nName {
			if _, ok := c.find(k.s); !ok && !c.isClass(k.s) && c.routine(k.s) == nil && k.s != "NaN" && k.s != "Infinity" {
				return func(*run) *Value { return textOf("undefined") }
			}
		}
		e := c.expr(n.kids[0])
		return func(r *run) *Value { return textOf(typeOf(e(r))) }
	case nDelete:
		return c.deletion(n)
	case nComma:
		a, b := c.expr(n.kids[0]), c.expr(n.kids[1])
		return func(r *run) *Value { a(r); return b(r) }
	case nVoid:
		e := c.expr(n.kids[0])
		return func(r *run) *Value { e(r); return undefined }
	}
	panic(syntax(n.at, "not an expression"))
}

func (c *compiler) deletion(n *node) evalFn {
	k := n.kids[0]
	if k.op != nMember && k.op != nIndex {
		return func(*run) *Value { return boolOf(false) }
	}
	obj := c.expr(k.kids[0])
	key := func(*run) *Value { return textOf(k.s) }
	if k.op == nIndex {
		key = c.expr(k.kids[1])
	}
	return func(r *run) *Value {
		o := obj(r)
		name := r.scriptText(key(r))
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
		return boolOf(true)
	}
}

func (c *compiler) scriptUnary(op operator, e evalFn) evalFn {
	switch op {
	case opNot:
		return func(r *run) *Value { return boolOf(!truthy(e(r))) }
	case opMinus:
		return func(r *run) *Value { return doubleOf(-scriptNumber(r, e(r))) }
	case opPlus:
		return func(r *run) *Value { return doubleOf(scriptNumber(r, e(r))) }
	case opInvert:
		return func(r *run) *Value { return doubleOf(float64(^toInt32(scriptNumber(r, e(r))))) }
	}
	return e
}

// scriptGlobal is a name that the script does not declare.
func (c *compiler) scriptGlobal(n *node) evalFn {
	v := undefined
	switch name := n.s; name {
	case "undefined":
	case "NaN":
		v = doubleOf(math.NaN())
	case "Infinity":
		v = doubleOf(math.Inf(1))
	default:
		switch f := c.routine(name); {
		case f != nil:
			v = nativeOf(f)
			v.o.text = name
			if c.isClass(name) {
				v.k = Class
			}
		case c.isClass(name):
			v = &Value{k: Class, o: &object{text: name}}
		default:
			return func(*run) *Value {
				panic(&thrownValue{failure("ReferenceError", name+" is not defined")})
			}
		}
	}
	return func(*run) *Value { return v }
}

// callValue calls a function value.
//
//go:noinline
func (r *run) callValue(f *Value, args []*Value, name string) *Value {
	if f.k != Function && f.k != Class || f.o.fn == nil {
		panic(typeError(name + " is not a function"))
	}
	if fn := f.o.fn; fn.native == nil {
		return r.enter(fn.p, fn.sc, args)
	}
	return r.invoke(f.o.fn.native, args)
}

// scriptCall compiles a call of JavaScript.
func (c *compiler) scriptCall(n *node, args []evalFn) evalFn {
	callee := n.kids[0]
	if callee.op == nMember || callee.op == nIndex {
		obj, cost := c.expr(callee.kids[0]), c.weight(nil)
		safe, known, key := nullSafe(callee), methodsOf(JavaScript, callee.s), evalFn(nil)
		if callee.op == nIndex {
			key = c.expr(callee.kids[1])
		}
		return func(r *run) *Value {
			r.work(cost)
			o := obj(r)
			if o.k <= Null && safe {
				return undefined
			}
			name, f := callee.s, known[o.k]
			if key != nil {
				name = r.scriptText(key(r))
				f = methodOf(JavaScript, o.k, name)
			}
			base := len(r.argv)
			r.argv = append(r.argv, o)
			r.push(args)
			v := r.scriptMethod(f, name, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	f, shown := c.expr(callee), "the expression"
	if callee.op == nName {
		shown = callee.s
	}
	cost := c.weight(nil)
	return func(r *run) *Value {
		r.work(cost)
		fn := f(r)
		base := r.push(args)
		v := r.callValue(fn, r.argv[base:], shown)
		r.argv = r.argv[:base]
		return v
	}
}

// scriptNew compiles new C(…) of the classes of the language.
func (c *compiler) scriptNew(n *node, args []evalFn) evalFn {
	class := n.s
	if _, ok := c.find(class); ok {
		panic(&syntaxError{at: n.at, message: "new of a function of the script", unsupported: true})
	}
	f := routineOf(JavaScript, "new."+class)
	if f == nil && hasText(" Array Object Error TypeError RangeError SyntaxError RegExp ", " "+class+" ") {
		f = routineOf(JavaScript, "."+class)
	}
	if f == nil {
		panic(&syntaxError{at: n.at, message: "new " + class, unsupported: true})
	}
	return c.callRoutine(f, args)
}

// try compiles try, catch and finally. Bounds and what is not supported cannot be caught.
func (c *compiler) try(n *node) stmtFn {
	body := c.block(n.kids[0].kids, false)
	var catch, finally stmtFn
	slot := -1
	if n.kids[1] != nil {
		c.open()
		if n.s != "" {
			slot = c.declare(n.s)
		}
		catch = c.block(n.kids[1].kids, false)
		c.close()
	}
	if n.kids[2] != nil {
		finally = c.block(n.kids[2].kids, false)
	}
	guarded := func(r *run) flow { return body(r) }
	if catch != nil {
		guarded = func(r *run) flow {
			f, thrown, ok := r.guard(body)
			if ok {
				return f
			}
			if slot >= 0 {
				r.sc.vars[slot] = thrown
			}
			return catch(r)
		}
	}
	if finally == nil {
		return guarded
	}
	return func(r *run) flow {
		f, thrown, ok := r.guard(guarded)
		ret := r.ret
		if g := finally(r); g != onward {
			return g
		}
		if !ok {
			panic(&thrownValue{thrown})
		}
		r.ret = ret
		return f
	}
}

// guard runs a statement and catches what it throws; the run is then where it was before.
func (r *run) guard(body stmtFn) (f flow, thrown *Value, ok bool) {
	sc, calls, frames, args, callers, ret := r.sc, r.calls, r.frames, len(r.argv), len(r.callers), r.ret
	defer func() {
		x := recover()
		if x == nil {
			return
		}
		switch e := x.(type) {
		case *thrownValue:
			thrown = e.v
		case *Error:
			if e.Reason != Failed {
				panic(x)
			}
			thrown = failure("Error", e.Message)
		default:
			panic(x)
		}
		r.sc, r.calls, r.frames, r.ret = sc, calls, frames, ret
		r.argv, r.callers = r.argv[:args], r.callers[:callers]
	}()
	return body(r), nil, true
}
