package rules

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"edgesync/sync/rules/script"
)

// expression is a custom function of a math node (RULES.md 4.4), or a part of it.
type expression struct {
	op    string // of two: + - * / % ^; neg; number; name of an argument or a function
	value float64
	of    []*expression
	arg   int // of the node's arguments; -1: none
}

// maxExpression bounds the text of a custom function, in bytes, and so how deep it is nested.
const maxExpression = 1024

// functions are the functions of custom functions and how many arguments they take. What they are
// in TBEL, whose engine computes them with Java's digits, stands behind.
var functions = table{
	"ln", "1Math.log(msg.a)", "log", "1Math.log(msg.a)", "lg", "1Math.log10(msg.a)", "log10", "1Math.log10(msg.a)",
	"log2", "1Math.log(msg.a) / Math.log(2.0)", "log1p", "1Math.log1p(msg.a)",
	"logab", "2Math.log(msg.b) / Math.log(msg.a)", "sin", "1Math.sin(msg.a)", "cos", "1Math.cos(msg.a)", "tan", "1Math.tan(msg.a)",
	"cot", "1 1.0 / Math.tan(msg.a)", "asin", "1Math.asin(msg.a)", "acos", "1Math.acos(msg.a)", "atan", "1Math.atan(msg.a)",
	"sinh", "1Math.sinh(msg.a)", "cosh", "1Math.cosh(msg.a)", "tanh", "1Math.tanh(msg.a)", "abs", "1Math.abs(msg.a)",
	"sqrt", "1Math.sqrt(msg.a)", "cbrt", "1Math.cbrt(msg.a)", "exp", "1Math.exp(msg.a)", "expm1", "1Math.expm1(msg.a)",
	"ceil", "1Math.ceil(msg.a)", "floor", "1Math.floor(msg.a)", "signum", "1Math.signum(msg.a)", "pow", "2Math.pow(msg.a, msg.b)",
}

// constants of custom functions.
var constants = table{"pi", "3.141592653589793", "π", "3.141592653589793", "e", "2.718281828459045", "φ", "1.61803398874"}

type expressionParser struct {
	s    string
	i    int
	args []string
	err  error
}

func parseExpression(s string, args []string) (*expression, error) {
	if len(s) > maxExpression {
		return nil, fault("the custom function is longer than 1024 bytes")
	}
	p := &expressionParser{s: s, args: args}
	x := p.sum()
	if p.at() != 0 {
		p.bad()
	}
	return x, p.err
}

func (p *expressionParser) bad() *expression {
	if p.err == nil {
		p.err = errorText("Unknown function, variable or operator at pos " + decimal(int64(p.i)) +
			" in expression '" + shortened(p.s) + "'")
	}
	p.i = len(p.s)
	return &expression{op: "number", arg: -1}
}

//go:noinline
func (p *expressionParser) at() byte {
	for p.i < len(p.s) && p.s[p.i] <= ' ' {
		p.i++
	}
	if p.i == len(p.s) {
		return 0
	}
	c := p.s[p.i]
	switch c { // all brackets are the same
	case '[', '{':
		c = '('
	case ']', '}':
		c = ')'
	}
	return c
}

func (p *expressionParser) sum() *expression {
	x := p.product()
	for c := p.at(); c == '+' || c == '-'; c = p.at() {
		p.i++
		x = &expression{op: string(c), of: []*expression{x, p.product()}, arg: -1}
	}
	return x
}

func (p *expressionParser) product() *expression {
	x := p.unary()
	for {
		c := p.at()
		switch {
		case c == '*' || c == '/' || c == '%':
			p.i++
		case c == 0 || strings.IndexByte("+-,)^<>=!&|?:;", c) >= 0:
			return x
		default:
			c = '*' // 2x, 2(x+y), (x+y)(z)
		}
		x = &expression{op: string(c), of: []*expression{x, p.unary()}, arg: -1}
	}
}

func (p *expressionParser) unary() *expression {
	switch p.at() {
	case '-':
		p.i++
		return &expression{op: "neg", of: []*expression{p.unary()}, arg: -1}
	case '+':
		p.i++
		return p.unary()
	}
	x := p.primary()
	if p.at() == '^' {
		p.i++
		return &expression{op: "^", of: []*expression{x, p.unary()}, arg: -1}
	}
	return x
}

