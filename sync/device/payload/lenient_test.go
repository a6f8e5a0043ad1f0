package payload

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// lenientValues are values as devices write them, and what the server stores (API.md 1.3, 8).
var lenientValues = []struct{ text, want string }{
	// Words.
	{`nan`, `s"nan"`},
	{`NaN`, `s"NaN"`},
	{`-nan`, `s"-nan"`},
	{`-NaN`, `s"-NaN"`},
	{`inf`, `s"inf"`},
	{`-inf`, `s"-inf"`},
	{`Infinity`, `s"Infinity"`},
	{`-Infinity`, `s"-Infinity"`},
	{`None`, `s"None"`},
	{`undefined`, `s"undefined"`},
	{`hello`, `s"hello"`},
	{`it's`, `s"it's"`},
	{`a"b"`, `s"a\"b\""`},
	{`10.0.0.7`, `s"10.0.0.7"`},
	{`2024-02-03T04`, `s"2024-02-03T04"`},
	{`50%`, `s"50%"`},
	{`(x)`, `s"(x)"`},
	{`тепло`, `s"тепло"`},
	{`21.5°C`, `s"21.5°C"`},
	{"a\x00b", `s"a\x00b"`},
	{"\x00", `s"\x00"`},
	{"a\vb\u00a0c", `s"a\vb\u00a0c"`},
	// Keywords in any letters, but whole.
	{`TRUE`, "btrue"},
	{`True`, "btrue"},
	{`tRuE`, "btrue"},
	{`FALSE`, "bfalse"},
	{`False`, "bfalse"},
	{`NULL`, ""},
	{`Null`, ""},
	{`truest`, `s"truest"`},
	{`tru`, `s"tru"`},
	{`nullsoft`, `s"nullsoft"`},
	{`falſe`, `s"falſe"`}, // a long s folds to s, but not for the server
	{`TRUE/**/`, "btrue"},
	{`true#x` + "\n", "btrue"},
	// Numbers that are none are texts, and some texts are numbers.
	{`012`, "l12"},
	{`-012`, "l-12"},
	{`00`, "l0"},
	{`.5`, "d0.5"},
	{`-.5`, "d-0.5"},
	{`01.50`, "d1.5"},
	{`٣٤`, "l34"},
	{`12.30`, "d12.3"},
	{`4210.`, `s"4210."`},
	{`5.`, `s"5."`},
	{`+5`, `s"+5"`},
	{`+.5`, `s"+.5"`},
	{`--5`, `s"--5"`},
	{`-`, `s"-"`},
	{`.`, `s"."`},
	{`0x10`, `s"0x10"`},
	{`1_000`, `s"1_000"`},
	{`1e`, `s"1e"`},
	{`1e+`, `s"1e+"`},
	{`.5e3`, `s".5e3"`},
	{`01e3`, `s"01e3"`},
	{`1.5.2`, `s"1.5.2"`},
	{`1.e3`, `s"1.e3"`},
	{`12V`, `s"12V"`},
	{`5"`, `s"5\""`},
	{`1` + strings.Repeat("0", 1020) + `e1`, `s"1` + strings.Repeat("0", 1021) + `"`},   // 1023 characters
	{`1` + strings.Repeat("0", 1021) + `e1`, `s"1` + strings.Repeat("0", 1021) + `e1"`}, // a word
	{`0.` + strings.Repeat("1", 1100), `s"0.` + strings.Repeat("1", 1100) + `"`},        // a word, but plain
	{`0.5` + strings.Repeat("0", 1100), `s"0.5` + strings.Repeat("0", 1100) + `"`},      // more than 16 decimals
	{strings.Repeat("0", 1100) + `7`, "l7"},                                             // a word, but plain
	{`'` + strings.Repeat("0", 5) + `7'`, "l7"},                                         // the same in quotes
	{`"7"`, "l7"},
	// Single quotes.
	{`'abc'`, `s"abc"`},
	{`''`, `s""`},
	{`'12'`, "l12"},
	{`'say "hi"'`, `s"say \"hi\""`},
	{`'it\'s'`, `s"it's"`},
	{`"it\'s"`, `s"it's"`},
	{`"it's"`, `s"it's"`},
	{`'\u00fc\ud83c\udf21'`, `s"ü🌡"`},
	{`'TRUE'`, `s"TRUE"`},
	// Control characters in texts.
	{"\"a\nb\tc\rd\"", `s"a\nb\tc\rd"`},
	{"\"a\x00b\x01\x1f\"", `s"a\x00b\x01\x1f"`},
	{"\"a\\\nb\"", `s"a\nb"`}, // an escaped end of a line stays
	// What is not UTF-8.
	{"\"\xb0C\"", `s"�C"`},
	{"\"K\xfcche\"", `s"K�che"`},
	{"\"\xc0\xaf\"", `s"��"`},
	{"\"\xe2\x82\"", `s"�"`},       // the beginning of a character counts once
	{"\"\xf0\x9f\x8c!\"", `s"�!"`}, // the same
	{"\"\xed\xa0\x80\"", `s"�"`},   // so does a surrogate
	{"\"\xf4\x90\x80\x80\"", `s"����"`},
	{"\"\xfe\xff\"", `s"��"`},
	{"K\xfcche", `s"K�che"`},
	// Inside objects and arrays, which become strict.
	{`{a:1}`, `j{"a":1}`},
	{`{'a':'b'}`, `j{"a":"b"}`},
	{`{a=>[x;y;'"'];b=nan}`, `j{"a":["x","y","\""],"b":"nan"}`},
	{`[TRUE,False,NULL,None]`, `j[true,false,null,"None"]`},
	{`[1,,2]`, `j[1,null,2]`},
	{`[1,2,]`, `j[1,2,null]`},
	{`[,]`, `j[null,null]`},
	{`[;1]`, `j[null,1]`},
	{`[ ]`, `j[]`},
	{`[[],[,],]`, `j[[],[null,null],null]`},
	{`[012,.5,+5,5.,0x10,1e2]`, `j["012",".5","+5","5.","0x10",1e2]`},
	{"{\"a\":\"x\ny\\\n\\'z\"}", `j{"a":"x\u000ay\u000a'z"}`},
	{"{\"a\":'\\\\ \\u0041 \\ud800'}", `j{"a":"\\ \u0041 ?"}`},
	{"[\"\xb0\",\xb0]", `j["�","�"]`},
	{`{/*x*/a/*y*/:/*z*/[/**/1/**/,/**/2/**/]/**/}`, `j{"a":[1,2]}`},
	{`{"":1,"a/b":2}`, `j{"":1,"a/b":2}`},
}

