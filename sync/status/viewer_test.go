package status

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
)

type httpRequest = http.Request

// Who asks learns what they may do, and how to log in.
func TestMe(t *testing.T) {
	for _, tt := range []struct {
		login             *Login
		from, host, token string
		want              Me
	}{
		{nil, "127.0.0.1:1", "localhost:8080", "", Me{Local: true, Sees: true, Admin: true, Login: "closed"}},
		{nil, "192.168.1.5:1", "gateway", "", Me{Login: "closed"}},
		{login(false, false, ""), "192.168.1.5:1", "gateway", "", Me{Login: "open"}},
		{login(false, false, ""), "192.168.1.5:1", "gateway", "admin", Me{User: "ann", Sees: true, Admin: true, Login: "open"}},
		{login(false, false, ""), "192.168.1.5:1", "gateway", "carl", Me{User: "carl", Sees: true, Login: "open"}},
		{login(false, false, ""), "127.0.0.1:1", "localhost", "carl", Me{User: "carl", Local: true, Sees: true, Login: "open"}},
		{login(false, true, ""), "8.8.8.8:1", "gateway", "admin", Me{Login: "closed"}},
		{login(false, true, "[::]:8443"), "8.8.8.8:1", "gateway", "admin", Me{Login: "https", HTTPS: "8443"}},
		{login(true, false, "[::]:8443"), "8.8.8.8:1", "gateway", "admin", Me{
			User: "ann", Sees: true, Admin: true,
			Login: "open", HTTPS: "8443",
		}},
	} {
		r := httptest.NewRequest("GET", "/api/edgesync/me", nil)
		r.RemoteAddr, r.Host = tt.from, tt.host
		r.Header.Set("X-Authorization", "Bearer "+tt.token)
		w := httptest.NewRecorder()
		Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Login: tt.login}).ServeHTTP(w, r)
		var got Me
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != tt.want {
			t.Errorf("%+v: %+v, %v", tt, got, err)
		}
	}
}

// ordered has a dead letter of the sensor, and one of something else, and counts orders.
type ordered struct {
	Dead
	orders int
}

func (o *ordered) List(context.Context, uint64, int) ([]agent.DeadLetter, uint64, error) {
	other := sensor
	other[0]++
	return []agent.DeadLetter{{Offset: 3, Entity: proto.FormatUUID(sensor), Reason: "no"}, {
		Offset: 4,
		Entity: proto.FormatUUID(other),
	}}, 0, nil
}

func (o *ordered) Retry(context.Context, uint64) (int, error) { o.orders++; return 1, nil }

// Orders are for administrators and for who asks on this machine, and never come from the page of
// somebody else.
func TestOrders(t *testing.T) {
	const from, to = "192.168.1.5:1", "gateway:8080"
	for _, tt := range []struct {
		name                              string
		method, remote, host, token, body string
		head                              map[string]string
		code                              int
	}{
		{
			"an administrator", "POST", from, to, "admin", `{"do":"dead_retry","offset":3}`,
			map[string]string{"Origin": "http://gateway:8080", "Sec-Fetch-Site": "same-origin"},
			200,
		},
		{"on this machine", "POST", "127.0.0.1:1", "localhost:8080", "", `{"do":"dead_retry","all":true}`, nil, 200},
		{"a customer's user", "POST", from, to, "carl", `{"do":"dead_retry","offset":3}`, nil, 403},
		{"a customer's user on this machine", "POST", "127.0.0.1:1", "localhost", "carl", `{"do":"dead_retry","offset":3}`, nil, 403},
		{"nobody", "POST", from, to, "", `{"do":"dead_retry","offset":3}`, nil, 401},
		{
			"another page", "POST", "127.0.0.1:1", "localhost:8080", "", `{"do":"dead_retry","all":true}`,
			map[string]string{"Origin": "http://evil.example"},
			403,
		},
		{
			"another page of this machine", "POST", "127.0.0.1:1", "localhost:8080", "", `{"do":"dead_retry","all":true}`,
			map[string]string{"Sec-Fetch-Site": "same-site"},
			403,
		},
		{
			"without the header", "POST", "127.0.0.1:1", "localhost:8080", "", `{"do":"dead_retry","all":true}`,
			map[string]string{"X-Edgesync": ""},
			403,
		},
		{"rebound", "POST", "127.0.0.1:1", "evil.example", "", `{"do":"dead_retry","all":true}`, nil, 401},
		{"by GET", "GET", "127.0.0.1:1", "localhost:8080", "", "", nil, 405},
	} {
		o := new(ordered)
		r := httptest.NewRequest(tt.method, "/api/edgesync/do", strings.NewReader(tt.body))
		r.RemoteAddr, r.Host = tt.remote, tt.host
		r.Header.Set("X-Edgesync", "1")
		r.Header.Set("X-Authorization", "Bearer "+tt.token)
		for k, v := range tt.head {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Dead: o, Login: login(false, false, "")}).ServeHTTP(w, r)
		if w.Code != tt.code || (o.orders == 1) != (tt.code == 200) {
			t.Errorf("%s: %d %s, %d orders", tt.name, w.Code, w.Body, o.orders)
		}
	}
}

// What is wrong with an order is said.
func TestWrongOrders(t *testing.T) {
	for body, want := range map[string]string{
		`{"do":"explode"}`:                    "unknown request",
		`{"do":"dead_retry"}`:                 "name either an offset",
		`{"do":"` + strings.Repeat("x", 2000): "too long",
		`{"do":"hold"}`:                       "does not ask for that",
		`{"do":"dead_list"}`:                  "does not ask for that",
		"":                                    "no JSON object",
	} {
		r := httptest.NewRequest("POST", "/api/edgesync/do", strings.NewReader(body))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
		r.Header.Set("X-Edgesync", "1")
		w := httptest.NewRecorder()
		Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Dead: new(ordered)}).ServeHTTP(w, r)
		var a Answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.OK || !strings.Contains(a.Error, want) {
			t.Errorf("%.20s: %d %s", body, w.Code, w.Body)
		}
	}
}

// Dead letters are shown to who is logged in: a user of a customer sees what is the customer's.
func TestDeadList(t *testing.T) {
	for token, want := range map[string]string{
		"admin": `[{"offset":3,`, "carl": `[{"offset":3,`, "": "log in first",
	} {
		r := httptest.NewRequest("GET", "/api/edgesync/dead", nil)
		r.Header.Set("X-Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		src := Source{
			Snapshot: func() agent.Snapshot { return sample() }, Dead: new(ordered), Login: login(true, false, ""),
			Events: noEvents(t),
		}
		src.Events.Name = func(proto.UUID) string { return "Cold Store" }
		Handler(src).ServeHTTP(w, r)
		text := w.Body.String()
		if !strings.Contains(text, want) || strings.Contains(text, `"offset":4`) != (token == "admin") ||
			strings.Contains(text, `"name":"Cold Store"`) != (token != "") {
			t.Errorf("%q: %d %s", token, w.Code, text)
		}
	}
}
