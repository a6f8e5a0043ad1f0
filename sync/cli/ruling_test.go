package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
)

// Nodes of chains, as site.chain takes them: type, name and configuration.
const (
	saveNode = `telemetry.TbMsgTimeseriesNode|save|{"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`
	// postsNode lets through telemetry alone. Messages of activity, a second after the first of a
	// device, and attributes from the cloud enter chains too: else they are filtered, or wait.
	postsNode  = `filter.TbMsgTypeFilterNode|posts|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`
	pushNode   = `edge.TbMsgPushToCloudNode|push|{"scope":"CLIENT_SCOPE"}`
	hotNode    = `filter.TbJsFilterNode|hot|{"scriptLang":"TBEL","tbelScript":"return msg.t > 30;"}`
	windowNode = `deduplication.TbMsgDeduplicationNode|window|{"interval":%d,"strategy":"ALL","outMsgType":"POST_TELEMETRY_REQUEST"}`
	countNode  = `transform.TbTransformMsgNode|count|{"scriptLang":"TBEL","tbelScript":"var n = 0; foreach (m : msg) { n += m.msg.n; }` +
		` return {msg: {sum: n, count: msg.length}, metadata: metadata, msgType: msgType};"}`
)

// chainTexts are the two texts of a chain that a server sends. A link is "from>to:relation".
func chainTexts(id proto.UUID, name string, nodes, links []string) (head, body string) {
	ref := `{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(id) + `"}`
	head = fmt.Sprintf(`{"id":%s,"name":%q,"type":"EDGE","root":true,"firstRuleNodeId":null,"debugMode":false}`, ref, name)
	var list []map[string]any
	for i, n := range nodes {
		part := strings.SplitN(n, "|", 3)
		list = append(list, map[string]any{
			"id":   map[string]string{"entityType": "RULE_NODE", "id": fmt.Sprintf("00000000-0000-4000-8000-%012d", i)},
			"type": "org.thingsboard.rule.engine." + part[0], "name": part[1], "configuration": json.RawMessage(part[2]),
		})
	}
	var to []map[string]any
	for _, l := range links {
		var from, at int
		ends, relation, _ := strings.Cut(l, ":")
		fmt.Sscanf(ends, "%d>%d", &from, &at)
		to = append(to, map[string]any{"fromIndex": from, "toIndex": at, "type": relation})
	}
	b, _ := json.Marshal(map[string]any{
		"ruleChainId": json.RawMessage(ref), "firstNodeIndex": 0, "nodes": list, "connections": to, "ruleChainConnections": nil,
	})
	return head, string(b)
}

// chain makes a chain the edge's root, as the server does when somebody assigns it.
func (s *site) chain(name string, nodes []string, links ...string) proto.UUID {
	id := s.cloud.Tenant().NewID()
	s.chainAs(id, name, nodes, links...)
	return id
}

func (s *site) chainAs(id proto.UUID, name string, nodes []string, links ...string) {
	head, body := chainTexts(id, name, nodes, links)
	m := &proto.RuleChainUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, Entity: head}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{
		RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{m}, RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: body}},
	})
}

// mustPost posts telemetry of a device that is to be accepted.
func (r *running) mustPost(t *testing.T, token, body string) {
	t.Helper()
	if code, _ := post(r.http, token, body); code != http.StatusOK {
		t.Fatalf("post %s: %d", body, code)
	}
}

// summed holds a snapshot to both sums.
func summed(t *testing.T, s agent.Snapshot) {
	t.Helper()
	balanced(t, s)
	if s.Received+s.Made != s.Accepted+s.Filtered+s.Held+s.Merged {
		t.Errorf("received %d + made %d != accepted %d + filtered %d + held %d + merged %d", s.Received, s.Made, s.Accepted,
			s.Filtered, s.Held, s.Merged)
	}
}

// ruled waits until the agent runs a chain of that name.
func (s *site) ruled(name string) {
	s.Helper()
	s.eventually("the chain "+name+" is executed", func() bool {
		out, code := s.tool("rules", "--json")
		return code == 0 && strings.Contains(out, `"root":"`+name+`"`)
	})
}

