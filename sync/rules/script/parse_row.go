package script

// assignOps are the operators of assignments; "=" is opNone.
func assignOp(s string) (operator, bool) {
	switch s {
	case "=":
		return opNone, true
	case "+=":
		return opAdd, true
	case "-=":
		return opSub, true
	case "*=":
		return opMul, true
	case "/=":
		return opDiv, true
	case "%=":
		return opMod, true
	case "&=":
		return opAnd, true
	case "|=":
		return opOr, true
	case "^=":
		return opXor, true
	case "<<=":
		return opShl, true
	case ">>=":
		return opShr, true
	case ">>>=":
		return opUshr, true
	case "**=":
		return opPow, true
	}
	return opNone, false
}

// operatorHere is the operator of two operands at tok.
func (p *parser) operatorHere() operator {
	switch p.tok.kind {
	case tPunct:
		switch p.tok.s {
		case "+":
			return opAdd
		case "-":
			return opSub
		case "*":
			return opMul
		case "/":
			return opDiv
		case "%":
			return opMod
		case "**":
			return opPow
		case "<<":
			return opShl
		case ">>":
			return opShr
		case ">>>":
			return opUshr
		case "<":
			return opLess
		case "<=":
			return opLessEq
		case ">":
			return opMore
		case ">=":
			return opMoreEq
		case "==":
			return opEq
		case "!=":
			return opNotEq
		case "===":
			if p.js {
				return opSame
			}
			return opEq
		case "!==":
			if p.js {
				return opNotSame
			}
		case "&":
			return opAnd
		case "|":
			return opOr
		case "^":
			return opXor
		case "&&":
			return opLogicAnd
		case "||":
			return opLogicOr
		case "~=":
			if !p.js {
				return opMatches
			}
		case "??":
			if p.js {
				return opFirst
			}
		}
	case tName:
		switch p.tok.s {
		case "instanceof":
			return opInstance
		case "in":
			if p.js && !p.inOff {
				return opIn
			}
		}
		if p.js {
			return opNone
		}
		switch p.tok.s {
		case "is":
			return opInstance
		case "contains":
			return opContains
		case "and":
			return opLogicAnd
		case "or":
			return opFirst
		case "soundslike", "strsim", "convertable_to":
			p.refuse("the operator " + p.tok.s)
		}
	}
	return opNone
}

// row is an expression without brackets: operands with operators between them.
type row struct {
	operands []*node
	ops      []operator
	at       []int
}

//go:noinline
func join(op operator, at int, a, b *node) *node {
	n := &node{op: nBinary, bin: op, at: at, kids: []*node{a, b}}
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
	values = append(values, r.operands[0])
	for i, op := range r.ops {
		for len(pending) > 0 {
			top := r.ops[pending[len(pending)-1]]
			if binding(top) < binding(op) || js && op == opPow && top == opPow {
				break
			}
			reduce()
		}
		pending = append(pending, i)
		values = append(values, r.operands[i+1])
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

//go:noinline
func stepOp(s string) operator {
	if s == "++" {
		return opAdd
	}
	return opSub
}
