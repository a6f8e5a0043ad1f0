package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"edgesync/proto"
)

// TestWays: the plan knows what needs no run, and asking allocates nothing.
func TestWays(t *testing.T) {
	text, err := os.ReadFile("testdata/chains/01-default-edge-root.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewTrial(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for typ, w := range map[string]Way{
		PostTelemetry:     {Save: true, Push: true},
		PostAttributes:    {Save: true, Push: true, Scope: "CLIENT_SCOPE"},
		CallFromDevice:    {Run: true},
		CallToDevice:      {Call: true},
		AttributesUpdated: {Push: true, Scope: "SERVER_SCOPE"},
		"CONNECT_EVENT":   {},
		"MY_TYPE":         {Run: true},
	} {
		got, ok := wayOf(e.e, typ)
		if !ok || got != w {
			t.Errorf("%s: %+v, want %+v", typ, got, w)
		}
	}
	old, err := os.ReadFile("testdata/chains/19-old-edge-root.json")
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewTrial(old, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Its attributes become server attributes, by the chain's will (RULES.md 1.5).
	if got, ok := wayOf(o.e, PostAttributes); !ok || got != (Way{Save: true, Push: true, Scope: "SERVER_SCOPE"}) {
		t.Errorf("%+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { e.e.WayOf(proto.UUID{1}, PostTelemetry) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for name, c := range map[string]struct {
		nodes []string
		links []string
		want  Way
	}{
		"drops":        {[]string{ack}, nil, Way{}},
		"only push":    {[]string{push}, nil, Way{Push: true}},
		"a script":     {[]string{onlyHot, push}, []string{"0>1:True"}, Way{Run: true}},
		"two branches": {[]string{ack, push, save}, []string{"0>1:Success", "0>2:Success"}, Way{Run: true}},
		"a circle":     {[]string{ack, ack}, []string{"0>1:Success", "1>0:Success"}, Way{Run: true}},
		"by type": {
			[]string{`filter.TbMsgTypeFilterNode|f|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`, push, ack},
			[]string{"0>1:True", "0>2:False"},
			Way{Push: true},
		},
		"not executed": {[]string{kafka, push}, []string{"0>1:Success"}, Way{Run: true}},
	} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, c.nodes, c.links...)
		if got, ok := wayOf(e.e, PostTelemetry); !ok || got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	w, ok := testEdge(t, Options{}).e.WayOf(proto.UUID{}, PostTelemetry)
	if ok || !w.Run {
		t.Error("a way without a chain")
	}
	e.e.Passed(&Way{Push: true}, 3)
	e.e.Passed(&Way{}, 2)
	if s := e.e.Sums(); s.Received != 5 || s.Accepted != 3 || s.Filtered != 2 {
		t.Errorf("%+v", s)
	}
}

// wayOf is a way without its steps.
func wayOf(e *Engine, typ string) (Way, bool) {
	w, ok := e.WayOf(proto.UUID{}, typ)
	bare := *w
	bare.steps = nil
	return bare, ok
}

// TestWaysCount: what takes a way without being run is counted at the nodes of the way, and at
// those of the chain that replaces it, relations as nodes.
func TestWaysCount(t *testing.T) {
	e := testEdge(t, Options{})
	nodes, links := []string{ack, save, push}, []string{"0>1:Success", "1>2:Success"}
	e.chain(t, rootID, true, nodes, links...)
	count := func(n int) {
		t.Helper()
		w, ok := e.e.WayOf(proto.UUID{}, PostTelemetry)
		if !ok || w.Run {
			t.Fatalf("%+v", *w)
		}
		for i := range n {
			w.Count(proto.UUID{15: byte(i)})
		}
	}
	want := func(in, out uint32) {
		t.Helper()
		for i, n := range e.e.Report()[0].Nodes[:len(nodes)] {
			taken := uint32(0)
			for _, r := range n.Out {
				taken += r.Taken
			}
			last := i == len(nodes)-1
			if n.In != in || !last && taken != out || last && taken != 0 {
				t.Errorf("node %d: in %d, out %d, want %d, %d", i, n.In, taken, in, out)
			}
		}
	}
	count(3)
	want(3, 3)
	e.chain(t, rootID, true, append(nodes, onlyHot), links...)
	want(3, 3) // the nodes are the same, and so are their relations
	count(2)
	want(5, 5)
	want(5, 5)                 // telling it does not count it again
	runWay.Count(proto.UUID{}) // is counted where it runs
	before, _ := e.e.WayOf(proto.UUID{}, PostTelemetry)
	e.chain(t, rootID, true, nodes, links...)
	before.Count(proto.UUID{}) // it was looked up before the chain was replaced
	want(6, 6)
	count(1)
	want(7, 7)
	e.chain(t, rootID, true, []string{`filter.TbMsgTypeFilterNode|posts|{"messageTypes":["POST_ATTRIBUTES_REQUEST"]}`, push}, "0>1:True")
	count(2)
	if n := e.e.Report()[0].Nodes[0]; n.Ended != 2 { // by False
		t.Errorf("%+v", n)
	}
}

// TestWaysCountTogether: writers that count at the same time, at all shards and while the chain is
// replaced and told of, are all counted.
func TestWaysCountTogether(t *testing.T) {
	const writers, each = 2 * shards, 500
	e := testEdge(t, Options{})
	texts := [2][]byte{metadataOf(rootID, []string{ack, push}, "0>1:Success"), metadataOf(rootID, []string{ack, push, ack}, "0>1:Success")}
	e.chain(t, rootID, true, []string{ack, push}, "0>1:Success")
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for range each {
				w, _ := e.e.WayOf(proto.UUID{}, PostTelemetry)
				w.Count(proto.UUID{15: byte(i)})
			}
		})
	}
	for i := range 20 {
		if changed, err := e.e.Metadata(texts[(i+1)%2]); err != nil || !changed {
			t.Fatal(changed, err)
		}
		e.e.Report()
	}
	all.Wait()
	for i, n := range e.e.Report()[0].Nodes[:2] {
		if n.In != writers*each {
			t.Errorf("node %d: %d messages, want %d", i, n.In, writers*each)
		}
	}
}

