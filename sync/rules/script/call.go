package script

import (
	"math"
	"strconv"
	"strings"
)

// builtin is a function of the language. It may keep no reference to args.
type builtin func(r *run, args []Value) Value

// push evaluates arguments onto the run's stack and returns where they begin; the caller cuts the
// stack there when the call is over.
func (r *run) push(args []evalFn) int {
	base := len(r.argv)
	for _, e := range args {
		v := e(r)
		r.argv = append(r.argv, v)
	}
	return base
}

// call compiles f(…), Class.f(…) and value.f(…).
func (c *compiler) call(n *node) evalFn {
	callee, args := n.kids[0], c.exprs(n.kids[1:])
	if c.lang == JavaScript {
		return c.scriptCall(n, args)
	}
	switch callee.op {
	case nName:
		if depth, p := c.findProto(callee.s); p != nil {
			return callProto(p, depth, args)
		}
		if fn := tbelFunction(callee.s); fn != nil {
			if callee.s == "stringToBytes" && len(n.kids) > 1 && n.kids[1].op == nLiteral {
				// The engine loses a literal argument here (RULES.md 5.5).
				return func(*run) Value { panic(failed("null pointer: stringToBytes of a literal")) }
			}
			return callBuiltin(fn, args)
		}
		name := callee.s
		return func(*run) Value { panic(failed("null pointer or function not found: " + name)) }
	case nMember:
		if class := callee.kids[0]; class.op == nName && c.isClass(class.s) {
			if _, shadowed := c.find(class.s); !shadowed {
				fn := tbelClass(class.s, callee.s)
				if fn == nil {
					name := class.s + "." + callee.s
					return func(*run) Value { panic(failed("unable to resolve method: " + name)) }
				}
				return callBuiltin(fn, args)
			}
		}
		obj, name, safe := c.expr(callee.kids[0]), callee.s, nullSafe(callee)
		return func(r *run) Value {
			r.step(1)
			o := obj(r)
			if o.k == Null {
				if safe {
					return null
				}
				panic(failed("null pointer: " + name + "() of null"))
			}
			base := r.push(args)
			v := r.method(o, name, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	panic(syntax(n.at, "a call of what is no function"))
}

func callBuiltin(fn builtin, args []evalFn) evalFn {
	if len(args) == 1 {
		// One argument is the usual case: it needs no stack.
		arg := args[0]
		return func(r *run) Value {
			r.step(1)
			v := arg(r)
			base := len(r.argv)
			r.argv = append(r.argv, v)
			v = fn(r, r.argv[base:])
			r.argv = r.argv[:base]
			return v
		}
	}
	return func(r *run) Value {
		r.step(1)
		base := r.push(args)
		v := fn(r, r.argv[base:])
		r.argv = r.argv[:base]
		return v
	}
}

// callProto compiles the call of a function of the script; depth is how far out it was declared.
func callProto(p *proto, depth int, args []evalFn) evalFn {
	return func(r *run) Value {
		base := r.push(args)
		up := r.sc
		for d := depth; d > 0; d-- {
			up = up.up
		}
		v := r.enter(p, up, r.argv[base:])
		r.argv = r.argv[:base]
		return v
	}
}

// enter runs a function of the script.
func (r *run) enter(p *proto, up *scope, args []Value) Value {
	r.step(1)
	if r.calls++; r.calls > maxCalls {
		panic(limitError("calls are nested more than " + strconv.Itoa(maxCalls) + " deep"))
	}
	if r.frames += p.nesting; r.frames > maxFrames {
		panic(limitError("calls of long expressions are nested too deep"))
	}
	sc := r.newScope(p.slots, up)
	copy(sc.vars[:p.params], args)
	if p.escapes {
		r.use(objectSize + p.slots*valueSize)
	}
	caller, ret := r.sc, r.ret
	r.callers = append(r.callers, caller)
	r.sc, r.ret = sc, null
	if r.lang == JavaScript {
		r.ret = undefined
	}
	p.body(r)
	v := r.ret
	r.sc, r.ret = caller, ret
	r.callers = r.callers[:len(r.callers)-1]
	r.calls--
	r.frames -= p.nesting
	if !p.escapes {
		r.freeScope(sc)
	}
	return v
}

// construct compiles new C(…).
func (c *compiler) construct(n *node) evalFn {
	args, class := c.exprs(n.kids), n.s
	if c.lang == JavaScript {
		return c.scriptNew(n, args)
	}
	fn := tbelNew(class)
	if fn == nil {
		return func(*run) Value { panic(failed("could not resolve class: " + class)) }
	}
	return callBuiltin(fn, args)
}

// tbelNew is what makes a new object of a class; nil if there is none.
func tbelNew(class string) builtin {
	switch class {
	case "Date":
		return newDate
	case "String", "java.lang.String":
		return func(r *run, a []Value) Value {
			if len(a) == 0 {
				return textOf("")
			}
			return r.text(r.javaText(a[0]))
		}
	case "java.util.ArrayList":
		return func(r *run, _ []Value) Value { return r.list(nil) }
	}
	return nil
}

// The conversions of arguments, as the engine makes them: numbers to the wanted kind, numeric texts
// to numbers. null and everything else fails.

func argDouble(v Value) float64 {
	if f, _, ok := operand(v); ok {
		return f
	}
	panic(failed("no number: " + v.k.String()))
}

func argInt(v Value) int32 {
	if v.k == Int {
		return int32(v.n)
	}
	return toInt(argDouble(v))
}

func argLong(v Value) int64 {
	if v.k == Int || v.k == Long {
		return int64(v.n)
	}
	return toLong(argDouble(v))
}

func argBool(v Value) bool {
	b, ok := asBool(v)
	if !ok {
		panic(failed("no boolean: " + v.k.String()))
	}
	return b
}

// argText is a text argument; null fails, other values are printed.
func (r *run) argText(v Value) string {
	if v.k <= Null {
		panic(failed("null pointer: a text is needed"))
	}
	return r.javaText(v)
}

func argList(v Value) []Value {
	if !v.isList() {
		panic(failed("no list: " + v.k.String()))
	}
	return v.o.items
}

func argMap(v Value) *object {
	if v.k != Map {
		panic(failed("no map: " + v.k.String()))
	}
	return v.o
}

// need fails unless there are so many arguments.
func need(args []Value, least, most int) {
	if len(args) < least || len(args) > most {
		panic(failed("unable to resolve method: wrong number of arguments: " + strconv.Itoa(len(args))))
	}
}

// mathFunction is Math.name of TBEL; nil if there is none.
func mathFunction(name string) builtin {
	if f := mathOne(name); f != nil {
		return func(r *run, a []Value) Value {
			need(a, 1, 1)
			return doubleOf(f(argDouble(a[0])))
		}
	}
	if f := mathTwo(name); f != nil {
		return func(r *run, a []Value) Value {
			need(a, 2, 2)
			return doubleOf(f(argDouble(a[0]), argDouble(a[1])))
		}
	}
	switch name {
	case "abs":
		return mathAbs
	case "max", "min":
		isMax := name == "max"
		return func(r *run, a []Value) Value { return extreme(a, isMax) }
	case "round":
		return func(r *run, a []Value) Value {
			need(a, 1, 1)
			return longOf(toLong(math.Floor(argDouble(a[0]) + 0.5)))
		}
	case "random":
		return func(r *run, a []Value) Value { return doubleOf(r.rand()) }
	case "floorDiv", "floorMod":
		return func(r *run, a []Value) Value { return floorDivision(a, name == "floorMod") }
	}
	return nil
}

func (r *run) rand() float64 {
	if r.env.Random != nil {
		return r.env.Random()
	}
	return 0.5
}

func mathOne(name string) func(float64) float64 {
	switch name {
	case "acos":
		return math.Acos
	case "asin":
		return math.Asin
	case "atan":
		return math.Atan
	case "cbrt":
		return math.Cbrt
	case "ceil":
		return math.Ceil
	case "cos":
		return math.Cos
	case "cosh":
		return math.Cosh
	case "exp":
		return math.Exp
	case "expm1":
		return math.Expm1
	case "floor":
		return math.Floor
	case "log":
		return math.Log
	case "log10":
		return math.Log10
	case "log1p":
		return math.Log1p
	case "rint":
		return math.RoundToEven
	case "signum":
		return sign
	case "sin":
		return math.Sin
	case "sinh":
		return math.Sinh
	case "sqrt":
		return math.Sqrt
	case "tan":
		return math.Tan
	case "tanh":
		return math.Tanh
	case "toDegrees":
		return func(f float64) float64 { return f * (180 / math.Pi) }
	case "toRadians":
		return func(f float64) float64 { return f * (math.Pi / 180) }
	}
	return nil
}

func mathTwo(name string) func(x, y float64) float64 {
	switch name {
	case "atan2":
		return math.Atan2
	case "hypot":
		return math.Hypot
	case "pow":
		return javaPow
	}
	return nil
}

// javaPow differs from Go's with a base of one: 1 ** NaN is NaN.
func javaPow(x, y float64) float64 {
	if math.IsNaN(y) || math.Abs(x) == 1 && math.IsInf(y, 0) {
		return math.NaN()
	}
	return math.Pow(x, y)
}

func sign(f float64) float64 {
	switch {
	case f > 0:
		return 1
	case f < 0:
		return -1
	}
	return f
}

func mathAbs(_ *run, a []Value) Value {
	need(a, 1, 1)
	switch v := a[0]; v.k {
	case Int:
		if int32(v.n) < 0 {
			return negate(v)
		}
		return v
	case Long:
		if int64(v.n) < 0 {
			return negate(v)
		}
		return v
	case Float, Double:
		return narrow(math.Abs(v.Number()), v.k)
	}
	return doubleOf(math.Abs(argDouble(a[0])))
}

// extreme is Math.max and Math.min: an int among the two makes it the int's (RULES.md 5.4.9).
func extreme(a []Value, isMax bool) Value {
	need(a, 2, 2)
	x, y := a[0], a[1]
	kind := Double
	switch {
	case x.k == Int || y.k == Int:
		kind = Int
	case x.k == Long || y.k == Long:
		kind = Long
		if x.k == Float || y.k == Float {
			kind = Float
		}
	case x.k == Float && y.k == Float:
		kind = Float
	}
	if kind == Int || kind == Long {
		m, n := argLong(x), argLong(y)
		if kind == Int {
			m, n = int64(intAs(x)), int64(intAs(y))
		}
		if (m > n) != isMax {
			m = n
		}
		if kind == Int {
			if x.k == Long || y.k == Long {
				return longOf(m)
			}
			return intOf(int32(m))
		}
		return longOf(m)
	}
	f, g := argDouble(x), argDouble(y)
	if isMax {
		return narrow(math.Max(f, g), kind)
	}
	return narrow(math.Min(f, g), kind)
}

// intAs is an argument of an int overload; a long beside an int stays a long.
func intAs(v Value) int64 {
	if v.k == Long {
		return int64(v.n)
	}
	return int64(argInt(v))
}

func floorDivision(a []Value, mod bool) Value {
	need(a, 2, 2)
	x, y := argLong(a[0]), argLong(a[1])
	if y == 0 {
		panic(failed("/ by zero"))
	}
	q, m := int64(0), int64(0)
	if y == -1 {
		q = -x
	} else {
		q, m = x/y, x%y
		if m != 0 && (m < 0) != (y < 0) {
			q, m = q-1, m+y
		}
	}
	if mod {
		q = m
	}
	if a[0].k == Long || a[1].k == Long {
		return longOf(q)
	}
	return intOf(int32(q))
}

// classConstant is Class.name of TBEL.
func classConstant(class, name string) (Value, bool) {
	switch class + "." + name {
	case "Math.PI":
		return doubleOf(math.Pi), true
	case "Math.E":
		return doubleOf(math.E), true
	case "Integer.MAX_VALUE":
		return intOf(math.MaxInt32), true
	case "Integer.MIN_VALUE":
		return intOf(math.MinInt32), true
	case "Long.MAX_VALUE":
		return longOf(math.MaxInt64), true
	case "Long.MIN_VALUE":
		return longOf(math.MinInt64), true
	case "Double.MAX_VALUE":
		return doubleOf(math.MaxFloat64), true
	case "Double.MIN_VALUE":
		return doubleOf(math.SmallestNonzeroFloat64), true
	case "Double.NaN":
		return doubleOf(math.NaN()), true
	case "Double.POSITIVE_INFINITY":
		return doubleOf(math.Inf(1)), true
	case "Double.NEGATIVE_INFINITY":
		return doubleOf(math.Inf(-1)), true
	}
	return Value{}, false
}

// tbelClass is Class.name(…) of TBEL; nil if there is none.
func tbelClass(class, name string) builtin {
	switch class {
	case "Math":
		return mathFunction(name)
	case "JSON":
		switch name {
		case "stringify":
			return func(r *run, a []Value) Value {
				need(a, 1, 1)
				w := writer{lang: TBEL, most: maxResult}
				return r.text(string(w.value(nil, a[0], 0)))
			}
		case "parse":
			return func(r *run, a []Value) Value {
				need(a, 1, 1)
				return r.parseJSON(r.argText(a[0]))
			}
		}
	case "Date":
		return dateClass(name)
	}
	return boxClass(class, name)
}

// parseJSON builds the value of a JSON text.
func (r *run) parseJSON(s string) Value {
	r.step(len(s) >> 4)
	r.use(len(s))
	var d Doc
	if err := d.Parse(s); err != nil {
		e := err.(*Error)
		panic(e)
	}
	return d.build(r, 0, r.lang)
}

// boxClass is the functions of String, Integer, Long, Double, Float, Boolean and Character.
func boxClass(class, name string) builtin {
	one := func(f func(r *run, v Value) Value) builtin {
		return func(r *run, a []Value) Value { need(a, 1, 1); return f(r, a[0]) }
	}
	number := func(kind Kind, parse func(s string) (float64, error)) builtin {
		return one(func(r *run, v Value) Value {
			if v.isNumber() {
				return r.castTo(v, kind.String())
			}
			s := r.argText(v)
			if kind == Int || kind == Long {
				n, err := strconv.ParseInt(s, 10, map[Kind]int{Int: 32, Long: 64}[kind])
				if err != nil {
					panic(failed("For input string: " + strconv.Quote(s)))
				}
				if kind == Int {
					return intOf(int32(n))
				}
				return longOf(n)
			}
			f, err := parse(strings.TrimSpace(s))
			if err != nil {
				panic(failed("For input string: " + strconv.Quote(s)))
			}
			return narrow(f, kind)
		})
	}
	switch class + "." + name {
	case "String.valueOf":
		return func(r *run, a []Value) Value { need(a, 1, 1); return r.text(r.javaText(a[0])) }
	case "String.format":
		return func(r *run, a []Value) Value {
			need(a, 1, 64)
			if len(a) == 2 && a[1].k == Array {
				return r.text(formatJava(r, r.argText(a[0]), a[1].o.items))
			}
			return r.text(formatJava(r, r.argText(a[0]), a[1:]))
		}
	case "String.join":
		return func(r *run, a []Value) Value {
			need(a, 2, 64)
			items := a[1:]
			if len(items) == 1 && items[0].isList() {
				items = items[0].o.items
			}
			parts := make([]string, len(items))
			for i, v := range items {
				parts[i] = r.javaText(v)
				r.use(len(parts[i]))
			}
			return r.text(strings.Join(parts, r.argText(a[0])))
		}
	case "Integer.parseInt", "Integer.valueOf":
		return number(Int, nil)
	case "Long.parseLong", "Long.valueOf":
		return number(Long, nil)
	case "Double.parseDouble", "Double.valueOf":
		return number(Double, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	case "Float.parseFloat", "Float.valueOf":
		return number(Float, func(s string) (float64, error) { return strconv.ParseFloat(s, 32) })
	case "Double.isNaN", "Float.isNaN":
		return one(func(r *run, v Value) Value { return boolOf(math.IsNaN(argDouble(v))) })
	case "Boolean.parseBoolean", "Boolean.valueOf":
		return one(func(r *run, v Value) Value { return boolOf(strings.EqualFold(r.javaText(v), "true")) })
	case "Integer.toHexString":
		return one(func(r *run, v Value) Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 16)) })
	case "Integer.toBinaryString":
		return one(func(r *run, v Value) Value { return textOf(strconv.FormatUint(uint64(uint32(argInt(v))), 2)) })
	case "Integer.toString", "Long.toString", "Double.toString", "Float.toString":
		return one(func(r *run, v Value) Value { return textOf(r.argText(v)) })
	case "Character.isDigit":
		return one(func(r *run, v Value) Value {
			s := r.argText(v)
			return boolOf(len(s) == 1 && s[0] >= '0' && s[0] <= '9')
		})
	case "Character.isLetter":
		return one(func(r *run, v Value) Value {
			s := r.argText(v)
			return boolOf(s != "" && nameStart([]rune(s)[0]) && s != "_" && s != "$")
		})
	}
	return nil
}
