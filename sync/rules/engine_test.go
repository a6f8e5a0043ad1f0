package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

const (
	rootID   = "00000000-0000-0000-0000-0000000000c1"
	otherID  = "00000000-0000-0000-0000-0000000000c2"
	deviceID = "00000000-0000-0000-0000-0000000000d1"
	secondID = "00000000-0000-0000-0000-0000000000d2"
)

// testEdge is a trial with two devices in a room.
func testEdge(t *testing.T, opt Options) *trial {
	t.Helper()
	edge := `{"world":{"entities":[
{"entity":{"entityType":"DEVICE","id":"` + deviceID + `"},"name":"th-1","type":"thermostat","label":"Hall","profile":"thermostat",
 "container":{"entityType":"ASSET","id":"00000000-0000-0000-0000-0000000000a1"},"customer":{"entityType":"CUSTOMER","id":"00000000-0000-0000-0000-0000000000b1"}},
{"entity":{"entityType":"DEVICE","id":"` + secondID + `"},"name":"meter-1","type":"meter","profile":"meter"},
{"entity":{"entityType":"CUSTOMER","id":"00000000-0000-0000-0000-0000000000b1"},"name":"ACME","title":"ACME","email":"a@b.c"},
{"entity":{"entityType":"ASSET","id":"00000000-0000-0000-0000-0000000000a1"},"name":"room","type":"room","profile":"room"}],
"deviceProfiles":{"meter":{"defaultEdgeRuleChainId":"` + otherID + `"}}}}`
	e, err := newTrial([]byte(edge), opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// metadataOf writes metadata: a node is "type|name|configuration", a link "0>1:Success".
func metadataOf(id string, nodes []string, links ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"ruleChainId":{"entityType":"RULE_CHAIN","id":%q},"firstNodeIndex":0,"nodes":[`, id)
	for i, n := range nodes {
		f := strings.SplitN(n, "|", 3)
		if i > 0 {
			b.WriteByte(',')
		}
		version := int64(0)
		if k := kindOf(f[0]); k != nil {
			version = k.version
		}
		fmt.Fprintf(&b, `{"type":%q,"name":%q,"configurationVersion":%d,"configuration":%s}`, typePrefix+f[0], f[1], version, f[2])
	}
	b.WriteString(`],"connections":[`)
	for i, l := range links {
		if i > 0 {
			b.WriteByte(',')
		}
		var from, to int
		ends, name, _ := strings.Cut(l, ":")
		fmt.Sscanf(ends, "%d>%d", &from, &to)
		fmt.Fprintf(&b, `{"fromIndex":%d,"toIndex":%d,"type":%q}`, from, to, name)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func (t *trial) chain(tb testing.TB, id string, root bool, nodes []string, links ...string) (changed bool) {
	tb.Helper()
	if err := t.e.Head(fmt.Appendf(nil, `{"id":{"id":%q},"name":"n","root":%v}`, id, root)); err != nil {
		tb.Fatal(err)
	}
	changed, err := t.e.Metadata(metadataOf(id, nodes, links...))
	if err != nil {
		tb.Fatal(err)
	}
	return changed
}

// post brings telemetry of the first device, and returns what came out in one line a list.
func (t *trial) post(tb testing.TB, at int, data string) string {
	tb.Helper()
	return t.send(tb, at, deviceID, PostTelemetry, data)
}

func (t *trial) send(tb testing.TB, at int, device, typ, data string) string {
	tb.Helper()
	in := "null"
	if data != "" {
		in = fmt.Sprintf(`{"msgType":%q,"originator":{"entityType":"DEVICE","id":%q},"metadata":{"ts":"%d"},"data":%s}`,
			typ, device, tryStart+at, data)
	}
	return t.say(tb, fmt.Sprintf(`{"at":%d,"in":%s}`, at, in))
}

func (t *trial) say(tb testing.TB, step string) string {
	tb.Helper()
	out, err := t.step(step)
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	for i, key := range out.keys {
		if out.items[i].kind != isList {
			continue
		}
		for _, item := range out.items[i].items {
			if key == "failed" || key == "unsupported" {
				fmt.Fprintf(&b, "%s %s; ", key, textOf(item, "node"))
				continue
			}
			what := item.get("body").get("data")
			for _, name := range []string{"values", "kv", "deleted", "rpc", "reply", "alarm"} {
				if what == nil {
					what = item.get(name)
				}
			}
			if what == nil {
				what = item.get("body")
			}
			fmt.Fprintf(&b, "%s %s", key, what)
			if why := textOf(item, "instead"); why != "" {
				b.WriteString(" " + why)
			}
			b.WriteString("; ")
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func want(tb testing.TB, got, want string) {
	tb.Helper()
	if got != want {
		tb.Errorf("got  %s\nwant %s", got, want)
	}
}

const (
	push    = `edge.TbMsgPushToCloudNode|push|{"scope":"CLIENT_SCOPE"}`
	minute  = `deduplication.TbMsgDeduplicationNode|minute|{"interval":60,"strategy":"ALL","outMsgType":"POST_TELEMETRY_REQUEST"}`
	onlyHot = `filter.TbJsFilterNode|hot|{"scriptLang":"TBEL","tbelScript":"return msg.t > 30;"}`
	kafka   = `kafka.TbKafkaNode|kafka|{}`
	save    = `telemetry.TbMsgTimeseriesNode|save|{"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`
	ack     = `flow.TbAckNode|ack|{}`
)

// TestFallBack: nothing is lost that a real edge would have sent (RULES.md 7.2).
func TestFallBack(t *testing.T) {
	bad := `filter.TbJsFilterNode|bad|{"scriptLang":"TBEL","tbelScript":"return (;"}`
	fails := `filter.TbJsFilterNode|fails|{"scriptLang":"TBEL","tbelScript":"return 1;"}`
	for name, c := range map[string]struct {
		opt   Options
		nodes []string
		links []string
		in    string
		want  string
	}{
		"passes":            {Options{}, []string{kafka, push}, []string{"0>1:Success"}, `{"t":1}`, `cloud {"t":1}; unsupported kafka`},
		"unknown type":      {Options{}, []string{`x.Y|y|{}`, push}, []string{"0>1:Other"}, `{"t":1}`, `cloud {"t":1}; unsupported y`},
		"filter takes True": {Options{}, []string{bad, push}, []string{"0>1:True"}, `{"t":1}`, `cloud {"t":1}; unsupported bad`},
		"no push behind": {
			Options{},
			[]string{kafka, ack},
			[]string{"0>1:Success"},
			`{"t":1}`,
			`cloud {"t":1} unreached; unsupported kafka`,
		},
		"pushed before": {
			Options{},
			[]string{push, kafka},
			[]string{"0>1:Success"},
			`{"t":1}`, `cloud {"t":1}; unsupported kafka`,
		},
		"failure":          {Options{}, []string{fails, push}, []string{"0>1:True"}, `{"t":1}`, `cloud {"t":1} failure; failed fails`},
		"failure is taken": {Options{}, []string{fails, ack}, []string{"0>1:Failure"}, `{"t":1}`, ``},
		"failure, drop":    {Options{Drop: true}, []string{fails, push}, []string{"0>1:True"}, `{"t":1}`, `failed fails`},
		"filtered":         {Options{}, []string{onlyHot, push}, []string{"0>1:True"}, `{"t":1}`, ``},
		"likeness ends": {
			Options{Drop: true, Likeness: true},
			[]string{kafka, push},
			[]string{"0>1:Success"},
			`{"t":1}`,
			`unsupported kafka`,
		},
		"likeness, no init": {
			Options{Drop: true, Likeness: true},
			[]string{bad, push},
			[]string{"0>1:True"},
			`{"t":1}`,
			`failed bad; unsupported bad`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := testEdge(t, c.opt)
			e.chain(t, rootID, true, c.nodes, c.links...)
			want(t, e.post(t, 0, c.in), c.want)
		})
	}
}

// TestCallsOfDevices: a call is delivered, and a device's call is asked of the cloud, also where
// the chain has no node for it.
func TestCallsOfDevices(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{ack})
	want(t, e.send(t, 0, deviceID, CallToDevice, `{"method":"m","params":{"a":1}}`),
		`device {"method":"m","params":"{\"a\":1}"} not called`)
	want(t, e.send(t, 1, deviceID, CallFromDevice, `{"method":"m","params":{"a":1}}`),
		`cloud {"requestId":0,"serviceId":"","sessionId":"","method":"m","params":"{\"a\":1}"} not answered`)
	call := `rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":5}`
	e.chain(t, rootID, true, []string{call, push, save}, "0>1:Success", "0>2:Failure")
	want(t, e.send(t, 2, deviceID, CallToDevice, `{"method":"m","params":1}`), `device {"method":"m","params":"1"}`)
	if s := e.e.Sums(); s.Held != 1 {
		t.Errorf("%+v", s)
	}
	// Nobody answers: the message goes to Failure with what went wrong as data, and save refuses
	// its type.
	want(t, e.send(t, 6000, deviceID, "", ""), `failed save`)
	want(t, e.send(t, 7000, deviceID, CallToDevice, `{"method":"m","params":1}`), `device {"method":"m","params":"1"}`)
	if s := e.e.Sums(); s.Held != 1 || len(e.e.calls) != 1 {
		t.Errorf("%+v, %d calls", s, len(e.e.calls))
	}
}

// TestCallsEnd: an answer ends the wait of a call, a call that cannot be sent fails at once.
func TestCallsEnd(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{`rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":5}`, ack}, "0>1:Success")
	for i := range 5 {
		e.send(t, i, deviceID, CallToDevice, `{"method":"m","params":{}}`)
	}
	if len(e.e.timers) != 5 || len(e.e.calls) != 5 {
		t.Fatal(len(e.e.timers), len(e.e.calls))
	}
	for i, id := range []uint32{3, 1, 5, 2, 4, 4} {
		e.e.Answer(id, `{}`, "")
		if left := max(0, 4-i); len(e.e.timers) != left || len(e.e.calls) != left || e.e.Sums().Held != int64(left) {
			t.Errorf("%d timers, %d calls", len(e.e.timers), len(e.e.calls))
		}
	}
	q := &quiet{trial: e, pushed: map[Entity][]string{}, refuse: errors.New("no session")}
	e.e.out = q
	e.send(t, 10, deviceID, CallToDevice, `{"method":"m","params":{}}`)
	if s := e.e.Sums(); len(e.e.timers) != 0 || len(e.e.calls) != 0 || s.Held != 0 || s.HeldBytes != 0 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

// FuzzRecord: what a record says comes back, anything else is an error.
func FuzzRecord(f *testing.F) {
	m := &Message{Type: "T", Originator: Entity{"DEVICE", proto.UUID{1}}, Time: -5, Data: `{"a":1}`, count: 3, pushed: true, stored: 7}
	m.setMeta("k", "v")
	m.stack = []frame{{proto.UUID{2}, 9}}
	f.Add(m.record())
	f.Add([]byte{recordForm})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readRecord(b)
		if err != nil {
			return
		}
		again, err := readRecord(m.record())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v: %v", m, again, err)
		}
	})
}

