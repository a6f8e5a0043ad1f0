package ruling

import (
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/device/payload"
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

// Fields that nobody knows, of a newer server, change nothing.
func TestUnknownFields(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{hotNode, pushNode}, "0>1:True")
	text := `{"ruleChainId":{"id":"` + proto.FormatUUID(chainID) + `","entityType":"RULE_CHAIN","é":[]},` +
		`"firstNodeIndex":0,"new":{"a":[1,null]},` +
		`"nodes":[{"type":"org.thingsboard.rule.engine.filter.TbJsFilterNode","name":"cold","colour":7,` +
		`"configuration":{"scriptLang":"TBEL","tbelScript":"return msg.t < 30;","depth":{"x":1e999}}},` +
		`{"type":"org.thingsboard.rule.engine.edge.TbMsgPushToCloudNode","name":"p",` +
		`"configuration":{"scope":"CLIENT_SCOPE","\u0000":[[]]}}],` +
		`"connections":[{"fromIndex":0,"toIndex":1,"type":"True","weight":-0}],"ruleChainConnections":null,"later":true}`
	if changed, err := g.engine.Metadata([]byte(text)); !changed || err != nil {
		t.Fatal(changed, err)
	}
	g.want(events(t, 1, `{"t":31}`), "")
	g.want(events(t, 1, `{"t":1}`), `{"t":1}`)
}

// Chains and nodes in a circle end, and what was in them goes up as it came, once.
func TestCircles(t *testing.T) {
	a, b := chainID, proto.UUID{0xc0, 15: 2}
	call := func(id proto.UUID) string {
		return `flow.TbRuleChainInputNode|call|{"ruleChainId":"` + proto.FormatUUID(id) + `"}`
	}
	const script = `transform.TbTransformMsgNode|add|{"scriptLang":"TBEL",` +
		`"tbelScript":"msg.n = msg.n + 1; return {msg: msg, metadata: metadata, msgType: msgType};"}`
	for name, set := range map[string]func(g *rig){
		"chains": func(g *rig) {
			g.chain(b, false, []string{call(a)})
			g.chain(a, true, []string{call(b)})
		},
		"a chain that calls itself": func(g *rig) { g.chain(a, true, []string{call(a)}) },
		"a node":                    func(g *rig) { g.chain(a, true, []string{script}, "0>0:Success") },
		"nodes that copy": func(g *rig) {
			g.chain(a, true, []string{script, script, script}, "0>1:Success", "0>2:Success", "1>0:Success", "2>0:Success")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			defer g.close(false)
			set(g)
			g.want(events(t, 1, `{"n":1}`), `{"n":1}`)
			s := g.engine.Sums()
			if s.Failed == 0 || s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
				t.Errorf("%+v", s)
			}
			said := false
			for _, c := range g.Report(true).Chains {
				for _, n := range c.Nodes {
					said = said || n.LastError != ""
				}
			}
			if !said {
				t.Error("the report does not say why")
			}
		})
	}
}

// Values at the edges of what a number or a text can be go through scripts and nodes as a real edge
// has them (RULES.md 2.1, 5.4), or as they came.
func TestValuesAtTheEdges(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{
		`transform.TbTransformMsgNode|same|{"scriptLang":"TBEL","tbelScript":"return {msg: {'é ключ': msg['é ключ']}, ` +
			`metadata: metadata, msgType: msgType};"}`, pushNode,
	}, "0>1:Success")
	for in, want := range map[string]string{
		// What is no long or a double of 18 digits becomes a text, written out.
		`5e-324`: `"0.` + strings.Repeat("0", 323) + `5"`, `1e400`: `"1` + strings.Repeat("0", 400) + `"`,
		`-1e400`: `"-1` + strings.Repeat("0", 400) + `"`, `1.7976931348623157e308`: `"17976931348623157` + strings.Repeat("0", 292) + `"`,
		`9007199254740993`:  `9007199254740993`,
		`-9007199254740993`: `-9007199254740993`, `9007199254740991`: `9007199254740991`,
		`9223372036854775807`: `9223372036854775807`, `-9223372036854775808`: `-9223372036854775808`,
		`9223372036854775808`: `"9223372036854775808"`, `-0`: `0`, `-0.0`: `0.0`,
		`"\ud83d\ude00"`: `"😀"`, `"a\u0000b"`: `"a\u0000b"`, `"\ud800"`: `"?"`, "\"\xff\"": "\"\ufffd\"", `"e\u0301"`: "\"e\u0301\"",
	} {
		list, err := new(payload.Parser).Telemetry([]byte(`{"é ключ":`+in+`}`), device(1), 1)
		if err != nil {
			t.Fatalf("%q is refused: %v", in, err)
		}
		g.want(list, `{"é ключ":`+want+`}`)
	}
}

