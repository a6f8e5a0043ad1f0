package rules

import (
	"math"
	"strings"
)

type search struct {
	root *tree
	seen int
}

// find is what the path leads to.
func (p path) find(root *tree) (*tree, error) {
	s := &search{root: root}
	list, definite, err := s.walk(p, root)
	switch {
	case err != nil:
		return nil, err
	case definite && len(list) == 1:
		return list[0], nil
	case definite:
		return nil, fault("No results for path")
	}
	return &tree{kind: isList, items: list}, nil
}

func (s *search) walk(p path, from *tree) (list []*tree, definite bool, err error) {
	list, definite = []*tree{from}, true
	for i := range p {
		part := p[i]
		var next []*tree
		if part.kind == byFunction {
			if !definite || i != len(p)-1 {
				return nil, false, fault("Aggregation function attempted to calculate value using empty array")
			}
			v, err := apply(part.names[0], list[0])
			return []*tree{v}, true, err
		}
		for _, t := range list {
			found, ok := s.step(part, t)
			if !ok && definite {
				return nil, false, fault("No results for path: missing property or index")
			}
			if ok && definite && part.kind == byIndex && len(part.indexes) == 1 && len(found) == 0 {
				if i < len(p)-1 {
					return nil, false, fault("No results for path: index out of range")
				}
				found = []*tree{{}} // as the server gives it
			}
			next = append(next, found...)
			if s.seen += len(found) + 1; s.seen > maxFound {
				return nil, false, fault("the JSON path looks at more than 100000 values")
			}
		}
		definite = definite && (part.kind == byName || part.kind == byIndex && len(part.indexes) == 1)
		list = next
	}
	return list, definite, nil
}

// step finds what a part of a path leads to; ok is false where there is nothing to look at.
func (s *search) step(part *part, t *tree) (found []*tree, ok bool) {
	switch part.kind {
	case byName:
		if len(part.names) == 1 {
			v := t.get(part.names[0])
			if v == nil {
				return nil, false
			}
			return []*tree{v}, true
		}
		if t.kind != isObject {
			return nil, false
		}
		some := &tree{kind: isObject}
		for _, name := range part.names {
			if v := t.get(name); v != nil {
				some.set(name, v)
			}
		}
		return []*tree{some}, true
	case byIndex:
		if t.kind != isList {
			return nil, false
		}
		for _, n := range part.indexes {
			if n < 0 {
				n += len(t.items)
			}
			if n >= 0 && n < len(t.items) {
				found = addTree(found, t.items[n])
			}
		}
		return found, true
	case bySlice:
		if t.kind != isList {
			return nil, false
		}
		from, to := 0, len(t.items)
		if part.from != nil {
			from = *part.from
		}
		if part.to != nil {
			to = *part.to
		}
		if from < 0 {
			from = max(0, from+len(t.items))
		}
		if to < 0 {
			to += len(t.items)
		}
		if to = min(to, len(t.items)); from < to {
			found = t.items[from:to]
		}
		return found, true
	case byAll:
		return t.items, true
	case byDepth:
		return s.below(nil, t), true
	}
	if t.kind == isObject {
		if s.holds(part.filter, t) {
			found = []*tree{t}
		}
		return found, true
	}
	for _, item := range t.items {
		if s.holds(part.filter, item) {
			found = addTree(found, item)
		}
	}
	return found, true
}

// below adds a value and all lists and objects in it, each in front of what is in it.
func (s *search) below(found []*tree, t *tree) []*tree {
	if len(found) > maxFound {
		return found
	}
	found = addTree(found, t)
	for _, item := range t.items {
		if item.kind >= isList {
			found = s.below(found, item)
		}
	}
	return found
}

// apply computes a function of a path.
func apply(name string, t *tree) (*tree, error) {
	switch {
	case is(name, "length") || is(name, "size"):
		if t.kind < isList {
			return &tree{}, nil
		}
		return wholeTree(int64(len(t.items))), nil
	case is(name, "keys"):
		out := &tree{kind: isList}
		for _, key := range t.keys {
			out.items = addTree(out.items, textTree(key))
		}
		return out, nil
	}
	if t.kind != isList || len(t.items) == 0 {
		return nil, fault("Aggregation function attempted to calculate value using empty array")
	}
	switch {
	case is(name, "first"):
		return t.items[0], nil
	case is(name, "last"):
		return t.items[len(t.items)-1], nil
	}
	f, ok := statistic(t.items, strings.ToUpper(name))
	if !ok {
		return nil, fault("Aggregation function attempted to calculate value using empty array")
	}
	return &tree{kind: isNumber, text: string(appendDouble(nil, f))}, nil
}

// statistic is SUM, AVG, MIN, MAX or STDDEV of the numbers in a list; ok is false if there are
// none, or how is another word.
func statistic(list []*tree, how string) (f float64, ok bool) {
	sum, squares, low, high, n := 0.0, 0.0, math.Inf(1), math.Inf(-1), 0.0
	for _, item := range list {
		if f, ok := item.number(); ok && item.kind == isNumber {
			sum, squares, low, high = sum+f, squares+f*f, math.Min(low, f), math.Max(high, f)
			n++
		}
	}
	switch {
	case is(how, "SUM"):
	case is(how, "AVG"):
		sum /= n
	case is(how, "MIN"):
		sum = low
	case is(how, "MAX"):
		sum = high
	case is(how, "STDDEV"):
		sum = math.Sqrt(squares/n - sum*sum/n/n)
	default:
		return 0, false
	}
	return sum, n > 0
}

// value is what a side of a comparison is; nil if it is not there.
func (s *search) value(c *condition, item *tree) *tree {
	if c.lit != nil {
		return c.lit
	}
	if c.root {
		item = s.root
	}
	list, definite, err := s.walk(c.what, item)
	if err != nil || definite && len(list) == 0 {
		return nil
	}
	if definite {
		return list[0]
	}
	return &tree{kind: isList, items: list}
}

func (s *search) holds(c *condition, item *tree) bool {
	switch c.op {
	case "":
		return s.value(c, item) != nil
	case "!":
		return !s.holds(c.of[0], item)
	case "&&":
		return s.holds(c.of[0], item) && s.holds(c.of[1], item)
	case "||":
		return s.holds(c.of[0], item) || s.holds(c.of[1], item)
	}
	a := s.value(c.of[0], item)
	if c.re != nil {
		return a != nil && a.kind == isText && c.re.MatchString(a.text)
	}
	b := s.value(c.of[1], item)
	switch c.op {
	case "in ", "nin ", "contains ":
		if c.op == "contains " {
			a, b = b, a
		}
		if a == nil || b == nil {
			return false
		}
		within := b.kind == isText && a.kind == isText && strings.Contains(b.text, a.text)
		for _, one := range b.items {
			within = within || alike(a, one)
		}
		return within != is(c.op, "nin ")
	case "==":
		return alike(a, b)
	case "!=":
		return !alike(a, b)
	}
	if a == nil || b == nil || a.kind != b.kind {
		return false
	}
	less, same := a.text < b.text, a.text == b.text
	if a.kind == isNumber {
		x, _ := a.number()
		y, _ := b.number()
		less, same = x < y, x == y
	}
	switch c.op {
	case "<":
		return less
	case "<=":
		return less || same
	case ">":
		return !less && !same
	}
	return !less
}

func alike(a, b *tree) bool {
	if a == nil || b == nil || a.kind != b.kind {
		return a == b
	}
	if a.kind == isNumber {
		x, _ := a.number()
		y, _ := b.number()
		return x == y
	}
	return a.String() == b.String()
}
