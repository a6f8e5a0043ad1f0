package payload

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may be nested, as in the server's own parser (API.md
// 1.3).
const maxDepth = 255

// scanner reads JSON text as leniently as the server's reader does (API.md 1.3), or with strict by
// RFC 8259. It never recurses, so that nesting costs nothing before it is refused. The text must be
// valid UTF-8. What is lenient stands in lenient.go, and strict text never comes there.
//
// It is our own because it has to keep the text of numbers (1.0 and 1 are stored differently), must
// find invalid text, and may not allocate. encoding/json replaces invalid UTF-8 and broken
// surrogates in silence, and boxes every value whose text is to be kept; gjson does not
// distinguish invalid text from valid.
type scanner struct {
	data   []byte
	pos    int
	last   int // where the last text or key began
	strict bool
}

// cut is fail for a text that ends too early.
func (s *scanner) cut(at int, format string, args ...any) error {
	return &Error{Offset: at, Reason: fmt.Sprintf(format, args...), Cut: true}
}

func (s *scanner) fail(at int, format string, args ...any) error {
	return &Error{Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// unexpected is the error for a character at pos where something else was wanted.
func (s *scanner) unexpected(wanted string) error {
	if s.pos >= len(s.data) {
		return s.cut(s.pos, "bad JSON: the text ends where %s should be", wanted)
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return s.fail(s.pos, "bad JSON: %q where %s should be", r, wanted)
}

// mark skips a byte order mark.
func (s *scanner) mark() {
	if bytes.HasPrefix(s.data, []byte("\ufeff")) {
		s.pos = len("\ufeff")
	}
}

// peek skips white space and comments and returns the next byte, or 0 at the end. A NUL in the text
// stands for itself only in a word, and word looks for the end itself.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if c > '/' || c == '"' || c == ',' { // nearly always
			return c
		}
		switch c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		case '/', '#':
			if !s.comment() {
				return c
			}
		default:
			return c
		}
	}
	return 0
}

// form says how a text stands in the payload.
type form uint8

const (
	escaped form = 1 << iota // it has escapes
	foreign                  // it cannot stand as it is between double quotes in strict JSON
)

// quoted reads a text whose quote stands at pos, and returns what stands between the quotes.
func (s *scanner) quoted(quote byte) (raw []byte, how form, err error) {
	s.last = s.pos
	data, start := s.data, s.pos+1
	for i := start; i < len(data); i++ {
		c := data[i]
		if !special[c] {
			continue
		}
		switch {
		case c == quote:
			s.pos = i + 1
			return data[start:i], how, nil
		case c == '\\':
			n := escapeLen(data[i:])
			if how |= escaped; n == 0 {
				if n = s.lenientEscapeLen(data[i:]); n == 0 {
					return nil, 0, s.fail(i, "bad JSON: broken escape in a string")
				}
				how |= foreign
			}
			i += n - 1
		case c >= 0x20: // the other quote
			if c == '"' {
				how |= foreign
			}
		case s.strict:
			return nil, 0, s.fail(i, "bad JSON: control character %#02x in a string", c)
		default:
			how |= foreign
		}
	}
	return nil, 0, s.cut(start-1, "bad JSON: a string begins here and does not end")
}

// special are the bytes that mean something in a quoted text.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\''], t['\\'] = true, true, true
	return t
}()

// escapeLen returns the length of the escape at the beginning of b, or 0 if there is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unicodeEscape decodes the \u escape at the beginning of b, or the two of a surrogate pair. A
// surrogate alone becomes "?", as on the server (API.md 1.4).
func unicodeEscape(b []byte) (r rune, n int) {
	r, _ = hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if low, ok := hex4(b[8:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
	}
	return '?', 6
}

var plainEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
	'\'': '\'', '\n': '\n', // the lenient ones
}

// appendUnescaped appends the characters that raw, as returned by quoted, stands for.
func appendUnescaped(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		n := 2
		if raw[i+1] == 'u' {
			var r rune
			r, n = unicodeEscape(raw[i:])
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = append(dst, plainEscapes[raw[i+1]])
		}
		raw = raw[i+n:]
	}
}

// appendQuoted appends raw, of a text of that form, as a string of strict JSON. Of a text that is
// not foreign only lone surrogates change.
func appendQuoted(dst, raw []byte, how form) []byte {
	if how&foreign != 0 {
		return appendForeign(dst, raw)
	}
	dst = append(dst, '"')
	for how&escaped != 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			break
		}
		n := 2
		lone := false
		if raw[i+1] == 'u' {
			var r rune
			r, n = unicodeEscape(raw[i:])
			first, _ := hex4(raw[i+2:])
			lone = r == '?' && first != '?'
		}
		if lone {
			dst = append(append(dst, raw[:i]...), '?')
		} else {
			dst = append(dst, raw[:i+n]...)
		}
		raw = raw[i+n:]
	}
	return append(append(dst, raw...), '"')
}

// maxNumber is the most bytes of a number. The server's reader takes a longer one for a word
// (API.md 1.3).
const maxNumber = 1023

// number reads a number of RFC 8259 and returns its text. It returns nil, and stays where it is,
// where none stands, or only the beginning of a word.
func (s *scanner) number() []byte {
	data := s.data[s.pos:]
	i := 0
	if data[0] == '-' {
		i = 1
	}
	n := digits(data, i)
	if n == i || data[i] == '0' && n > i+1 {
		return nil
	}
	if i = n; i < len(data) && data[i] == '.' {
		if n = digits(data, i+1); n == i+1 {
			return nil
		}
		i = n
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if n = digits(data, i); n == i {
			return nil
		}
		i = n
	}
	if i < len(data) && !ends[data[i]] || i > maxNumber {
		return nil
	}
	s.pos += i
	return data[:i]
}

