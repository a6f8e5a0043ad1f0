package script

import "strings"

// operators are those of two operands, by how tight they bind: loosest first, in groups. A group is
// what one language alone has if it begins with its letter.
var operators = [...]struct {
	text    string
	langs   uint8
	binding uint8
	op      operator
}{
	{"||", inBoth, 1, opLogicOr},
	{"or", inTBEL, 1, opFirst},
	{"??", inJS, 1, opFirst},
	{"&&", inBoth, 2, opLogicAnd},
	{"and", inTBEL, 2, opLogicAnd},
	{"|", inBoth, 3, opOr},
	{"^", inBoth, 4, opXor},
	{"&", inBoth, 5, opAnd},
	{"==", inBoth, 6, opEq},
	{"!=", inBoth, 6, opNotEq},
	{"===", inTBEL, 6, opEq},
	{"===", inJS, 6, opSame},
	{"!==", inJS, 6, opNotSame},
	{"<", inBoth, 7, opLess},
	{"<=", inBoth, 7, opLessEq},
	{">", inBoth, 7, opMore},
	{">=", inBoth, 7, opMoreEq},
	{"instanceof", inBoth, 7, opInstance},
	{"is", inTBEL, 7, opInstance},
	{"contains", inTBEL, 7, opContains},
	{"~=", inTBEL, 7, opMatches},
	{"soundslike", inTBEL, 7, opSounds},
	{"strsim", inTBEL, 7, opSimilar},
	{"in", inJS, 7, opIn},
	{"<<", inBoth, 8, opShl},
	{">>", inBoth, 8, opShr},
	{">>>", inBoth, 8, opUshr},
	{"+", inBoth, 9, opAdd},
	{"-", inBoth, 9, opSub},
	{"*", inBoth, 10, opMul},
	{"/", inBoth, 10, opDiv},
	{"%", inBoth, 10, opMod},
	{"**", inBoth, 11, opPow},
}

// binding is how tight an operator binds; 0 is none.
//
//go:noinline
func binding(op operator) int {
	for i := range operators {
		if operators[i].op == op {
			return int(operators[i].binding)
		}
	}
	return 0
}

// operatorOf is the operator of two operands that a text is; opNone if it is none.
func (p *parser) operatorOf(text string) operator {
	lang := uint8(inTBEL)
	if p.js {
		lang = inJS
	}
	for i := range operators {
		if o := &operators[i]; o.text == text && o.langs&lang != 0 {
			return o.op
		}
	}
	return opNone
}

// assignOp is the operator of an assignment; that of "=" is opNone. TBEL reads "=-" and "=+" as
// "-=" and "+=".
func (p *parser) assignOp() (op operator, ok bool) {
	s, ok := strings.CutSuffix(p.tok.s, "=")
	if ok = ok && p.tok.kind == tPunct; ok && s == "" && !p.js && p.pos < len(p.src) && hasByte("+-", p.src[p.pos]) {
		s = p.src[p.pos : p.pos+1]
		p.pos++
	}
	if !ok || s == "" {
		return opNone, ok
	}
	op = p.operatorOf(s)
	return op, op >= opAdd && op <= opXor
}

// operatorHere is the operator of two operands at tok.
func (p *parser) operatorHere() operator {
	if p.tok.kind != tPunct && p.tok.kind != tName {
		return opNone
	}
	if !p.js && is(p.tok.s, "convertable_to") {
		p.refuse("the operator convertable_to")
	}
	op := p.operatorOf(p.tok.s)
	if op == opIn && p.inOff {
		return opNone
	}
	return op
}

// row is an expression without brackets: operands, each with the operator before it.
type row []part

type part struct {
	e  *node
	op operator
	at int
	_  [0]func() // never compared: that would be code
}

//go:noinline
func (r row) plus(p part) row { return append(r, p) }

//go:noinline
func join(op operator, at int, a, b *node) *node {
	n := made(nBinary, at, a, b)
	n.bin = op
	switch op {
	case opLogicAnd:
		n.op = nAnd
	case opLogicOr:
		n.op = nOr
	case opFirst:
		n.op = nFirst
	}
	return n
}

// tree builds by binding, equal ones from the left, "**" of JavaScript from the right. If it is not
// strict it builds as TBEL does: an operator that ends another one goes behind all that is there of
// the row, up to the row's first operator, && or ||.
func (r row) tree(js, strict bool) *node {
	var values []*node
	var pending row
	reduce := func() {
		top := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		n := len(values)
		values = append(values[:n-2], join(top.op, top.at, values[n-2], values[n-1]))
	}
	for i, p := range r {
		for reduced := false; len(pending) > 0; reduced = true {
			n := len(pending)
			if top := pending[n-1].op; (binding(top) < binding(p.op) || js && p.op == opPow && top == opPow) &&
				(strict || !reduced || n == 1 || binding(pending[n-2].op) <= binding(opLogicAnd)) {
				break
			}
			reduce()
		}
		if i > 0 {
			pending = pending.plus(p)
		}
		values = addNode(values, p.e)
	}
	for len(pending) > 0 {
		reduce()
	}
	return values[0]
}

// folded computes the literals of a row of TBEL as the engine does when it compiles, where the
// operator before them binds looser than the one between the first two.
func (r row) folded() (out row) {
	last := 0
	for i := 0; i < len(r); i++ {
		p := r[i]
		if r.literal(i) && i+1 < len(r) {
			if r.literal(i+1) && last < binding(r[i+1].op) {
				p.e, i = r.run(i)
			} else { // read at once with its operator and the next operand
				out = out.plus(p)
				i++
				p = r[i]
			}
		}
		if out = out.plus(p); i+1 < len(r) {
			last = binding(r[i+1].op)
		}
	}
	return out
}

//go:noinline
func (r row) literal(i int) bool { return i < len(r) && r[i].e.op == nLiteral }

// run is what literals from i on give, from left to right; arithmetic among itself keeps its
// binding, && and || behind the first operator end it. last is the last of them.
func (r row) run(i int) (acc *node, last int) {
	acc, last = r[i].e, i
	for r.literal(last + 1) {
		op, j := r[last+1].op, last+1
		switch {
		case last > i && (op == opLogicAnd || op == opLogicOr):
			return acc, last
		case op <= opPow:
			for r.literal(j+1) && r[j+1].op <= opPow {
				j++
			}
			// A tighter operator takes the last literal.
			if j+1 < len(r) && r[j+1].op <= opPow && binding(r[j+1].op) > binding(r[j].op) {
				j--
			}
			if j == last {
				return acc, last
			}
		case op <= opXor && (acc.fraction() || r[j].e.fraction()):
			panic(syntax(acc.at, "syntax error or incompatible types"))
		}
		acc, last = append(row{{e: acc}}, r[last+1:j+1]...).tree(false, true), j
	}
	return acc, last
}

// fraction reports whether a literal is none that bits are taken of.
//
//go:noinline
func (n *node) fraction() bool { return n.op == nLiteral && (n.v.k < Bool || n.v.k > Long) }
