package ruling

import (
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
)

// What is no chain is not executed, which the report says in a word; the chain before it goes on,
// and data go up.
func TestBadChains(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{hotNode, pushNode}, "0>1:True")
	ref := `{"ruleChainId":{"id":"` + proto.FormatUUID(chainID) + `"},`
	node := `{"type":"` + "org.thingsboard.rule.engine.flow.TbAckNode" + `","name":"n"}`
	for text, word := range map[string]string{
		`no JSON`: "rule chain", ref + `"nodes":[` + node: "rule chain", `{"nodes":[]}`: "without ruleChainId",
		ref + `"firstNodeIndex":3,"nodes":[` + node + `]}`:                                     "names no node",
		ref + `"nodes":[` + node + `],"connections":[{"fromIndex":0,"toIndex":7,"type":"x"}]}`: "not there",
		ref + `"nodes":[{"name":"typeless"}]}`:                                                 "no type",
		ref + `"nodes":[` + strings.Repeat(node+",", 9999) + node + `]}`:                       "a chain of 10000 nodes; at most 2000",
		ref + `"nodes":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`:         "rule chain",
	} {
		m := &proto.RuleChainMetadataUpdateMsg{Entity: text}
		if _, err := g.engine.Metadata([]byte(m.Entity)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.60s: %v, want %s", text, err, word)
		}
		g.want(events(t, 1, `{"t":31}`), `{"t":31}`)
	}
}

// A chain whose nodes are too large to be kept is named, and data go to the cloud.
func TestChainTooLarge(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	script := strings.Repeat("x", 1<<20)
	g.chain(chainID, true, []string{`filter.TbJsFilterNode|n|{"scriptLang":"TBEL","tbelScript":"` + script + `"}`, pushNode}, "0>1:True")
	want := "Chain " + proto.FormatUUID(chainID) + " is not executed: its nodes are not here: have they more than 1 MiB?"
	if r := g.Report(true); !slices.Contains(r.Facts, want) {
		t.Errorf("facts %q, want %q", r.Facts, want)
	}
	g.want(events(t, 1, `{"t":31}`), "untouched")
	g.chain(chainID, true, []string{hotNode, pushNode}, "0>1:True")
	if r := g.Report(true); slices.Contains(r.Facts, want) {
		t.Errorf("facts %q once the nodes are here", r.Facts)
	}
}

// A node that cannot be executed says why, and lets messages pass; one that runs beyond its bounds
// fails in time, and its message goes up as it came.
func TestBadNodes(t *testing.T) {
	tbel := func(s string) string { return `filter.TbJsFilterNode|n|{"scriptLang":"TBEL","tbelScript":"` + s + `"}` }
	for node, reason := range map[string]string{
		`debug.TbMsgGeneratorNode|n|{"periodInSeconds":0.001,"originatorType":"RULE_NODE","scriptLang":"TBEL","tbelScript":"return {};"}`://
		"must be between 1 and",
		tbel(strings.Repeat("true || ", 1<<15) + "true"):                       "does not compile",
		tbel("return " + strings.Repeat("(", 5000)):                            "does not compile",
		tbel("var s = 'x'; while (true) { s = s + s; } return true;"):          "",
		tbel("while (true) {} return true;"):                                   "",
		tbel("return msg.x.matches('(a+)+b');"):                                "",
		`transform.TbCopyKeysNode|n|{"copyFrom":"DATA","keys":["(a+)+b","("]}`: "regular expression",
	} {
		g := newRig(t)
		g.chain(chainID, true, []string{node, pushNode}, "0>1:True", "0>1:Success")
		start := time.Now()
		got := g.post(events(t, 1, `{"x":"`+strings.Repeat("a", 5000)+`"}`))
		if r := g.Report(true); len(r.Chains) == 0 {
			t.Errorf("%.80s: no chain: %s", node, r.Facts)
		} else if n := r.Chains[0].Nodes[0]; !strings.Contains(n.Reason, reason) || (n.Reason == "") != (reason == "") {
			t.Errorf("%.80s: %q, want %q", node, n.Reason, reason)
		}
		sent := strings.Contains(got, "aaa") || strings.Contains(node, "Generator") || strings.Contains(node, "matches")
		if !sent || time.Since(start) > 20*time.Second {
			t.Errorf("%.80s: %.60s after %v", node, got, time.Since(start))
		}
		g.close(false)
	}
}
