package rules

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

const (
	// maxDepth bounds how deep lists and objects of a JSON text are nested.
	maxDepth = 128
	// maxValues bounds the values of a JSON text: a tree takes some 100 bytes for each.
	maxValues = 200_000
	// fewKeys is up to how many keys an object is searched without an index.
	fewKeys = 16
)

var (
	errNoJSON = errorText("no JSON")
	errDeep   = errorText("JSON that is nested more than 128 deep")
	errValues = errorText("JSON of more than 200000 values")
)

type treeKind uint8

const (
	isNull treeKind = iota
	isFalse
	isTrue
	isNumber
	isText
	isList
	isObject
)

// tree is a JSON value whose members keep their order, and whose numbers keep their text. One
// goroutine changes a tree.
type tree struct {
	kind  treeKind
	text  string // of a text, without escapes; of a number as it stands
	keys  []string
	items []*tree
	index map[string]int // of keys, if they are many
}

// parseTree reads a JSON text. Of equal keys the last one counts, at the place of the first one.
func parseTree(s string) (*tree, error) {
	t, _, err := parseText(s)
	return t, err
}

// parseText is parseTree that also says where in s the error is.
func parseText(s string) (t *tree, bad int, err error) {
	p := parser{s: s}
	t = p.value(0)
	if p.space(); p.err == nil && p.i < len(s) {
		p.fail(errNoJSON)
	}
	if p.err != nil {
		return nil, p.bad, p.err
	}
	return t, 0, nil
}

// parseFile reads the JSON of a file that people made: editors put a mark in front of it, which
// counts for nothing. An error says in which line it is.
func parseFile(b []byte) (*tree, error) {
	s := strings.TrimPrefix(string(b), "\ufeff")
	t, bad, err := parseText(s)
	if err != nil {
		err = faultOn("line %: "+err.Error(), decimal(int64(1+strings.Count(s[:min(bad, len(s))], "\n"))))
	}
	return t, err
}

type parser struct {
	s   string
	i   int
	n   int // values so far
	bad int // where err is
	err error
}

//go:noinline
func (p *parser) fail(err error) *tree {
	if p.err == nil {
		p.err, p.bad = err, p.i
	}
	p.i = len(p.s)
	return nil
}

//go:noinline
func (p *parser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\n' || p.s[p.i] == '\t' || p.s[p.i] == '\r') {
		p.i++
	}
}

// at skips blanks and returns the next byte; 0 at the end.
//
//go:noinline
func (p *parser) at() byte {
	if p.space(); p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *parser) value(depth int) *tree {
	c := p.at()
	p.n++
	switch {
	case depth > maxDepth:
		return p.fail(errDeep)
	case p.n > maxValues:
		return p.fail(errValues)
	case c == '"':
		return textTree(p.quoted())
	case c == '{' || c == '[':
		return p.members(depth, c)
	}
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(" \n\t\r,]}:", p.s[p.i]) < 0 {
		p.i++
	}
	switch word := p.s[start:p.i]; {
	case is(word, "null"):
		return &tree{}
	case is(word, "true"):
		return &tree{kind: isTrue}
	case is(word, "false"):
		return &tree{kind: isFalse}
	case isNumeral(word):
		return &tree{kind: isNumber, text: word}
	}
	return p.fail(errNoJSON)
}

func (p *parser) members(depth int, open byte) *tree {
	t := &tree{kind: isList}
	end := byte(']')
	if open == '{' {
		t.kind, end = isObject, '}'
	}
	p.i++
	if p.at() == end {
		p.i++
		return t
	}
	for p.err == nil {
		key := ""
		if open == '{' {
			if p.at() != '"' {
				return p.fail(errNoJSON)
			}
			if key = p.quoted(); p.at() != ':' {
				return p.fail(errNoJSON)
			}
			p.i++
		}
		v := p.value(depth + 1)
		if p.err != nil {
			break
		}
		if open == '{' {
			t.set(key, v)
		} else {
			t.items = addTree(t.items, v)
		}
		c := p.at()
		p.i++
		if c == end {
			return t
		}
		if c != ',' {
			return p.fail(errNoJSON)
		}
	}
	return nil
}

// quoted reads the text at the quote p.i.
func (p *parser) quoted() string {
	end, escaped, ok := script.ScanText(p.s, p.i)
	if !ok {
		p.fail(errNoJSON)
		return ""
	}
	s := p.s[p.i+1 : end]
	if p.i = end + 1; escaped {
		return script.Unescape(s)
	}
	return s
}

// isNumeral reports whether s is a number by JSON's grammar.
func isNumeral(s string) bool {
	end, ok := script.ScanNumber(s, 0)
	return ok && end == len(s)
}

