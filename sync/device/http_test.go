package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRequests(t *testing.T) {
	const body = `{"temperature":21.5}`
	tele, attr := "/api/v1/"+goodToken+"/telemetry", "/api/v1/"+goodToken+"/attributes"
	errorJSON := func(code int) string { return fmt.Sprintf(`"errorCode":%d,`, code) }
	for _, c := range []struct {
		name, method, path, body string
		header                   string // "Name: value; …" one per line
		status                   int
		answer                   string // contained in the body; "" = the body is empty
		events                   int
	}{
		{name: "telemetry", path: tele, body: body, status: 200, events: 1},
		{name: "attributes", path: attr, body: body, status: 200, events: 1},
		{name: "array", path: tele, body: `[{"a":1},{"b":2},{"ts":3,"values":{}}]`, status: 200, events: 3},
		{name: "empty array", path: tele, body: `[]`, status: 200},
		{name: "as JSON", path: tele, body: body, header: "Content-Type: application/json", status: 200, events: 1},
		{
			name: "as JSON in UTF-8", path: tele, body: body,
			header: "Content-Type: application/json;charset=UTF-8", status: 200, events: 1,
		},
		{name: "as text", path: tele, body: body, header: "Content-Type: text/plain", status: 200, events: 1},
		{
			name: "as curl -d", path: tele, body: body,
			header: "Content-Type: application/x-www-form-urlencoded", status: 200, events: 1,
		},
		{name: "uncompressed", path: tele, body: body, header: "Content-Encoding: identity", status: 200, events: 1},
		{name: "query", path: tele + "?x=1", body: body, status: 200, events: 1},

		{
			name: "form", path: tele, body: body,
			header: "Content-Type: multipart/form-data; boundary=x", status: 400, answer: errorJSON(31),
		},
		{
			name: "no media type", path: tele, body: body,
			header: "Content-Type: json", status: 415, answer: errorJSON(31),
		},
		{
			name: "broken media type", path: tele, body: body,
			header: "Content-Type: a/b/c; =", status: 415, answer: errorJSON(31),
		},
		{
			name: "other charset", path: tele, body: body,
			header: "Content-Type: application/json; charset=foo", status: 415, answer: "UTF-8",
		},
		{name: "gzip", path: tele, body: body, header: "Content-Encoding: gzip", status: 415, answer: "compressed"},
		{name: "lenient JSON", path: tele, body: `{a:NaN;'b'=>TRUE}`, status: 200, events: 1},
		{name: "bad JSON", path: tele, body: `{"a":NaN,}`, status: 400, answer: "bad JSON: '}' where"},
		{name: "bad JSON attributes", path: attr, body: `[1]`, status: 400, answer: "attributes must be a JSON object"},
		{
			name: "quotes in the reason", path: tele, body: `{"<b>":1}`,
			status: 400, answer: `the key \"<b>\" contains markup`,
		},
		{name: "one bad element", path: tele, body: `[{"a":1},5]`, status: 400, answer: errorJSON(31)},
		{name: "invalid UTF-8", path: tele, body: "{\"a\":\"\xff\"}", status: 200, events: 1},
		{name: "missing body", path: tele, status: 400, answer: "the body is missing"},
		{name: "missing body attributes", path: attr, status: 400, answer: errorJSON(31)},

		{name: "unknown token", path: "/api/v1/nobody/telemetry", body: body, status: 401},
		{
			name: "unknown token, bad body", path: "/api/v1/nobody/attributes", body: "{",
			header: "Content-Type: json", status: 401,
		},
		{name: "empty token", path: "/api/v1//telemetry", body: body, status: 400, answer: errorJSON(31)},
		{
			name: "double slash", path: "/api/v1/" + goodToken + "//telemetry", body: body,
			status: 400, answer: errorJSON(31),
		},
		{name: "semicolon", path: tele + ";x=1", body: body, status: 400, answer: errorJSON(31)},
		{name: "dot", path: "/api/v1/" + goodToken + "/./telemetry", body: body, status: 400, answer: errorJSON(31)},
		{name: "dots", path: "/api/v1/" + goodToken + "/x/..", body: body, status: 400, answer: errorJSON(31)},
		{
			name: "escaped slash", path: "/api/v1/" + goodToken + "%2Ftelemetry", body: body,
			status: 400, answer: errorJSON(31),
		},
		{name: "trailing slash", path: tele + "/", body: body, status: 404, answer: errorJSON(32)},
		{
			name: "unknown path", path: "/api/v1/" + goodToken + "/nonsense", body: body,
			status: 404, answer: errorJSON(32),
		},
		{name: "token only", path: "/api/v1/" + goodToken, body: body, status: 404, answer: errorJSON(32)},
		{name: "other version", path: "/api/v3/x", body: body, status: 404, answer: errorJSON(32)},
		{name: "get", method: "GET", path: tele, status: 405, answer: errorJSON(31)},
		{name: "delete", method: "DELETE", path: tele, status: 405, answer: errorJSON(31)},
		{name: "trace", method: "TRACE", path: tele, status: 400},
		{name: "made up", method: "BREW", path: tele, status: 400},
		{name: "options", method: "OPTIONS", path: tele, status: 403, answer: errorJSON(20)},
		{
			name: "preflight", method: "OPTIONS", path: tele,
			header: "Origin: http://x\nAccess-Control-Request-Method: POST", status: 200,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			intake := &fakeIntake{}
			h := newTestDoor(intake, 0)
			method := c.method
			if method == "" {
				method = "POST"
			}
			r := httptest.NewRequest(method, c.path, strings.NewReader(c.body))
			for line := range strings.SplitSeq(c.header, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answer := w.Body.String()
			if w.Code != c.status || !strings.Contains(answer, c.answer) || c.answer == "" && answer != "" {
				t.Errorf("%d %q, want %d with %q", w.Code, answer, c.status, c.answer)
			}
			if strings.Contains(answer, goodToken) {
				t.Error("the answer shows the token")
			}
			if answer != "" {
				var e struct {
					Status, ErrorCode int
					Message           string
					Timestamp         int64
				}
				err := json.Unmarshal([]byte(answer), &e)
				if err != nil || e.Status != c.status || e.Message == "" || e.Timestamp == 0 {
					t.Errorf("error JSON %q: %v %+v", answer, err, e)
				}
			}
			if c.status == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow is %q", w.Header().Get("Allow"))
			}
			head := w.Header()
			if c.name == "preflight" && (head.Get("Access-Control-Allow-Origin") != "*" ||
				head.Get("Access-Control-Allow-Methods") != "POST") {
				t.Errorf("headers %v", head)
			}
			calls, events := intake.count()
			if events != c.events || calls > 1 || (calls == 1) != (events > 0) {
				t.Errorf("%d events in %d calls, want %d in one", events, calls, c.events)
			}
		})
	}
}