// TestBadMetadata: each mistake has a clear word, and the former chain goes on.
func TestBadMetadata(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{push})
	many := make([]string, maxNodes+1)
	for i := range many {
		many[i] = ack
	}
	relations := make([]string, maxRelations+1)
	for i := range relations {
		relations[i] = "0>0:" + decimal(int64(i))
	}
	id := `{"ruleChainId":{"id":"` + rootID + `"},`
	for text, word := range map[string]string{
		``:                                    "no JSON",
		`[]`:                                  "no JSON",
		`{`:                                   "no JSON",
		`{"nodes":[]}`:                        "without ruleChainId",
		id + `"nodes":[{}]}`:                  "node 0 has no type",
		id + `"nodes":[],"firstNodeIndex":3}`: "firstNodeIndex names no node",
		id + `"nodes":[{"type":"a"}],"connections":[{"fromIndex":0,"toIndex":1}]}`:   "connection 0 leads",
		id + `"nodes":[{"type":"a"}],"connections":[{"toIndex":0}]}`:                 "connection 0 leads",
		id + `"nodes":[{"type":"a"}],"connections":[{"fromIndex":0.5,"toIndex":0}]}`: "connection 0 leads",
		id + `"nodes":[{"type":"a"}],"connections":7}`:                               "connections are no list",
		id + `"nodes":[],"ruleChainConnections":[{"fromIndex":0}]}`:                  "leads nowhere",
		string(metadataOf(rootID, many[:1], relations...)):                           "256 relations",
		string(metadataOf(rootID, many)):                                             "2001 nodes; at most 2000",
		id + `"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`:      "nested",
		id + `"x":[` + strings.Repeat("0,", maxValues) + `0]}`:                       "values",
		id + `"x":"` + strings.Repeat("x", MaxMetadata) + `"}`:                       "bytes; at most",
	} {
		changed, err := e.e.Metadata([]byte(text))
		if changed || err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.80q: %v, want %q", text, err, word)
		}
	}
	want(t, e.post(t, 0, `{"t":1}`), `cloud {"t":1}`)
	for _, text := range []string{``, `{}`, `{"id":7}`, strings.Repeat("x", MaxMetadata+1)} {
		if err := e.e.Head([]byte(text)); err == nil {
			t.Errorf("head %.20q is taken", text)
		}
	}
	// A script that is too long, a period of nothing: the node is not executed, the chain is.
	long := `filter.TbJsFilterNode|long|{"scriptLang":"TBEL","tbelScript":"` + strings.Repeat("x", 1<<20) + `"}`
	e.chain(t, rootID, true, []string{long, push, `debug.TbMsgGeneratorNode|gen|{"periodInSeconds":0.001,"scriptLang":"TBEL",` +
		`"tbelScript":"return {};"}`}, "0>1:True")
	want(t, e.post(t, 1, `{"t":2}`), `cloud {"t":2}; unsupported long`)
	if n := e.e.chains[e.e.root].nodes[2]; !strings.Contains(n.reason, "periodInSeconds") || len(e.e.timers) != 0 {
		t.Errorf("%q, %d timers", n.reason, len(e.e.timers))
	}
}

