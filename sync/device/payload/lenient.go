package payload

import (
	"bytes"
	"unicode/utf8"
)

// What the server's reader takes beyond RFC 8259 (API.md 1.3), and devices in the field send:
// {temperature:25} is what the server's own connectivity check prints, nan what firmware makes of a
// broken sensor, {'a': None} a printed dictionary. Strict text never comes to the functions here.

// prefix may stand in front of a document. Programs write it against a browser that runs JSON.
var prefix = []byte(")]}'\n")

// ends are the bytes that end a word: a key or value without quotes.
var ends = func() (t [256]bool) {
	for _, c := range []byte("/\\;#={}[]:, \t\f\r\n") {
		t[c] = true
	}
	return t
}()

// preamble skips what may stand in front of a document.
func (s *scanner) preamble() {
	if s.peek() == prefix[0] && !s.strict && bytes.HasPrefix(s.data[s.pos:], prefix) {
		s.pos += len(prefix)
	}
}

// comment skips the comment at pos. It returns false, and stays where it is, where none stands. A
// comment that does not end takes the rest of the text, where something else is missing then.
func (s *scanner) comment() bool {
	rest := s.data[s.pos:]
	switch {
	case s.strict:
		return false
	case rest[0] == '#', len(rest) > 1 && rest[1] == '/':
		n := bytes.IndexAny(rest, "\r\n")
		if n < 0 {
			n = len(rest)
		}
		s.pos += n
	case len(rest) > 1 && rest[1] == '*':
		n := bytes.Index(rest[2:], []byte("*/"))
		if n < 0 {
			n = len(rest) - 4
		}
		s.pos += n + 4
	default:
		return false
	}
	return true
}

// lenientEscapeLen is escapeLen for the escapes that only the server's reader knows: those of a
// single quote and of the end of a line.
func (s *scanner) lenientEscapeLen(b []byte) int {
	if !s.strict && len(b) > 1 && (b[1] == '\'' || b[1] == '\n') {
		return 2
	}
	return 0
}

// word reads a key or value without quotes. wanted is what the error names where none stands.
func (s *scanner) word(wanted string) ([]byte, form, error) {
	if s.strict {
		return nil, 0, s.unexpected(wanted)
	}
	start := s.pos
	for s.pos < len(s.data) && !ends[s.data[s.pos]] {
		s.pos++
	}
	if s.pos == start {
		return nil, 0, s.unexpected(wanted)
	}
	s.last = start
	return s.data[start:s.pos], foreign, nil
}

// lenientScalar is scalar for what is no number and no keyword of RFC 8259.
func (s *scanner) lenientScalar() ([]byte, kind, error) {
	text, _, err := s.word(anyValue)
	if err != nil {
		return nil, 0, err
	}
	for _, what := range [...]kind{isTrue, isFalse, isNull} {
		if sameLetters(text, keywords[what]) {
			return keywords[what], what, nil
		}
	}
	return text, isWord, nil
}

// sameLetters compares a text with a word of small ASCII letters. It does not care for capitals.
func sameLetters(text, word []byte) bool {
	if len(text) != len(word) {
		return false
	}
	for i, c := range text {
		if c|0x20 != word[i] {
			return false
		}
	}
	return true
}

// isMissing reports whether c follows where an element of an array should be. The server's reader
// takes that for a null.
func (s *scanner) isMissing(c byte) bool {
	return !s.strict && (c == ',' || c == ';' || c == ']')
}

// appendForeign appends raw, a text of any form, as a string of strict JSON.
func appendForeign(dst, raw []byte) []byte {
	dst = append(dst, '"')
	for len(raw) > 0 {
		r, n := rune(raw[0]), 1
		switch {
		case r == '\\' && raw[1] == 'u':
			r, n = unicodeEscape(raw)
		case r == '\\':
			r, n = rune(plainEscapes[raw[1]]), 2
		case r >= utf8.RuneSelf:
			r, n = utf8.DecodeRune(raw)
		}
		raw = raw[n:]
		dst = appendCharacter(dst, r)
	}
	return append(dst, '"')
}

// appendCharacter appends one character of a string of strict JSON.
func appendCharacter(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r < 0x20:
		return append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
	}
	return utf8.AppendRune(dst, r)
}
