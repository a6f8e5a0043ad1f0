package script

import "strings"

const (
	// maxSource bounds the text of a script, in bytes (RULES.md 5.2).
	maxSource = 50_000
	// maxDepth bounds how deep statements and expressions of a script are nested.
	maxDepth = 200
)

// parser makes the syntax tree of one script. It panics with a *syntaxError.
type parser struct {
	lexer
	tok    token
	depth  int
	half   bool // inside an inline list or map of TBEL: a ":" ends a value (RULES.md 5.4.10)
	nest   *nesting
	bare   bool            // in a branch or a loop's body without braces
	names  map[string]bool // JavaScript: what is assigned to; nil: not wanted
	branch bool            // TBEL: behind the "?" or ":" of a condition
	inOff  bool            // JavaScript: `in` ends the expression, in the head of a for
}

// nesting is what an inline list or map of TBEL remembers about the inline ones in it: the first
// decides what the parser takes the others for (RULES.md 5.4.10).
type nesting struct {
	at    int  // where the element begins
	known bool // there was one
	isMap bool // what it was
}

func parse(source string, lang Language) (body []*node, assigned map[string]bool) {
	p := &parser{lexer: lexer{src: source, js: lang == JavaScript}}
	if p.js {
		p.names = map[string]bool{}
	}
	p.advance()
	for p.tok.kind != tEnd {
		body = addNode(body, p.statement())
	}
	return body, p.names
}

//go:noinline
func (p *parser) advance() {
	p.tok = p.lexer.next()
}

//go:noinline
func (p *parser) fail(message string) {
	panic(syntax(p.tok.at, message))
}

// unexpected fails with the token in the place of the text's %.
//
//go:noinline
func (p *parser) unexpected(text string) { p.fail(filled(text, p.shown())) }

//go:noinline
func (p *parser) refuse(message string) {
	panic(&syntaxError{at: p.tok.at, message: message, unsupported: true})
}

//go:noinline
func (p *parser) is(punct string) bool { return p.tok.kind == tPunct && p.tok.s == punct }

//go:noinline
func (p *parser) word(name string) bool { return p.tok.kind == tName && p.tok.s == name }

//go:noinline
func (p *parser) accept(punct string) bool {
	if p.is(punct) {
		p.advance()
		return true
	}
	return false
}

//go:noinline
func (p *parser) acceptWord(name string) bool {
	if p.word(name) {
		p.advance()
		return true
	}
	return false
}

//go:noinline
func (p *parser) expect(punct string) {
	if !p.accept(punct) {
		p.unexpected(filled("expected %, found %", punct))
	}
}

//go:noinline
func (p *parser) shown() string {
	if p.tok.kind == tEnd {
		return "the end"
	}
	if p.tok.s == "" {
		return "a literal"
	}
	return p.tok.s
}

func (p *parser) name() string {
	if p.tok.kind != tName {
		p.unexpected("expected a name, found %")
	}
	s := p.tok.s
	p.advance()
	return s
}

//go:noinline
func (p *parser) deeper() {
	if p.depth++; p.depth > maxDepth {
		p.refuse("a script that is nested so deep")
	}
}

// ahead is the token behind tok, without reading it.
//
//go:noinline
func (p *parser) ahead() token {
	pos := p.pos
	t := p.lexer.next()
	p.pos = pos
	return t
}

// mark is where tok is.
type mark struct {
	at      int
	newline bool
}

func (p *parser) mark() mark { return mark{p.tok.at, p.tok.newline} }

// back reads the token at a mark again.
//
//go:noinline
func (p *parser) back(to mark) {
	p.pos = to.at
	p.advance()
	p.tok.newline = to.newline
}

// end ends a statement: TBEL demands ";" unless the block ends, JavaScript takes the end of the
// line, and so does TBEL behind a branch or a loop's body without braces.
//
//go:noinline
func (p *parser) end() {
	if p.accept(";") || p.tok.kind == tEnd || p.is("}") || (p.js || p.bare) && p.tok.newline {
		return
	}
	p.unexpected("unterminated statement: expected ;, found %")
}

// types are the words that TBEL takes in front of a declared name, without conversion.
const types = "int long double float boolean byte char short String Integer Long Double Float Boolean Byte Character Short Number " +
	"Object Date List Map"

func (p *parser) statement() *node {
	p.deeper()
	n := p.anyStatement(p.tok.at)
	p.depth--
	return n
}