// The chain that the cloud assigns decides what goes up; the next one, another.
func TestChainDecides(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.chain("only hot", []string{postsNode, hotNode, pushNode}, "0>1:True", "1>2:True")
	s.ruled("only hot")
	before := r.snapshot()
	d := s.mustBeNamed("station 1")
	for n := range 5 {
		r.mustPost(t, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"t":%d}}`, 1767225600000+int64(n), 28+n))
	}
	s.arrived(d, "t", 2)
	n := r.snapshot()
	summed(t, n)
	if n.Received-before.Received != 5 || n.Filtered != 3 || n.Accepted-before.Accepted != 2 || n.Made != 0 {
		t.Errorf("received %d, filtered %d, accepted %d, made %d",
			n.Received-before.Received, n.Filtered, n.Accepted-before.Accepted, n.Made)
	}
	s.chain("double", []string{
		`transform.TbTransformMsgNode|double|{"scriptLang":"TBEL","tbelScript":"msg.t = msg.t * 2; ` +
			`return {msg: msg, metadata: metadata, msgType: msgType};"}`,
		pushNode,
	}, "0>1:Success")
	s.ruled("double")
	r.mustPost(t, "token-1", `{"ts":1767225700000,"values":{"t":5}}`)
	s.arrived(d, "t", 3)
	rows := s.cloud.Tenant().Series(d.ID, "t")
	if last := rows[len(rows)-1]; last.TS != 1767225700000 || last.Value.Long != 10 {
		t.Errorf("doubled: %+v", last)
	}
	summed(t, r.snapshot())
	// After a restart the root is the last one.
	r.Kill()
	r = s.start()
	s.ruled("double")
	r.mustPost(t, "token-1", `{"ts":1767225800000,"values":{"t":7}}`)
	s.arrived(d, "t", 4)
	rows = s.cloud.Tenant().Series(d.ID, "t")
	if last := rows[len(rows)-1]; last.Value.Long != 14 {
		t.Errorf("doubled after a restart: %+v", last)
	}
}

// The process is killed in a window: what was acknowledged is in its result, once it is over.
func TestWindowsSurviveKills(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	window := func(name string, seconds int) {
		nodes := []string{postsNode, fmt.Sprintf(windowNode, seconds), countNode, pushNode}
		s.chain(name, nodes, "0>1:True", "1>2:Success", "2>3:Success")
		s.ruled(name)
	}
	window("window", 8)
	d := s.mustBeNamed("station 2")
	const all = 30
	want := int64(0)
	for n := int64(1); n <= all; n++ {
		r.mustPost(t, "token-2", fmt.Sprintf(`{"n":%d}`, n))
		want += n
		if n%10 == 0 {
			summed(t, r.snapshot())
			r.Kill()
			r = s.start()
		}
	}
	sum := func(key string) (total int64) {
		for _, row := range s.cloud.Tenant().Series(d.ID, key) {
			total += row.Value.Long
		}
		return total
	}
	s.eventually("the windows' results are in the cloud", func() bool { return sum("count") >= all })
	if sum("count") != all || sum("sum") != want {
		t.Errorf("%d values with the sum %d are in the cloud, want %d and %d", sum("count"), sum("sum"), all, want)
	}
	s.eventually("nothing waits", func() bool { n := r.snapshot(); return n.Held == 0 && n.Pending == 0 })
	n := r.snapshot()
	summed(t, n)
	if n.Merged < all/3 {
		t.Errorf("merged %d", n.Merged)
	}
	// A window whose node goes is pushed as it came.
	window("long window", 3600)
	r.mustPost(t, "token-2", `{"raw":1}`)
	if n := r.snapshot(); n.Held != 1 {
		t.Errorf("held %d", n.Held)
	}
	s.chain("plain", []string{saveNode, pushNode}, "0>1:Success")
	s.ruled("plain")
	r.Kill()
	r = s.start()
	s.cloud.DeleteDevice(s.mustBeNamed("station 0").ID) // something comes down, so the link is up
	if n := r.snapshot(); n.Held != 1 {                 // its chain is still here
		t.Errorf("held %d after a restart", n.Held)
	}
}

