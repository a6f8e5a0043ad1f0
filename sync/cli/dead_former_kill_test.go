package cli

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A gateway waits with its events while its edge is made anew, and its process is killed again and
// again, whatever it does. At the end each event is at the device of its name, or is named as kept.
func TestEdgeMadeAnewUnderKills(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.cloud.RateLimit(true) // the cloud takes no event
	const posts, values = 40, 50
	for n := range posts {
		var b strings.Builder
		for k := range values {
			fmt.Fprintf(&b, `,{"ts":%d,"values":{"n":%d}}`, 1000+n*values+k, n*values+k)
		}
		if code, _ := post(r.http, "token-1", "["+b.String()[1:]+"]"); code != http.StatusOK {
			t.Fatalf("post: %d", code)
		}
	}
	if code, _ := post(r.http, "token-2", `{"ts":1,"values":{"n":1}}`); code != http.StatusOK {
		t.Fatalf("post: %d", code)
	}
	r.Kill()
	s.cloud.UnassignDevice(s.mustBeNamed("station 2").ID)
	s.edge = s.cloud.RemakeEdge(s.edge.ID)
	s.cloud.RateLimit(false)
	for range 8 {
		s.start().Kill()
	}
	r = s.synced()
	s.eventually("the former edge's events are set apart", func() bool {
		n := r.snapshot()
		return n.Former != nil && !n.Former.Moving && n.Pending == 0
	})
	n := r.snapshot()
	balanced(t, n)
	accepted := n.Accepted
	if n.Former.Events != n.Dead || n.Dead != accepted || n.Deployed != 0 {
		t.Errorf("%d accepted, %d deployed, %d dead, %d kept", accepted, n.Deployed, n.Dead, n.Former.Events)
	}
	if out, code := s.tool("status"); code != 0 || !strings.Contains(out, "of the former edge") {
		t.Errorf("status: %d\n%s", code, out)
	}
	out, code := s.tool("dead", "retry", "--by-name")
	if code != 0 || !strings.Contains(out, "on the way, by the names of the devices") || !strings.Contains(out, "1 event kept") ||
		!strings.Contains(out, "station 2") {
		t.Errorf("retry: %d\n%s", code, out)
	}
	s.arrived(s.mustBeNamed("station 1"), "n", posts*values)
	for i, p := range s.cloud.Tenant().Series(s.mustBeNamed("station 1").ID, "n") {
		if p.TS != int64(1000+i) || p.Value.Long != int64(i) {
			t.Fatalf("row %d: %d at %d", i, p.Value.Long, p.TS)
		}
	}
	s.eventually("all but one is deployed", func() bool { return r.snapshot().Deployed == accepted-1 })
	n = r.snapshot()
	balanced(t, n)
	if n.Accepted != accepted || n.Dead != 1 || n.Former.Events != 1 {
		t.Errorf("%d accepted, %d dead, %d kept", n.Accepted, n.Dead, n.Former.Events)
	}
	if out, code := s.tool("dead", "drop", "former"); code != 0 || out != "1 event of former edges dropped\n" {
		t.Errorf("drop: %d\n%s", code, out)
	}
	balanced(t, r.snapshot())
}
