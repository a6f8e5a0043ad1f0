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

// The commands beside a running agent: dead letters are listed, woken and dropped through it, and
// the queue is looked into.
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
	dead := offsets(t, out)
	if code != 0 || len(dead) != 3 {
		t.Fatalf("list: %d, %s", code, out)
	}
	middle := fmt.Sprint(dead[1])
	if out, code = s.tool("dead", "show", middle); code != 0 || !strings.Contains(out, `"n": 1`) {
		t.Errorf("show: %d\n%s", code, out)
	}

	s.cloud.RefuseUplink(nil)
	if out, code = s.tool("dead", "retry", middle); code != 0 || !strings.Contains(out, "1 dead letter woken; the agent tries") {
		t.Errorf("retry: %d\n%s", code, out)
	}
	s.eventually("the woken event arrives", func() bool { n := r.snapshot(); return n.Deployed == 1 && n.Dead == 2 })
	balanced(t, r.snapshot())
	if out, code = s.tool("dead", "retry", middle); code != exitFailed || !strings.Contains(out, "no dead letter at offset "+middle) {
		t.Errorf("retry of a dead letter that is gone: %d\n%s", code, out)
	}
	if out, code = s.tool("dead", "drop", "all"); code != 0 || out != "2 dead letters dropped\n" {
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
	r.Kill()
	files, err := status.Fetch(s.dir)
	if err != nil || files.Running || files.Accepted != 3 || files.Deployed != 1 || files.Dropped != 2 || files.Dead != 0 {
		t.Errorf("the files after a kill: %v, %+v", err, files)
	}
}

// A claim is in the list of what the cloud did not take, with its reason and without its secret.
func TestClaim(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	d := s.mustBeNamed("station 0")
	res, err := http.Post("http://"+r.http+"/api/v1/token-0/claim", "application/json",
		strings.NewReader(`{"secretKey":"hush-hush","durationMs":60000}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s.eventually("the claim is recorded", func() bool { return r.snapshot().Dead == 1 })
	balanced(t, r.snapshot())
	run := func(args ...string) string {
		t.Helper()
		out, err := s.command(args...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	list := run("dead", "list")
	if !strings.Contains(list, "CLAIM") || !strings.Contains(list, d.Name) ||
		!strings.Contains(list, "cannot be transferred to the cloud") || !strings.Contains(list, "rests") {
		t.Errorf("dead list:\n%s", list)
	}
	offset := strings.Fields(strings.Split(list, "\n")[1])[0]
	if show := run("dead", "show", offset); !strings.Contains(show, `"durationMs": 60000`) || !strings.Contains(show, "***") {
		t.Errorf("dead show:\n%s", show)
	}
	texts := []string{list, run("dead", "show", offset), run("wal", "dump", "--all", "--json")}
	if got := run("wal", "dump", "--action", "CLAIM"); !strings.Contains(got, "DEAD") {
		t.Errorf("wal dump: %q", got)
	}
	r.Kill() // its log grows no more
	for _, text := range append(texts, r.log.String()) {
		if strings.Contains(text, "hush") {
			t.Errorf("the secret is in\n%s", text)
		}
	}
}