func TestLenientValues(t *testing.T) {
	var p Parser
	for _, c := range lenientValues {
		want := "k=" + c.want
		if c.want == "" {
			want = ""
		}
		// Neither a bad value nor its place costs the values beside it.
		for _, form := range []string{`{"k":~,"b":1}`, `{"k": ~ ,"b":1}`, `{b:1;k=~}`, `{"ts":5,"values":{"k":~,"b":1}}`} {
			text := strings.Replace(form, "~", c.text, 1)
			events, err := p.Telemetry([]byte(text), testID, testNow)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			got := showAll(decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv)
			got = strings.TrimSpace(strings.Replace(strings.Replace(got, " b=l1", "", 1), "b=l1", "", 1))
			if got != want {
				t.Errorf("telemetry %q: %s, want %s", text, got, want)
			}
		}
		events, err := p.Attributes([]byte(`{k:`+c.text+`,b:1}`), testID, testNow)
		if err != nil {
			t.Errorf("attributes %q: %v", c.text, err)
			continue
		}
		got := showAll(decode(t, events)[0].PostAttributesMsg.Kv)
		if got = strings.TrimSuffix(strings.TrimSuffix(got, "b=l1"), " "); got != want {
			t.Errorf("attributes %q: %s, want %s", c.text, got, want)
		}
	}
}

