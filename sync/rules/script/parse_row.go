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

// assignOp is the operator of an assignment; that of "=" is opNone.
func (p *parser) assignOp() (op operator, ok bool) {
	s, ok := strings.CutSuffix(p.tok.s, "=")
	if !ok || p.tok.kind != tPunct || s == "" {
		return opNone, ok && p.tok.kind == tPunct
	}
	op = p.operatorOf(s)
	return op, op >= opAdd && op <= opXor
}

// operatorHere is the operator of two operands at tok.
func (p *parser) operatorHere() operator {
	if p.tok.kind != tPunct && p.tok.kind != tName {
		return opNone
	}
	if p.tok.kind == tName && !p.js && oneOf("soundslike strsim convertable_to", p.tok.s) {
		p.refuse("the operator " + p.tok.s)
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

// tree builds by binding, equal ones from the left, "**" of JavaScript from the right.
func (r row) tree(js bool) *node {
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
		for len(pending) > 0 {
			top := r.ops[pending[len(pending)-1]]
			if binding(top) < binding(op) || js && op == opPow && top == opPow {
				break
			}
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

// folded builds a row of literals from left to right; arithmetic among itself keeps its binding,
// and && or || behind the first operator begins anew.
func (r row) folded() *node {
	acc, i := r.operands[0], 0
	for i < len(r.ops) {
		op := r.ops[i]
		if i > 0 && (op == opLogicAnd || op == opLogicOr) {
			rest := row{r.operands[i+1:], r.ops[i+1:], r.at[i+1:]}
			return join(op, r.at[i], acc, rest.folded())
		}
		if binding(op) < binding(opAdd) {
			acc = join(op, r.at[i], acc, r.operands[i+1])
			i++
			continue
		}
		j := i
		for j < len(r.ops) && binding(r.ops[j]) >= binding(opAdd) {
			j++
		}
		part := row{append([]*node{acc}, r.operands[i+1:j+1]...), r.ops[i:j], r.at[i:j]}
		acc, i = part.tree(false), j
	}
	return acc
}
