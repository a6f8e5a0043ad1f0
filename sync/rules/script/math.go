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
	if kind > Long {
		f, g := argDouble(x), argDouble(y)
		if isMax {
			return narrow(max(f, g), kind)
		}
		return narrow(min(f, g), kind)
	}
	m, n := wholeAs(x, kind), wholeAs(y, kind)
	if (m > n) != isMax {
		m = n
	}
	if kind == Int && x.k != Long && y.k != Long {
		return intOf(int32(m))
	}
	return longOf(m)
}

// wholeAs is an argument of an overload for whole numbers; a long beside an int stays a long.
//
//go:noinline
func wholeAs(v *Value, kind Kind) int64 {
	if kind == Int && v.k != Long {
		return int64(argInt(v))
	}
	return argLong(v)
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
