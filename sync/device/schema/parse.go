package schema

import (
	"errors"
	"fmt"
	"slices"
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
	last  *Message // at the top
}

// ref is a field whose type has a name; types may be used before they are declared, so it is looked up at the end.
type ref struct {
	in    *Message
	field int
	scope string // full name of the message with the field
	name  string
	line  int
}

// Parse reads a proto3 schema and returns the message that payloads are of: the last one at the top. Errors name the line.
func Parse(text string) (*Message, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("schema: longer than %d bytes", MaxText)
	}
	p := parser{scanner: scanner{text: text, line: 1}, types: make(map[string]any)}
	if err := p.next(); err != nil {
		return nil, err
	}
	proto3 := false
	for p.tok != "" {
		var err error
		switch p.tok {
		case "syntax":
			proto3, err = true, p.syntax()
		case "package":
			err = p.pack()
		case "message":
			p.last, err = p.message(p.pkg, 0)
		default:
			err = p.other(p.pkg)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case !proto3:
		return nil, errors.New(`schema: syntax = "proto3" is missing`)
	case p.last == nil:
		return nil, errors.New("schema: it declares no message")
	}
	return p.last, p.link()
}

func (p *parser) syntax() error {
	if err := p.then("="); err != nil {
		return err
	}
	if p.tok != `"proto3"` && p.tok != `'proto3'` {
		return p.unexpected(`"proto3"`)
	}
	return p.then(";")
}

func (p *parser) pack() error {
	if err := p.next(); err != nil {
		return err
	}
	if p.tok == "" || !isWord(p.tok[0]) || len(p.types) > 0 {
		return p.unexpected("the name of the package, before all types")
	}
	p.pkg = p.tok
	return p.then(";")
}

// other reads a statement that may stand at the top and in messages.
func (p *parser) other(scope string) error {
	switch p.tok {
	case ";":
		return p.next()
	case "enum":
		return p.enumeration(scope)
	case "option", "reserved":
		return p.skip()
	case "service":
		for p.tok != "{" && p.tok != "" {
			if err := p.next(); err != nil {
				return err
			}
		}
		return p.skipBlock()
	case "import", "extend", "extensions", "group":
		return p.fail("%s is not supported", p.tok)
	}
	return p.unexpected("a declaration")
}

// skip moves over a statement.
func (p *parser) skip() error {
	for p.tok != ";" {
		over := p.next
		switch p.tok {
		case "":
			return p.unexpected("';'")
		case "{":
			over = p.skipBlock
		}
		if err := over(); err != nil {
			return err
		}
	}
	return p.next()
}

// skipBlock moves over { … } with all blocks in it.
func (p *parser) skipBlock() error {
	for depth := 0; ; {
		switch p.tok {
		case "":
			return p.unexpected("'}'")
		case "{":
			depth++
		case "}":
			depth--
		}
		if err := p.next(); err != nil || depth == 0 {
			return err
		}
	}
}

// declare moves over the name of a new type, and the bracket behind it.
func (p *parser) declare(scope string, t any) (full string, err error) {
	if err := p.next(); err != nil {
		return "", err
	}
	if !p.isName() {
		return "", p.unexpected("a name")
	}
	full = join(scope, p.tok)
	if p.types[full] != nil {
		return "", p.fail("%s is declared twice", full)
	}
	p.types[full] = t
	return full, p.then("{")
}

func join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

// message reads a message that lies in depth others.
func (p *parser) message(scope string, depth int) (*Message, error) {
	if depth == maxDepth {
		return nil, p.fail("messages are nested more than %d deep", maxDepth)
	}
	m := new(Message)
	full, err := p.declare(scope, m)
	for err == nil && p.tok != "}" {
		switch p.tok {
		case "message":
			_, err = p.message(full, depth+1)
		case "oneof":
			err = p.oneof(m, full)
		case "map":
			err = p.mapField(m, full)
		case "enum", "option", "reserved", "extend", "extensions", "import", "group", "service", ";", "":
			err = p.other(full)
		default:
			err = p.labelled(m, full)
		}
	}
	if err != nil {
		return nil, err
	}
	return m, p.next()
}

func (p *parser) oneof(m *Message, scope string) error {
	if err := p.next(); err != nil {
		return err
	}
	if !p.isName() {
		return p.unexpected("a name")
	}
	err := p.then("{")
	m.oneofs++
	for err == nil && p.tok != "}" {
		switch p.tok {
		case "option":
			err = p.skip()
		case ";":
			err = p.next()
		case "repeated", "optional", "required", "map", "group":
			err = p.fail("%s cannot stand in a oneof", p.tok)
		default:
			err = p.field(m, scope, field{oneof: m.oneofs, presence: true})
		}
	}
	if err != nil {
		return err
	}
	return p.next()
}

