package cloudtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// chainTape plays the recording of rule chains to a session: what people did on the server is done
// on this cloud, and what came down there must come down here, in the same order, with the same
// content. Ids are others here, but the same where they were the same there.
type chainTape struct {
	*rig
	client *client
	edge   proto.UUID
	ids    map[string]string // recorded ids and times, and ours
	seen   int               // messages that came down and were compared
	line   tapeLine
	root   proto.UUID // of a new edge
}

func TestRecordedChains(t *testing.T) {
	lines := readTape(t, "rule-chains")
	synctest.Test(t, func(t *testing.T) {
		tenant := NewTenant()
		tenant.SetWidgetTypes(1)
		edge := Edge{ID: proto.UUID{0xa}, Name: "replay", RoutingKey: "k", Secret: "s"}
		tenant.AddEdge(edge)
		r := &rig{T: t, cloud: New(Options{Seed: 1, Tenant: tenant}), lis: newListener(), start: time.Now()}
		go func() { _ = r.cloud.Serve(r.lis) }()
		defer r.cloud.Stop()
		p := &chainTape{rig: r, edge: edge.ID, ids: map[string]string{}, root: tenant.RootChain()}
		p.client = r.session(edge, ackAll)
		p.seen = len(p.client.messages())
		for _, l := range lines {
			p.line = l
			switch {
			case l.Note == "step":
				p.nothingElse()
			case l.Note == "edgeUpdateMsg":
				if m := p.next(); m.GetEdgeUpdateMsg() == nil {
					p.errorf("want an EdgeUpdateMsg, got %v", m)
				}
			case l.Down != "":
				p.down()
			case strings.HasPrefix(l.Note, "rest "):
				p.rest()
			}
		}
	})
}

func (p *chainTape) errorf(format string, args ...any) {
	p.Helper()
	p.Errorf("rule-chains:%d: "+format, append([]any{p.line.Line}, args...)...)
}

// next is the next message that came down, within some seconds; nil if there is none.
func (p *chainTape) next() *proto.ResponseMsg {
	for range 5 {
		if all := p.client.messages(); p.seen < len(all) {
			p.seen++
			return all[p.seen-1]
		}
		time.Sleep(time.Second)
	}
	return nil
}

func (p *chainTape) nothingElse() {
	p.Helper()
	time.Sleep(5 * time.Second)
	if all := p.client.messages(); p.seen < len(all) {
		p.errorf("%d messages too many: %v", len(all)-p.seen, all[p.seen:])
		p.seen = len(all)
	}
}

func (p *chainTape) down() {
	raw, err := base64.StdEncoding.DecodeString(p.line.Down)
	var want proto.ResponseMsg
	if err == nil {
		err = pb.Unmarshal(raw, &want)
	}
	if err != nil {
		p.Fatal(err)
	}
	m := p.next()
	for p.line.Line == 86 && m != nil && len(m.DownlinkMsg.GetRuleChainUpdateMsg()) == 0 {
		m = p.next() // a full sync begins with other things
	}
	w, g := want.DownlinkMsg, m.GetDownlinkMsg()
	if len(w.RuleChainUpdateMsg) != len(g.GetRuleChainUpdateMsg()) ||
		len(w.RuleChainMetadataUpdateMsg) != len(g.GetRuleChainMetadataUpdateMsg()) ||
		len(w.RelationUpdateMsg) != len(g.GetRelationUpdateMsg()) {
		p.errorf("got %v, want %v", g, w)
		return
	}
	for i, c := range w.RuleChainUpdateMsg {
		got := g.RuleChainUpdateMsg[i]
		p.same(c.MsgType, got.MsgType, c.Entity, got.Entity)
		if id := proto.FormatUUID(proto.UUIDOf(c.IdMSB, c.IdLSB)); p.ids[id] != proto.FormatUUID(proto.UUIDOf(got.IdMSB, got.IdLSB)) {
			p.errorf("the id is of another chain than %s", id)
		}
	}
	for i, c := range w.RuleChainMetadataUpdateMsg {
		got := g.RuleChainMetadataUpdateMsg[i]
		p.same(c.MsgType, got.MsgType, c.Entity, got.Entity)
	}
	for i, c := range w.RelationUpdateMsg {
		p.same(c.MsgType, g.RelationUpdateMsg[i].MsgType, c.Entity, g.RelationUpdateMsg[i].Entity)
	}
}

