package rules

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
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
			if i != len(p)-1 {
				err = errEmpty
			}
			if p[0].kind == byDepth { // all that was found is one list, whose lengths are summed
				if is(part.names[0], "length") {
					n := int64(0)
					for _, t := range list {
						n += int64(len(t.items))
					}
					return []*tree{wholeTree(n)}, true, err
				}
				list, definite = []*tree{{kind: isList, items: list}}, true
			}
			for _, t := range list {
				if s.seen > maxFound {
					return nil, false, errSeen
				}
				s.seen += len(t.items)
				v, bad := apply(part.names[0], part.names[1], t)
				if next = addTree(next, v); bad != nil {
					err = bad
				}
			}
			return next, definite, err
		}
		for _, t := range list {
			if t.kind == isList && part.kind == byFilter && i > 0 && p[i-1].kind == byDepth {
				continue // its items come themselves
			}
			found, ok := s.step(part, t)
			if !ok && definite {
				return nil, false, fault("No results for path: missing property or index")
			}
			next = append(next, found...)
			if s.seen += len(found) + 1; s.seen > maxFound {
				return nil, false, errSeen
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
			found = addTree(found, t.at(n))
		}
		return found, true
	case bySlice:
		if t.kind != isList {
			return nil, false
		}
		from, to, n := 0, len(t.items), len(t.items)
		if part.from != nil {
			if from = *part.from; from < 0 && part.to == nil {
				from = max(0, from+n)
			}
		}
		if part.to != nil {
			if to = *part.to; to < 0 && part.from == nil {
				to += n
			}
		}
		// With both, a negative one counts from the end only now: [-1:1] is the last and the first.
		for i := max(from, -n-maxAbsent); i < min(to, n) && n > 0; i++ {
			found = addTree(found, t.at(i))
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
	return found, t.kind == isList
}

// maxAbsent bounds the nulls that a slice gives for what is in front of a list.
const maxAbsent = 1024

// at is an item of a list, from its end if i is negative; null where there is none.
func (t *tree) at(i int) *tree {
	if i < 0 {
		i += len(t.items)
	}
	if i < 0 || i >= len(t.items) {
		return &tree{}
	}
	return t.items[i]
}

const (
	errEmpty = errorText("Aggregation function attempted to calculate value using empty array")
	errSeen  = errorText("the JSON path looks at more than 100000 values")
)

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
func apply(name, argument string, t *tree) (*tree, error) {
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
		return nil, errEmpty
	}
	switch {
	case is(name, "first"):
		return t.items[0], nil
	case is(name, "last"):
		return t.items[len(t.items)-1], nil
	case is(name, "index"):
		n, err := strconv.Atoi(trim(argument))
		if n < 0 {
			n += len(t.items)
		}
		if err != nil || n < 0 || n >= len(t.items) {
			return nil, fault("Target index is larger than object count")
		}
		return t.items[n], nil
	}
	f, ok := statistic(t.items, strings.ToUpper(name))
	if !ok {
		return nil, errEmpty
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
	case opValue:
		return s.value(c, item) != nil
	case opNot:
		return !s.holds(c.of[0], item)
	case opAnd:
		return s.holds(c.of[0], item) && s.holds(c.of[1], item)
	case opOr:
		return s.holds(c.of[0], item) || s.holds(c.of[1], item)
	}
	a := s.value(c.of[0], item)
	if c.re != nil {
		return c.re.MatchString(plainText(a))
	}
	b := s.value(c.of[1], item)
	listed, both := a != nil && a.kind >= isText, a != nil && b != nil && a.kind == isList && b.kind == isList
	switch c.op {
	case opIn, opNotIn:
		return b != nil && b.kind >= isText && s.within(b, a) != (c.op == opNotIn)
	case opContains:
		return s.within(a, b)
	case opSize:
		want, ok := b.number()
		return ok && listed && a.kind != isObject && a.length() == int(want)
	case opEmpty:
		return b != nil && listed && (a.length() == 0) == (b.kind == isTrue)
	case opAny, opNone, opSubset:
		n := 0
		for i := 0; both && i < len(a.items); i++ {
			if s.within(b, a.items[i]) {
				n++
			}
		}
		if c.op == opSubset {
			return both && n == len(a.items)
		}
		return both && n > 0 == (c.op == opAny)
	case opEqual:
		return alike(a, b)
	case opUnequal:
		return !alike(a, b)
	case opSame, opOther:
		return (alike(a, b) && a.kind == b.kind) == (c.op == opSame)
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
	case opLess:
		return less
	case opAtMost:
		return less || same
	case opMore:
		return !less && !same
	}
	return !less
}

// length is how many members a list or an object has, or letters a text.
func (t *tree) length() int {
	if t.kind == isText {
		return utf8.RuneCountInString(t.text)
	}
	return len(t.items)
}

// plainText is what a pattern is compared with.
func plainText(t *tree) string {
	if !t.scalar() {
		return ""
	}
	return t.plain()
}

// within reports whether a value is in a list, or a text in a text; it counts what it looks at.
func (s *search) within(all, one *tree) bool {
	if all == nil || one == nil || s.seen > maxFound {
		return false
	}
	s.seen += len(all.items)
	for _, item := range all.items {
		if alike(one, item) {
			return true
		}
	}
	return all.kind == isText && one.kind == isText && strings.Contains(all.text, one.text)
}

// alike compares as == does: a number and a text that says it are the same, what is not there is
// like nothing.
func alike(a, b *tree) bool {
	switch {
	case a == nil || b == nil:
		return false
	case a.kind == isNumber && (b.kind == isNumber || b.kind == isText):
		x, _ := a.number()
		y, ok := b.number()
		return ok && x == y
	case a.kind != b.kind && (a.kind != isText || b.kind != isNumber):
		return false
	}
	return plainText(a) == plainText(b) && (a.kind < isList || a.String() == b.String())
}
