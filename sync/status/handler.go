package status

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
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
	Rules   func() []byte // the report of the rule chains as JSON; nil: there is none
	Devices *Devices      // nil: they are not shown
	// History appends the JSON of so many minutes up to now (package minutes); nil: none is kept.
	History func(b []byte, minutes int) []byte
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

// Handler serves /, /api/edgesync/status, …/events, …/devices and …/rules, all but the third below
// /api/edge/ too, /metrics, /healthz and /readyz. It only reads.
func Handler(src Source) http.Handler {
	going := &answers{share.New(largeAnswers)}
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
		case "/api/edge/status", "/api/edgesync/status":
			answer = func(w http.ResponseWriter, src Source, _ url.Values) { serveReport(w, r, src, going) }
		case "/api/edge/events", "/api/edgesync/events":
			answer = func(w http.ResponseWriter, src Source, query url.Values) {
				serveEvents(w, r, src, query, going)
			}
		case "/api/edge/rules", "/api/edgesync/rules":
			answer = func(w http.ResponseWriter, src Source, _ url.Values) { serveRules(w, r, src, going) }
		case "/api/edgesync/devices":
			answer = func(w http.ResponseWriter, src Source, query url.Values) {
				serveDevices(w, r, src, query, going)
			}
		case "/api/edgesync/history":
			answer = func(w http.ResponseWriter, src Source, query url.Values) { serveHistory(w, r, src, query, going) }
		case "/metrics":
			answer = func(w http.ResponseWriter, src Source, _ url.Values) { serveMetrics(w, r, src, going) }
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
	_, _ = io.WriteString(w, page) // without a copy; nothing to do if the reader went away
}

func serveReport(w http.ResponseWriter, r *http.Request, src Source, going *answers) {
	s := src.Snapshot()
	cut(&s)
	data, err := json.Marshal(Report{s, Judge(&s)})
	if err != nil {
		http.Error(w, "status cannot be written", http.StatusInternalServerError)
		return
	}
	going.reply(w, r, "application/json", append(data, '\n'))
}

func serveRules(w http.ResponseWriter, r *http.Request, src Source, going *answers) {
	if src.Rules == nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	going.reply(w, r, "application/json", append(src.Rules(), '\n'))
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
