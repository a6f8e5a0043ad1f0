package script

import (
	"math"
	"net/url"
	"strings"
	"unicode/utf16"
)

// The routines of Go on texts. Places in texts count UTF-16 units; beyond the ends they are the
// ends.

func trimJava(s string) string { return strings.TrimFunc(s, func(c rune) bool { return c <= ' ' }) }

func hashOf(s string) int { return int(int32(javaHash(s))) }

// textIndex is indexOf(text[, from]).
func textIndex(r *run, a []*Value) *Value {
	s := r.textAt(a, 0)
	from := byteIndex(s, r.intAt(a, 2, 0))
	i := strings.Index(s[from:], r.needle(a))
	if i >= 0 {
		i = units(s[:from+i])
	}
	return r.number(i)
}

// needle is the text that is looked for: of an int of TBEL the character of that number.
//
//go:noinline
func (r *run) needle(a []*Value) string {
	if v := arg(a, 1); v.k == Int {
		return string(rune(int32(v.n)))
	}
	return r.textAt(a, 1)
}

// textLastIndex is lastIndexOf(text[, from]).
func textLastIndex(r *run, a []*Value) *Value {
	s, t := r.textAt(a, 0), r.needle(a)
	from := math.MaxInt32
	if f := arg(a, 2); f.k > Null {
		if n := r.numberAt(a, 2); n == n {
			from = int(toInt(n))
		}
	}
	if from < 0 && r.lang == TBEL {
		return r.number(-1)
	}
	i := strings.LastIndex(s[:min(len(s), byteIndex(s, from)+len(t))], t)
	if i >= 0 {
		i = units(s[:i])
	}
	return r.number(i)
}

func textReplace(r *run, a []*Value) *Value {
	s, old, with := r.textAt(a, 0), r.textAt(a, 1), r.textAt(a, 2)
	if a[1].k != Text || a[2].k != Text { // the engine takes replace(char, char)
		old, with = charOfArg(a[1]), charOfArg(a[2])
	}
	if n := strings.Count(s, old); n > 0 && len(with) > len(old) {
		r.room(n, len(with)-len(old))
	}
	return r.text(replaceAll(s, old, with))
}

// charOfArg is the character that an argument stands for: an int is one by its number.
//
//go:noinline
func charOfArg(v *Value) string {
	s := v.Text()
	if v.k == Int {
		s = string(rune(uint16(v.n)))
	}
	if units(s) != 1 {
		panic(failedKind("no character: %", v))
	}
	return s
}

func textContains(r *run, a []*Value) *Value {
	if !a[1].isText() {
		panic(failedKind("unable to resolve method: contains(%)", a[1]))
	}
	return boolOf(hasText(r.textAt(a, 0), a[1].Text()))
}

// upper is toUpperCase, by which Java and JavaScript make two letters of one.
func upper(s string) string { return strings.ToUpper(replaceAll(s, "ß", "SS")) }

// room accounts for n texts of so many bytes each, before they are made.
//
//go:noinline
func (r *run) room(n, size int) {
	if size > 0 && n > maxMemory/size {
		panic(limitError("a text beyond the memory of a script"))
	}
	r.use(n * size)
}

func textMatches(r *run, a []*Value) *Value {
	return boolOf(r.pattern(r.textAt(a, 1), true).found(r, r.textAt(a, 0)))
}

// textCut is the part of a text from one unit to another.
func textCut(r *run, a []*Value) *Value {
	s := r.textAt(a, 0)
	n := units(s)
	from := min(max(r.intAt(a, 1, 0), 0), n)
	return textOf(cut(s, from, max(from, min(r.intAt(a, 2, 0), n))))
}

// textCode is the unit at a place, or -1.
func textCode(r *run, a []*Value) *Value {
	s, i := r.textAt(a, 0), r.intAt(a, 1, 0)
	if i < 0 || i >= units(s) {
		return r.number(-1)
	}
	return r.number(int(unitAt(s, i)))
}

func textRepeat(r *run, a []*Value) *Value {
	s, n := r.textAt(a, 0), r.intAt(a, 1, 0)
	r.room(n, len(s))
	return textOf(strings.Repeat(s, n))
}

// joinTexts puts a text between the members of a list. A member that is a list itself is what find
// gave for a match; null and undefined are empty texts.
func joinTexts(r *run, a []*Value) *Value {
	separator := r.textAt(a, 1)
	var b []byte
	for i, v := range a[0].o.items {
		if i > 0 {
			b = addText(b, separator)
		}
		switch {
		case v.k <= Null:
		case r.lang == JavaScript:
			b = appendScriptText(b, v, 0)
		default:
			b = appendText(b, v, 0)
		}
		if len(b) > maxMemory {
			panic(limitError("a text beyond the memory of a script"))
		}
	}
	return r.text(string(b))
}

func charText(r *run, a []*Value) *Value { return textOf(string(rune(argInt(a[0])))) }

func charTexts(r *run, a []*Value) *Value {
	list := a[0].o.items
	codes := make([]uint16, len(list))
	for i, v := range list {
		codes[i] = uint16(toInt32(scriptNumber(r, v)))
	}
	return r.text(string(utf16.Decode(codes)))
}

// uriKept are the bytes that encodeURI leaves as they are, beside letters and digits.
const uriKept = "-_.!~*'();/?:@&=+$,#"

func encodeURI(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || hasByte(uriKept, c) {
			b = addByte(b, c)
			continue
		}
		b = addHex(addByte(b, '%'), c)
	}
	return string(b)
}

func decodeURI(s string) string {
	out, err := url.PathUnescape(s)
	if err != nil {
		panic(failedOn("no encoded URI: %", err.Error()))
	}
	return out
}
