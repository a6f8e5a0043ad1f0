package script

import (
	"fmt"
	"runtime"
)

// Names are what the script calls its arguments. A generator says prevMsg, prevMetadata and
// prevMsgType (RULES.md 5.1).
type Names struct{ Msg, Metadata, MsgType string }

// Arguments are the names of every node but the generator.
var Arguments = Names{"msg", "metadata", "msgType"}

// Compile makes a Program of the text of a script, which is the body of a function. A text of more
// than 50,000 bytes, one that is blank, is no script of the language or uses what this engine does
// not execute gives an *Error with reason Syntax or Unsupported.
func Compile(lang Language, source string, names Names) (p *Program, err error) {
	if len(source) > maxSource {
		return nil, &Error{Reason: Syntax, Message: fmt.Sprintf("a script of %d bytes; at most %d are allowed", len(source), maxSource)}
	}
	if blank(source) {
		return nil, &Error{Reason: Syntax, Message: "the script is empty"}
	}
	defer func() {
		if x := recover(); x != nil {
			p, err = nil, compileError(source, x)
		}
	}()
	c := &compiler{lang: lang}
	body, assigned := parse(source, lang)
	c.assigned = assigned
	f := c.enter(nil)
	for _, name := range []string{names.Msg, names.Metadata, names.MsgType} {
		c.declare(name)
	}
	main := &proto{name: "the script"}
	c.function(main, f, nil, body)
	for len(c.later) > 0 { // functions of TBEL see the names that the body made
		job := c.later[0]
		c.later = c.later[1:]
		job()
	}
	return &Program{lang: lang, main: main}, nil
}

func compileError(source string, x any) *Error {
	switch e := x.(type) {
	case *syntaxError:
		reason := Syntax
		if e.unsupported {
			reason = Unsupported
		}
		line, column := position(source, e.at)
		return &Error{Reason: reason, Message: e.message, Line: line, Column: column}
	case *Error:
		return e
	case runtime.Error:
		return &Error{Reason: Internal, Message: e.Error()}
	}
	panic(x)
}

// proto is a compiled function.
type proto struct {
	_       [0]func() // never compared: that would be code for each such type
	name    string
	params  int
	slots   int
	nesting int   // how deep its statements and expressions are nested
	escapes bool  // its scopes may outlive its calls
	lib     bool  // of the library
	rest    bool  // of the library: the last parameter is a list of all other arguments
	least   int   // of the library: arguments
	body    *node // resolved; it sets run.ret
}

// frame is what the compiler knows of the function that it is in.
type frame struct {
	up      *frame
	blocks  []map[string]int // names and their slots, the innermost block last
	protos  []map[string]*proto
	slots   int
	nesting int
	deepest int
	escapes bool
	loops   int // loops and switches around
	made    int // names that assignments made
}

type compiler struct {
	lang  Language
	lib   bool // what is compiled is the library
	f     *frame
	later []func()
	// of JavaScript: names that are assigned to somewhere; without a declaration they are global
	assigned map[string]bool
}

//go:noinline
func (c *compiler) enter(up *frame) *frame {
	f := &frame{up: up}
	c.f = f
	c.open()
	return f
}

//go:noinline
func (c *compiler) open() {
	c.f.blocks = append(c.f.blocks, map[string]int{})
	c.f.protos = append(c.f.protos, map[string]*proto{})
}

//go:noinline
func (c *compiler) close() {
	c.f.blocks = c.f.blocks[:len(c.f.blocks)-1]
	c.f.protos = c.f.protos[:len(c.f.protos)-1]
}

// declare makes a name of the innermost block; a name that is there already stays.
//
//go:noinline
func (c *compiler) declare(name string) int {
	block := c.f.blocks[len(c.f.blocks)-1]
	if slot, ok := block[name]; ok {
		return slot
	}
	slot := c.f.slots
	c.f.slots++
	block[name] = slot
	return slot
}

// place says where a name lives: in which scope, counted from the current one, and at which slot.
type place struct{ depth, slot int }

//go:noinline
func (c *compiler) find(name string) (place, bool) {
	depth := 0
	for f := c.f; f != nil; f = f.up {
		for i := len(f.blocks) - 1; i >= 0; i-- {
			if slot, ok := f.blocks[i][name]; ok {
				return place{depth, slot}, true
			}
		}
		depth++
	}
	return place{}, false
}

