package script

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// formatJava is String.format for %s %d %f %e %x %X %o %c %b %n %% with flags, width and precision,
// and numbered arguments. Everything else is not supported.
func formatJava(r *run, format string, args []*Value) string {
	var b strings.Builder
	next := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			putByte(&b, format[i])
			continue
		}
		var d directive
		i = d.parse(format, i+1)
		switch d.verb {
		case '%':
			putText(&b, d.pad("%"))
		case 'n':
			putByte(&b, '\n')
		default:
			at := next
			if d.index > 0 {
				at = d.index - 1
			} else {
				next++
			}
			if at >= len(args) {
				panic(failed("Format specifier '%" + string(d.verb) + "'"))
			}
			r.step(8 + d.precision>>3)
			s := d.pad(d.print(r, args[at]))
			r.use(len(s))
			putText(&b, s)
		}
		if b.Len() > maxMemory {
			panic(limitError("a text beyond the memory of a script"))
		}
	}
	return b.String()
}

// directive is one % of a format.
type directive struct {
	index, width, precision int // 0, 0, -1: not given
	flags                   string
	verb                    byte
}

// parse reads the directive behind a "%" and returns the place of its letter.
func (d *directive) parse(s string, i int) int {
	start := i
	d.precision = -1
	number := func() int {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		n, err := strconv.Atoi(s[from:i])
		if i > from && (err != nil || n > 10_000) {
			panic(unsupported("a format with a width or precision above 10000"))
		}
		return n
	}
	if from := i; i < len(s) && s[i] >= '1' && s[i] <= '9' {
		n := number()
		if i < len(s) && s[i] == '$' {
			d.index = n
			i++
		} else {
			i = from
		}
	}
	for i < len(s) && strings.IndexByte("-#+ 0,(", s[i]) >= 0 {
		d.flags += s[i : i+1]
		i++
	}
	d.width = number()
	if i < len(s) && s[i] == '.' {
		i++
		d.precision = number()
	}
	if i >= len(s) {
		panic(failed("Conversion = '%'"))
	}
	d.verb = s[i]
	if strings.IndexByte("sSdfeExXocbBn%", d.verb) < 0 {
		panic(unsupported("%" + s[start:i+1] + " of String.format"))
	}
	if strings.ContainsAny(d.flags, "#(") {
		panic(unsupported("the flags # and ( of String.format"))
	}
	return i
}

//go:noinline
func (d *directive) has(flag string) bool { return hasText(d.flags, flag) }

//go:noinline
func (d *directive) pad(s string) string {
	n := d.width - units(s)
	if n <= 0 {
		return s
	}
	if d.has("-") {
		return s + strings.Repeat(" ", n)
	}
	if d.has("0") && hasByte("dfeExXo", d.verb) {
		sign := 0
		if s != "" && (s[0] == '-' || s[0] == '+' || s[0] == ' ') {
			sign = 1
		}
		return s[:sign] + strings.Repeat("0", n) + s[sign:]
	}
	return strings.Repeat(" ", n) + s
}

func (d *directive) print(r *run, v *Value) string {
	switch d.verb {
	case 's', 'S':
		s := r.javaText(v)
		if d.precision >= 0 && d.precision < units(s) {
			s = cut(s, 0, d.precision)
		}
		if d.verb == 'S' {
			return strings.ToUpper(s)
		}
		return s
	case 'b', 'B':
		s := strconv.FormatBool(v.k > Null && (v.k != Bool || v.Bool()))
		if d.verb == 'B' {
			return strings.ToUpper(s)
		}
		return s
	case 'c':
		if v.k == Int {
			return string(rune(int32(v.n)))
		}
		if v.k != Char && !(v.k == Text && units(v.s) == 1) {
			panic(d.wrong(v))
		}
		return v.Text()
	}
	if v.k == Null {
		return "null"
	}
	switch d.verb {
	case 'd':
		if v.k != Int && v.k != Long {
			panic(d.wrong(v))
		}
		return d.sign(formatInt(int64(v.n), 10))
	case 'x', 'X', 'o':
		if v.k != Int && v.k != Long {
			panic(d.wrong(v))
		}
		n, base := v.n, 16
		if v.k == Int {
			n = uint64(uint32(v.n))
		}
		if d.verb == 'o' {
			base = 8
		}
		s := formatUint(n, base)
		if d.verb == 'X' {
			s = strings.ToUpper(s)
		}
		return s
	}
	if v.k != Float && v.k != Double {
		panic(d.wrong(v))
	}
	f := v.Number()
	if (f != f) || infinite(f) {
		return strings.TrimSuffix(doubleText(f), ".0")
	}
	precision := d.precision
	if precision < 0 {
		precision = 6
	}
	if d.verb == 'f' {
		return d.sign(halfUp(v, precision))
	}
	s := formatFloat(f, d.verb, precision, 64)
	return d.sign(s)
}

// halfUp prints a number with so many digits behind the point. Java rounds the decimal text of the
// number half up, where Go rounds the binary number.
func halfUp(v *Value, digits int) string {
	size := 64
	if v.k == Float {
		size = 32
	}
	x, ok := new(big.Rat).SetString(formatFloat(v.Number(), 'g', -1, size))
	if !ok {
		return doubleText(v.Number())
	}
	s := x.FloatString(digits) // it rounds halves away from zero
	if x.Sign() == 0 && math.Signbit(v.Number()) {
		s = "-" + s
	}
	return s
}

//go:noinline
func (d *directive) sign(s string) string {
	if d.has(",") {
		whole, rest := s, ""
		if i := strings.IndexAny(s, ".e"); i >= 0 {
			whole, rest = s[:i], s[i:]
		}
		digits := trimPrefix(whole, "-")
		var parts []string
		for len(digits) > 3 {
			parts = append([]string{digits[len(digits)-3:]}, parts...)
			digits = digits[:len(digits)-3]
		}
		parts = append([]string{digits}, parts...)
		s = whole[:len(whole)-len(trimPrefix(whole, "-"))] + strings.Join(parts, ",") + rest
	}
	if !hasPrefix(s, "-") {
		if d.has("+") {
			return "+" + s
		}
		if d.has(" ") {
			return " " + s
		}
	}
	return s
}

// wrong is a value of a kind that the directive does not print.
//
//go:noinline
func (d *directive) wrong(v *Value) *Error { return failed(string(d.verb) + " != " + v.k.String()) }