// labelled reads an ordinary field.
func (p *parser) labelled(m *Message, scope string) error {
	var f field
	switch p.tok {
	case "repeated":
		f.repeated = true
	case "optional":
		f.presence = true
	case "required":
		return p.fail("required fields are not supported")
	default:
		return p.field(m, scope, f)
	}
	if err := p.next(); err != nil {
		return err
	}
	return p.field(m, scope, f)
}

func (p *parser) mapField(m *Message, scope string) error {
	if err := p.then("<"); err != nil {
		return err
	}
	k := kind(slices.Index(scalars[:], p.tok))
	if int(k) >= len(scalars) || k == kindDouble || k == kindFloat || k == kindBytes {
		return p.unexpected("the type of a map's key")
	}
	entry := &Message{fields: []field{{name: "key", json: "key", number: 1, kind: k}}}
	if err := p.then(","); err != nil {
		return err
	}
	value := field{name: "value", json: "value", number: 2}
	if err := p.typeOf(entry, scope, &value); err != nil {
		return err
	}
	entry.fields = append(entry.fields, value)
	if err := p.expect(">"); err != nil {
		return err
	}
	return p.numbered(m, field{kind: kindMessage, message: entry, repeated: true, isMap: true})
}

// field reads type, name and number.
func (p *parser) field(m *Message, scope string, f field) error {
	if err := p.typeOf(m, scope, &f); err != nil {
		return err
	}
	return p.numbered(m, f)
}

// typeOf reads the type of the next field of m.
func (p *parser) typeOf(m *Message, scope string, f *field) error {
	name := p.tok
	if i := slices.Index(scalars[:], name); i >= 0 {
		f.kind = kind(i)
		return p.next()
	}
	if name == "." { // a full name
		if err := p.next(); err != nil {
			return err
		}
		name, scope = p.tok, ""
	}
	if p.tok == "" || !isWord(p.tok[0]) {
		return p.unexpected("a type")
	}
	p.refs = append(p.refs, ref{m, len(m.fields), scope, name, p.line})
	return p.next()
}

// numbered reads the name, the number and the options of a field.
func (p *parser) numbered(m *Message, f field) error {
	if !p.isName() {
		return p.unexpected("the name of a field")
	}
	f.name, f.json = p.tok, jsonName(p.tok)
	if err := p.then("="); err != nil {
		return err
	}
	n, err := strconv.ParseInt(p.tok, 0, 64)
	if err != nil || n < int64(protowire.MinValidNumber) || n > int64(protowire.MaxValidNumber) {
		return p.unexpected("the number of a field")
	}
	f.number = protowire.Number(n)
	for i := range m.fields {
		if m.fields[i].name == f.name || m.fields[i].number == f.number {
			return p.fail("the name or the number of %s is used twice", f.name)
		}
	}
	m.fields = append(m.fields, f)
	if err := p.next(); err != nil {
		return err
	}
	return p.options()
}

// options moves over what may stand between a number and the end of its statement.
func (p *parser) options() error {
	if p.tok == "[" {
		return p.skip()
	}
	return p.expect(";")
}

func (p *parser) enumeration(scope string) error {
	e := &enum{names: make(map[int32]string), numbers: make(map[string]int32)}
	_, err := p.declare(scope, e)
	for err == nil && p.tok != "}" {
		switch {
		case p.tok == "option" || p.tok == "reserved":
			err = p.skip()
		case p.tok == ";":
			err = p.next()
		case !p.isName():
			err = p.unexpected("the name of a value")
		default:
			err = p.constant(e)
		}
	}
	if err == nil && len(e.names) == 0 {
		err = p.fail("an enumeration has no values")
	}
	if err != nil {
		return err
	}
	return p.next()
}

func (p *parser) constant(e *enum) error {
	name := p.tok
	if _, ok := e.numbers[name]; ok {
		return p.fail("the value %s is declared twice", name)
	}
	if err := p.then("="); err != nil {
		return err
	}
	sign := ""
	if p.tok == "-" {
		if err := p.next(); err != nil {
			return err
		}
		sign = "-"
	}
	n, err := strconv.ParseInt(sign+p.tok, 0, 32)
	if err != nil {
		return p.unexpected("a number of 32 bits")
	}
	number := int32(n)
	if len(e.numbers) == 0 {
		e.first = number
	}
	e.numbers[name] = number
	if _, ok := e.names[number]; !ok {
		e.names[number] = name
	}
	if err := p.next(); err != nil {
		return err
	}
	return p.options()
}

// link finds the types that fields name, from the inside to the outside, and puts the fields of all messages in order.
func (p *parser) link() error {
	for _, r := range p.refs {
		f := &r.in.fields[r.field]
		scope := r.scope
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
			return fmt.Errorf("schema, line %d: there is no type %.40s", r.line, r.name)
		}
	}
	for _, t := range p.types {
		if m, ok := t.(*Message); ok {
			slices.SortFunc(m.fields, func(a, b field) int { return int(a.number) - int(b.number) })
		}
	}
	return nil
}
