package script

import (
	"math"
	"math/big"
	"strings"
)

// scriptMethod calls o.name(args) of JavaScript.
func (r *run) scriptMethod(o *Value, text string, name word, a []*Value) *Value {
	switch o.k {
	case Unset, Null:
		panic(typeError("Cannot read properties of " + r.scriptText(o) + " (reading '" + text + "')"))
	case Map:
		if f, ok := o.o.get(textOf(text)); ok {
			return r.callValue(f, a, text)
		}
	case Text:
		if v, ok := r.scriptTextMethod(o.s, name, a); ok {
			return v
		}
	case List:
		if v, ok := r.arrayMethod(o, name, a); ok {
			return v
		}
	case Double:
		if v, ok := r.numberMethod(o.Number(), name, a); ok {
			return v
		}
	case Date:
		if v, ok := r.scriptDateMethod(o, name, a); ok {
			return v
		}
	case Regexp:
		switch name {
		case wTest:
			return boolOf(r.exec(o.o.re, r.scriptText(arg(a, 0))).k != Null)
		case wExec:
			return r.exec(o.o.re, r.scriptText(arg(a, 0)))
		}
	case Function:
		switch name {
		case wCall:
			return r.callValue(o, a[min(1, len(a)):], text)
		case wApply:
			if list := arg(a, 1); list.k == List {
				return r.callValue(o, list.o.items, text)
			}
			return r.callValue(o, nil, text)
		case wBind:
			panic(unsupported("bind of a function"))
		}
		if f := r.scriptMember(o, textOf(text)); f.k == Function {
			return r.callValue(f, a, text)
		}
	case Class:
		if fn := classFunction(wordOf(o.o.text), name); fn != nil {
			return fn(r, a)
		}
	}
	switch name {
	case wToString:
		return r.text(r.scriptText(o))
	case wValueOf:
		return o
	case wHasOwnProperty, wPropertyIsEnumerable:
		if o.k == Map || o.k == List {
			return boolOf(r.hasMember(o, r.scriptText(arg(a, 0))))
		}
		return boolOf(false)
	}
	panic(typeError(text + " is not a function"))
}

// numberMethod is the methods of a number.
func (r *run) numberMethod(f float64, name word, a []*Value) (*Value, bool) {
	digits := func() int {
		n := scriptNumber(r, arg(a, 0))
		if n != n {
			n = 0
		}
		if n < 0 || n > 100 {
			panic(&thrownValue{failure("RangeError", name.String()+"() digits argument must be between 0 and 100")})
		}
		return int(n)
	}
	switch name {
	case wToFixed:
		n := digits()
		r.step(4 + n>>3)
		if (f != f) || infinite(f) || math.Abs(f) >= 1e21 {
			return textOf(string(appendScript(nil, f))), true
		}
		// Halves of the exact binary number go away from zero.
		s := new(big.Rat).SetFloat64(f).FloatString(n)
		if f < 0 && !hasPrefix(s, "-") {
			s = "-" + s
		}
		return r.text(s), true
	case wToPrecision:
		if arg(a, 0).k == Unset {
			return textOf(string(appendScript(nil, f))), true
		}
		n := digits()
		if n < 1 {
			panic(&thrownValue{failure("RangeError", "toPrecision() argument must be between 1 and 100")})
		}
		if f != 0 {
			if e := int(math.Floor(preciseLog10(math.Abs(f)))); e < -6 || e >= n {
				s := formatFloat(f, 'e', n-1, 64)
				if i := len(s) - 2; s[i] == '0' {
					s = s[:i] + s[i+1:]
				}
				return r.text(s), true
			} else {
				return r.text(formatFloat(f, 'f', max(0, n-1-e), 64)), true
			}
		}
		return r.text(formatFloat(f, 'f', n-1, 64)), true
	case wToString:
		radix := 10
		if v := arg(a, 0); v.k != Unset {
			radix = int(scriptNumber(r, v))
		}
		if radix == 10 || f != f || infinite(f) {
			return textOf(string(appendScript(nil, f))), true
		}
		if radix < 2 || radix > 36 {
			panic(&thrownValue{failure("RangeError", "toString() radix must be between 2 and 36")})
		}
		if f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
			panic(unsupported("toString of a fraction in another radix"))
		}
		return r.text(formatInt(int64(f), radix)), true
	case wToExponential, wToLocaleString:
		panic(unsupported(name.String() + " of a number"))
	}
	return nil, false
}

