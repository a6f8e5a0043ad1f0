package script

import (
	"compress/flate"
	_ "embed"
	"io"
	"strings"
	"sync"
)

// builtin is a function of Go that sees its arguments as they are. It may keep no reference to
// args.
type builtin = func(r *run, args []*Value) *Value

// routine is something that a script can call and did not make: a function of Go, or one of the
// library, which is written in the language itself. It does not change but for proto.
type routine struct {
	_           [0]func() // never compared: that would be code for each such type
	least, most int8      // arguments of TBEL, the object of a method among them
	fn          any       // of Go, of a type that invoke knows; nil: of the library
	lib         *book     // of the library
	at          int       // where its parameters begin there
	once        sync.Once
	proto       *proto // compiled when it is first called
}

// book is the library of a language. A line that begins with a name begins a routine. Names are
// kind.name for methods, Class.name, new.Class, .name for functions, and $name for what only the
// library calls. Its functions count an eighth of a script's steps. A parameter with ? may be
// missing: it is null or undefined then. $n is the number of arguments, and $a as the last
// parameter the list of all others.
type book struct {
	lang  Language
	text  string
	once  sync.Once
	names map[string]*routine
}

// The library lies in library/*.txt; the program holds both texts without comments and packed.
//
//go:generate go test -run TestLibraryIsPacked -pack
//go:embed library/packed
var packed string

var books = [...]book{{lang: TBEL}, {lang: JavaScript}}

// table is natives. It is set here since these are initialised with functions that reach routineOf.
var table []native

func init() { table = natives[:] }

// routineOf finds a routine by its name; nil if there is none.
func routineOf(lang Language, name string) *routine {
	b := &books[lang]
	b.once.Do(b.read)
	return b.names[name]
}

// read unpacks the library and finds the names of the routines.
func (b *book) read() {
	all, err := io.ReadAll(flate.NewReader(strings.NewReader(packed)))
	if err != nil {
		panic(err) // a test has read it
	}
	text, script, _ := strings.Cut(string(all), "\x00")
	if b.text = text; b.lang == JavaScript {
		b.text = script
	}
	b.names = make(map[string]*routine, 400)
	for i := range table {
		if n := &table[i]; n.langs&(1<<b.lang) != 0 {
			b.names[n.name] = &routine{least: n.least, most: n.most, fn: n.fn}
		}
	}
	for at := 0; at < len(b.text); {
		if c := b.text[at]; c == '.' || c == '$' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			end := at + strings.IndexByte(b.text[at:], '(')
			b.names[b.text[at:end]] = &routine{lib: b, at: end}
		}
		at += strings.IndexByte(b.text[at:], '\n') + 1
	}
}

// code is the compiled function of a routine of the library.
//
//go:noinline
func (f *routine) code() *proto {
	f.once.Do(func() {
		p := &parser{lexer: lexer{src: f.lib.text, js: f.lib.lang == JavaScript, pos: f.at, lib: true}}
		p.advance()
		fn := p.function("")
		c := &compiler{lang: f.lib.lang, lib: true}
		f.proto = &proto{lib: true, least: fn.least}
		c.enter(nil)
		c.function(f.proto, c.f, fn.params, fn.body)
	})
	return f.proto
}

// kinds are the words before the point of the methods of each kind, in the order of the search.
var kinds = [...]string{
	Bool: "bool", Int: "number", Long: "number", Float: "number", Double: "number", Char: "", Text: "text",
	List: "grow list seq", Array: "list seq", Set: "set seq", Map: "map", Entry: "entry", Date: "date",
	Function: "function", Regexp: "regexp", Failure: "",
}

// methodOf finds a method of a kind; nil if there is none.
func methodOf(lang Language, k Kind, name string) *routine {
	if int(k) < len(kinds) {
		for _, word := range strings.Fields(kinds[k]) {
			if f := routineOf(lang, word+"."+name); f != nil {
				return f
			}
		}
	}
	return routineOf(lang, "any."+name)
}

// methods are the methods of one name, by kind. A call that knows its name finds them when it is
// compiled.
type methods [Class + 1]*routine

func methodsOf(lang Language, name string) (m *methods) {
	m = &methods{}
	for k := range m {
		m[k] = methodOf(lang, Kind(k), name)
	}
	return m
}

// invoke calls a routine. The common types of functions get their arguments converted, as the
// language does it; what they work on counts steps by its size.
func (r *run) invoke(f *routine, a []*Value) *Value {
	if f.fn == nil {
		return r.enter(f.code(), nil, a)
	}
	if r.lang == TBEL {
		need(a, int(f.least), int(f.most))
	}
	for _, v := range a {
		r.long(v)
	}
	switch fn := f.fn.(type) {
	case builtin:
		return fn(r, a)
	case func(string) string:
		return r.text(fn(r.textAt(a, 0)))
	case func(string) bool:
		return boolOf(fn(r.textAt(a, 0)))
	case func(string) int:
		return r.number(fn(r.textAt(a, 0)))
	case func(string, string) bool:
		s := r.textAt(a, 0)
		return boolOf(fn(s, r.textAt(a, 1)))
	case func(string, string) int:
		s := r.textAt(a, 0)
		return r.number(fn(s, r.textAt(a, 1)))
	case func(float64) float64:
		r.step(mathSteps)
		return doubleOf(fn(r.numberAt(a, 0)))
	case func(float64, float64) float64:
		r.step(mathSteps)
		x := r.numberAt(a, 0)
		return doubleOf(fn(x, r.numberAt(a, 1)))
	}
	panic(failed("a routine of an unknown type"))
}

// mathSteps is what a function of Math counts: without a floating point unit it takes as long as so
// many statements.
const mathSteps = 32

// arg is argument i, or undefined.
//
//go:noinline
func arg(a []*Value, i int) *Value {
	if i < len(a) {
		return a[i]
	}
	return undefined
}

// textAt is argument i as a text.
//
//go:noinline
func (r *run) textAt(a []*Value, i int) string {
	s := r.textOf(arg(a, i))
	r.step(len(s) >> 6)
	return s
}

// textOf is a value as the text that a function wants: null of TBEL is none.
//
//go:noinline
func (r *run) textOf(v *Value) string {
	if r.lang == JavaScript {
		return r.scriptText(v)
	}
	return r.argText(v)
}

//go:noinline
func (r *run) numberAt(a []*Value, i int) float64 {
	if r.lang == JavaScript {
		return scriptNumber(r, arg(a, i))
	}
	return argDouble(arg(a, i))
}

// intAt is argument i as a whole number; what is missing or no number counts as missing.
//
//go:noinline
func (r *run) intAt(a []*Value, i, missing int) int {
	v := arg(a, i)
	if v.k == Unset || v.k == Null && r.lang == TBEL {
		return missing
	}
	return int(toInt(r.numberAt(a, i)))
}

// number is a whole number as the language has it.
//
//go:noinline
func (r *run) number(n int) *Value {
	if r.lang == JavaScript {
		return doubleOf(float64(n))
	}
	return intOf(int32(n))
}

// none is what JavaScript calls undefined and TBEL null.
//
//go:noinline
func (r *run) none() *Value {
	if r.lang == JavaScript {
		return undefined
	}
	return null
}

// long counts steps for a long text that is to be read as a number, or looked through.
//
//go:noinline
func (r *run) long(v *Value) {
	if len(v.s) > 1<<10 {
		r.step(len(v.s) >> 6)
	}
}