// TestLenientForms goes through what API.md 1.3 says of the text around the values.
func TestLenientForms(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{temperature:25}`, "temperature=l25"},
		{`{volt:12.30}`, "volt=d12.3"},
		{`{'t':20.5,"h":50}`, "t=d20.5 h=l50"},
		{`{t=20.5;h=>50}`, "t=d20.5 h=l50"},
		{`{t = 20.5 ; h => 50}`, "t=d20.5 h=l50"},
		{`{1:2,3.5:4,-:5,nan:6,null:7,TRUE:8}`, "1=l2 3.5=l4 -=l5 nan=l6 null=l7 TRUE=l8"},
		{`{a.b/*x*/:1}`, "a.b=l1"},
		{`{it's:1,a"b:2}`, `it's=l1 a"b=l2`},
		{`{'it\'s':1}`, `it's=l1`},
		{"{\"a\nb\":1}", "a\nb=l1"},
		{"{K\xfcche:1,\"\xb0C\":2}", "K�che=l1 �C=l2"},
		{"{\xfc:1,\xfd:2}", "�=l2"}, // two keys become one
		{"\ufeff{\"a\":1}", "a=l1"},
		{"\ufeff \n)]}'\n{a:1}", "a=l1"},
		{")]}'\n{a:1}", "a=l1"},
		{"/*x*/)]}'\n/*y*/{a:1}", "a=l1"},
		{"// a line\n{a:1}", "a=l1"},
		{"# a line\r{a:1}", "a=l1"},
		{"#\n#\n/**//***//* / * */{a:1}", "a=l1"},
		{"{a:1# }\n,b:2// }\n}", "a=l1 b=l2"},
		{"{a:1/* , */,/**/b/**/:/**/2}\r\n\t ", "a=l1 b=l2"},
		{`{a:1,'a':2,"\u0061":3}`, "a=l3"},
		{`{a:1,b:2,a:NULL}`, "b=l2"},
		{`{}`, ""},
		{`{/* nothing */}`, ""},
		{`{"a":b:c}`, "!bad JSON"},
		{`{a:1,}`, "!bad JSON"},
		{`{a:1;}`, "!bad JSON"},
		{`{,a:1}`, "!bad JSON"},
		{`{a:1,,b:2}`, "!bad JSON"},
		{`{a:}`, "!bad JSON"},
		{`{a:,b:1}`, "!bad JSON"},
		{`{a:;b:1}`, "!bad JSON"},
		{`{a}`, "!bad JSON"},
		{`{a b:1}`, "!bad JSON"},
		{`{a:b c}`, "!bad JSON"},
		{`{a:1 b:2}`, "!bad JSON"},
		{`{"a"b:2}`, "!bad JSON"},
		{`{a>1}`, "!bad JSON"},
		{`{a==1}`, "!bad JSON"},
		{`{a= >1}`, `a=s">1"`},
		{`{a=>>1}`, `a=s">1"`},
		{`{a:\x}`, "!bad JSON"},
		{`{a:"\x41"}`, "!bad JSON"},
		{`{a:'\u12g4'}`, "!bad JSON"},
		{`{a:'b"}`, "!bad JSON"},
		{"{a:1\f}", "!bad JSON"},
		{"{a:\f1}", "!bad JSON"},
		{`{a:1}/`, "!bad JSON"},
		{`{a:1}/**/`, "!bad JSON"},
		{`{a:1} // x`, "!bad JSON"},
		{`{a:1} # x`, "!bad JSON"},
		{`{a:1};`, "!bad JSON"},
		{"{a:1}\x00", "!bad JSON"},
		{"{a:1} {b:2}", "!bad JSON"},
		{`{a:1/*}`, "!bad JSON"},
		{`{a:1/*/}`, "!bad JSON"},
		{`{a:1//}`, "!bad JSON"},
		{`{a:1/}`, "!bad JSON"},
		{`{a:/1}`, "!bad JSON"},
		{")]}'{a:1}", "!must be a JSON object"},
		{`hello`, "!must be a JSON object"},
		{`'a'`, "!must be a JSON object"},
		{`TRUE`, "!must be a JSON object"},
		{`# nothing`, "!bad JSON"},
		{`[{a:1},]`, "!bad JSON"},
		{`[,{a:1}]`, "!bad JSON"},
		{`[x]`, "!must be a JSON object"},
		{`{a:` + strings.Repeat("[", 255) + strings.Repeat("]", 255) + `}`, "!deeper than 255"},
		{`{'':1}`, "!is empty"},
		{"{\"a\x00b\":1}", "!NUL"},
		{`{<b>:1}`, "!markup"},
	} {
		var p Parser
		events, err := p.Telemetry([]byte(c.text), testID, testNow)
		if why, refused := strings.CutPrefix(c.want, "!"); refused {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%q: %v, want an error with %q", c.text, err, why)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got := showAll(decode(t, events)[0].PostTelemetryMsg.TsKvList[0].Kv); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

// TestLenientTimes goes through "ts" and "values" in the words that only the server's reader knows
// (API.md 1.1, 1.3).
func TestLenientTimes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64 // 0: refused
	}{
		{`{ts:1700000000000,values:{a:1}}`, 1700000000000},
		{`{'ts'='1700000000000';values=>{a=1}}`, 1700000000000},
		{`{ts:01700000000000,values:{a:1}}`, 1700000000000},
		{`{ts:+1700000000000,values:{a:1}}`, 1700000000000},
		{`{ts:'+5',values:{a:1}}`, 5},
		{`{ts:"\u0035",values:{a:1}}`, 5},
		{`{ts:٣٤,values:{a:1}}`, 34},
		{`{ts:['5'],values:{a:1}}`, 5},
		{`{ts:[/*x*/5],values:{a:1}}`, 5},
		{`[{ts:5;values:{a:1}};]`, 0},
		{`{ts:1700000000000.,values:{a:1}}`, 0},
		{`{ts:.5,values:{a:1}}`, 0},
		{`{ts:nan,values:{a:1}}`, 0},
		{`{ts:TRUE,values:{a:1}}`, 0},
		{`{ts:NULL,values:{a:1}}`, 0},
		{`{ts:[5,],values:{a:1}}`, 0},
		{`{ts:[,],values:{a:1}}`, 0},
		{`{ts:5,values:NULL}`, 0},
		{`{ts:5,values:nan}`, 0},
		{`{ts:1e5000,values:{a:1}}`, 0},
	} {
		var p Parser
		events, err := p.Telemetry([]byte(c.text), testID, testNow)
		if c.want == 0 {
			if err == nil {
				t.Errorf("%s: %d events", c.text, len(events))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if l := decode(t, events)[0].PostTelemetryMsg.TsKvList[0]; l.Ts != c.want || showAll(l.Kv) != "a=l1" {
			t.Errorf("%s: %v, want %d", c.text, l, c.want)
		}
	}
}

// TestRecordedBodies holds the parser against bodies that a server was sent, and what it then held
// (API.md 1.3, 8).
func TestRecordedBodies(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var c struct {
			Body   []byte
			Stored []string // a list for each element, as showAll writes it; null: refused
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		var p Parser
		events, err := p.Telemetry(c.Body, testID, testNow)
		if (err != nil) != (c.Stored == nil) || len(events) != len(c.Stored) {
			t.Errorf("%q: %d events, %v; want %q", c.Body, len(events), err, c.Stored)
			continue
		}
		for i, d := range decode(t, events) {
			if got := showAll(d.PostTelemetryMsg.TsKvList[0].Kv); got != c.Stored[i] {
				t.Errorf("%q: %s, want %s", c.Body, got, c.Stored[i])
			}
		}
	}
}

func TestLenientParsingDoesNotAllocate(t *testing.T) {
	var p Parser
	body := []byte("{ts=>1767225600000;'values':{temperature:nan,hum:048,door:TRUE,'state':'open\n\\'s'," +
		"gps:{lat=52.5;'p\xb0':[x,,]}}}")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.Telemetry(body, testID, testNow); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
