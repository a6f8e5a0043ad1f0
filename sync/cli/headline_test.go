package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/sync/status"
	"edgesync/sync/tally"
)

// A room that is used up while the cloud is away: every surface begins with the same sentence, a
// restart does not forget it, and it goes when the link is back and a person knows.
func TestFullIsToldFirst(t *testing.T) {
	s := newSite(t, t.TempDir())
	s.extra = "[queue]\nmax_bytes = \"1MiB\"\n"
	r := s.synced()
	s.cloud.Stop()
	s.eventually("the agent notices", func() bool { return r.snapshot().LastError != "" })
	pad := strings.Repeat("x", 2000)
	for i := 0; ; i++ {
		var b strings.Builder
		for n := range 100 {
			fmt.Fprintf(&b, `,{"ts":%d,"values":{"pad":%q}}`, 1700000000000+int64(i*100+n), pad)
		}
		if code, _ := post(r.http, "token-0", "["+b.String()[1:]+"]"); code != http.StatusOK {
			t.Fatalf("post %d: %d", i, code)
		}
		if r.snapshot().Dropped > 0 {
			break
		}
		if i == 20 {
			t.Fatal("4 MB fit into 1 MiB")
		}
	}
	headline := func(snap status.Report) {
		t.Helper()
		if snap.Health.Kind != status.KindFull || snap.Health.Level != status.Bad ||
			!strings.HasPrefix(snap.Health.Text, "FULL and dropping the oldest since ") ||
			!strings.Contains(snap.Health.Text, "because there is no link since ") {
			t.Errorf("%+v", snap.Health)
		}
	}
	var report status.Report
	out, code := s.tool("status", "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 {
		t.Fatalf("%v, %d: %s", err, code, out)
	}
	headline(report)
	lost := report.Losses[slices.IndexFunc(report.Losses, func(l tally.Loss) bool { return l.Reason == "quota" })]
	if lost.Events != report.Dropped || lost.From == nil || lost.To == nil || lost.To.Before(*lost.From) || report.Unrecorded != 0 {
		t.Errorf("%+v of %d dropped", lost, report.Dropped)
	}
	if r := report.Room; r.Limit != 1<<20 || r.Used > r.Limit || r.Percent < 75 || r.Worn == 0 {
		t.Errorf("%+v", r)
	}
	res, err := http.Get("http://" + r.http + "/api/edge/status")
	if err != nil {
		t.Fatal(err)
	}
	report = status.Report{}
	err = json.NewDecoder(res.Body).Decode(&report)
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	headline(report)
	if out, _ := s.tool("status"); !strings.Contains(out, "  FULL and dropping the oldest since ") {
		t.Errorf("%s", out)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	s.eventually("told after a restart", func() bool {
		n := r.snapshot()
		h := status.Judge(&n)
		return h.Kind == status.KindFull && strings.Contains(h.Text, "because there is no link since the start, ")
	})
	out, code = s.tool("status", "--ack")
	if code != 0 || strings.Contains(out, "FULL") || !strings.Contains(out, "  No link since the start, ") {
		t.Errorf("once a person knows: %d, %s", code, out)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if losses, _ := tally.Look(s.dir, time.Now()); len(losses) != 1 || losses[0].Events != 0 || losses[0].Total != lost.Total {
		t.Errorf("on flash: %+v", losses)
	}
	if out, code := s.tool("status", "--ack"); code != 0 || !strings.Contains(out, "No agent runs") {
		t.Errorf("without an agent: %d, %s", code, out)
	}
}