// TestTheDefaultsOfEveryNode: each type that a server offers is known, and its default
// configuration is executed unless something in it must be filled in first.
func TestTheDefaultsOfEveryNode(t *testing.T) {
	b, err := os.ReadFile("testdata/nodes.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{
		"metadata.TbGetTelemetryNode": "latestTsKeyNames",
		"filter.TbCheckRelationNode":  "entityId",
		"flow.TbRuleChainInputNode":   "",
	}
	done := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var n struct {
			Type                 string
			ConfigurationVersion int64
			Default              json.RawMessage
			Verdict              string
		}
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatal(err)
		}
		typ := strings.TrimPrefix(n.Type, typePrefix)
		k := kindOf(typ)
		if k == nil || k.version != n.ConfigurationVersion {
			t.Errorf("%s: %+v", typ, k)
			continue
		}
		if k.work == nil {
			if n.Verdict == "must" {
				t.Errorf("%s is not executed", typ)
			}
			continue
		}
		done[n.Verdict]++
		conf, err := parseTree(string(n.Default))
		if err != nil {
			t.Fatal(err)
		}
		node := &node{chain: &chain{}, mem: new(memory), full: n.Type, typ: typ}
		node.compile(object("configuration", conf, "configurationVersion", wholeTree(k.version)))
		if node.work == nil && !(open[typ] != "" && strings.Contains(node.reason, open[typ])) {
			t.Errorf("%s: %s", typ, node.reason)
		}
	}
	if done["must"] != 38 || done["should"] != 20 || len(kinds) != 75 {
		t.Errorf("%v of %d", done, len(kinds))
	}
}

// FuzzMetadata: no metadata and no message bring the engine down, and the sums agree.
func FuzzMetadata(f *testing.F) {
	for _, name := range []string{"01-default-edge-root", "05-aggregation", "10-enrichment", "19-old-edge-root", "16-chain-loop"} {
		b, err := os.ReadFile("testdata/chains/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		edge, _ := parseTree(string(b))
		f.Add(edge.get("downlinks").items[0].get("ruleChainMetadataUpdateMsg").String(), `{"temperature":21.5}`)
	}
	f.Add(string(metadataOf(rootID, []string{ack, ack}, "0>0:Success", "0>1:Success", "1>0:Success")), `[1,2]`)
	f.Fuzz(func(t *testing.T, text, data string) {
		e := testEdge(t, Options{})
		e.e.SetLimit(20)
		if _, err := e.e.Metadata([]byte(text)); err != nil {
			return
		}
		for id := range e.e.chains {
			e.e.SetRoot(id)
		}
		for i, typ := range []string{PostTelemetry, PostAttributes, CallToDevice} {
			m := &Message{Type: typ, Originator: Entity{Type: "DEVICE", ID: proto.UUID{15: 0xd1}}, Time: e.now, Data: data}
			if _, err := e.e.Handle(m, nil); err != nil {
				t.Fatal(err)
			}
			e.say(t, fmt.Sprintf(`{"at":%d}`, i*3600_000))
		}
		if changed, err := e.e.Metadata([]byte(text)); changed || err != nil {
			t.Error("the same metadata again:", changed, err)
		}
	})
}

// TestReport: what a page shows of a chain.
func TestReport(t *testing.T) {
	alarm := `action.TbCreateAlarmNode|alarm|{"alarmType":"a","severity":"MAJOR","scriptLang":"TBEL",` +
		`"alarmDetailsBuildTbel":"return {};"}`
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{`filter.TbMsgTypeSwitchNode|s|{}`, minute, kafka, push, alarm},
		"0>1:Post telemetry", "1>2:Success", "0>3:Post attributes", "2>4:Success")
	e.post(t, 0, `{"t":1}`)
	r := e.e.Report()
	// Behind kafka, which is not executed, telemetry goes up as it came.
	if len(r) != 1 || !r[0].Root || r[0].Name != "n" || r[0].Silent || !r[0].SilentAlarms {
		t.Fatalf("%+v", r)
	}
	n := r[0].Nodes
	if n[1].Waiting != 1 || n[1].Windows != 1 || n[1].In != 1 || n[0].Out[0] != (RelationCount{"Post telemetry", 1}) {
		t.Errorf("%+v", n)
	}
	if n[2].Reason == "" || n[3].Reason != "" {
		t.Errorf("%+v", n)
	}
	e.chain(t, rootID, true, []string{onlyHot, push, alarm}, "0>1:True", "0>2:False", "2>1:Created")
	e.post(t, 1, `{"t":null}`)
	r = e.e.Report()
	if r[0].Silent || r[0].SilentAlarms || r[0].Facts() != nil {
		t.Errorf("%+v", r[0])
	}
	// A relation that a node has not, and one that it has and that leads nowhere.
	e = testEdge(t, Options{})
	e.chain(t, rootID, true, []string{onlyHot, push}, "0>1:Sucess")
	e.post(t, 2, `{"t":31}`)
	e.post(t, 3, `{"t":"hot"}`)
	r = e.e.Report()
	if n := r[0].Nodes[0]; n.Failed != 1 { // the second message fails once
		t.Errorf("%+v", n)
	}
	want := `no message ever leaves node "hot" by "Sucess". This chain sends no telemetry to the cloud.`
	if got := strings.Join(r[0].Facts(), " "); got != want || r[0].Nodes[0].Ended != 1 {
		t.Errorf("%s %+v, want %s", got, r[0].Nodes[0], want)
	}
}

