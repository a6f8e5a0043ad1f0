package script

// What is known of an expression before it runs: where its names live, whom it calls, and which
// paths lead into the arguments.

// expr resolves an expression in place.
func (c *compiler) expr(n *node) {
	if n.done { // a key of an inline map that goes with several values
		return
	}
	n.done = true
	c.deeper()
	kids := n.kids
	switch n.op {
	case nName:
		c.name(n)
	case nMember, nIndex:
		c.member(n)
	case nCall:
		c.call(n)
	case nNew:
		c.construct(n)
	case nList, nMap:
		n.cost = c.weight(nil)
		c.resolve(kids...)
	case nBinary:
		c.binary(n)
	case nAnd, nOr:
		// A literal of TBEL that is no boolean never compiles, whether or not the other side
		// decides.
		for _, k := range kids {
			if c.lang == TBEL && k.op == nLiteral && k.v.k != Bool {
				panic(syntax(k.at, "was expecting type: boolean; but found type: "+k.v.k.String()))
			}
		}
		c.resolve(kids...)
	case nAssign, nStep:
		c.assign(n)
	case nProject:
		c.resolve(kids[1])
		c.open()
		n.slot = c.declare("$")
		c.resolve(kids[0])
		c.resolve(kids[2:]...)
		c.close()
	case nFunction:
		if n.s == "" {
			c.makeFunction(n)
			break
		}
		c.open()
		n.slot = c.declare(n.s)
		c.makeFunction(n)
		c.close()
	case nRegexp:
		n.v = regexpOf(compilePattern(n.s, n.v.s, scriptPattern))
	case nTypeof:
		if k := kids[0]; k.op == nName {
			if _, ok := c.find(k.s); !ok && !c.assigned[k.s] && !c.isClass(k.s) && c.routine(k.s) == nil &&
				k.s != "NaN" && k.s != "Infinity" {
				n.op, n.v = nConst, textOf("undefined")
				break
			}
		}
		c.resolve(kids...)
		kids[0].flag = kids[0].flag && kids[0].op != nVariable
	case nDelete:
		if k := kids[0]; k.op == nMember || k.op == nIndex {
			c.resolve(k.kids...)
			k.key()
		}
	case nLiteral, nUnary, nFirst, nCond, nCast, nTemplate, nComma, nVoid:
		c.resolve(kids...)
	default:
		panic(syntax(n.at, "not an expression"))
	}
	c.f.nesting--
}

// key makes the name behind a point a value.
//
//go:noinline
func (n *node) key() {
	if n.op == nMember {
		n.v = textOf(n.s)
	}
}

