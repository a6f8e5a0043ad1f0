package rules

import (
	"math"
	"reflect"
	"strings"
)

// operations are those of a math node that custom functions do not have by their names, as these
// are written: how many arguments, and the formula in TBEL (RULES.md 4.4).
var operations = table{
	"ADD", "2msg.a + msg.b", "SUB", "2msg.a - msg.b", "MULT", "2msg.a * msg.b", "DIV", "2msg.a / msg.b",
	"ATAN2", "2Math.atan2(msg.a, msg.b)", "GET_EXP", "1", "HYPOT", "2Math.hypot(msg.a, msg.b)", "FLOOR_DIV", "2", "FLOOR_MOD", "2",
	"MIN", "2Math.min(msg.a, msg.b)", "MAX", "2Math.max(msg.a, msg.b)",
	"RAD", "1msg.a * 0.017453292519943295", "DEG", "1msg.a * 57.29577951308232",
}

// operation is what stands in the tables for an operation; "" if it is unknown.
func operation(op string) string {
	if spec := operations.find(op); spec != "" {
		return spec
	}
	return functions.find(strings.ToLower(op))
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
		n, d := toLong(a), toLong(b)
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
	return formula(operation(op)[1:], a, b)
}

// argument is one of a math node.
type argument struct {
	_         uncompared
	Constant  bool   `conf:"type CONSTANT"`
	Body      bool   `conf:"type MESSAGE_BODY"`
	Metadata  bool   `conf:"type MESSAGE_METADATA"`
	Series    bool   `conf:"type TIME_SERIES"`
	Key       string `conf:"key"`
	Scope     scope  `conf:"attributeScope"`
	Name      string `conf:"name"`
	otherwise *tree
	constant  float64
}

func (f *mathNode) arguments(c *config) (names []string) {
	list := c.t.get("arguments")
	if list.null() || list.kind != isList || len(list.items) > 16 {
		c.bad("arguments", "must be a list of at most 16")
		return nil
	}
	for _, item := range list.items {
		s, a := c.part(item), &argument{otherwise: item.get("defaultValue")}
		s.fill(reflect.ValueOf(a).Elem())
		if a.Constant {
			var ok bool
			if a.constant, ok = item.get("key").number(); !ok {
				s.bad("key", "must be a number")
			}
		}
		f.args, names = append(f.args, a), addString(names, a.Name)
	}
	return names
}

func (a *argument) value(r *round) (f float64, err error) {
	if a.Constant {
		return a.constant, nil
	}
	m := r.m
	key, _ := m.pattern(a.Key)
	var v *tree
	what := "the entity"
	switch {
	case a.Body:
		t := m.object()
		if t == nil {
			return 0, fault(notObject)
		}
		what, v = "Message body", t.get(key)
	case a.Metadata:
		if what = "Message metadata"; m.hasMeta(key) {
			v = textTree(m.meta(key))
		}
	default:
		scope := string(a.Scope)
		if a.Series {
			scope = ""
		}
		if s, ok := r.e.reg.Attribute(&m.Originator, scope, key); ok {
			v, _ = parseTree(s.Value)
		}
	}
	if v.null() || (a.Body || a.Metadata) && v.kind == isText && trim(v.text) == "" {
		if v = a.otherwise; v.null() {
			return 0, fault(what + " has no '" + shortened(key) + "'!")
		}
	}
	f, ok := v.number()
	if !ok {
		err = faultOn("Can't convert value '%' to double!", shortened(v.plain()))
	}
	return f, err
}

type mathNode struct {
	Operation string `conf:"operation"`
	Custom    string `conf:"customFunction"`
	Result    struct {
		_          uncompared
		Attribute  bool   `conf:"type ATTRIBUTE"`
		Series     bool   `conf:"type TIME_SERIES"`
		Body       bool   `conf:"type MESSAGE_BODY"`
		Metadata   bool   `conf:"type MESSAGE_METADATA"`
		Key        string `conf:"key"`
		Digits     int    `conf:"resultValuePrecision 2"`
		Scope      scope  `conf:"attributeScope"`
		ToBody     bool   `conf:"addToBody"`
		ToMetadata bool   `conf:"addToMetadata"`
	} `conf:"result"`
	args   []*argument
	custom *expression
	broken error // of the custom function
	whole  bool
}

func (f *mathNode) prepare(_ *node, c *config) {
	op, names, to := f.Operation, f.arguments(c), &f.Result
	if is(op, "CUSTOM") {
		f.custom, f.broken = parseExpression(f.Custom, names)
	} else if spec := operation(op); spec == "" || len(f.args) != int(spec[0]-'0') {
		c.bad("operation", "is unknown, or has too many or too few arguments")
	}
	f.whole = to.Digits <= 0 || strings.Contains(" CEIL FLOOR GET_EXP ", " "+op+" ")
	body, metadata := to.Body, to.Metadata
	to.Metadata = metadata || !body && to.ToMetadata
	to.Body = body || !metadata && to.ToBody
}

func (f *mathNode) do(r *round) {
	if f.broken != nil {
		r.check(f.broken)
		return
	}
	in := make([]float64, max(2, len(f.args)))
	var err error
	for i, a := range f.args {
		if in[i], err = a.value(r); !r.check(err) {
			return
		}
	}
	var x float64
	if f.custom != nil {
		x, err = f.custom.compute(in)
	} else {
		x, err = operate(f.Operation, in[0], in[1])
	}
	if !r.check(err) {
		return
	}
	m, to := r.m, &f.Result
	text := decimal(toLong(x))
	if !f.whole || to.Series {
		if x-x != 0 {
			r.fail("the result is no number")
			return
		}
		if !f.whole {
			text = string(appendDouble(nil, rounded(x, to.Digits)))
		}
	}
	key, _ := m.pattern(to.Key)
	if to.Attribute || to.Series {
		v := &Values{Entity: m.Originator, Time: r.e.opt.Now(), Latest: true, History: true, Pairs: addPair(nil, key, text)}
		if to.Attribute {
			v.Scope = string(to.Scope)
		} else { // a real edge stores all digits of a series
			v.Pairs[0].Value = string(appendDouble(nil, x))
		}
		if !r.check(r.out.Save(v)) {
			return
		}
	}
	if to.Metadata {
		m.setMeta(key, text)
	}
	if to.Body {
		t := m.object()
		if t == nil {
			r.fail(notObject)
			return
		}
		t.set(key, &tree{kind: isNumber, text: text})
		m.Data = t.String()
	}
	r.tell("Success")
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
