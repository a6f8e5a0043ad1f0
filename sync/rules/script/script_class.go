package script

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// arg is argument i, or undefined.
//
//go:noinline
func arg(a []*Value, i int) *Value {
	if i < len(a) {
		return a[i]
	}
	return undefined
}

// globalFunction is a function of JavaScript by its name; nil if there is none.
func globalFunction(name word) builtin {
	switch name {
	case wParseInt:
		return func(r *run, a []*Value) *Value {
			return doubleOf(parseIntScript(r.scriptText(arg(a, 0)), scriptNumber(r, arg(a, 1))))
		}
	case wParseFloat:
		return func(r *run, a []*Value) *Value { return doubleOf(parseFloatScript(r.scriptText(arg(a, 0)))) }
	case wIsNaN:
		return func(r *run, a []*Value) *Value { return boolOf(math.IsNaN(scriptNumber(r, arg(a, 0)))) }
	case wIsFinite:
		return func(r *run, a []*Value) *Value {
			f := scriptNumber(r, arg(a, 0))
			return boolOf(!(f != f) && !infinite(f))
		}
	case wNumber:
		return func(r *run, a []*Value) *Value {
			if len(a) == 0 {
				return doubleOf(0)
			}
			return doubleOf(scriptNumber(r, a[0]))
		}
	case wString:
		return func(r *run, a []*Value) *Value {
			if len(a) == 0 {
				return textOf("")
			}
			return r.text(r.scriptText(a[0]))
		}
	case wBoolean:
		return func(r *run, a []*Value) *Value { return boolOf(truthy(arg(a, 0))) }
	case wArray:
		return func(r *run, a []*Value) *Value {
			if len(a) == 1 && a[0].k == Double {
				v := r.list(nil)
				r.setItem(v, "length", a[0])
				return v
			}
			return r.list(append([]*Value(nil), a...))
		}
	case wObject:
		return func(r *run, a []*Value) *Value {
			if v := arg(a, 0); v.k > Null {
				return v
			}
			return r.newMap()
		}
	case wDate:
		return func(r *run, _ []*Value) *Value { return r.text(r.scriptText(dateOf(momentOf(r.now())))) }
	case wError, wTypeError, wRangeError, wSyntaxError:
		return func(r *run, a []*Value) *Value {
			r.use(objectSize)
			if len(a) == 0 {
				return failure(name.String(), "")
			}
			return failure(name.String(), r.scriptText(a[0]))
		}
	case wRegExp:
		return func(r *run, a []*Value) *Value {
			source, flags := r.scriptText(arg(a, 0)), ""
			if v := arg(a, 0); v.k == Regexp {
				source, flags = v.o.re.source, v.o.re.flags
			}
			if v := arg(a, 1); v.k == Text {
				flags = v.s
			}
			r.step(100 + 10*len(source))
			r.use(objectSize + 100*len(source))
			return &Value{k: Regexp, o: &object{re: compilePattern(source, flags, scriptPattern)}}
		}
	case wEncodeURI:
		return func(r *run, a []*Value) *Value { return r.text(encodeURI(r.scriptText(arg(a, 0)))) }
	case wEncodeURIComponent:
		return func(r *run, a []*Value) *Value {
			s := replaceAll(url.QueryEscape(r.scriptText(arg(a, 0))), "+", "%20")
			for _, c := range "!'()*" {
				s = replaceAll(s, url.QueryEscape(string(c)), string(c))
			}
			return r.text(s)
		}
	case wDecodeURI, wDecodeURIComponent:
		return func(r *run, a []*Value) *Value {
			s, err := url.PathUnescape(r.scriptText(arg(a, 0)))
			if err != nil {
				panic(&thrownValue{failure("URIError", "URI malformed")})
			}
			return r.text(s)
		}
	}
	return nil
}

