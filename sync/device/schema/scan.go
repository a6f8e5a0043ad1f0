package schema

import (
	"fmt"
	"strings"
)

// scanner cuts the text of a schema into words, numbers, strings and single characters.
type scanner struct {
	text string
	pos  int
	line int
	tok  string // "" at the end
}

// next moves to the next token.
func (s *scanner) next() error {
	for {
		s.skipSpace()
		rest := s.text[s.pos:]
		switch {
		case strings.HasPrefix(rest, "//"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			s.pos += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return s.fail("a comment does not end")
			}
			s.line += strings.Count(rest[:n+4], "\n")
			s.pos += n + 4
		default:
			return s.take(rest)
		}
	}
}

func (s *scanner) skipSpace() {
	for ; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\n':
			s.line++
		case ' ', '\t', '\r', '\f', '\v':
		default:
			return
		}
	}
}

func (s *scanner) take(rest string) error {
	n := 0
	switch {
	case rest == "":
	case isWord(rest[0]):
		for n < len(rest) && (isWord(rest[n]) || rest[n] == '.') {
			n++
		}
	case rest[0] == '"' || rest[0] == '\'':
		for n = 1; ; n++ {
			if n == len(rest) || rest[n] == '\n' {
				return s.fail("a string does not end")
			}
			if rest[n] == '\\' && n+1 < len(rest) {
				n++
			} else if rest[n] == rest[0] {
				break
			}
		}
		n++
	default:
		n = 1
	}
	s.tok = rest[:n]
	s.pos += n
	return nil
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// isName tells whether the token is a name, without a point.
func (s *scanner) isName() bool {
	return s.tok != "" && isWord(s.tok[0]) && (s.tok[0] < '0' || s.tok[0] > '9') && !strings.Contains(s.tok, ".")
}

// expect moves over a token.
func (s *scanner) expect(tok string) error {
	if s.tok != tok {
		return s.unexpected(tok)
	}
	return s.next()
}

// then moves over the current token and the one behind it, which must be tok.
func (s *scanner) then(tok string) error {
	if err := s.next(); err != nil {
		return err
	}
	return s.expect(tok)
}

func (s *scanner) unexpected(want string) error {
	if s.tok == "" {
		return s.fail("the text ends where %s is expected", want)
	}
	return s.fail("%.40q where %s is expected", s.tok, want)
}

func (s *scanner) fail(format string, args ...any) error {
	return fmt.Errorf("schema, line %d: %s", s.line, fmt.Sprintf(format, args...))
}