// same compares the type of a message, and its JSON with the order of its members.
func (p *chainTape) same(wantType, gotType proto.UpdateMsgType, want, got string) {
	p.Helper()
	if wantType != gotType {
		p.errorf("%s, want %s", gotType, wantType)
	}
	w, g := tokens(want), tokens(got)
	if len(w) > 2 && slices.Contains(w, "Edge Root Rule Chain") || slices.Contains(w, "Save Timeseries") {
		// The template's nodes have scripts and places of ours: what is compared is what they do.
		w, g = rootTokens(w), rootTokens(g)
	}
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || !p.equal(w, g, i) {
			p.errorf("differs at token %d\n got %s\nwant %s", i, got, want)
			return
		}
	}
}

// equal compares the token i: ids and times are the same as before, or new in both.
func (p *chainTape) equal(want, got []string, i int) bool {
	w, g := want[i], got[i]
	_, id := proto.ParseUUID(w)
	if !id && (i == 0 || want[i-1] != "createdTime") {
		return w == g
	}
	if known, ok := p.ids[w]; ok && id {
		return known == g
	}
	if id {
		for _, other := range p.ids {
			if other == g {
				return false
			}
		}
		p.ids[w] = g
	}
	return true
}

// tokens are the tokens of a JSON text, with numbers as they stand.
func tokens(text string) (list []string) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	for {
		t, err := d.Token()
		if err != nil {
			return list
		}
		list = append(list, fmt.Sprint(t))
	}
}

// rootTokens leaves of the template's head and metadata what the recorded server and this cloud
// have in common.
func rootTokens(list []string) (out []string) {
	for i := 0; i < len(list); i++ {
		if at := slices.Index([]string{"additionalInfo", "configuration", "id"}, list[i]); at >= 0 && i+1 < len(list) && list[i+1] == "{" {
			depth := 0
			for i++; ; i++ {
				if list[i] == "{" || list[i] == "[" {
					depth++
				} else if list[i] == "}" || list[i] == "]" {
					if depth--; depth == 0 {
						break
					}
				}
			}
			continue
		}
		if i > 0 && (list[i-1] == "id" || list[i-1] == "createdTime" || list[i-1] == "description" ||
			strings.HasPrefix(list[i], "Push to cloud") || list[i] == "additionalInfo" || list[i-1] == "additionalInfo") {
			continue
		}
		out = append(out, list[i])
	}
	return out
}

// rest does what people did.
func (p *chainTape) rest() {
	var call rest
	if err := json.Unmarshal(p.line.JSON, &call); err != nil {
		p.Fatal(err)
	}
	path := strings.TrimPrefix(p.line.Note, "rest ")
	var ids []proto.UUID
	for _, word := range strings.Split(path, "/") {
		if id, ok := proto.ParseUUID(word); ok {
			path = strings.Replace(path, word, "ID", 1)
			ids = append(ids, p.ours(id))
		}
	}
	body := p.translated(call.Body)
	var err error
	switch path {
	case "POST /api/ruleChain":
		var o object
		_ = json.Unmarshal(body, &o)
		var id proto.UUID
		if id, err = p.cloud.SaveChain(refOf(o["id"], typeRuleChain).id, []byte(`{"ruleChain":`+string(body)+`}`)); err == nil {
			var answer object
			_ = json.Unmarshal(call.Answer, &answer)
			p.ids[proto.FormatUUID(refOf(answer["id"], typeRuleChain).id)] = proto.FormatUUID(id)
		}
	case "POST /api/ruleChain/metadata":
		var o object
		_ = json.Unmarshal(body, &o)
		_, err = p.cloud.SaveChain(refOf(o["ruleChainId"], typeRuleChain).id, []byte(`{"metadata":`+string(body)+`}`))
	case "POST /api/edge/ID/ruleChain/ID":
		err = p.cloud.AssignChain(p.edge, ids[1])
	case "POST /api/edge/ID/ID/root":
		err = p.cloud.SetRootChain(p.edge, ids[1])
	case "DELETE /api/edge/ID/ruleChain/ID":
		err = p.cloud.UnassignChain(p.edge, ids[1])
	case "DELETE /api/ruleChain/ID":
		p.cloud.DeleteChain(ids[0])
	case "POST /api/edge/sync/ID":
		p.cloud.StartSync(p.edge)
	default:
		p.errorf("unknown call %s", path)
	}
	var refused struct{ Message string }
	if call.Status == 400 {
		_ = json.Unmarshal([]byte(text(call.Answer)), &refused)
	}
	if (err != nil) != (call.Status == 400) || err != nil && err.Error() != "cloudtest: "+refused.Message {
		p.errorf("got error %v, recorded is %s", err, call.Answer)
	}
}