func (p *expressionParser) primary() *expression {
	c := p.at()
	if c == '(' {
		p.i++
		x := p.sum()
		if p.at() != ')' {
			return p.bad()
		}
		p.i++
		return x
	}
	start := p.i
	if c >= '0' && c <= '9' || c == '.' {
		for p.i < len(p.s) && (p.s[p.i] >= '0' && p.s[p.i] <= '9' || p.s[p.i] == '.') {
			p.i++
		}
		if j := p.i + 1; j < len(p.s) && (p.s[p.i] == 'e' || p.s[p.i] == 'E') {
			if p.s[j] == '-' || p.s[j] == '+' {
				j++
			}
			if j < len(p.s) && p.s[j] >= '0' && p.s[j] <= '9' {
				for p.i = j; p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9'; {
					p.i++
				}
			}
		}
		f, err := strconv.ParseFloat(p.s[start:p.i], 64)
		if err != nil {
			return p.bad()
		}
		return &expression{op: "number", value: f, arg: -1}
	}
	end := start
	for end < len(p.s) && (p.s[end] == '_' || p.s[end] >= 0x80 || isLetter(p.s[end]) || end > start && p.s[end] >= '0' && p.s[end] <= '9') {
		end++
	}
	for ; end > start; end-- { // the longest name that is known
		name := p.s[start:end]
		for i, arg := range p.args {
			if arg == name {
				p.i = end
				return &expression{op: "arg", arg: i}
			}
		}
		if text := constants.find(name); text != "" {
			f, _ := strconv.ParseFloat(text, 64)
			p.i = end
			return &expression{op: "number", value: f, arg: -1}
		}
		if functions.find(name) != "" {
			p.i = end
			return p.call(name)
		}
	}
	return p.bad()
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (p *expressionParser) call(name string) *expression {
	x := &expression{op: name, arg: -1}
	for c := byte('('); p.at() == c; c = ',' {
		p.i++
		x.of = append(x.of, p.sum())
	}
	if p.at() != ')' || len(x.of) != int(functions.find(name)[0]-'0') {
		return p.bad()
	}
	p.i++
	return x
}

var errZero = errorText("Division by zero!")

// value computes an expression.
func (x *expression) compute(args []float64) (float64, error) {
	var in [2]float64
	for i, o := range x.of {
		f, err := o.compute(args)
		if err != nil {
			return 0, err
		}
		in[i] = f
	}
	a, b := in[0], in[1]
	switch x.op {
	case "number":
		return x.value, nil
	case "arg":
		return args[x.arg], nil
	case "neg":
		return -a, nil
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/", "%":
		if b == 0 {
			return 0, errZero
		}
		if x.op == "%" {
			return math.Mod(a, b), nil
		}
		return a / b, nil
	case "^":
		return formula("Math.pow(msg.a, msg.b)", a, b)
	}
	return formula(functions.find(x.op)[1:], a, b)
}

// formulas are the compiled formulas of math nodes; there are some forty.
var formulas struct {
	sync.Mutex
	of map[string]*script.Program
}

// formula computes a formula of TBEL with the doubles msg.a and msg.b; not a number if one of
// them is none.
func formula(text string, a, b float64) (float64, error) {
	v, err := calculate(text, a, b, nil)
	if v == nil {
		return math.NaN(), err
	}
	return v.Number(), nil
}

// calculate runs an expression of TBEL with the doubles msg.a and msg.b, and metadata.
func calculate(text string, a, b float64, metadata []script.Pair) (*script.Value, error) {
	lock(&formulas.Mutex)
	p := formulas.of[text]
	if p == nil {
		var err error
		if p, err = script.Compile(script.TBEL, "return "+text+";", script.Arguments); err != nil {
			unlock(&formulas.Mutex)
			return nil, err
		}
		if formulas.of == nil {
			formulas.of = make(map[string]*script.Program)
		}
		formulas.of[text] = p
	}
	unlock(&formulas.Mutex)
	if x := a - a + b - b; x != x {
		return nil, nil
	}
	in := appendDouble(addText(nil, `{"a":`), a)
	in = appendDouble(addText(in, `,"b":`), b)
	d := new(script.Doc)
	if err := d.Parse(string(addByte(in, '}'))); err != nil {
		return nil, err
	}
	return p.Run(script.Env{}, script.Args{Msg: d, Metadata: metadata})
}
