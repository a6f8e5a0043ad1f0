package status

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/refusal"
)

// Refusals are in the metrics by door and reason, and in the text with who, why, how often and what
// helps; those of yesterday are not shown any more.
func TestRefusalsAreTold(t *testing.T) {
	now := time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)
	s := sample()
	s.Refusals = []refusal.Count{{Door: "http", Reason: "unknown_token", Count: 12}, {Door: "mqtt", Reason: "tls", Count: 1}}
	s.Refused = []refusal.Party{
		{
			Who: "Lamp\x1b[31m", Device: true, Words: "the topic does not exist", Topic: "plant/1", Detail: "odd", Cure: "mend it",
			Count: 1, Since: now, Last: now,
		},
		{Who: "192.168.1.20", Words: "unknown token", Cure: "compare", Count: 12, Since: now.Add(-58 * time.Minute), Last: now},
		{Who: "10.0.0.1", Words: "unknown token", Count: 1, Since: now.Add(-25 * time.Hour), Last: now.Add(-24 * time.Hour)},
	}
	var b bytes.Buffer
	if err := Print(&b, &s, now, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  refused   Lamp [31m: the topic does not exist; plant/1; odd; mend it\n",
		"  refused   192.168.1.20: unknown token, 12 times since 14:02; compare\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "10.0.0.1") {
		t.Errorf("yesterday's is shown:\n%s", b.String())
	}
	h := Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return true }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"# TYPE edgesync_refusals_total counter\n", "edgesync_refusals_total{door=\"http\",reason=\"unknown_token\"} 12\n",
		"edgesync_refusals_total{door=\"mqtt\",reason=\"tls\"} 1\n",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/edge/status", nil))
	if got := w.Body.String(); !strings.Contains(got, `"who":"192.168.1.20"`) || !strings.Contains(got, `"reason":"unknown_token"`) {
		t.Errorf("the page's data: %s", got)
	}
}

// The page shows who was refused, and what the cloud refuses to create.
func TestPageReadsRefusals(t *testing.T) {
	for _, name := range []string{"last.refused ", "s.refused_creations", "r.cure", "r.words", "c.cause", "c.full"} {
		if !strings.Contains(packed(t, "page.js"), name) {
			t.Errorf("page.js does not read %s", name)
		}
	}
}
