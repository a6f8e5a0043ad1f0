package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ruled runs a command of the program and returns what it prints.
func ruled(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := &program{Build: Build{Version: "dev"}, stdout: &out, stderr: &errs}
	code = p.run(context.Background(), append([]string{"rules"}, args...))
	return code, out.String(), errs.String()
}

// values are the lines of a JSON file, with numbers as they stand.
func values(t *testing.T, text string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			t.Fatal(err, line)
		}
		list = append(list, v)
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// write makes a file of a text.
func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRulesTryCorpus: the command makes of each recorded step what a real edge made of it (RULES.md
// 6).
func TestRulesTryCorpus(t *testing.T) {
	files, err := filepath.Glob("../rules/testdata/chains/*.expect.jsonl")
	if err != nil || len(files) != 16 {
		t.Fatal(files, err)
	}
	n := 0
	for _, file := range files {
		edge := strings.TrimSuffix(file, ".expect.jsonl") + ".json"
		code, out, errs := ruled("try", edge, file, "--on-failure=drop")
		want, got := values(t, read(t, file)), values(t, out)
		if told := strings.Count(errs, "is not executed: ") + strings.Count(errs, "sends no telemetry"); told != strings.Count(errs, "\n") {
			t.Error(errs)
		}
		if code != 0 || len(got) != len(want) {
			t.Fatalf("%s: exit code %d, %d lines of %d, %s", file, code, len(got), len(want), errs)
		}
		for i, w := range want {
			n++
			for _, list := range []string{"cloud", "saved", "attributes", "device", "failed", "unsupported", "dropped"} {
				if _, ok := got[i][list].([]any); !ok {
					t.Errorf("%s, line %d: no list %s", file, i+1, list)
				}
			}
			for key := range got[i] {
				if w[key] == nil {
					w[key] = []any{}
				}
			}
			delete(w, "in")
			delete(w, "rpcAnswer")
			for key := range w {
				if w, g := likeSet(w[key]), likeSet(got[i][key]); w != g {
					t.Errorf("%s, line %d, %s:\n got %s\nwant %s", file, i+1, key, g, w)
				}
			}
		}
	}
	if n != 93 {
		t.Errorf("%d steps, want 93", n)
	}
}

// likeSet is a value as text, a list in the order of its items' texts. The words of errors do not
// count.
func likeSet(v any) string {
	list, ok := v.([]any)
	if !ok {
		b, _ := json.Marshal(v)
		return string(b)
	}
	var texts []string
	for _, item := range list {
		if m, ok := item.(map[string]any); ok && m["error"] != nil {
			m["error"] = "…"
		}
		texts = append(texts, likeSet(item))
	}
	slices.Sort(texts)
	return strings.Join(texts, "\n     ")
}

// TestRulesEvalCorpus: the command gives each recorded script's result and type, or an error.
func TestRulesEvalCorpus(t *testing.T) {
	differs := read(t, "../rules/script/testdata/differs.txt")
	for name, number := range map[string]int{"tbel.jsonl": 1059, "js.jsonl": 49} {
		file := "../rules/script/testdata/" + name
		code, out, errs := ruled("eval", file)
		want, got := values(t, read(t, file)), values(t, out)
		if code != 0 || errs != "" || len(got) != number || len(want) != number {
			t.Fatalf("%s: exit code %d, %d lines, %s", name, code, len(got), errs)
		}
		for i, w := range want {
			g := got[i]
			same := g["n"] == w["n"] && (g["error"] == nil) == (w["error"] == nil) && g["json"] == w["json"]
			if name == "tbel.jsonl" && w["error"] == nil {
				same = same && g["type"] == w["type"]
			}
			if listed := strings.Contains(differs, "\n"+name+":"+w["n"].(json.Number).String()+"\t"); same == listed {
				t.Errorf("%s: got %v, want %v", name, g, w)
			}
			members := 3
			if g["error"] != nil {
				members = 2
			}
			if len(g) != members {
				t.Errorf("%s: %v", name, g)
			}
		}
	}
}

func TestRulesEvalLines(t *testing.T) {
	tbel := write(t, "scripts.jsonl", strings.Join([]string{
		`{"n":1,"script":"return msg.t / 2;","msg":{"t":7}}`,
		``,
		`{"n":"two","script":"return {m: metadata, t: msgType};","msg":{},` +
			`"metadata":{"deviceName":"a","deviceType":"b","x":null,"y":5},"msgType":"X"}`,
		`{"n":3,"script":"return msg.nope.x;","msg":{}}`,
		`{"n":4,"script":"let a = 1;","msg":{}}`,
		`{"n":5,"script":"while (true) { }","msg":{}}`,
		`{"n":6,"script":"return prevMsg.a;","msg":{"a":"é\u001b"},"args":["prevMsg","prevMetadata","prevMsgType"]}`,
		`{"n":7,"script":"return typeof msg.a;","msg":{"a":1},"scriptLang":"JS"}`,
		`{"script":"return null;"}`,
	}, "\n"))
	code, stdout, stderr := ruled("eval", tbel)
	want := `{"n":1,"json":"3.5","type":"double"}
{"n":"two","json":"{\"m\":{\"deviceType\":\"b\",\"y\":\"5\",\"deviceName\":\"a\"},\"t\":\"X\"}","type":"map"}
{"n":3,"error":"script failed: null pointer: .x of null"}
{"n":4,"error":"syntax error: unknown class or illegal statement: let (line 1, column 1)"}
{"n":5,"error":"limit exceeded: the script made more than 100000 steps"}
{"n":6,"json":"\"é\\u001B\"","type":"string"}
{"n":7,"json":"\"number\"","type":"string"}
{"n":9,"json":"null","type":"null"}
`
	if code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	js := `{"n":1,"script":"return msg.a + 1;","msg":{"a":1}}`
	for want, names := range map[string][]string{"number": {"js.jsonl", "other-js.jsonl", "JS.2"}, "int": {"tbel.jsonl", "json.js"}} {
		for _, name := range names {
			code, stdout, _ := ruled("eval", write(t, name, js))
			if code != 0 || stdout != `{"n":1,"json":"2","type":"`+want+`"}`+"\n" {
				t.Errorf("%s: exit code %d, %s", name, code, stdout)
			}
		}
	}
	if code, stdout, _ := ruled("eval", "--lang=js", tbel); code != 0 || !strings.Contains(stdout, `{"n":1,"json":"3.5","type":"number"}`) {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// TestRulesBadFiles: what cannot be read is named with file and line, and ends with exit code 1.
func TestRulesBadFiles(t *testing.T) {
	script := `{"n":2,"script":"return 1;"}`
	step := `{"at":1,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE",` +
		`"id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"},"metadata":{},"data":{"temperature":1}}}`
	const (
		chains = "../rules/testdata/chains/"
		noTime = `"at" must be a number of milliseconds from 0 on` + "\n"
	)
	deep := strings.Repeat("[", 129)
	for _, test := range []struct {
		name, edge, lines string // an edge: try
		printed           int    // lines
		says              string
	}{
		{"no JSON", "", "{\n" + script, 2, `, line 1: no JSON` + "\n"},
		{"no object", "", script + "\n5\n", 2, `, line 2: no JSON object` + "\n"},
		{"no script", "", script + "\n\n" + `{"n":3}`, 2, `, line 3: "script" is missing` + "\n"},
		{"wrong language", "", `{"script":"return 1;","scriptLang":"LUA"}`, 1, `, line 1: "scriptLang" is TBEL or JS` + "\n"},
		{"wrong type", "", `{"script":7}`, 1, `, line 1: "script" has the wrong type` + "\n"},
		{"wrong metadata", "", `{"script":"return 1;","metadata":[]}`, 1, `, line 1: "metadata" has the wrong type` + "\n"},
		{"long", "", script + "\n" + strings.Repeat(" ", maxLine+1), 1, `, line 2: more than 1048575 bytes` + "\n"},
		{"no step", "02-selective-sync.json", step + "\n{", 1, `, line 2: no JSON` + "\n"},
		{"no time", "02-selective-sync.json", step + "\n\n" + `{"in":null}`, 1, ", line 3: " + noTime},
		{"before", "02-selective-sync.json", `{"at":-1}`, 0, ", line 1: " + noTime},
		{"a million years", "02-selective-sync.json", `{"at":1e17}`, 0, ", line 1: " + noTime},
		{"no originator", "02-selective-sync.json", `{"at":1,"in":{"msgType":"X"}}`, 0, `, line 1: "in" has no "msgType", or no`},
		{"deep", "02-selective-sync.json", step + "\n" + deep, 1, `, line 2: JSON that is nested more than 128 deep` + "\n"},
		{"long step", "02-selective-sync.json", strings.Repeat(" ", maxLine+1), 0, `, line 1: more than 1048575 bytes` + "\n"},
		{"gone", "gone.json", step, 0, `gone.json: no such file`},
		{"other file", "02-selective-sync.expect.jsonl", step, 0, `02-selective-sync.expect.jsonl": line 2: no JSON` + "\n"},
	} {
		file := write(t, "lines.jsonl", test.lines)
		args := []string{"eval", file}
		if test.edge != "" {
			args = []string{"try", chains + test.edge, file}
		}
		code, stdout, stderr := ruled(args...)
		if code != exitFailed || strings.Count(stdout, "\n") != test.printed || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit code %d, stderr %q, stdout:\n%s", test.name, code, stderr, stdout)
		}
		if strings.HasPrefix(test.says, ",") && !strings.HasPrefix(stderr, "edgesync: "+strconv.Quote(file)) {
			t.Errorf("%s: the file is not named: %s", test.name, stderr)
		}
	}
	steps := write(t, "steps.jsonl", step)
	for text, says := range map[string]string{
		`{}`:                         `neither "world" and "downlinks" of an edge nor a rule chain's export`,
		"{\n" + `"world":` + deep:    `line 2: JSON that is nested more than 128 deep`,
		"{\n" + `"world":{}`:         `line 2: no JSON`, // and ends there
		`{"ruleChain":{}}`:           `no rule chain's export: it is an object with "ruleChain" and "metadata"`,
		strings.Repeat(" ", 8<<20+1): `has more than 8388608 bytes`,
		`{"ruleChain":{},"metadata":{"nodes":[{}]}}`: `node 0 has no type`,
	} {
		if code, _, stderr := ruled("try", write(t, "edge.json", text), steps); code != exitFailed || !strings.Contains(stderr, says) {
			t.Errorf("%.60s: exit code %d, %s", text, code, stderr)
		}
	}
	for args, says := range map[string]string{
		"evl x":                   "did you mean rules eval?",
		"eval":                    "edgesync rules eval takes one file",
		"eval a b":                "an argument too many",
		"eval --lang=lua x":       "--lang is TBEL or JS",
		"try a":                   "edgesync rules try takes two files, EDGE and STEPS",
		"try a b --on-failure=no": "--on-failure is push or drop",
		"try a b --on-failrue=a":  "did you mean --on-failure?",
		"try a b --on-failure":    "--on-failure needs a value",
	} {
		if code, _, stderr := ruled(strings.Fields(args)...); code != exitUsage || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
	if code, _, stderr := ruled("--data_dir", t.TempDir()); code != exitFailed || !strings.Contains(stderr, "no agent runs on") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if code, stdout, _ := ruled("try", "-h"); code != 0 || !strings.Contains(stdout, "--on-failure=push|drop") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// TestRulesTry: a refused chain does not keep the others from running, and what would be lost is
// pushed unless the flag says otherwise.
func TestRulesTry(t *testing.T) {
	const chains = "../rules/testdata/chains/"
	edge, steps := chains+"14-unsupported.json", chains+"14-unsupported.expect.jsonl"
	code, stdout, stderr := ruled("try", edge, "--on-failure", "push", steps)
	if code != 0 || strings.Count(stdout, "\n") != 2 || strings.Contains(stdout, `"cloud":[]`) ||
		!strings.Contains(stderr, `node "Kafka" is not executed: the type is not executed here`) {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
	// A chain as people export it, alone and behind one that is refused.
	const (
		push = `"nodes":[{"type":"org.thingsboard.rule.engine.edge.TbMsgPushToCloudNode","name":"push","configuration":{}}]`
		id   = `{"entityType":"RULE_CHAIN","id":"ea81541d-c33c-5fda-8bc9-ad03caea2853"}`
		want = `{"at":5,"cloud":[{"action":"TIMESERIES_UPDATED","entity":{"entityType":"DEVICE",` +
			`"id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"},"body":{"data":{"t":1},"ts":1767225600005}}],` +
			`"saved":[],"attributes":[],"device":[],"failed":[],"unsupported":[],"dropped":[]}` + "\n"
	)
	steps = write(t, "steps.jsonl", `{"at":5,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE",`+
		`"id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"},"data":{"t":1}}}`)
	export := write(t, "export.json", `{"ruleChain":{"name":"a","root":false},"metadata":{"firstNodeIndex":0,`+push+`,"connections":[]}}`)
	if code, stdout, stderr = ruled("try", export, steps); code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %s, stdout:\n%s\nwant:\n%s", code, stderr, stdout, want)
	}
	// A mark in front of either file, and what surprises in the chain.
	odd := write(t, "odd.json", "\ufeff"+`{"ruleChain":{"name":"a"},"metadata":{"firstNodeIndex":0,`+
		strings.Replace(push, "edge.TbMsgPushToCloudNode", "flow.TbAckNode", 1)+`,"connections":[]}}`)
	code, stdout, stderr = ruled("try", odd, write(t, "marked.jsonl", "\ufeff"+read(t, steps)))
	if code != 0 || !strings.HasPrefix(stdout, `{"at":5,"cloud":[],`) ||
		stderr != `edgesync: rule chain "a": This chain sends no telemetry to the cloud.`+"\n" {
		t.Errorf("exit code %d, %s, stdout:\n%s", code, stderr, stdout)
	}
	refused := write(t, "refused.json", `{"downlinks":[{"ruleChainUpdateMsg":{"id":`+id+`,"root":true},"ruleChainMetadataUpdateMsg":`+
		`{"ruleChainId":`+id+`,"firstNodeIndex":0,`+push+`}},{"ruleChainMetadataUpdateMsg":{"ruleChainId":`+id+
		`,"firstNodeIndex":7,`+push+`}}]}`)
	code, stdout, stderr = ruled("try", refused, steps)
	if code != exitFailed || stdout != want || !strings.Contains(stderr, "firstNodeIndex names no node") {
		t.Errorf("exit code %d, %s, stdout:\n%s", code, stderr, stdout)
	}
}

// TestCheckLooksAtRulesFile: check and doctor say what run would say of the file of a chain, and
// what in it is not executed.
func TestCheckLooksAtRulesFile(t *testing.T) {
	const export = `{"ruleChain":{"name":"a"},"metadata":{"firstNodeIndex":0,"nodes":[` +
		`{"type":"org.thingsboard.rule.engine.filter.TbJsFilterNode","name":"hot",` +
		`"configuration":{"scriptLang":"TBEL","tbelScript":"return +;"}}%s],"connections":[]}}`
	good := write(t, "good.json", fmt.Sprintf(export, ""))
	bad := write(t, "bad.json", fmt.Sprintf(export, ",{}"))
	args := func(command, file string) []string {
		return []string{
			command, "--cloud.host=127.0.0.1", "--cloud.port=1", "--cloud.routing_key=key-of-it", "--cloud.routing_secret=hush-hush",
			"--data_dir=" + filepath.Join(t.TempDir(), "data"), "--rules.file=" + file,
		}
	}
	const fine = "The configuration is fine."
	code, out, errs := call(t, nil, args("check", good)...)
	want := "note: rule chain \"a\": node \"hot\" is not executed: configuration: \"tbelScript\" does not compile: "
	if code != exitOK || !strings.Contains(out, want) || !strings.Contains(out, fine) {
		t.Errorf("%d: %s\n%s", code, errs, out)
	}
	want = "rules.file: " + bad + ": the rule chain's export: node 1 has no type\n"
	code, out, errs = call(t, nil, args("check", bad)...)
	if code != exitConfig || !strings.Contains(errs, want) || strings.Contains(out, fine) {
		t.Errorf("%d: %s\n%s", code, errs, out)
	}
	if code, out, _ = call(t, nil, append(args("check", bad), "--rules.mode=off")...); code != exitOK || !strings.Contains(out, fine) {
		t.Errorf("%d: %s", code, out)
	}
	if code, out, _ = call(t, nil, args("doctor", bad)...); code == exitOK || !strings.Contains(out, "✘ configuration  rules.file:") {
		t.Errorf("%d: %s", code, out)
	}
}
