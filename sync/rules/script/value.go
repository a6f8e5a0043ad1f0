package script

import (
	"math"
	"strings"
	"unicode/utf16"
)

// Kind is the type of a Value. The number kinds are Java's: which one a number has decides how it
// is divided and how it is printed (RULES.md 5.4).
type Kind uint8

// The kinds of a Value.
const (
	Unset    Kind = iota // no value at all: a variable before its declaration, `undefined` of JavaScript
	Null                 // null
	Bool                 // true or false
	Int                  // 32 bits
	Long                 // 64 bits
	Float                // IEEE, 32 bits
	Double               // IEEE, 64 bits; every number of JavaScript
	Char                 // one UTF-16 unit of a text
	Text                 // a text
	List                 // a list that a script may change
	Array                // a list of fixed length: what split and hexToBytesArray give
	Set                  // a list without equals, in the order of insertion
	Map                  // keys and values in the order of insertion
	Entry                // one key and value of a Map
	Date                 // a moment
	Function             // a function of a JavaScript script
	Regexp               // a regular expression of a JavaScript script
	Failure              // an Error of a JavaScript script
	Class                // a name that only carries functions, as Math
)

var kindNames = [...]string{
	"undefined", "null", "bool", "int", "long", "float", "double", "char", "string", "list", "list", "list", "map",
	"entry", "date", "function", "regexp", "error", "class",
}

// String is the name of the kind as edgesync rules eval prints it.
//
//go:noinline
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Value is one value of a script. It does not change, but for what a list, set, map or date holds.
// Scripts pass values by pointer: copies of so many words would double the code on a router.
type Value struct {
	_ [0]func() // never compared: that would be code for each such type
	s string
	o *object
	n uint64 // bits of a number, a char or a bool
	k Kind
}

// object is what the values of the kinds from List on hold.
type object struct {
	items []*Value         // of a list, array, set; the values of a map; the key and value of an entry
	keys  []*Value         // of a map, parallel to items
	index map[indexKey]int // from key to place, for maps above indexFrom keys; nil until it is needed
	text  string           // of a class its name, of a regexp its source
	date  moment           // of a date
	fn    *closure         // of a function
	re    *pattern         // of a regexp
	props *object          // of a function or a list of JavaScript: members beside the items
}

// indexFrom is the number of keys from which a map gets an index.
const indexFrom = 12

var (
	null      = &Value{k: Null}
	undefined = &Value{}
	yes       = &Value{k: Bool, n: 1}
	no        = &Value{k: Bool}
	// emptyValue is `empty` of TBEL: what stands left of == equals it if it holds nothing.
	emptyValue = &Value{k: Class, o: &object{}}
	ints       = smallInts()
)

// smallInts are the ints from 0 to 127, which need no memory of their own.
func smallInts() (list [128]Value) {
	for i := range list {
		list[i] = Value{k: Int, n: uint64(i)}
	}
	return list
}

//go:noinline
func boolOf(b bool) *Value {
	if b {
		return yes
	}
	return no
}

//go:noinline
func intOf(i int32) *Value {
	if uint32(i) < uint32(len(ints)) {
		return &ints[i]
	}
	return &Value{k: Int, n: uint64(int64(i))}
}

// javaByte marks, as its text, an int that is a byte in Java (RULES.md 5.4.12): it equals no int
// in a list, and divided by an int, or an int by it, it gives an int.
const javaByte = "byte"

//go:noinline
func longOf(i int64) *Value { return &Value{k: Long, n: uint64(i)} }

//go:noinline
func floatOf(f float32) *Value { return &Value{k: Float, n: math.Float64bits(float64(f))} }

//go:noinline
func doubleOf(f float64) *Value { return &Value{k: Double, n: math.Float64bits(f)} }

//go:noinline
func charOf(c uint16) *Value { return &Value{k: Char, n: uint64(c)} }

//go:noinline
func textOf(s string) *Value { return &Value{k: Text, s: s} }

//go:noinline
func listOf(vs []*Value) *Value { return &Value{k: List, o: &object{items: vs}} }

//go:noinline
func dateOf(m moment) *Value { return &Value{k: Date, o: &object{date: m}} }

//go:noinline
func newMap() *Value { return &Value{k: Map, o: &object{}} }

//go:noinline
func entryOf(key, v *Value) *Value { return &Value{k: Entry, o: &object{items: []*Value{key, v}}} }

// Kind is the type of the value.
//
//go:noinline
func (v *Value) Kind() Kind { return v.k }

// Bool is the value of a Bool, else false.
//
//go:noinline
func (v *Value) Bool() bool { return v.k == Bool && v.n != 0 }

// Integer is the value of an Int or a Long, else 0.
func (v *Value) Integer() int64 {
	if v.k == Int || v.k == Long || v.k == Char {
		return int64(v.n)
	}
	return 0
}

