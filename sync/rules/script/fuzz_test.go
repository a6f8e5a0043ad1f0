package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

const fuzzMessage = `{"t":21.5,"i":7,"big":3000000000,"s":"abc","num":"42",` +
	`"b":true,"e":"","o":{"p":{"q":5},"x":"y"},"l":[3,1,2],"lo":[{"k":"a","v":1}]}`

var fuzzMetadata = []Pair{{Key: "deviceName", Value: "th-1"}, {Key: "ts", Value: "1767225600123"}}

func fuzzArgs(t testing.TB) Args {
	t.Helper()
	var d Doc
	if err := d.Parse(fuzzMessage); err != nil {
		t.Fatal(err)
	}
	return Args{Msg: &d, Metadata: fuzzMetadata, MsgType: "POST_TELEMETRY_REQUEST"}
}

// execute compiles and runs a text and fails the test where the engine itself failed.
func execute(t testing.TB, lang Language, source string) (text string, err error) {
	t.Helper()
	defer func() {
		if errors.Is(err, &Error{Reason: Internal}) {
			t.Fatalf("%v\n%s", err, source)
		}
	}()
	p, err := Compile(lang, source, Arguments)
	if err != nil {
		return "", err
	}
	v, err := p.Run(testClock, fuzzArgs(t))
	if err != nil {
		return "", err
	}
	b, err := lang.AppendJSON(nil, v, AsScript)
	if len(b) > maxResult+maxMemory {
		t.Fatalf("a result of %d bytes\n%s", len(b), source)
	}
	return string(b), err
}

// FuzzSource feeds any text to both languages. Nothing may fail inside the engine, and what runs
// runs within its bounds: an endless script would hang this target.
func FuzzSource(f *testing.F) {
	for _, name := range []string{"tbel.jsonl", "js.jsonl"} {
		for i, l := range corpus(f, name) {
			if i%10 == 0 {
				f.Add(l.Script)
			}
		}
	}
	f.Fuzz(func(t *testing.T, source string) {
		for _, lang := range []Language{TBEL, JavaScript} {
			execute(t, lang, source)
		}
	})
}

// FuzzWalker makes a TBEL script of the bytes and evaluates it twice, by the engine and by the
// walker over the tree as it was read: the results have to be equal.
func FuzzWalker(f *testing.F) {
	for i := range 64 {
		seed := make([]byte, 200)
		for j := range seed {
			seed[j] = byte((i + 1) * (j*j + 31*j + 7))
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		g := &generator{bytes: seed}
		compare(t, g.script())
	})
}

// compare runs one script both ways.
func compare(t testing.TB, source string) {
	t.Helper()
	got, err := execute(t, TBEL, source)
	v, walkErr := walk(source, testClock, fuzzArgs(t))
	want := ""
	if walkErr == nil {
		b, err := TBEL.AppendJSON(nil, v, AsScript)
		want, walkErr = string(b), err
	}
	limit := &Error{Reason: Limit}
	if errors.Is(err, limit) || errors.Is(walkErr, limit) {
		return // they count differently
	}
	if errors.Is(walkErr, &Error{Reason: Internal}) {
		t.Fatalf("the walker: %v\n%s", walkErr, source)
	}
	if (err != nil) != (walkErr != nil) || err == nil && got != want {
		t.Fatalf("engine: %s %v\nwalker: %s %v\n%s", got, err, want, walkErr, source)
	}
}

