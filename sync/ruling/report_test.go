package ruling

import (
	"encoding/json"
	"strings"
	"testing"

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
