package script

// walker evaluates TBEL over the syntax tree, with names in maps: another way to the same results,
// for the fuzz target that compares them. The operators, members and functions are the engine's;
// what is compared is the compiler: names and blocks, control flow, order of evaluation, calls.
type walker struct {
	r     *run
	names *names
	depth int
}

type names struct {
	vars  map[string]*Value
	funcs map[string]*function
	up    *names
}

func (w *walker) find(name string) *names {
	for n := w.names; n != nil; n = n.up {
		if _, ok := n.vars[name]; ok {
			return n
		}
	}
	return nil
}

func (w *walker) function(name string) (*function, *names) {
	for n := w.names; n != nil; n = n.up {
		if f := n.funcs[name]; f != nil {
			return f, n
		}
	}
	return nil, nil
}

// walk runs a script and gives its value.
func walk(source string, env Env, args Args) (v *Value, err error) {
	defer func() {
		if x := recover(); x != nil {
			if s, ok := x.(*syntaxError); ok {
				err = &Error{Reason: Syntax, Message: s.message}
				return
			}
			e, ok := thrown(x)
			if !ok {
				panic(x)
			}
			err = e
		}
	}()
	body, _ := parse(source, TBEL)
	r := &run{lang: TBEL, args: args, env: env, steps: 80 * maxSteps, memory: 10 * maxMemory, made: 10 * maxMemory}
	r.top = &scope{vars: make([]*Value, argSlots)}
	unset(r.top.vars)
	r.sc = r.top
	w := &walker{r: r, names: &names{vars: map[string]*Value{}}}
	w.names.vars["msg"] = r.argument(slotMsg)
	w.names.vars["metadata"] = r.argument(slotMetadata)
	w.names.vars["msgType"] = textOf(args.MsgType)
	_, v = w.block(body, null, true)
	return v, nil
}

// block runs statements; ret is the result so far.
func (w *walker) block(list []*node, ret *Value, last bool) (flow, *Value) {
	for _, n := range list {
		if n.op == nDeclare {
			if w.names.funcs == nil {
				w.names.funcs = map[string]*function{}
			}
			w.names.funcs[n.s] = n.fn
		}
	}
	end := len(list)
	for end > 0 && (list[end-1].op == nEmpty || list[end-1].op == nDeclare) {
		end--
	}
	for i, n := range list {
		f, v := w.statement(n, ret, last && i == end-1)
		if ret = v; f != onward {
			return f, ret
		}
	}
	return onward, ret
}

func (w *walker) inner(n *node, ret *Value, last bool) (flow, *Value) {
	outer := w.names
	w.names = &names{vars: map[string]*Value{}, up: outer}
	defer func() { w.names = outer }()
	if n.op == nBlock {
		return w.block(n.kids, ret, last)
	}
	return w.block([]*node{n}, ret, last)
}

func (w *walker) truth(n *node) bool { return isTrue(w.expr(n), "a condition") }

func (w *walker) statement(n *node, ret *Value, last bool) (flow, *Value) {
	w.r.step(1)
	switch n.op {
	case nEmpty, nDeclare:
	case nVar:
		v := null
		if len(n.kids) > 0 {
			v = w.expr(n.kids[0])
			keepable(v)
		}
		w.names.vars[n.s] = v
		if last {
			ret = v
		}
	case nExpr:
		v := w.expr(n.kids[0])
		if last {
			ret = v
		}
	case nIf:
		if w.truth(n.kids[0]) {
			return w.inner(n.kids[1], ret, last)
		} else if len(n.kids) > 2 {
			return w.inner(n.kids[2], ret, last)
		}
	case nFor, nWhile, nDo, nEach:
		outer := w.names
		w.names = &names{vars: map[string]*Value{}, up: outer}
		defer func() { w.names = outer }()
		return w.loop(n, ret)
	case nSwitch:
		return w.choice(n, ret, last)
	case nBreak:
		return broke, ret
	case nReturn:
		if len(n.kids) == 0 {
			return returned, null
		}
		return returned, w.expr(n.kids[0])
	case nAssert:
		if !w.truth(n.kids[0]) {
			panic(failed("assertion failed"))
		}
	default:
		panic(syntax(n.at, "not a statement"))
	}
	return onward, ret
}