// ours is our id of a recorded one.
func (p *chainTape) ours(id proto.UUID) proto.UUID {
	word := proto.FormatUUID(id)
	switch word {
	case "4e651100-ebcf-11f1-905b-ebac168d5fb1":
		p.ids[word] = proto.FormatUUID(p.root)
	case "7a068330-ebd3-11f1-b7e7-a9b7ab7e4883":
		return p.edge
	}
	own, _ := proto.ParseUUID(p.ids[word])
	return own
}

func (p *chainTape) translated(body json.RawMessage) []byte {
	for theirs, own := range p.ids {
		body = bytes.ReplaceAll(body, []byte(theirs), []byte(own))
	}
	return body
}

// TestChainRefusals: what a server does not save (RULES.md 1.3).
func TestChainRefusals(t *testing.T) {
	c := New(Options{})
	const node = `{"type":"a.b.TbAckNode","name":"a","configuration":{}}`
	named := func(nodes, connections string) string {
		return `{"ruleChain":{"name":"x"},"metadata":{"nodes":[` + nodes + `],"connections":[` + connections + `]}}`
	}
	for text, want := range map[string]string{
		`[]`:                            errExport.Error(),
		`{"metadata":{}}`:               errExport.Error(),
		`{"ruleChain":{}}`:              "cloudtest: Rule chain name should be specified!",
		strings.Repeat(" ", MaxChain+1): "cloudtest: a rule chain of 4194305 bytes: at most 4194304",

		named(`{"type":"a.b.TbAckNode","name":"a"}`, ""): "cloudtest: TbAckNode node configuration is invalid: no configuration",
		named(node, `{"fromIndex":0,"toIndex":0}`):       "cloudtest: Can't create the relation to yourself.",
		named(node, `{"fromIndex":0,"toIndex":1}`):       "cloudtest: Index 1 out of bounds for length 1",
		named(node+","+node+","+node, `{"fromIndex":0,"toIndex":1},{"fromIndex":1,"toIndex":2},`+
			`{"fromIndex":2,"toIndex":1}`): "cloudtest: Can't create circling relations in rule chain.",
	} {
		if _, err := c.SaveChain(proto.UUID{}, []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.80s: %v, want %s", text, err, want)
		}
	}
	if _, err := c.SaveChain(proto.UUID{1}, []byte(`{"ruleChain":{"name":"x"}}`)); err != errNoChain {
		t.Error(err)
	}
	const noEdge = "cloudtest: no edge 01000000-0000-0000-0000-000000000000"
	if err := c.AssignChain(proto.UUID{1}, c.Tenant().RootChain()); err == nil || err.Error() != noEdge {
		t.Error(err)
	}
	c.Tenant().AddEdge(edgeA)
	for _, err := range []error{
		c.AssignChain(edgeA.ID, proto.UUID{1}), c.SetRootChain(edgeA.ID, proto.UUID{1}), c.UnassignChain(edgeA.ID, proto.UUID{1}),
	} {
		if err != errNoChain {
			t.Error(err)
		}
	}
}

// TestChainsOfEdge: chains come in the order in which they were assigned, and outlive a change of
// the edge (RULES.md 1.1).
func TestChainsOfEdge(t *testing.T) {
	c := New(Options{})
	c.Tenant().AddEdge(edgeA)
	root := c.Tenant().RootChain()
	var ids []proto.UUID
	for _, name := range []string{"a", "b"} {
		id, err := c.SaveChain(proto.UUID{}, []byte(`{"ruleChain":{"name":"`+name+`"},"metadata":{"firstNodeIndex":null,"nodes":[]}}`))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, err := range []error{
		c.AssignChain(edgeA.ID, ids[1]), c.AssignChain(edgeA.ID, ids[0]), c.SetRootChain(edgeA.ID, ids[1]), c.SetRootChain(edgeA.ID, root),
		c.UnassignChain(edgeA.ID, ids[1]),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	c.SaveEdge(edgeA)
	want := []Chain{{ids[0], "a", false}, {root, "Edge Root Rule Chain", true}}
	if got := c.Tenant().Chains(edgeA.ID); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.DeleteChain(ids[0])
	if got := c.Tenant().Chains(edgeA.ID); !slices.Equal(got, want[1:]) {
		t.Errorf("got %v", got)
	}
}
