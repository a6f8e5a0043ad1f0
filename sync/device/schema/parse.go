package schema

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of a schema.
const (
	MaxText  = 16 << 10 // bytes of its text
	maxDepth = 32       // of messages in messages
)

// parser reads a schema.
type parser struct {
	scanner
	pkg   string
	types map[string]any // *Message and *enum by full name
	refs  []ref
}

// ref is a field whose type is a name. It is resolved at the end, because a type may be declared
// after its use.
type ref struct {
	field *field
	scope string // full name of the message with the field
	name  string
	line  int
}

// Parse reads a proto3 schema and returns the type of the payload: the last message at the top.
// Errors name the line. Any number of goroutines may call it.
func Parse(text string) (*Message, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("schema: longer than %d bytes", MaxText)
	}
	p := parser{scanner: scanner{text: text, line: 1}, types: make(map[string]any)}
	proto3 := false
	var last *Message
	for p.next(); p.tok != ""; {
		switch p.tok {
		case "syntax":
			p.then("=")
			if p.tok != `"proto3"` && p.tok != `'proto3'` {
				p.unexpected(`"proto3"`)
			}
			proto3 = true
			p.then(";")
		case "package":
			p.next()
			if p.pkg = p.tok; p.pkg == "" || !isWord(p.pkg[0]) || len(p.types) > 0 {
				p.unexpected("the name of the package, before all types")
			}
			p.then(";")
		case "message":
			last = p.message(p.pkg, 0)
		default:
			p.other(p.pkg)
		}
	}
	if !proto3 {
		p.fail(`syntax = "proto3" is missing`)
	}
	if last == nil {
		p.fail("it declares no message")
	}
	p.link()
	return last, p.err
}

// other reads a statement that may stand at the top or in a message.
func (p *parser) other(scope string) {
	switch p.tok {
	case ";":
		p.next()
	case "enum":
		p.enumeration(scope)
	case "option", "reserved":
		p.skip(";")
	case "service":
		p.skip("}")
	case "import", "extend", "extensions", "group", "map", "required":
		p.fail("%s is not supported", p.tok)
	default:
		p.unexpected("a declaration")
	}
}

// skip moves over a statement up to end, with all blocks in it.
func (p *parser) skip(end string) {
	for depth := 0; ; p.next() {
		switch p.tok {
		case "":
			p.unexpected(end)
			return
		case "{":
			depth++
		case "}":
			depth--
		}
		if depth == 0 && p.tok == end {
			p.next()
			return
		}
	}
}

// declare moves over the name of a new type and the bracket behind it.
func (p *parser) declare(scope string, t any) (full string) {
	p.next()
	full = join(scope, p.name("a name"))
	if p.types[full] != nil {
		p.fail("%s is declared twice", full)
	}
	p.types[full] = t
	p.over("{")
	return full
}

func join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

// message reads a message that is nested in depth others.
func (p *parser) message(scope string, depth int) *Message {
	m := new(Message)
	if depth == maxDepth {
		p.fail("messages are nested more than %d deep", maxDepth)
		return m
	}
	full := p.declare(scope, m)
	for p.tok != "}" && p.tok != "" {
		switch p.tok {
		case "message":
			p.message(full, depth+1)
		case "oneof":
			p.next()
			p.name("a name")
			p.over("{")
			for m.oneofs++; p.tok != "}" && p.tok != ""; {
				p.member(m, full, &field{oneof: m.oneofs, presence: true})
			}
			p.over("}")
		case "repeated":
			p.next()
			p.field(m, full, &field{repeated: true})
		case "optional":
			p.next()
			p.field(m, full, &field{presence: true})
		default:
			p.member(m, full, new(field))
		}
	}
	p.over("}")
	return m
}

// member reads a field without a label, or another statement that may stand there.
func (p *parser) member(m *Message, scope string, f *field) {
	switch p.tok {
	case "enum", "option", "reserved", "extend", "extensions", "import", "group", "map", "required", "service", ";":
		p.other(scope)
	case "repeated", "optional":
		p.fail("%s cannot stand in a oneof", p.tok)
	default:
		p.field(m, scope, f)
	}
}

// field reads the type, name, number and options of a field.
func (p *parser) field(m *Message, scope string, f *field) {
	p.typeOf(scope, f)
	f.name = p.name("the name of a field")
	f.json = jsonName(f.name)
	p.over("=")
	n, err := strconv.ParseInt(p.tok, 0, 64)
	if err != nil || n < int64(protowire.MinValidNumber) || n > int64(protowire.MaxValidNumber) {
		p.unexpected("the number of a field")
	}
	f.number = protowire.Number(n)
	at, twice := m.find(f.number)
	for _, other := range m.fields {
		twice = twice || other.name == f.name
	}
	if twice {
		p.fail("the name or the number of %s is used twice", f.name)
	}
	m.fields = append(m.fields, nil)
	copy(m.fields[at+1:], m.fields[at:])
	m.fields[at] = f
	p.options()
}

// typeOf reads the type of the next field.
func (p *parser) typeOf(scope string, f *field) {
	name := p.tok
	for i := range scalars {
		if scalars[i] == name {
			f.kind = kind(i)
			p.next()
			return
		}
	}
	if name == "." { // a full name
		p.next()
		name, scope = p.tok, ""
	}
	if name == "" || !isWord(name[0]) {
		p.unexpected("a type")
	}
	p.refs = append(p.refs, ref{f, scope, name, p.line})
	p.next()
}

// options moves over a number and the options behind it, to the end of the statement.
func (p *parser) options() {
	if p.next(); p.tok != "[" {
		p.over(";")
		return
	}
	p.skip(";")
}

func (p *parser) enumeration(scope string) {
	e := &enum{names: make(map[int32]string), numbers: make(map[string]int32)}
	p.declare(scope, e)
	for p.tok != "}" && p.tok != "" {
		switch p.tok {
		case "option", "reserved", ";":
			p.other(scope)
		default:
			p.constant(e)
		}
	}
	if len(e.numbers) == 0 {
		p.fail("an enumeration has no values")
	}
	p.over("}")
}

func (p *parser) constant(e *enum) {
	name := p.name("the name of a value")
	if _, ok := e.numbers[name]; ok {
		p.fail("the value %s is declared twice", name)
	}
	p.over("=")
	sign := ""
	if p.tok == "-" {
		sign = "-"
		p.next()
	}
	n, err := strconv.ParseInt(sign+p.tok, 0, 32)
	if err != nil {
		p.unexpected("a number of 32 bits")
	}
	number := int32(n)
	if len(e.numbers) == 0 {
		e.first = number
	}
	e.numbers[name] = number
	if _, ok := e.names[number]; !ok {
		e.names[number] = name
	}
	p.options()
}

// link resolves the names of types, from the innermost scope to the outermost.
func (p *parser) link() {
	for i := range p.refs {
		r := &p.refs[i]
		f, scope := r.field, r.scope
		t := p.types[join(scope, r.name)]
		for t == nil && scope != "" {
			scope = scope[:max(0, strings.LastIndexByte(scope, '.'))]
			t = p.types[join(scope, r.name)]
		}
		switch t := t.(type) {
		case *Message:
			f.kind, f.message, f.presence = kindMessage, t, !f.repeated
		case *enum:
			f.kind, f.enum = kindEnum, t
		default:
			p.line = r.line
			p.fail("there is no type %.40s", r.name)
		}
	}
}
