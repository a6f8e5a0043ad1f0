package script

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBounds drives a script into each bound: the error says so, and it cannot be caught.
func TestBounds(t *testing.T) {
	limit := "error: limit exceeded"
	check(t, TBEL, [][2]string{
		// steps
		{"while (true) { }", limit},
		{"for (;;) { }", limit},
		{"var i = 0; while (i < 20000) { i++; } return i;", "20000 :int"},
		{"var l = []; for (var i = 0; i < 1000; i++) { l.push(i); } var n = 0; while (true) { n = n + l.toSorted().size(); }", limit},
		{"var s = 'x'.repeat(100000); while (true) { s.contains('y'); }", limit},
		{"var l = [msg, msg, msg, msg]; l = [l, l, l, l]; l = [l, l, l, l]; while (true) { 'x'.endsWith(l); }", limit},
		{"while (true) { 'aaaaaaaaaaaaaaaaaaaaaaaa'.matches('(a+)+b'); }", limit},
		{"while (true) { metadata == metadata; }", limit},
		{"return 'a'.repeat(200000).replaceAll('a|b', 'c').length();", limit},
		{"var s = 'aé'.repeat(30000); while (true) { s.hashCode(); }", limit},
		{"var s = 'aé'.repeat(3000); while (true) { for (c : s) { } }", limit},
		{"while (true) { Math.asin(0.3); }", limit},
		{"var s = '1'.repeat(200000); for (i : 100) { s < 'a'; }", limit},
		{"var s = '1'.repeat(200000); for (i : 100) { (double) s; }", limit},
		{"var s = '1'.repeat(200000); for (i : 100) { Math.abs(s); }", limit},
		{"var s = '1'.repeat(200000); for (i : 100) { parseDouble(s); }", limit},
		{"var s = '1'.repeat(200000); for (i : 100) { [s].sort(); }", limit},
		{"while (true) { String.format('%5.2f %s', 1.5, 'x'); }", limit},
		{"while (true) { new Date('2026-01-01T00:00:00Z').toLocaleString('en-US'); }", limit},
		// depth
		{"function f() { return f(); } return f();", limit},
		{"function f(x) { return " + strings.Repeat("(", 60) + "f(x)" + strings.Repeat(")", 60) + "; } return f(1);", limit},
		// memory
		{"var x = 'a'; while (true) { x = x + x; }", limit},
		{"return 'abc'.repeat(1000000);", limit},
		{"return padStart('a', 2000000000, 'x');", limit},
		{"var l = []; while (true) { l.push('aaaaaaaaaaaaaaaa'); }", limit},
		{"var l = [1]; while (true) { l.addAll(l); }", limit},
		{"var m = {}; var i = 0; while (true) { m['k' + i] = i; i++; }", limit},
		{"var l = []; l.push('x'.repeat(1000)); while (true) { l = [l, l.toList()]; }", limit},
		{"return '%10000d'.replaceAll('d', 'd%10000d').length();", "14 :int"},
		{"var f = '%9999s'; f = f + f + f + f + f + f; f = f + f + f + f; f = f + f + f + f + f; return " +
			"String.format(f, 1).length();", "error: script failed"},
		{"return 'aaaaaaaaaa'.repeat(1000).replace('a', 'b'.repeat(1000)).length();", limit},
		// a text that grows piece by piece is no memory but its last state
		{"var s = ''; for (var i = 0; i < 900; i++) { s = s + 'ten bytes '; } return s.length();", "9000 :int"},
		// the result
		{"var l = []; l.push(l); return l;", limit},
		{"var l = []; l.push(l); return '' + l;", limit},
		{"var a = []; a.push(a); var b = []; b.push(b); return a == b;", limit},
		{"var s = 'x'.repeat(200000); return [s, s];", limit},
		{"var a = [0]; for (var i = 0; i < 30; i++) { a = [a, a]; } return a;", limit},
		// patterns
		{"return 'a'.matches('a{1000}b{1000}c{1000}');", "error: not supported"},
		{"return 'a'.matches('" + strings.Repeat("a", maxPattern+1) + "');", "error: not supported"},
	})
	check(t, JavaScript, [][2]string{
		{"try { while (true) {} } catch (e) { return 1; } finally { return 2; }", limit},
		{"function f() { return f(); } try { f(); } catch (e) { return 1; }", limit},
		{"var a = []; a[99999999] = 1; return 1;", limit},
		{"return new Array(100000000).length;", limit},
		{"var a = [1]; while (true) { a = a.concat(a); }", limit},
		{"var a = [1,2,3]; a.forEach(function f() { a.push(1); a.forEach(f); });", limit},
		{"return 'a'.padEnd(2e9);", limit},
		{"return [3,2,1].sort(function () { while (true) {} });", limit},
		{"var a = []; a[0] = a; return String(a);", limit},
		{"var a = []; a[0] = a; return JSON.stringify(a);", limit},
		{"var s = 'x'; return s.replace(/x/, function () { while (true) {} });", limit},
	})
}

