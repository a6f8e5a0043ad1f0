package script

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// maxMessage bounds the JSON text of the arguments together, in bytes (RULES.md 5.2).
	maxMessage = 100_000
	// maxNesting bounds how deep lists and maps of a JSON text are nested.
	maxNesting = 128
)

// Doc is a JSON text that is checked and divided into cells, but not built: a script that reads one
// key builds nothing. The zero Doc holds nothing. One goroutine parses a Doc at a time; once it is
// parsed, any number may run scripts on it, as long as nobody parses into it again.
type Doc struct {
	src   string
	cells []cell
}

// cell is one value of a Doc. Members of a list or map follow it; a key is a cell of its own before
// its value.
type cell struct {
	kind       cellKind
	start, end uint32 // in the text; of a string inside its quotes
	next       uint32 // the first cell that is no part of this value
}

type cellKind uint8

const (
	cellNull cellKind = iota
	cellTrue
	cellFalse
	cellNumber
	cellText   // without escapes
	cellEscape // a text with escapes
	cellList
	cellMap
)

// Parse reads a JSON text of at most 100,000 bytes and forgets what the Doc held before. The Doc
// keeps src. Numbers that are not JSON, unpaired brackets and texts after the value are errors.
func (d *Doc) Parse(src string) error {
	d.src, d.cells = src, d.cells[:0]
	if len(src) > maxMessage {
		return tooLong(len(src))
	}
	if cap(d.cells) == 0 {
		d.cells = make([]cell, 0, 2+2*min(strings.Count(src, ":"), 1024))
	}
	i, ok := d.value(skipBlanks(src, 0), 0)
	if ok {
		if i = skipBlanks(src, i); i == len(src) {
			return nil
		}
	}
	d.cells = d.cells[:0]
	return failedAt("no JSON at byte %", i)
}

// Load is Parse, but for a text that the Doc holds already.
func (d *Doc) Load(src string) error {
	if len(d.cells) > 0 && d.src == src {
		return nil
	}
	return d.Parse(src)
}

// Forget lets go of the text. Memory of few cells stays, for the next one.
func (d *Doc) Forget() {
	if cap(d.cells) > maxSpare {
		d.cells = nil
	}
	d.src, d.cells = "", d.cells[:0]
}

// maxSpare bounds the cells that a Doc without a text keeps; one is 16 bytes.
const maxSpare = 256

//go:noinline
func skipBlanks(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// value reads the value at i and returns the place behind it.
//
//go:noinline
func (d *Doc) value(i, depth int) (int, bool) {
	s := d.src
	if i >= len(s) || depth > maxNesting {
		return i, false
	}
	switch c := s[i]; {
	case c == '"':
		return d.text(i)
	case c == '{' || c == '[':
		return d.container(i, depth, c == '{')
	case c == 't' && hasPrefix(s[i:], "true"):
		return d.leaf(cellTrue, i, i+4), true
	case c == 'f' && hasPrefix(s[i:], "false"):
		return d.leaf(cellFalse, i, i+5), true
	case c == 'n' && hasPrefix(s[i:], "null"):
		return d.leaf(cellNull, i, i+4), true
	}
	j, ok := ScanNumber(s, i)
	if !ok {
		return i, false
	}
	return d.leaf(cellNumber, i, j), true
}

//go:noinline
func (d *Doc) leaf(kind cellKind, start, end int) int {
	d.cells = append(d.cells, cell{kind, uint32(start), uint32(end), uint32(len(d.cells) + 1)})
	return end
}

//go:noinline
func (d *Doc) text(i int) (int, bool) {
	end, escaped, ok := ScanText(d.src, i)
	if !ok {
		return end, false
	}
	kind := cellText
	if escaped {
		kind = cellEscape
	}
	d.leaf(kind, i+1, end)
	return end + 1, true
}

// ScanText finds the closing quote of the JSON text whose opening one is at i, and checks its
// escapes; escaped says whether there are any.
func ScanText(s string, i int) (end int, escaped, ok bool) {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i, escaped, true
		case c == '\\':
			escaped = true
			if i++; i >= len(s) {
				return i, false, false
			}
			if s[i] == 'u' {
				if i+4 >= len(s) {
					return i, false, false
				}
				if _, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err != nil {
					return i, false, false
				}
				i += 4
			} else if !hasByte(`"\/bfnrt`, s[i]) {
				return i, false, false
			}
		case c < ' ':
			return i, false, false
		}
	}
	return i, false, false
}

func (d *Doc) container(i, depth int, isMap bool) (int, bool) {
	s, at := d.src, len(d.cells)
	kind, closing := cellList, byte(']')
	if isMap {
		kind, closing = cellMap, '}'
	}
	d.leaf(kind, i, i)
	for i = skipBlanks(s, i+1); ; i = skipBlanks(s, i+1) {
		if i < len(s) && s[i] == closing && len(d.cells) == at+1 {
			break // empty
		}
		ok := false
		if isMap {
			if i >= len(s) || s[i] != '"' {
				return i, false
			}
			if i, ok = d.text(i); !ok {
				return i, false
			}
			if i = skipBlanks(s, i); i >= len(s) || s[i] != ':' {
				return i, false
			}
			i = skipBlanks(s, i+1)
		}
		if i, ok = d.value(i, depth+1); !ok {
			return i, false
		}
		if i = skipBlanks(s, i); i >= len(s) || s[i] != ',' && s[i] != closing {
			return i, false
		}
		if s[i] == closing {
			break
		}
	}
	d.cells[at].end, d.cells[at].next = uint32(i+1), uint32(len(d.cells))
	return i + 1, true
}

