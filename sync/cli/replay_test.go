package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	agent "edgesync/sync"
)

// Somebody has deleted data in the cloud: edgesync replay has it go up once more, through a kill in
// its middle, while new events arrive, and says how much there is.
func TestReplayCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.env = []string{"EDGESYNC_QUEUE_KEEP_ACKNOWLEDGED=1MiB", "EDGESYNC_QUEUE_MAX_BYTES=4MiB"}
	r := s.synced()
	const n = 4000
	from := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	for i := 0; i < n; i += 100 {
		var rows []string
		for k := range 100 {
			rows = append(rows, fmt.Sprintf(`{"ts":%d,"values":{"a":%d}}`, i+k+1, i+k+1))
		}
		for _, row := range rows[:1] { // one event, and then many of one value
			if code, _ := post(r.http, "token-0", row); code != http.StatusOK {
				t.Fatal(code)
			}
		}
		if code, _ := post(r.http, "token-0", "["+strings.Join(rows[1:], ",")+"]"); code != http.StatusOK {
			t.Fatal(code)
		}
	}
	d := s.mustBeNamed("station 0")
	s.arrived(d, "a", n)
	s.eventually("all acknowledged", func() bool { return r.snapshot().Pending == 0 })
	said := func(code int, want string, args ...string) {
		t.Helper()
		if out, got := s.tool(args...); got != code || !strings.Contains(out, want) {
			t.Errorf("%q: %d, %s", args, got, out)
		}
	}
	before := r.snapshot()
	events := 0
	if out, _ := s.tool("replay", "--from", from, "--entity", "station 0", "--dry-run"); !strings.Contains(out, "can be sent again") {
		t.Error(out)
	} else if _, err := fmt.Sscanf(out, "%d events (", &events); err != nil || events < n/100 {
		t.Errorf("%s: %v", out, err)
	}
	said(2, "--from is behind --to", "replay", "--from", "1h", "--to", "2h")
	said(2, "replay needs --from", "replay", "--dry-run")
	said(2, "write a time as", "replay", "--from", "yesterday")
	said(1, "nothing here has this name", "replay", "--from", "1h", "--entity", "pump")
	said(1, "no acknowledged events", "replay", "--from", "1h", "--entity", "station 1")
	said(1, "no acknowledged events", "replay", "--from", "3d", "--to", "2d")
	said(1, "no replay runs", "replay", "--stop")
	said(2, "--stop stands alone", "replay", "--stop", "--dry-run")
	said(2, "--entity is empty", "replay", "--from", "2h", "--entity", "")
	if now := r.snapshot(); now.Accepted != before.Accepted || now.Replay != nil {
		t.Errorf("%+v", now.Replay)
	}

	s.cloud.DelayAcks(50 * time.Millisecond)
	said(0, "the agent sends them again", "replay", "--from", from, "--entity", "station 0")
	s.eventually("some of it", func() bool { p := r.snapshot().Replay; return p != nil && p.Events > 0 })
	r.Kill()
	r = s.start()
	if code, _ := post(r.http, "token-1", `{"ts":1,"values":{"a":1}}`); code != http.StatusOK {
		t.Fatal(code)
	}
	s.cloud.DelayAcks(0)
	s.arrived(s.mustBeNamed("station 1"), "a", 1)
	s.eventually("all of it twice", func() bool {
		rows := s.cloud.Tenant().Series(d.ID, "a")
		for _, row := range rows {
			if row.Writes < 2 {
				return false
			}
		}
		return len(rows) == n
	})
	s.eventually("the end", func() bool {
		p := r.snapshot()
		return p.Pending == 0 && (p.Replay == nil || p.Replay.State != agent.ReplayRuns)
	})
	now := r.snapshot()
	if now.Accepted != now.Deployed || now.Pending+now.Dropped+now.Dead+now.Damaged > 0 {
		t.Errorf("%+v", now)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "replay")); !os.IsNotExist(err) {
		t.Errorf("the file of the replay: %v", err)
	}
	audit := filepath.Join(t.TempDir(), "audit.txt") // beside the agent
	said(0, "", "audit", "--out", audit)
	said(0, " 0 gone, 0 differ\n", "audit", "--verify", audit)
	if text, err := os.ReadFile(audit); err != nil || strings.Contains(string(text), s.edge.Secret) ||
		strings.Contains(string(text), "token-") ||
		!strings.Contains(string(text), fmt.Sprintf("accepted %d = acknowledged %d + pending 0 +", now.Accepted, now.Accepted)) {
		t.Errorf("%v\n%s", err, text)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	said(0, " 0 gone, 0 differ\n", "audit", "--verify", audit)
	// The copies count for no replay that does not ask for them.
	out, _ := s.tool("replay", "--from", from, "--dry-run")
	if !strings.HasPrefix(out, several(events+1, "event (", "events (")) ||
		!strings.Contains(out, "copies of earlier replays left out (--copies)") {
		t.Errorf("%s, want %d events and no copies", out, events+1)
	}
	if out, _ := s.tool("wal", "dump", "--entity", "station 0", "--tail", "1"); !strings.HasSuffix(out, "  (replayed)\n") {
		t.Error(out)
	}
	out, _ = s.tool("wal", "dump", "--entity", "station 0", "--tail", "1", "--json")
	if !strings.Contains(out, `,"replayed":true,"content":{`) {
		t.Error(out)
	}
	all := 0
	out, _ = s.tool("replay", "--from", from, "--dry-run", "--copies")
	if _, err := fmt.Sscanf(out, "%d events (", &all); err != nil || all < 2*events+1 || strings.Contains(out, "left out") {
		t.Errorf("%s, want at least %d events", out, 2*events+1)
	}
	said(1, "no agent runs on", "replay", "--from", from)
	said(1, "no agent runs on", "replay", "--stop")
	if err := syscall.Rename(filepath.Join(s.dir, "queue"), filepath.Join(s.dir, "gone")); err != nil {
		t.Fatal(err)
	}
	said(1, "there is no queue", "replay", "--from", from)
}