// global makes a name of JavaScript that nothing declares, as an assignment to it does.
func (c *compiler) global(name string) (p place) {
	f := c.f
	for f.up != nil {
		f = f.up
		p.depth++
	}
	p.slot = f.slots
	f.slots++
	f.blocks[0][name] = p.slot
	return p
}

// findProto looks for a function of TBEL.
func (c *compiler) findProto(name string) (depth int, p *proto) {
	for f := c.f; f != nil; f = f.up {
		for i := len(f.protos) - 1; i >= 0; i-- {
			if p := f.protos[i][name]; p != nil {
				return depth, p
			}
		}
		depth++
	}
	return 0, nil
}

// function resolves a body into p; f is its frame, and the frame before it is the current one again
// afterwards.
func (c *compiler) function(p *proto, f *frame, params []string, body []*node) {
	c.f = f
	for _, name := range params {
		c.declare(name)
	}
	p.params = len(params)
	if p.lib {
		p.rest = p.params > 0 && params[p.params-1] == "$a"
		c.declare("$n")
	}
	if c.lang == JavaScript {
		c.hoist(body, true)
	}
	p.body = &node{op: nBlock, kids: c.statements(body, true)}
	p.slots, p.escapes, p.nesting = f.slots, f.escapes, f.deepest+1
	c.f = f.up
}

// deeper counts the nesting of what is being resolved.
//
//go:noinline
func (c *compiler) deeper() {
	f := c.f
	if f.nesting++; f.nesting > f.deepest {
		f.deepest = f.nesting
	}
}

// statements resolves the statements of one block and gives those that do something. last: the
// value of the last one is the result.
func (c *compiler) statements(list []*node, last bool) (out []*node) {
	for _, n := range list {
		if n.op == nDeclare && c.lang == TBEL {
			c.declareProto(n)
		} else if n.op == nDeclare { // made when the block is entered
			f := &node{op: nVar, s: n.s, kids: []*node{{op: nFunction, fn: n.fn}}, flag: true}
			c.statement(f, false)
			f.cost = 0
			out = addNode(out, f)
		}
	}
	last = last && c.lang == TBEL
	for i, n := range list {
		if n.op != nDeclare {
			c.statement(n, last && c.isLast(list, i))
			if n.op != nEmpty {
				out = addNode(out, n)
			}
		}
	}
	return out
}

// isLast reports whether only empty statements and functions follow statement i.
func (c *compiler) isLast(list []*node, i int) bool {
	for _, n := range list[i+1:] {
		if n.op != nEmpty && n.op != nDeclare {
			return false
		}
	}
	return true
}

// declareProto makes a function of TBEL known before the statements around it; its body is resolved
// when they are.
func (c *compiler) declareProto(n *node) {
	p := &proto{name: n.fn.name}
	f := c.f
	f.protos[len(f.protos)-1][n.fn.name] = p
	seen := &frame{up: f.up, blocks: append([]map[string]int(nil), f.blocks...), protos: append([]map[string]*proto(nil), f.protos...)}
	c.later = append(c.later, func() {
		c.enter(seen)
		c.function(p, c.f, n.fn.params, n.fn.body)
	})
}

// block resolves a statement with names of its own, a branch or a loop's body, into a nBlock.
func (c *compiler) block(n *node, last bool) *node {
	b := n
	if n.op != nBlock {
		b = &node{op: nBlock, kids: []*node{n}}
	}
	c.open()
	if c.lang == JavaScript {
		c.hoist(b.kids, false)
	}
	from, made := c.f.slots, c.f.made
	b.kids = c.statements(b.kids, last)
	// A name of TBEL that an assignment made is gone when the block is entered again.
	if c.f.made != made {
		b.slot, b.to = from, c.f.slots
	}
	c.close()
	return b
}

// resolve resolves the kids of a node that are expressions; any may be nil.
//
//go:noinline
func (c *compiler) resolve(kids ...*node) {
	for _, k := range kids {
		if k != nil {
			c.expr(k)
		}
	}
}

