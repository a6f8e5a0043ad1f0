package ruling

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// TestReportsKeepSecrets: what a message or a configuration says is in a report for who sees
// contents, and in no other; that one has the kind of each error.
func TestReportsKeepSecrets(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{
		`filter.TbJsFilterNode|bad script|{"scriptLang":"TBEL","tbelScript":"return SECRET-1 === (;"}`,
		`telemetry.TbMsgAttributesNode|bad configuration|{"scope":"SECRET-2"}`,
		`filter.TbJsFilterNode|thrower|{"scriptLang":"TBEL","tbelScript":"return msg.t;"}`,
		`telemetry.TbMsgTimeseriesNode|save|{}`,
		pushNode,
	}, "0>1:True", "1>2:Success", "2>3:Failure", "3>4:Success")
	g.want(events(t, 1, `{"t":"SECRET-3"}`), `{"t":"SECRET-3"}`)
	g.mu.Lock()
	g.problems[proto.UUID{9}] = `rule chain 1: a relation "SECRET-4"`
	g.mu.Unlock()
	for _, contents := range []bool{true, false} {
		b, err := json.Marshal(g.Report(contents))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, secret := range []string{"SECRET-2", "SECRET-4"} {
			if strings.Contains(text, secret) != contents {
				t.Errorf("contents %v: %s", contents, text)
			}
		}
		for _, kind := range []string{`"configuration…"`, `"Wrong result type…"`, "is not executed: rule chain…"} {
			if strings.Contains(text, kind) == contents {
				t.Errorf("contents %v: no %s in %s", contents, kind, text)
			}
		}
		if !contents && strings.Contains(text, "SECRET") {
			t.Error(text)
		}
	}
	if got := kindOfError(`there is no "SECRET" in the message`); got != "an error…" {
		t.Error(got)
	}
}

// A report says which chain is the root and since when, which profiles name a chain, and which
// nodes are not executed; the log says once a day what goes on (RULES.md 7.2, 7.6).
func TestReportNamesRootProfilesAndNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		var log logs
		g.Options.Log = slog.New(slog.NewTextHandler(&log, nil))
		start := time.Now()
		if root := g.RootChain(); root != (Root{}) {
			t.Errorf("%+v", root)
		}
		time.Sleep(time.Minute)
		g.chain(chainID, true, []string{pushNode})
		other := proto.UUID{0xc0, 15: 2}
		var strange []string
		for n := range 7 {
			strange = append(strange, fmt.Sprintf(`my.Node|odd %d|{}`, n))
		}
		g.chain(other, false, strange)
		of := `"defaultEdgeRuleChainId":{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(other) + `"}`
		g.down(&proto.DownlinkMsg{
			DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{
				{IdMSB: 1, Entity: `{"name":"pumps",` + of + `}`}, {IdMSB: 2, Entity: `{"name":"others"}`},
			},
			AssetProfileUpdateMsg: []*proto.AssetProfileUpdateMsg{{IdMSB: 1, Entity: `{"name":"rooms",` + of + `}`}},
		})
		check := func(since time.Time, name string) {
			t.Helper()
			r := g.Report(false)
			if root := g.RootChain(); root.Name != name || r.Root != name || !root.Since.Equal(since) || r.RootSince != since.UnixMilli() {
				t.Errorf("%+v; report %q since %d", root, r.Root, r.RootSince)
			}
		}
		check(start.Add(time.Minute), "c1")
		if n := g.RootChain().Nodes; n != 1 {
			t.Errorf("%d nodes", n)
		}
		r := g.Report(false)
		if p := r.Chains[1].Profiles; !slices.Equal(p, []string{"pumps", "rooms"}) || r.Chains[0].Profiles != nil {
			t.Errorf("%q", p)
		}
		want := `Chain "c2": some of its nodes are not executed: "odd 0", "odd 1", "odd 2", "odd 3", "odd 4", …; ` + insteadWords + "."
		if !slices.Contains(r.Facts, want) {
			t.Errorf("%q, want %s", r.Facts, want)
		}
		time.Sleep(time.Minute)
		g.chain(chainID, true, []string{pushNode, pushNode}) // it stays the root
		check(start.Add(time.Minute), "c1")
		g.chain(other, true, strange[:1])
		check(start.Add(2*time.Minute), "c2")
		log.take()
		for range 4 {
			g.post(events(t, 1, `{"t":1}`))
			time.Sleep(10 * time.Hour)
		}
		if got := strings.Count(log.take(), "is not executed; messages pass it"); got != 2 { // after 0 and 30 h
			t.Errorf("said %d times", got)
		}
	})
}

// logs is what was logged.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// Metadata without nodes leave a chain that has some as it is, also over a restart (RULES.md 1.3).
func TestEmptyMetadataKeepTheNodes(t *testing.T) {
	g := newRig(t)
	g.filterChain()
	for range 2 {
		g.down(&proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{
			Entity: `{"ruleChainId":{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(chainID) +
				`"},"firstNodeIndex":null,"nodes":[],"connections":[]}`,
		}}})
		g.want(events(t, 1, `{"t":1}`), "")
		g.want(events(t, 1, `{"t":31}`), `{"t":31}`)
		g.close(false)
		g.open()
	}
	defer g.close(false)
	g.want(events(t, 1, `{"t":1}`), "")
	g.want(events(t, 1, `{"t":31}`), `{"t":31}`)
}
