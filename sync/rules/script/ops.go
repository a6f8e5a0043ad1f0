package script

import (
	"math"
	"strings"
	"unicode/utf8"
)

// The operators of TBEL (RULES.md 5.4). Operands of one number kind are computed in that kind,
// mixed ones as doubles that are then narrowed to the bigger kind, as the engine does.

func tbelBinary(r *run, op operator, a, b *Value) *Value {
	switch op {
	case opAdd:
		return r.add(a, b)
	case opSub, opMul, opDiv, opMod, opPow:
		return arithmetic(op, a, b)
	case opLess, opLessEq, opMore, opMoreEq:
		return boolOf(r.compare(op, a, b))
	case opEq:
		return boolOf(r.equal(a, b))
	case opNotEq:
		return boolOf(!r.equal(a, b))
	case opAnd, opOr, opXor, opShl, opShr, opUshr:
		return bits(op, a, b)
	case opContains:
		return boolOf(r.contains(a, b))
	case opSounds, opSimilar:
		name := "$sounds"
		if op == opSimilar {
			name = "$similar"
		}
		return r.invoke(routineOf(TBEL, name), []*Value{a, b})
	case opMatches:
		return boolOf(r.pattern(r.javaText(b), true).found(r, r.javaText(a)))
	}
	panic(failed("an operator that TBEL does not have"))
}

//go:noinline
func (r *run) add(a, b *Value) *Value {
	if a.k == Int && b.k == Int && a.s == b.s {
		return wide(int64(int32(a.n)) + int64(int32(b.n)))
	}
	if a.isNumber() && (b.isNumber() || b.k == Char) || a.k == Char && b.isNumber() {
		return arithmetic(opAdd, a, b)
	}
	if a.k == List || a.k == Set {
		items := append(make([]*Value, 0, len(a.o.items)+1), a.o.items...)
		if b.k == List || b.k == Set {
			items = append(items, b.o.items...)
		} else {
			items = append(items, b)
		}
		return r.list(items)
	}
	s, t := r.javaText(a), r.javaText(b)
	r.use(len(s) + len(t) + 16)
	return textOf(s + t)
}

// wide is an int if the number fits, else a long.
//
//go:noinline
func wide(n int64) *Value {
	if n == int64(int32(n)) {
		return intOf(int32(n))
	}
	return longOf(n)
}

// operand is the number of an operand of arithmetic. kind is Null for a numeric text. A character
// always is one: it is NaN if it is no digit.
//
//go:noinline
func operand(v *Value) (f float64, kind Kind, ok bool) {
	switch {
	case v.isNumber():
		return v.Number(), v.k, true
	case v.k == Text:
		f, ok = numericText(v.s)
	case v.k == Char:
		if f, ok = numericText(v.Text()); !ok {
			f = math.NaN()
		}
		return f, Char, true
	}
	return f, Null, ok
}

// operands are the numbers of two values that are compared, where both have one.
//
//go:noinline
func operands(a, b *Value) (x, y float64, ok bool) {
	x, _, okx := operand(a)
	y, _, oky := operand(b)
	ok = okx && oky
	if ok && (a.k == Char && x != x || b.k == Char && y != y) {
		panic(noNumber("a character that is no digit"))
	}
	return x, y, ok
}

// collections reports whether both are lists or sets, which have no arithmetic and no order.
//
//go:noinline
func collections(a, b *Value) {
	if (a.k == List || a.k == Set) && (b.k == List || b.k == Set) {
		panic(failed("illegal operation on Collection type"))
	}
}

func arithmetic(op operator, a, b *Value) *Value {
	if a.k == b.k && a.s == b.s {
		switch a.k {
		case Int:
			return intArithmetic(op, int64(int32(a.n)), int64(int32(b.n)))
		case Long:
			return longArithmetic(op, int64(a.n), int64(b.n))
		case Float:
			x, y := float32(a.Number()), float32(b.Number())
			switch op {
			case opAdd:
				return floatOf(x + y)
			case opSub:
				return floatOf(x - y)
			case opMul:
				return floatOf(x * y)
			case opDiv:
				return doubleOf(float64(x) / float64(y))
			case opMod:
				return floatOf(float32(math.Mod(float64(x), float64(y))))
			}
			return doubleOf(precisePow(float64(x), float64(y)))
		}
	}
	x, kx, okx := operand(a)
	y, ky, oky := operand(b)
	if !okx || !oky || kx == Char && ky == Char {
		collections(a, b)
		return null
	}
	kind := max(kx, ky)
	switch kind {
	case Null:
		kind = Double // two texts
	case Char:
		panic(failed("arithmetic on a character"))
	}
	var f float64
	switch op {
	case opAdd:
		f = x + y
	case opSub:
		f = x - y
	case opMul:
		f = x * y
	case opDiv:
		f = x / y
	case opMod:
		f = math.Mod(x, y)
	default:
		f = precisePow(x, y)
	}
	return narrow(f, kind)
}

