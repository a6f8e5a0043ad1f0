package script

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tEnd tokenKind = iota
	tName
	tLiteral // number or text; v
	tPunct   // s
	tTemplate
)

// token is one word of a script.
type token struct {
	_       [0]func() // never compared: that would be code for each such type
	kind    tokenKind
	at      int
	s       string
	v       *Value
	newline bool // a line ended before it
}

// lexer divides a script into tokens, one at a time: what a "/" is depends on the parser.
type lexer struct {
	src string
	js  bool
	lib bool // of the library
	pos int
}

// puncts are the operators, the longest first.
var puncts = []string{
	">>>=", "===", "!==", ">>>", "<<=", ">>=", "**=", "...", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", ".?",
	"++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<", ">>", "**", "->", "<>", "~=",
}

//go:noinline
func syntax(at int, message string) *syntaxError { return &syntaxError{at: at, message: message} }

// syntaxError is what the lexer, the parser and the compiler panic with; Compile turns it into an
// *Error.
type syntaxError struct {
	_           [0]func() // never compared: that would be code for each such type
	at          int
	message     string
	unsupported bool
}

func nameStart(c rune) bool { return c == '_' || c == '$' || unicode.IsLetter(c) }

// next reads the token at pos.
func (l *lexer) next() token {
	t := token{}
	t.newline = l.skip()
	t.at = l.pos
	if l.pos >= len(l.src) {
		return t
	}
	c, n := utf8.DecodeRuneInString(l.src[l.pos:])
	switch {
	case nameStart(c):
		end := l.pos
		for end < len(l.src) && (nameStart(c) || unicode.IsDigit(c)) {
			end += n
			c, n = utf8.DecodeRuneInString(l.src[end:])
		}
		t.kind, t.s = tName, l.src[l.pos:end]
		l.pos = end
	case c >= '0' && c <= '9' || c == '.' && l.digitAt(l.pos+1):
		t.kind, t.v = tLiteral, l.number()
		t.s = l.src[t.at:l.pos]
	case c == '"' || c == '\'':
		t.kind, t.v = tLiteral, textOf(l.text(byte(c)))
	case c == '`' && l.js:
		t.kind = tTemplate
		l.pos++
	default:
		t.kind = tPunct
		for _, p := range puncts {
			if hasPrefix(l.src[l.pos:], p) {
				if p == ".?" && l.js || p == "?." && l.digitAt(l.pos+2) {
					continue
				}
				t.s = p
				l.pos += len(p)
				return t
			}
		}
		if !strings.ContainsRune("{}()[];,.<>=+-*/%&|^!~?:", c) {
			panic(syntax(l.pos, "unexpected character "+strconv.QuoteRune(c)))
		}
		t.s = l.src[l.pos : l.pos+n]
		l.pos += n
	}
	return t
}

//go:noinline
func (l *lexer) digitAt(i int) bool { return i < len(l.src) && l.src[i] >= '0' && l.src[i] <= '9' }

// skip passes blanks and comments and says whether a line ended in them.
func (l *lexer) skip() (newline bool) {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '\n':
			newline = true
			l.pos++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.pos++
		case c == 0xC2 && hasPrefix(l.src[l.pos:], "\u00a0"):
			l.pos += 2
		case hasPrefix(l.src[l.pos:], "\ufeff"):
			l.pos += 3
		case hasPrefix(l.src[l.pos:], "//"):
			for l.pos < len(l.src) && l.src[l.pos] != '\n' {
				l.pos++
			}
		case hasPrefix(l.src[l.pos:], "/*"):
			end := indexText(l.src[l.pos+2:], "*/")
			if end < 0 {
				panic(syntax(l.pos, "a comment without end"))
			}
			if hasText(l.src[l.pos:l.pos+2+end], "\n") {
				newline = true
			}
			l.pos += end + 4
		default:
			return newline
		}
	}
	return newline
}

