package rules

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
)

const (
	rootID   = "00000000-0000-0000-0000-0000000000c1"
	otherID  = "00000000-0000-0000-0000-0000000000c2"
	deviceID = "00000000-0000-0000-0000-0000000000d1"
	secondID = "00000000-0000-0000-0000-0000000000d2"
)

// testEdge is a trial with two devices in a room.
func testEdge(t *testing.T, opt Options) *Trial {
	t.Helper()
	edge := `{"world":{"entities":[
{"entity":{"entityType":"DEVICE","id":"` + deviceID + `"},"name":"th-1","type":"thermostat","label":"Hall","profile":"thermostat",
 "container":{"entityType":"ASSET","id":"00000000-0000-0000-0000-0000000000a1"},"customer":{"entityType":"CUSTOMER","id":"00000000-0000-0000-0000-0000000000b1"}},
{"entity":{"entityType":"DEVICE","id":"` + secondID + `"},"name":"meter-1","type":"meter","profile":"meter"},
{"entity":{"entityType":"CUSTOMER","id":"00000000-0000-0000-0000-0000000000b1"},"name":"ACME","title":"ACME","email":"a@b.c"},
{"entity":{"entityType":"ASSET","id":"00000000-0000-0000-0000-0000000000a1"},"name":"room","type":"room","profile":"room"}],
"deviceProfiles":{"meter":{"defaultEdgeRuleChainId":"` + otherID + `"}}}}`
	e, err := NewTrial([]byte(edge), opt)
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

func (t *Trial) chain(tb testing.TB, id string, root bool, nodes []string, links ...string) (changed bool) {
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
func (t *Trial) post(tb testing.TB, at int, data string) string {
	tb.Helper()
	return t.send(tb, at, deviceID, PostTelemetry, data)
}

func (t *Trial) send(tb testing.TB, at int, device, typ, data string) string {
	tb.Helper()
	in := "null"
	if data != "" {
		in = fmt.Sprintf(`{"msgType":%q,"originator":{"entityType":"DEVICE","id":%q},"metadata":{"ts":"%d"},"data":%s}`,
			typ, device, tryStart+int64(at), data)
	}
	return t.say(tb, fmt.Sprintf(`{"at":%d,"in":%s}`, at, in))
}

func (t *Trial) say(tb testing.TB, step string) string {
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
	known, err := e.e.Handle(&Message{Type: PostTelemetry, Originator: Entity{Type: "DEVICE"}, Data: "{}"}, nil)
	if known || err != nil {
		t.Error(known, err)
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

type faulty struct{}

func (faulty) do(r *round) { r.n.links[7].taken.Add(1) }

// TestFaults: a fault of a node ends its message, whose values go up all the same.
func TestFaults(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{ack, push}, "0>1:Success")
	e.e.chains[e.e.root].first.work = faulty{}
	want(t, e.post(t, 0, `{"t":1}`), `cloud {"t":1} failure; failed ack`)
	n := e.e.Report()[0].Nodes[0]
	if !strings.Contains(n.Last, "a fault of the engine: runtime error") || n.Failed != 1 {
		t.Errorf("%+v", n)
	}
}
