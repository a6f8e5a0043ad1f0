package ruling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/wal"
)

// Nodes of chains: type, name and configuration.
const (
	switchNode = `filter.TbMsgTypeSwitchNode|switch|{"version":0}`
	saveNode   = `telemetry.TbMsgTimeseriesNode|save|{"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`
	keepNode   = `telemetry.TbMsgAttributesNode|keep|{"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope":"CLIENT_SCOPE"}`
	pushNode   = `edge.TbMsgPushToCloudNode|push|{"scope":"CLIENT_SCOPE"}`
	serverNode = `edge.TbMsgPushToCloudNode|push|{"scope":"SERVER_SCOPE"}`
	hotNode    = `filter.TbJsFilterNode|hot|{"scriptLang":"TBEL","tbelScript":"return msg.t > 30;"}`
	windowNode = `deduplication.TbMsgDeduplicationNode|window|{"interval":60,"strategy":"LAST","outMsgType":"POST_TELEMETRY_REQUEST"}`
)

var chainID = proto.UUID{0xc0, 15: 1}

// rig is rules on a registry of their own. The queue is a list.
type rig struct {
	testing.TB
	*Rules
	dir string
	reg *registry.Registry

	mu     sync.Mutex
	queue  []wal.Event
	latest int
	refuse error
	queued func() // an append has come; nil: nobody is told
	undoes func() // a latest value is undone; nil: nobody is told
}

func (g *rig) Append(_ context.Context, events ...wal.Event) error {
	if g.queued != nil {
		g.queued()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return g.refuse
	}
	g.queue = append(g.queue, events...)
	return nil
}

func (g *rig) Observe(events []proto.Event) { g.latest += len(events) }

func (g *rig) Replace(_ proto.UUID, events []proto.Event) (undo func(), more func([]proto.Event)) {
	before := g.latest
	g.Observe(events)
	return func() {
		if g.undoes != nil {
			g.undoes()
		}
		g.latest = before
	}, g.Observe
}

func (g *rig) Value(proto.UUID, string) (ts int64, kv proto.KV, ok bool) { return 0, kv, false }

func newRig(t testing.TB) *rig {
	t.Helper()
	g := &rig{TB: t, dir: t.TempDir()}
	g.open()
	g.devices(1, 2)
	return g
}

// devices has the cloud send devices.
func (g *rig) devices(from, to int) {
	g.Helper()
	for n := from; n <= to; n++ {
		d := &proto.DeviceUpdateMsg{Entity: fmt.Sprintf(`{"name":"pump %d","type":"default"}`, n)}
		d.IdMSB, d.IdLSB = proto.Halves(device(n))
		g.down(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}})
	}
}

func device(n int) proto.UUID { return proto.UUID{0xd0, 15: byte(n)} }

func (g *rig) open() {
	g.Helper()
	reg, err := registry.Open(registry.Options{Dir: filepath.Join(g.dir, "registry"), MaxBytes: 8 << 20})
	if err != nil {
		g.Fatal(err)
	}
	g.reg = reg
	r, err := Open(Options{Dir: filepath.Join(g.dir, "rules"), Registry: reg, Queue: g, Latest: g, Log: discard})
	if err != nil {
		g.Fatal(err)
	}
	g.Rules = r
}

// close closes without Close where kill is true: what is not on the medium is gone.
func (g *rig) close(kill bool) {
	g.Helper()
	if !kill {
		if err := g.Rules.Close(); err != nil {
			g.Error(err)
		}
	} else {
		g.journal.close()
	}
	if err := g.reg.Close(); err != nil {
		g.Error(err)
	}
}

func (g *rig) down(m *proto.DownlinkMsg) {
	g.Helper()
	if _, err := g.reg.Apply(m); err != nil {
		g.Fatal(err)
	}
	if err := g.reg.Flush(); err != nil {
		g.Fatal(err)
	}
}

// filterChain is a chain of a type switch, a script filter and a push node.
func (g *rig) filterChain() {
	g.Helper()
	g.chain(chainID, true, []string{switchNode, hotNode, pushNode}, "0>1:Post telemetry", "1>2:True")
}

