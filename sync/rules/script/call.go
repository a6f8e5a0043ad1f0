package script

// push evaluates arguments onto the run's stack and returns where they begin; the caller cuts the
// stack there when the call is over.
func (r *run) push(args []evalFn) int {
	base := len(r.argv)
	for _, e := range args {
		v := e(r)
		r.argv = append(r.argv, v)
	}
	return base
}

// call compiles f(…), Class.f(…) and value.f(…).
func (c *compiler) call(n *node) evalFn {
	callee, args := n.kids[0], c.exprs(n.kids[1:])
	if callee.op == nMember {
		if class := callee.kids[0]; class.op == nName && c.isClass(class.s) {
			if _, shadowed := c.find(class.s); !shadowed {
				name := class.s + "." + callee.s
				if f := routineOf(c.lang, name); f != nil {
					return c.callRoutine(f, args)
				}
				if c.lang == TBEL {
					return func(*run) *Value { panic(failed("unable to resolve method: " + name)) }
				}
			}
		}
	}
	if c.lang == JavaScript {
		return c.scriptCall(n, args)
	}
	switch callee.op {
	case nName:
		if depth, p := c.findProto(callee.s); p != nil {
			return callProto(p, depth, args)
		}
		if f := c.routine(callee.s); f != nil {
			if len(args) > 0 && n.kids[1].op == nLiteral {
				switch callee.s {
				case "stringToBytes": // the engine loses a literal argument here (RULES.md 5.5)
					return func(*run) *Value { panic(failed("null pointer: stringToBytes of a literal")) }
				case "$find":
					v := regexpOf(compilePattern(n.kids[1].v.s, "", tbelPattern))
					args[0] = func(*run) *Value { return v }
				}
			}
			return c.callRoutine(f, args)
		}
		name := callee.s
		return func(*run) *Value { panic(failed("null pointer or function not found: " + name)) }
	case nMember:
		obj, name, safe := c.expr(callee.kids[0]), callee.s, nullSafe(callee)
		known, cost := methodsOf(c.lang, name), c.weight(nil)
		return func(r *run) *Value {
			r.work(cost)
			o := obj(r)
			if o.k == Null {
				if safe {
					return null
				}
				panic(failed("null pointer: " + name + "() of null"))
			}
			base := len(r.argv)
			r.argv = append(r.argv, o)
			r.push(args)
			v := r.method(known[o.k], name, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	panic(syntax(n.at, "a call of what is no function"))
}

// routine finds a function of the language; the library also sees its own.
func (c *compiler) routine(name string) *routine {
	if name[0] != '$' {
		return routineOf(c.lang, "."+name)
	}
	if c.lib {
		return routineOf(c.lang, name)
	}
	return nil
}

//go:noinline
func (c *compiler) callRoutine(f *routine, args []evalFn) evalFn {
	cost := c.weight(nil)
	return func(r *run) *Value {
		r.work(cost)
		base := r.push(args)
		v := r.invoke(f, r.argv[base:])
		r.argv = r.argv[:base]
		return v
	}
}

// method calls a method of TBEL on a[0].
//
//go:noinline
func (r *run) method(f *routine, name string, a []*Value) *Value {
	if f == nil {
		panic(failed("unable to resolve method: " + a[0].k.String() + "." + name + "() [arglength=" + decimal(len(a)-1) + "]"))
	}
	if a[0].k == Char {
		a[0] = textOf(a[0].Text())
	}
	return r.invoke(f, a)
}

// callProto compiles the call of a function of the script; depth is how far out it was declared.
func callProto(p *proto, depth int, args []evalFn) evalFn {
	return func(r *run) *Value {
		base := r.push(args)
		up := r.sc
		for d := depth; d > 0; d-- {
			up = up.up
		}
		v := r.enter(p, up, r.argv[base:])
		r.argv = r.argv[:base]
		return v
	}
}

// enter runs a function of the script.
//
//go:noinline
func (r *run) enter(p *proto, up *scope, args []*Value) *Value {
	if p.lib {
		r.work(1)
	} else {
		r.step(1)
		if r.calls++; r.calls > maxCalls {
			panic(limitError("calls are nested more than " + decimal(maxCalls) + " deep"))
		}
	}
	if r.frames += p.nesting; r.frames > maxFrames {
		panic(limitError("calls of long expressions are nested too deep"))
	}
	sc := r.newScope(p.slots, up)
	copy(sc.vars[:p.params], args)
	if p.lib {
		r.fill(p, sc, args)
	}
	if p.escapes {
		r.use(objectSize + p.slots*valueSize)
	}
	caller, ret := r.sc, r.ret
	r.callers = append(r.callers, caller)
	r.sc, r.ret = sc, null
	if r.lang == JavaScript {
		r.ret = undefined
	}
	p.body(r)
	v := r.ret
	r.sc, r.ret = caller, ret
	r.callers = r.callers[:len(r.callers)-1]
	if !p.lib {
		r.calls--
	}
	r.frames -= p.nesting
	if !p.escapes {
		r.freeScope(sc)
	}
	return v
}

// fill sets the parameters of a function of the library that have no argument, $a and $n.
func (r *run) fill(p *proto, sc *scope, args []*Value) {
	params := p.params
	if p.rest {
		params--
		sc.vars[params] = r.list(clone(args[min(params, len(args)):]))
	} else if r.lang == TBEL && len(args) > params {
		need(args, 0, params)
	}
	if r.lang == TBEL {
		need(args, p.least, len(args))
		for i := len(args); i < params; i++ {
			sc.vars[i] = null
		}
	}
	sc.vars[p.params] = r.number(len(args))
}

// construct compiles new C(…).
func (c *compiler) construct(n *node) evalFn {
	args, class := c.exprs(n.kids), n.s
	if c.lang == JavaScript {
		return c.scriptNew(n, args)
	}
	f := routineOf(TBEL, "new."+class)
	if f == nil {
		return func(*run) *Value { panic(failed("could not resolve class: " + class)) }
	}
	return c.callRoutine(f, args)
}

//go:noinline
func argDouble(v *Value) float64 {
	if f, _, ok := operand(v); ok {
		return f
	}
	panic(failed("no number: " + v.k.String()))
}

//go:noinline
func argInt(v *Value) int32 {
	if v.k == Int {
		return int32(v.n)
	}
	return toInt(argDouble(v))
}

//go:noinline
func argLong(v *Value) int64 {
	if v.k == Int || v.k == Long {
		return int64(v.n)
	}
	return toLong(argDouble(v))
}

//go:noinline
func argBool(v *Value) bool {
	b, ok := asBool(v)
	if !ok {
		panic(failed("no boolean: " + v.k.String()))
	}
	return b
}

// argText is a text argument; null fails, other values are printed.
//
//go:noinline
func (r *run) argText(v *Value) string {
	if v.k <= Null {
		panic(failed("null pointer: a text is needed"))
	}
	return r.javaText(v)
}

//go:noinline
func argList(v *Value) []*Value {
	if !v.isList() {
		panic(failed("no list: " + v.k.String()))
	}
	return v.o.items
}

// need fails unless there are so many arguments.
//
//go:noinline
func need(args []*Value, least, most int) {
	if len(args) < least || len(args) > most {
		panic(failed("unable to resolve method: wrong number of arguments: " + decimal(len(args))))
	}
}
