package rules

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrialBounds: what a step makes is bounded, whatever time it lets pass.
func TestTrialBounds(t *testing.T) {
	e := testEdge(t, Options{})
	generator := tbel("debug.TbMsgGeneratorNode", "every second", `return {msg: {a: 1}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};`)
	generator = strings.Replace(generator, `{"scriptLang"`, `{"msgCount":0,"periodInSeconds":1,"originatorType":"TENANT","scriptLang"`, 1)
	e.chain(t, rootID, true, []string{generator, push}, "0>1:Success")
	out, err := e.step(`{"at":3000}`)
	if err != nil || len(out.get("cloud").items) != 3 {
		t.Fatal(out, err)
	}
	e.outs = maxTried
	if _, err := e.step(`{"at":4000}`); err == nil || err.Error() != "more than 100000 results of one step" ||
		len(e.out.get("cloud").items) != 0 {
		t.Error(err)
	}
	e = testEdge(t, Options{})
	e.chain(t, rootID, true, []string{strings.Replace(generator, "return {msg", "return 1; return {msg", 1)})
	e.wakes = 1000
	if _, err := e.step(`{"at":2000000}`); err == nil || err.Error() != "more than 1000 timers fire before it" {
		t.Error(err)
	}
}

// TestTrialAnswers: an answer is that of the call which waits, not of one whose time is over.
func TestTrialAnswers(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{`rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":5}`, push}, "0>1:Success")
	e.send(t, 0, deviceID, PostTelemetry, `{"method":"a","params":{}}`)
	e.send(t, 6000, deviceID, PostTelemetry, `{"method":"b","params":{}}`)
	out, err := e.step(`{"at":6001,"rpcAnswer":{"device":"` + deviceID + `","response":{"ok":true}}}`)
	if err != nil || out.get("cloud").String() == "[]" || len(e.calls) != 0 {
		t.Error(out, err, e.calls)
	}
}

// TestTrialWithoutChains: values go up as in the default chain, unless exact likeness is wanted.
func TestTrialWithoutChains(t *testing.T) {
	want(t, testEdge(t, Options{}).post(t, 0, `{"t":1}`), `cloud {"t":1} no chain`)
	e := testEdge(t, Options{Drop: true, Likeness: true})
	out, err := e.step(`{"at":0,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":"` + deviceID + `"}}}`)
	if err != nil || out.get("cloud").String() != "[]" || len(out.get("dropped").items) != 1 {
		t.Error(out, err)
	}
}

// TestExport: a chain as people export it becomes the root.
func TestExport(t *testing.T) {
	head, metadata, err := Export([]byte(`{"ruleChain":{"name":"n","root":false},"metadata":{"firstNodeIndex":0,` +
		`"nodes":[{"type":"x","name":"a"}],"connections":null}}`))
	const id = `{"entityType":"RULE_CHAIN","id":"f11e0000-0000-4000-8000-000000000000"}`
	if err != nil || string(head) != `{"name":"n","root":true,"id":`+id+`}` ||
		string(metadata) != `{"firstNodeIndex":0,"nodes":[{"type":"x","name":"a"}],"connections":null,"ruleChainId":`+id+`}` {
		t.Errorf("%s\n%s\n%v", head, metadata, err)
	}
	other := strings.Replace(id, "f11e", "f11f", 1)
	head, metadata, err = Export([]byte(`{"ruleChain":{"id":` + other + `},"metadata":{"ruleChainId":` + other + `}}`))
	if err != nil || string(head) != `{"id":`+id+`,"root":true}` || string(metadata) != `{"ruleChainId":`+id+`}` {
		t.Errorf("%s %s %v", head, metadata, err)
	}
	for text, word := range map[string]string{
		"":   "the rule chain's export: line 1: no JSON",
		"[]": "no rule chain's export", `{"ruleChain":{},"metadata":[]}`: "no rule chain's export",
		`{"ruleChain":{},"metadata":{"nodes":[{}]}}`: "the rule chain's export: node 0 has no type",
		strings.Repeat(" ", MaxMetadata+1):           "more than 4194304 bytes",
	} {
		if _, _, err := Export([]byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzTrial: whatever an edge and a step are, there is a result or an error, and the sums agree.
func FuzzTrial(f *testing.F) {
	files, err := filepath.Glob("testdata/chains/*.expect.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		edge, err := os.ReadFile(strings.TrimSuffix(file, ".expect.jsonl") + ".json")
		if err != nil {
			f.Fatal(err)
		}
		steps, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		step, _, _ := strings.Cut(string(steps), "\n")
		f.Add(string(edge), step)
	}
	f.Add(`{"ruleChain":{},"metadata":{"firstNodeIndex":0,"nodes":[{"type":"x"}]}}`, `{"at":0,"rpcAnswer":{"device":"","response":[]}}`)
	f.Fuzz(func(t *testing.T, edge, step string) {
		e, err := NewTrial([]byte(edge), Options{})
		if e == nil {
			if err == nil {
				t.Fatal("neither a trial nor an error")
			}
			return
		}
		e.e.SetLimit(20)
		e.Report()
		for _, line := range []string{step, `{"at":60000}`} {
			if s, err := parseTree(line); err == nil {
				if at, ok := s.get("at").number(); ok && at > 1e6 {
					return // what timers may do in years takes minutes
				}
			}
			out, err := e.Step([]byte(line))
			if err != nil {
				if strings.Contains(err.Error(), "sums") {
					t.Fatal(err)
				}
				return
			}
			if !json.Valid(out) {
				t.Fatalf("no JSON: %q", out)
			}
		}
	})
}
