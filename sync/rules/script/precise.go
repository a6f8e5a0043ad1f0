package script

import "math"

// The functions of Math, rounded correctly but for about one argument in a million. Go's own differ
// from Java's in the last digit for every fifth argument, which would show in what a device
// reports; Java's are correctly rounded nearly always. Numbers of twice the precision do it: they
// cost some hundred operations a call.

// pair is the sum of two doubles, of which the second is below half a unit of the first.
type pair struct{ hi, lo float64 }

//go:noinline
func twoSum(a, b float64) pair {
	s := a + b
	t := s - a
	return pair{s, (a - (s - t)) + (b - t)}
}

//go:noinline
func twoProduct(a, b float64) pair {
	p := a * b
	return pair{p, math.FMA(a, b, -p)}
}

//go:noinline
func quickSum(a, b float64) pair {
	s := a + b
	return pair{s, b - (s - a)}
}

//go:noinline
func (a pair) add(b pair) pair {
	s, t := twoSum(a.hi, b.hi), twoSum(a.lo, b.lo)
	s = quickSum(s.hi, s.lo+t.hi)
	return quickSum(s.hi, s.lo+t.lo)
}

//go:noinline
func (a pair) neg() pair { return pair{-a.hi, -a.lo} }

//go:noinline
func (a pair) sub(b pair) pair { return a.add(b.neg()) }

//go:noinline
func (a pair) value() float64 { return a.hi + a.lo }

//go:noinline
func one(f float64) pair { return pair{f, 0} }

//go:noinline
func (a pair) mul(b pair) pair {
	p := twoProduct(a.hi, b.hi)
	return quickSum(p.hi, math.FMA(a.hi, b.lo, math.FMA(a.lo, b.hi, p.lo)))
}

//go:noinline
func (a pair) div(b pair) pair {
	q1 := a.hi / b.hi
	r := a.sub(b.mul(one(q1)))
	q2 := r.hi / b.hi
	r = r.sub(b.mul(one(q2)))
	s := quickSum(q1, q2)
	return s.add(one(r.hi / b.hi))
}

//go:noinline
func (a pair) scaled(f float64) pair { return pair{a.hi * f, a.lo * f} } // f is a power of two

func (a pair) sqrt() pair {
	if a.hi <= 0 {
		return pair{}
	}
	s := math.Sqrt(a.hi)
	return one(s).add(one(a.sub(twoProduct(s, s)).hi / (2 * s)))
}

// The constants as sums of doubles.
var (
	ln2   = [3]float64{0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56, 0x1.7b57a079a1934p-111}
	ln10  = pair{0x1.26bb1bbb55516p+1, -0x1.f48ad494ea3e9p-53}
	halfP = [3]float64{0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110}
)

// reduced is x - n*c for a constant of three parts.
func reduced(x pair, n float64, c [3]float64) pair {
	r := x.sub(twoProduct(n, c[0]))
	r = r.sub(twoProduct(n, c[1]))
	return r.sub(one(n * c[2]))
}

// expPair is e^x for |x| below 709.
func expPair(x pair) pair {
	n := math.RoundToEven(x.hi / ln2[0])
	r := reduced(x, n, ln2).scaled(1.0 / 256)
	// e^r - 1 by its series, then squared eight times.
	sum, term := r, r
	for i := 2; i <= 10; i++ {
		term = term.mul(r).div(one(float64(i)))
		sum = sum.add(term)
	}
	for range 8 {
		sum = sum.scaled(2).add(sum.mul(sum))
	}
	sum = sum.add(one(1))
	return pair{math.Ldexp(sum.hi, int(n)), math.Ldexp(sum.lo, int(n))}
}

// logPair is the logarithm of a normal positive number: a step of Newton's from Go's.
func logPair(x pair) pair {
	y := one(math.Log(x.hi))
	t := x.mul(expPair(y.neg())).sub(one(1))
	return y.add(t).sub(t.mul(t).scaled(0.5))
}

// sinCos is both for |x| below 2^20.
func sinCos(x pair) (sin, cos pair) {
	n := math.RoundToEven(x.hi / halfP[0])
	r := reduced(x, n, halfP)
	square := r.mul(r).neg()
	sin, cos = r, one(1)
	s, c := r, one(1)
	for i := 2.0; i < 30; i += 2 {
		c = c.mul(square).div(one(i * (i - 1)))
		s = s.mul(square).div(one(i * (i + 1)))
		cos, sin = cos.add(c), sin.add(s)
	}
	switch int64(n) & 3 {
	case 1:
		return cos, sin.neg()
	case 2:
		return sin.neg(), cos.neg()
	case 3:
		return cos.neg(), sin
	}
	return sin, cos
}

// anglePair is atan2 of pairs: a step of Newton's from Go's.
func anglePair(y, x pair) float64 {
	first := math.Atan2(y.hi, x.hi)
	s, c := sinCos(one(first))
	d := y.mul(c).sub(x.mul(s)).div(x.mul(c).add(y.mul(s)))
	return one(first).add(d).value()
}

// usual reports whether f is finite and of a size that the steps above are made for.
//
//go:noinline
func usual(f float64) bool {
	a := math.Abs(f)
	return a > 1e-280 && a < 1e280
}

