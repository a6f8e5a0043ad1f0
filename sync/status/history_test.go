package status

import (
	"net/http/httptest"
	"strconv"
	"testing"

	agent "edgesync/sync"
)

// The history is asked for by minutes; without one there is no such path.
func TestHistory(t *testing.T) {
	src := Source{
		Snapshot: func() agent.Snapshot { return sample() }, Turning: func() bool { return true },
		History: func(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) },
	}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/api/edgesync/history":              {200, "60"},
		"/api/edgesync/history?minutes=1440": {200, "1440"},
		"/api/edgesync/history?minutes=1441": {400, "minutes is 1 to 1440\n"},
		"/api/edgesync/history?minutes=0":    {400, "minutes is 1 to 1440\n"},
		"/api/edgesync/history?minutes=x":    {400, "minutes is 1 to 1440\n"},
	} {
		w := httptest.NewRecorder()
		Handler(src).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want.code || w.Body.String() != want.text {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	src.History = nil
	w := httptest.NewRecorder()
	Handler(src).ServeHTTP(w, httptest.NewRequest("GET", "/api/edgesync/history", nil))
	if w.Code != 404 {
		t.Errorf("without a history: %d", w.Code)
	}
}
