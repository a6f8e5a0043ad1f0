package rules

import (
	"regexp"
	"strconv"
	"strings"
)

// path is a JSON path in Jayway's syntax, in parts (RULES.md 4.5).
type path []*part

type partKind uint8

const (
	byName  partKind = iota // 'a', or several
	byIndex                 // [0], or several
	bySlice                 // [a:b]
	byAll                   // *
	byDepth                 // ..
	byFilter
	byFunction
)

type part struct {
	kind     partKind
	names    []string
	indexes  []int
	from, to *int
	filter   *condition
}

const (
	maxPath = 1000
	// maxFound bounds the values that one part finds, and all that filters look at.
	maxFound = 100_000
)

var errPath = errorText("no JSON path")

type pathParser struct {
	s   string
	i   int
	bad bool
}

// parsePath reads a path; the path $ is empty.
func parsePath(s string) (path, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxPath || s == "" {
		return nil, errPath
	}
	if s[0] != '$' && s[0] != '@' {
		s = "$." + s
	}
	p := &pathParser{s: s, i: 1}
	out := p.path(0)
	if p.bad || p.i < len(p.s) {
		return nil, errPath
	}
	return out, nil
}

//go:noinline
func (p *pathParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

//go:noinline
func (p *pathParser) space() byte {
	for p.peek() == ' ' {
		p.i++
	}
	return p.peek()
}

// path reads parts from behind $ or @.
func (p *pathParser) path(depth int) (out path) {
	for !p.bad {
		switch p.peek() {
		case '.':
			p.i++
			if p.peek() == '.' {
				p.i++
				out = addPart(out, &part{kind: byDepth})
				if p.peek() == '[' {
					continue
				}
			}
			out = addPart(out, p.name())
		case '[':
			p.i++
			out = addPart(out, p.brackets(depth))
		default:
			return out
		}
	}
	return out
}

//go:noinline
func addPart(list path, p *part) path { return append(list, p) }

func (p *pathParser) name() *part {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(".[]() =<>!&|,", p.s[p.i]) < 0 {
		p.i++
	}
	name := p.s[start:p.i]
	if p.peek() == '(' {
		argument := ""
		end := strings.IndexByte(p.s[p.i:], ')')
		p.bad = p.bad || end < 0 || name == ""
		if !p.bad {
			argument = p.s[p.i+1 : p.i+end]
			p.i += end + 1
		}
		return &part{kind: byFunction, names: []string{name, argument}}
	}
	if name == "*" {
		return &part{kind: byAll}
	}
	p.bad = p.bad || name == ""
	return &part{kind: byName, names: []string{name}}
}

func (p *pathParser) quoted() string {
	quote := p.peek()
	p.i++
	var b []byte
	for p.i < len(p.s) && p.s[p.i] != quote {
		if p.s[p.i] == '\\' {
			p.i++
		}
		if p.i < len(p.s) {
			b = addByte(b, p.s[p.i])
			p.i++
		}
	}
	p.bad = p.bad || p.i >= len(p.s)
	p.i++
	return string(b)
}

func (p *pathParser) brackets(depth int) *part {
	out := new(part)
	switch c := p.space(); {
	case c == '*':
		out.kind = byAll
		p.i++
	case c == '?':
		p.i++
		out.kind = byFilter
		if p.bad = p.bad || p.space() != '(' || depth > 8; !p.bad {
			out.filter = p.any(depth + 1)
		}
	case c == '\'' || c == '"':
		out.names = []string{p.quoted()}
		for p.space() == ',' {
			p.i++
			p.space()
			out.names = addString(out.names, p.quoted())
		}
	default:
		out.kind = byIndex
		first := p.whole()
		if p.space() == ':' {
			p.i++
			p.space()
			out.kind, out.from, out.to = bySlice, first, p.whole()
		} else if p.bad = p.bad || first == nil; !p.bad {
			out.indexes = []int{*first}
			for p.space() == ',' {
				p.i++
				p.space()
				if n := p.whole(); n != nil {
					out.indexes = append(out.indexes, *n)
				}
			}
		}
	}
	p.bad = p.bad || p.space() != ']'
	p.i++
	return out
}

// whole reads a number; nil if there is none.
func (p *pathParser) whole() *int {
	start := p.i
	for p.peek() == '-' || p.peek() >= '0' && p.peek() <= '9' {
		p.i++
	}
	n, err := strconv.Atoi(p.s[start:p.i])
	if err != nil {
		return nil
	}
	return &n
}

// condition is a filter of a path: and, or, not, a comparison, or what exists.
type condition struct {
	op   operator
	of   [2]*condition
	what path // a value: from the item or the root
	root bool
	lit  *tree          // a value: a literal
	re   *regexp.Regexp // of =~
}

// operator is what a condition is. Numbers are less code to tell apart than texts.
type operator int8

// operators are texts of comparisons, by operator. One that begins as another one is before it.
var operators = [...]string{
	"===", "!==", "==", "!=", "<=", ">=", "<", ">", "in ", "nin ", "contains ", "size ", "empty ", "anyof ", "noneof ", "subsetof ", "=~",
}

const (
	opSame operator = iota
	opOther
	opEqual
	opUnequal
	opAtMost
	opAtLeast
	opLess
	opMore
	opIn
	opNotIn
	opContains
	opSize
	opEmpty
	opAny
	opNone
	opSubset
	opMatch
	opValue
	opNot
	opAnd
	opOr
)

// any reads ( … ).
func (p *pathParser) any(depth int) *condition {
	if p.bad = p.bad || depth > 32 || p.space() != '('; p.bad {
		return nil
	}
	p.i++
	c := p.logic(depth)
	p.bad = p.bad || p.space() != ')'
	p.i++
	return c
}

func (p *pathParser) logic(depth int) *condition {
	left := p.conjunction(depth)
	for p.space(); strings.HasPrefix(p.s[min(p.i, len(p.s)):], "||"); p.space() {
		p.i += 2
		left = &condition{op: opOr, of: [2]*condition{left, p.conjunction(depth)}}
	}
	return left
}

func (p *pathParser) conjunction(depth int) *condition {
	left := p.single(depth)
	for p.space(); strings.HasPrefix(p.s[min(p.i, len(p.s)):], "&&"); p.space() {
		p.i += 2
		left = &condition{op: opAnd, of: [2]*condition{left, p.single(depth)}}
	}
	return left
}

func (p *pathParser) single(depth int) *condition {
	switch p.space() {
	case '(':
		return p.any(depth + 1)
	case '!':
		if p.i++; depth > 32 {
			p.bad = true
			return nil
		}
		return &condition{op: opNot, of: [2]*condition{p.single(depth + 1)}}
	}
	left := p.operand(depth)
	p.space()
	for i, op := range operators {
		if p.bad || !strings.HasPrefix(p.s[p.i:], op) {
			continue
		}
		p.i += len(op)
		c := &condition{op: operator(i), of: [2]*condition{left}}
		if c.op != opMatch {
			c.of[1] = p.operand(depth)
			return c
		}
		if p.space() != '/' {
			break
		}
		end := strings.IndexByte(p.s[p.i+1:], '/')
		if end < 0 {
			break
		}
		text := "^(?:" + p.s[p.i+1:p.i+1+end] + ")$"
		if p.i += end + 2; p.peek() == 'i' {
			p.i++
			text = "(?i)" + text
		}
		var err error
		c.re, err = regexp.Compile(text)
		p.bad = p.bad || err != nil
		return c
	}
	return left
}

func (p *pathParser) operand(depth int) *condition {
	switch c := p.space(); {
	case c == '@' || c == '$':
		p.i++
		return &condition{op: opValue, what: p.path(depth + 1), root: c == '$'}
	case c == '\'' || c == '"':
		return &condition{op: opValue, lit: textTree(p.quoted())}
	case c == '[':
		list := &tree{kind: isList}
		for p.i++; !p.bad && p.space() != ']'; {
			item := p.operand(depth)
			if p.bad = p.bad || item == nil || item.lit == nil; p.bad {
				return nil
			}
			list.items = addTree(list.items, item.lit)
			if p.space() == ',' {
				p.i++
			}
		}
		p.i++
		return &condition{op: opValue, lit: list}
	}
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(" )&|<>=!,]", p.s[p.i]) < 0 {
		p.i++
	}
	t, err := parseTree(p.s[start:p.i])
	p.bad = p.bad || err != nil
	return &condition{op: opValue, lit: t}
}