// place is an index argument: negative ones count from the end if from is set.
//
//go:noinline
func (r *run) place(v *Value, n, missing int, fromEnd bool) int {
	if v.k == Unset {
		return missing
	}
	f := scriptNumber(r, v)
	if f != f {
		f = 0
	}
	f = math.Trunc(f)
	if f < 0 && fromEnd {
		f += float64(n)
	}
	return int(max(0, min(f, float64(n))))
}

func (r *run) scriptTextMethod(s string, name word, a []*Value) (*Value, bool) {
	r.step(len(s) >> 6)
	n := units(s)
	switch name {
	case wToString, wValueOf:
		return textOf(s), true
	case wCharAt, wAt:
		i := scriptNumber(r, arg(a, 0))
		if i != i {
			i = 0
		}
		if i < 0 && name == wAt {
			i += float64(n)
		}
		if i = math.Trunc(i); i < 0 || i >= float64(n) {
			if name == wAt {
				return undefined, true
			}
			return textOf(""), true
		}
		return textOf(cut(s, int(i), int(i)+1)), true
	case wCharCodeAt, wCodePointAt:
		i := scriptNumber(r, arg(a, 0))
		if i != i {
			i = 0
		}
		if i = math.Trunc(i); i < 0 || i >= float64(n) {
			return doubleOf(math.NaN()), true
		}
		return doubleOf(float64(unitAt(s, int(i)))), true
	case wIndexOf:
		from := byteIndex(s, r.place(arg(a, 1), n, 0, false))
		i := indexText(s[from:], r.scriptText(arg(a, 0)))
		if i < 0 {
			return doubleOf(-1), true
		}
		return doubleOf(float64(unitIndex(s, from+i))), true
	case wLastIndexOf:
		return doubleOf(float64(unitIndex(s, strings.LastIndex(s, r.scriptText(arg(a, 0)))))), true
	case wIncludes:
		return boolOf(hasText(s[byteIndex(s, r.place(arg(a, 1), n, 0, false)):], r.scriptText(arg(a, 0)))), true
	case wStartsWith:
		return boolOf(hasPrefix(s[byteIndex(s, r.place(arg(a, 1), n, 0, false)):], r.scriptText(arg(a, 0)))), true
	case wEndsWith:
		return boolOf(strings.HasSuffix(s[:byteIndex(s, r.place(arg(a, 1), n, n, false))], r.scriptText(arg(a, 0)))), true
	case wSlice:
		from, to := r.place(arg(a, 0), n, 0, true), r.place(arg(a, 1), n, n, true)
		return textOf(cut(s, from, max(from, to))), true
	case wSubstring:
		from, to := r.place(arg(a, 0), n, 0, false), r.place(arg(a, 1), n, n, false)
		return textOf(cut(s, min(from, to), max(from, to))), true
	case wSubstr:
		from := r.place(arg(a, 0), n, 0, true)
		return textOf(cut(s, from, from+r.place(arg(a, 1), n-from, n-from, false))), true
	case wToUpperCase, wToLocaleUpperCase:
		return r.text(strings.ToUpper(s)), true
	case wToLowerCase, wToLocaleLowerCase:
		return r.text(strings.ToLower(s)), true
	case wTrim:
		return textOf(strings.TrimSpace(s)), true
	case wTrimStart, wTrimLeft:
		return textOf(strings.TrimLeft(s, " \t\n\r\f\v\u00a0\ufeff")), true
	case wTrimEnd, wTrimRight:
		return textOf(strings.TrimRight(s, " \t\n\r\f\v\u00a0\ufeff")), true
	case wConcat:
		for _, v := range a {
			t := r.scriptText(v)
			r.use(len(s) + len(t))
			s += t
		}
		return textOf(s), true
	case wRepeat:
		f := scriptNumber(r, arg(a, 0))
		if f < 0 || infinite(f) {
			panic(&thrownValue{failure("RangeError", "Invalid count value")})
		}
		if s == "" || f != f {
			return textOf(""), true
		}
		if f > float64(maxMemory/len(s)) {
			panic(limitError("a text beyond the memory of a script"))
		}
		r.use(int(f) * len(s))
		return textOf(strings.Repeat(s, int(f))), true
	case wPadStart, wPadEnd:
		return r.padScript(s, name == wPadStart, a), true
	case wLocaleCompare:
		return doubleOf(sign(float64(compareTexts(s, r.scriptText(arg(a, 0)))))), true
	case wNormalize:
		panic(unsupported("normalize of a text"))
	}
	return r.patternMethod(s, name, a)
}

