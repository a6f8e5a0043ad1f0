package cloudtest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
)

// maxNesting is how deep a JSON value may be nested (API.md 1.3).
const maxNesting = 255

type elementKind uint8

const (
	elementNull elementKind = iota
	elementBool
	elementNumber
	elementString
	elementObject
	elementArray
)

// element is a JSON value that the server's lenient parser has read.
type element struct {
	kind  elementKind
	text  string // a number as it was written, the content of a string, "true" or "false"
	names []string
	items []element // of an array, or of the members called names
}

// value returns what the server stores for the element; ok is false for null.
func (e element) value() (v Value, ok bool) {
	switch e.kind {
	case elementNull:
		return Value{}, false
	case elementBool:
		return Value{Type: proto.KeyValueType_BOOLEAN_V, Bool: e.text == "true"}, true
	case elementNumber:
		if v, ok := convertNumber(e.text); ok {
			return v, true
		}
		return Value{Type: proto.KeyValueType_STRING_V, Str: e.text}, true
	case elementString:
		return convertString(e.text), true
	}
	return Value{Type: proto.KeyValueType_JSON_V, Str: string(e.append(nil))}, true
}

// append writes the element as compact JSON.
func (e element) append(b []byte) []byte {
	switch e.kind {
	case elementNull:
		return append(b, "null"...)
	case elementBool, elementNumber:
		return append(b, e.text...)
	case elementString:
		return appendQuoted(b, e.text)
	case elementArray:
		b = append(b, '[')
		for i, it := range e.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = it.append(b)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, it := range e.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, e.names[i]), ':')
		b = it.append(b)
	}
	return append(b, '}')
}

// appendQuoted writes s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// lenient is a parser with the tolerance of the server's parser for values (API.md 1.3): unquoted
// names and strings, single quotes, comments, "=" and "=>" for ":", ";" for ",".
type lenient struct {
	src  string
	pos  int
	path []string
}

// parseLenient reads one JSON value. An empty text is null. Errors carry the words of the server's
// parser.
func parseLenient(text string) (element, error) {
	p := &lenient{src: text}
	p.src = strings.TrimPrefix(p.src, "\ufeff")
	p.space()
	if p.pos == len(p.src) {
		return element{}, nil
	}
	e, err := p.value(0)
	if err != nil {
		return element{}, err
	}
	p.space()
	if p.pos < len(p.src) && e.kind != elementNull {
		return element{}, said("Did not consume the entire document.")
	}
	return e, nil
}

// fail returns an error in the words of the server's parser: what is wrong, and where in the text
// and in the tree.
func (p *lenient) fail(what string) error {
	line, start := 1, 0
	for i := 0; i < p.pos && i < len(p.src); i++ {
		if p.src[i] == '\n' {
			line, start = line+1, i+1
		}
	}
	return said("%s at line %d column %d path $%s", what, line, p.pos-start+1, strings.Join(p.path, ""))
}

// space skips white space and comments.
func (p *lenient) space() {
	for p.pos < len(p.src) {
		rest := p.src[p.pos:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r':
			p.pos++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			if i := strings.IndexAny(rest, "\r\n"); i >= 0 {
				p.pos += i + 1
			} else {
				p.pos = len(p.src)
			}
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest[2:], "*/")
			if i < 0 {
				return
			}
			p.pos += i + 4
		default:
			return
		}
	}
}

// peek skips white space and comments and returns the next byte, 0 at the end.
func (p *lenient) peek() byte {
	p.space()
	if p.pos == len(p.src) {
		return 0
	}
	return p.src[p.pos]
}

func (p *lenient) value(depth int) (element, error) {
	if depth > maxNesting {
		return element{}, p.fail("Nesting limit 255 reached")
	}
	switch c := p.peek(); c {
	case 0:
		if p.pos == len(p.src) {
			return element{}, p.fail("End of input")
		}
		return element{}, p.fail("Unexpected value")
	case '{':
		p.pos++
		return p.object(depth)
	case '[':
		p.pos++
		return p.array(depth)
	case '"', '\'':
		s, err := p.quoted()
		return element{kind: elementString, text: s}, err
	}
	word := p.word()
	if word == "" {
		return element{}, p.fail("Unexpected value")
	}
	switch lower := strings.ToLower(word); lower {
	case "true", "false":
		return element{kind: elementBool, text: lower}, nil
	case "null":
		return element{}, nil
	}
	if jsonNumber(word) {
		return element{kind: elementNumber, text: word}, nil
	}
	return element{kind: elementString, text: word}, nil
}

