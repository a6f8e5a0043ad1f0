package script

import "math"

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
		return preciseAcos
	case "asin":
		return preciseAsin
	case "atan":
		return preciseAtan
	case "cbrt":
		return preciseCbrt
	case "ceil":
		return math.Ceil
	case "cos":
		return preciseCos
	case "cosh":
		return preciseCosh
	case "exp":
		return preciseExp
	case "expm1":
		return preciseExpm1
	case "floor":
		return math.Floor
	case "log":
		return preciseLog
	case "log10":
		return preciseLog10
	case "log1p":
		return preciseLog1p
	case "rint":
		return math.RoundToEven
	case "signum":
		return sign
	case "sin":
		return preciseSin
	case "sinh":
		return preciseSinh
	case "sqrt":
		return math.Sqrt
	case "tan":
		return preciseTan
	case "tanh":
		return preciseTanh
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
		return preciseAtan2
	case "hypot":
		return preciseHypot
	case "pow":
		return precisePow
	}
	return nil
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