// ScanNumber finds the end of the number at i, by JSON's grammar.
func ScanNumber(s string, i int) (int, bool) {
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

// find is the cell of the value of a key of the map in cell at; 0 if there is none. Of equal keys
// the last one counts.
//
//go:noinline
func (d *Doc) find(at uint32, key string) uint32 {
	found := uint32(0)
	for i, end := at+1, d.cells[at].next; i < end; i = d.cells[i+1].next {
		k := &d.cells[i]
		if k.kind == cellText && d.src[k.start:k.end] == key || k.kind == cellEscape && d.unescape(k) == key {
			found = i + 1
		}
	}
	return found
}

// scalar is the value of a cell that is no list and no map.
func (d *Doc) scalar(at uint32, lang Language) Value {
	switch c := &d.cells[at]; c.kind {
	case cellTrue:
		return Value{k: Bool, n: 1}
	case cellFalse:
		return Value{k: Bool}
	case cellNumber:
		v := jsonNumber(d.src[c.start:c.end])
		if lang == JavaScript && v.k != Double {
			return Value{k: Double, n: math.Float64bits(float64(int64(v.n)))}
		}
		return v
	case cellText:
		return Value{k: Text, s: d.src[c.start:c.end]}
	case cellEscape:
		return Value{k: Text, s: d.unescape(c)}
	}
	return Value{k: Null}
}

// item is the same as a value to keep.
//
//go:noinline
func (d *Doc) item(at uint32, lang Language) *Value { return kept(d.scalar(at, lang)) }

// kept is a scalar as a value to keep.
//
//go:noinline
func kept(v Value) *Value {
	switch v.k {
	case Null:
		return null
	case Bool:
		return boolOf(v.n != 0)
	case Int:
		return intOf(int32(v.n))
	}
	return &Value{k: v.k, n: v.n, s: v.s}
}

// build makes the value of a cell, with every member. A map of TBEL has no member that is null.
func (d *Doc) build(r *run, at uint32, lang Language) *Value {
	c := &d.cells[at]
	switch c.kind {
	case cellList:
		n := 0
		for i := at + 1; i < c.next; i = d.cells[i].next {
			n++
		}
		r.use(objectSize + n*valueSize)
		items := make([]*Value, 0, n)
		for i := at + 1; i < c.next; i = d.cells[i].next {
			items = addValue(items, d.build(r, i, lang))
		}
		return listOf(items)
	case cellMap:
		n := 0
		for i := at + 1; i < c.next; i = d.cells[i+1].next {
			n++
		}
		r.use(objectSize + 2*n*valueSize)
		o := &object{keys: make([]*Value, 0, n), items: make([]*Value, 0, n)}
		for i := at + 1; i < c.next; i = d.cells[i+1].next {
			key := d.item(i, lang)
			switch v := d.build(r, i+1, lang); {
			case lang == JavaScript:
				o.putScript(key, v)
			case v.k != Null:
				o.put(key, v)
			default:
				o.remove(key)
			}
		}
		return &Value{k: Map, o: o}
	case cellEscape:
		r.use(int(c.end - c.start))
	}
	return d.item(at, lang)
}

func (d *Doc) unescape(c *cell) string { return Unescape(d.src[c.start:c.end]) }

// Unescape is what a JSON text between its quotes stands for; ScanText has checked it.
func Unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = addByte(b, s[i])
			continue
		}
		i++
		if at := strings.IndexByte("bfnrt", s[i]); at >= 0 {
			b = addByte(b, "\b\f\n\r\t"[at])
			continue
		}
		if s[i] != 'u' {
			b = addByte(b, s[i])
			continue
		}
		c := hexRune(s[i:])
		i += 4
		if utf16.IsSurrogate(c) && i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
			if pair := utf16.DecodeRune(c, hexRune(s[i+2:])); pair != utf8.RuneError {
				c = pair
				i += 6
			}
		}
		b = utf8.AppendRune(b, c)
	}
	return string(b)
}

// hexRune is the four digits behind a u.
func hexRune(s string) rune {
	n, _ := strconv.ParseUint(s[1:5], 16, 16)
	return rune(n)
}

// parseJSON is JSON.parse of both languages.
func parseJSON(r *run, a []*Value) *Value {
	if arg(a, 1).k > Null {
		panic(unsupported("a reviver of JSON.parse"))
	}
	s := r.textAt(a, 0)
	r.step(len(s) >> 4)
	r.use(len(s))
	var d Doc
	if err := d.Parse(s); err != nil {
		e := err.(*Error)
		if r.lang == JavaScript && e.Reason == Failed {
			panic(&thrownValue{failure("SyntaxError", "Unexpected token in JSON")})
		}
		panic(e)
	}
	return d.build(r, 0, r.lang)
}

// stringify is JSON.stringify of TBEL.
func stringify(r *run, a []*Value) *Value {
	w := writer{lang: TBEL, most: maxResult}
	return r.text(string(w.value(nil, a[0], 0)))
}
