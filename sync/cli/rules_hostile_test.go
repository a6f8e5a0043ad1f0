package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/sync/config"
)

const (
	hostileChain  = `{"entityType":"RULE_CHAIN","id":"ea81541d-c33c-5fda-8bc9-ad03caea2853"}`
	hostileDevice = `{"entityType":"DEVICE","id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"}`
	hostilePush   = `{"type":"org.thingsboard.rule.engine.edge.TbMsgPushToCloudNode","name":"push","configuration":{}}`
)

// hostileEdge is an edge with one root chain of these metadata, which may be anything.
func hostileEdge(metadata string) string {
	return `{"downlinks":[{"ruleChainUpdateMsg":{"id":` + hostileChain + `,"name":"root","root":true},"ruleChainMetadataUpdateMsg":` +
		metadata + `}]}`
}

// hostileNodes are metadata of a chain: nodes that are divided by commas, and connections as
// "0>1:Success".
func hostileNodes(nodes string, links ...string) string {
	var b strings.Builder
	for i, l := range links {
		var from, to int
		ends, name, _ := strings.Cut(l, ":")
		_, _ = fmt.Sscanf(ends, "%d>%d", &from, &to)
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"fromIndex":%d,"toIndex":%d,"type":%q}`, from, to, name)
	}
	return `{"ruleChainId":` + hostileChain + `,"firstNodeIndex":0,"nodes":[` + nodes + `],"connections":[` + b.String() + `]}`
}

// hostileScript is a node with a script.
func hostileScript(kind, script string) string {
	text, _ := json.Marshal(script)
	return `{"type":"org.thingsboard.rule.engine.` + kind + `","name":"script","configuration":{"scriptLang":"TBEL","tbelScript":` +
		string(text) + `}}`
}

func hostileStep(at int, data string) string {
	return fmt.Sprintf(`{"at":%d,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":%s,"metadata":{},"data":%s}}`,
		at, hostileDevice, data)
}

