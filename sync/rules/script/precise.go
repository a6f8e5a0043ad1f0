package script

import (
	"math"
	"math/big"
)

// The functions of Math, rounded correctly but for about one argument in a million. Go's own differ
// from Java's in the last digit for every fifth argument, which would show in what a device
// reports; Java's are correctly rounded nearly always. Whole numbers of point bits behind the point
// do it: a router has no floating point unit, and this is the least code. A call costs some 10 µs
// of a PC. Arguments of sin, cos and tan beyond 1e30 lose all digits.

const point = 128

// fix is a number with point bits behind the point. It does not change once it is made.
type fix = *big.Int

func hexFix(s string) fix {
	n, _ := new(big.Int).SetString(s, 16)
	return n
}

var (
	oneFix = new(big.Int).Lsh(big.NewInt(1), point)
	ln2    = hexFix("b17217f7d1cf79abc9e3b39803f2f6af")
	ln10   = hexFix("24d763776aaa2b05ba95b58ae0b4c28a4")
	halfPi = hexFix("1921fb54442d18469898cc51701b839a2")
)

//go:noinline
func plus(a, b fix) fix { return new(big.Int).Add(a, b) }

//go:noinline
func minus(a, b fix) fix { return new(big.Int).Sub(a, b) }

//go:noinline
func times(a, b fix) fix {
	n := new(big.Int).Mul(a, b)
	return n.Rsh(n, point)
}

//go:noinline
func over(a, b fix) fix {
	n := new(big.Int).Lsh(a, point)
	return n.Quo(n, b)
}

// double is a number times 2^e; e may be negative.
//
//go:noinline
func double(a fix, e int) fix {
	if e < 0 {
		return new(big.Int).Rsh(a, uint(-e))
	}
	return new(big.Int).Lsh(a, uint(e))
}

//go:noinline
func fixOf(f float64) fix {
	m, e := math.Frexp(f)
	return double(big.NewInt(int64(math.Ldexp(m, 53))), e-53+point)
}

// near is the double that is nearest to a times 2^e.
//
//go:noinline
func near(a fix, e int) float64 {
	n := a.BitLen()
	bits := new(big.Int).Abs(a)
	odd := uint64(0)
	if n > 62 { // what is cut off only breaks ties
		odd = 1
		bits.Rsh(bits, uint(n-62))
		e += n - 62
	}
	f := math.Ldexp(float64(bits.Uint64()<<1|odd), e-1-point)
	if a.Sign() < 0 {
		return -f
	}
	return f
}

// series adds term, term*f/(k+1), … with so many factors more in the divisor for each.
//
//go:noinline
func series(term, f fix, k, step int64) fix {
	sum, by, next := new(big.Int), new(big.Int), new(big.Int)
	term = new(big.Int).Set(term)
	for term.Sign() != 0 {
		sum.Add(sum, term)
		d := int64(1)
		for range step {
			k++
			d *= k
		}
		next.Mul(term, f)
		next.Rsh(next, point)
		term.Quo(next, by.SetInt64(d))
	}
	return sum
}

// expFix is e^x as a number times 2^n.
//
//go:noinline
func expFix(x fix) (a fix, n int) {
	n = int(math.RoundToEven(near(x, 0) / math.Ln2))
	return series(oneFix, minus(x, new(big.Int).Mul(ln2, big.NewInt(int64(n)))), 0, 1), n
}

// logFix is the logarithm of a positive number times 2^e: a step of Halley's from Go's.
//
//go:noinline
func logFix(x fix, e int) fix {
	n := x.BitLen() - point
	x = double(x, -n)
	y := fixOf(math.Log(near(x, 0)))
	g, k := expFix(y)
	g = double(g, k+1)
	y = plus(y, over(minus(double(x, 1), g), plus(x, double(g, -1))))
	return plus(y, new(big.Int).Mul(ln2, big.NewInt(int64(e+n))))
}

func logOf(f float64) fix {
	m, e := math.Frexp(f)
	return logFix(fixOf(m), e)
}