func (w *walker) loop(n *node, ret *Value) (flow, *Value) {
	body := n.kids[len(n.kids)-1]
	again := func() bool { return w.truth(n.kids[0]) != n.until() }
	next := func() bool { return true }
	switch n.op {
	case nFor:
		if n.kids[0] != nil {
			_, ret = w.statement(n.kids[0], ret, false)
		}
		again = func() bool { return n.kids[1] == nil || w.truth(n.kids[1]) }
		next = func() bool {
			if n.kids[2] != nil {
				w.expr(n.kids[2])
			}
			return true
		}
	case nDo:
		again = func() bool { return true }
		next = func() bool { return w.truth(n.kids[0]) != n.flag }
	case nEach:
		from := w.expr(n.kids[0])
		list := w.r.members(from, false)
		i := 0
		again = func() bool {
			if i > 0 {
				list = w.r.again(from, list, i-1)
			}
			if i < len(list) {
				w.names.vars[n.s] = list[i]
				i++
				return true
			}
			return false
		}
	}
	for again() {
		w.r.step(1)
		f, v := w.inner(body, ret, false)
		ret = v
		if f == broke {
			break
		}
		if f == returned || !next() {
			return f, ret
		}
	}
	return onward, ret
}

func (w *walker) choice(n *node, ret *Value, last bool) (flow, *Value) {
	v := w.expr(n.kids[0])
	from := -1
	for i, c := range n.kids[1:] {
		if c.kids[0] != nil && w.r.equal(v, w.expr(c.kids[0])) {
			from = i
			break
		}
	}
	for i, c := range n.kids[1:] {
		if from < 0 && c.kids[0] == nil {
			from = i
		}
	}
	if from < 0 {
		return onward, ret
	}
	outer := w.names
	w.names = &names{vars: map[string]*Value{}, up: outer}
	defer func() { w.names = outer }()
	for _, c := range n.kids[1+from:] {
		f, v := w.block(c.kids[1:], ret, last)
		if ret = v; f == broke {
			return onward, ret
		} else if f != onward {
			return f, ret
		}
	}
	return onward, ret
}

func (w *walker) exprs(list []*node) []*Value {
	out := make([]*Value, 0, len(list))
	for _, n := range list {
		out = append(out, w.expr(n))
	}
	return out
}

func (w *walker) expr(n *node) *Value {
	r := w.r
	switch n.op {
	case nLiteral:
		return n.v
	case nName:
		if s := w.find(n.s); s != nil {
			return s.vars[n.s]
		}
		if n.s == "empty" {
			return emptyValue
		}
		if (&compiler{}).isClass(n.s) {
			return &Value{k: Class, o: &object{text: n.s}}
		}
		panic(failed("unresolvable: " + n.s))
	case nMember, nIndex:
		o := w.expr(n.kids[0])
		if o.k == Null && nullSafe(n) {
			return null
		}
		if n.op == nIndex {
			return r.index(o, w.expr(n.kids[1]))
		}
		return r.property(o, n.s)
	case nCall:
		return w.call(n)
	case nNew:
		f := routineOf(TBEL, "new."+n.s)
		if f == nil {
			panic(failed("class " + n.s))
		}
		return r.invoke(f, w.exprs(n.kids))
	case nList:
		return listOf(w.exprs(n.kids))
	case nMap:
		o := newMap()
		for i := 0; i < len(n.kids); i += 2 {
			key := mapKey(w.expr(n.kids[i]))
			r.put(o.o, key, w.expr(n.kids[i+1]))
		}
		return o
	case nUnary:
		v := w.expr(n.kids[0])
		switch n.bin {
		case opNot:
			return boolOf(!isTrue(v, "!"))
		case opMinus:
			return negate(v)
		case opInvert:
			if v.k != Int && v.k != Long {
				panic(failed("~"))
			}
			return narrowInvert(v)
		}
		return v
	case nBinary:
		if n.bin == opInstance {
			return boolOf(instanceOf(w.expr(n.kids[0]), className(n.kids[1])))
		}
		a := w.expr(n.kids[0])
		return tbelBinary(r, n.bin, a, w.expr(n.kids[1]))
	case nAnd:
		return boolOf(w.truth(n.kids[0]) && w.truth(n.kids[1]))
	case nOr:
		return boolOf(w.truth(n.kids[0]) || w.truth(n.kids[1]))
	case nFirst:
		if v := w.expr(n.kids[0]); !isEmpty(v) {
			return v
		}
		return w.expr(n.kids[1])
	case nCond:
		if w.truth(n.kids[0]) {
			return w.expr(n.kids[1])
		} else if len(n.kids) > 2 {
			return w.expr(n.kids[2])
		}
		return null
	case nAssign:
		return w.assign(n)
	case nStep:
		old := w.expr(n.kids[0])
		if !old.isNumber() {
			panic(failed("no number"))
		}
		v := tbelBinary(r, n.bin, old, intOf(1))
		w.find(n.kids[0].s).vars[n.kids[0].s] = v
		if n.flag {
			return v
		}
		return old
	case nCast:
		v := w.expr(n.kids[0])
		if v.k <= Null {
			return null
		}
		return r.castTo(v, n.s)
	case nProject:
		return w.project(n)
	}
	panic(syntax(n.at, "not an expression"))
}

