package device

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// Intake takes events. Accept returns nil when all of them are durable, an error when none is: the device is then told to come
// back. The events and their fragments belong to the caller again when nil was returned; after an error they are left to the
// intake for good, so it may return early when ctx ends. It is called from many goroutines.
type Intake interface {
	Accept(ctx context.Context, events []proto.Event) error
}

// Devices finds devices by their access token. It is called from many goroutines.
type Devices interface {
	ByToken(token string) (registry.Device, bool)
}

// DefaultMaxBody is http.max_body without configuration (architecture): always below the cloud's message limit.
const DefaultMaxBody = 1 << 20

// Bodies larger than smallBody are read and parsed at most largeAtOnce at a time, so that memory stays bounded whatever the number of connections.
const (
	smallBody   = 16 << 10
	largeAtOnce = 4
)

// retryAfter is what a refused device is told to wait, in seconds.
const retryAfter = "5"

// ThingsBoard's numbers in error answers (device API 2).
const (
	codeGeneral    = 2
	codePermission = 20
	codeBadRequest = 31
	codeNotFound   = 32
)

// HTTP is the device API over HTTP (device API 2): the http.Handler for all paths below /api/v1/. Put it in front of any
// http.ServeMux: that would redirect the paths which this answers with 400. Its methods may be called from many goroutines.
type HTTP struct {
	intake  Intake
	devices Devices
	maxBody int64
	log     *slog.Logger

	wrong   *wrongTokens
	large   chan struct{}
	scratch sync.Pool // of *scratch

	mu      sync.Mutex
	logged  time.Time // when a refusal of the intake was last logged
	refused int       // since then
}

// scratch is what one request needs; pooled.
type scratch struct {
	body   []byte
	parser Parser
}

// NewHTTP returns the handler. maxBody is the largest body in bytes, 0 for DefaultMaxBody.
func NewHTTP(intake Intake, devices Devices, maxBody int64, log *slog.Logger) *HTTP {
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	return &HTTP{
		intake: intake, devices: devices, maxBody: maxBody, log: log,
		wrong:   newWrongTokens(),
		large:   make(chan struct{}, largeAtOnce),
		scratch: sync.Pool{New: func() any { return &scratch{body: make([]byte, 0, 1024)} }},
	}
}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	token, endpoint, status := splitPath(r)
	switch {
	case status == http.StatusBadRequest:
		fail(w, status, codeBadRequest, "bad path: expected /api/v1/TOKEN/telemetry or /api/v1/TOKEN/attributes")
		return
	case status != 0:
		fail(w, status, codeNotFound, "no such path: expected /api/v1/TOKEN/telemetry or /api/v1/TOKEN/attributes")
		return
	}
	if r.Method != http.MethodPost {
		otherMethod(w, r)
		return
	}
	device, ok := h.devices.ByToken(token)
	if !ok {
		h.refuseToken(w, r)
		return
	}
	h.post(w, r, device, endpoint)
}

type endpoint uint8

const (
	telemetry endpoint = iota
	attributes
)

// splitPath finds token and endpoint in the path; status is 0, 400 or 404. Paths that proxies read differently are refused
// (device API 2).
func splitPath(r *http.Request) (token string, e endpoint, status int) {
	path := r.URL.Path
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	if !ok {
		return "", 0, http.StatusNotFound
	}
	if strings.Contains(path, "//") || strings.Contains(path, ";") || strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") ||
		strings.Contains(r.URL.RawPath, "%2F") || strings.Contains(r.URL.RawPath, "%2f") {
		return "", 0, http.StatusBadRequest
	}
	token, name, _ := strings.Cut(rest, "/")
	switch {
	case token == "":
		return "", 0, http.StatusBadRequest
	case name == "telemetry":
		return token, telemetry, 0
	case name == "attributes":
		return token, attributes, 0
	}
	return "", 0, http.StatusNotFound
}

// otherMethod answers what is not a POST.
func otherMethod(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodOptions:
		if r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
			fail(w, http.StatusForbidden, codePermission, "OPTIONS is answered only as a CORS preflight")
			return
		}
		w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
		if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
			w.Header().Set("Access-Control-Allow-Headers", headers)
		}
		w.Header().Set("Access-Control-Max-Age", "1800")
		w.WriteHeader(http.StatusOK)
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete:
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, codeBadRequest, "use POST here")
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