//go:noinline
func sinCos(x fix) (sin, cos fix) {
	n := new(big.Int).Div(plus(x, double(halfPi, -1)), halfPi)
	r := minus(x, new(big.Int).Mul(n, halfPi))
	square := times(r, r)
	square.Neg(square)
	sin, cos = series(r, square, 1, 2), series(oneFix, square, 0, 2)
	quarter := n.Bit(1)<<1 | n.Bit(0)
	if quarter&1 != 0 {
		sin, cos = cos, minus(new(big.Int), sin)
	}
	if quarter&2 != 0 {
		sin, cos = minus(new(big.Int), sin), minus(new(big.Int), cos)
	}
	return sin, cos
}

// rootFix is the square root: steps of Newton's from Go's.
//
//go:noinline
func rootFix(x fix) fix {
	if x.Sign() <= 0 {
		return x
	}
	e := (x.BitLen() - point) &^ 1
	x = double(x, -e)
	y := fixOf(math.Sqrt(near(x, 0)))
	for range 2 {
		y = double(plus(y, over(x, y)), -1)
	}
	return double(y, e/2)
}

// arc is the arcus tangens of at most 1, to five digits.
func arc(t float64) fix {
	s := t * t
	return fixOf(t * (0.99921 + s*(-0.32117+s*(0.14626-s*0.03898))))
}

// angle is atan2: steps that each have three times the digits of the one before.
//
//go:noinline
func angle(y, x fix) float64 {
	a := halfPi
	if y.Sign() < 0 {
		a = minus(new(big.Int), a)
	}
	if t := near(y, 0) / near(x, 0); x.CmpAbs(y) >= 0 {
		a = arc(t)
		if x.Sign() < 0 {
			half := double(halfPi, 1)
			if y.Sign() < 0 {
				half = minus(new(big.Int), half)
			}
			a = plus(a, half)
		}
	} else {
		a = minus(a, arc(1/t))
	}
	for range 2 {
		s, c := sinCos(a)
		a = plus(a, over(minus(times(y, c), times(x, s)), plus(times(x, c), times(y, s))))
	}
	return near(a, 0)
}

// within reports whether a number is nearer to zero; one that is none is not.
//
//go:noinline
func within(x, limit float64) bool { return math.Abs(x) < limit }

//go:noinline
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// small reports whether a function that is x near zero is x here, or x is no finite number.
//
//go:noinline
func small(x float64) bool { return within(x, 1e-9) || !finite(x) }

func preciseExp(x float64) float64 {
	if !within(x, 708) {
		return math.Exp(x)
	}
	return near(expFix(fixOf(x)))
}

func preciseExpm1(x float64) float64 {
	if !within(x, 708) {
		return math.Exp(x) - 1
	}
	if within(x, 1e-9) {
		return x + x*x/2
	}
	a, n := expFix(fixOf(x))
	return near(minus(double(a, n), oneFix), 0)
}

func preciseLog(x float64) float64 {
	if !(x > 0) || !finite(x) || x == 1 {
		return math.Log(x)
	}
	return near(logOf(x), 0)
}

func preciseLog10(x float64) float64 {
	if !(x > 0) || !finite(x) || x == 1 {
		return math.Log(x)
	}
	return near(over(logOf(x), ln10), 0)
}

func preciseLog1p(x float64) float64 {
	if within(x, 1e-9) {
		return x - x*x/2
	}
	if !(x > -1) || !finite(x) {
		return math.Log(1 + x)
	}
	return near(logFix(plus(oneFix, fixOf(x)), 0), 0)
}

func preciseSin(x float64) float64 {
	if small(x) {
		return x + (x - x)
	}
	s, _ := sinCos(fixOf(x))
	return near(s, 0)
}

func preciseCos(x float64) float64 {
	if !finite(x) {
		return math.NaN()
	}
	_, c := sinCos(fixOf(x))
	return near(c, 0)
}

func preciseTan(x float64) float64 {
	if small(x) {
		return x + (x - x)
	}
	s, c := sinCos(fixOf(x))
	return near(over(s, c), 0)
}

func preciseAtan(x float64) float64 { return preciseAtan2(x, 1) }

