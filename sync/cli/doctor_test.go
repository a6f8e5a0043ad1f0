package cli

import (
	"encoding/json"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// Beside an agent doctor leaves the session alone and finds nothing wrong; without one it shows the
// key to the cloud itself.
func TestDoctorBesideAnAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, t.TempDir())
	r := s.synced()
	s.eventually("the agent is connected", func() bool { return r.snapshot().State == agent.Connected })
	sessions := s.cloud.Stats().Accepted

	found := func() map[string]string {
		t.Helper()
		out, code := s.tool("doctor", "--json")
		var report struct {
			OK     bool
			Checks []struct{ Name, State, Found string }
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || !report.OK || strings.Contains(out, s.edge.Secret) {
			t.Errorf("%d, %v\n%s", code, err, out)
		}
		checks := make(map[string]string)
		for _, c := range report.Checks {
			checks[c.Name] = c.State + " " + c.Found
		}
		return checks
	}
	checks := found()
	for name, want := range map[string]string{
		"http.listen": "good 127.0.0.1:0: the agent that runs has " + r.http, "mqtt.listen": "good 127.0.0.1:0: the agent that runs has ",
		"key": "good the agent that runs is connected since ", "sync": "good 3 devices", "other agent": "good ",
	} {
		if !strings.HasPrefix(checks[name], want) {
			t.Errorf("%s: %q, want %q", name, checks[name], want)
		}
	}
	if now := s.cloud.Stats().Accepted; now != sessions {
		t.Errorf("%d sessions more", now-sessions)
	}
	if out, code := s.tool("check"); code != 0 || strings.Contains(out, "warning: ") {
		t.Errorf("%d\n%s", code, out)
	}

	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if checks := found(); checks["key"] != `good the cloud takes this edge: "edge" of type "default"` {
		t.Errorf("key: %q", checks["key"])
	}
	if now := s.cloud.Stats().Accepted; now != sessions+1 {
		t.Errorf("%d sessions more, want 1", now-sessions)
	}
}