func (p *parser) anyStatement(at int) *node {
	if p.tok.kind == tPunct {
		switch p.tok.s {
		case ";":
			p.advance()
			return made(nEmpty, at)
		case "{":
			if p.js {
				return p.block()
			}
			if !p.mapAhead() {
				p.fail("not a statement: a bare block")
			}
		}
	}
	if p.tok.kind == tName {
		if n := p.keyword(at); n != nil {
			return n
		}
		if !p.js && oneOf(types, p.tok.s) && p.ahead().kind == tName {
			p.advance()
			return p.declaration(at)
		}
	}
	e := p.expression()
	p.end()
	return made(nExpr, at, e)
}

// mapAhead reports whether a "{" begins an inline map: `{}`, `{a:` or `{'a':`.
func (p *parser) mapAhead() bool {
	pos := p.pos
	t := p.lexer.next()
	ok := t.kind == tPunct && t.s == "}"
	if t.kind == tName || t.kind == tLiteral {
		t = p.lexer.next()
		ok = t.kind == tPunct && t.s == ":"
	}
	p.pos = pos
	return ok
}

// plain are the statements of a keyword and parts: c is a condition in brackets, s a statement, e
// an expression, a point the end.
var plain = [...]struct {
	word, parts string
	langs       uint8
	op          nodeOp
}{
	{"if", "cs", inBoth, nIf},
	{"while", "cs", inBoth, nWhile},
	{"until", "cs", inTBEL, nWhile},
	{"break", ".", inBoth, nBreak},
	{"continue", ".", inJS, nContinue},
	{"throw", "e.", inJS, nThrow},
	{"assert", "e.", inTBEL, nAssert},
}

// keyword is a statement that begins with a keyword, or nil.
func (p *parser) keyword(at int) *node {
	word, lang := p.tok.s, uint8(inTBEL)
	if p.js {
		lang = inJS
	}
	for i := range plain {
		k := &plain[i]
		if k.word != word || k.langs&lang == 0 {
			continue
		}
		p.advance()
		n := made(k.op, at)
		n.flag = is(word, "until")
		if k.op == nContinue && p.tok.kind == tName && !p.tok.newline {
			p.refuse("labels")
		}
		for _, part := range k.parts {
			switch part {
			case 'c':
				n.add(p.condition())
			case 's':
				n.add(p.body())
			case 'e':
				n.add(p.expression())
			default:
				p.end()
			}
		}
		if k.op == nIf && p.acceptWord("else") {
			n.add(p.body())
		}
		return n
	}
	switch {
	case is(word, "var"):
		p.advance()
		return p.declaration(at)
	case is(word, "for"):
		return p.loop(at)
	case is(word, "do"):
		p.advance()
		body := p.body()
		until := !p.js && p.acceptWord("until")
		if !until && !p.acceptWord("while") {
			p.fail("expected while")
		}
		n := made(nDo, at, p.condition(), body)
		n.flag = until
		p.accept(";")
		return n
	case is(word, "return"):
		p.advance()
		n := made(nReturn, at)
		if !p.is(";") && !p.is("}") && p.tok.kind != tEnd && !(p.js && p.tok.newline) {
			n.add(p.expression())
		}
		p.end()
		return n
	case is(word, "switch"):
		return p.choice(at)
	case is(word, "function"):
		return p.declareFunction(at)
	}
	if p.js {
		return p.scriptKeyword(at)
	}
	switch {
	case word == "def" && p.ahead().kind == tName:
		return p.declareFunction(at)
	case word == "foreach":
		return p.loop(at)
	case oneOf("import import_static with proto isdef", word):
		p.refuse(word + " of TBEL")
	case oneOf("let const try throw class", word):
		p.fail("unknown class or illegal statement: " + word)
	}
	return nil
}

func (p *parser) declareFunction(at int) *node {
	p.advance()
	n := made(nDeclare, at)
	n.s = p.name()
	n.fn = p.function(n.s)
	return n
}