// TestUpdates: what a node holds stays as long as the node stays (RULES.md 3.8, 7.7).
func TestUpdates(t *testing.T) {
	e := testEdge(t, Options{})
	nodes := []string{minute, push}
	e.chain(t, rootID, true, nodes, "0>1:Success")
	want(t, e.post(t, 0, `{"t":1}`), ``)
	if e.chain(t, rootID, true, nodes, "0>1:success") {
		t.Error("the same chain again is a change")
	}
	if !e.chain(t, rootID, true, []string{ack, minute, push}, "0>1:Success", "1>2:Success") {
		t.Error("a node in front is no change")
	}
	want(t, e.post(t, 1000, `{"t":2}`), ``)
	want(t, e.send(t, 60001, deviceID, "", ""), `cloud [{"msg":{"t":1},"metadata":{"ts":"1767225600000"}},{"msg":{"t":2},`+
		`"metadata":{"ts":"1767225601000"}}]`)

	// A window whose node is gone is pushed as it is, one whose chain is gone runs through the
	// root.
	want(t, e.post(t, 70000, `{"t":3}`), ``)
	e.chain(t, rootID, true, []string{ack, push}, "0>1:Success")
	want(t, e.send(t, 70001, deviceID, "", ""), `cloud {"t":3} vanished`)
	e.chain(t, otherID, false, nodes, "0>1:Success")
	want(t, e.send(t, 71000, secondID, PostTelemetry, `{"t":4}`), ``)
	id, _ := proto.ParseUUID(otherID)
	e.e.Delete(id)
	want(t, e.send(t, 71001, deviceID, "", ""), `cloud {"t":4}`)
	want(t, e.send(t, 71002, secondID, PostTelemetry, `{"t":5}`), `cloud {"t":5}`)

	// Empty metadata change nothing, a new root takes over without a word about the old one.
	if changed, err := e.e.Metadata(metadataOf(rootID, nil)); changed || err == nil {
		t.Error(changed, err) // firstNodeIndex 0 names no node
	}
	if changed, err := e.e.Metadata([]byte(`{"ruleChainId":{"id":"` + rootID + `"},"firstNodeIndex":null,` +
		`"nodes":[]}`)); changed || err != nil {
		t.Error(changed, err)
	}
	e.chain(t, otherID, true, []string{ack})
	want(t, e.post(t, 71003, `{"t":6}`), ``)
	want(t, e.send(t, 71004, secondID, PostTelemetry, `{"t":5}`), ``)
	e.e.Delete(id)
	e.out = nil
	e.clear()
	known, err := e.e.Handle(&Message{Type: PostTelemetry, Originator: Entity{Type: "DEVICE"}, Data: "{}"})
	if known || err != nil {
		t.Error(known, err)
	}
}

