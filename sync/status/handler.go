package status

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	agent "edgesync/sync"
)

// Source is what the handler shows. Its functions are called from many goroutines at once and must
// not wait.
type Source struct {
	Snapshot func() agent.Snapshot
	// Turning reports whether the loop still turns.
	Turning func() bool
	Events  *Events
}

// Report is the JSON of the page: a snapshot and its judgement.
type Report struct {
	agent.Snapshot
	Health Health `json:"health"`
}

// The page's parts, joined once. The content policy holds their hashes, so that a browser runs
// exactly these and nothing else.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	page = strings.NewReplacer("/*CSS*/", pageCSS, "/*JS*/", pageJS).Replace(pageHTML)

	contentPolicy = "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"style-src " + hashSource(pageCSS) + "; script-src " + hashSource(pageJS)
)

func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Handler serves /, /api/edge/status, /api/edge/events, /metrics, /healthz and /readyz. It only
// reads.
func Handler(src Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		var answer func(http.ResponseWriter, Source, url.Values)
		switch r.URL.Path {
		case "/":
			answer = servePage
		case "/api/edge/status":
			answer = serveReport
		case "/api/edge/events":
			answer = func(w http.ResponseWriter, src Source, query url.Values) {
				serveEvents(w, src, query, local(r))
			}
		case "/metrics":
			answer = serveMetrics
		case "/healthz":
			answer = serveHealth
		case "/readyz":
			answer = serveReady
		default:
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		answer(w, src, r.URL.Query())
	})
}

func servePage(w http.ResponseWriter, _ Source, _ url.Values) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	_, _ = w.Write([]byte(page)) // nothing to do if the reader went away
}

func serveReport(w http.ResponseWriter, src Source, _ url.Values) {
	s := src.Snapshot()
	cut(&s)
	data, err := json.Marshal(Report{s, Judge(&s)})
	if err != nil {
		http.Error(w, "status cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data, '\n'))
}

// serveHealth answers 200 while the loop turns and the queue can be written, whatever the cloud
// does.
func serveHealth(w http.ResponseWriter, src Source, _ url.Values) {
	s := src.Snapshot()
	switch {
	case !src.Turning():
		plainText(w, http.StatusServiceUnavailable, "failing: the loop does not turn")
	case !s.Writable:
		plainText(w, http.StatusServiceUnavailable, "failing: the queue cannot be written")
	default:
		plainText(w, http.StatusOK, "ok")
	}
}

// serveReady answers 200 when devices can be served: the queue is writable and a sync has completed
// once.
func serveReady(w http.ResponseWriter, src Source, _ url.Values) {
	s := src.Snapshot()
	state := "\nstate: " + s.State.String()
	switch {
	case !s.Writable:
		plainText(w, http.StatusServiceUnavailable, "not ready: the queue cannot be written"+state)
	case !s.Synced:
		plainText(w, http.StatusServiceUnavailable, "not ready: no sync with the cloud has completed yet, so no device is known"+state)
	default:
		plainText(w, http.StatusOK, "ready"+state)
	}
}

func plainText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n"))
}