func narrowInvert(v *Value) *Value {
	if v.k == Int {
		return intOf(^int32(v.n))
	}
	return longOf(^int64(v.n))
}

func (w *walker) assign(n *node) *Value {
	target := n.kids[0]
	if target.op == nName {
		var v *Value
		if n.bin == opNone {
			v = w.expr(n.kids[1])
		} else {
			old := w.expr(target)
			v = tbelBinary(w.r, n.bin, old, w.expr(n.kids[1]))
		}
		keepable(v)
		s := w.find(target.s)
		if s == nil {
			s = w.names
		}
		s.vars[target.s] = v
		return v
	}
	o := w.expr(target.kids[0])
	key := textOf(target.s)
	if target.op == nIndex {
		key = w.expr(target.kids[1])
	}
	var v *Value
	if n.bin == opNone {
		v = w.expr(n.kids[1])
	} else {
		old := w.r.index(o, key)
		v = tbelBinary(w.r, n.bin, old, w.expr(n.kids[1]))
	}
	w.r.setIndex(o, key, v)
	return v
}

func (w *walker) call(n *node) *Value {
	callee := n.kids[0]
	if callee.op == nName {
		if f, home := w.function(callee.s); f != nil {
			args := w.exprs(n.kids[1:])
			if w.depth++; w.depth > maxCalls {
				panic(limitError("depth"))
			}
			outer := w.names
			w.names = &names{vars: map[string]*Value{}, up: home}
			for i, p := range f.params {
				if i < len(args) {
					w.names.vars[p] = args[i]
				}
			}
			_, v := w.block(f.body, null, true)
			w.names = outer
			w.depth--
			return v
		}
		f := (&compiler{}).routine(callee.s)
		if f == nil || callee.s == "stringToBytes" && len(n.kids) > 1 && n.kids[1].op == nLiteral {
			panic(failed("function not found"))
		}
		return w.r.invoke(f, w.exprs(n.kids[1:]))
	}
	if callee.op != nMember {
		panic(syntax(n.at, "a call of what is no function"))
	}
	if class := callee.kids[0]; class.op == nName && (&compiler{}).isClass(class.s) && w.find(class.s) == nil {
		f := routineOf(TBEL, class.s+"."+callee.s)
		if f == nil {
			panic(failed("method not found"))
		}
		return w.r.invoke(f, w.exprs(n.kids[1:]))
	}
	o := w.expr(callee.kids[0])
	if o.k == Null {
		if nullSafe(callee) {
			return null
		}
		panic(failed("null pointer"))
	}
	return w.r.method(methodOf(TBEL, o.k, callee.s), callee.s, append([]*Value{o}, w.exprs(n.kids[1:])...))
}

func (w *walker) project(n *node) *Value {
	from := w.expr(n.kids[1])
	if !from.isList() {
		panic(failed("no list"))
	}
	outer := w.names
	w.names = &names{vars: map[string]*Value{}, up: outer}
	defer func() { w.names = outer }()
	var out []*Value
	for _, v := range from.o.items {
		w.r.step(1)
		w.names.vars["$"] = v
		if len(n.kids) < 3 || w.truth(n.kids[2]) {
			out = append(out, w.expr(n.kids[0]))
		}
	}
	return listOf(out)
}
