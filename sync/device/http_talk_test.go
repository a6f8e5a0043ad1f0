package device

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// httpStand is the HTTP door beside the MQTT one.
func httpStand(t *testing.T) (*stand, func(method, path, body string) (int, string)) {
	s := newStand(t, true)
	h := NewHTTP(s.Doors, 0)
	return s, func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
}

func TestHTTPReadAttributes(t *testing.T) {
	s, do := httpStand(t)
	s.book.attributes[registry.ClientScope][lampID] = []proto.KV{long("a", 1), long("b c", 2)}
	s.book.attributes[registry.SharedScope][lampID] = []proto.KV{boolean("fan", true)}
	for _, c := range [][2]string{
		{"", `{"client":{"a":1,"b c":2},"shared":{"fan":true}}`},
		{"?clientKeys=,&x=1", `{"client":{"a":1,"b c":2},"shared":{"fan":true}}`},
		{"?clientKeys=a", `{"client":{"a":1}}`},
		{"?clientKeys=a%2Cb%20c", `{"client":{"a":1,"b c":2}}`},
		{"?clientKeys=a&clientKeys=b%20c&sharedKeys=fan,nix", `{"client":{"a":1,"b c":2},"shared":{"fan":true}}`},
		{"?sharedKeys=nix", `{}`},
	} {
		if code, body := do("GET", "lamp/attributes"+c[0], ""); code != 200 || body != c[1] {
			t.Errorf("%s: %d %s, want %s", c[0], code, body, c[1])
		}
	}
	if code, _ := do("GET", "nobody/attributes", ""); code != 401 {
		t.Errorf("unknown token: %d", code)
	}
}

// TestHTTPPolls expects that long polls end in time with the status that ThingsBoard gives, or with
// what they waited for.
func TestHTTPPolls(t *testing.T) {
	for _, c := range []struct {
		name, query string
		during      func(*stand)
		after       time.Duration
		status      int
		body        string
	}{
		{"timeout", "attributes/updates?timeout=5000", nil, 5 * time.Second, 408, ""},
		{"negative", "rpc?timeout=-1", nil, 0, 408, ""},
		{"long", "rpc?timeout=60000", nil, waitLimit, 503, "nothing came"},
		{"none", "attributes/updates", nil, waitLimit, 503, "nothing came"},
		{"empty", "attributes/updates?timeout=", nil, waitLimit, 503, "nothing came"},
		{"no number", "rpc?timeout=abc", nil, 0, 400, "must be a number"},
		{"set", "attributes/updates?timeout=5000", func(s *stand) {
			s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
		}, time.Second, 200, `{"a":1}`},
		{"deleted", "attributes/updates?timeout=5000", func(s *stand) {
			s.SharedAttributes(lampID, nil, []string{"a"})
		}, time.Second, 200, `{"deleted":["a"]}`},
		{"of another device", "attributes/updates?timeout=5000", func(s *stand) {
			s.SharedAttributes(gatewayID, []proto.KV{long("a", 1)}, nil)
		}, 5 * time.Second, 408, ""},
		{"command", "rpc?timeout=5000", func(s *stand) {
			if !s.Deliver(&agent.Call{Device: lampID, ID: 7, Method: "m", Params: `{"x":1}`}) {
				s.Error("nobody takes the command")
			}
		}, time.Second, 200, `{"id":7,"method":"m","params":{"x":1}}`},
		{"device deleted", "rpc?timeout=5000", func(s *stand) {
			s.DeviceChanged(registry.Device{ID: lampID}, registry.DeviceDeleted)
		}, time.Second, 403, "Device was deleted!"},
		{"credentials changed", "rpc?timeout=5000", func(s *stand) {
			s.DeviceChanged(registry.Device{ID: lampID}, registry.CredentialsChanged)
		}, 5 * time.Second, 408, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, do := httpStand(t)
				began := time.Now()
				if c.during != nil {
					time.AfterFunc(time.Second, func() { c.during(s) })
				}
				code, body := do("GET", "lamp/"+c.query, "")
				took := time.Since(began)
				if code != c.status || !strings.Contains(body, c.body) || took != c.after ||
					c.status == 408 && body != "" {
					t.Errorf("%d %q after %v, want %d %q after %v", code, body, took, c.status, c.body, c.after)
				}
				if len(s.polls) != 0 {
					t.Error("a poll is left behind")
				}
				delivered, _ := s.calls.said()
				want := map[bool]string{true: "[01/7]", false: "[]"}[c.name == "command"]
				if fmt.Sprint(delivered) != want {
					t.Errorf("delivered %v", delivered)
				}
				time.Sleep(2 * time.Second)
				s.MQTT.Close()
			})
		})
	}
}

// TestHTTPManyPolls expects that every poll gets what comes, and that one too many is refused for
// now.
func TestHTTPManyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, do := httpStand(t)
		got := make(chan string, maxPolls)
		for range maxPolls {
			go func() {
				code, body := do("GET", "lamp/attributes/updates?timeout=5000", "")
				got <- fmt.Sprint(code, body)
			}()
		}
		synctest.Wait()
		if code, _ := do("GET", "lamp/rpc?timeout=5000", ""); code != 503 {
			t.Errorf("one too many: %d", code)
		}
		s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
		for range maxPolls {
			if g := <-got; g != `200{"a":1}` {
				t.Error(g)
			}
		}
		s.MQTT.Close()
	})
}