// TestSourceBounds: what is too big or nested too deep does not compile, and says why.
func TestSourceBounds(t *testing.T) {
	for _, c := range []struct {
		source string
		reason Reason
	}{
		{"return '" + strings.Repeat("a", maxSource) + "';", Syntax},
		{"return " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000) + ";", Unsupported},
		{"return " + strings.Repeat("[", 20000) + ";", Unsupported},
		{"return " + strings.Repeat("-", 20000) + "1;", Unsupported},
		{strings.Repeat("if (true) ", 4000) + "1;", Unsupported},
		{strings.Repeat("if (true) {", 4000), Unsupported},
		{"return msg" + strings.Repeat(".a", 10000) + ";", Unsupported},
		{"return 1" + strings.Repeat("+1", 10000) + ";", Unsupported},
		{"return true" + strings.Repeat(" ? 1 : true", 4000) + ";", Unsupported},
		{"function f() {" + strings.Repeat("function g() {", 3000), Unsupported},
	} {
		for _, lang := range []Language{TBEL, JavaScript} {
			if _, err := Compile(lang, c.source, Arguments); !errors.Is(err, &Error{Reason: c.reason}) {
				t.Errorf("%v %.20s: %v", lang, c.source, err)
			}
		}
	}
	// An else-if for each of 80 states is no deep script.
	source := ""
	for range 80 {
		source += "if (msg.i == 1) { return 1; } else "
	}
	if _, err := Compile(TBEL, source+"{ return 2; }", Arguments); err != nil {
		t.Error(err)
	}
}

