package device

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// TestContractOfHTTP goes through the rows of API.md for which no other test stands. A name begins
// with its section. "Deliberately" marks where the edge is milder or cleaner than the server
// (API.md 8).
func TestContractOfHTTP(t *testing.T) {
	answers := func(s *stand, b string, err error) {
		go func() {
			r := <-s.calls.requests
			r.Reply([]byte(b), err)
		}()
	}
	for _, c := range []struct {
		name, method, path, body string
		before                   func(s *stand)
		status                   int
		answer                   string // the whole body, or after "~" what is in it
	}{
		{"2 a call whose params are null", "POST", "lamp/rpc", `{"method":"m","params":null}`, func(s *stand) {
			answers(s, `5`, nil)
		}, 200, `5`},
		{
			"2 getSessionLimits is a call like any other", "POST", "lamp/rpc",
			`{"method":"getSessionLimits","params":{}}`, func(s *stand) {
				answers(s, `"x"`, nil)
			}, 200, `"x"`,
		},
		{"2 the answer to a command that nobody knows", "POST", "lamp/rpc/99", `no JSON`, nil, 200, ``},
		{"2 a negative id", "POST", "lamp/rpc/-1", `1`, nil, 200, ``},
		{"2 a timeout with a fraction", "GET", "lamp/rpc?timeout=1.5", ``, nil, 400, `~"errorCode":31`},
		{
			"2 a timeout beyond a long", "GET", "lamp/attributes/updates?timeout=99999999999999999999", ``, nil,
			400, `~"errorCode":31`,
		},
		{"2 repeated parameters add", "GET", "lamp/attributes?clientKeys=a&clientKeys=b&x=1", ``, func(s *stand) {
			s.book.attributes[registry.ClientScope][lampID] = []proto.KV{long("a", 1), long("b", 2), long(" c", 3)}
		}, 200, `{"client":{"a":1,"b":2}}`},
		{"2 a space behind a comma is of the key", "GET", "lamp/attributes?clientKeys=a,%20c", ``, func(s *stand) {
			s.book.attributes[registry.ClientScope][lampID] = []proto.KV{long("a", 1), long(" c", 3)}
		}, 200, `{"client":{"a":1," c":3}}`},
		{"2 a claim of the wrong type", "POST", "lamp/claim", `{"secretKey":{}}`, nil, 400, `~secretKey`},
		{"2 a missing body", "POST", "lamp/rpc", ``, nil, 400, `~missing`},
		{
			"5 a credentialsType that does not exist", "POST", "provision",
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"s","credentialsType":"RSA"}`, nil,
			400, `~credentialsType`,
		},
		{
			"5 a name that is null", "POST", "provision",
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"s","deviceName":null}`, nil, 400, `~needed`,
		},
		{
			"5 a body larger than provisioning needs", "POST", "provision", strings.Repeat(" ", smallBody+1), nil,
			413, `~16384`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, do := httpStand(t)
			if c.before != nil {
				c.before(s)
			}
			code, body := do(c.method, c.path, c.body)
			part, some := strings.CutPrefix(c.answer, "~")
			if code != c.status || some && !strings.Contains(body, part) || !some && body != c.answer {
				t.Errorf("%d %s, want %d %s", code, body, c.status, c.answer)
			}
		})
	}
}

// The answer to a poll whose device was deleted has the type of JSON but is none (API.md 2).
func TestContractOfAPollWhoseDeviceIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		w := httptest.NewRecorder()
		time.AfterFunc(time.Second, func() { s.DeviceChanged(registry.Device{ID: lampID}, registry.DeviceDeleted) })
		NewHTTP(s.Doors, 0).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/lamp/rpc?timeout=5000", nil))
		if w.Code != http.StatusForbidden || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		s.MQTT.Close()
	})
}