// parseIntScript reads the digits at the beginning of a text.
func parseIntScript(s string, radix float64) float64 {
	s = strings.TrimSpace(s)
	sign := 1.0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	base := int(toInt32(radix))
	if base == 0 || base == 16 {
		if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
			base, s = 16, s[2:]
		}
		if base == 0 {
			base = 10
		}
	}
	if base < 2 || base > 36 {
		return math.NaN()
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
		return math.NaN()
	}
	if base == 10 && n > 15 { // digit by digit loses the last ones
		f, _ = strconv.ParseFloat(s[:n], 64)
	}
	return sign * f
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
func parseFloatScript(s string) float64 {
	s = strings.TrimSpace(s)
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	if hasPrefix(s[i:], "Infinity") {
		return math.Inf(1 - 2*strings.Count(s[:i], "-"))
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
		return math.NaN()
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
	return f
}

// classMember is Class.name where it is no call.
func classMember(class, name word) *Value {
	switch wordOf(class.String() + "." + name.String()) {
	case wMathPI:
		return doubleOf(math.Pi)
	case wMathE:
		return doubleOf(math.E)
	case wMathLN2:
		return doubleOf(math.Ln2)
	case wMathLN10:
		return doubleOf(math.Ln10)
	case wMathLOG2E:
		return doubleOf(math.Log2E)
	case wMathLOG10E:
		return doubleOf(math.Log10E)
	case wMathSQRT2:
		return doubleOf(math.Sqrt2)
	case wNumberMAXVALUE:
		return doubleOf(math.MaxFloat64)
	case wNumberMINVALUE:
		return doubleOf(math.SmallestNonzeroFloat64)
	case wNumberNaN:
		return doubleOf(math.NaN())
	case wNumberPOSITIVEINFINITY:
		return doubleOf(math.Inf(1))
	case wNumberNEGATIVEINFINITY:
		return doubleOf(math.Inf(-1))
	case wNumberMAXSAFEINTEGER:
		return doubleOf(1<<53 - 1)
	case wNumberMINSAFEINTEGER:
		return doubleOf(-(1<<53 - 1))
	case wNumberEPSILON:
		return doubleOf(math.Nextafter(1, 2) - 1)
	}
	if fn := classFunction(class, name); fn != nil {
		return nativeOf(fn)
	}
	if name == wPrototype {
		panic(unsupported("prototypes of JavaScript"))
	}
	return undefined
}

// classFunction is Class.name(…); nil if there is none.
func classFunction(class, name word) builtin {
	switch class {
	case wMath:
		return scriptMath(name)
	case wJSON:
		return scriptJSON(name)
	case wObject:
		return objectFunction(name)
	case wDate:
		return scriptDateClass(name)
	}
	switch wordOf(class.String() + "." + name.String()) {
	case wArrayisArray:
		return func(r *run, a []*Value) *Value { return boolOf(arg(a, 0).k == List) }
	case wArrayfrom:
		return func(r *run, a []*Value) *Value {
			items := r.scriptMembers(arg(a, 0), false)
			v := r.list(items)
			if f := arg(a, 1); f.k == Function {
				return r.scriptMethod(v, "map", wMap, []*Value{f})
			}
			return v
		}
	case wArrayof:
		return func(r *run, a []*Value) *Value { return r.list(append([]*Value(nil), a...)) }
	case wNumberisInteger, wNumberisSafeInteger:
		return func(r *run, a []*Value) *Value {
			f := arg(a, 0).Number()
			ok := arg(a, 0).k == Double && f == math.Trunc(f) && !infinite(f)
			return boolOf(ok && (name == wIsInteger || math.Abs(f) < 1<<53))
		}
	case wNumberisNaN:
		return func(r *run, a []*Value) *Value { return boolOf(arg(a, 0).k == Double && math.IsNaN(a[0].Number())) }
	case wNumberisFinite:
		return func(r *run, a []*Value) *Value {
			f := arg(a, 0).Number()
			return boolOf(arg(a, 0).k == Double && !(f != f) && !infinite(f))
		}
	case wNumberparseFloat, wNumberparseInt:
		return globalFunction(name)
	case wStringfromCharCode:
		return func(r *run, a []*Value) *Value {
			codes := make([]uint16, len(a))
			for i, v := range a {
				codes[i] = uint16(toInt32(scriptNumber(r, v)))
			}
			return r.text(string(utf16.Decode(codes)))
		}
	}
	return nil
}

func scriptMath(name word) builtin {
	one := mathOne(name)
	switch name {
	case wToDegrees, wToRadians, wRint, wSignum:
		return nil
	case wAbs:
		one = math.Abs
	case wTrunc:
		one = math.Trunc
	case wSign:
		one = sign
	case wRound:
		one = func(f float64) float64 { return math.Floor(f + 0.5) }
	case wLog2:
		one = math.Log2
	case wFround:
		one = func(f float64) float64 { return float64(float32(f)) }
	case wRandom:
		return func(r *run, _ []*Value) *Value { return doubleOf(r.rand()) }
	case wMax, wMin:
		return func(r *run, a []*Value) *Value {
			f := math.Inf(-1)
			if name == wMin {
				f = math.Inf(1)
			}
			for _, v := range a {
				if name == wMax {
					f = math.Max(f, scriptNumber(r, v))
				} else {
					f = math.Min(f, scriptNumber(r, v))
				}
			}
			return doubleOf(f)
		}
	}
	if one != nil {
		return func(r *run, a []*Value) *Value {
			r.step(mathSteps)
			return doubleOf(one(scriptNumber(r, arg(a, 0))))
		}
	}
	if two := mathTwo(name); two != nil {
		return func(r *run, a []*Value) *Value {
			r.step(mathSteps)
			return doubleOf(two(scriptNumber(r, arg(a, 0)), scriptNumber(r, arg(a, 1))))
		}
	}
	return nil
}

func scriptJSON(name word) builtin {
	switch name {
	case wStringify:
		return func(r *run, a []*Value) *Value {
			if f := arg(a, 1); f.k > Null {
				panic(unsupported("a replacer of JSON.stringify"))
			}
			gap := ""
			switch s := arg(a, 2); s.k {
			case Double:
				gap = strings.Repeat(" ", int(max(0, min(s.Number(), 10))))
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
	case wParse:
		return func(r *run, a []*Value) *Value {
			if f := arg(a, 1); f.k > Null {
				panic(unsupported("a reviver of JSON.parse"))
			}
			s := r.scriptText(arg(a, 0))
			r.step(len(s) >> 4)
			r.use(len(s))
			var d Doc
			if err := d.Parse(s); err != nil {
				if e := err.(*Error); e.Reason == Limit {
					panic(e)
				}
				panic(&thrownValue{failure("SyntaxError", "Unexpected token in JSON")})
			}
			return d.build(r, 0, JavaScript)
		}
	}
	return nil
}

func objectFunction(name word) builtin {
	object := func(v *Value) *Value {
		if v.k <= Null {
			panic(typeError("Cannot convert undefined or null to object"))
		}
		return v
	}
	switch name {
	case wKeys, wValues, wEntries:
		return func(r *run, a []*Value) *Value {
			v := object(arg(a, 0))
			keys := r.scriptMembers(v, true)
			if name == wKeys {
				return r.list(keys)
			}
			out := make([]*Value, len(keys))
			for i, k := range keys {
				out[i] = r.scriptMember(v, k)
				if name == wEntries {
					out[i] = r.list([]*Value{k, out[i]})
				}
			}
			return r.list(out)
		}
	case wAssign:
		return func(r *run, a []*Value) *Value {
			to := object(arg(a, 0))
			for _, from := range a[1:] {
				for _, k := range r.scriptMembers(from, true) {
					r.setScriptMember(to, k, r.scriptMember(from, k))
				}
			}
			return to
		}
	case wFreeze:
		return func(r *run, a []*Value) *Value { return arg(a, 0) }
	}
	return nil
}