// TestRulesTryHostile: whatever a chain is, there is a clear word, an end, and the values of the
// device go on: data are what the cloud gets for {"t":1} and {"t":2}, in this order.
func TestRulesTryHostile(t *testing.T) {
	const raw = `{"t":1} {"t":2}`
	// Nodes in front of the push node: with a script, or of a type with a configuration.
	filter := func(script string) string {
		return hostileNodes(hostileScript("filter.TbJsFilterNode", script)+","+hostilePush, "0>1:True")
	}
	transform := func(script string) string {
		return hostileNodes(hostileScript("transform.TbTransformMsgNode", script)+","+hostilePush, "0>1:Success")
	}
	node := func(typ, name, conf string) string {
		return `{"type":"org.thingsboard.rule.engine.` + typ + `","name":"` + name + `","configurationVersion":2,"configuration":` +
			conf + `}`
	}
	front := func(typ, conf string) string {
		return hostileNodes(node(typ, "node", conf)+","+hostilePush, "0>1:Success")
	}
	call := func(id string) string {
		return hostileNodes(node("flow.TbRuleChainInputNode", "call", `{"ruleChainId":"`+id+`"}`))
	}
	ack := node("flow.TbAckNode", "ack", `{}`)
	const nowhere = "connection 0 leads from or to a node that is not there"
	for _, test := range []struct {
		name, metadata string
		code           int
		says, cloud    string
	}{
		{"no JSON object", `"{\"nodes\":"`, 1, "no JSON", raw},
		{"a number", `7`, 1, "no JSON", raw},
		{"unknown fields", strings.Replace(hostileNodes(hostilePush), `{"type"`, `{"colour":{"red":[1,2]},"type"`, 1), 0, "", raw},
		{"no nodes", `{"ruleChainId":` + hostileChain + `}`, 0, "", ""},
		{"nodes that are a text", `{"ruleChainId":` + hostileChain + `,"nodes":"all"}`, 0, "", ""},
		{
			"a first node that is not there", `{"ruleChainId":` + hostileChain + `,"nodes":[],"firstNodeIndex":0}`,
			1, "firstNodeIndex names no node", raw,
		},
		{"a node without type", hostileNodes(`{}`), 1, "node 0 has no type", raw},
		{"a connection to nowhere", hostileNodes(hostilePush, "0>7:Success"), 1, nowhere, raw},
		{"a connection from nowhere", hostileNodes(hostilePush, "-1>0:Success"), 1, nowhere, raw},
		{"10,000 nodes", hostileNodes(strings.Repeat(ack+",", 9999) + ack), 1, "a chain of 10000 nodes; at most 2000 are executed", raw},
		{
			"25,000 connections", hostileNodes(ack+","+hostilePush, slices.Repeat([]string{"0>1:Success"}, 25_000)...),
			1, "more than 20000", raw,
		},
		{
			"a script of 1 MB", filter("return true;" + strings.Repeat(" ", 1<<20)),
			0, "a script of 1048588 bytes; at most 50000 are allowed", raw,
		},
		{"a script that is no script", filter("return (((("), 0, "does not compile: syntax error: unexpected end of statement", raw},
		{"a script that is nested deep", filter("return " + strings.Repeat("(", 20_000) + "1"), 0, "is not executed: ", raw},
		{"a node that calls itself", hostileNodes(ack, "0>0:Success"), 0, "", raw},
		{
			"nodes in a circle", hostileNodes(ack+","+ack+","+ack, "0>1:Success", "1>2:Success", "2>0:Success"),
			0, "", raw,
		},
		{
			"a circle that doubles", hostileNodes(ack+","+ack, "0>1:Success", "0>0:Success", "1>0:Success", "1>1:Success"),
			0, "", raw,
		},
		{"a chain that calls itself", call("ea81541d-c33c-5fda-8bc9-ad03caea2853"), 0, "", raw},
		{"a call of a chain that is not there", call("00000000-c33c-5fda-8bc9-ad03caea2853"), 0, "", raw},
		{
			"a generator every millisecond", hostileNodes(hostilePush + "," + node("debug.TbMsgGeneratorNode", "gen",
				`{"msgCount":0,"periodInSeconds":0.001,"originatorType":"TENANT","scriptLang":"TBEL","tbelScript":"return {};"}`)),
			0, `node "gen" is not executed: `, raw,
		},
		{"an endless script", filter("while (true) { } return true;"), 0, "", raw},
		{"a script that calls itself", filter("function f(x) { return f(x + 1); } return f(1) > 0;"), 0, "", raw},
		{
			"a script that builds a gigabyte",
			transform("var s = 'xxxxxxxxxxxxxxxx'; for (var i = 0; i < 26; i++) { s = s + s; } msg.s = s; return {msg: msg};"),
			0, "", raw,
		},
		{
			"a script that builds a list of a gigabyte",
			transform("var l = []; while (true) { l.add('xxxxxxxxxxxxxxxx'); } return {msg: l};"), 0, "", raw,
		},
		{
			"a regular expression that explodes",
			filter("var s = 'a'.repeat(30000); return !(s + 'b').matches('(a+)+(a+)+(a+)+$');"), 0, "", raw,
		},
		{
			"a regular expression of keys that explodes",
			front("transform.TbDeleteKeysNode", `{"deleteFrom":"DATA","keys":["(((x{1,100}){1,100}){1,100}){1,100}"]}`), 0, "", raw,
		},
		{
			"a path that explodes", front("transform.TbJsonPathNode", `{"jsonPath":"`+strings.Repeat("$..*", 400)+`"}`),
			0, "", raw,
		},
		{
			"a delay of a thousand years", front("delay.TbMsgDelayNode", `{"periodInSeconds":31536000000,"maxPendingMsgs":1}`),
			0, `"periodInSeconds" must be between 0 and 31622400`, raw,
		},
		{
			"texts of another world",
			hostileNodes(strings.ReplaceAll(hostilePush, `"push"`, `"\u001b[2J\u202e\u0000é𝄞"`) + `,{"type":"\u202ex","name":"\ud800"}`),
			0, "is not executed: the type is unknown", raw,
		},
	} {
		edge := write(t, "edge.json", hostileEdge(test.metadata))
		steps := write(t, "steps.jsonl", hostileStep(0, `{"t":1}`)+"\n"+hostileStep(1, `{"t":2}`)+"\n"+`{"at":86400000,"in":null}`+"\n")
		code, out, errs := ruled("try", edge, steps)
		if code != test.code || !strings.Contains(errs, test.says) || strings.Count(out, "\n") != 3 {
			t.Errorf("%s: exit code %d, %.400q, %d lines", test.name, code, errs, strings.Count(out, "\n"))
			continue
		}
		var got []string
		for line := range strings.Lines(out) {
			var v struct {
				Cloud []struct {
					Body struct {
						Data json.RawMessage `json:"data"`
					} `json:"body"`
				} `json:"cloud"`
			}
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(test.name, err)
			}
			for _, e := range v.Cloud {
				got = append(got, string(e.Body.Data))
			}
		}
		if s := strings.Join(got, " "); s != test.cloud {
			t.Errorf("%s: the cloud gets %.200s, want %s; %.300s\n%.600s", test.name, s, test.cloud, errs, out)
		}
		for _, c := range out + errs {
			if c == 0x1b || c == 0x202e {
				t.Errorf("%s: %q is printed", test.name, c)
			}
		}
	}
}