// TestMessageBounds: JSON is checked as a whole, and bounded in size and depth.
func TestMessageBounds(t *testing.T) {
	var d Doc
	for _, s := range []string{
		"", "{", "{}x", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", "-", "+1", "nul", "\"\\x\"", "\"\n\"", "\"\\u12\"", "[1 2]",
		"{\"a\" 1}", "\"",
		"NaN", "'a'", "{\"a\":}", "[", strings.Repeat("[", maxNesting+2) + strings.Repeat("]", maxNesting+2), "1e", "\"\\",
	} {
		if err := d.Parse(s); err == nil {
			t.Errorf("%q is no JSON", s)
		}
	}
	if err := d.Parse(`"` + strings.Repeat("a", maxMessage) + `"`); !errors.Is(err, &Error{Reason: Limit}) {
		t.Error(err)
	}
	for _, s := range []string{
		"null", " 1.5e-3 ", "[]", "{}", "[[],{\"\":[{}]}]", `"\ud83d\ude00\ud83d"`, "-0",
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		if err := d.Parse(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	p, err := Compile(TBEL, "return 1;", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Parse("{}"); err != nil {
		t.Fatal(err)
	}
	big := []Pair{{Key: "k", Value: strings.Repeat("a", maxMessage)}}
	if _, err := p.Run(testClock, Args{Msg: &d, Metadata: big}); !errors.Is(err, &Error{Reason: Limit}) {
		t.Errorf("metadata beyond the bound of the arguments: %v", err)
	}
}

// TestFiltersAllocateLittle: keys against literals make no value; what else a filter reads makes
// one.
func TestFiltersAllocateLittle(t *testing.T) {
	var d Doc
	if err := d.Parse(fuzzMessage); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lang   Language
		source string
		most   float64
	}{
		{TBEL, "return msg.t > 20;", 0},
		{TBEL, "return msg.t > 20 && msg.o.p.q == 5 && msg.s == 'abc' && msg.nope == null && msg.b == true;", 0},
		{TBEL, "return metadata.deviceName == 'th-1' && msgType == 'POST_TELEMETRY_REQUEST';", 0},
		{TBEL, "return msg.t > 20 ? 'hot' : 'cold';", 0},
		{TBEL, "return msg.t > parseDouble(metadata.ts);", 3},
		{TBEL, "var d = msg.t - 20; if (d > 1) { return true; } return false;", 2},
		{JavaScript, "return msg.t > 20 && metadata.deviceName === 'th-1';", 2},
	} {
		p, err := Compile(c.lang, c.source, Arguments)
		if err != nil {
			t.Fatal(err)
		}
		args := Args{Msg: &d, Metadata: fuzzMetadata, MsgType: "POST_TELEMETRY_REQUEST"}
		r := &run{} // the pool of runs gives nothing back on purpose, at times, under the race detector
		if n := testing.AllocsPerRun(200, func() {
			if _, err := p.on(r, testClock, args); err != nil {
				t.Fatal(err)
			}
		}); n > c.most+0.5 {
			t.Errorf("%s: %.1f allocations, at most %.0f", c.source, n, c.most)
		}
	}
}

// TestConcurrentRuns: one program and one message on many goroutines; nobody sees another's
// changes.
func TestConcurrentRuns(t *testing.T) {
	source := "msg.x = msg.i; foreach (k : msg.keys()) { metadata.put(k, 'v'); } msg.o.p.q += 1;\n" +
		"function f(n) { if (n == 0) { return 'a1b'.replaceAll('[0-9]', '-'); } return f(n - 1); }\n" +
		"return [msg.x, msg.o.p.q, metadata.size(), f(5)];"
	p, err := Compile(TBEL, source, Arguments)
	if err != nil {
		t.Fatal(err)
	}
	js, err := Compile(JavaScript,
		"var r = /b/g; msg.o.p.q++; return [msg.o.p.q, r.test(msg.s), r.lastIndex].map(function (x) { return x; });", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	args := fuzzArgs(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, c := range []struct {
					p    *Program
					want string
				}{{p, `[7,6,13,"a-b"]`}, {js, `[6,true,2]`}} {
					v, err := c.p.Run(testClock, args)
					b, _ := c.p.Language().AppendJSON(nil, v, AsScript)
					if err != nil || string(b) != c.want {
						t.Errorf("%s %v, want %s", b, err, c.want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestResultsOutliveTheRun: later runs do not change what an earlier one gave.
func TestResultsOutliveTheRun(t *testing.T) {
	p, err := Compile(JavaScript, "var n = msg.i; return {n: n, f: [n, msg.s, metadata]};", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.Run(testClock, fuzzArgs(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		var d Doc
		if err := d.Parse(`{"i":8,"s":"zzz"}`); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(testClock, Args{Msg: &d}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := JavaScript.AppendJSON(nil, first, AsScript)
	if want := `{"n":7,"f":[7,"abc",{"deviceName":"th-1","ts":"1767225600123"}]}`; err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
}

// TestErrorsSayWhere: errors carry reason, line and column; what is unsupported is named.
func TestErrorsSayWhere(t *testing.T) {
	_, err := Compile(TBEL, "var a = 1;\n  let b = 2;", Arguments)
	var e *Error
	if !errors.As(err, &e) || e.Reason != Syntax || e.Line != 2 || e.Column != 3 {
		t.Errorf("%+v", err)
	}
	_, err = Compile(JavaScript, "return new Map();", Arguments)
	if err == nil || err.Error() != "not supported: new Map (line 1, column 8)" {
		t.Error(err)
	}
	p, err := Compile(TBEL, "raiseError('no temperature');", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Run(Env{}, Args{}); err == nil || err.Error() != "script failed: no temperature" {
		t.Error(err)
	}
}

// TestNamesOfTheGenerator: the arguments have the names that the node gives them.
func TestNamesOfTheGenerator(t *testing.T) {
	p, err := Compile(TBEL, "return prevMsg.i + prevMetadata.ts + prevMsgType;", Names{"prevMsg", "prevMetadata", "prevMsgType"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Run(Env{Now: func() time.Time { return time.Time{} }}, fuzzArgs(t))
	if err != nil || v.Text() != "71767225600123POST_TELEMETRY_REQUEST" {
		t.Error(v.Text(), err)
	}
}
