package script

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// doubleText is a double as Java's Double.toString prints it: 1.0, 1.0E7, 1.0E-5, Infinity, NaN.
func doubleText(f float64) string { return string(appendJava(nil, f, 64)) }

// appendJava appends a double, or a float of 32 bits, as Java prints it. The servers run Java 17,
// whose digits are not always the fewest: see slowDigits.
func appendJava(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return addText(b, "NaN")
	case infinite(f):
		if f < 0 {
			b = addByte(b, '-')
		}
		return addText(b, "Infinity")
	}
	if math.Signbit(f) {
		b = addByte(b, '-')
		f = -f
	}
	if f == 0 {
		return addText(b, "0.0")
	}
	if f < 1e7 && f == math.Trunc(f) && bits == 64 {
		return addText(strconv.AppendInt(b, int64(f), 10), ".0")
	}
	var buf, store [48]byte
	digits, exp := shortDigits(buf[:0], store[:0], f, bits)
	// Up to so many digits the fewest are Java's too, but for whole numbers whose neighbours are
	// further than one away, and for the least numbers, which get two digits.
	safe, whole, least := 15, float64(1<<53), 0x1p-1022
	if bits == 32 {
		safe, whole, least = 6, 1<<24, 0x1p-126
	}
	if len(digits) > safe || f >= whole && f == math.Trunc(f) || f < least {
		digits, exp = slowDigits(f, bits)
	}
	return layOut(b, digits, exp)
}

// shortDigits is the fewest digits that read back as f; the first one counts 10^exp.
func shortDigits(b, digits []byte, f float64, bits int) ([]byte, int) {
	b = strconv.AppendFloat(b, f, 'e', -1, bits)
	exp := 0
	for i, c := range b {
		if c == 'e' {
			exp, _ = strconv.Atoi(string(b[i+1:]))
			break
		}
		if c != '.' {
			digits = addByte(digits, c)
		}
	}
	return digits, exp
}

// layOut prints digits with a point, in exponent form below 10^-3 and from 10^7.
func layOut(b, digits []byte, exp int) []byte {
	switch {
	case exp >= 0 && exp < 7:
		for i := 0; i <= exp; i++ {
			if i < len(digits) {
				b = addByte(b, digits[i])
			} else {
				b = addByte(b, '0')
			}
		}
		b = addByte(b, '.')
		if len(digits) <= exp+1 {
			return addByte(b, '0')
		}
		return addBytes(b, digits[exp+1:])
	case exp < 0 && exp >= -3:
		b = addText(b, "0.")
		for i := exp + 1; i < 0; i++ {
			b = addByte(b, '0')
		}
		return addBytes(b, digits)
	}
	b = addByte(addByte(b, digits[0]), '.')
	if len(digits) > 1 {
		b = addBytes(b, digits[1:])
	} else {
		b = addByte(b, '0')
	}
	b = addByte(b, 'E')
	return strconv.AppendInt(b, int64(exp), 10)
}