// name reads a variable.
func (c *compiler) name(n *node) {
	p, ok := c.find(n.s)
	if n.flag = !ok && c.assigned[n.s]; n.flag { // further below
		p, ok = c.global(n.s), true
	}
	if ok {
		n.depth, n.slot = p.depth, p.slot
		if n.op = nVariable; c.isArgument(p) {
			n.op = nArgument
		}
		return
	}
	n.op = nConst
	f := c.routine(n.s)
	switch {
	case c.lang == JavaScript && n.s == "undefined":
		n.v = undefined
	case c.lang == JavaScript && (n.s == "NaN" || n.s == "Infinity"):
		n.v = doubleOf(textNumber(n.s))
	case c.lang == TBEL && is(n.s, "empty"):
		n.v = emptyValue
	case c.lang == JavaScript && f != nil:
		if n.v = nativeOf(f); c.isClass(n.s) {
			n.v.k = Class
		}
		n.v.o.text = n.s
	case c.isClass(n.s):
		n.v = &Value{k: Class, o: &object{text: n.s}}
	default:
		n.op = nUnknown
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

// member is a.b or a[e]. A path of constant keys into msg or metadata looks in the message's text
// and builds nothing, as long as nothing else made the script build it.
func (c *compiler) member(n *node) {
	n.path, n.slot = c.path(n)
	n.flag = nullSafe(n)
	n.last = n.op == nMember && mapMethod(n.s)
	n.key()
	c.resolve(n.kids...)
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

// call resolves whom a call is for: a routine, a function of the script, a method or a value.
func (c *compiler) call(n *node) {
	callee := n.kids[0]
	n.cost = c.weight(nil)
	switch {
	case callee.op == nMember && callee.kids[0].op == nName && c.isClass(callee.kids[0].s):
		class := callee.kids[0].s
		if _, shadowed := c.find(class); !shadowed {
			if n.f = routineOf(c.lang, class+"."+callee.s); n.f == nil && c.lang == TBEL {
				n.op, n.s = nUnknown, class+"."+callee.s
			}
		}
	case callee.op == nName && c.lang == TBEL:
		n.depth, n.p = c.findProto(callee.s)
		if n.p != nil {
			break
		}
		if n.f = c.routine(callee.s); n.f == nil {
			n.op, n.s = nUnknown, callee.s
		} else if len(n.kids) > 1 && n.kids[1].op == nLiteral {
			switch k := n.kids[1]; callee.s {
			case "stringToBytes": // the engine loses a literal argument here (RULES.md 5.5)
				n.op, n.s = nUnknown, callee.s
			case "$find":
				k.v = regexpOf(compilePattern(k.v.s, "", tbelPattern))
			}
		}
	case callee.op != nMember && c.lang == TBEL:
		panic(syntax(n.at, "a call of what is no function"))
	}
	if n.f == nil && n.p == nil && n.op == nCall {
		if callee.op != nMember && callee.op != nIndex {
			c.expr(callee)
			if callee.s == "" {
				callee.s = "the expression"
			}
		} else {
			c.resolve(callee.kids...)
			callee.flag = nullSafe(callee)
			n.m = methodsOf(c.lang, callee.s)
		}
	}
	c.resolve(n.kids[1:]...)
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

// construct resolves new C(…) of the classes of the language.
func (c *compiler) construct(n *node) {
	c.resolve(n.kids...)
	n.f = routineOf(c.lang, "new."+n.s)
	if c.lang == JavaScript {
		if _, ok := c.find(n.s); ok {
			panic(&syntaxError{at: n.at, message: "new of a function of the script", unsupported: true})
		}
		if n.f == nil && oneOf("Array Object Error TypeError RangeError SyntaxError RegExp", n.s) {
			n.f = routineOf(JavaScript, "."+n.s)
		}
		if n.f == nil {
			panic(&syntaxError{at: n.at, message: "new " + n.s, unsupported: true})
		}
	}
	n.op, n.cost = nCall, c.weight(nil)
	n.kids = append([]*node{{}}, n.kids...)
	if n.f == nil {
		n.op = nUnknown
	}
}

func (c *compiler) binary(n *node) {
	a, b := n.kids[0], n.kids[1]
	if n.bin == opInstance {
		if n.s = className(b); n.s == "" || c.lang == JavaScript && b.op != nName {
			panic(&syntaxError{at: n.at, message: "instanceof with anything but a name", unsupported: c.lang == JavaScript})
		}
		c.expr(a)
		return
	}
	c.resolve(n.kids...)
	// A key against a literal is what most filters are: it makes no value.
	if n.bin >= opLess && n.bin <= opNotEq && c.lang == TBEL {
		n.op = nCompare
		n.flag = b.op == nLiteral && (a.path != nil || a.op == nArgument && a.slot == slotType)
	}
}

// assign resolves a = e, a += e, a++ and --a.
func (c *compiler) assign(n *node) {
	target := n.kids[0]
	c.resolve(n.kids[1:]...)
	if target.op != nName {
		c.resolve(target.kids...)
		target.key()
		return
	}
	p, known := c.find(target.s)
	if !known && c.lang == JavaScript && n.op == nAssign && n.bin == opNone {
		p, known = c.global(target.s), true
	}
	if !known && (c.lang == JavaScript || n.op == nStep || n.bin != opNone) {
		c.expr(target) // it fails
		if target.op == nUnknown && (c.lang == JavaScript || n.op == nStep) {
			n.op, n.s = nUnknown, target.s
			return
		}
		if target.op == nVariable { // made further below
			p, known = place{target.depth, target.slot}, true
		}
	}
	if !known {
		p = place{0, c.declare(target.s)}
		c.f.made++
	} else if n.op == nStep || n.bin != opNone {
		c.expr(target)
	}
	n.last = true // a name
	n.depth, n.slot = p.depth, p.slot
}

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
func (c *compiler) makeFunction(n *node) {
	p := &proto{name: n.fn.name}
	n.p = p
	for f := c.f; f != nil; f = f.up {
		f.escapes = true
	}
	c.enter(c.f)
	c.function(p, c.f, n.fn.params, n.fn.body)
}