// TestRelationsOfNodes: the class of each type agrees with the relations that a server offers.
func TestRelationsOfNodes(t *testing.T) {
	b, err := os.ReadFile("testdata/nodes.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	offered := 0
	for line := range strings.Lines(string(b)) {
		var j struct {
			Type            string
			Relations       []string
			CustomRelations bool
		}
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatal(err)
		}
		k := kindOf(strings.TrimPrefix(j.Type, typePrefix))
		if k == nil || k.work == nil {
			continue
		}
		n := &node{kind: k, work: k.work}
		for _, r := range j.Relations {
			if offered++; n.never(r) || n.never(strings.ToUpper(r)) {
				t.Errorf("%s never leaves by %s", k.typ, r)
			}
		}
		if j.CustomRelations && n.never("whatever") {
			t.Errorf("%s has relations of its own", k.typ)
		}
	}
	if offered < 100 {
		t.Errorf("%d relations", offered)
	}
}

// TestDownlinks: what a server sent to a real edge makes and removes chains, and changes only
// what was changed (RULES.md 1.1, 1.4, 7.7).
func TestDownlinks(t *testing.T) {
	b, err := os.ReadFile("testdata/downlinks.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	e := New(nil, nil, Options{Now: func() int64 { return 0 }})
	var got []string
	for line := range strings.Lines(string(b)) {
		v, err := parseTree(line)
		if err != nil {
			t.Fatal(err)
		}
		word := ""
		if id, ok := proto.ParseUUID(textOf(v, "deleted")); ok {
			e.Delete(id)
			word = "deleted"
		}
		if head := textOf(v, "head"); head != "" {
			if err := e.Head([]byte(head)); err != nil {
				t.Error(err)
			}
		}
		if text := textOf(v, "metadata"); text != "" {
			changed, err := e.Metadata([]byte(text))
			if err != nil {
				t.Error(err)
			}
			if word = "same"; changed {
				word = "changed"
			}
		}
		got = append(got, fmt.Sprintf("%s %s, %d chains, root %q", v.get("line"), word, len(e.chains), e.names[e.root]))
	}
	want(t, strings.Join(got, "\n"), `10 changed, 1 chains, root ""
15 changed, 2 chains, root ""
21 same, 2 chains, root "Selective sync A"
26 same, 2 chains, root "Selective sync A"
31 changed, 2 chains, root "Selective sync A"
36 same, 2 chains, root "Selective sync A"
42 same, 2 chains, root "Selective sync A, renamed"
48 same, 2 chains, root "Selective sync A, renamed"
57 deleted, 1 chains, root "Selective sync A, renamed"
62 changed, 2 chains, root "Selective sync A, renamed"
68 changed, 3 chains, root "Edge Root Rule Chain"
73 deleted, 2 chains, root "Edge Root Rule Chain"
79 deleted, 2 chains, root "Edge Root Rule Chain"
80 deleted, 1 chains, root "Edge Root Rule Chain"
86 same, 1 chains, root "Edge Root Rule Chain"`)
}