// TestRulesTryNumbers: numbers at the edges come out as they went in, or as Java prints them.
func TestRulesTryNumbers(t *testing.T) {
	script := hostileScript("transform.TbTransformMsgNode", "msg.x = 1; return {msg: msg};")
	edge := write(t, "edge.json", hostileEdge(hostileNodes(script+","+hostilePush, "0>1:Success")))
	for in, want := range map[string]string{
		"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808", "1e308": "1.0E308", "-0.0": "-0.0",
		"2147483648": "2147483648", "0.1": "0.1", "1e7": "1.0E7", `"é𝄞\u0000\u202e"`: `"é𝄞\u0000\u202e"`,
		`"` + strings.Repeat("y", 50_000) + `"`: `"` + strings.Repeat("y", 50_000) + `"`,
	} {
		steps := write(t, "steps.jsonl", hostileStep(0, `{"v":`+in+`}`))
		code, out, errs := ruled("try", edge, steps)
		if code != 0 || errs != "" || !strings.Contains(out, `"data":{"v":`+want+`,"x":1}`) {
			t.Errorf("%.60s: exit code %d, %s, %.300s", in, code, errs, out)
		}
	}
	// What is no number for the script's language is a failure, and goes up as it came.
	deep := strings.Repeat("[", 101) + strings.Repeat("]", 101)
	for _, in := range []string{"1e400", "92233720368547758080", strings.Repeat("9", 4000), deep} {
		steps := write(t, "steps.jsonl", hostileStep(0, `{"v":`+in+`}`))
		code, out, errs := ruled("try", edge, steps)
		if code != 0 || errs != "" || strings.Count(out, `"action":"TIMESERIES_UPDATED"`) != 1 {
			t.Errorf("%.60s: exit code %d, %s, %.300s", in, code, errs, out)
		}
	}
}

// TestBadRulesFile: a rules.file that cannot be executed is a mistake of the configuration, in
// clear words.
func TestBadRulesFile(t *testing.T) {
	const nowhere = "connection 0 leads from or to a node that is not there"
	export := func(metadata string) string { return `{"ruleChain":{"name":"x"},"metadata":` + metadata + `}` }
	for text, word := range map[string]string{
		"":                         "the rule chain's export: line 1: no JSON",
		"{\r\n" + `"ruleChain":{}`: "the rule chain's export: line 2: no JSON",
		"\ufeff" + strings.ReplaceAll(export("\n"+hostileNodes(hostilePush)+"\n"), "\n", "\r\n"): "", // of an editor
		`[]`:                       `no rule chain's export: it is an object with "ruleChain" and "metadata"`,
		export(`"nodes"`):          `no rule chain's export: it is an object with "ruleChain" and "metadata"`,
		export(`{"nodes":7}`):      "",
		export(hostileNodes(`{}`)): "node 0 has no type",
		export(hostileNodes(hostilePush, "0>7:Success")):                            nowhere,
		export(hostileNodes(strings.Repeat(hostilePush+",", 3000) + hostilePush)):   "a chain of 3001 nodes; at most 2000 are executed",
		export(`{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`): "JSON that is nested more than 128 deep",
		export(`{"x":[` + strings.Repeat("0,", 200_000) + `0]}`):                    "JSON of more than 200000 values",
		strings.Repeat(" ", 1<<20+1):                                                "is no file of at most 1 MiB",
		export(hostileNodes(hostilePush)):                                           "",
	} {
		path := write(t, "chain.json", text)
		_, err := readChain(path)
		if word == "" {
			if err != nil {
				t.Errorf("%.60s: %v", text, err)
			}
			continue
		}
		if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), word) ||
			!strings.Contains(err.Error(), "rules.file: "+path) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	for _, path := range []string{t.TempDir(), "/dev/zero", filepath.Join(t.TempDir(), "gone")} {
		if _, err := readChain(path); !errors.Is(err, config.ErrInvalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