// slowDigits makes the digits as Java did up to version 18, where they differ from the fewest:
// whole numbers below 2^63 keep every digit that their bits can tell apart; of all others digits
// are made until what is left is less than half a unit of the last bit, and at least two in
// exponent form.
func slowDigits(f float64, bits int) (digits []byte, exp int) {
	mantissa, e := math.Frexp(f) // f = mantissa * 2^e, mantissa from 1/2 to below 1
	size := 53
	if bits == 32 {
		size = 24
	}
	if f == math.Trunc(f) && e <= 63 {
		drop := 0
		if p := e - 1 - size - 1; p > 1 {
			drop = p * 30103 / 100000 // digits that p bits cannot tell apart
		}
		n, unit := uint64(f), uint64(1)
		for range drop {
			unit *= 10
		}
		rest := n % unit
		if n /= unit; rest >= unit>>1 && unit > 1 {
			n++
		}
		digits = strconv.AppendUint(nil, n, 10)
		exp = len(digits) - 1 + drop
		for len(digits) > 1 && digits[len(digits)-1] == '0' {
			digits = digits[:len(digits)-1]
		}
		return digits, exp
	}
	// f = b/s, and half a unit of the last bit is m/s.
	if bits == 32 && e < -125 {
		size -= -125 - e // denormal: fewer bits
	} else if bits == 64 && e < -1021 {
		size -= -1021 - e
	}
	b, s, m := big.NewInt(int64(math.Ldexp(mantissa, size))), big.NewInt(1), big.NewInt(1)
	if shift := e - size; shift >= 0 {
		b.Lsh(b, uint(shift+1))
		s.Lsh(s, 1)
		m.Lsh(m, uint(shift))
	} else {
		b.Lsh(b, 1)
		s.Lsh(s, uint(1-shift))
	}
	if mantissa == 0.5 { // the number below a power of two is half as far away
		b.Lsh(b, 1)
		s.Lsh(s, 1)
	}
	ten := big.NewInt(10)
	exp = int(math.Floor(math.Log(f) / math.Ln10))
	for range exp {
		s.Mul(s, ten)
	}
	for range -exp {
		b.Mul(b, ten)
		m.Mul(m, ten)
	}
	for b.Cmp(s) < 0 { // the logarithm was too big, of the least numbers by far
		exp--
		b.Mul(b, ten)
		m.Mul(m, ten)
	}
	tens, q, sum := new(big.Int).Mul(s, ten), new(big.Int), new(big.Int)
	for b.Cmp(tens) >= 0 {
		exp++
		s.Set(tens)
		tens.Mul(tens, ten)
	}
	low, high := false, false
	for !low && !high {
		q.QuoRem(b, s, b)
		digits = addByte(digits, byte('0'+q.Int64()))
		b.Mul(b, ten)
		m.Mul(m, ten)
		low, high = b.Cmp(m) < 0, sum.Add(b, m).Cmp(tens) > 0
		if len(digits) == 1 && (exp < -3 || exp >= 8) {
			low, high = false, false
		}
	}
	if high {
		c := sum.Lsh(b, 1).Cmp(tens)
		if !low || c > 0 || c == 0 && digits[len(digits)-1]&1 != 0 {
			digits, exp = roundUp(digits, exp)
		}
	}
	for len(digits) > 2 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return digits, exp
}

//go:noinline
func roundUp(digits []byte, exp int) ([]byte, int) {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] < '9' {
			digits[i]++
			return digits, exp
		}
		digits[i] = '0'
	}
	return append([]byte{'1'}, digits[:len(digits)-1]...), exp + 1
}

// toInt and toLong narrow a double as Java does: NaN is 0, what is too big saturates.
//
//go:noinline
func toInt(f float64) int32 {
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt32:
		return math.MaxInt32
	case f <= math.MinInt32:
		return math.MinInt32
	}
	return int32(f)
}

//go:noinline
func toLong(f float64) int64 {
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// numericText reads a text as a number of an operator: decimal digits with an optional minus and
// point. ok is false for any other text, an empty one too.
//
//go:noinline
func numericText(s string) (f float64, ok bool) {
	if t := trimPrefix(s, "-"); len(s) > 64 || !onlyDigits(strings.Replace(t, ".", "", 1), "0123456789") {
		return 0, false
	}
	return parsed(s)
}

// parsed reads a text as a function that wants a number does: also with an exponent and blanks.
//
//go:noinline
func parsed(s string) (f float64, ok bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return f, (err == nil || infinite(f)) && !strings.ContainsAny(s, "_xXnNpP")
}

// jsonNumber reads the text of a number in JSON: int, long, else double.
func jsonNumber(s string) Value {
	whole := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '.' || c == 'e' || c == 'E' {
			whole = false
			break
		}
	}
	if whole && len(s) < 10 { // fits without a check
		n, i := int32(0), 0
		if s[0] == '-' {
			i = 1
		}
		for ; i < len(s); i++ {
			n = n*10 + int32(s[i]-'0')
		}
		if s[0] == '-' {
			n = -n
		}
		return Value{k: Int, n: uint64(int64(n))}
	}
	if whole {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			k := Long
			if n == int64(int32(n)) {
				k = Int
			}
			return Value{k: k, n: uint64(n)}
		}
	}
	f, _ := strconv.ParseFloat(s, 64) // JSON's grammar is checked; beyond the range it is infinite
	return Value{k: Double, n: math.Float64bits(f)}
}

