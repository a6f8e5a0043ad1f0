package script

import "strings"

func (p *parser) expression() *node {
	e := p.assignment()
	for p.js && p.is(",") {
		at := p.tok.at
		p.advance()
		e = made(nComma, at, e, p.assignment())
	}
	return e
}

func (p *parser) assignment() *node {
	p.deeper()
	n := p.anyAssignment()
	p.depth--
	return n
}

func (p *parser) anyAssignment() *node {
	if p.js {
		if f := p.arrow(); f != nil {
			return f
		}
	}
	e := p.conditional()
	if op, ok := p.assignOp(); ok {
		if e.op != nName && (e.op != nMember && e.op != nIndex || op != opNone && is(p.tok.s, "=")) {
			p.fail("nothing that a value can be assigned to")
		}
		if p.names != nil && e.op == nName {
			p.names[e.s] = true
		}
		at := p.tok.at
		p.advance()
		e = made(nAssign, at, e, p.assignment())
		e.bin = op
	}
	return e
}

func (p *parser) conditional() *node {
	c := p.binary()
	if !p.is("?") {
		return c
	}
	at := p.tok.at
	p.advance()
	half := p.half
	p.half = half && !p.js
	p.branch = true
	n := made(nCond, at, c, p.assignment())
	if half && !p.js {
		p.half = half
		return n // the ":" belongs to the inline map
	}
	if p.js || p.is(":") { // without it TBEL's is null
		p.expect(":")
		p.branch = true
		n.add(p.assignment())
	}
	return n
}

// binary reads operands and operators in a row and then builds the tree by their binding. The
// literals of TBEL bind as the engine folds them (RULES.md 5.3).
func (p *parser) binary() *node {
	after, signed := p.branch, p.signed()
	p.branch = false
	first := p.unary()
	op := p.operatorHere()
	if op == opNone {
		return first
	}
	row := row{{e: first}}
	kept := 0
	for ; op != opNone; op = p.operatorHere() {
		at := p.tok.at
		// Behind a sign that has an operator before it the engine takes a minus for a sign, and
		// loses what it signs (RULES.md 5.4.12). A row that goes on behind it is read as in Java.
		lost := signed && op == opSub && (after || len(row) > 1 || p.digitAt(at+1))
		p.advance()
		switch {
		case !lost:
			kept, signed = 0, p.signed()
		case kept == 0:
			kept = len(row)
			fallthrough
		default:
			signed = !p.digitAt(at + 1)
		}
		row = row.plus(part{e: p.unary(), op: op, at: at})
		if len(row) > 2000 {
			p.refuse("an expression of so many operators")
		}
	}
	if kept > 0 {
		row = row[:kept]
	}
	if !p.js {
		row = row.folded()
	}
	return row.tree(p.js, p.js)
}

// signed reports whether a sign of TBEL comes that is no part of a number.
func (p *parser) signed() bool { return !p.js && !p.lib && p.is("-") && !p.digitAt(p.pos) }

func (p *parser) unary() *node {
	p.deeper()
	n := p.anyUnary(p.tok.at)
	p.depth--
	return n
}

func (p *parser) anyUnary(at int) *node {
	if p.tok.kind == tPunct {
		op := opNone
		switch p.tok.s {
		case "!":
			op = opNot
		case "-":
			op = opMinus
		case "+":
			if !p.js {
				p.fail("illegal use of operator: +")
			}
			op = opPlus
		case "~":
			op = opInvert
		case "++", "--":
			n := p.stepped(at)
			n.flag, n.kids = true, clones([]*node{p.target(p.unary())})
			return n
		case "(":
			if n := p.cast(at); n != nil {
				return n
			}
		}
		if op != opNone {
			p.advance()
			if !p.js && op == opNot && p.accept("!") {
				return p.unary()
			}
			bracket, number := p.is("("), p.js || p.lib || p.digitAt(at+1)
			var e *node
			if number && op == opMinus {
				e = p.unary()
			} else {
				e = p.captured()
			}
			if number && e.op == nLiteral && op == opMinus && e.v.isNumber() {
				return literal(at, negate(e.v))
			}
			if op == opInvert && !p.js && e.op != nLiteral && !bracket {
				panic(syntax(at, "invalid operator: ~"))
			}
			e = made(nUnary, at, e)
			e.bin = op
			return e
		}
	}
	if p.js && p.tok.kind == tName {
		op := nEmpty
		switch {
		case is(p.tok.s, "typeof"):
			op = nTypeof
		case is(p.tok.s, "delete"):
			op = nDelete
		case is(p.tok.s, "void"):
			op = nVoid
		}
		if op != nEmpty {
			p.advance()
			return made(op, at, p.unary())
		}
	}
	e := p.postfix(p.primary())
	if (p.is("++") || p.is("--")) && !p.tok.newline {
		e = p.target(e)
		n := p.stepped(p.tok.at)
		n.kids = clones([]*node{e})
		e = n
		if !p.js && p.tok.kind == tPunct && !hasByte("<>=!&|;)]},", p.tok.s[0]) {
			p.unexpected("expected the end of the statement, found %")
		}
	}
	return e
}

