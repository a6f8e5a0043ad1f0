package rules

import (
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
	if _, err := e.step(`{"at":200000000}`); err == nil || err.Error() != "more than 100000 timers fire before it" {
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

// TestExport: a chain as people export it becomes the root.
func TestExport(t *testing.T) {
	head, metadata, err := Export([]byte(`{"ruleChain":{"name":"n","root":false},"metadata":{"firstNodeIndex":0,` +
		`"nodes":[{"type":"x","name":"a"}],"connections":null}}`))
	const id = `{"entityType":"RULE_CHAIN","id":"ed000000-0000-0000-0000-000000000001"}`
	if err != nil || string(head) != `{"name":"n","root":true,"id":`+id+`}` ||
		string(metadata) != `{"firstNodeIndex":0,"nodes":[{"type":"x","name":"a"}],"connections":null,"ruleChainId":`+id+`}` {
		t.Errorf("%s\n%s\n%v", head, metadata, err)
	}
	own := strings.Replace(id, "ed0", "ed1", 1)
	for _, text := range []string{
		`{"ruleChain":{"id":` + own + `},"metadata":{}}`, `{"ruleChain":{},"metadata":{"ruleChainId":` + own + `}}`,
	} {
		if _, metadata, err = Export([]byte(text)); err != nil || string(metadata) != `{"ruleChainId":`+own+`}` {
			t.Errorf("%s %v", metadata, err)
		}
	}
	for text, word := range map[string]string{
		"": "the rule chain's export: no JSON", "[]": "no rule chain's export", `{"ruleChain":{},"metadata":[]}`: "no rule chain's export",
		strings.Repeat(" ", MaxMetadata+1): "more than 4194304 bytes",
	} {
		if _, _, err := Export([]byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
