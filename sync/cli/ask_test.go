package cli

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/status"
)

// tool runs the program as a process of its own on the site's directory.
func (s *site) tool(args ...string) (out string, code int) {
	s.Helper()
	cmd := s.command(args...)
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

// The commands beside a running agent: dead letters are listed, woken and dropped through it, and the queue is looked into.
func TestCommandsBesideAgent(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
		if len(u.GetEntityData()) > 0 {
			return "Validation error: not today"
		}
		return ""
	})
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	for n := range 3 {
		if code, _ := post(r.http, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1000+n, n)); code != http.StatusOK {
			t.Fatalf("post: %d", code)
		}
	}
	s.eventually("all three rest in the dead-letter log", func() bool {
		out, code := s.tool("dead", "list")
		return code == 0 && strings.Count(out, "  rests  ") == 3 && strings.Contains(out, "Validation error: not today")
	})
	out, code := s.tool("dead", "list", "--json")
	letters := offsets(t, out)
	if code != 0 || len(letters) != 3 {
		t.Fatalf("list: %d, %s", code, out)
	}
	middle := fmt.Sprint(letters[1])
	if out, code = s.tool("dead", "show", middle); code != 0 || !strings.Contains(out, `"n": 1`) {
		t.Errorf("show: %d\n%s", code, out)
	}

	s.cloud.RefuseUplink(nil)
	if out, code = s.tool("dead", "retry", middle); code != 0 || !strings.Contains(out, "1 letter woken; the agent tries") {
		t.Errorf("retry: %d\n%s", code, out)
	}
	s.eventually("the woken letter arrives", func() bool { n := r.snapshot(); return n.Deployed == 1 && n.Dead == 2 })
	balanced(t, r.snapshot())
	if out, code = s.tool("dead", "retry", middle); code != exitFailed || !strings.Contains(out, "no dead letter at offset "+middle) {
		t.Errorf("retry of a letter that is gone: %d\n%s", code, out)
	}
	if out, code = s.tool("dead", "drop", "all"); code != 0 || out != "2 letters dropped\n" {
		t.Errorf("drop: %d\n%s", code, out)
	}
	n := r.snapshot()
	balanced(t, n)
	if n.Dead != 0 || n.Dropped != 2 || n.Deployed != 1 {
		t.Errorf("dead %d, dropped %d, deployed %d", n.Dead, n.Dropped, n.Deployed)
	}

	if out, code = s.tool("wal", "dump", "--json"); code != 0 || len(objects(t, out)) != 3 || strings.Contains(out, "PENDING") {
		t.Errorf("dump: %d\n%s", code, out)
	}
	if out, code = s.tool("wal", "verify"); code != 0 || !strings.Contains(out, "all intact") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	if out, code = s.tool("wal", "stat"); code != 0 || !strings.Contains(out, "accepted            3") {
		t.Errorf("stat: %d\n%s", code, out)
	}
	if out, code = s.tool("wal", "repair"); code != exitLocked || !strings.Contains(out, "another agent holds") {
		t.Errorf("repair: %d\n%s", code, out)
	}
	r.kill()
	files, err := status.Fetch(s.dir)
	if err != nil || files.Running || files.Accepted != 3 || files.Deployed != 1 || files.Dropped != 2 || files.Dead != 0 {
		t.Errorf("the files after a kill: %v, %+v", err, files)
	}
}
