package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestRulesEval(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tbel := write("scripts.jsonl", strings.Join([]string{
		`{"n":1,"script":"return msg.t / 2;","msg":{"t":7}}`,
		``,
		`{"n":"two","script":"return {m: metadata, t: msgType};","msg":{},` +
			`"metadata":{"deviceName":"a","deviceType":"b","x":null},"msgType":"X"}`,
		`{"n":3,"script":"return msg.nope.x;","msg":{}}`,
		`{"n":4,"script":"let a = 1;","msg":{}}`,
		`{"n":5,"script":"while (true) { }","msg":{}}`,
		`{"n":6,"script":"return prevMsg.a;","msg":{"a":"é\u001b"},"args":["prevMsg","prevMetadata","prevMsgType"]}`,
		`{"n":7,"script":"return typeof msg.a;","msg":{"a":1},"scriptLang":"JS"}`,
		`{"n":8,"script":"return null;"}`,
	}, "\n"))
	code, stdout, stderr := call("eval", tbel)
	want := `{"n":1,"json":"3.5","type":"double"}
{"n":"two","json":"{\"m\":{\"deviceType\":\"b\",\"deviceName\":\"a\"},\"t\":\"X\"}","type":"map"}
{"n":3,"error":"script failed: null pointer: .x of null","stage":"run"}
{"n":4,"error":"syntax error: unknown class or illegal statement: let (line 1, column 1)","stage":"compile"}
{"n":5,"error":"limit exceeded: the script made more than 100000 steps","stage":"limit"}
{"n":6,"json":"\"\u00e9\\u001B\"","type":"string"}
{"n":7,"json":"\"number\"","type":"string"}
{"n":8,"json":"null","type":"null"}
`
	if code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}

	js := `{"n":1,"script":"return msg.a + 1;","msg":{"a":1}}`
	for _, args := range [][]string{{"eval", write("js.jsonl", js)}, {"-lang=js", "eval", write("other.jsonl", js)}} {
		if code, stdout, _ := call(args...); code != 0 ||
			stdout != `{"n":1,"json":"2","type":"number"}`+"\n" {
			t.Errorf("%v: exit code %d, %s", args, code, stdout)
		}
	}

	bad := write("bad.jsonl", "{\n"+`{"n":2,"script":"return 1;"}`+"\n"+`{"n":3}`)
	code, stdout, stderr = call("eval", bad)
	if code != 1 || !strings.Contains(stdout, `{"error":"no JSON of a script: unexpected end of JSON input","line":1}`) ||
		!strings.Contains(stdout, `{"n":2,"json":"1","type":"int"}`) || !strings.Contains(stderr, "line 1 of ") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	long := write("long.jsonl", strings.Repeat(" ", maxScriptLine+1))
	if code, _, stderr := call("eval", long); code != 1 || !strings.Contains(stderr, "longer than 1048576 bytes") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	for _, c := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"", 2, "rules [-lang JS] eval FILE"},
		{"evl x", 2, "rules [-lang JS] eval FILE"},
		{"eval", 2, "rules [-lang JS] eval FILE"},
		{"-lang=lua eval x", 2, "rules [-lang JS] eval FILE"},
		{"eval gone.jsonl", 1, "gone.jsonl"},
	} {
		if code, _, stderr := call(strings.Fields(c.args)...); code != c.code || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s: exit code %d, stderr %s", c.args, code, stderr)
		}
	}
}

func TestRulesTry(t *testing.T) {
	chains := filepath.Join("..", "..", "sync", "rules", "testdata", "chains")
	edge, steps := filepath.Join(chains, "14-unsupported.json"), filepath.Join(chains, "14-unsupported.expect.jsonl")
	code, stdout, stderr := call("try", edge, steps, "--on-failure=drop")
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 2 || strings.Count(stdout, `"cloud":[]`) != 2 ||
		strings.Count(stdout, `"node":"Kafka"`) != 2 {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	if code, stdout, _ = call("try", edge, steps); code != 0 || strings.Contains(stdout, `"cloud":[]`) {
		t.Errorf("exit code %d, stdout:\n%s", code, stdout)
	}
	for _, args := range [][]string{{"try", edge}, {"try", edge, steps, "--on-failure=no"}, {"try", edge, steps, "more"}} {
		if code, _, stderr := call(args...); code != 2 || !strings.Contains(stderr, "Usage") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
	for _, args := range [][]string{{"try", edge, "none"}, {"try", "none", steps}, {"try", steps, steps}, {"try", edge, edge}} {
		if code, _, stderr := call(args...); code != 1 || !strings.Contains(stderr, "rules: ") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}
