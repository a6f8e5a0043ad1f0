package script

type flow uint8

const (
	onward flow = iota
	broke
	continued
	returned
)

// exec executes a resolved statement and says how to go on.
func (r *run) exec(n *node) flow {
	kids := n.kids
	if n.op != nBlock {
		r.work(n.cost)
	}
	switch n.op {
	case nBlock:
		if n.to > 0 {
			unset(r.sc.vars[n.slot:n.to])
		}
		for _, k := range kids {
			if f := r.exec(k); f != onward {
				return f
			}
		}
	case nExpr:
		v := r.eval(kids[0])
		if n.last {
			r.ret = v
		}
	case nVar:
		v := r.none()
		if len(kids) > 0 {
			v = r.eval(kids[0])
		}
		keepable(v)
		if r.sc.vars[n.slot] = v; n.last {
			r.ret = v
		}
	case nIf:
		if r.truth(kids[0]) {
			return r.exec(kids[1])
		}
		if len(kids) > 2 {
			return r.exec(kids[2])
		}
	case nReturn:
		if r.ret = r.none(); len(kids) > 0 {
			r.ret = r.eval(kids[0])
		}
		return returned
	case nFor, nWhile, nDo:
		return r.loop(n)
	case nEach:
		from := r.eval(kids[0])
		list := r.members(from, n.bin == opIn)
		for i := 0; i < len(list); i++ {
			r.work(n.cost)
			*r.variable(n) = list[i]
			if f := r.exec(kids[1]); f == returned {
				return f
			} else if f == broke {
				break
			}
			list = r.again(from, list, i)
		}
	case nSwitch:
		return r.choose(n)
	case nBreak:
		return broke
	case nContinue:
		return continued
	case nTry:
		return r.try(n)
	case nThrow:
		panic(&thrownValue{r.eval(kids[0])})
	case nAssert:
		if !r.truth(kids[0]) {
			panic(failed("assertion failed"))
		}
	}
	return onward
}

// loop runs a for, while or do: the condition is before the body but for the first round of a do.
func (r *run) loop(n *node) flow {
	kids := n.kids
	cond, body, step := kids[0], kids[1], (*node)(nil)
	if n.op == nFor {
		if kids[0] != nil {
			r.exec(kids[0])
		}
		cond, step, body = kids[1], kids[2], kids[3]
	}
	for first := n.op == nDo; first || cond == nil || r.truth(cond) != n.until(); first = false {
		r.work(n.cost)
		if f := r.exec(body); f == returned {
			return f
		} else if f == broke {
			break
		}
		if step != nil {
			r.eval(step)
		}
	}
	return onward
}

// again is what a loop goes on with behind member i. A list of TBEL is looped over itself: what was
// put into or taken out of it ends the loop with an error, unless the loop was at the end.
//
//go:noinline
func (r *run) again(from *Value, list []*Value, i int) []*Value {
	if r.lang == JavaScript || !from.isList() {
		return list
	}
	if n := len(from.o.items); n != len(list) && n != i+1 {
		panic(failed("the list was changed while a loop ran over it"))
	}
	return from.o.items
}

// until reports whether a loop ends when its condition holds.
func (n *node) until() bool { return n.op != nFor && n.flag }

func (r *run) choose(n *node) flow {
	v, cases := r.eval(n.kids[0]), n.kids[1:]
	from := -1
	for i, c := range cases {
		if c.kids[0] == nil {
			if from < 0 {
				from = i
			}
		} else if w := r.eval(c.kids[0]); r.lang == TBEL && r.equal(v, w) || r.lang == JavaScript && scriptSame(r, v, w) {
			from = i
			break
		}
	}
	if from < 0 {
		return onward
	}
	for _, c := range cases[from:] {
		if f := r.exec(c.kids[1]); f == broke {
			break
		} else if f != onward {
			return f
		}
	}
	return onward
}

// try is try, catch and finally. Bounds and what is not supported cannot be caught.
func (r *run) try(n *node) flow {
	catch, finally := n.kids[1], n.kids[2]
	f, thrown := r.guard(n.kids[0])
	if thrown != nil && catch != nil {
		if n.slot >= 0 {
			r.sc.vars[n.slot] = thrown
		}
		if thrown = nil; finally == nil {
			return r.exec(catch)
		}
		f, thrown = r.guard(catch)
	}
	if finally != nil {
		ret := r.ret
		if g := r.exec(finally); g != onward {
			return g
		}
		r.ret = ret
	}
	if thrown != nil {
		panic(&thrownValue{thrown})
	}
	return f
}

// guard runs a statement and catches what it throws; the run is then where it was before.
func (r *run) guard(body *node) (f flow, thrown *Value) {
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
	return r.exec(body), nil
}

// variable is where the value of a resolved name is kept.
//
//go:noinline
func (r *run) variable(n *node) **Value {
	sc := r.sc
	for d := n.depth; d > 0; d-- {
		sc = sc.up
	}
	return &sc.vars[n.slot]
}

// keepable refuses the views of a map that the engine does not let into a variable.
//
//go:noinline
func keepable(v *Value) {
	if v.k == Set && v.o.text != "" {
		panic(failedOn("the result of %() cannot be kept in a variable: use keys() or loop over it", v.o.text))
	}
}