// stepped reads ++ or --.
func (p *parser) stepped(at int) *node {
	n := made(nStep, at)
	if n.bin = opAdd; p.tok.s == "--" {
		n.bin = opSub
	}
	p.advance()
	return n
}

// target is what ++ and -- change: in TBEL variables only.
func (p *parser) target(e *node) *node {
	if e.op == nName || p.js && (e.op == nMember || e.op == nIndex) {
		return e
	}
	p.fail("++ and -- are for variables")
	return nil
}

// literal is a node of a value.
//
//go:noinline
func literal(at int, v *Value) *node { return &node{op: nLiteral, at: at, v: v} }

// cast reads `(int) e` of TBEL.
func (p *parser) cast(at int) *node {
	if p.js {
		return nil
	}
	here := p.mark()
	p.advance()
	if p.tok.kind == tName && oneOf(types, p.tok.s) {
		name := p.tok.s
		p.advance()
		if !p.accept(")") {
			p.back(here)
			return nil
		}
		if p.is("-") { // the engine takes a number from a class
			p.unary()
			return literal(at, null)
		}
		if p.tok.kind == tName || p.tok.kind == tLiteral || p.is("(") {
			return &node{op: nCast, at: at, s: name, flag: p.lib, kids: []*node{p.captured()}}
		}
	}
	p.back(here)
	return nil
}

// captured is what a sign, "!" or a cast of TBEL takes: all up to a blank or an operator that ends
// it, since users' numbers depend on it: -a-b is -(a-b) (RULES.md 5.4.12).
func (p *parser) captured() *node {
	if p.js || p.lib {
		return p.unary()
	}
	src, at, end := p.src, p.tok.at, p.tok.at
	depth, point := 0, false
	for p.pos = at; ; {
		t := p.lexer.next()
		dot := t.kind == tPunct && (t.s == "." || t.s == ".?")
		if t.kind == tEnd || depth == 0 && t.at > end && !dot && !point {
			break
		}
		if point = dot; t.kind == tPunct {
			if i := strings.IndexAny(t.s, "*/+%,=&|;)]}"); depth == 0 && (i >= 0 || p.half && t.s == ":") {
				end = t.at + max(i, 0)
				break
			}
			if hasByte("([{", t.s[0]) {
				depth++
			} else if hasByte(")]}", t.s[0]) {
				depth--
			}
		}
		end = p.pos
	}
	p.src, p.pos = src[:end], at
	p.advance()
	e := p.inner(p.expression)
	if p.accept(":") { // of a "?" before it, which gets no other value
		p.inner(p.expression)
	}
	if p.tok.kind != tEnd {
		p.unexpected("expected an operator, found %")
	}
	p.src, p.pos = src, end
	p.advance()
	return e
}

// postfix reads members, indexes and calls behind e.
//
//go:noinline
func (p *parser) postfix(e *node) *node {
	for links := 0; ; links++ {
		if links > maxDepth {
			p.refuse("a chain of so many members")
		}
		at := p.tok.at
		switch {
		case p.is(".") || p.is(".?") || p.js && p.is("?."):
			safe := p.tok.s != "."
			p.advance()
			if p.js && safe && (p.is("[") || p.is("(")) {
				p.refuse("?.[ and ?.(")
			}
			if p.is("{") {
				p.refuse("the block behind a point")
			}
			e = made(nMember, at, e)
			e.s, e.flag = p.name(), safe
		case p.is("["):
			p.advance()
			i := p.inner(func() *node { return p.expression() })
			p.expect("]")
			e = made(nIndex, at, e, i)
		case p.is("("):
			e = &node{op: nCall, at: at, kids: append([]*node{e}, p.arguments()...)}
		default:
			return e
		}
	}
}

// inner reads something inside brackets, where the rules of inline maps end.
//
//go:noinline
func (p *parser) inner(read func() *node) *node {
	half, nest, inOff := p.half, p.nest, p.inOff
	p.half, p.nest, p.inOff = false, nil, false
	n := read()
	p.half, p.nest, p.inOff = half, nest, inOff
	return n
}

func (p *parser) arguments() (args []*node) {
	p.expect("(")
	for !p.is(")") {
		if p.is("...") {
			p.refuse("spread arguments")
		}
		args = addNode(args, p.inner(p.assignment))
		if !p.accept(",") {
			break
		}
	}
	if p.tok.kind == tEnd {
		p.fail("unbalanced braces ( ... )")
	}
	p.expect(")")
	return args
}