// TestWays: the plan knows what needs no run, and asking allocates nothing.
func TestWays(t *testing.T) {
	text, err := os.ReadFile("testdata/chains/01-default-edge-root.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := newTrial(text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for typ, w := range map[string]Way{
		PostTelemetry:   {Save: true, Push: true},
		PostAttributes:  {Save: true, Push: true, Scope: "CLIENT_SCOPE"},
		CallFromDevice:  {Run: true},
		CallToDevice:    {Run: true},
		"CONNECT_EVENT": {},
		"MY_TYPE":       {Run: true},
	} {
		got, ok := e.e.WayOf(proto.UUID{}, typ)
		if !ok || *got != w {
			t.Errorf("%s: %+v, want %+v", typ, *got, w)
		}
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
		if got, ok := e.e.WayOf(proto.UUID{}, PostTelemetry); !ok || *got != c.want {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
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

// TestBadMetadata: each mistake has a clear word, and the former chain goes on.
func TestBadMetadata(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{push})
	many := make([]string, maxNodes+1)
	for i := range many {
		many[i] = ack
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

// TestBounds: copies that make copies, arrays and windows end somewhere, and are told of.
func TestBounds(t *testing.T) {
	e := testEdge(t, Options{Drop: true})
	e.chain(t, rootID, true, []string{ack, ack}, "0>0:Success", "0>1:Success", "1>0:Success")
	e.e.SetLimit(30)
	e.post(t, 0, `{"t":1}`)
	var executed uint32
	for _, n := range e.e.chains[e.e.root].nodes {
		executed += n.mem.in.Load()
	}
	if s := e.e.Sums(); executed > 30*roundLimit*2 || s.Failed == 0 {
		t.Errorf("%d executions, %+v", executed, s)
	}
	e.e.SetLimit(0)

	e.chain(t, rootID, true, []string{`transform.TbSplitArrayMsgNode|split|{}`, push}, "0>1:Success")
	want(t, e.post(t, 1, `[1,{"a":2}]`), `cloud 1; cloud {"a":2}`)
	want(t, e.post(t, 2, `[`+strings.Repeat("1,", 5000)+`1]`), `failed split`)
	want(t, e.post(t, 3, `[]`), ``)
	want(t, e.post(t, 4, `[7]`), `cloud 7`)

	e = testEdge(t, Options{MaxHeld: 3})
	e.chain(t, rootID, true, []string{minute, push}, "0>1:Success")
	for i := range 3 {
		want(t, e.post(t, i, `{"t":1}`), ``)
	}
	want(t, e.post(t, 3, `{"t":2}`), `cloud {"t":2} failure; failed minute`)
	// The window made room.
	if got := e.send(t, 4, deviceID, "", ""); strings.Count(got, `{"t":1}`) != 3 {
		t.Error(got)
	}
	if s := e.e.Sums(); s.Held != 0 || s.HeldBytes != 0 || s.Merged != 3 || s.Safety != 1 {
		t.Errorf("%+v", s)
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
		if k.make == nil {
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

// journal keeps records in memory.
type journal struct {
	records map[string][]byte
	full    error
}

func (j *journal) Keep(key string, record []byte) error {
	if j.full != nil {
		return j.full
	}
	j.records[key] = record
	return nil
}

func (j *journal) Forget(key string) error {
	if _, ok := j.records[key]; !ok {
		return errors.New("no such record")
	}
	delete(j.records, key)
	return nil
}

// TestJournal: what waits survives a restart, what cannot go back to its node is pushed.
func TestJournal(t *testing.T) {
	j := &journal{records: map[string][]byte{}}
	nodes := []string{
		`filter.TbMsgTypeFilterNode|f|{"messageTypes":["DELAYED"]}`, minute, push,
		`delay.TbMsgDelayNode|delay|{"periodInSeconds":10}`,
	}
	links := []string{"0>1:False", "1>2:Success", "0>3:True"}
	e := testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	e.post(t, 0, `{"t":1}`)
	e.post(t, 1, `{"t":2}`)
	e.send(t, 2, secondID, "DELAYED", `{}`)
	e.chain(t, otherID, false, []string{minute})
	e.send(t, 3, secondID, PostTelemetry, `{"t":9}`)
	if len(j.records) != 4 {
		t.Fatalf("%d records", len(j.records))
	}
	kept := map[string][]byte{}
	for k, v := range j.records {
		kept[k] = v
	}
	e = testEdge(t, Options{Journal: j})
	e.chain(t, rootID, true, nodes, links...)
	e.now = tryStart + 5
	for _, k := range slices.Sorted(maps.Keys(kept)) {
		v := kept[k]
		if err := e.e.Restore(k, v); err != nil {
			t.Error(err)
		}
		if err := e.e.Restore(k, v[:len(v)-1]); !errors.Is(err, errRecord) {
			t.Error(err)
		}
	}
	want(t, e.send(t, 6, deviceID, "", ""), `cloud {"t":9} vanished`)
	if s := e.e.Sums(); s.Held != 3 || len(j.records) != 3 {
		t.Errorf("%+v, %d records", s, len(j.records))
	}
	e.send(t, 10_002, deviceID, "", "")
	if s := e.e.Sums(); s.Held != 2 {
		t.Errorf("%+v", s)
	}
	if got := e.send(t, 60_001, deviceID, "", ""); strings.Count(got, `"msg"`) != 2 || len(j.records) != 0 {
		t.Errorf("%s, %d records", got, len(j.records))
	}
	j.full = errors.New("no space left")
	want(t, e.post(t, 70_000, `{"t":7}`), `cloud {"t":7} failure; failed minute`)
}

// TestRun: the goroutine of Run lets windows go when their time is over, and ends.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEdge(t, Options{})
		e.e.opt.Now = func() int64 { return time.Now().UnixMilli() }
		e.chain(t, rootID, true, []string{minute, push}, "0>1:Success")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.e.Run(ctx); close(done) }()
		synctest.Wait()
		known, err := e.e.Handle(&Message{
			Type: PostTelemetry, Originator: Entity{Type: "DEVICE"}, Time: time.Now().UnixMilli(),
			Data: `{"t":1}`,
		})
		if !known || err != nil {
			t.Error(known, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := e.e.Sums(); s.Held != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if s := e.e.Sums(); s.Held != 0 || s.Accepted != 1 {
			t.Errorf("%+v", s)
		}
		stop()
		<-done
	})
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
			if _, err := e.e.Handle(m); err != nil {
				t.Fatal(err)
			}
			e.say(t, fmt.Sprintf(`{"at":%d}`, i*3600_000))
		}
		if changed, err := e.e.Metadata([]byte(text)); changed || err != nil {
			t.Error("the same metadata again:", changed, err)
		}
	})
}

// quiet is a registry and an outlet for any number of goroutines.
type quiet struct {
	*trial
	mu     sync.Mutex
	pushed map[Entity][]string
	refuse error // what Call gives
}

func (q *quiet) Profile(Entity) (string, proto.UUID, bool) { return "p", proto.UUID{}, true }

func (q *quiet) Attribute(Entity, string, string) (Stored, bool) { return Stored{}, false }

func (q *quiet) Push(e *Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pushed[e.Entity] = append(q.pushed[e.Entity], e.Data)
	return nil
}

func (q *quiet) Instead(*Message, Why) error { return nil }

func (q *quiet) Failed(string, string) {}

func (q *quiet) Call(*Call) error { return q.refuse }

// TestManyGoroutines: the messages of a device go up in their order, whatever else happens at the
// same time, and none is lost from the sums.
func TestManyGoroutines(t *testing.T) {
	const devices, each = 8, 100
	q := &quiet{trial: testEdge(t, Options{}), pushed: map[Entity][]string{}}
	e := New(q, q, Options{Now: func() int64 { return time.Now().UnixMilli() }})
	typed := `filter.TbMsgTypeSwitchNode|s|{}`
	call := `rpc.TbSendRPCRequestNode|c|{"timeoutInSeconds":1}`
	chains := [2][]byte{
		metadataOf(rootID, []string{typed, push, call, minute}, "0>1:Post telemetry", "0>2:RPC request to device", "0>3:Other"),
		metadataOf(rootID, []string{ack, typed, push, call, minute}, "0>1:Success", "1>2:Post telemetry",
			"1>3:RPC request to device", "1>4:Other"),
	}
	if err := e.Head([]byte(`{"id":{"id":"` + rootID + `"},"root":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Metadata(chains[0]); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var posts, others sync.WaitGroup
	others.Go(func() { e.Run(ctx) })
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := e.Metadata(chains[i%2]); err != nil {
				t.Error(err)
			}
			e.Answer(uint32(i), `{}`, "")
			e.Sums()
		}
	})
	for d := range devices {
		posts.Go(func() {
			who := Entity{"DEVICE", proto.UUID{15: byte(d)}}
			for i := range each {
				for _, typ := range []string{PostTelemetry, CallToDevice, "OTHER"} {
					m := &Message{Type: typ, Originator: who, Data: fmt.Sprintf(`{"i":%d,"method":"m","params":1}`, i)}
					if known, err := e.Handle(m); !known || err != nil {
						t.Error(known, err)
					}
				}
			}
		})
	}
	posts.Wait()
	stop()
	others.Wait()
	s := e.Sums()
	if s.Received != 3*devices*each || s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) {
		t.Errorf("%+v", s)
	}
	for who, list := range q.pushed {
		if len(list) != each {
			t.Errorf("%v: %d", who, len(list))
		}
		for i, data := range list {
			if !strings.HasPrefix(data, fmt.Sprintf(`{"i":%d,`, i)) {
				t.Fatalf("%v: %s at %d", who, data, i)
			}
		}
	}
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
	if len(r) != 1 || !r[0].Root || r[0].Name != "n" || !r[0].Silent || !r[0].SilentAlarms {
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
	if r[0].Silent || r[0].SilentAlarms {
		t.Errorf("%+v", r[0])
	}
}
