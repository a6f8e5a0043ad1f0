package cli

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
)

// The history that the page shows outlives a restart.
func TestHistoryOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	known := func() (minutes int) {
		res, err := http.Get("http://" + r.http + "/api/edgesync/history?minutes=10")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var h struct {
			Up []*float64 `json:"up"`
		}
		if err := json.NewDecoder(res.Body).Decode(&h); err != nil || len(h.Up) != 10 {
			t.Fatal(res.Status, err, len(h.Up))
		}
		for _, u := range h.Up {
			if u != nil {
				minutes++
			}
		}
		return minutes
	}
	if n := known(); n != 1 {
		t.Fatalf("%d minutes are known at the start", n)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	r = s.start()
	if n := known(); n < 1 {
		t.Error("nothing is known after a restart")
	}
}
