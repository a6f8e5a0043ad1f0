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

// scanner reads JSON text strictly by RFC 8259, and never recurses, so that nesting costs nothing
// before it is refused. The text must be valid UTF-8.
//
// It is our own because it has to keep the text of numbers (1.0 and 1 are stored differently), must
// find invalid text, and may not allocate. encoding/json replaces invalid UTF-8 and broken
// surrogates in silence, and boxes every value whose text is to be kept; gjson does not
// distinguish invalid text from valid.
type scanner struct {
	data []byte
	pos  int
	last int // where the last string began
}

func (s *scanner) fail(at int, format string, args ...any) error {
	return &Error{Offset: at, Reason: fmt.Sprintf(format, args...)}
}

// unexpected is the error for a character at pos where something else was wanted.
func (s *scanner) unexpected(wanted string) error {
	if s.pos >= len(s.data) {
		return s.fail(s.pos, "bad JSON: the text ends where %s should be", wanted)
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return s.fail(s.pos, "bad JSON: %q where %s should be", r, wanted)
}

// peek skips white space and returns the next byte, or 0 at the end. A NUL in the text is an error
// to every caller, so the two need not be distinguished.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// text reads a string and returns what stands between the quotes. escaped says that there are
// escapes in it.
func (s *scanner) text() (raw []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.unexpected("a string")
	}
	s.last = s.pos
	start := s.pos + 1
	for i := start; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			s.pos = i + 1
			return s.data[start:i], escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(s.data[i:])
			if n == 0 {
				return nil, false, s.fail(i, "bad JSON: broken escape in a string")
			}
			i += n - 1
		case c < 0x20:
			return nil, false, s.fail(i, "bad JSON: control character %#02x in a string", c)
		}
	}
	return nil, false, s.fail(start-1, "bad JSON: a string begins here and does not end")
}

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

var plainEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// appendUnescaped appends the characters that raw, as returned by text, stands for.
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

// appendQuoted appends raw, as returned by text, as a JSON string. Only lone surrogates change.
func appendQuoted(dst, raw []byte, escaped bool) []byte {
	dst = append(dst, '"')
	for escaped {
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

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	digits := func() bool {
		from := s.pos
		for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > from
	}
	at := func(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }
	if at('-') {
		s.pos++
	}
	first := s.pos
	if !digits() {
		return nil, s.unexpected("a digit")
	}
	if s.data[first] == '0' && s.pos > first+1 {
		return nil, s.fail(first, "bad JSON: a number begins with a needless 0")
	}
	if at('.') {
		s.pos++
		if !digits() {
			return nil, s.unexpected("a digit")
		}
	}
	if at('e') || at('E') {
		s.pos++
		if at('+') || at('-') {
			s.pos++
		}
		if !digits() {
			return nil, s.unexpected("a digit")
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.unexpected("a value (an object, array, string, number, true, false or null)")
	}
	s.pos += len(word)
	return nil
}

var textTrue, textFalse, textNull = []byte("true"), []byte("false"), []byte("null")

// scalar reads a number, true, false or null and returns its text.
func (s *scanner) scalar() ([]byte, error) {
	switch c := s.peek(); {
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return textTrue, s.literal("true")
	case c == 'f':
		return textFalse, s.literal("false")
	case c == 'n':
		return textNull, s.literal("null")
	}
	return nil, s.unexpected("a value (an object, array, string, number, true, false or null)")
}

// key reads the name of the next member of an object whose brace has been read. ok is false when
// the object ends instead.
func (s *scanner) key(first bool) (raw []byte, escaped, ok bool, err error) {
	switch c := s.peek(); {
	case c == '}':
		s.pos++
		return nil, false, false, nil
	case !first && c != ',':
		return nil, false, false, s.unexpected("',' or '}'")
	case !first:
		s.pos++
		if s.peek() != '"' {
			return nil, false, false, s.unexpected("a key in double quotes")
		}
	case c != '"':
		return nil, false, false, s.unexpected("a key in double quotes or '}'")
	}
	if raw, escaped, err = s.text(); err != nil {
		return nil, false, false, err
	}
	if s.peek() != ':' {
		return nil, false, false, s.unexpected("':'")
	}
	s.pos++
	return raw, escaped, true, nil
}

// value reads any value that stands inside depth objects and arrays. If keep is true it appends the
// value to dst, without white space.
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
		case c == '"':
			raw, escaped, err := s.text()
			if err != nil {
				return dst, err
			}
			if keep {
				dst = appendQuoted(dst, raw, escaped)
			}
		default:
			text, err := s.scalar()
			if err != nil {
				return dst, err
			}
			if keep {
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
				raw, escaped, more, err := s.key(opened)
				if err != nil {
					return dst, err
				}
				if more {
					if keep {
						if !opened {
							dst = append(dst, ',')
						}
						dst = append(appendQuoted(dst, raw, escaped), ':')
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
						if c != ',' {
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

// end demands that nothing but white space follows.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.data) {
		return s.unexpected("the end of the text")
	}
	return nil
}