// number reads a number literal. TBEL's are Java's: the suffix and the size decide the kind.
//
//go:noinline
func (l *lexer) number() *Value {
	at := l.pos
	bad := func() *syntaxError { return syntax(at, "invalid number literal: "+l.src[at:min(l.pos+1, len(l.src))]) }
	end := func(v *Value) *Value {
		if c, _ := utf8.DecodeRuneInString(l.src[l.pos:]); l.pos < len(l.src) && (nameStart(c) || unicode.IsDigit(c)) {
			panic(bad())
		}
		if l.js {
			return doubleOf(v.Number())
		}
		return v
	}
	s := l.src
	if s[at] == '0' && at+1 < len(s) && (s[at+1] == 'x' || s[at+1] == 'X') {
		for l.pos = at + 2; l.pos < len(s) && isHex(s[l.pos]); l.pos++ {
		}
		hex := s[at+2 : l.pos]
		n, err := strconv.ParseUint(hex, 16, 63)
		if suffix := l.suffix(); err == nil && (l.js || suffix != 0 || hex != "80000000") {
			return end(whole(int64(n), suffix))
		}
		switch {
		case l.js:
		case hex == "80000000": // of all numbers with the first bit only the least int and long
			return end(intOf(math.MinInt32))
		case hex == "8000000000000000":
			return end(longOf(math.MinInt64))
		}
		panic(bad())
	}
	for l.digitAt(l.pos) {
		l.pos++
	}
	double := false
	if l.pos < len(s) && s[l.pos] == '.' && !(l.pos+1 < len(s) && s[l.pos+1] == '?') {
		if c, _ := utf8.DecodeRuneInString(s[l.pos+1:]); l.digitAt(l.pos+1) || !nameStart(c) && c != '.' {
			double = true
			for l.pos++; l.digitAt(l.pos); l.pos++ {
			}
		}
	}
	if l.pos < len(s) && (s[l.pos] == 'e' || s[l.pos] == 'E') {
		i := l.pos + 1
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if l.digitAt(i) {
			double = true
			for l.pos = i; l.digitAt(l.pos); l.pos++ {
			}
		}
	}
	digits := s[at:l.pos]
	suffix := l.suffix()
	if double || suffix == 'f' || suffix == 'd' || l.js {
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil && !infinite(f) || suffix == 'l' {
			panic(bad())
		}
		if l.js && len(digits) > 1 && digits[0] == '0' && !double {
			if n, err := strconv.ParseUint(digits, 8, 53); err == nil {
				f = float64(n)
			}
		}
		if suffix == 'f' {
			f32, _ := strconv.ParseFloat(digits, 32)
			return end(floatOf(float32(f32)))
		}
		return end(doubleOf(f))
	}
	base := 10
	if len(digits) > 1 && digits[0] == '0' {
		base = 8
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		panic(bad())
	}
	if base == 10 && len(digits) > 9 && suffix == 0 {
		suffix = 'l' // by the number of digits, also of an int
	}
	return end(whole(n, suffix))
}

// suffix passes a letter behind a number of TBEL: 'l', 'f', 'd', or 0.
func (l *lexer) suffix() byte {
	if l.js || l.pos >= len(l.src) {
		return 0
	}
	switch c := l.src[l.pos] | 0x20; c {
	case 'l', 'f', 'd':
		l.pos++
		return c
	}
	return 0
}

func whole(n int64, suffix byte) *Value {
	if suffix != 'l' && n == int64(int32(n)) {
		return intOf(int32(n))
	}
	return longOf(n)
}

//go:noinline
func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// text reads a text literal up to its quote.
//
//go:noinline
func (l *lexer) text(quote byte) string {
	at := l.pos
	l.pos++
	start := l.pos
	for i := start; i < len(l.src) && l.src[i] != '\n'; i++ { // most texts hold no escape
		if l.src[i] == quote {
			l.pos = i + 1
			return l.src[start:i]
		}
		if l.src[i] == '\\' {
			break
		}
	}
	var b strings.Builder
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == quote:
			l.pos++
			return b.String()
		case c == '\n' && l.js: // TBEL takes a text over several lines
			panic(syntax(at, "unterminated string literal"))
		case c == '\\':
			l.pos++
			l.escape(&b)
		default:
			putByte(&b, c)
			l.pos++
		}
	}
	panic(syntax(at, "unterminated string literal"))
}

// escape reads what follows a backslash.
//
//go:noinline
func (l *lexer) escape(b *strings.Builder) {
	if l.pos >= len(l.src) {
		panic(syntax(l.pos, "unterminated string literal"))
	}
	c, n := utf8.DecodeRuneInString(l.src[l.pos:])
	l.pos += n
	switch c {
	case 'n':
		putByte(b, '\n')
	case 't':
		putByte(b, '\t')
	case 'r':
		putByte(b, '\r')
	case 'b':
		putByte(b, '\b')
	case 'f':
		putByte(b, '\f')
	case '\\', '\'', '"':
		putRune(b, c)
	case 'u':
		putRune(b, rune(l.hexDigits(4)))
	default:
		if !l.js {
			panic(syntax(l.pos-n, "illegal escape sequence"))
		}
		switch c {
		case 'x':
			putRune(b, rune(l.hexDigits(2)))
		case '0':
			putByte(b, 0)
		case 'v':
			putByte(b, '\v')
		case '\n':
		default:
			putRune(b, c)
		}
	}
}

// hexDigits reads n digits. TBEL takes capital letters only.
func (l *lexer) hexDigits(n int) uint64 {
	if l.pos+n > len(l.src) {
		panic(syntax(l.pos, "illegal unicode escape sequence"))
	}
	s := l.src[l.pos : l.pos+n]
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil || !l.js && strings.ContainsAny(s, "abcdef") {
		panic(syntax(l.pos, "illegal unicode escape sequence"))
	}
	l.pos += n
	return v
}

// regexp reads a regular expression literal of JavaScript; pos is behind its first slash.
func (l *lexer) regexp() (source, flags string) {
	at, class := l.pos, false
	for l.pos < len(l.src) && l.src[l.pos] != '\n' {
		switch c := l.src[l.pos]; {
		case c == '\\':
			l.pos++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			source = l.src[at:l.pos]
			l.pos++
			from := l.pos
			for l.pos < len(l.src) && l.src[l.pos] >= 'a' && l.src[l.pos] <= 'z' {
				l.pos++
			}
			return source, l.src[from:l.pos]
		}
		l.pos++
	}
	panic(syntax(at, "unterminated regular expression"))
}
