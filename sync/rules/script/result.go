package script

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// maxResult bounds the JSON text of a result, in bytes (RULES.md 5.2).
const maxResult = 300_000

// Form is how numbers of JavaScript are printed in JSON. TBEL prints the same in both.
type Form uint8

const (
	// AsScript prints what JSON.stringify of the language gives: 1e+21.
	AsScript Form = iota
	// AsStored prints what a server makes of that text when the server reads it and writes it
	// again: 1.0E21 (RULES.md 5.1).
	AsStored
)

// AppendJSON appends the JSON text of a value that a script of this language gave. A text above
// 300,000 bytes, nesting above 128 and a map with a null key are errors, and b is then unusable.
func (l Language) AppendJSON(b []byte, v *Value, form Form) (out []byte, err error) {
	defer func() {
		if e, ok := recover().(*Error); ok {
			err = e
		}
	}()
	w := writer{lang: l, form: form, most: len(b) + maxResult}
	return w.value(b, v, 0), nil
}

// writer writes JSON. It panics with an *Error.
type writer struct {
	lang Language
	form Form
	most int    // bytes of the whole text
	gap  string // JSON.stringify of JavaScript: each level is on lines of its own, so far in
}

// line begins a new line at a depth, where the text is to be indented.
//
//go:noinline
func (w *writer) line(b []byte, depth int) []byte {
	if w.gap == "" {
		return b
	}
	b = addByte(b, '\n')
	for range depth {
		b = addText(b, w.gap)
	}
	return b
}

//go:noinline
func (w *writer) value(b []byte, v *Value, depth int) []byte {
	if len(b) > w.most {
		panic(limitAt("a result of more than % bytes", maxResult))
	}
	if depth > maxNesting {
		panic(limitAt("a result that is nested more than % deep", maxNesting))
	}
	switch v.k {
	case Bool:
		return strconv.AppendBool(b, v.n != 0)
	case Int, Long:
		return strconv.AppendInt(b, int64(v.n), 10)
	case Float, Double:
		return w.number(b, v)
	case Char, Text:
		return w.text(b, v.Text())
	case List, Array, Set:
		b = addByte(b, '[')
		for i, item := range v.o.items {
			if i > 0 {
				b = addByte(b, ',')
			}
			b = w.value(w.line(b, depth+1), item, depth+1)
		}
		if len(v.o.items) > 0 {
			b = w.line(b, depth)
		}
		return addByte(b, ']')
	case Map:
		return w.members(b, v, depth)
	case Entry:
		b = addByte(b, '{')
		b = w.text(b, plainText(v.o.items[0]))
		b = addByte(b, ':')
		return addByte(w.value(b, v.o.items[1], depth+1), '}')
	case Date:
		if w.lang == JavaScript {
			if v.o.date.bad() {
				return addText(b, "null")
			}
			return w.text(b, v.o.date.millisISO())
		}
		return w.text(b, v.o.date.full())
	case Regexp, Failure:
		return addText(b, "{}")
	case Class:
		panic(failedOn("a class is no value: %", v.o.text))
	}
	return addText(b, "null")
}

func (w *writer) members(b []byte, v *Value, depth int) []byte {
	b = addByte(b, '{')
	first := true
	for i, item := range v.o.items {
		if w.lang == JavaScript && (item.k == Unset || item.k == Function) {
			continue
		}
		if v.o.keys[i].k == Null {
			panic(failed("a map with a null key has no JSON form"))
		}
		if !first {
			b = addByte(b, ',')
		}
		first = false
		b = w.text(w.line(b, depth+1), plainText(v.o.keys[i]))
		if b = addByte(b, ':'); w.gap != "" {
			b = addByte(b, ' ')
		}
		b = w.value(b, item, depth+1)
	}
	if !first {
		b = w.line(b, depth)
	}
	return addByte(b, '}')
}

//go:noinline
func (w *writer) number(b []byte, v *Value) []byte {
	f := v.Number()
	if w.lang == JavaScript {
		switch {
		case !finite(f):
			return addText(b, "null")
		case w.form == AsStored && f != math.Trunc(f) || math.Abs(f) >= 1e21:
			if w.form == AsStored {
				return appendJava(b, f, 64)
			}
		}
		return appendScript(b, f)
	}
	bits := 64
	if v.k == Float {
		bits = 32
	}
	if !finite(f) {
		b = addByte(b, '"')
		return addByte(appendJava(b, f, bits), '"')
	}
	return appendJava(b, f, bits)
}

//go:noinline
func (w *writer) text(b []byte, s string) []byte {
	digits := "0123456789ABCDEF"
	if w.lang == JavaScript {
		digits = "0123456789abcdef"
	}
	if len(b)+len(s) > w.most {
		panic(limitAt("a result of more than % bytes", maxResult))
	}
	b = addByte(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			_, n := utf8.DecodeRuneInString(s[i:])
			if n == 1 { // no UTF-8: the result has to be JSON
				b = addText(addText(b, s[start:i]), "�")
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = addText(b, s[start:i])
		switch c {
		case '"', '\\':
			b = addByte(addByte(b, '\\'), c)
		case '\b':
			b = addText(b, `\b`)
		case '\f':
			b = addText(b, `\f`)
		case '\n':
			b = addText(b, `\n`)
		case '\r':
			b = addText(b, `\r`)
		case '\t':
			b = addText(b, `\t`)
		default:
			b = addByte(addByte(addText(b, `\u00`), digits[c>>4]), digits[c&15])
		}
		i++
		start = i
	}
	return addByte(addText(b, s[start:]), '"')
}

// appendScript prints a number as JavaScript's String(x) does.
func appendScript(b []byte, f float64) []byte {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return addText(b, "NaN")
	case math.IsInf(f, 1):
		return addText(b, "Infinity")
	case math.IsInf(f, -1):
		return addText(b, "-Infinity")
	case f == 0:
		return addByte(b, '0')
	case a >= 1e-6 && a < 1e21:
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	// Go writes two digits of the exponent at least: 1e-07 is 1e-7 in JavaScript.
	if n := len(b); n-start > 3 && b[n-2] == '0' && (b[n-3] == '-' || b[n-3] == '+') {
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}
