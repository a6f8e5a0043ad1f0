package status

import (
	"net/http/httptest"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// logging takes orders and remembers the log.
type logging struct{ Dead }

func (logging) LastLog() string { return "level=INFO msg=begun\n" }

// The log and the diagnosis are for administrators; without a log there is no such path.
func TestDiagnosis(t *testing.T) {
	src := Source{
		Snapshot: func() agent.Snapshot { return sample() }, Dead: logging{}, Login: login(true, false, ""),
		History: func(b []byte, n int) []byte { return append(b, "{of a day}"...) },
		Rules: func(contents bool) []byte {
			if contents {
				return []byte("{of contents}")
			}
			return []byte("{of rules}")
		},
	}
	ask := func(token, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/api/edgesync/"+path, nil)
		r.Header.Set("X-Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		Handler(src).ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"log", "bugreport"} {
		for token, code := range map[string]int{"": 401, "carl": 403, "admin": 200} {
			if w := ask(token, path); w.Code != code || strings.Contains(w.Body.String(), "begun") != (code == 200) {
				t.Errorf("%s as %q: %d %s", path, token, w.Code, w.Body)
			}
		}
	}
	// The texts of rules' errors may quote what devices sent.
	for token, want := range map[string]string{"": "{of rules}", "carl": "{of rules}", "admin": "{of contents}"} {
		if w := ask(token, "rules"); w.Code != 200 || w.Body.String() != want+"\n" {
			t.Errorf("rules as %q: %d %s", token, w.Code, w.Body)
		}
	}
	w := ask("admin", "bugreport")
	for _, want := range []string{
		"edgesync 1.2, diagnosis of ", "The cloud is behind: 12,400 events wait", "\n=== status\n\n{", `"state": "draining"`,
		"=== rule chains\n\n{of rules}", "=== the last day\n\n{of a day}", "=== log\n\nlevel=INFO msg=begun\n",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in %s", want, w.Body)
		}
	}
	if h := w.Header().Get("Content-Disposition"); !strings.HasPrefix(h, `attachment; filename="edgesync-diagnosis-`) {
		t.Error(h)
	}
	src.Dead = new(ordered)
	if w := ask("admin", "log"); w.Code != 404 {
		t.Errorf("without a log: %d", w.Code)
	}
}