//go:noinline
func (p *parser) primary() *node {
	at := p.tok.at
	switch p.tok.kind {
	case tLiteral:
		n := literal(at, p.tok.v)
		p.advance()
		return n
	case tTemplate:
		return p.template(at)
	case tName:
		return p.named(at)
	case tEnd:
		p.fail("unexpected end of statement")
	}
	switch p.tok.s {
	case "(":
		p.advance()
		e := p.inner(func() *node { return p.parenthesised() })
		if p.tok.kind == tEnd {
			p.fail("unbalanced braces ( ... )")
		}
		p.expect(")")
		if e.op == nLiteral {
			e = made(nUnary, at, e) // no literal to folded
		}
		return e
	case "[", "{":
		if p.js {
			return p.scriptCollection(at)
		}
		return p.collection(at)
	case "/", "/=":
		if p.js {
			p.pos = at + 1
			n := &node{op: nRegexp, at: at}
			var flags string
			n.s, flags = p.regexp()
			n.v = textOf(flags)
			p.advance()
			return n
		}
	}
	p.unexpected("unexpected %")
	return nil
}

// parenthesised is an expression, or a projection of TBEL: (e in list if condition).
func (p *parser) parenthesised() *node {
	e := p.expression()
	if !p.js && p.word("in") {
		at := p.tok.at
		p.advance()
		n := made(nProject, at, e, p.expression())
		if p.acceptWord("if") {
			n.add(p.expression())
		}
		return n
	}
	return e
}

func (p *parser) named(at int) *node {
	name := p.tok.s
	p.advance()
	switch {
	case is(name, "true") || is(name, "false"):
		return literal(at, boolOf(name == "true"))
	case is(name, "null"):
		return literal(at, null)
	case is(name, "new"):
		n := &node{op: nNew, at: at, s: p.name()}
		for p.accept(".") {
			n.s += "." + p.name()
		}
		if !p.js && p.accept("[") {
			n.add(literal(at, textOf(n.s)))
			n.add(p.inner(p.expression))
			n.s = "$array"
			p.expect("]")
		} else if p.is("(") || !p.js {
			n.kids = p.arguments()
		}
		return n
	}
	if p.js {
		return p.scriptName(at, name)
	}
	switch name {
	case "nil":
		return literal(at, null)
	case "function", "def":
		if p.is("(") {
			p.fail("a function is no value")
		}
	}
	return &node{op: nName, at: at, s: name}
}

// collection reads an inline list or map of TBEL as the engine does: the first ":" makes a map of
// it, a value without a key of its own goes to the key before it (RULES.md 5.4.10).
func (p *parser) collection(at int) *node {
	p.deeper()
	isMap, closing := p.is("{"), "]"
	if isMap {
		closing = "}"
	}
	if p.nest != nil && p.nest.at == at {
		if !p.nest.known {
			p.nest.known, p.nest.isMap = true, isMap
		} else {
			isMap = p.nest.isMap
		}
	}
	saved, half := p.nest, p.half
	nest := &nesting{}
	p.half = true
	p.advance()
	n := &node{op: nList, at: at}
	var key *node
	for !p.is(closing) {
		if p.tok.kind == tEnd {
			p.fail("unbalanced braces " + map[bool]string{true: "{ ... }", false: "[ ... ]"}[closing == "}"])
		}
		nest.at = p.tok.at
		p.nest = nest
		e := p.element()
		if p.accept(":") {
			if !isMap {
				n.kids, isMap = nil, true
			}
			key = e
			if p.is(",") || p.is(closing) {
				p.fail("a key without value")
			}
			continue
		}
		if isMap && key == nil { // {a, b} is a list
			if e.op == nLiteral && closing == "]" {
				p.fail("was expecting a map, found a literal: a list behind a map in one inline map or list")
			}
			isMap = false
		}
		if isMap {
			n.add(key)
			n.add(e)
		} else {
			n.add(e)
		}
		if !p.accept(",") && !p.is(closing) {
			p.fail("unterminated collection element: expected , or " + closing + ", found " + p.shown())
		}
	}
	p.nest, p.half = saved, half
	p.depth--
	p.advance()
	if isMap {
		n.op = nMap
	}
	return n
}

// element is a key or a value of an inline collection. A bare name before ":" is a text.
func (p *parser) element() *node {
	if p.tok.kind == tName {
		if t := p.ahead(); t.kind == tPunct && t.s == ":" {
			n := literal(p.tok.at, textOf(p.tok.s))
			p.advance()
			return n
		}
	}
	return p.assignment()
}