// The oldest command without an answer comes at once, whether it was delivered before or not.
func TestHTTPCommands(t *testing.T) {
	s, do := httpStand(t)
	s.calls.pending[lampID] = []agent.Call{{Device: lampID, ID: 1, Method: "a"}, {Device: lampID, ID: 2, Method: "b"}}
	for range 2 {
		if code, body := do("GET", "lamp/rpc", ""); code != 200 || body != `{"id":1,"method":"a","params":null}` {
			t.Errorf("%d %s", code, body)
		}
	}
	if code, _ := do("POST", "lamp/rpc/1", `{"ok":true}`); code != 200 {
		t.Errorf("answer: %d", code)
	}
	if _, answers := s.calls.said(); fmt.Sprint(answers) != `[01/1 {"ok":true}]` {
		t.Errorf("%v", answers)
	}
	for path, want := range map[string]int{
		"lamp/rpc/x": 400, "lamp/rpc/99999999999": 400, "lamp/rpc/1/2": 404, "lamp/rpc/": 404,
	} {
		if code, _ := do("POST", path, `{}`); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	code, body := do("POST", "lamp/rpc/1", strings.Repeat("x", maxRPCBody+1))
	if code != 413 || !strings.Contains(body, "65536") {
		t.Errorf("too large: %d %s", code, body)
	}
}

func TestHTTPRequest(t *testing.T) {
	s, do := httpStand(t)
	answers := func(b []byte, err error) {
		go func() {
			r := <-s.calls.requests
			if r.Device != lampID || r.Method != "getTime" || r.Params != `{"x":1}` || r.Timeout != waitLimit {
				t.Errorf("%+v", r)
			}
			r.Reply(b, err)
		}()
	}
	const call = `{"method":"getTime","params":{"x":1}}`
	answers([]byte(`{"now":5}`), nil)
	if code, body := do("POST", "lamp/rpc", call); code != 200 || body != `{"now":5}` {
		t.Errorf("%d %s", code, body)
	}
	answers(nil, agent.ErrTimeout)
	if code, _ := do("POST", "lamp/rpc", call); code != 503 {
		t.Errorf("timeout: %d", code)
	}
	s.calls.offline = agent.ErrOffline
	if code, body := do("POST", "lamp/rpc", call); code != 503 || !strings.Contains(body, "no link") {
		t.Errorf("offline: %d %s", code, body)
	}
	for _, body := range []string{`{"method":"x"}`, `{"params":{}}`, `[]`, `{`, `5`, ``} {
		if code, _ := do("POST", "lamp/rpc", body); code != 400 {
			t.Errorf("%q: %d", body, code)
		}
	}
}

func TestHTTPOthers(t *testing.T) {
	s, do := httpStand(t)
	create := proto.UUID{0xf1}
	s.book.profiles[create] = registry.Profile{ID: create, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
	for _, c := range []struct {
		method, path, body string
		status             int
		answer             string
	}{
		{"POST", "lamp/claim", "", 200, ""},
		{"POST", "lamp/claim", `{"secretKey":"s","durationMs":60000}`, 200, ""},
		{"POST", "lamp/claim", `{"durationMs":[]}`, 400, "durationMs"},
		{"GET", "lamp/firmware?title=t&version=v", "", 404, ""},
		{"GET", "lamp/software?title=t&version=v&size=1000&chunk=1", "", 404, ""},
		{"GET", "lamp/firmware?title=t", "", 400, "version"},
		{"GET", "lamp/firmware?title=t&version=v&size=x", "", 400, "size"},
		{"POST", "provision", wantsCreation(`,"deviceName":"N"`), 200, `"credentialsValue":"generated1"`},
		{"POST", "provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`, 200, provisionNotFound},
		{"POST", "provision", `{"provisionDeviceKey":"k"}`, 400, "needed"},
		{"POST", "provision", ``, 400, "missing"},
		{"GET", "provision", ``, 405, "POST"},
		{"DELETE", "lamp/rpc", "", 405, "GET, HEAD, POST"},
		{"POST", "lamp/attributes/updates", "{}", 405, "GET"},
		{"HEAD", "lamp/attributes", "", 200, ""},
	} {
		if code, body := do(c.method, c.path, c.body); code != c.status || !strings.Contains(body, c.answer) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, code, body, c.status, c.answer)
		}
	}
}

// TestHTTPPollGone expects that a poll ends when its device has left.
func TestHTTPPollGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r := httptest.NewRequest(http.MethodGet, "/api/v1/lamp/rpc", nil).WithContext(ctx)
		began := time.Now()
		h.ServeHTTP(&httptest.ResponseRecorder{Body: nil}, r)
		if took := time.Since(began); took != time.Second || len(s.polls) != 0 {
			t.Errorf("took %v, %d polls left", took, len(s.polls))
		}
		s.MQTT.Close()
	})
}
