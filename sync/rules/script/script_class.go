package script

import (
	"math"
	"strconv"
	"strings"
)

// The routines of Go that only JavaScript has.

// parseIntScript reads the digits at the beginning of a text.
func parseIntScript(r *run, a []*Value) *Value {
	s := strings.TrimSpace(r.textAt(a, 0))
	sign := 1.0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	base := r.intAt(a, 1, 0)
	if base == 0 || base == 16 {
		if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			base, s = 16, s[2:]
		}
		if base == 0 {
			base = 10
		}
	}
	if base < 2 || base > 36 {
		return doubleOf(math.NaN())
	}
	f, n := 0.0, 0
	for ; n < len(s); n++ {
		d := digitOf(s[n])
		if d >= base {
			break
		}
		f = f*float64(base) + float64(d)
	}
	if n == 0 {
		return doubleOf(math.NaN())
	}
	if base == 10 && n > 15 { // digit by digit loses the last ones
		f, _ = strconv.ParseFloat(s[:n], 64)
	}
	return doubleOf(sign * f)
}

func digitOf(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return 99
}

// parseFloatScript reads the number at the beginning of a text.
func parseFloatScript(r *run, a []*Value) *Value {
	s := strings.TrimSpace(r.textAt(a, 0))
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	if hasPrefix(s[i:], "Infinity") {
		return doubleOf(math.Inf(1 - 2*strings.Count(s[:i], "-")))
	}
	digits, end := 0, i
	for point := false; i < len(s); i++ {
		if s[i] == '.' && !point {
			point = true
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			break
		}
		digits++
		end = i + 1
	}
	if digits == 0 {
		return doubleOf(math.NaN())
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		for ; j < len(s) && s[j] >= '0' && s[j] <= '9'; j++ {
			end = j + 1
		}
	}
	f, _ := strconv.ParseFloat(s[:end], 64)
	return doubleOf(f)
}

func makeText(r *run, a []*Value) *Value {
	if len(a) == 0 {
		return textOf("")
	}
	return r.text(r.scriptText(a[0]))
}

func makeError(r *run, a []*Value) *Value {
	r.use(objectSize)
	return failure(a[0].s, r.scriptText(a[1]))
}

func makeRegexp(r *run, a []*Value) *Value {
	source, flags := r.scriptText(arg(a, 0)), ""
	if v := arg(a, 0); v.k == Regexp {
		source, flags = v.o.re.source, v.o.re.flags
	}
	if v := arg(a, 1); v.k == Text {
		flags = v.s
	}
	r.step(100 + 10*len(source))
	r.use(objectSize + 100*len(source))
	return regexpOf(compilePattern(source, flags, scriptPattern))
}

func callFunction(r *run, a []*Value) *Value {
	return r.callValue(a[0], a[min(2, len(a)):], "the value")
}

func applyFunction(r *run, a []*Value) *Value {
	var args []*Value
	if list := arg(a, 2); list.k == List {
		args = list.o.items
	}
	return r.callValue(a[0], args, "the value")
}

func stringifyScript(r *run, a []*Value) *Value {
	if f := arg(a, 1); f.k > Null {
		panic(unsupported("a replacer of JSON.stringify"))
	}
	gap := ""
	switch s := arg(a, 2); s.k {
	case Double:
		gap = strings.Repeat(" ", max(0, min(r.intAt(a, 2, 0), 10)))
	case Text:
		gap = cut(s.s, 0, min(10, units(s.s)))
	}
	v := arg(a, 0)
	if v.k == Unset || v.k == Function {
		return undefined
	}
	w := writer{lang: JavaScript, most: maxResult, gap: gap}
	return r.text(string(w.value(nil, v, 0)))
}

// instances are the kinds that instanceof tells apart; $map is the library's.
var instances = [...]struct {
	class       string
	first, last Kind
}{
	{"Array", List, List},
	{"Date", Date, Date},
	{"RegExp", Regexp, Regexp},
	{"$map", Map, Map},
	{"Error", Failure, Failure},
	{"Object", List, Class},
	{"String", Class + 1, Class}, // of texts and numbers that are no objects
	{"Number", Class + 1, Class},
	{"Boolean", Class + 1, Class},
}

// scriptInstance is instanceof.
func scriptInstance(v *Value, class string) bool {
	for i := range instances {
		if n := &instances[i]; n.class == class {
			return v.k >= n.first && v.k <= n.last
		}
	}
	if oneOf("TypeError RangeError SyntaxError ReferenceError", class) {
		return v.k == Failure && v.o.text == class
	}
	panic(unsupportedOn("instanceof %", class))
}
