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
	body := parse(source, lang)
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
	name    string
	params  int
	slots   int
	nesting int    // how deep its statements and expressions are nested
	escapes bool   // its scopes may outlive its calls
	lib     bool   // of the library
	rest    bool   // of the library: the last parameter is a list of all other arguments
	least   int    // of the library: arguments
	body    stmtFn // sets run.ret
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

// function compiles a body into p; f is its frame, and the frame before it is the current one again
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
	p.body = c.statements(body, true)
	p.slots, p.escapes, p.nesting = f.slots, f.escapes, f.deepest+1
	c.f = f.up
}

// deeper counts the nesting of what is being compiled.
//
//go:noinline
func (c *compiler) deeper() func() {
	f := c.f
	if f.nesting++; f.nesting > f.deepest {
		f.deepest = f.nesting
	}
	return func() { f.nesting-- }
}

// statements compiles the statements of one block. last: the value of the last one is the result.
func (c *compiler) statements(list []*node, last bool) stmtFn {
	if c.lang == TBEL {
		for _, n := range list {
			if n.op == nDeclare {
				c.declareProto(n)
			}
		}
		last = last && len(list) > 0
	} else {
		last = false
	}
	fns := make([]stmtFn, 0, len(list))
	if c.lang == JavaScript {
		fns = append(fns, c.declared(list)...)
	}
	for i, n := range list {
		if fn := c.statement(n, last && c.isLast(list, i)); fn != nil {
			fns = append(fns, fn)
		}
	}
	switch len(fns) {
	case 0:
		return func(*run) flow { return onward }
	case 1:
		return fns[0]
	case 2:
		a, b := fns[0], fns[1]
		return func(r *run) flow {
			if f := a(r); f != onward {
				return f
			}
			return b(r)
		}
	}
	return func(r *run) flow {
		for _, fn := range fns {
			if f := fn(r); f != onward {
				return f
			}
		}
		return onward
	}
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

// declareProto makes a function of TBEL known before the statements around it; its body is compiled
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

// block compiles statements with names of their own.
func (c *compiler) block(list []*node, last bool) stmtFn {
	c.open()
	defer c.close()
	if c.lang == JavaScript {
		c.hoist(list, false)
		return c.statements(list, last)
	}
	from, made := c.f.slots, c.f.made
	body := c.statements(list, last)
	to := c.f.slots
	if c.f.made == made {
		return body
	}
	// A name that an assignment made is gone when the block is entered again.
	return func(r *run) flow {
		unset(r.sc.vars[from:to])
		return body(r)
	}
}

// body is a statement with names of its own: a branch or a loop's body.
//
//go:noinline
func (c *compiler) body(n *node, last bool) stmtFn {
	list := []*node{n}
	if n.op == nBlock {
		list = n.kids
	}
	return c.block(list, last)
}

func (c *compiler) statement(n *node, last bool) stmtFn {
	defer c.deeper()()
	switch n.op {
	case nEmpty, nDeclare: // functions are made when their block is entered
		return nil
	case nBlock:
		return c.block(n.kids, last)
	case nVar:
		return c.variable(n, last)
	case nVars:
		return c.statements(n.kids, false)
	case nExpr:
		return c.expressionStatement(n.kids[0], last)
	case nIf:
		return c.branch(n, last)
	case nFor:
		return c.forLoop(n)
	case nEach:
		return c.eachLoop(n)
	case nWhile, nDo:
		return c.whileLoop(n)
	case nSwitch:
		return c.choice(n, last)
	case nBreak:
		if c.f.loops == 0 {
			panic(syntax(n.at, "break outside of a loop"))
		}
		return func(*run) flow { return broke }
	case nContinue:
		if c.f.loops == 0 {
			panic(syntax(n.at, "continue outside of a loop"))
		}
		return func(*run) flow { return continued }
	case nReturn:
		if len(n.kids) == 0 {
			none := null
			if c.lang == JavaScript {
				none = undefined
			}
			return func(r *run) flow { r.ret = none; return returned }
		}
		e, cost := c.expr(n.kids[0]), c.weight(n)
		return func(r *run) flow {
			r.work(cost)
			r.ret = e(r)
			return returned
		}
	case nTry:
		return c.try(n)
	case nThrow:
		e := c.expr(n.kids[0])
		return func(r *run) flow { panic(&thrownValue{e(r)}) }
	case nAssert:
		e := c.condition(n.kids[0])
		return func(r *run) flow {
			if !e(r) {
				panic(failed("assertion failed"))
			}
			return onward
		}
	}
	panic(syntax(n.at, "not a statement"))
}

func (c *compiler) expressionStatement(n *node, last bool) stmtFn {
	e, cost := c.expr(n), c.weight(n)
	if last {
		return func(r *run) flow {
			r.work(cost)
			r.ret = e(r)
			return onward
		}
	}
	return func(r *run) flow {
		r.work(cost)
		e(r)
		return onward
	}
}

//go:noinline
func (c *compiler) variable(n *node, last bool) stmtFn {
	var e evalFn
	if len(n.kids) > 0 {
		e = c.expr(n.kids[0])
	}
	slot := 0
	if c.lang == JavaScript {
		p, _ := c.find(n.s) // hoisted
		slot = p.slot
		if e == nil && !n.flag {
			return nil // `var x;` leaves x as it is
		}
	} else {
		slot = c.declare(n.s)
	}
	tbel, cost := c.lang == TBEL, c.weight(n)
	return func(r *run) flow {
		r.work(cost)
		v := null
		if e != nil {
			v = e(r)
			if tbel {
				keepable(v)
			}
		} else if !tbel {
			v = undefined
		}
		r.sc.vars[slot] = v
		if last {
			r.ret = v
		}
		return onward
	}
}

// keepable refuses the views of a map that the engine does not let into a variable.
//
//go:noinline
func keepable(v *Value) {
	if v.k == Set && v.o.text != "" {
		panic(failed("the result of " + v.o.text + "() cannot be kept in a variable: use keys() or loop over it"))
	}
}

func (c *compiler) branch(n *node, last bool) stmtFn {
	cost := c.weight(n.kids[0])
	cond, then := c.condition(n.kids[0]), c.body(n.kids[1], last)
	if len(n.kids) == 2 {
		return func(r *run) flow {
			r.work(cost)
			if cond(r) {
				return then(r)
			}
			return onward
		}
	}
	other := c.body(n.kids[2], last)
	return func(r *run) flow {
		r.work(cost)
		if cond(r) {
			return then(r)
		}
		return other(r)
	}
}

// variable is where a name's value is kept.
//
//go:noinline
func (r *run) variable(p place) **Value {
	sc := r.sc
	for d := p.depth; d > 0; d-- {
		sc = sc.up
	}
	return &sc.vars[p.slot]
}

// classNames are the names that carry functions; a variable of that name comes first.
//
//go:noinline
func (c *compiler) isClass(name string) bool {
	list := " Math JSON Date String Integer Long Double Float Boolean Character "
	if c.lang == JavaScript {
		list = " Math JSON Date String Number Boolean Object Array RegExp Error TypeError RangeError SyntaxError "
	}
	return hasText(list, " "+name+" ")
}

// weight is how many eighths of a step a statement counts: one step, and one for each eight pieces of its
// expressions. Bodies of functions count for themselves.
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