// narrow makes a number of a kind, as Java's casts do.
//
//go:noinline
func narrow(f float64, kind Kind) *Value {
	switch kind {
	case Int:
		return intOf(toInt(f))
	case Long:
		return longOf(toLong(f))
	case Float:
		return floatOf(float32(f))
	}
	return doubleOf(f)
}

func intArithmetic(op operator, x, y int64) *Value {
	switch op {
	case opAdd:
		return wide(x + y)
	case opSub:
		return wide(x - y)
	case opMul:
		return wide(x * y)
	case opDiv:
		return doubleOf(float64(x) / float64(y))
	case opMod:
		if y == 0 {
			panic(failed("/ by zero"))
		}
		return intOf(int32(x % y))
	}
	f := precisePow(float64(x), float64(y))
	if f > math.MaxInt32 {
		return doubleOf(f)
	}
	return intOf(toInt(f))
}

func longArithmetic(op operator, x, y int64) *Value {
	switch op {
	case opAdd:
		return longOf(x + y)
	case opSub:
		return longOf(x - y)
	case opMul:
		return longOf(x * y)
	case opDiv:
		return doubleOf(float64(x) / float64(y))
	case opMod:
		switch y {
		case 0:
			panic(failed("/ by zero"))
		case -1:
			return longOf(0)
		}
		return longOf(x % y)
	}
	f := precisePow(float64(x), float64(y))
	if f > math.MaxInt64 {
		return doubleOf(f)
	}
	return longOf(toLong(f))
}

func negate(v *Value) *Value {
	switch v.k {
	case Int:
		return intOf(-int32(v.n))
	case Long:
		return longOf(-int64(v.n))
	case Float:
		return floatOf(-float32(v.Number()))
	case Double:
		return doubleOf(-v.Number())
	}
	panic(failed("the sign of what is no number"))
}

// bits computes on int and long, true as 1; any other operand gives null.
func bits(op operator, a, b *Value) *Value {
	whole := func(v *Value) (int64, bool, bool) {
		switch v.k {
		case Bool, Int:
			return int64(v.n), false, true
		case Long:
			return int64(v.n), true, true
		}
		return 0, false, false
	}
	x, longX, ok := whole(a)
	y, longY, oky := whole(b)
	if !ok || !oky {
		if _, _, ok = operands(a, b); !ok {
			panic(failed("a bit operation on what is no number"))
		}
		return null
	}
	if b.s != "" {
		panic(failed("a byte cannot be cast to an int on the right of a bit operation"))
	}
	if op == opShl || op == opShr || op == opUshr {
		if longX {
			n := uint(y) & 63
			switch op {
			case opShl:
				return longOf(x << n)
			case opShr:
				return longOf(x >> n)
			}
			return longOf(int64(uint64(x) >> n))
		}
		n := uint(y) & 31
		switch op {
		case opShl:
			return intOf(int32(x) << n)
		case opShr:
			return intOf(int32(x) >> n)
		}
		return intOf(int32(uint32(x) >> n))
	}
	switch op {
	case opAnd:
		x &= y
	case opOr:
		x |= y
	default:
		x ^= y
	}
	if longX || longY {
		return longOf(x)
	}
	return intOf(int32(x))
}

// asBool is what a number or a text is beside a boolean.
//
//go:noinline
func asBool(v *Value) (b, ok bool) {
	switch {
	case v.k == Bool:
		return v.n != 0, true
	case v.isNumber():
		return v.Number() > 0, true
	case v.isText():
		switch strings.ToLower(v.Text()) {
		case "false", "no", "off", "0", "":
			return false, true
		}
		return true, true
	}
	return false, false
}

func holds[T int64 | float64](op operator, x, y T) bool {
	switch op {
	case opLess:
		return x < y
	case opLessEq:
		return x <= y
	case opMore:
		return x > y
	}
	return x >= y
}

func (r *run) compare(op operator, a, b *Value) bool {
	if a.k == Null || b.k == Null || a.k == Unset || b.k == Unset {
		return false
	}
	if a.isNumber() && b.isNumber() {
		if a.k <= Long && b.k <= Long {
			return holds(op, int64(a.n), int64(b.n))
		}
		return holds(op, a.Number(), b.Number())
	}
	if a.isText() && b.isText() {
		if a.k == Char && b.k == Char {
			panic(uncomparable(a, b)) // the engine gives null
		}
		if x, y, ok := operands(a, b); ok && a.k != b.k {
			return holds(op, x, y)
		}
		r.step(max(len(a.s), len(b.s)) >> 6)
		return holds(op, int64(compareTexts(a.Text(), b.Text())), 0)
	}
	if a.k == Bool || b.k == Bool {
		x, okx := asBool(a)
		y, oky := asBool(b)
		if !okx || !oky {
			panic(uncomparable(a, b))
		}
		n := int64(0)
		if x != y {
			if n = -1; x {
				n = 1
			}
		}
		return holds(op, n, 0)
	}
	if a.isNumber() || a.isText() {
		if x, y, ok := operands(a, b); ok {
			return holds(op, x, y)
		}
		panic(uncomparable(a, b))
	}
	collections(a, b)
	return false
}

