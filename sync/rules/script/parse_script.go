package script

import "strings"

// What only JavaScript has (RULES.md 5.7).

// scriptKeyword is a statement that begins with a keyword of JavaScript, or nil.
func (p *parser) scriptKeyword(at int) *node {
	switch word := p.tok.s; word {
	case "let", "const":
		if t := p.ahead(); t.kind == tName || t.kind == tPunct && (t.s == "{" || t.s == "[") {
			p.advance()
			n := p.declaration(at)
			n.flag = true // of its block
			for _, k := range n.kids {
				k.flag = n.op == nVars || k.flag
			}
			return n
		}
	case "try":
		p.advance()
		n := made(nTry, at, p.block(), nil, nil)
		if p.acceptWord("catch") {
			if p.accept("(") {
				n.s = p.name()
				p.expect(")")
			}
			n.kids[1] = p.block()
		}
		if p.acceptWord("finally") {
			n.kids[2] = p.block()
		}
		if n.kids[1] == nil && n.kids[2] == nil {
			p.fail("a try without catch and finally")
		}
		return n
	default:
		switch t := p.ahead(); {
		case oneOf("class async import export with yield await debugger", word):
			if t.kind == tName || t.kind == tPunct && (t.s == "{" || t.s == "(" && is(word, "with")) {
				p.refuse(word + " of JavaScript")
			}
		case t.kind == tPunct && t.s == ":" && word != "default" && !is(word, "case"):
			p.refuse("labels")
		}
	}
	return nil
}

// scriptLoop is a for of JavaScript; its "(" is read.
func (p *parser) scriptLoop(at int) *node {
	here := p.mark()
	declares := p.word("var") || p.word("let") || p.word("const")
	block := declares && !p.word("var")
	if declares {
		p.advance()
	}
	if p.tok.kind == tName {
		name := p.name()
		if p.word("in") || p.word("of") {
			n := made(nEach, at)
			n.s, n.flag = name, declares && !block
			if block {
				n.to = 1
			}
			if p.word("in") {
				n.bin = opIn
			}
			p.advance()
			n.add(p.expression())
			p.expect(")")
			n.add(p.body())
			return n
		}
	}
	p.back(here)
	n := made(nFor, at, nil, nil, nil, nil)
	n.flag = block
	if !p.accept(";") {
		p.inOff = true
		if declares {
			first := p.tok.at
			p.advance()
			n.kids[0] = p.declaration(first)
			n.kids[0].flag = block
			for _, k := range n.kids[0].kids {
				if n.kids[0].op == nVars {
					k.flag = block
				}
			}
		} else {
			n.kids[0] = made(nExpr, p.tok.at, p.expression())
			p.expect(";")
		}
		p.inOff = false
	}
	p.forRest(n)
	return n
}

// arrow reads `x => e`, `(a, b) => e` and `() => { … }`; nil if there is none.
func (p *parser) arrow() *node {
	at := p.tok.at
	here := p.mark()
	f := &function{arrow: true}
	ok := false
	switch {
	case p.tok.kind == tName:
		if t := p.ahead(); t.kind == tPunct && t.s == "=>" {
			f.params, ok = []string{p.name()}, true
		}
	case p.is("("):
		p.advance()
		for p.tok.kind == tName {
			f.params = append(f.params, p.name())
			if !p.accept(",") {
				break
			}
		}
		ok = p.accept(")") && p.is("=>")
	}
	if !ok {
		p.back(here)
		return nil
	}
	p.expect("=>")
	if p.is("{") {
		inOff := p.inOff
		p.inOff = false
		f.body = p.block().kids
		p.inOff = inOff
	} else {
		f.body = clones([]*node{made(nReturn, p.tok.at, p.assignment())})
	}
	n := made(nFunction, at)
	n.fn = f
	return n
}

// scriptName is what a name stands for where a value is expected.
func (p *parser) scriptName(at int, name string) *node {
	switch {
	case name == "function":
		if p.is("*") {
			p.refuse("generators")
		}
		n := made(nFunction, at)
		if p.tok.kind == tName {
			n.s = p.name()
		}
		n.fn = p.function(n.s)
		return n
	case oneOf("this super class async await yield import arguments eval Function Symbol Proxy Promise", name):
		panic(&syntaxError{at: at, message: name + " of JavaScript", unsupported: true})
	case oneOf("if else for while do switch case return break continue in instanceof var const try catch finally throw default delete "+
		"typeof void", name):
		panic(syntax(at, "unexpected "+name))
	}
	n := made(nName, at)
	n.s = name
	return n
}

// scriptCollection is an array or object literal.
func (p *parser) scriptCollection(at int) *node {
	if p.accept("[") {
		n := made(nList, at)
		for !p.is("]") {
			if p.is("...") {
				p.refuse("spread in a list")
			}
			if p.is(",") {
				p.refuse("a list with holes")
			}
			n.add(p.inner(p.assignment))
			if !p.accept(",") {
				break
			}
		}
		p.expect("]")
		return n
	}
	p.expect("{")
	n := made(nMap, at)
	for !p.is("}") {
		var key *node
		name := ""
		switch {
		case p.tok.kind == tName:
			key = literal(p.tok.at, textOf(p.tok.s))
			name = p.tok.s
			p.advance()
		case p.tok.kind == tLiteral:
			key = literal(p.tok.at, p.tok.v)
			p.advance()
		case p.accept("["):
			key = p.inner(p.assignment)
			p.expect("]")
		case p.is("..."):
			p.refuse("spread in an object")
		default:
			p.unexpected("unexpected %")
		}
		switch {
		case p.accept(":"):
			n.add(key)
			n.add(p.inner(p.assignment))
		case name != "" && (p.is(",") || p.is("}")):
			n.add(key)
			n.add(p.scriptName(key.at, name))
		default:
			p.refuse("methods and accessors in an object")
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect("}")
	return n
}

// template is a text in back quotes; its first quote is read.
func (p *parser) template(at int) *node {
	n := made(nTemplate, at)
	var b []byte
	flush := func() {
		n.add(literal(at, textOf(string(b))))
		b = b[:0]
	}
	for {
		if p.pos >= len(p.src) {
			panic(syntax(at, "unterminated template text"))
		}
		switch c := p.src[p.pos]; {
		case c == '`':
			p.pos++
			flush()
			p.advance()
			return n
		case c == '$' && p.pos+1 < len(p.src) && p.src[p.pos+1] == '{':
			flush()
			p.pos += 2
			p.advance()
			n.add(p.inner(p.expression))
			if !p.is("}") {
				p.fail("expected } in a template text")
			}
		case c == '\\':
			p.pos++
			p.templateEscape(&b)
		default:
			b = addByte(b, c)
			p.pos++
		}
	}
}

func (p *parser) templateEscape(b *[]byte) {
	var sb strings.Builder
	if p.pos < len(p.src) && (p.src[p.pos] == '`' || p.src[p.pos] == '$') {
		*b = append(*b, p.src[p.pos])
		p.pos++
		return
	}
	p.escape(&sb)
	*b = append(*b, sb.String()...)
}