// TestWalkerOnCorpus holds the walker itself against the corpus: it is no judge otherwise.
func TestWalkerOnCorpus(t *testing.T) {
	for _, l := range corpus(t, "tbel.jsonl") {
		var d Doc
		if err := d.Parse(string(l.Msg)); err != nil {
			t.Fatal(err)
		}
		args := Args{Msg: &d, Metadata: pairs(t, l.Metadata), MsgType: l.MsgType}
		p, err := Compile(TBEL, l.Script, Arguments)
		if err != nil {
			continue
		}
		got, err := p.Run(testClock, args)
		want, walkErr := walk(l.Script, testClock, args)
		if errors.Is(err, &Error{Reason: Limit}) {
			continue
		}
		if (err != nil) != (walkErr != nil) {
			t.Errorf("%d: engine %v, walker %v\n%s", l.N, err, walkErr, l.Script)
		} else if err == nil {
			a, _ := TBEL.AppendJSON(nil, got, AsScript)
			b, _ := TBEL.AppendJSON(nil, want, AsScript)
			if string(a) != string(b) {
				t.Errorf("%d: engine %s, walker %s\n%s", l.N, a, b, l.Script)
			}
		}
	}
}

// generator makes scripts of bytes: the same bytes always make the same script.
type generator struct {
	bytes []byte
	loops int
}

func (g *generator) pick(n int) int {
	if len(g.bytes) == 0 {
		return 0
	}
	b := g.bytes[0]
	g.bytes = g.bytes[1:]
	return int(b) % n
}

func (g *generator) of(list ...string) string { return list[g.pick(len(list))] }

func (g *generator) script() string {
	var b strings.Builder
	b.WriteString("var a = 1; var b = msg.t; var c = msg.l; var m = {};\n")
	b.WriteString("function f(x, y) { " + g.statements(1) + " return x + a; }\n")
	b.WriteString("function h(x) { if (x > 0) { return h(x - 1) + 1; } " + g.statements(1) + " }\n")
	for range 1 + g.pick(6) {
		b.WriteString(g.statement(3) + "\n")
	}
	b.WriteString("return [a, b, c, m, msg, metadata, " + g.paren(2) + "];")
	return b.String()
}

func (g *generator) statements(depth int) string {
	s := ""
	for range g.pick(3) {
		s += g.statement(depth) + " "
	}
	return s
}

func (g *generator) statement(depth int) string {
	if depth == 0 {
		return g.of("a", "b", "d") + " = " + g.expr(1) + ";"
	}
	switch g.pick(12) {
	case 0:
		return "var " + g.of("a", "b", "c", "d", "e") + " = " + g.expr(depth) + ";"
	case 1:
		return g.of("a", "b", "d", "m.k", "m['k']", "msg.n", "msg.t", "c[0]", "metadata.x") + " " +
			g.of("=", "+=", "-=", "*=") + " " + g.expr(depth) + ";"
	case 2:
		return "if (" + g.condition(depth) + ") { " + g.statements(depth-1) + "} else { " + g.statements(depth-1) + "}"
	case 3:
		return "if (" + g.condition(depth) + ") " + g.statement(depth-1)
	case 4:
		g.loops++
		i := fmt.Sprintf("i%d", g.loops)
		return fmt.Sprintf("for (var %s = 0; %s < %d; %s++) { %s%s}", i, i, 1+g.pick(4), i, g.statements(depth-1), g.of("",
			"if (a > 3) { break; } ", ""))
	case 5:
		return "foreach (" + g.of("e", "x") + " : " + g.of("c", "msg.l", "m", "msg.o", "msg.lo", "msg") + ") { " +
			g.statements(depth-1) + "}"
	case 6:
		return "switch (" + g.expr(1) + ") { case " + g.expr(1) + ": " + g.statements(depth-1) + " return " + g.expr(1) +
			"; default: " + g.statements(depth-1) + "}"
	case 7:
		return g.of("a++;", "a--;", "++a;", "b++;")
	case 8:
		g.loops++
		n := fmt.Sprintf("n%d", g.loops)
		return "var " + n + " = 0; do { " + n + "++; " + g.statements(depth-1) + "} " + g.of("while ("+n+" < 3);", "until ("+n+" > 2);")
	case 9:
		return g.call(depth) + ";"
	case 10:
		return "return " + g.expr(depth) + ";"
	}
	return "d = " + g.expr(depth) + ";"
}