// Number is the value of any number kind, else NaN.
//
//go:noinline
func (v *Value) Number() float64 {
	switch v.k {
	case Int, Long, Char:
		return float64(int64(v.n))
	case Float, Double:
		return math.Float64frombits(v.n)
	}
	return math.NaN()
}

// Text is the text of a Text or a Char, else "".
//
//go:noinline
func (v *Value) Text() string {
	switch v.k {
	case Text:
		return v.s
	case Char:
		return string(utf16.Decode([]uint16{uint16(v.n)}))
	}
	return ""
}

// Len is the number of members of a list, array, set or map, else 0.
//
//go:noinline
func (v *Value) Len() int {
	if v.k >= List && v.k <= Map {
		return len(v.o.items)
	}
	return 0
}

// At is member i of a list, array or set, or the value of pair i of a map; i < Len.
func (v *Value) At(i int) *Value { return v.o.items[i] }

// Key is the key of pair i of a map; i < Len.
func (v *Value) Key(i int) string { return plainText(v.o.keys[i]) }

// Member is the value of a key of a map; ok is false where v is no map or has no such key.
func (v *Value) Member(key string) (member *Value, ok bool) {
	if v.k != Map {
		return nil, false
	}
	return v.o.get(textOf(key))
}

//go:noinline
func (v *Value) isNumber() bool { return v.k >= Int && v.k <= Double }

//go:noinline
func (v *Value) isList() bool { return v.k >= List && v.k <= Set }

//go:noinline
func (v *Value) isText() bool { return v.k == Text || v.k == Char }

// indexKey is a key by its content.
type indexKey struct {
	s string
	o *object
	n uint64
	k Kind
}

//go:noinline
func (v *Value) indexKey() indexKey { return indexKey{v.s, v.o, v.n, v.k} }

// find is the place of a key, or -1.
//
//go:noinline
func (o *object) find(key *Value) int {
	if len(o.keys) < indexFrom {
		for i := range o.keys {
			if k := o.keys[i]; k == key || k.k == key.k && k.n == key.n && k.s == key.s && k.o == key.o {
				return i
			}
		}
		return -1
	}
	if o.index == nil {
		o.index = make(map[indexKey]int, 2*len(o.keys))
		for i, k := range o.keys {
			o.index[k.indexKey()] = i
		}
	}
	if i, ok := o.index[key.indexKey()]; ok {
		return i
	}
	return -1
}

//go:noinline
func (o *object) get(key *Value) (*Value, bool) {
	if i := o.find(key); i >= 0 {
		return o.items[i], true
	}
	return nil, false
}

// put sets a key and says whether the key is new. The caller accounts for the memory.
//
//go:noinline
func (o *object) put(key, v *Value) bool {
	if i := o.find(key); i >= 0 {
		o.items[i] = v
		return false
	}
	if o.index != nil {
		o.index[key.indexKey()] = len(o.keys)
	}
	o.keys = append(o.keys, key)
	o.items = append(o.items, v)
	return true
}

//go:noinline
func (o *object) remove(key *Value) (*Value, bool) {
	i := o.find(key)
	if i < 0 {
		return nil, false
	}
	v := o.items[i]
	o.keys = append(o.keys[:i], o.keys[i+1:]...)
	o.items = append(o.items[:i], o.items[i+1:]...)
	o.index = nil
	return v, true
}

// units is the length of a text in UTF-16 units, as Java and JavaScript count.
//
//go:noinline
func units(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return longUnits(s)
		}
	}
	return n
}

func longUnits(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

//go:noinline
func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// unitAt is UTF-16 unit i of a text; i is inside.
func unitAt(s string, i int) uint16 {
	if ascii(s) {
		return uint16(s[i])
	}
	at := 0
	for _, c := range s {
		first, second := surrogates(c)
		switch {
		case at == i:
			return first
		case second != 0:
			if at++; at == i {
				return second
			}
		}
		at++
	}
	return 0
}

// surrogates are the UTF-16 units of a rune; second is 0 if one is enough.
func surrogates(c rune) (first, second uint16) {
	if c <= 0xFFFF {
		return uint16(c), 0
	}
	a, b := utf16.EncodeRune(c)
	return uint16(a), uint16(b)
}

// cut is the part of a text from unit a to unit b.
func cut(s string, a, b int) string {
	if ascii(s) {
		return s[a:b]
	}
	return string(utf16.Decode(utf16.Encode([]rune(s))[a:b]))
}

// byteIndex turns a place in UTF-16 units into a place in bytes; beyond the end it is the end.
//
//go:noinline
func byteIndex(s string, u int) int {
	if u <= 0 {
		return 0
	}
	n := 0
	for i, r := range s {
		if n >= u {
			return i
		}
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return len(s)
}

// blank reports whether a text is empty but for blanks, in Java's sense.
//
//go:noinline
func blank(s string) bool { return strings.TrimSpace(s) == "" }
