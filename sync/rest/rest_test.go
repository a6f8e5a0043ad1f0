package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

const (
	root = "admin@x"
	ours = "user@x"
)

// step is one request and what must come of it.
type step struct {
	as, method, path, body string
	status                 int
	want                   string // JSON that the answer must have
	// Beginnings of the new events: action, kind; then a text that each must hold, behind " … ".
	events []string
}

func (r *rig) run(steps []step) {
	r.Helper()
	r.events()
	for _, s := range steps {
		name := s.as + " " + s.method + " " + s.path
		a := r.send(s.as, s.method, s.path, s.body)
		if a.status != s.status {
			r.Errorf("%s %s: %d %s, want %d", name, s.body, a.status, a.body, s.status)
			continue
		}
		if s.status >= 400 {
			var f struct {
				Status, ErrorCode int
				Message           string
				Timestamp         int64
			}
			if json.Unmarshal([]byte(a.body), &f) != nil || f.Status != s.status || f.ErrorCode == 0 ||
				f.Message == "" || f.Timestamp == 0 {
				r.Errorf("%s: the error is %s", name, a.body)
			}
		}
		if s.want != "-" && (s.status < 400 || s.want != "") {
			r.has(name, a.body, s.want)
		}
		got := r.events()
		if len(got) != len(s.events) {
			r.Errorf("%s: events %q, want %q", name, got, s.events)
			continue
		}
		for i, w := range s.events {
			head, part, _ := strings.Cut(w, " … ")
			if !strings.HasPrefix(got[i], head+" ") || !strings.Contains(got[i], part) {
				r.Errorf("%s: event %q, want %q", name, got[i], w)
			}
		}
	}
}

func msb(n int) int64 { m, _ := proto.Halves(id(n)); return m }

func lsb(n int) int64 { _, l := proto.Halves(id(n)); return l }

func TestCalls(t *testing.T) {
	r := newRig(t)
	var got string
	var end error
	r.calls.f = func(method, params string, oneway bool, timeout time.Duration) (string, error) {
		got = fmt.Sprint(method, " ", params, " ", oneway, " ", timeout)
		return `{"ok":1}`, end
	}
	two, one := "/api/rpc/twoway/"+text(meter), "/api/rpc/oneway/"+text(meter)
	for _, c := range []struct {
		path, body string
		end        error
		status     int
		want, call string
	}{
		{two, `{"method":"set","params":{"pin": 4}}`, nil, 200, `{"ok":1}`, `set {"pin":4} false 10s`},
		{two, `{"method":"set","params":"x","timeout":1}`, nil, 200, `{"ok":1}`, `set "x" false 5s`},
		{two, `{"method":"set","timeout":9000000000000000}`, nil, 200, `{"ok":1}`, `set  false 30s`},
		{one, `{"method":"set","params":true,"timeout":7000}`, nil, 200, "", `set true true 7s`},
		{two, `{"method":"set"}`, &agent.CallError{Word: "TIMEOUT"}, 504, "{}", ""},
		{"/api/plugins/rpc/twoway/" + text(meter), `{"method":"set"}`, &agent.CallError{Word: "TIMEOUT"}, 408, "{}", ""},
		{"/api/plugins/rpc/oneway/" + text(meter), `{"method":"set"}`, &agent.CallError{Word: "NO_ACTIVE_CONNECTION"}, 409, "{}", ""},
		{two, `{"method":"set"}`, agent.ErrTooMany, 429, "{}", ""},
		{two, `{"method":""}`, nil, 400, "{}", ""},
		{two, `{"method":"set","persistent":true}`, nil, 400, "{}", ""},
		{two, `{"method":7}`, nil, 400, "{}", ""},
		{"/api/rpc/twoway/" + text(77), `{"method":"set"}`, nil, 404, "{}", ""},
		{"/api/rpc/twoway/" + text(lamp), `{"method":"set"}`, nil, 403, "{}", ""},
	} {
		got, end = "", c.end
		a := r.send(ours, "POST", c.path, c.body)
		if c.path == "/api/rpc/twoway/"+text(77) {
			a = r.send(root, "POST", c.path, c.body)
		}
		if a.status != c.status || c.call != "" && got != c.call {
			t.Errorf("%s %s: %d %s, call %q", c.path, c.body, a.status, a.body, got)
		}
		r.has(c.path, a.body, c.want)
	}
}

// An answer that is no JSON is not acceptable, as on the server (API.md 4.2).
func TestAnswersThatAreNoJSON(t *testing.T) {
	r := newRig(t)
	var says string
	r.calls.f = func(string, string, bool, time.Duration) (string, error) { return says, nil }
	for _, c := range []struct {
		says           string
		twoway, oneway int
	}{
		{"plain words", 406, 200},
		{"{", 406, 200},
		{"tru", 406, 200},
		{"{} {}", 406, 200},
		{"\x00", 406, 200},
		{"7", 200, 200},
		{"null", 200, 200},
		{`"x"`, 200, 200},
		{"{}", 200, 200},
	} {
		says = c.says
		for kind, want := range map[string]int{"twoway": c.twoway, "oneway": c.oneway} {
			for _, path := range []string{"/api/rpc/", "/api/plugins/rpc/"} {
				if a := r.send(ours, "POST", path+kind+"/"+text(meter), `{"method":"get"}`); a.status != want {
					t.Errorf("%s %s of %q: %d %s", path, kind, c.says, a.status, a.body)
				}
			}
		}
	}
}

// Without room in the queue nothing changes, and the answer says so.
func TestNothingChangesWithoutTheQueue(t *testing.T) {
	r := newRig(t)
	token := r.token(root)
	r.queue.Close()
	r.tokens[root] = token
	for _, s := range []step{
		{method: "POST", path: "/api/device", body: `{"name":"x"}`},
		{method: "POST", path: "/api/asset", body: `{"name":"x"}`},
		{method: "DELETE", path: "/api/device/" + text(lamp)},
		{method: "POST", path: "/api/plugins/telemetry/DEVICE/" + text(meter) + "/SERVER_SCOPE", body: `{"a":1}`},
		{method: "POST", path: "/api/plugins/telemetry/DEVICE/" + text(meter) + "/timeseries/ANY", body: `{"a":1}`},
		{method: "POST", path: "/api/alarm", body: `{"type":"hot","severity":"MAJOR","originator":` + ref("DEVICE", meter) + `}`},
	} {
		if a := r.send(root, s.method, s.path, s.body); a.status != 503 || a.head.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", s.method, s.path, a.status, a.body)
		}
	}
	if r.reg.Devices() != 2 {
		t.Errorf("%d devices", r.reg.Devices())
	}
	for kind, want := range map[proto.Kind]int{proto.KindAsset: 1, proto.KindAlarm: 0} {
		n := 0
		r.reg.Entities(kind, func(proto.UUID, []byte) bool { n++; return true })
		if n != want {
			t.Errorf("%v: %d", kind, n)
		}
	}
	n := 0
	r.reg.TimedAttributes(id(meter), registry.ServerScope, nil, func(int64, *proto.KV) { n++ })
	if n > 0 {
		t.Error("an attribute was stored")
	}
}