func (g *generator) condition(depth int) string {
	switch g.pick(5) {
	case 0:
		return g.paren(depth) + " " + g.of("<", ">", "<=", ">=", "==", "!=") + " " + g.paren(depth)
	case 1:
		return "msg.b && " + g.paren(0) + " != null"
	case 2:
		return "!msg.b || " + g.paren(0) + " == " + g.paren(0)
	case 3:
		return g.of("true", "msg.b", "a > 1", "(d = a) > 2")
	}
	return g.paren(0) + " != null"
}

// paren is an expression in brackets: the rows of literals have rules of their own.
func (g *generator) paren(depth int) string { return "(" + g.expr(depth) + ")" }

func (g *generator) expr(depth int) string {
	if depth == 0 {
		return g.of("a", "b", "c", "m", "d", "e", "1", "2.5", "3000000000", "'x'", "'7'", "null", "true", "msg.t", "msg.i", "msg.big",
			"msg.num", "msg.nope", "msg.o.p.q", "msg.o.?z.q", "msg['s']", "metadata.ts", "metadata.deviceName", "msgType", "msg.size",
			"msg.l.length", "[]", "0.1", "x")
	}
	switch g.pick(9) {
	case 0, 1:
		return g.paren(depth-1) + " " + g.of("+", "-", "*", "/", "%", "**", "&", "|", "^", "<<", ">>", ">>>") + " " + g.paren(depth-1)
	case 2:
		return g.condition(depth-1) + " ? " + g.paren(depth-1) + " : " + g.paren(depth-1)
	case 3:
		return "[" + g.paren(depth-1) + ", " + g.paren(depth-1) + "]"
	case 4:
		return "{k: " + g.paren(depth-1) + ", 'q': " + g.paren(depth-1) + "}"
	case 5:
		return g.call(depth - 1)
	case 6:
		return g.of("c", "msg.l", "msg.o") + "[" + g.paren(depth-1) + "]"
	case 7:
		return "-" + g.paren(depth-1)
	}
	return g.expr(depth - 1)
}

func (g *generator) call(depth int) string {
	x := g.paren(depth)
	return g.of("f("+x+", "+g.paren(0)+")", "h(3)", "f("+x+")", "c.push("+x+")", "m.put('z', "+x+")", "msg.keys()", "c.size()",
		"parseInt("+x+")", "Math.max("+x+", 2)", "('' + "+x+").length()", "toFlatMap(msg)", "JSON.stringify("+x+")", "m.remove('k')",
		"msg.containsKey('t')", "msg.entrySet()", "($ in c if $ != null)")
}

// FuzzMessage holds the parser of messages against encoding/json: the same texts are JSON, and what
// is built prints as the same value.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		fuzzMessage, cornerMessage, `[1,-0,1e5,1.50,"a\u00e9\ud83d\ude00\"",true,null,{"a":{"b":[]}}]`, `{"a":1,"a":2}`, `""`,
		"[[[]]]", "1e999", `"\ud800"`,
	} {
		f.Add(s)
	}
	p, err := Compile(JavaScript, "return msg;", Arguments)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Doc
		if err := d.Parse(s); (err == nil) != json.Valid([]byte(s)) {
			if errors.Is(err, &Error{Reason: Limit}) || strings.Count(s, "[")+strings.Count(s, "{") > maxNesting {
				return
			}
			t.Fatalf("%q: %v", s, err)
		} else if err != nil || !utf8.ValidString(s) {
			return
		}
		v, err := p.Run(testClock, Args{Msg: &d})
		if err != nil {
			t.Fatal(err)
		}
		b, err := JavaScript.AppendJSON(nil, v, AsScript)
		var got, want any
		if err != nil || json.Unmarshal(b, &got) != nil {
			t.Fatalf("%q gives %s, %v", s, b, err)
		}
		if json.Unmarshal([]byte(s), &want) != nil {
			return // a number beyond float64
		}
		if !reflect.DeepEqual(got, want) && !strings.Contains(s, `\u`) { // lone surrogates differ
			t.Fatalf("%q gives %s", s, b)
		}
	})
}
