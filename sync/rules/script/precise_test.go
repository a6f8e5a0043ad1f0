package script

import (
	"math"
	"math/big"
	"testing"
)

// TestPreciseMath holds every function against one with 300 bits, at many arguments: the result is
// the nearest double.
func TestPreciseMath(t *testing.T) {
	const bits = 300
	number := func(f float64) *big.Float { return new(big.Float).SetPrec(bits).SetFloat64(f) }
	op := func() *big.Float { return new(big.Float).SetPrec(bits) }
	// exp by halving and its series; the others follow from exp, sin and cos by their inverses.
	exp := func(x *big.Float) *big.Float {
		r := op().Quo(x, number(1<<20))
		sum, term := number(1), number(1)
		for i := 1.0; i < 20; i++ {
			term = op().Quo(op().Mul(term, r), number(i))
			sum = op().Add(sum, term)
		}
		for range 20 {
			sum = op().Mul(sum, sum)
		}
		return sum
	}
	sin := func(x *big.Float) *big.Float {
		sum, term, square := op().Set(x), op().Set(x), op().Mul(x, x)
		for i := 2.0; i < 400; i += 2 {
			term = op().Quo(op().Mul(term, op().Neg(square)), number(i*(i+1)))
			sum = op().Add(sum, term)
		}
		return sum
	}
	near := func(name string, x, got float64, want *big.Float) {
		t.Helper()
		if f, _ := want.Float64(); f != got {
			t.Errorf("%s(%v) = %v, want %v", name, x, got, f)
		}
	}
	// between checks an inverse: the exact value lies within half a unit of y, as f says of its
	// bounds.
	between := func(name string, x, y float64, f func(*big.Float) *big.Float) {
		t.Helper()
		half := func(other float64) *big.Float {
			return op().Quo(op().Add(number(y), number(other)), number(2))
		}
		low, high := f(half(math.Nextafter(y, math.Inf(-1)))), f(half(math.Nextafter(y, math.Inf(1))))
		if low.Cmp(number(x)) > 0 || high.Cmp(number(x)) < 0 {
			t.Errorf("%s(%v) = %v is not the nearest", name, x, y)
		}
	}
	for i := 1; i <= 60; i++ {
		x := float64(i)*0.137 + 0.01
		e := exp(number(x))
		inverse := op().Quo(number(1), e)
		near("exp", x, preciseExp(x), e)
		near("exp", -x, preciseExp(-x), inverse)
		near("expm1", x, preciseExpm1(x), op().Sub(e, number(1)))
		near("sinh", x, preciseSinh(x), op().Quo(op().Sub(e, inverse), number(2)))
		near("cosh", x, preciseCosh(x), op().Quo(op().Add(e, inverse), number(2)))
		near("tanh", x, preciseTanh(x), op().Quo(op().Sub(e, inverse), op().Add(e, inverse)))
		between("log", x, preciseLog(x), exp)
		near("sin", x, preciseSin(x), sin(number(x)))
		near("sin", -10*x, preciseSin(-10*x), sin(number(-10*x)))
		between("cbrt", x, preciseCbrt(x), func(y *big.Float) *big.Float { return op().Mul(y, op().Mul(y, y)) })
		near("hypot", x, preciseHypot(x, 3), op().Sqrt(op().Add(op().Mul(number(x), number(x)), number(9))))
		between("asin", float64(i)/61, preciseAsin(float64(i)/61), sin)
		y := float64(i%13)*0.31 - 2
		var ln *big.Float // log x by bisection of exp, from Go's value
		for low, high := number(math.Log(x)-1e-9), number(math.Log(x)+1e-9); ; {
			ln = op().Quo(op().Add(low, high), number(2))
			if d, _ := op().Sub(high, low).Float64(); d < 1e-60 {
				break
			}
			if exp(ln).Cmp(number(x)) < 0 {
				low = ln
			} else {
				high = ln
			}
		}
		near("pow", x, precisePow(x, y), exp(op().Mul(ln, number(y))))
	}
	for _, c := range []struct{ got, want float64 }{
		{precisePow(2, 10), 1024},
		{precisePow(10, -3), 0.001},
		{precisePow(-2, 3), -8},
		{precisePow(0, 5), 0},
		{preciseLog10(1000), 3},
		{preciseCbrt(27), 3},
		{preciseLog(math.E), 1},
		{preciseSin(math.Pi), 1.2246467991473532e-16},
		{preciseCos(0), 1},
		{preciseAtan2(1, -1), 2.356194490192345},
		{preciseAtan(1), math.Pi / 4},
		{preciseAcos(0.5), 1.0471975511965979},
		{preciseTan(1), 1.5574077246549023},
		{preciseLog1p(1), math.Ln2},
		{preciseHypot(3, 4), 5},
		{preciseExp(1), math.E},
		{precisePow(1e300, 2), math.Inf(1)},
		{preciseExp(-1000), 0},
		{preciseSinh(-1e-10), -1e-10},
		{preciseTanh(30), 1},
		{preciseExpm1(1e-10), 1.00000000005e-10},
		{preciseLog1p(1e-10), 9.999999999500001e-11},
		{preciseAsin(-1), -math.Pi / 2},
		{preciseAtan(math.Inf(1)), math.Pi / 2},
		{preciseAcos(1), 0},
		{preciseTan(0), 0},
		{preciseSinh(711), math.Inf(1)},
		{preciseSinh(710), 1.1169973830808557e308},
		{preciseLog10(0), math.Inf(-1)},
	} {
		if c.got != c.want {
			t.Errorf("%v, want %v", c.got, c.want)
		}
	}
}

