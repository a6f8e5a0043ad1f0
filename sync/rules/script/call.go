package script

// builtin is a function of the language. It may keep no reference to args.
type builtin func(r *run, args []*Value) *Value

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
	if c.lang == JavaScript {
		return c.scriptCall(n, args)
	}
	switch callee.op {
	case nName:
		if depth, p := c.findProto(callee.s); p != nil {
			return callProto(p, depth, args)
		}
		if fn := tbelFunction(wordOf(callee.s)); fn != nil {
			if callee.s == "stringToBytes" && len(n.kids) > 1 && n.kids[1].op == nLiteral {
				// The engine loses a literal argument here (RULES.md 5.5).
				return func(*run) *Value { panic(failed("null pointer: stringToBytes of a literal")) }
			}
			return callBuiltin(fn, args)
		}
		name := callee.s
		return func(*run) *Value { panic(failed("null pointer or function not found: " + name)) }
	case nMember:
		if class := callee.kids[0]; class.op == nName && c.isClass(class.s) {
			if _, shadowed := c.find(class.s); !shadowed {
				fn := tbelClass(wordOf(class.s), wordOf(callee.s))
				if fn == nil {
					name := class.s + "." + callee.s
					return func(*run) *Value { panic(failed("unable to resolve method: " + name)) }
				}
				return callBuiltin(fn, args)
			}
		}
		obj, name, safe := c.expr(callee.kids[0]), callee.s, nullSafe(callee)
		method := wordOf(name)
		return func(r *run) *Value {
			r.step(1)
			o := obj(r)
			if o.k == Null {
				if safe {
					return null
				}
				panic(failed("null pointer: " + name + "() of null"))
			}
			base := r.push(args)
			v := r.method(o, name, method, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	panic(syntax(n.at, "a call of what is no function"))
}

//go:noinline
func callBuiltin(fn builtin, args []evalFn) evalFn {
	if len(args) == 1 {
		// One argument is the usual case: it needs no stack.
		arg := args[0]
		return func(r *run) *Value {
			r.step(1)
			v := arg(r)
			base := len(r.argv)
			r.argv = append(r.argv, v)
			v = fn(r, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	return func(r *run) *Value {
		r.step(1)
		base := r.push(args)
		v := fn(r, r.argv[base:])
		r.argv = r.argv[:base]
		return v
	}
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
	r.step(1)
	if r.calls++; r.calls > maxCalls {
		panic(limitError("calls are nested more than " + decimal(maxCalls) + " deep"))
	}
	if r.frames += p.nesting; r.frames > maxFrames {
		panic(limitError("calls of long expressions are nested too deep"))
	}
	sc := r.newScope(p.slots, up)
	copy(sc.vars[:p.params], args)
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
	r.calls--
	r.frames -= p.nesting
	if !p.escapes {
		r.freeScope(sc)
	}
	return v
}

// construct compiles new C(…).
func (c *compiler) construct(n *node) evalFn {
	args, class := c.exprs(n.kids), n.s
	if c.lang == JavaScript {
		return c.scriptNew(n, args)
	}
	fn := tbelNew(wordOf(class))
	if fn == nil {
		return func(*run) *Value { panic(failed("could not resolve class: " + class)) }
	}
	return callBuiltin(fn, args)
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

//go:noinline
func argMap(v *Value) *object {
	if v.k != Map {
		panic(failed("no map: " + v.k.String()))
	}
	return v.o
}

// need fails unless there are so many arguments.
//
//go:noinline
func need(args []*Value, least, most int) {
	if len(args) < least || len(args) > most {
		panic(failed("unable to resolve method: wrong number of arguments: " + decimal(len(args))))
	}
}