// digits returns where the digits end that begin at data[i].
func digits(data []byte, i int) int {
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	return i
}

// keyword reports whether the word stands at pos, and nothing else with it, and then reads it.
func (s *scanner) keyword(word string) bool {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word || end < len(s.data) && !ends[s.data[end]] {
		return false
	}
	s.pos = end
	return true
}

// kind is what a value without quotes is.
type kind uint8

const (
	isNumber kind = iota
	isTrue
	isFalse
	isNull
	isWord // a text without quotes
)

// keywords are the texts of the kinds that have one.
var keywords = [...][]byte{isTrue: []byte("true"), isFalse: []byte("false"), isNull: []byte("null")}

// anyValue is what the scanner wants where a value should be.
const anyValue = "a value (an object, array, string, number, true, false or null)"

// scalar reads a value without quotes and returns its text.
func (s *scanner) scalar() ([]byte, kind, error) {
	switch c := s.peek(); {
	case c == '-' || '0' <= c && c <= '9':
		if text := s.number(); text != nil {
			return text, isNumber, nil
		}
	case c == 't' && s.keyword("true"):
		return keywords[isTrue], isTrue, nil
	case c == 'f' && s.keyword("false"):
		return keywords[isFalse], isFalse, nil
	case c == 'n' && s.keyword("null"):
		return keywords[isNull], isNull, nil
	}
	return s.lenientScalar()
}

// isQuote reports whether a quoted text begins with c.
func (s *scanner) isQuote(c byte) bool { return c == '"' || c == '\'' && !s.strict }

// isComma reports whether c separates two members or elements.
func (s *scanner) isComma(c byte) bool { return c == ',' || c == ';' && !s.strict }

// key reads the name of the next member of an object whose brace has been read. ok is false when
// the object ends instead.
func (s *scanner) key(first bool) (raw []byte, how form, ok bool, err error) {
	c := s.peek()
	wanted := "a key"
	switch {
	case c == '}':
		s.pos++
		return nil, 0, false, nil
	case first:
		wanted = "a key or '}'"
	case !s.isComma(c):
		return nil, 0, false, s.unexpected("',' or '}'")
	default:
		s.pos++
		c = s.peek()
	}
	if s.isQuote(c) {
		raw, how, err = s.quoted(c)
	} else {
		raw, how, err = s.word(wanted)
	}
	if err != nil {
		return nil, 0, false, err
	}
	switch c := s.peek(); {
	case c == ':':
		s.pos++
	case c == '=' && !s.strict:
		if s.pos++; s.pos < len(s.data) && s.data[s.pos] == '>' {
			s.pos++
		}
	default:
		return nil, 0, false, s.unexpected("':'")
	}
	return raw, how, true, nil
}

// value reads any value that stands inside depth objects and arrays. If keep is true it appends the
// value to dst, as strict JSON without white space.
func (s *scanner) value(dst []byte, keep bool, depth int) ([]byte, error) {
	var object [maxDepth + 1]bool // by depth: true is an object, false an array
	base, opened := depth, false  // opened: a brace or bracket was just read
	for {
		c := s.peek()
		done := true // a value is complete
		switch {
		case c == '{' || c == '[':
			if depth == maxDepth {
				return dst, s.fail(s.pos, "nested deeper than %d levels", maxDepth)
			}
			depth++
			object[depth] = c == '{'
			s.pos++
			if keep {
				dst = append(dst, c)
			}
			opened, done = true, false
		case s.isQuote(c):
			raw, how, err := s.quoted(c)
			if err != nil {
				return dst, err
			}
			if keep {
				dst = appendQuoted(dst, raw, how)
			}
		case depth > base && !object[depth] && s.isMissing(c):
			if keep {
				dst = append(dst, keywords[isNull]...)
			}
		default:
			text, what, err := s.scalar()
			if err != nil {
				return dst, err
			}
			switch {
			case !keep:
			case what == isWord:
				dst = appendForeign(dst, text)
			default:
				dst = append(dst, text...)
			}
		}
		// Behind a value: close the objects and arrays that end here, until another value follows
		// or the value that the caller asked for is complete.
		for {
			if done && depth == base {
				return dst, nil
			}
			if object[depth] {
				raw, how, more, err := s.key(opened)
				if err != nil {
					return dst, err
				}
				if more {
					if keep {
						if !opened {
							dst = append(dst, ',')
						}
						dst = append(appendQuoted(dst, raw, how), ':')
					}
					break
				}
				if keep {
					dst = append(dst, '}')
				}
			} else {
				c := s.peek()
				if c != ']' {
					if !opened {
						if !s.isComma(c) {
							return dst, s.unexpected("',' or ']'")
						}
						s.pos++
						if keep {
							dst = append(dst, ',')
						}
					}
					break
				}
				s.pos++
				if keep {
					dst = append(dst, ']')
				}
			}
			depth--
			opened, done = false, true
		}
		opened = false
	}
}

// end demands that nothing but white space follows. The server's reader takes no comment there.
func (s *scanner) end() error {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
			continue
		}
		return s.unexpected("the end of the text")
	}
	return nil
}