//go:noinline
func uncomparable(a, b *Value) *Error {
	return failed("uncomparable values: " + a.k.String() + " and " + b.k.String())
}

// compareTexts is Java's compareTo: the difference of the first units that differ, or of the
// lengths.
//
//go:noinline
func compareTexts(a, b string) int {
	if ascii(a) && ascii(b) {
		for i := 0; i < len(a) && i < len(b); i++ {
			if a[i] != b[i] {
				return int(a[i]) - int(b[i])
			}
		}
		return len(a) - len(b)
	}
	rest := b
	for i, c := range a {
		if rest == "" {
			return units(a[i:])
		}
		d, n := utf8.DecodeRuneInString(rest)
		if c != d {
			x, xx := surrogates(c)
			y, yy := surrogates(d)
			if x == y {
				return int(xx) - int(yy)
			}
			return int(x) - int(y)
		}
		rest = rest[n:]
	}
	return -units(rest)
}

func (r *run) equal(a, b *Value) bool {
	if b == emptyValue {
		return a == b || isEmpty(a) && a.k != Map && a.Text() == "" || a.isNumber() && a.Number() == 0
	}
	if a.k == Null || b.k == Null || a.k == Unset || b.k == Unset {
		return a.k <= Null && b.k <= Null
	}
	switch {
	case a.isNumber() && b.isNumber():
		if a.k <= Long && b.k <= Long {
			return a.n == b.n
		}
		return a.Number() == b.Number()
	case a.isText() && b.isText():
		if a.k != b.k {
			if x, y, ok := operands(a, b); ok {
				return x == y
			}
		}
		r.step(min(len(a.s), len(b.s)) >> 9)
		return a.Text() == b.Text()
	case a.k == Bool || b.k == Bool:
		x, okx := asBool(a)
		y, oky := asBool(b)
		return okx && oky && x == y
	case a.isNumber() || b.isNumber():
		x, y, ok := operands(a, b)
		return ok && x == y
	}
	return r.same(a, b, 0)
}

// same is Java's equals: of one kind and of one content; dates are the same only if they are one.
func (r *run) same(a, b *Value, depth int) bool {
	if a.k < List {
		return a.k == b.k && a.n == b.n && a.s == b.s
	}
	r.step(1)
	if depth > textDepth {
		panic(limitError("a comparison of values that are nested beyond the bounds"))
	}
	if a.k != b.k {
		return false
	}
	r.step(len(a.o.items) >> 4)
	switch a.k {
	case List, Array, Entry:
		if a.o == b.o {
			return true
		}
		if len(a.o.items) != len(b.o.items) {
			return false
		}
		for i := range a.o.items {
			if !r.same(a.o.items[i], b.o.items[i], depth+1) {
				return false
			}
		}
		return true
	case Set:
		if len(a.o.items) != len(b.o.items) {
			return false
		}
		for _, v := range a.o.items {
			if r.indexOf(b.o.items, v) < 0 {
				return false
			}
		}
		return true
	case Map:
		if a.o == b.o {
			return true
		}
		if len(a.o.items) != len(b.o.items) {
			return false
		}
		for i, k := range a.o.keys {
			v, ok := b.o.get(k)
			if !ok || !r.same(a.o.items[i], v, depth+1) {
				return false
			}
		}
		return true
	}
	return a.o == b.o
}

// indexOf is the place of a value among others, or -1.
func (r *run) indexOf(list []*Value, v *Value) int {
	r.step(1 + len(list)>>4)
	for i := range list {
		if r.same(list[i], v, 0) {
			return i
		}
	}
	return -1
}

func (r *run) contains(a, b *Value) bool {
	switch {
	case a.isText():
		return hasText(a.Text(), r.javaText(b))
	case a.isList():
		return r.indexOf(a.o.items, b) >= 0
	case a.k == Map:
		return a.o.find(mapKey(b)) >= 0
	}
	return false
}

// isEmpty is what `or` of TBEL takes for nothing.
//
//go:noinline
func isEmpty(v *Value) bool {
	s := v.Text()
	return v.k <= Null || v.isText() && (s == "" || s == "null") || v.k >= List && v.k <= Map && len(v.o.items) == 0
}
