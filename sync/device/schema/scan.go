package schema

import (
	"fmt"
	"strings"
)

// scanner cuts the text of a schema into words, numbers, strings and single characters. It keeps
// the first mistake and is at the end after it.
type scanner struct {
	text string
	pos  int
	line int
	tok  string // "" at the end
	err  error
}

// next moves to the next token.
func (s *scanner) next() {
	for {
		s.skipSpace()
		rest := s.text[s.pos:]
		n := 0
		switch {
		case strings.HasPrefix(rest, "//"):
			if n = strings.IndexByte(rest, '\n'); n < 0 {
				n = len(rest)
			}
		case strings.HasPrefix(rest, "/*"):
			if n = strings.Index(rest[2:], "*/") + 4; n < 4 {
				s.fail("a comment does not end")
				return
			}
		default:
			s.take(rest)
			return
		}
		s.line += strings.Count(rest[:n], "\n")
		s.pos += n
	}
}

func (s *scanner) skipSpace() {
	for ; s.pos < len(s.text) && strings.IndexByte(" \t\r\f\v\n", s.text[s.pos]) >= 0; s.pos++ {
		if s.text[s.pos] == '\n' {
			s.line++
		}
	}
}

func (s *scanner) take(rest string) {
	n := 0
	switch {
	case rest == "":
	case isWord(rest[0]):
		for n < len(rest) && (isWord(rest[n]) || rest[n] == '.') {
			n++
		}
	case rest[0] == '"' || rest[0] == '\'':
		for n = 1; n < len(rest) && rest[n] != rest[0] && rest[n] != '\n'; n++ {
			if rest[n] == '\\' {
				n++
			}
		}
		if n >= len(rest) || rest[n] == '\n' {
			s.fail("a string does not end")
			return
		}
		n++
	default:
		n = 1
	}
	s.tok = rest[:n]
	s.pos += n
}

func isWord(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_'
}

// over moves over a token, which must be tok.
func (s *scanner) over(tok string) {
	if s.tok != tok {
		s.unexpected(tok)
	}
	s.next()
}

// then moves over the current token and the one behind it, which must be tok.
func (s *scanner) then(tok string) {
	s.next()
	s.over(tok)
}

// name moves over a name, without a point.
func (s *scanner) name(what string) (name string) {
	if name = s.tok; name == "" || !isWord(name[0]) || name[0] <= '9' || strings.Contains(name, ".") {
		s.unexpected(what)
	}
	s.next()
	return name
}

func (s *scanner) unexpected(want string) {
	if s.tok == "" {
		s.fail("the text ends where %s is expected", want)
	}
	s.fail("%.40q where %s is expected", s.tok, want)
}

// fail keeps the first mistake.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("schema, line %d: "+format, append([]any{s.line}, args...)...)
	}
	s.tok, s.pos = "", len(s.text)
}