func (r *run) padScript(s string, start bool, a []*Value) *Value {
	with := " "
	if v := arg(a, 1); v.k != Unset {
		with = r.scriptText(v)
	}
	more := int(toInt32(scriptNumber(r, arg(a, 0)))) - units(s)
	if more <= 0 || with == "" {
		return textOf(s)
	}
	if more > maxMemory {
		panic(limitError("a text beyond the memory of a script"))
	}
	r.use(2 * (more + len(with)))
	pad := strings.Repeat(with, more/units(with)+1)
	pad = cut(pad, 0, more)
	if start {
		return r.text(pad + s)
	}
	return r.text(s + pad)
}

// patternMethod is the methods of a text that take a text or a regular expression.
func (r *run) patternMethod(s string, name word, a []*Value) (*Value, bool) {
	first := arg(a, 0)
	switch name {
	case wSplit:
		return r.splitScript(s, first, arg(a, 1)), true
	case wReplace, wReplaceAll:
		return r.replaceScript(s, first, arg(a, 1), name == wReplaceAll), true
	case wMatch:
		p := r.patternOf(first)
		if !hasText(p.flags, "g") {
			p.last = 0
			return r.exec(p, s), true
		}
		var out []*Value
		for _, m := range p.matches(r, s, -1) {
			out = append(out, textOf(s[m[0]:m[1]]))
		}
		if out == nil {
			return null, true
		}
		return r.list(out), true
	case wMatchAll:
		var out []*Value
		for _, m := range r.patternOf(first).matches(r, s, -1) {
			out = append(out, r.groups(r.patternOf(first), s, m))
		}
		return r.list(out), true
	case wSearch:
		m := r.patternOf(first).matches(r, s, 1)
		if len(m) == 0 {
			return doubleOf(-1), true
		}
		return doubleOf(float64(unitIndex(s, m[0][0]))), true
	}
	return nil, false
}

func (r *run) patternOf(v *Value) *pattern {
	if v.k == Regexp {
		return v.o.re
	}
	return r.pattern(r.scriptText(v), scriptPattern)
}

// groups is the list that exec and match give: the match and its groups, with index.
func (r *run) groups(p *pattern, s string, m []int) *Value {
	out := make([]*Value, len(m)/2)
	for i := range out {
		out[i] = undefined
		if m[2*i] >= 0 {
			out[i] = textOf(s[m[2*i]:m[2*i+1]])
		}
	}
	v := r.list(out)
	v.o.props = &object{}
	v.o.props.put(textOf("index"), doubleOf(float64(unitIndex(s, m[0]))))
	named := r.newMap()
	for i, name := range p.re.SubexpNames() {
		if name != "" && i < len(out) {
			named.o.put(textOf(name), out[i])
		}
	}
	if len(named.o.keys) > 0 {
		v.o.props.put(textOf("groups"), named)
	}
	return v
}

