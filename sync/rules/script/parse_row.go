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

// row is an expression without brackets: operands with operators between them.
type row struct {
	operands []*node
	ops      []operator
	at       []int
}

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

// tree builds by binding, equal ones from the left, "**" of JavaScript from the right. What is not
// of literals alone builds TBEL as the engine does: an operator that ends another one goes behind
// all that is there of the row, up to the row's first operator, && or ||.
func (r row) tree(js, literals bool) *node {
	var values []*node
	var pending []int
	reduce := func() {
		i := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		n := len(values)
		values = append(values[:n-2], join(r.ops[i], r.at[i], values[n-2], values[n-1]))
	}
	values = addNode(values, r.operands[0])
	for i, op := range r.ops {
		reduced := false
		for len(pending) > 0 {
			top, logic := r.ops[pending[len(pending)-1]], 0
			for _, k := range pending {
				if binding(r.ops[k]) <= binding(opLogicAnd) {
					logic++
				}
			}
			if (binding(top) < binding(op) || js && op == opPow && top == opPow) &&
				(js || literals || !reduced || len(pending) <= logic+1) {
				break
			}
			reduced = true
			reduce()
		}
		pending = append(pending, i)
		values = addNode(values, r.operands[i+1])
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
	for i := 0; ; i++ {
		e := r.operands[i]
		if i < len(r.ops) && e.op == nLiteral {
			if r.literal(i+1) && last < binding(r.ops[i]) {
				e, i = r.run(i)
			} else { // read at once with its operator and the next operand
				out.operands, out.ops, out.at = append(out.operands, e), append(out.ops, r.ops[i]), append(out.at, r.at[i])
				i++
				e = r.operands[i]
			}
		}
		if out.operands = addNode(out.operands, e); i == len(r.ops) {
			return out
		}
		out.ops, out.at = append(out.ops, r.ops[i]), append(out.at, r.at[i])
		last = binding(r.ops[i])
	}
}

func (r row) literal(i int) bool { return i < len(r.operands) && r.operands[i].op == nLiteral }

// run is what literals from i on give, from left to right; arithmetic among itself keeps its
// binding, && and || behind the first operator end it. end is the operator behind them.
func (r row) run(i int) (acc *node, end int) {
	acc = r.operands[i]
	for first := i; r.literal(i + 1); {
		op := r.ops[i]
		if i > first && (op == opLogicAnd || op == opLogicOr) {
			break
		}
		j := i + 1
		if op <= opPow {
			for r.literal(j+1) && r.ops[j] <= opPow {
				j++
			}
			// A tighter operator takes the last literal.
			if j < len(r.ops) && r.ops[j] <= opPow && binding(r.ops[j]) > binding(r.ops[j-1]) {
				j--
			}
			if j == i {
				break
			}
		} else if op <= opXor {
			for _, e := range []*node{acc, r.operands[j]} {
				if e.op == nLiteral && e.v.k != Bool && e.v.k != Int && e.v.k != Long {
					panic(syntax(e.at, "syntax error or incompatible types"))
				}
			}
		}
		part := row{append([]*node{acc}, r.operands[i+1:j+1]...), r.ops[i:j], r.at[i:j]}
		acc, i = part.tree(false, true), j
	}
	return acc, i
}