func TestIntakeRefuses(t *testing.T) {
	intake := &fakeIntake{err: errors.New("no space left on /data/" + goodToken)}
	h := newTestDoor(intake, 0)
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, telemetryPost(strings.NewReader(`{"a":1}`)))
		if w.Code != 503 || w.Header().Get("Retry-After") != "5" ||
			!strings.Contains(w.Body.String(), `"errorCode":2`) {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		if strings.Contains(w.Body.String(), "/data") {
			t.Errorf("the answer shows internals: %q", w.Body)
		}
	}
	if _, events := intake.count(); events != 0 {
		t.Errorf("%d events accepted", events)
	}
}

// TestNotBeforeDurable holds the answer to come after the intake has called the event durable.
func TestNotBeforeDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		intake := &fakeIntake{hold: make(chan struct{})}
		h := newTestDoor(intake, 0)
		w, done := httptest.NewRecorder(), false
		go func() {
			h.ServeHTTP(w, telemetryPost(strings.NewReader(`{"a":1}`)))
			done = true
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		if done {
			t.Fatal("answered before the intake returned")
		}
		close(intake.hold)
		synctest.Wait()
		if !done || w.Code != 200 {
			t.Fatalf("done %v, status %d", done, w.Code)
		}
	})
}

func BenchmarkPost(b *testing.B) {
	h := newTestDoor(nullIntake{}, 0)
	body := []byte(`{"ts":1767225600000,"values":` +
		`{"temperature":21.5,"humidity":48,"door":true,"state":"open","battery":3.71}}`)
	reader := bytes.NewReader(body)
	r := telemetryPost(reader)
	r.Header.Set("Content-Type", "application/json")
	w := &discardWriter{head: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		if h.ServeHTTP(w, r); w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

// TestDeviceGone expects no answer when the device has left before the events are durable.
func TestDeviceGone(t *testing.T) {
	intake := &fakeIntake{hold: make(chan struct{})}
	h := newTestDoor(intake, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	defer func() {
		if r := recover(); r != http.ErrAbortHandler {
			t.Errorf("ended with %v, want the connection to be aborted", r)
		}
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("answered %v %q", w.Header(), w.Body)
		}
		if _, events := intake.count(); events != 0 {
			t.Errorf("%d events", events)
		}
	}()
	h.ServeHTTP(w, telemetryPost(strings.NewReader(`{"a":1}`)).WithContext(ctx))
}

// TestRefusedEventsAreLeftAlone expects that the buffers of refused events are not used again.
func TestRefusedEventsAreLeftAlone(t *testing.T) {
	intake := &keepingIntake{}
	h := newTestDoor(intake, 0)
	for i := range 50 {
		body := fmt.Sprintf(`{"k%d":"%s"}`, i, strings.Repeat("x", i))
		h.ServeHTTP(httptest.NewRecorder(), telemetryPost(strings.NewReader(body)))
	}
	if len(intake.kept) != 50 {
		t.Fatalf("%d events seen", len(intake.kept))
	}
	for i := range intake.kept {
		if !bytes.Equal(intake.kept[i], intake.copies[i]) {
			t.Fatalf("event %d changed after it was refused", i)
		}
	}
}