// refuseToken answers 401 whatever the body is. Beyond the limit of its address the answer is slow and ends the connection.
func (h *HTTP) refuseToken(w http.ResponseWriter, r *http.Request) {
	if !h.wrong.allow(r.RemoteAddr, time.Now()) {
		w.Header().Set("Connection", "close")
		if !h.wrong.wait(r.Context()) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}

func (h *HTTP) post(w http.ResponseWriter, r *http.Request, device registry.Device, e endpoint) {
	if status, why := unsupported(r.Header); status != 0 {
		fail(w, status, codeBadRequest, why)
		return
	}
	if r.ContentLength > h.maxBody {
		h.tooLarge(w)
		return
	}
	s := h.scratch.Get().(*scratch)
	reuse := true
	defer func() {
		if reuse && cap(s.body)+s.parser.retained() <= maxRetained {
			h.scratch.Put(s)
		}
	}()

	large := false
	err := s.read(r.Body, h.maxBody, func() error {
		select {
		case h.large <- struct{}{}:
			large = true
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	})
	if large {
		defer func() { <-h.large }()
	}
	switch {
	case errors.Is(err, errBodySize):
		h.tooLarge(w)
		return
	case err != nil: // stopped half way, too slow, or gone: whatever came is nobody's event
		w.Header().Set("Connection", "close")
		fail(w, http.StatusBadRequest, codeBadRequest, "the body ended before its end")
		return
	case len(s.body) == 0:
		fail(w, http.StatusBadRequest, codeBadRequest, "the body is missing")
		return
	}

	now := time.Now().UnixMilli()
	parse := s.parser.Telemetry
	if e == attributes {
		parse = s.parser.Attributes
	}
	events, err := parse(s.body, device.ID, now)
	switch {
	case errors.Is(err, ErrTooLarge):
		fail(w, http.StatusRequestEntityTooLarge, codeBadRequest, err.Error())
		return
	case err != nil:
		fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
		return
	}
	if len(events) > 0 {
		if err := h.intake.Accept(r.Context(), events); err != nil {
			reuse = false // the intake may still be reading the events
			h.refuse(w, r, err)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// refuse answers that the intake did not take the events. If the device is gone nobody reads it.
func (h *HTTP) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // ends the connection without an answer: none would be true
	}
	h.mu.Lock()
	h.refused++
	now, n := time.Now(), h.refused
	speak := now.Sub(h.logged) >= time.Minute
	if speak {
		h.logged, h.refused = now, 0
	}
	h.mu.Unlock()
	if speak { // once a minute: a full disk would fill the log as well
		h.log.Warn("events of devices are refused; they are told to retry", "error", err, "requests", n)
	}
	w.Header().Set("Retry-After", retryAfter)
	fail(w, http.StatusServiceUnavailable, codeGeneral, "not stored, the queue takes no events now; send it again later")
}

// tooLarge answers as the server does: a JSON string, without a type.
func (h *HTTP) tooLarge(w http.ResponseWriter) {
	head := w.Header()
	head["Content-Type"] = nil
	head.Set("Connection", "close") // the rest of the body is not read
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, `"Payload size exceeds the limit of `+strconv.FormatInt(h.maxBody, 10)+` bytes"`)
}

// unsupported judges the headers that say what the body is; status 0 if it may be JSON text in UTF-8.
func unsupported(head http.Header) (status int, why string) {
	if e := head.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return http.StatusUnsupportedMediaType, "a compressed body is not supported, as on ThingsBoard"
	}
	t := head.Get("Content-Type")
	switch t {
	// The form type is what curl -d sends by default; the text is JSON all the same.
	case "", "application/json", "text/plain", "application/x-www-form-urlencoded":
		return 0, ""
	}
	media, params, err := mime.ParseMediaType(t)
	if err != nil || !strings.Contains(media, "/") {
		return http.StatusUnsupportedMediaType, "the Content-Type is not a media type"
	}
	if media == "multipart/form-data" {
		return http.StatusBadRequest, "send the JSON text itself, not a form"
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return 0, ""
	}
	return http.StatusUnsupportedMediaType, "send the JSON text in UTF-8"
}

var errBodySize = errors.New("device: body larger than allowed")

// read fills the body from r. Before it goes beyond smallBody it asks for leave, once.
func (s *scratch) read(r io.Reader, limit int64, leave func() error) error {
	s.body = s.body[:0]
	asked := false
	for {
		if len(s.body) == cap(s.body) {
			// Grow with what has come, not with what was announced.
			grown := make([]byte, len(s.body), 2*cap(s.body))
			copy(grown, s.body)
			s.body = grown
		}
		n, err := r.Read(s.body[len(s.body):cap(s.body)])
		s.body = s.body[:len(s.body)+n]
		switch {
		case int64(len(s.body)) > limit:
			return errBodySize
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if len(s.body) > smallBody && !asked {
			if err := leave(); err != nil {
				return err
			}
			asked = true
		}
	}
}

// fail answers with an error as ThingsBoard words it.
func fail(w http.ResponseWriter, status, code int, message string) {
	b := make([]byte, 0, 256)
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"message":`...)
	b = appendJSONString(b, message)
	b = append(b, `,"errorCode":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, time.Now().UnixMilli(), 10)
	b = append(b, '}')
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// appendJSONString appends s, which is valid UTF-8, in quotes.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