// TestMathEverywhere: no argument, however odd, makes a function fail, and where Go's is finite so
// is ours.
func TestMathEverywhere(t *testing.T) {
	odd := []float64{
		0, math.Copysign(0, -1), 1, -1, 0.5, -0.5, 2, 1e-9, 1e-10, -1e-300, 5e-324, 709, 710, -745, 1e10, 1e22, 1e300, -1e300,
		math.MaxFloat64, math.Inf(1), math.Inf(-1), math.NaN(), math.Pi, 1 - 0x1p-53, 1 + 0x1p-52, 0x1p-1022,
	}
	near := func(name string, got, want float64, of ...float64) {
		t.Helper()
		if math.IsNaN(got) != math.IsNaN(want) || got != want && !(math.Abs(got-want) <= 1e-13*math.Abs(want)+1e-300) && !math.IsNaN(want) {
			t.Errorf("%s%v = %v, want %v", name, of, got, want)
		}
	}
	for _, x := range odd {
		near("acos", preciseAcos(x), math.Acos(x), x)
		near("asin", preciseAsin(x), math.Asin(x), x)
		near("atan", preciseAtan(x), math.Atan(x), x)
		near("cbrt", preciseCbrt(x), math.Cbrt(x), x)
		near("cosh", preciseCosh(x), math.Cosh(x), x)
		near("exp", preciseExp(x), math.Exp(x), x)
		near("expm1", preciseExpm1(x), math.Expm1(x), x)
		if x != 5e-324 { // Go's are wrong there on some processors
			near("log", preciseLog(x), math.Log(x), x)
			near("log10", preciseLog10(x), math.Log10(x), x)
		}
		near("log1p", preciseLog1p(x), math.Log1p(x), x)
		near("sinh", preciseSinh(x), math.Sinh(x), x)
		near("tanh", preciseTanh(x), math.Tanh(x), x)
		if !(math.Abs(x) > 1e22) {
			near("cos", preciseCos(x), math.Cos(x), x)
			near("sin", preciseSin(x), math.Sin(x), x)
			near("tan", preciseTan(x), math.Tan(x), x)
		} else if s := preciseSin(x); math.Abs(s) > 1 {
			t.Errorf("sin(%v) = %v", x, s)
		}
		for _, y := range odd {
			if x/y != 0 || x == 0 || math.IsInf(y, 0) { // Go loses the sign of what is too small
				near("atan2", preciseAtan2(x, y), math.Atan2(x, y), x, y)
			}
			near("hypot", preciseHypot(x, y), math.Hypot(x, y), x, y)
			if math.Abs(x) != 1 && !math.IsNaN(y) && x != 5e-324 {
				near("pow", precisePow(x, y), math.Pow(x, y), x, y)
			}
		}
	}
}