// exec is one match; with the flag g it begins behind the last one.
func (r *run) exec(p *pattern, s string) *Value {
	global := hasText(p.flags, "g")
	from := 0
	if global {
		from = p.last
	}
	if from <= len(s) {
		for _, m := range p.matches(r, s, -1*boolInt(global)+1*boolInt(!global)) {
			if m[0] < from {
				continue
			}
			if p.last = 0; global {
				if p.last = m[1]; m[0] == m[1] {
					p.last++
				}
			}
			return r.groups(p, s, m)
		}
	}
	p.last = 0
	return null
}

//go:noinline
func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *run) splitScript(s string, by, limit *Value) *Value {
	var parts []string
	most := -1
	if limit.k != Unset {
		most = int(uint32(toInt32(scriptNumber(r, limit))))
	}
	switch {
	case by.k == Unset:
		parts = []string{s}
	case by.k == Regexp:
		if s == "" {
			if !by.o.re.re.MatchString("") {
				parts = []string{""}
			}
			break
		}
		at := 0
		for _, m := range by.o.re.matches(r, s, -1) {
			if m[1] == 0 || m[0] == len(s) || m[0] == m[1] && m[0] == at {
				continue
			}
			parts = append(parts, s[at:m[0]])
			for i := 2; i+1 < len(m); i += 2 {
				if m[i] >= 0 {
					parts = append(parts, s[m[i]:m[i+1]])
				} else {
					parts = append(parts, "")
				}
			}
			at = m[1]
		}
		parts = append(parts, s[at:])
	default:
		r.step(len(s) >> 3)
		if text := r.scriptText(by); text != "" || s != "" {
			parts = strings.Split(s, text)
		}
	}
	if most >= 0 && len(parts) > most {
		parts = parts[:most]
	}
	r.use(objectSize + len(parts)*valueSize)
	out := make([]*Value, len(parts))
	for i, p := range parts {
		out[i] = textOf(p)
	}
	return listOf(out)
}

// replaceScript replaces by a text with $1, $& and $$, or by what a function gives.
func (r *run) replaceScript(s string, what, with *Value, all bool) *Value {
	var p *pattern
	n := 1
	if what.k == Regexp {
		p = what.o.re
		if hasText(p.flags, "g") {
			n = -1
		} else if all {
			panic(typeError("replaceAll must be called with a global RegExp"))
		}
	} else {
		p = r.pattern(quoteMeta(r.scriptText(what)), scriptPattern)
		if all {
			n = -1
		}
	}
	text := ""
	if with.k != Function {
		text = r.scriptText(with)
	}
	return r.text(p.replaceEach(r, s, n, func(b []byte, m []int) []byte {
		if with.k != Function {
			return expandScript(b, s, text, m)
		}
		args := make([]*Value, 0, len(m)/2+2)
		for i := 0; i+1 < len(m); i += 2 {
			v := undefined
			if m[i] >= 0 {
				v = textOf(s[m[i]:m[i+1]])
			}
			args = append(args, v)
		}
		args = append(args, doubleOf(float64(unitIndex(s, m[0]))), textOf(s))
		return append(b, r.scriptText(r.callValue(with, args, "the replacement"))...)
	}))
}

func quoteMeta(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if hasByte(`\.+*?()|[]{}^$`, s[i]) {
			putByte(&b, '\\')
		}
		putByte(&b, s[i])
	}
	return b.String()
}

func expandScript(b []byte, s, with string, m []int) []byte {
	for i := 0; i < len(with); i++ {
		if with[i] != '$' || i+1 == len(with) {
			b = addByte(b, with[i])
			continue
		}
		c := with[i+1]
		switch {
		case c == '$':
			b = addByte(b, '$')
		case c == '&':
			b = append(b, s[m[0]:m[1]]...)
		case c == '`':
			b = append(b, s[:m[0]]...)
		case c == '\'':
			b = append(b, s[m[1]:]...)
		case c >= '1' && c <= '9' && 2*int(c-'0')+1 < len(m):
			if g := 2 * int(c-'0'); m[g] >= 0 {
				b = append(b, s[m[g]:m[g+1]]...)
			}
		default:
			b = addByte(b, '$')
			continue
		}
		i++
	}
	return b
}
