package status

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// What devices measure is shown to a browser on this machine that asked for this machine, and to
// nobody else: not through a proxy on the gateway, and not to a page of the web whose name was
// made to point to 127.0.0.1.
func TestContentsAreShownLocallyOnly(t *testing.T) {
	dir, last := fill(t, 0, []wal.Event{telemetry(1000, "n", "measured-value")}...)
	e := &Events{Queue: dir, Name: func(proto.UUID) string { return "" }, Dead: func(uint64) bool { return false }}
	s := agent.Snapshot{LastOffset: last}
	h := Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return true }, Events: e})
	shown := func(remote, host, header string) bool {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/api/edge/events", nil)
		r.RemoteAddr, r.Host = remote, host
		if header != "" {
			r.Header[http.CanonicalHeaderKey(header)] = []string{""}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		text := w.Body.String()
		if w.Code != http.StatusOK || strings.Contains(text, "measured-value") == strings.Contains(text, `"hidden":true`) {
			t.Errorf("%s %s %s: %d %s", remote, host, header, w.Code, text)
		}
		return strings.Contains(text, "measured-value")
	}
	const here = "127.0.0.1:4711"
	for _, host := range []string{
		"localhost", "localhost:8080", "LocalHost:8080", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3:80", "[::1]", "[::1]:8080",
	} {
		if !shown(here, host, "") || !shown("[::1]:4711", host, "X-Unrelated") {
			t.Errorf("%s: hidden on this machine", host)
		}
	}
	for _, host := range []string{
		"", "evil.example", "evil.example:8080", "localhost.evil.example", "evil.localhost:8080",
		"127.0.0.1.evil.example", "192.168.1.5:8080",
		"[2001:db8::1]:8080", "0.0.0.0:8080", "[::]:8080", "2130706433", "127.1", "0x7f.0.0.1", "::1:8080", "127.0.0.1:", "localhost:x",
		"localhost:8080:1", "[localhost]", "user@localhost", "[::1%25lo]", "::ffff:127.0.0.1", "localhost:99999",
	} {
		if shown(here, host, "") {
			t.Errorf("host %q: shown", host)
		}
	}
	for _, header := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "x-forwarded-anything", "Via", "X-Real-IP",
	} {
		if shown(here, "localhost:8080", header) {
			t.Errorf("header %s: shown", header)
		}
	}
	for _, remote := range []string{"192.168.1.5:4711", "[fe80::1%eth0]:4711", "", "@"} {
		if shown(remote, "localhost:8080", "") {
			t.Errorf("from %q: shown", remote)
		}
	}
}

// An edge's name of megabytes, or an error text, neither breaks the status nor makes it long; a
// control character reaches nobody as such.
func TestLongNamesAreCut(t *testing.T) {
	long := strings.Repeat("é\u202e\x1b", 1<<20)
	s := sample()
	s.Edge, s.LastError, s.Cloud, s.Sync, s.Medium, s.Version = long, long, long, long, long, long
	for range 40 {
		s.ExtraWarnings = append(s.ExtraWarnings, long[:64<<10])
	}
	d := t.TempDir()
	server, err := Serve(d, func() agent.Snapshot { return s }, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	got, err := Fetch(d)
	if err != nil {
		t.Fatalf("status breaks: %.200v", err)
	}
	if !strings.HasPrefix(got.Edge, "é\u202e\x1b") || !strings.HasSuffix(got.Edge, "…") || len(got.Edge) > 1024+3 {
		t.Errorf("the edge's name has %d bytes", len(got.Edge))
	}
	for _, asJSON := range []bool{false, true} {
		var b strings.Builder
		if err := Show(t.Context(), &b, View{DataDir: d, JSON: asJSON}); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 256<<10 || strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Errorf("json %v: %d bytes, or a control character", asJSON, b.Len())
		}
	}
	w := httptest.NewRecorder()
	h := Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return true }})
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/edge/status", nil))
	if w.Code != 200 || w.Body.Len() > 256<<10 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}