// rules.mode and rules.file.
func TestRulesOfFile(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	file := filepath.Join(t.TempDir(), "chain.json")
	head, body := chainTexts(proto.UUID{1}, "of a file", []string{postsNode, hotNode, pushNode}, []string{"0>1:True", "1>2:True"})
	if err := os.WriteFile(file, []byte(`{"ruleChain":`+head+`,"metadata":`+body+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"EDGESYNC_RULES_FILE=" + file}
	r := s.synced()
	s.ruled("of a file")
	d := s.mustBeNamed("station 1")
	r.mustPost(t, "token-1", `{"ts":1,"values":{"t":1}}`)
	r.mustPost(t, "token-1", `{"ts":2,"values":{"t":31}}`)
	s.arrived(d, "t", 1)
	n := r.snapshot()
	summed(t, n)
	if n.Filtered != 1 || n.Made != 0 {
		t.Errorf("filtered %d, made %d", n.Filtered, n.Made)
	}
	r.mustPost(t, "token-1", `{"ts":2,"values":{"t":"hot"}}`) // which fails, and goes up as it came
	if n := r.snapshot(); n.RuleFailures != 1 {
		t.Errorf("%d failures", n.RuleFailures)
	}
	// Another chain in the file counts from SIGHUP on; a broken one changes nothing.
	hup := func(text, says string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.eventually(says, func() bool { return strings.Contains(r.log.String(), says) })
	}
	const instead = "The chain of rules.file counts, in place of those of the cloud."
	if out, code := s.tool("rules"); code != 0 || !strings.HasPrefix(out, instead+"\n") {
		t.Errorf("%d: %s", code, out)
	}
	hup(`{"ruleChain":[]}`, "it is wrong, and what was in force stays")
	head, body = chainTexts(proto.UUID{1}, "of a file, again", []string{postsNode, pushNode}, []string{"0>1:False"})
	hup(`{"ruleChain":`+head+`,"metadata":`+body+`}`, `msg="the configuration was read again" changed=rules.file`)
	s.ruled("of a file, again")
	r.mustPost(t, "token-1", `{"ts":2,"values":{"t":32}}`)
	if n := r.snapshot(); n.Filtered != 2 {
		t.Errorf("filtered %d", n.Filtered)
	}
	r.Kill()
	s.env = append(s.env, "EDGESYNC_RULES_MODE=off")
	r = s.start()
	r.mustPost(t, "token-1", `{"ts":3,"values":{"t":1}}`)
	s.arrived(d, "t", 2)
	if !strings.Contains(r.log.String(), `msg="rule chains: Rule chains are off (rules.mode): everything goes to the cloud."`) {
		t.Error(r.log.String())
	}
	r.Kill()
	if err := os.WriteFile(file, []byte(`{"ruleChain":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = s.env[:1]
	if out, code := s.tool("run"); code != exitConfig || !strings.Contains(out, "rules.file") {
		t.Errorf("a file that is no chain: %d\n%s", code, out)
	}
}

// Devices post until they hear 200, into a chain that holds each message for a while; the agent is
// killed again and again. Every reading is in the cloud.
func TestNothingHeldIsLostThroughKills(t *testing.T) {
	t.Parallel()
	const kills, readings = 4, 150
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.chain("late", []string{`delay.TbMsgDelayNode|late|{"periodInSeconds":1,"maxPendingMsgs":10000}`, pushNode}, "0>1:Success")
	s.ruled("late")
	var address atomic.Value
	address.Store(r.http)
	var stations sync.WaitGroup
	progress := make(chan struct{}, 3*readings)
	for i := range 3 {
		stations.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for n := 1; n <= readings; n++ {
				body := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1767225600000+int64(n), n)
				for {
					<-pause.C
					if code, _ := post(address.Load().(string), fmt.Sprint("token-", i), body); code == http.StatusOK {
						break
					} else if code/100 == 4 {
						t.Errorf("station %d: status %d", i, code)
						return
					}
				}
				progress <- struct{}{}
			}
		})
	}
	for range kills {
		for range 3 * readings / (kills + 1) {
			<-progress
		}
		r.Kill()
		r = s.start()
		address.Store(r.http)
	}
	stations.Wait()
	s.eventually("all has gone up", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending+n.Held == 0 })
	summed(t, r.snapshot())
	for _, d := range s.cloud.Tenant().Devices() {
		if rows := s.cloud.Tenant().Series(d.ID, "n"); len(rows) != readings {
			t.Errorf("%s: %d of %d readings arrived", d.Name, len(rows), readings)
		}
	}
}

// The process is killed behind each acknowledgement: nodes go on with what they remember.
func TestMemoriesSurviveKills(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.chain("delta", []string{
		postsNode, `metadata.CalculateDeltaNode|delta|{"inputValueKey":"n","outputValueKey":"d","useCache":true}`, pushNode,
	}, "0>1:True", "1>2:Success")
	s.ruled("delta")
	d := s.mustBeNamed("station 2")
	const all = 8
	for n := 1; n <= all; n++ {
		r.mustPost(t, "token-2", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, n, n*n))
		r.Kill()
		r = s.start()
	}
	s.arrived(d, "d", all)
	for i, row := range s.cloud.Tenant().Series(d.ID, "d") {
		if want := int64(2*i + 1); i > 0 && row.Value.Long != want || i == 0 && row.Value.Long != 0 {
			t.Errorf("row %d: the delta is %d, want %d", i, row.Value.Long, want)
		}
	}
}