// chain has the cloud send a chain, and has it taken.
func (g *rig) chain(id proto.UUID, root bool, nodes []string, links ...string) {
	g.Helper()
	ref := `{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(id) + `"}`
	head := &proto.RuleChainUpdateMsg{Entity: fmt.Sprintf(`{"id":%s,"name":"c%d","root":%v}`, ref, id[15], root)}
	head.IdMSB, head.IdLSB = proto.Halves(id)
	var list, to []map[string]any
	for _, n := range nodes {
		part := strings.SplitN(n, "|", 3)
		list = append(list, map[string]any{
			"type": "org.thingsboard.rule.engine." + part[0], "name": part[1], "configuration": json.RawMessage(part[2]),
			"configurationVersion": 9, // nothing is upgraded
		})
	}
	for _, l := range links {
		var from, at int
		ends, relation, _ := strings.Cut(l, ":")
		fmt.Sscanf(ends, "%d>%d", &from, &at)
		to = append(to, map[string]any{"fromIndex": from, "toIndex": at, "type": relation})
	}
	body, _ := json.Marshal(map[string]any{
		"ruleChainId": json.RawMessage(ref), "firstNodeIndex": 0, "nodes": list, "connections": to,
	})
	g.down(&proto.DownlinkMsg{
		RuleChainUpdateMsg:         []*proto.RuleChainUpdateMsg{head},
		RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: string(body)}},
	})
	if g.stop != nil { // its goroutine takes it
		return
	}
	if !g.changed.Swap(false) {
		g.Error("no change was heard")
	}
	if err := g.load(); err != nil {
		g.Fatal(err)
	}
}

