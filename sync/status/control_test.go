package status

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
)

// controlled notes what was ordered.
type controlled struct {
	Dead
	orders []string
	err    error
}

func (c *controlled) note(order string) error {
	c.orders = append(c.orders, order)
	return c.err
}

func (c *controlled) Reconnect(context.Context) error { return c.note("reconnect") }
func (c *controlled) Sync(_ context.Context, full bool) error {
	if full {
		return c.note("sync all")
	}
	return c.note("sync")
}
func (c *controlled) SetLogLevel(level string) error { return c.note("level " + level) }
func (c *controlled) LastLog() string                { return "line\n" }
func (c *controlled) Replay(_ context.Context, o agent.ReplayOrder) error {
	return c.note("replay " + o.From.Format(time.RFC3339) + " " + o.To.Format(time.RFC3339) + " " + strings.Join(o.Entities, " "))
}
func (c *controlled) StopReplay(context.Context) error { return c.note("stop") }

func TestControl(t *testing.T) {
	dir := t.TempDir()
	if err := Reconnect(dir); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	c := new(controlled)
	s, err := Serve(dir, func() agent.Snapshot { return agent.Snapshot{} }, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	text, err := LastLog(dir)
	err = errors.Join(err, Reconnect(dir), Sync(dir, false), Sync(dir, true), SetLogLevel(dir, "warn"),
		Replay(dir, agent.ReplayOrder{
			From: time.Unix(0, 0).UTC(), To: time.Unix(60, 0).UTC(), Entities: []string{"11111111-2222-3333-4444-555555555555"},
		}), StopReplay(dir))
	if err != nil || text != "line\n" {
		t.Errorf("%q, %v", text, err)
	}
	if want := []string{
		"reconnect", "sync", "sync all", "level warn",
		"replay 1970-01-01T00:00:00Z 1970-01-01T00:01:00Z 11111111-2222-3333-4444-555555555555", "stop",
	}; !slices.Equal(c.orders, want) {
		t.Errorf("%q, want %q", c.orders, want)
	}
	c.err = errors.New("not now")
	if err := Sync(dir, false); err == nil || err.Error() != "not now" {
		t.Errorf("%v", err)
	}
	for line, want := range map[string]string{
		`{"do":"sync","level":"warn"}`:  "no level",
		`{"do":"reconnect","all":true}`: "only sync takes",
		`{"do":"log","offset":1}`:       "takes no offset",
		`{"do":"log","level":true}`:     "is no JSON object",
		`{"do":"replay"}`:               "says which events",
		`{"do":"replay_stop","replay":{"from":"2026-01-02T00:00:00Z","to":"2026-01-02T00:00:00Z"}}`: "says which events",
		`{"do":"replay","replay":{"from":"2026-01-02T00:00:01Z","to":"2026-01-02T00:00:00Z"}}`:      "begins before it ends",
		`{"do":"replay","replay":{"from":"yesterday"}}`:                                             "is no JSON object",
		`{"do":"replay","replay":{"entities":["pump"]}}`:                                            "named by their ids",
		`{"do":"replay_stop","all":true}`:                                                           "only sync takes",
	} {
		if a := s.answer(t.Context(), nil, []byte(line)); a.OK || !strings.Contains(a.Error, want) {
			t.Errorf("%s: %q", line, a.Error)
		}
	}
	s.dead = struct{ Dead }{c}
	if a := s.answer(t.Context(), nil, []byte(`{"do":"reconnect"}`)); a.OK || a.Error != "this agent cannot do that" {
		t.Errorf("%+v", a)
	}
}

// The bug report is for administrators, and one is made at a time.
func TestBugReportOverHTTP(t *testing.T) {
	here := func(h http.Handler, path, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080"+path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	h := Handler(Source{
		Dead: new(controlled), BugReport: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "packed")
			return err
		},
	})
	if w := here(h, "/api/edgesync/bugreport", "203.0.113.7:5"); w.Code != http.StatusUnauthorized {
		t.Errorf("from elsewhere: %d %q", w.Code, w.Body)
	}
	w := here(h, "/api/edgesync/bugreport", "127.0.0.1:5")
	if w.Code != http.StatusOK || w.Body.String() != "packed" || w.Header().Get("Content-Type") != "application/gzip" ||
		w.Header().Get("Content-Disposition") != `attachment; filename="edgesync-bugreport.tar.gz"` {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	reporting.Store(true)
	defer reporting.Store(false)
	if w := here(h, "/api/edgesync/bugreport", "127.0.0.1:5"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a second one at a time: %d", w.Code)
	}
}