func preciseExp(x float64) float64 {
	if !(math.Abs(x) < 700) {
		return math.Exp(x)
	}
	return expPair(one(x)).value()
}

func preciseExpm1(x float64) float64 {
	if math.Abs(x) < 1e-8 {
		return one(x).add(twoProduct(x, x).scaled(0.5)).value()
	}
	if !(math.Abs(x) < 700) {
		return math.Exp(x) - 1
	}
	return expPair(one(x)).sub(one(1)).value()
}

func preciseLog(x float64) float64 {
	if x < 0 || !usual(x) {
		return math.Log(x)
	}
	return logPair(one(x)).value()
}

func preciseLog10(x float64) float64 {
	if x < 0 || !usual(x) {
		return math.Log(x) / math.Ln10
	}
	return logPair(one(x)).div(ln10).value()
}

func preciseLog1p(x float64) float64 {
	if math.Abs(x) < 1e-8 {
		return one(x).sub(twoProduct(x, x).scaled(0.5)).value()
	}
	if !(x > -1) || !usual(x) {
		return math.Log(1 + x)
	}
	return logPair(twoSum(1, x)).value()
}

func preciseSin(x float64) float64 {
	if !usual(x) || math.Abs(x) > 1<<20 {
		return math.Sin(x)
	}
	s, _ := sinCos(one(x))
	return s.value()
}

func preciseCos(x float64) float64 {
	if !usual(x) || math.Abs(x) > 1<<20 {
		return math.Cos(x)
	}
	_, c := sinCos(one(x))
	return c.value()
}

func preciseTan(x float64) float64 {
	if !usual(x) || math.Abs(x) > 1<<20 {
		return math.Sin(x) / math.Cos(x)
	}
	s, c := sinCos(one(x))
	return s.div(c).value()
}

func preciseAtan(x float64) float64 {
	if math.Abs(x) < 1e-9 || x != x {
		return x
	}
	if !usual(x) {
		return math.Copysign(math.Pi/2, x)
	}
	return anglePair(one(x), one(1))
}

func preciseAtan2(y, x float64) float64 {
	if !usual(x) || !usual(y) || !usual(y/x) {
		return math.Atan2(y, x)
	}
	return anglePair(one(y), one(x))
}

func preciseAsin(x float64) float64 {
	switch a := math.Abs(x); {
	case a < 1e-9:
		return x
	case a == 1:
		return math.Copysign(math.Pi/2, x)
	case !(a < 1):
		return math.NaN()
	}
	return anglePair(one(x), twoSum(1, x).mul(twoSum(1, -x)).sqrt())
}

func preciseAcos(x float64) float64 {
	switch a := math.Abs(x); {
	case x == 1:
		return 0
	case x == -1:
		return math.Pi
	case !(a < 1):
		return math.NaN()
	case a < 1e-200:
		return math.Pi / 2
	}
	return anglePair(twoSum(1, x).mul(twoSum(1, -x)).sqrt(), one(x))
}

// hyperbolic gives e^x and e^-x.
func hyperbolic(x float64) (up, down pair) {
	up = expPair(one(x))
	return up, one(1).div(up)
}

func preciseSinh(x float64) float64 {
	switch a := math.Abs(x); {
	case a < 1e-8 || math.IsInf(x, 0):
		return x
	case !(a < 700): // half of it first: the whole is beyond the range
		half := math.Exp(a / 2)
		return math.Copysign(half/2*half, x)
	}
	up, down := hyperbolic(x)
	return up.sub(down).scaled(0.5).value()
}

func preciseCosh(x float64) float64 {
	if !(math.Abs(x) < 700) {
		half := math.Exp(math.Abs(x) / 2)
		return half / 2 * half
	}
	up, down := hyperbolic(x)
	return up.add(down).scaled(0.5).value()
}

func preciseTanh(x float64) float64 {
	switch a := math.Abs(x); {
	case a < 1e-8 || x != x:
		return x
	case a >= 22:
		return math.Copysign(1, x)
	}
	up, down := hyperbolic(x)
	return up.sub(down).div(up.add(down)).value()
}

func preciseCbrt(x float64) float64 {
	if !usual(x) {
		return math.Cbrt(x)
	}
	y := math.Cbrt(x)
	square := twoProduct(y, y)
	rest := one(x).sub(square.mul(one(y)))
	return one(y).add(one(rest.hi / (3 * square.hi))).value()
}

func preciseHypot(x, y float64) float64 {
	if a, b := math.Abs(x), math.Abs(y); !(a > 1e-100 && a < 1e100 && b > 1e-100 && b < 1e100) {
		return math.Hypot(x, y)
	}
	return twoProduct(x, x).add(twoProduct(y, y)).sqrt().value()
}

// precisePow is pow of Java. Go's differs with a base of one too: 1 ** NaN is NaN in Java.
func precisePow(x, y float64) float64 {
	if (y != y) || math.Abs(x) == 1 && math.IsInf(y, 0) {
		return math.NaN()
	}
	f := math.Pow(x, y)
	if !usual(x) || !usual(y) || !usual(f) || y == 1 {
		return f
	}
	p := expPair(one(y).mul(logPair(one(math.Abs(x))))).value()
	return math.Copysign(p, f)
}
