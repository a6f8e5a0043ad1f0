package rules

import (
	"math"

	"edgesync/sync/rules/script"
)

// operations are those of a math node but CUSTOM, as functions of expressions: how many
// arguments, and the formula in TBEL (RULES.md 4.4).
var operations = table{
	"ADD", "2msg.a + msg.b", "SUB", "2msg.a - msg.b", "MULT", "2msg.a * msg.b", "DIV", "2msg.a / msg.b",
	"SIN", "1Math.sin(msg.a)", "SINH", "1Math.sinh(msg.a)", "COS", "1Math.cos(msg.a)", "COSH", "1Math.cosh(msg.a)",
	"TAN", "1Math.tan(msg.a)", "TANH", "1Math.tanh(msg.a)", "ACOS", "1Math.acos(msg.a)", "ASIN", "1Math.asin(msg.a)",
	"ATAN", "1Math.atan(msg.a)", "ATAN2", "2Math.atan2(msg.a, msg.b)", "EXP", "1Math.exp(msg.a)", "EXPM1", "1Math.expm1(msg.a)",
	"SQRT", "1Math.sqrt(msg.a)", "CBRT", "1Math.cbrt(msg.a)", "GET_EXP", "1", "HYPOT", "2Math.hypot(msg.a, msg.b)",
	"LOG", "1Math.log(msg.a)", "LOG10", "1Math.log10(msg.a)", "LOG1P", "1Math.log1p(msg.a)", "CEIL", "1Math.ceil(msg.a)",
	"FLOOR", "1Math.floor(msg.a)", "FLOOR_DIV", "2", "FLOOR_MOD", "2", "ABS", "1Math.abs(msg.a)", "MIN", "2Math.min(msg.a, msg.b)",
	"MAX", "2Math.max(msg.a, msg.b)", "POW", "2Math.pow(msg.a, msg.b)", "SIGNUM", "1Math.signum(msg.a)", "RAD",
	"1msg.a * 0.017453292519943295", "DEG", "1msg.a * 57.29577951308232",
}

// operate computes an operation. Division by zero is infinite.
func operate(op string, a, b float64) (float64, error) {
	switch op {
	case "GET_EXP":
		if a == 0 {
			return -1023, nil
		}
		_, e := math.Frexp(a)
		return float64(e - 1), nil
	case "FLOOR_DIV", "FLOOR_MOD":
		n, d := int64(a), int64(b)
		if d == 0 {
			return 0, fault("/ by zero")
		}
		q := n / d
		if n%d != 0 && (n < 0) != (d < 0) {
			q--
		}
		if op == "FLOOR_MOD" {
			return float64(n - q*d), nil
		}
		return float64(q), nil
	}
	return formula(operations.find(op)[1:], a, b)
}

// argument is one of a math node.
type argument struct {
	_                uncompared
	kind, key, scope string
	otherwise        *tree
	constant         float64
}

func (c *config) arguments() (args []argument, names []string) {
	list := c.t.get("arguments")
	if list.null() || list.kind != isList || len(list.items) > 16 {
		c.bad("arguments", "must be a list of at most 16")
		return nil, nil
	}
	for _, item := range list.items {
		s := &config{t: item}
		a := argument{kind: s.text("type"), key: s.text("key"), otherwise: item.get("defaultValue")}
		a.scope = s.scope("attributeScope", "SERVER_SCOPE")
		if a.kind == "CONSTANT" {
			f, ok := item.get("key").number()
			if a.constant = f; !ok {
				s.bad("key", "must be a number")
			}
		}
		if s.err != nil && c.err == nil {
			c.err = s.err
		}
		args, names = append(args, a), addString(names, s.text("name"))
	}
	return args, names
}

func (a *argument) value(r *round) (f float64, err error) {
	if a.kind == "CONSTANT" {
		return a.constant, nil
	}
	m := r.m
	key, _ := m.pattern(a.key)
	var v *tree
	what := "Message body"
	switch a.kind {
	case "MESSAGE_BODY":
		v = m.object().get(key)
	case "MESSAGE_METADATA":
		if what = "Message metadata"; m.hasMeta(key) {
			v = textTree(m.meta(key))
		}
	default:
		scope := a.scope
		if what = "the entity"; a.kind == "TIME_SERIES" {
			scope = ""
		}
		if s, ok := r.e.reg.Attribute(m.Originator, scope, key); ok {
			v, _ = parseTree(s.Value)
		}
	}
	if v.null() {
		if v = a.otherwise; v.null() {
			return 0, fault(what + " has no '" + shortened(key) + "'!")
		}
	}
	f, ok := v.number()
	if !ok {
		return 0, fault("Can't convert value '" + shortened(v.plain()) + "' to double!")
	}
	return f, nil
}

func makeMath(_ *node, c *config) work {
	op := c.text("operation")
	args, names := c.arguments()
	res := &config{t: c.t.get("result")}
	kind, keyPattern := res.text("type"), res.text("key")
	digits := res.size("resultValuePrecision", 2)
	scope := res.scope("attributeScope", "SERVER_SCOPE")
	body, metadata := res.flag("addToBody"), res.flag("addToMetadata")
	if res.err != nil && c.err == nil {
		c.err = res.err
	}
	var x *expression
	var broken error
	if op == "CUSTOM" {
		x, broken = parseExpression(c.text("customFunction"), names)
	} else if spec := operations.find(op); spec == "" || len(args) != int(spec[0]-'0') {
		c.bad("operation", "is unknown, or has too many or too few arguments")
	}
	whole := digits <= 0 || op == "CEIL" || op == "FLOOR" || op == "GET_EXP"
	return func(r *round) {
		if !r.check(broken) {
			return
		}
		in := make([]float64, max(2, len(args)))
		var err error
		for i := range args {
			if in[i], err = args[i].value(r); !r.check(err) {
				return
			}
		}
		var f float64
		if x != nil {
			f, err = x.compute(in)
		} else {
			f, err = operate(op, in[0], in[1])
		}
		if !r.check(err) {
			return
		}
		var text string
		switch {
		case whole:
			text = decimal(toLong(f))
		case math.IsNaN(f) || math.IsInf(f, 0):
			r.fail("the result is no number")
			return
		default:
			text = string(appendDouble(nil, rounded(f, digits)))
		}
		key, _ := r.m.pattern(keyPattern)
		if kind == "ATTRIBUTE" || kind == "TIME_SERIES" {
			v := &Values{Entity: r.m.Originator, Time: r.e.opt.Now(), Latest: true, History: true}
			v.Pairs = []script.Pair{{Key: key, Value: text}}
			if kind == "ATTRIBUTE" {
				v.Scope = scope
			}
			if !r.check(r.out.Save(v)) {
				return
			}
		}
		if kind == "MESSAGE_METADATA" || kind != "MESSAGE_BODY" && metadata {
			r.m.setMeta(key, text)
		}
		if kind == "MESSAGE_BODY" || kind != "MESSAGE_METADATA" && body {
			t := r.m.object()
			if t == nil {
				r.fail("Message body is not an object!")
				return
			}
			t.set(key, &tree{kind: isNumber, text: text})
			r.m.Data = t.String()
		}
		r.tell("Success")
	}
}

// toLong is f as a long of Java: the nearest one, 0 for NaN.
func toLong(f float64) int64 {
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}
