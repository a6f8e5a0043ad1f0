package script

import (
	"math"
	"strconv"
)

// push evaluates arguments onto the run's stack and returns where they begin; the caller cuts the
// stack there when the call is over.
func (r *run) push(args []*node) int {
	base := len(r.argv)
	for _, n := range args {
		v := r.eval(n)
		r.argv = append(r.argv, v)
	}
	return base
}

// call calls f(…), value.f(…), Class.f(…) and new C(…); the arguments are kids[1:].
func (r *run) call(n *node) *Value {
	r.work(n.cost)
	callee, args := n.kids[0], n.kids[1:]
	base := len(r.argv)
	var v *Value
	switch {
	case n.f != nil:
		r.push(args)
		v = r.invoke(n.f, r.argv[base:])
	case n.p != nil:
		r.push(args)
		up := r.sc
		for d := n.depth; d > 0; d-- {
			up = up.up
		}
		v = r.enter(n.p, up, r.argv[base:])
	case n.m != nil:
		o, name := r.eval(callee.kids[0]), callee.s
		if o.k <= Null && callee.flag {
			return r.none()
		}
		f := n.m[o.k]
		if callee.op == nIndex {
			name = r.scriptText(r.eval(callee.kids[1]))
			f = methodOf(JavaScript, o.k, name)
		}
		r.argv = append(r.argv, o)
		r.push(args)
		if a := r.argv[base:]; r.lang == JavaScript {
			v = r.scriptMethod(f, name, a)
		} else {
			v = r.method(f, name, a)
		}
	default:
		f := r.eval(callee)
		r.push(args)
		v = r.callValue(f, r.argv[base:], callee.s)
	}
	r.argv = r.argv[:base]
	return v
}

// method calls a method of TBEL on a[0].
//
//go:noinline
func (r *run) method(f *routine, name string, a []*Value) *Value {
	if a[0].k <= Null {
		panic(failedOn("null pointer: %() of null", name))
	}
	if f == nil {
		panic(failed("unable to resolve method: " + a[0].k.String() + "." + name + "() [arglength=" + decimal(len(a)-1) + "]"))
	}
	return r.invoke(f, a)
}

// callValue calls a function value.
//
//go:noinline
func (r *run) callValue(f *Value, args []*Value, name string) *Value {
	if f.k != Function && f.k != Class || f.o.fn == nil {
		panic(typeErrorOn("% is not a function", name))
	}
	if fn := f.o.fn; fn.native == nil {
		return r.enter(fn.p, fn.sc, args)
	}
	return r.invoke(f.o.fn.native, args)
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
			panic(limitAt("calls are nested more than % deep", maxCalls))
		}
	}
	if r.frames += p.nesting; r.frames > maxFrames {
		panic(limitError("calls of long expressions are nested too deep"))
	}
	if len(args) > p.slots && r.lang == TBEL && !p.lib {
		panic(failed("more arguments than the function has variables"))
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
	r.exec(p.body)
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

//go:noinline
func argDouble(v *Value) float64 {
	if f, ok := asDouble(v); ok {
		return f
	}
	panic(failedKind("no number: %", v))
}

//go:noinline
func asDouble(v *Value) (f float64, ok bool) {
	if v.isText() {
		return parsed(v.Text())
	}
	return v.Number(), v.isNumber()
}

//go:noinline
func argInt(v *Value) int32 {
	switch v.k {
	case Int, Bool, Char:
		return int32(v.n)
	case Text:
		return int32(argWhole(v.s, 32))
	}
	f := argDouble(v)
	if f > math.MaxInt32 {
		panic(failed("cannot coerce a number to int since its value exceeds the maximum of int"))
	}
	if v.k == Long {
		return int32(v.n)
	}
	return toInt(f)
}

// argWhole is a text where a function or a cast wants a whole number.
//
//go:noinline
func argWhole(s string, bits int) int64 {
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		panic(noNumber(s))
	}
	return n
}

//go:noinline
func argLong(v *Value) int64 {
	switch v.k {
	case Int, Long:
		return int64(v.n)
	case Text:
		return argWhole(v.s, 64)
	}
	return toLong(argDouble(v))
}

//go:noinline
func argBool(v *Value) bool {
	b, ok := asBool(v)
	if !ok {
		panic(failedKind("no boolean: %", v))
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
		panic(failedKind("no list: %", v))
	}
	return v.o.items
}

// need fails unless there are so many arguments.
//
//go:noinline
func need(args []*Value, least, most int) {
	if len(args) < least || len(args) > most {
		panic(failedAt("unable to resolve method: wrong number of arguments: %", len(args)))
	}
}
