package script

import "math"

// mathSteps is what a function of Math counts: without a floating point unit it takes as long as so
// many statements.
const mathSteps = 16

// mathFunction is Math.name of TBEL; nil if there is none.
func mathFunction(name word) builtin {
	if f := mathOne(name); f != nil {
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			r.step(mathSteps)
			return doubleOf(f(argDouble(a[0])))
		}
	}
	if f := mathTwo(name); f != nil {
		return func(r *run, a []*Value) *Value {
			need(a, 2, 2)
			r.step(mathSteps)
			return doubleOf(f(argDouble(a[0]), argDouble(a[1])))
		}
	}
	switch name {
	case wAbs:
		return mathAbs
	case wMax, wMin:
		isMax := name == wMax
		return func(r *run, a []*Value) *Value { return extreme(a, isMax) }
	case wRound:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return longOf(toLong(math.Floor(argDouble(a[0]) + 0.5)))
		}
	case wRandom:
		return func(r *run, a []*Value) *Value { return doubleOf(r.rand()) }
	case wFloorDiv, wFloorMod:
		return func(r *run, a []*Value) *Value { return floorDivision(a, name == wFloorMod) }
	}
	return nil
}

//go:noinline
func (r *run) rand() float64 {
	if r.env.Random != nil {
		return r.env.Random()
	}
	return 0.5
}

//go:noinline
func mathOne(name word) func(float64) float64 {
	switch name {
	case wAcos:
		return preciseAcos
	case wAsin:
		return preciseAsin
	case wAtan:
		return preciseAtan
	case wCbrt:
		return preciseCbrt
	case wCeil:
		return math.Ceil
	case wCos:
		return preciseCos
	case wCosh:
		return preciseCosh
	case wExp:
		return preciseExp
	case wExpm1:
		return preciseExpm1
	case wFloor:
		return math.Floor
	case wLog:
		return preciseLog
	case wLog10:
		return preciseLog10
	case wLog1p:
		return preciseLog1p
	case wRint:
		return math.RoundToEven
	case wSignum:
		return sign
	case wSin:
		return preciseSin
	case wSinh:
		return preciseSinh
	case wSqrt:
		return math.Sqrt
	case wTan:
		return preciseTan
	case wTanh:
		return preciseTanh
	case wToDegrees:
		return func(f float64) float64 { return f * (180 / math.Pi) }
	case wToRadians:
		return func(f float64) float64 { return f * (math.Pi / 180) }
	}
	return nil
}

func mathTwo(name word) func(x, y float64) float64 {
	switch name {
	case wAtan2:
		return preciseAtan2
	case wHypot:
		return preciseHypot
	case wPow:
		return precisePow
	}
	return nil
}

//go:noinline
func sign(f float64) float64 {
	switch {
	case f > 0:
		return 1
	case f < 0:
		return -1
	}
	return f
}

func mathAbs(_ *run, a []*Value) *Value {
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
func extreme(a []*Value, isMax bool) *Value {
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
func intAs(v *Value) int64 {
	if v.k == Long {
		return int64(v.n)
	}
	return int64(argInt(v))
}

func floorDivision(a []*Value, mod bool) *Value {
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
func classConstant(class, name word) (*Value, bool) {
	switch wordOf(class.String() + "." + name.String()) {
	case wMathPI:
		return doubleOf(math.Pi), true
	case wMathE:
		return doubleOf(math.E), true
	case wIntegerMAXVALUE:
		return intOf(math.MaxInt32), true
	case wIntegerMINVALUE:
		return intOf(math.MinInt32), true
	case wLongMAXVALUE:
		return longOf(math.MaxInt64), true
	case wLongMINVALUE:
		return longOf(math.MinInt64), true
	case wDoubleMAXVALUE:
		return doubleOf(math.MaxFloat64), true
	case wDoubleMINVALUE:
		return doubleOf(math.SmallestNonzeroFloat64), true
	case wDoubleNaN:
		return doubleOf(math.NaN()), true
	case wDoublePOSITIVEINFINITY:
		return doubleOf(math.Inf(1)), true
	case wDoubleNEGATIVEINFINITY:
		return doubleOf(math.Inf(-1)), true
	}
	return nil, false
}