// events are those of a post.
func events(t testing.TB, n int, text string) []proto.Event {
	t.Helper()
	list, err := new(payload.Parser).Telemetry([]byte(text), device(n), time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// take is Take where no goroutine writes the journal.
func (g *rig) take(list []proto.Event) (out []proto.Event, finish func(error, func(error)) error, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, finish, err = g.Take(list)
	}()
	for {
		select {
		case <-done:
			return out, finish, err
		case <-g.journal.wake:
			g.journal.do()
			g.journal.write()
		}
	}
}

// post brings events as the intake does, and says what went to the queue: "" for the same, as JSON
// for others.
func (g *rig) post(list []proto.Event) string {
	g.Helper()
	out, finish, err := g.take(list)
	if err != nil {
		return err.Error()
	}
	if finish == nil {
		return "untouched"
	}
	text := said(out)
	done := make(chan error, 1)
	if err := finish(nil, func(err error) { done <- err }); err != nil {
		g.Fatal(err)
	}
	g.journal.write()
	if err := <-done; err != nil {
		g.Error(err)
	}
	return text
}

// said are the values of events.
func said(list []proto.Event) string {
	var b []byte
	for i := range list {
		f, _ := open(list[i].Fragment)
		b = append(b, ' ')
		if f.scope != "" {
			b = append(append(b, f.scope...), ' ')
		}
		b = f.appendJSON(b)
	}
	return strings.TrimSpace(string(b))
}

func (g *rig) want(list []proto.Event, want string) {
	g.Helper()
	if got := g.post(list); got != want {
		g.Errorf("%s, want %s", got, want)
	}
}

// forgetful is a cache of attributes.
type forgetful struct{}

func (forgetful) Posted(proto.UUID, string, *proto.PostAttributeMsg) error { return nil }

// What a chain decides alone needs no look at the values: without any, and by the default chain,
// events go to the queue as they are, and nothing is allocated.
func TestPlainWays(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	one := events(t, 1, `{"t":31}`)
	attributes, err := new(payload.Parser).Attributes([]byte(`{"a":1}`), device(1), 1)
	if err != nil {
		t.Fatal(err)
	}
	g.want(one, "untouched") // no chain is known
	g.chain(chainID, true, []string{switchNode, saveNode, keepNode, pushNode, serverNode},
		"0>1:Post telemetry", "0>2:Post attributes", "1>3:Success", "2>3:Success")
	g.want(one, "untouched")
	g.want(attributes, "untouched")
	// Its nodes count them all the same: people look there for what the chain does.
	counts := ""
	for _, n := range g.Report(false).Chains[0].Nodes {
		counts += fmt.Sprintf("%s %d %v ", n.Name, n.In, n.Out)
	}
	want := "switch 2 map[Post attributes:1 Post telemetry:1] save 1 map[Success:1] keep 1 map[Success:1] push 2 map[] push 0 map[] "
	if counts != want {
		t.Errorf("%s, want %s", counts, want)
	}
	// So they do once where the intake waits for the medium: the cache is to have attributes.
	q, err := wal.Open(wal.Options{Dir: filepath.Join(g.dir, "queue"), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	intake := agent.NewIntake(q)
	intake.Rule(g.Rules, func([]proto.Event) {})
	intake.Remember(forgetful{})
	done := make(chan error, 1)
	if err := intake.Submit(t.Context(), attributes, func(err error) { done <- err }); err != nil || <-done != nil {
		t.Fatal(err)
	}
	if n := g.Report(false).Chains[0].Nodes[2]; n.In != 2 || n.Out["Success"] != 2 {
		t.Errorf("%+v", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = g.Take(one) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s := g.engine.Sums(); s.Received != 0 || g.latest != 0 { // the intake counts and stores them
		t.Errorf("%+v, %d stored", s, g.latest)
	}
	g.chain(chainID, true, []string{switchNode, saveNode, keepNode, serverNode}, "0>1:Post telemetry", "0>2:Post attributes", "2>3:Success")
	g.want(one, "") // saved only
	g.want(attributes, `SERVER_SCOPE {"a":1}`)
	if c := g.Counts(); c.Filtered != 1 || g.latest != 1 {
		t.Errorf("%+v, %d stored", c, g.latest)
	}
	if v, ok := g.Attribute(&rules.Entity{Type: "DEVICE", ID: device(1)}, "CLIENT_SCOPE", "a"); !ok || v.Value != "1" {
		t.Errorf("a is %+v", v)
	}
}

// The chain of a device's profile counts before the root.
func TestProfilesHaveChains(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	other := proto.UUID{0xc0, 15: 2}
	g.chain(chainID, true, []string{saveNode, pushNode}, "0>1:Success")
	g.chain(other, false, []string{hotNode, pushNode}, "0>1:True")
	p := &proto.DeviceProfileUpdateMsg{Entity: `{"name":"default","defaultEdgeRuleChainId":{"entityType":"RULE_CHAIN","id":"` +
		proto.FormatUUID(other) + `"}}`}
	p.IdMSB, p.IdLSB = proto.Halves(proto.UUID{0xab})
	d := &proto.DeviceUpdateMsg{Entity: `{"name":"pump 2","type":"default","deviceProfileId":{"id":"` +
		proto.FormatUUID(proto.UUID{0xab}) + `"}}`}
	d.IdMSB, d.IdLSB = proto.Halves(device(2))
	g.want(events(t, 2, `{"t":1}`), "untouched")
	g.down(&proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{p}, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}})
	g.want(events(t, 2, `{"t":1}`), "")
	g.want(events(t, 2, `[{"t":31},{"t":2},{"t":32}]`), `{"t":31} {"t":32}`)
	g.chain(other, true, []string{hotNode, pushNode}, "0>1:True") // the root changes without a word for the former
	g.Rules.Close()
	g.reg.Close()
	g.open()
	if r := g.Report(true); r.Root != "c2" {
		t.Errorf("the root is %q", r.Root)
	}
}

// What waits is on the medium when the device hears of it, and its result goes up once, also where
// the agent dies in between.
func TestWindowsAreOnTheMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.chain(chainID, true, []string{windowNode, pushNode}, "0>1:Success")
		for n := range 5 {
			g.want(events(t, 1, fmt.Sprintf(`{"n":%d}`, n)), "")
			time.Sleep(time.Millisecond)
		}
		g.close(true)
		g.open()
		if c := g.Counts(); c.Held != 5 {
			t.Errorf("%+v", c)
		}
		time.Sleep(61 * time.Second)
		g.refuse = errors.New("full")
		g.Start()
		synctest.Wait()
		if c := g.Counts(); c.Merged != 5 || len(g.queue) != 0 {
			t.Errorf("%+v, %d events in the queue", c, len(g.queue))
		}
		g.mu.Lock()
		g.refuse = nil
		g.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(g.queue) != 1 {
			t.Fatalf("%d events in the queue", len(g.queue))
		}
		if f, _ := open(g.queue[0].Fragment); string(f.appendJSON(nil)) != `{"n":4}` {
			t.Errorf("%s", f.appendJSON(nil))
		}
		g.close(false)
		g.open()
		if c := g.Counts(); c.Held != 0 || c.Merged != 5 || c.Made != 1 {
			t.Errorf("%+v", c)
		}
		g.close(false)
		if c := ReadCounts(filepath.Join(g.dir, "rules")); c.Held != 0 || c.Merged != 5 || c.Made != 1 {
			t.Errorf("of the files: %+v", c)
		}
	})
}