//go:noinline
func textTree(s string) *tree { return &tree{kind: isText, text: s} }

//go:noinline
func wholeTree(n int64) *tree { return &tree{kind: isNumber, text: decimal(n)} }

//go:noinline
func boolTree(b bool) *tree {
	if b {
		return &tree{kind: isTrue}
	}
	return &tree{kind: isFalse}
}

//go:noinline
func (t *tree) find(key string) int {
	if t.index != nil {
		if i, ok := t.index[key]; ok {
			return i
		}
		return -1
	}
	for i, k := range t.keys {
		if k == key {
			return i
		}
	}
	return -1
}

// get is the member of an object; nil if t is nil, no object or has no such member.
//
//go:noinline
func (t *tree) get(key string) *tree {
	if t == nil || t.kind != isObject {
		return nil
	}
	if i := t.find(key); i >= 0 {
		return t.items[i]
	}
	return nil
}

// under is what a path of keys with points between them leads to.
//
//go:noinline
func (t *tree) under(path string) *tree {
	for name := range strings.SplitSeq(path, ".") {
		t = t.get(name)
	}
	return t
}

func (t *tree) set(key string, v *tree) {
	if i := t.find(key); i >= 0 {
		t.items[i] = v
		return
	}
	if len(t.keys) == fewKeys {
		t.index = make(map[string]int)
		for i, k := range t.keys {
			t.index[k] = i
		}
	}
	if t.index != nil {
		t.index[key] = len(t.keys)
	}
	t.keys, t.items = addString(t.keys, key), addTree(t.items, v)
}

// keep removes the members for which stays is false.
func (t *tree) keep(stays func(key string) bool) {
	keys, items := t.keys, t.items
	t.keys, t.items, t.index = nil, nil, nil
	for i, k := range keys {
		if stays(k) {
			t.set(k, items[i])
		}
	}
}

//go:noinline
func (t *tree) null() bool { return t == nil || t.kind == isNull }

// scalar reports whether there is a value, and it has no members.
//
//go:noinline
func (t *tree) scalar() bool { return !t.null() && t.kind < isList }

// plain is a scalar as text: a text without its quotes, all else as JSON.
//
//go:noinline
func (t *tree) plain() string {
	if t != nil && t.kind == isText {
		return t.text
	}
	return t.String()
}

// number is a number, or a text that is one.
func (t *tree) number() (float64, bool) {
	if t == nil || t.kind != isNumber && t.kind != isText {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(t.text), 64)
	return f, err == nil
}

//go:noinline
func (t *tree) String() string { return string(t.appendJSON(nil)) }

// appendJSON writes t as a server does: whole numbers as they stand, others as Java prints a
// double.
func (t *tree) appendJSON(b []byte) []byte {
	if t == nil {
		return addText(b, "null")
	}
	switch t.kind {
	case isFalse:
		return addText(b, "false")
	case isTrue:
		return addText(b, "true")
	case isNumber:
		return appendNumber(b, t.text)
	case isText:
		return proto.AppendJSONString(b, t.text)
	case isList, isObject:
		brackets := "[]"
		if t.kind == isObject {
			brackets = "{}"
		}
		b = addByte(b, brackets[0])
		for i, item := range t.items {
			if i > 0 {
				b = addByte(b, ',')
			}
			if t.kind == isObject {
				b = addByte(proto.AppendJSONString(b, t.keys[i]), ':')
			}
			b = item.appendJSON(b)
		}
		return addByte(b, brackets[1])
	}
	return addText(b, "null")
}

func appendNumber(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			s = "0"
		}
		return addText(b, s)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return addText(b, s)
	}
	return appendDouble(b, f)
}

// AppendDouble appends a number as Java's Double.toString prints it, and as messages have it; NaN
// and infinities, of which JSON has none, as texts.
func AppendDouble(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(b, strings.Replace(strconv.FormatFloat(f, 'f', -1, 64), "Inf", "Infinity", 1))
	}
	return appendDouble(b, f)
}

// appendDouble prints f as Java's Double.toString does.
func appendDouble(b []byte, f float64) []byte {
	a, n, format := math.Abs(f), len(b), byte('f')
	if a != 0 && (a < 1e-3 || a >= 1e7) {
		format = 'E'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64) // in place: values of devices mostly are such numbers
	exponent := ""
	if i := bytes.IndexByte(b[n:], 'E'); i >= 0 {
		exponent, b = string(b[n+i+1:]), b[:n+i]
	}
	if bytes.IndexByte(b[n:], '.') < 0 {
		b = addText(b, ".0")
	}
	if exponent != "" {
		e, _ := strconv.Atoi(exponent)
		b = strconv.AppendInt(addByte(b, 'E'), int64(e), 10)
	}
	return b
}