func preciseAtan2(y, x float64) float64 {
	if math.IsNaN(y) || math.IsNaN(x) {
		return math.NaN()
	}
	if math.IsInf(x, 0) && math.IsInf(y, 0) {
		x, y = math.Copysign(1, x), math.Copysign(1, y)
	}
	_, e := math.Frexp(max(math.Abs(x), math.Abs(y)))
	switch t := math.Abs(y / x); {
	case y == 0 && !math.Signbit(x):
		return y
	case y == 0 || x < 0 && t < 1e-40:
		return math.Copysign(math.Pi, y)
	case x > 0 && t < 1e-9:
		return y / x
	case t > 1e40:
		return math.Copysign(math.Pi/2, y)
	}
	return angle(fixOf(math.Ldexp(y, -e)), fixOf(math.Ldexp(x, -e)))
}

// leg is the square root of 1-x*x.
func leg(x float64) fix { return rootFix(times(plus(oneFix, fixOf(x)), minus(oneFix, fixOf(x)))) }

func preciseAsin(x float64) float64 {
	switch a := math.Abs(x); {
	case a < 1e-9:
		return x
	case a == 1:
		return math.Copysign(math.Pi/2, x)
	case !(a < 1):
		return math.NaN()
	}
	return angle(fixOf(x), leg(x))
}

func preciseAcos(x float64) float64 {
	switch a := math.Abs(x); {
	case x == 1:
		return 0
	case x == -1:
		return math.Pi
	case !(a < 1):
		return math.NaN()
	}
	return angle(leg(x), fixOf(x))
}

// hyperbolic gives e^x and e^-x.
//
//go:noinline
func hyperbolic(x float64) (up, down fix) {
	a, n := expFix(fixOf(x))
	up = double(a, n)
	a, n = expFix(fixOf(-x))
	return up, double(a, n)
}

func preciseSinh(x float64) float64 {
	if small(x) {
		return x
	}
	if !within(x, 708) { // half of it first: the whole is beyond the range
		half := math.Exp(math.Abs(x) / 2)
		return math.Copysign(half/2*half, x)
	}
	up, down := hyperbolic(x)
	return near(minus(up, down), -1)
}

func preciseCosh(x float64) float64 {
	if !within(x, 708) {
		half := math.Exp(math.Abs(x) / 2)
		return half / 2 * half
	}
	up, down := hyperbolic(x)
	return near(plus(up, down), -1)
}

func preciseTanh(x float64) float64 {
	switch a := math.Abs(x); {
	case a < 1e-9 || math.IsNaN(x):
		return x
	case a >= 22:
		return math.Copysign(1, x)
	}
	up, down := hyperbolic(x)
	return near(over(minus(up, down), plus(up, down)), 0)
}

func preciseCbrt(x float64) float64 {
	if x == 0 || !finite(x) {
		return x
	}
	_, e := math.Frexp(x)
	e -= e % 3
	v := math.Ldexp(math.Abs(x), -e)
	a, y := fixOf(v), fixOf(math.Pow(v, 1.0/3))
	for range 2 {
		square := times(y, y)
		y = minus(y, over(minus(times(square, y), a), plus(square, double(square, 1))))
	}
	return math.Copysign(near(y, e/3), x)
}

func preciseHypot(x, y float64) float64 {
	most := max(math.Abs(x), math.Abs(y))
	if math.IsInf(x, 0) || math.IsInf(y, 0) {
		return math.Inf(1)
	}
	if most == 0 || math.IsNaN(most) {
		return most
	}
	_, e := math.Frexp(most)
	a, b := fixOf(math.Ldexp(x, -e)), fixOf(math.Ldexp(y, -e))
	return near(rootFix(plus(times(a, a), times(b, b))), e)
}

// precisePow is pow of Java. Go's differs with a base of one too: 1 ** NaN is NaN in Java.
func precisePow(x, y float64) float64 {
	if math.IsNaN(y) || math.Abs(x) == 1 && math.IsInf(y, 0) {
		return math.NaN()
	}
	f := math.Pow(x, y)
	if a := math.Abs(f); !(a > 1e-280 && a < 1e280) || x == 0 || !finite(x) || y == 1 || math.Abs(y) > 1e18 {
		return f
	}
	return math.Copysign(near(expFix(times(fixOf(y), logOf(math.Abs(x))))), f)
}