// function reads parameters and body; the name is read.
func (p *parser) function(name string) *function {
	f := &function{name: name}
	p.expect("(")
	for !p.is(")") {
		if p.is("...") || p.is("{") || p.is("[") {
			p.refuse("rest and destructured parameters")
		}
		f.params = append(f.params, p.name())
		if p.lib && !p.accept("?") && f.params[len(f.params)-1] != "$a" {
			f.least = len(f.params)
		}
		if p.js && p.is("=") {
			p.refuse("default values of parameters")
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	half, nest, inOff := p.half, p.nest, p.inOff
	p.half, p.nest, p.inOff = false, nil, false
	f.body = p.block().kids
	p.half, p.nest, p.inOff = half, nest, inOff
	return f
}

//go:noinline
func (p *parser) condition() *node {
	p.expect("(")
	e := p.expression()
	p.expect(")")
	return e
}

func (p *parser) block() *node {
	n := made(nBlock, p.tok.at)
	p.expect("{")
	p.deeper()
	p.bare = false
	for !p.is("}") {
		if p.tok.kind == tEnd {
			p.fail("unbalanced braces { ... }")
		}
		n.add(p.statement())
	}
	p.depth--
	p.advance()
	return n
}

// declaration is what follows `var` or a type.
func (p *parser) declaration(at int) *node {
	var list []*node
	for {
		if p.is("{") || p.is("[") {
			p.refuse("destructuring")
		}
		n := made(nVar, at)
		n.s = p.name()
		if op, ok := p.assignOp(); ok {
			if op != opNone {
				p.fail("an assignment to a name that is not there yet")
			}
			p.advance()
			n.add(p.assignment())
		}
		list = addNode(list, n)
		if !p.js && len(n.kids) > 0 || !p.accept(",") {
			break
		}
	}
	p.end()
	if len(list) == 1 {
		return list[0]
	}
	return &node{op: nVars, at: at, kids: list}
}

// body is the statement of a branch or a loop.
//
//go:noinline
func (p *parser) body() *node {
	if p.is("{") {
		return p.block()
	}
	p.bare = true
	n := p.statement()
	p.bare = false
	return n
}

func (p *parser) loop(at int) *node {
	each := p.word("foreach")
	p.advance()
	p.expect("(")
	if p.js {
		return p.scriptLoop(at)
	}
	here := p.mark()
	if p.tok.kind == tName && oneOf(types, p.tok.s) {
		p.advance()
	}
	if p.tok.kind == tName {
		if t := p.ahead(); t.kind == tPunct && t.s == ":" {
			n := made(nEach, at)
			n.s = p.name()
			p.advance()
			n.add(p.expression())
			p.expect(")")
			n.add(p.body())
			return n
		}
	}
	p.back(here)
	if each {
		p.fail("expected a name and : in foreach")
	}
	n := made(nFor, at, nil, nil, nil, nil)
	if !p.accept(";") {
		n.kids[0] = p.statement()
	}
	p.forRest(n)
	return n
}

// forRest reads `condition; step) body`.
func (p *parser) forRest(n *node) {
	if !p.is(";") {
		n.kids[1] = p.expression()
	}
	p.expect(";")
	if !p.is(")") {
		n.kids[2] = p.expression()
	}
	p.expect(")")
	n.kids[3] = p.body()
}

func (p *parser) choice(at int) *node {
	p.advance()
	begin := p.tok.at + 1
	e := p.condition()
	if !p.js && e.op == nBinary && e.bin >= opAnd && e.bin <= opXor {
		if head := p.src[begin:e.at]; strings.Count(head, "(") == strings.Count(head, ")") {
			e = made(nUnary, at, e) // the engine's `a & 1 === 1` is no boolean
			e.bin = opNot
		}
	}
	n := made(nSwitch, at, e)
	p.expect("{")
	for !p.accept("}") {
		c := made(nCase, p.tok.at, nil)
		switch {
		case p.acceptWord("case"):
			c.kids[0] = p.caseValue()
		case p.acceptWord("default"):
		default:
			p.unexpected("expected case or default, found %")
		}
		p.expect(":")
		for !p.word("case") && !p.word("default") && !p.is("}") {
			if p.is("{") {
				c.add(p.block())
			} else {
				c.add(p.statement())
			}
			if !p.js && c.kids[len(c.kids)-1].op == nBreak && !p.tok.newline && !p.is("}") {
				// The engine tears such a switch apart (RULES.md 5.3).
				p.fail("unknown class or illegal statement: break and the next case on one line")
			}
		}
		n.add(c)
	}
	if !p.js {
		p.checkFallThrough(n)
	}
	return n
}

func (p *parser) caseValue() *node {
	half := p.half
	p.half = true
	e := p.assignment()
	p.half = half
	return e
}

// checkFallThrough refuses a case that runs into the next one, as the engine does. Several cases
// may begin one branch.
func (p *parser) checkFallThrough(n *node) {
	for _, c := range n.kids[1:max(1, len(n.kids)-1)] {
		if n := len(c.kids); n > 1 && !ends(c.kids[n-1]) {
			panic(syntax(c.at, "case without switch: a case has to end with return or break"))
		}
	}
}

// ends reports whether a statement never goes on behind itself.
func ends(n *node) bool {
	switch n.op {
	case nReturn, nBreak, nThrow, nContinue:
		return true
	case nBlock:
		return len(n.kids) > 0 && ends(n.kids[len(n.kids)-1])
	case nIf:
		return len(n.kids) == 3 && ends(n.kids[1]) && ends(n.kids[2])
	}
	return false
}