// What waited in a node that is gone goes up as it came.
func TestVanishedWindows(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{windowNode, pushNode}, "0>1:Success")
	g.want(events(t, 1, `{"n":1}`), "")
	g.want(events(t, 2, `{"n":2}`), "")
	g.chain(chainID, true, []string{saveNode, pushNode}, "0>1:Success")
	g.engine.Tick()
	if err := g.flush(); err != nil {
		t.Fatal(err)
	}
	if c := g.Counts(); len(g.queue) != 2 || c.Held != 0 || c.Safety != 2 {
		t.Errorf("%d events, %+v", len(g.queue), c)
	}
	g.journal.write()
	g.close(true)
	g.open()
	defer g.close(false)
	if c := g.Counts(); c.Held != 0 {
		t.Errorf("%+v", c)
	}
}

// What a message has let go stays in the journal until what came of the message is in the queue,
// also where others have the journal written meanwhile.
func TestForgottenBehindThePush(t *testing.T) {
	g := newRig(t)
	const key = "a key of a message that waits"
	if err := g.journal.Keep(key, []byte("record")); err != nil {
		t.Fatal(err)
	}
	g.journal.write()
	var own take
	own.init(g.Rules, false)
	if err := own.Forget(key); err != nil {
		t.Fatal(err)
	}
	g.journal.write()
	if !g.journal.store.Has(key) {
		t.Error("it is gone before the events are in the queue")
	}
	g.Start()
	if err := own.end(nil, nil); err != nil {
		t.Error(err)
	}
	if g.journal.store.Has(key) {
		t.Error("it is still there")
	}
	g.close(false)
}

// What people must know of a chain is logged once for each change.
func TestFactsAreSaidOnce(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	var log strings.Builder
	g.Options.Log = slog.New(slog.NewTextHandler(&log, nil))
	g.chain(chainID, true, []string{saveNode})
	g.changed.Store(true)
	g.settle(true)
	g.chain(chainID, true, []string{hotNode, saveNode}, "0>1:True")
	if n := strings.Count(log.String(), "This chain sends no telemetry to the cloud."); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	g.chain(chainID, true, []string{saveNode, pushNode, `my.Node|odd|{}`}, "0>1:Success")
	g.chain(chainID, true, []string{saveNode})
	if n := strings.Count(log.String(), "This chain sends no telemetry to the cloud."); n != 2 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	for _, line := range []string{
		`level=INFO msg="the root rule chain" name=c1 nodes=3`,
		`level=WARN msg="rule chains: Chain \"c1\": some of its nodes are not executed: \"odd\"; `,
	} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%s: %d times in\n%s", line, n, log.String())
		}
	}
	// A chain without a name is a chain.
	ref := `{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(chainID) + `"}`
	if err := g.engine.Head([]byte(`{"id":` + ref + `,"name":"","root":true}`)); err != nil {
		t.Fatal(err)
	}
	if f := g.Report(true).Facts; len(f) != 1 || f[0] != `Chain "": This chain sends no telemetry to the cloud.` {
		t.Errorf("%q", f)
	}
}

// What nodes remember of a device is there behind a crash, without an fsync of its own; where the
// queue does not take what came of a message, the journal is as before: the message comes again.
func TestMemoriesSurvive(t *testing.T) {
	g := newRig(t)
	delta := `metadata.CalculateDeltaNode|delta|{"inputValueKey":"n","outputValueKey":"d","useCache":true}`
	g.chain(chainID, true, []string{delta, pushNode}, "0>1:Success")
	fsyncs := 0
	g.journal.store.Meter(func(_, _ int64, n int) { fsyncs += n })
	g.want(events(t, 1, `{"n":5}`), `{"n":5,"d":0}`)
	g.want(events(t, 1, `{"n":7}`), `{"n":7,"d":2}`)
	if fsyncs != 0 {
		t.Errorf("%d fsyncs", fsyncs)
	}
	if out, _, err := g.Take(events(t, 1, `{"n":17}`)); err != nil || said(out) != `{"n":17,"d":10}` {
		t.Error(said(out), err)
	}
	g.journal.write()
	g.close(true)
	g.open()
	defer g.close(false)
	g.want(events(t, 1, `{"n":17}`), `{"n":17,"d":10}`)
	if c := g.Counts(); c.Held != 0 {
		t.Errorf("%+v", c)
	}
	if c := ReadCounts(filepath.Join(g.dir, "rules")); c.Held != 0 {
		t.Errorf("of the files: %+v", c)
	}
}
