package status

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/minutes"
	"edgesync/sync/share"
)

// Source is what the handler shows. Its functions are called from many goroutines at once and must
// not wait.
type Source struct {
	Snapshot func() agent.Snapshot
	// Turning reports whether the loop still turns.
	Turning func() bool
	Events  *Events
	Dead    Dead   // what people may order; nil: nothing
	Login   *Login // nil: nobody can log in
	// Stopping is closed when the agent stops: streams end then. nil: it does not stop.
	Stopping <-chan struct{}
	// Rules is the report of the rule chains as JSON, with texts of errors, which quote contents,
	// or without; nil: there is none.
	Rules   func(contents bool) []byte
	Devices *Devices // nil: they are not shown
	// BugReport writes a tar.gz, which takes some seconds; nil: none is made.
	BugReport func(ctx context.Context, w io.Writer) error
	// History appends the JSON of so many minutes up to now (package minutes); nil: none is kept.
	History func(b []byte, minutes int) []byte
}

// Report is the JSON of the page: a snapshot and its judgement.
type Report struct {
	agent.Snapshot
	Health Health `json:"health"`
}

// Bounds of answers.
const (
	smallAnswer  = 4 << 10   // bytes; a larger answer takes bytes of largeAnswers until it is read
	largeAnswers = 1 << 20   // bytes of all large answers in memory
	eventsAnswer = 512 << 10 // bytes taken for an answer with events while it is made
	answerChunk  = 16 << 10  // bytes that are written at a time
)

// answers shares largeAnswers among who asks.
type answers struct{ *share.Budget }

// answer is one answer that takes bytes of largeAnswers.
type answer struct {
	w    http.ResponseWriter
	r    *http.Request
	pass share.Pass
}

// reader is a client that reads an answer.
type reader struct{ *http.ResponseController }

// Cut implements share.Cutter.
func (r reader) Cut() { _ = r.SetWriteDeadline(time.Unix(1, 0)) }

// take takes so many bytes for an answer of a host. It returns false after it has answered that
// there are none.
func (a *answers) take(w http.ResponseWriter, r *http.Request, bytes int) (*answer, bool) {
	n := &answer{w: w, r: r}
	var host share.Owner
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		host = from.Addr().As16()
	}
	a.Open(&n.pass, host, reader{http.NewResponseController(w)})
	if _, err := n.pass.Grow(bytes, r.Context().Done()); err != nil {
		n.pass.Close()
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil, false
	}
	return n, true
}

// send writes an answer of that type; a reader that is too slow while others wait is cut off.
func (a *answer) send(contentType string, data []byte) {
	defer a.pass.Close()
	if _, err := a.pass.Grow(len(data), a.r.Context().Done()); err != nil {
		a.w.Header().Set("Retry-After", "5")
		http.Error(a.w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	a.w.Header().Set("Content-Type", contentType)
	for len(data) > 0 {
		n, err := a.w.Write(data[:min(len(data), answerChunk)])
		data = data[n:]
		if a.pass.Moved(n) != nil || err != nil {
			panic(http.ErrAbortHandler) // what has come is not to be taken for the whole
		}
	}
}

// reply writes an answer of that type, a small one at once.
func (a *answers) reply(w http.ResponseWriter, r *http.Request, contentType string, data []byte) {
	if len(data) <= smallAnswer {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(data) // nothing to do if the reader went away
		return
	}
	if n, ok := a.take(w, r, len(data)); ok {
		n.send(contentType, data)
	}
}

// place is what is served at a path.
type place func(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers)

// places are the paths that are read. The page's own are in page.go, /api/edgesync/live and
// /api/edgesync/do in Handler.
var places = map[string]place{
	"/api/edge/status":        serveReport,
	"/api/edge/events":        serveEvents,
	"/api/edgesync/status":    serveReport,
	"/api/edgesync/events":    serveEvents,
	"/api/edge/rules":         serveRules,
	"/api/edgesync/rules":     serveRules,
	"/api/edgesync/devices":   serveDevices,
	"/api/edgesync/search":    serveSearch,
	"/api/edgesync/dead":      serveDead,
	"/api/edgesync/log":       serveLog,
	"/api/edgesync/bugreport": serveDiagnosis,
	"/api/edgesync/me":        serveMe,
	"/api/edgesync/history":   serveHistory,
	"/metrics":                serveMetrics,
	"/healthz":                serveHealth,
	"/readyz":                 serveReady,
}

// Handler serves the page and what it shows, /metrics, /healthz and /readyz. It only reads, but for
// POST /api/edgesync/do.
func Handler(src Source) http.Handler {
	going, streams := &answers{share.New(largeAnswers)}, new(live)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		path := r.URL.Path
		at, part := places[path], partOf(path)
		switch {
		case path == "/api/edgesync/do":
			serveDo(w, r, src, going)
			return
		case at == nil && part == nil && path != "/api/edgesync/live":
			http.Error(w, "not found", http.StatusNotFound)
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		case at != nil:
			at(w, r, src, r.URL.Query(), going)
		case part != nil:
			part.serve(w, r, going)
		default:
			streams.serve(w, r, src)
		}
	})
}

func serveReport(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, going *answers) {
	s := src.Snapshot()
	cut(&s)
	data, err := json.Marshal(Report{s, Judge(&s)})
	if err != nil {
		http.Error(w, "status cannot be written", http.StatusInternalServerError)
		return
	}
	going.reply(w, r, "application/json", append(data, '\n'))
}

func serveRules(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, going *answers) {
	if src.Rules == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	u, ok := src.Login.viewer(r)
	going.reply(w, r, "application/json", append(src.Rules(ok && u.Admin), '\n'))
}

// historyDefault is how many minutes of history are shown.
const historyDefault = 60

// serveHistory answers with the last minutes.
func serveHistory(w http.ResponseWriter, r *http.Request, src Source, query url.Values, going *answers) {
	n, ok := number(query.Get("minutes"), historyDefault)
	switch {
	case src.History == nil:
		http.Error(w, "no history is kept", http.StatusNotFound)
	case !ok || n < 1 || n > minutes.Day:
		http.Error(w, "minutes is 1 to 1440", http.StatusBadRequest)
	default:
		going.reply(w, r, "application/json", src.History(nil, int(n)))
	}
}

// serveHealth answers 200 while the loop turns and the queue can be written, whatever the cloud
// does.
func serveHealth(w http.ResponseWriter, _ *http.Request, src Source, _ url.Values, _ *answers) {
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
func serveReady(w http.ResponseWriter, _ *http.Request, src Source, _ url.Values, _ *answers) {
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
