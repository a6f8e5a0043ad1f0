package script

import "math"

// The routines of Go of Math, but for those of precise.go.

func random(r *run, _ []*Value) *Value { return doubleOf(r.rand()) }

//go:noinline
func (r *run) rand() float64 {
	if r.env.Random != nil {
		return r.env.Random()
	}
	return 0.5
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

func fround(f float64) float64 { return float64(float32(f)) }

func mathAbs(_ *run, a []*Value) *Value {
	v := a[0]
	switch {
	case v.k != Int && v.k != Long: // a text is a double
		return narrow(math.Abs(argDouble(v)), v.k)
	case int64(v.n) < 0:
		return negate(v)
	}
	return v
}

func mathMax(_ *run, a []*Value) *Value { return extreme(a, true) }

func mathMin(_ *run, a []*Value) *Value { return extreme(a, false) }

func floorDiv(_ *run, a []*Value) *Value { return floorDivision(a, false) }

func floorMod(_ *run, a []*Value) *Value { return floorDivision(a, true) }

// extreme is Math.max and Math.min: an int among the two makes it the int's (RULES.md 5.4.9).
func extreme(a []*Value, isMax bool) *Value {
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
		return narrow(max(f, g), kind)
	}
	return narrow(min(f, g), kind)
}

// intAs is an argument of an int overload; a long beside an int stays a long.
func intAs(v *Value) int64 {
	if v.k == Long {
		return int64(v.n)
	}
	return int64(argInt(v))
}

func floorDivision(a []*Value, mod bool) *Value {
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