// statement resolves a statement in place: names become slots, and what does nothing nEmpty.
func (c *compiler) statement(n *node, last bool) {
	c.deeper()
	n.last = last
	kids := n.kids
	switch n.op {
	case nBlock:
		c.block(n, last)
	case nVar:
		n.cost = c.weight(n)
		c.resolve(kids...)
		if c.lang == TBEL {
			n.slot = c.declare(n.s)
			break
		}
		p, _ := c.find(n.s) // hoisted
		if n.slot = p.slot; len(kids) == 0 && !n.flag {
			n.op = nEmpty // `var x;` leaves x as it is
		}
	case nVars:
		n.op, n.kids = nBlock, c.statements(kids, false)
	case nExpr, nReturn, nThrow, nAssert:
		n.cost = c.weight(n)
		c.resolve(kids...)
	case nIf:
		n.cost = c.weight(kids[0])
		c.resolve(kids[0])
		for i := 1; i < len(kids); i++ {
			kids[i] = c.block(kids[i], last)
		}
	case nFor:
		c.open()
		if c.lang == JavaScript && kids[0] != nil && n.flag {
			c.hoist(kids[:1], false)
		}
		n.cost = c.weight(kids[1]) + c.weight(kids[2]) - c.weight(nil)
		if kids[0] != nil {
			c.statement(kids[0], false)
		}
		c.resolve(kids[1:3]...)
		kids[3] = c.loop(kids[3])
		c.close()
	case nWhile, nDo:
		n.cost = c.weight(kids[0])
		c.resolve(kids[0])
		kids[1] = c.loop(kids[1])
	case nEach:
		n.cost = c.weight(nil)
		c.resolve(kids[0])
		c.open()
		p, known := place{}, false
		if c.lang == TBEL || n.to != 0 {
			p.slot = c.declare(n.s)
		} else if p, known = c.find(n.s); !known { // a var is hoisted
			p = c.global(n.s)
		}
		n.depth, n.slot = p.depth, p.slot
		kids[1] = c.loop(kids[1])
		c.close()
	case nSwitch:
		n.cost = c.weight(kids[0]) + len(kids)
		c.resolve(kids[0])
		c.open()
		if c.lang == JavaScript {
			for _, k := range kids[1:] {
				c.hoist(k.kids[1:], false)
			}
		}
		c.f.loops++
		for _, k := range kids[1:] {
			c.resolve(k.kids[0])
			body := &node{op: nBlock, kids: k.kids[1:]}
			if k.kids = []*node{k.kids[0], body}; c.lang == TBEL { // a name of a case that was not taken hides none
				c.block(body, last)
			} else {
				body.kids = c.statements(body.kids, last)
			}
		}
		c.f.loops--
		c.close()
	case nBreak, nContinue:
		if c.f.loops == 0 {
			panic(syntax(n.at, "break or continue outside of a loop"))
		}
	case nTry:
		c.block(kids[0], false)
		c.open()
		if n.slot = -1; n.s != "" {
			n.slot = c.declare(n.s)
		}
		if kids[1] != nil {
			c.block(kids[1], false)
		}
		c.close()
		if kids[2] != nil {
			c.block(kids[2], false)
		}
	case nEmpty:
	default:
		panic(syntax(n.at, "not a statement"))
	}
	c.f.nesting--
}

// loop resolves the body of a loop.
//
//go:noinline
func (c *compiler) loop(n *node) *node {
	c.f.loops++
	n = c.block(n, false)
	c.f.loops--
	return n
}

// isClass reports whether a name carries functions; a variable of that name comes first.
//
//go:noinline
func (c *compiler) isClass(name string) bool {
	list := "Math JSON Date String Integer Long Double Float Boolean Character"
	if c.lang == JavaScript {
		list = "Math JSON Date String Number Boolean Object Array RegExp Error TypeError RangeError SyntaxError"
	}
	return oneOf(list, name)
}

// weight is how many eighths of a step a statement counts: one step, and one for each eight pieces
// of its expressions. Bodies of functions count for themselves.
func (c *compiler) weight(n *node) int {
	if c.lib {
		return 1
	}
	return 8 * (1 + pieces(n)>>3)
}

func pieces(n *node) int {
	if n == nil {
		return 0
	}
	count := 1
	for _, k := range n.kids {
		count += pieces(k)
	}
	return count
}
