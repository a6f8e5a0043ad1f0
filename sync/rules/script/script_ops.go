package script

import (
	"math"
	"strconv"
	"strings"
)

// The conversions and operators of JavaScript (RULES.md 5.7). Every number is a Double.

// closure is a function as a value: one of the script with the scope that it was made in, or one of
// the language.
type closure struct {
	p      *proto
	sc     *scope
	native *routine
}

//go:noinline
func nativeOf(f *routine) *Value { return &Value{k: Function, o: &object{fn: &closure{native: f}}} }

// failure makes an error value: name is TypeError and the like.
//
//go:noinline
func failure(name, message string) *Value {
	return &Value{k: Failure, o: &object{text: name, items: []*Value{textOf(message)}}}
}

//go:noinline
func typeError(message string) *thrownValue { return &thrownValue{failure("TypeError", message)} }

//go:noinline
func typeErrorOn(text, word string) *thrownValue { return typeError(filled(text, word)) }

//go:noinline
func truthy(v *Value) bool {
	switch v.k {
	case Unset, Null:
		return false
	case Bool:
		return v.n != 0
	case Double:
		f := v.Number()
		return f == f && f != 0
	case Text:
		return v.s != ""
	}
	return true
}

// scriptNumber is ToNumber.
//
//go:noinline
func scriptNumber(r *run, v *Value) float64 {
	switch v.k {
	case Null:
		return 0
	case Bool:
		return float64(v.n)
	case Double, Int, Long, Float:
		return v.Number()
	case Text:
		return textNumber(v.s)
	case Date:
		if v.o.date.bad() {
			return math.NaN()
		}
		return float64(v.o.date.millis())
	case List:
		return textNumber(r.scriptText(v))
	}
	return math.NaN()
}

// textNumber is the number that a whole text is, else NaN; a blank text is 0.
func textNumber(s string) float64 {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		n, err := strconv.ParseUint(s[2:], 16, 64)
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	}
	switch s {
	case "Infinity", "+Infinity":
		return math.Inf(1)
	case "-Infinity":
		return math.Inf(-1)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
			return math.NaN()
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !infinite(f) {
		return math.NaN()
	}
	return f
}

// scriptText is ToString; the text of a list costs steps.
//
//go:noinline
func (r *run) scriptText(v *Value) string {
	switch v.k {
	case Unset:
		return "undefined"
	case Text:
		return v.s
	}
	s := string(appendScriptText(nil, v, 0))
	if v.k >= List {
		r.step(len(s) >> 3)
	}
	return s
}

// primitive is ToPrimitive; a Date is a text to "+" and "==", a number to everything else.
func (r *run) primitive(v *Value, preferText bool) *Value {
	switch {
	case v.k == Date && !preferText:
		if v.o.date.bad() {
			return doubleOf(math.NaN())
		}
		return doubleOf(float64(v.o.date.millis()))
	case v.k >= List:
		return textOf(r.scriptText(v))
	}
	return v
}

//go:noinline
func toInt32(f float64) int32 {
	if !finite(f) {
		return 0
	}
	return int32(uint32(int64(math.Mod(math.Trunc(f), 1<<32))))
}

func scriptBinary(r *run, op operator, a, b *Value) *Value {
	switch op {
	case opAdd:
		if a.k == Double && b.k == Double {
			return doubleOf(a.Number() + b.Number())
		}
		a, b = r.primitive(a, true), r.primitive(b, true)
		if a.k == Text || b.k == Text {
			s, t := r.scriptText(a), r.scriptText(b)
			r.use(len(s) + len(t) + 16)
			return textOf(s + t)
		}
		return doubleOf(scriptNumber(r, a) + scriptNumber(r, b))
	case opEq:
		return boolOf(looseEqual(r, a, b))
	case opNotEq:
		return boolOf(!looseEqual(r, a, b))
	case opSame:
		return boolOf(scriptSame(r, a, b))
	case opNotSame:
		return boolOf(!scriptSame(r, a, b))
	case opIn:
		return boolOf(r.hasMember(b, r.scriptText(a)))
	case opLess, opLessEq, opMore, opMoreEq:
		a, b = r.primitive(a, false), r.primitive(b, false)
		if a.k == Text && b.k == Text {
			r.step(max(len(a.s), len(b.s)) >> 6)
			return boolOf(holds(op, int64(compareTexts(a.s, b.s)), 0))
		}
		return boolOf(holds(op, scriptNumber(r, a), scriptNumber(r, b)))
	}
	x, y := scriptNumber(r, a), scriptNumber(r, b)
	switch op {
	case opSub:
		return doubleOf(x - y)
	case opMul:
		return doubleOf(x * y)
	case opDiv:
		return doubleOf(x / y)
	case opMod:
		return doubleOf(math.Mod(x, y))
	case opPow:
		return doubleOf(precisePow(x, y))
	}
	i, j := toInt32(x), toInt32(y)
	switch op {
	case opAnd:
		i &= j
	case opOr:
		i |= j
	case opXor:
		i ^= j
	case opShl:
		i <<= uint(j) & 31
	case opShr:
		i >>= uint(j) & 31
	case opUshr:
		return doubleOf(float64(uint32(i) >> (uint(j) & 31)))
	}
	return doubleOf(float64(i))
}

// scriptSame is ===.
func scriptSame(r *run, a, b *Value) bool {
	if a.k != b.k {
		return false
	}
	switch a.k {
	case Double:
		return a.Number() == b.Number()
	case Text:
		r.step(min(len(a.s), len(b.s)) >> 9)
		return a.s == b.s
	case Class:
		return a.o.text == b.o.text
	}
	return a.n == b.n && a.o == b.o
}

// looseEqual is ==.
func looseEqual(r *run, a, b *Value) bool {
	switch {
	case a.k <= Null || b.k <= Null:
		return a.k <= Null && b.k <= Null
	case a.k == b.k || a.k >= List && b.k >= List:
		return scriptSame(r, a, b)
	}
	if a.k >= List {
		a = r.primitive(a, true)
	}
	if b.k >= List {
		b = r.primitive(b, true)
	}
	if a.k == Text && b.k == Text {
		return a.s == b.s
	}
	return scriptNumber(r, a) == scriptNumber(r, b)
}

//go:noinline
func typeOf(v *Value) string {
	switch v.k {
	case Unset:
		return "undefined"
	case Bool:
		return "boolean"
	case Int, Long, Float, Double:
		return "number"
	case Text, Char:
		return "string"
	case Function:
		return "function"
	case Class:
		if v.o.fn != nil {
			return "function"
		}
	}
	return "object"
}