// Metadata that are no chain do not take the place of those that are executed, over a restart too;
// what comes once they are good counts, and so it stays.
func TestBadMetadataAfterARestart(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{hotNode, pushNode}, "0>1:True")
	metadata := func(text string) {
		t.Helper()
		g.down(&proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{
			Entity: `{"ruleChainId":{"id":"` + proto.FormatUUID(chainID) + `"},` + text + `}`,
		}}})
		if g.changed.Swap(false) {
			_ = g.load() // the report says it
		}
	}
	restart := func() {
		t.Helper()
		g.close(true)
		g.open()
	}
	check := func(problem string) {
		t.Helper()
		g.want(events(t, 1, `{"t":31}`), `{"t":31}`)
		g.want(events(t, 1, `{"t":29}`), "")
		if c := g.Report(true).Chains; len(c) != 1 || !strings.Contains(c[0].Problem, problem) || (c[0].Problem == "") != (problem == "") {
			t.Errorf("%+v, want the problem %q", c, problem)
		}
	}
	node := `"nodes":[{"type":"org.thingsboard.rule.engine.flow.TbAckNode","name":"n"}]`
	metadata(`"firstNodeIndex":3,` + node)
	check("names no node")
	restart()
	check("names no node")
	metadata(node + `,"connections":[{"fromIndex":0,"toIndex":7,"type":"x"}]`)
	check("not there")
	head := &proto.RuleChainUpdateMsg{Entity: `{"id":{"id":"` + proto.FormatUUID(chainID) + `"},"name":"another name","root":true}`}
	head.IdMSB, head.IdLSB = proto.Halves(chainID)
	g.down(&proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{head}})
	g.changed.Store(false)
	_ = g.load() // the report says it
	check("not there")
	restart()
	check("not there")
	g.chain(chainID, true, []string{hotNode, pushNode}, "0>1:True")
	check("")
	metadata(`"firstNodeIndex":0,` + node)
	g.want(events(t, 1, `{"t":31}`), "")
	restart()
	g.want(events(t, 1, `{"t":31}`), "")
	if text, ok := g.reg.FormerMetadata(chainID); ok {
		t.Errorf("%s is kept", text)
	}
	g.close(false)
}

// A chain too many is executed once another one has gone.
func TestOneChainTooMany(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	var last error
	chain := func(n int, how proto.UpdateMsgType) {
		t.Helper()
		id := proto.UUID{0xc0, 14: 1, 15: byte(n)}
		ref := `{"id":"` + proto.FormatUUID(id) + `"}`
		head := &proto.RuleChainUpdateMsg{MsgType: how, Entity: `{"id":` + ref + `,"name":"c"}`}
		head.IdMSB, head.IdLSB = proto.Halves(id)
		m := &proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{head}}
		if how == proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE {
			m.RuleChainMetadataUpdateMsg = []*proto.RuleChainMetadataUpdateMsg{{Entity: `{"ruleChainId":` + ref + `,"nodes":[]}`}}
		}
		g.down(m)
		g.changed.Store(false)
		last = g.load()
	}
	for n := range 201 {
		if chain(n, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE); (last == nil) != (n < 200) {
			t.Fatalf("after %d chains: %v", n+1, last)
		}
	}
	chain(7, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE)
	if r := g.Report(true); last != nil || len(r.Chains) != 200 || len(g.problems) != 0 {
		t.Errorf("%d chains, %v, %v", len(r.Chains), g.problems, last)
	}
}