func (p *lenient) object(depth int) (element, error) {
	e := element{kind: elementObject}
	at := make(map[string]int)
	p.path = append(p.path, ".")
	defer func() { p.path = p.path[:len(p.path)-1] }()
	for first := true; ; first = false {
		c := p.peek()
		if c == '}' && first {
			p.pos++
			return e, nil
		}
		if !first {
			switch c {
			case '}':
				p.pos++
				return e, nil
			case ',', ';':
				p.pos++
			case 0:
				return e, p.fail("End of input")
			default:
				return e, p.fail("Unterminated object")
			}
			c = p.peek()
		}
		var name string
		switch c {
		case 0:
			return e, p.fail("End of input")
		case '"', '\'':
			s, err := p.quoted()
			if err != nil {
				return e, err
			}
			name = s
		default:
			if name = p.word(); name == "" {
				return e, p.fail("Expected name")
			}
		}
		p.path[len(p.path)-1] = "." + name
		switch p.peek() {
		case ':':
			p.pos++
		case '=':
			p.pos++
			if p.pos < len(p.src) && p.src[p.pos] == '>' {
				p.pos++
			}
		case 0:
			return e, p.fail("End of input")
		default:
			return e, p.fail("Expected ':'")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return e, err
		}
		if i, twice := at[name]; twice {
			e.items[i] = v
		} else {
			at[name] = len(e.items)
			e.names, e.items = append(e.names, name), append(e.items, v)
		}
	}
}

func (p *lenient) array(depth int) (element, error) {
	e := element{kind: elementArray}
	p.path = append(p.path, "[0]")
	defer func() { p.path = p.path[:len(p.path)-1] }()
	for first := true; ; first = false {
		p.path[len(p.path)-1] = "[" + strconv.Itoa(len(e.items)) + "]"
		c := p.peek()
		if c == ']' && first {
			p.pos++
			return e, nil
		}
		if !first {
			switch c {
			case ']':
				p.pos++
				return e, nil
			case ',', ';':
				p.pos++
			case 0:
				return e, p.fail("End of input")
			default:
				return e, p.fail("Unterminated array")
			}
			c = p.peek()
		}
		if c == ',' || c == ';' || c == ']' {
			e.items = append(e.items, element{}) // a missing value is null
			continue
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return e, err
		}
		e.items = append(e.items, v)
	}
}

// word reads an unquoted name or value.
func (p *lenient) word() string {
	start := p.pos
	if i := strings.IndexAny(p.src[p.pos:], "{}[]:,;=#/\\ \t\r\n\f"); i >= 0 {
		p.pos += i
	} else {
		p.pos = len(p.src)
	}
	return p.src[start:p.pos]
}

// quoted reads a string in the quotes that it begins with.
func (p *lenient) quoted() (string, error) {
	quote := p.src[p.pos]
	p.pos++
	var b strings.Builder
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		p.pos++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			if p.pos == len(p.src) {
				return "", p.fail("Unterminated escape sequence")
			}
			c = p.src[p.pos]
			p.pos++
			switch c {
			case 'b':
				b.WriteByte('\b')
			case 'f':
				b.WriteByte('\f')
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case '"', '\'', '\\', '/', '\n':
				b.WriteByte(c)
			case 'u':
				r, err := p.hex()
				if err != nil {
					return "", err
				}
				if r >= 0xD800 && r < 0xDC00 && strings.HasPrefix(p.src[p.pos:], `\u`) {
					mark := p.pos
					p.pos += 2
					low, err := p.hex()
					if err != nil {
						return "", err
					}
					if low >= 0xDC00 && low < 0xE000 {
						r = (r-0xD800)<<10 + low - 0xDC00 + 0x10000
					} else {
						p.pos = mark
					}
				}
				if r >= 0xD800 && r < 0xE000 {
					r = '?' // a lone surrogate becomes a question mark (API.md 1.4)
				}
				b.WriteString(string(utf8.AppendRune(nil, r)))
			default:
				return "", p.fail("Invalid escape sequence")
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("Unterminated string")
}

func (p *lenient) hex() (rune, error) {
	if p.pos+4 > len(p.src) {
		return 0, p.fail("Unterminated escape sequence")
	}
	n, err := strconv.ParseUint(p.src[p.pos:p.pos+4], 16, 16)
	if err != nil {
		return 0, p.fail("Malformed Unicode escape \\u" + p.src[p.pos:p.pos+4])
	}
	p.pos += 4
	return rune(n), nil
}

// jsonNumber reports whether the word is a number by the grammar of JSON.
func jsonNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	digits := func() int {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n
	}
	if s == "" || s[0] == '0' && len(s) > 1 && s[1] >= '0' && s[1] <= '9' {
		return false
	}
	if digits() == 0 {
		return false
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		if digits() == 0 {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if digits() == 0 {
			return false
		}
	}
	return s == ""
}