// plainText is a value as Java's String.valueOf prints it.
//
//go:noinline
func plainText(v *Value) string {
	switch v.k {
	case Unset, Null:
		return "null"
	case Text:
		return v.s
	}
	return string(appendText(nil, v, 0))
}

// javaText is the same inside a run: the text of a list or map costs steps.
//
//go:noinline
func (r *run) javaText(v *Value) string {
	s := plainText(v)
	switch {
	case v.k >= List:
		r.step(len(s) >> 3)
	case v.k == Float || v.k == Double:
		r.step(4) // digits are dear
	}
	return s
}

// textDepth bounds how deep a value is printed: a list may hold itself.
const textDepth = 64

// appendText prints a value as TBEL does.
//
//go:noinline
func appendText(b []byte, v *Value, depth int) []byte { return appendValue(b, v, depth, false) }

// appendScriptText prints a value as JavaScript does.
//
//go:noinline
func appendScriptText(b []byte, v *Value, depth int) []byte { return appendValue(b, v, depth, true) }

func appendValue(b []byte, v *Value, depth int, js bool) []byte {
	if depth > textDepth || len(b) > maxMemory {
		panic(limitError("a text of a value that is nested or long beyond the bounds"))
	}
	s := "[object]"
	switch v.k {
	case Unset, Null:
		if s = "null"; js && v.k == Unset {
			s = "undefined"
		}
	case Bool:
		return strconv.AppendBool(b, v.n != 0)
	case Int, Long:
		return strconv.AppendInt(b, int64(v.n), 10)
	case Float:
		return appendJava(b, v.Number(), 32)
	case Double:
		if js {
			return appendScript(b, v.Number())
		}
		return appendJava(b, v.Number(), 64)
	case Char, Text:
		s = v.Text()
	case List, Array, Set, Map:
		if js && v.k == Map {
			s = "[object Object]"
			break
		}
		return appendItems(b, v, depth+1, js)
	case Entry:
		b = addByte(appendValue(b, v.o.items[0], depth+1, js), '=')
		return appendValue(b, v.o.items[1], depth+1, js)
	case Date:
		switch {
		case js && v.o.date.bad():
			s = "Invalid Date"
		case js:
			s = v.o.date.in(time.UTC).Format("Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)")
		default:
			s = v.o.date.full()
		}
	case Function:
		s = "function () { [native code] }"
	case Regexp:
		s = "/" + v.o.re.source + "/" + v.o.re.flags
	case Failure:
		s = v.o.text + ": " + v.o.items[0].s
	case Class:
		if s = v.o.text; js {
			s = "[object " + s + "]"
		}
	}
	return addText(b, s)
}

// appendItems prints what a list, set or map holds: [a, b] and {k=a}, and of JavaScript a,b where
// null and undefined are nothing.
func appendItems(b []byte, v *Value, depth int, js bool) []byte {
	between, ends := ", ", "[]"
	if v.k == Map {
		ends = "{}"
	}
	if js {
		between = ","
	} else {
		b = addByte(b, ends[0])
	}
	for i, item := range v.o.items {
		if i > 0 {
			b = addText(b, between)
		}
		if v.k == Map {
			b = addByte(appendValue(b, v.o.keys[i], depth, js), '=')
		}
		if !js || item.k > Null {
			b = appendValue(b, item, depth, js)
		}
	}
	if js {
		return b
	}
	return addByte(b, ends[1])
}
