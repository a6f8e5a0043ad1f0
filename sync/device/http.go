package device

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/share"
	"edgesync/sync/sighting"
)

// Intake takes events. Accept returns nil when all of them are durable, and an error when none of
// them is, or, where it is an agent.PartialError, some are not; the device is then asked to come
// back. When Accept has returned nil, the events and their fragments are the caller's again. After
// an error they are the intake's for good, so it may return as soon as ctx ends. Accept is called
// from many goroutines.
type Intake interface {
	Accept(ctx context.Context, events []proto.Event) error
}

// DefaultMaxBody is http.max_body without configuration, in bytes (config.toml.example): what the
// server takes (API.md 2).
const DefaultMaxBody = 16 << 20

// Bounds of large bodies, so that memory stays bounded whatever the number of connections.
const (
	freeBody    = 4 << 10          // bytes; a larger body takes bytes of largeBodies as it comes
	largeBodies = 4<<20 + 64<<10   // bytes of all such bodies in memory
	smallBody   = 16 << 10         // bytes; a larger body needs a slot to be parsed and stored
	laneBody    = 256 << 10        // bytes of a body of which no second one is parsed and stored beside it
	roomyBody   = 512 << 10        // bytes that a body needs at once for which memory is given back before
	largeSlots  = 4                // large bodies that are parsed and stored at a time
	slotLimit   = 30 * time.Second // how long a body that has come whole waits for that
)

// retryAfter is how long a refused device is to wait, in seconds; retryUnsynced, one that is not
// known before the first sync.
const (
	retryAfter    = "5"
	retryUnsynced = "30"
)

// expectedPaths ends the answers to a request whose path is none of the device API.
const expectedPaths = "expected /api/v1/TOKEN/telemetry, /api/v1/TOKEN/attributes or others of the device API"

// ThingsBoard's numbers in error answers (API.md 2).
const (
	codeGeneral    = 2
	codePermission = 20
	codeBadRequest = 31
	codeNotFound   = 32
)

// HTTP is the device API over HTTP (API.md 2): the http.Handler for all paths below /api/v1/. It
// must stand in front of any http.ServeMux, which would redirect paths that HTTP answers with 400.
// Its methods may be called from many goroutines.
type HTTP struct {
	*Doors
	maxBody int64

	bodies  *share.Budget // of largeBodies
	working chan struct{} // a token for each large body that is parsed and stored
	scratch sync.Pool     // of *scratch
	parsers sync.Pool     // of *payload.Parser, for those that hold a token
}

// maxRetained is the most bytes that the pooled buffers of one request or publish may take. Larger
// ones are dropped.
const maxRetained = 64 << 10

// scratch are the pooled buffers of one request.
type scratch struct {
	body
	parser payload.Parser
}

// NewHTTP returns the handler. maxBody is the largest body in bytes; 0 is DefaultMaxBody.
func NewHTTP(d *Doors, maxBody int64) *HTTP {
	if maxBody <= 0 {
		maxBody = DefaultMaxBody
	}
	return &HTTP{
		Doors: d, maxBody: maxBody,
		bodies:  share.New(largeBodies),
		working: make(chan struct{}, largeSlots),
		scratch: sync.Pool{New: func() any { return &scratch{body: body{text: make([]byte, 0, 1024)}} }},
		parsers: sync.Pool{New: func() any { return new(payload.Parser) }},
	}
}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") != "" {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	to, status := route(r)
	switch {
	case status == http.StatusBadRequest:
		h.note(r, refusal.BadRequest, "", "its path is malformed") // the path itself has a token in it
		fail(w, status, codeBadRequest, "bad path: "+expectedPaths)
		return
	case status != 0:
		h.note(r, refusal.UnknownTopic, "", expectedPaths)
		fail(w, status, codeNotFound, "no such path: "+expectedPaths)
		return
	}
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	methods := endpoints[to.endpoint].methods
	if !(get && methods&gets != 0 || r.Method == http.MethodPost && methods&posts != 0) {
		if otherMethod(w, r, methods) {
			h.note(r, refusal.BadRequest, "", "the endpoint does not have the method "+r.Method)
		}
		return
	}
	if to.endpoint == provision {
		h.provision(w, r)
		return
	}
	attempt, err := h.guesses.Begin(r.Context(), guess.Address(r.RemoteAddr), h.guesses.Secret("token", to.token))
	if err != nil {
		h.refuseGuess(w, r)
		return
	}
	device, ok := h.Lookups.ByToken(to.token)
	if !ok { // whatever the body is
		attempt.Wrong()
		if attempt.Late {
			w.Header().Set("Connection", "close")
		}
		if !h.synced() { // firmware takes a 401 for final
			h.notSynced(w, r, to.token)
			return
		}
		h.unknown(r, refusal.UnknownToken, to.token)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	attempt.Right(device.ID)
	h.Seen.Saw(time.Now(), device.ID, sighting.HTTP, 0)
	switch {
	case get:
		h.get(w, r, &device, to)
	default:
		h.post(w, r, &device, to)
	}
}

// refuseGuess answers a request whose token or secret is not judged, because too many wrong ones
// came from its address, and ends the connection.
func (h *HTTP) refuseGuess(w http.ResponseWriter, r *http.Request) {
	h.note(r, refusal.Guessing, "", "")
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", "60")
	w.WriteHeader(http.StatusTooManyRequests)
}

// notSynced answers a request whose token or secret is unknown while no sync has completed. token
// is "" for a secret.
func (h *HTTP) notSynced(w http.ResponseWriter, r *http.Request, token string) {
	h.unknown(r, refusal.NotSynced, token)
	w.Header().Set("Retry-After", retryUnsynced)
	fail(w, http.StatusServiceUnavailable, codeGeneral, errNotSynced.Error())
}

// post answers requests that have a body.
func (h *HTTP) post(w http.ResponseWriter, r *http.Request, device *registry.Device, to target) {
	limit := h.maxBody
	switch to.endpoint {
	case rpc, rpcAnswer:
		limit = min(limit, maxRPCBody)
	case attributes:
		limit = min(limit, payload.MaxElement)
	case claiming:
		limit = min(limit, wholeBody)
	}
	if to.endpoint == telemetry || to.endpoint == attributes {
		began := time.Now()
		defer func() { h.took[refusal.HTTP].Note(time.Since(began)) }()
	}
	var wait func()
	q := reading{device.ID, device.Name, limit, to.endpoint == claiming, to.endpoint == telemetry}
	h.withBody(w, r, q, func(s *scratch) bool {
		switch to.endpoint {
		case telemetry:
			return h.store(w, r, s, device, s.parser.Telemetry)
		case attributes:
			return h.store(w, r, s, device, s.parser.Attributes)
		case rpcAnswer:
			h.answer(w, device, to.id, s.text)
		case rpc:
			wait = h.request(w, r, device, s.text)
		case claiming:
			return h.claim(w, r, device, s.text)
		}
		return true
	})
	if wait != nil {
		wait() // after the slot and the buffer of the body are free for others
	}
}

// reading is how a body is read.
type reading struct {
	sender     proto.UUID
	name       string // of the sender
	limit      int64  // bytes
	mayBeEmpty bool
	rows       bool // telemetry: beyond wholeBody it is stored as it comes
}

// withBody reads the body and calls fn with it, unless it has answered with an error. fn reports
// whether the scratch may be used again.
func (h *HTTP) withBody(w http.ResponseWriter, r *http.Request, q reading, fn func(*scratch) (reuse bool)) {
	decoder, status, why := describe(r.Header)
	if status != 0 {
		h.note(r, refusal.BadRequest, q.name, why)
		fail(w, status, codeBadRequest, why)
		return
	}
	if r.ContentLength > q.limit {
		h.note(r, refusal.TooLarge, q.name, largerThan(q.limit))
		tooLarge(w, q.limit)
		return
	}
	s := h.scratch.Get().(*scratch)
	reuse := true
	defer func() {
		if reuse && cap(s.text)+s.parser.Retained() <= maxRetained {
			h.scratch.Put(s)
		}
	}()

	defer s.close()
	s.open(r, decoder, h.bodies, q.sender, q.limit)
	most := q.limit
	if q.rows {
		most = wholeBody
	}
	var err error
	if r.ContentLength <= most {
		err = s.fill(everything, most)
	}
	if err == nil && q.rows && (s.came > most || !s.whole) {
		o := rows{h: h, w: w, r: r, b: &s.body, device: q.sender, name: q.name, now: h.Clock.Stamp()}
		o.run()
		return
	}
	if s.pass.IsOpen() && err == nil {
		err = s.pass.Ours()
	}
	switch {
	case errors.Is(err, errBodySize):
		h.note(r, refusal.TooLarge, q.name, largerThan(q.limit))
		tooLarge(w, q.limit)
	case errors.Is(err, share.ErrEvicted), errors.Is(err, share.ErrFull):
		w.Header().Set("Connection", "close")
		h.busy(w, r, q.sender, bodiesWait, err)
	case err != nil: // the device stopped, was too slow, or has left: what came makes no event
		status, why := unfinished(err)
		h.note(r, refusal.Slow, q.name, why)
		w.Header().Set("Connection", "close")
		fail(w, status, codeBadRequest, why)
	case len(s.text) == 0 && !q.mayBeEmpty:
		h.note(r, refusal.BadPayload, q.name, "the body is missing")
		fail(w, http.StatusBadRequest, codeBadRequest, "the body is missing")
	case len(s.text) <= smallBody:
		reuse = fn(s)
	default:
		done := h.work(r, len(s.text))
		if done == nil {
			h.busy(w, r, q.sender, storageSlow, errSlowMedium)
			return
		}
		defer done()
		reuse = fn(s)
	}
}

// unfinished is the answer where the rest of a body did not come. Of a slow one 408 asks for the
// same again, while 400 would call its data wrong, and devices drop what is wrong.
func unfinished(err error) (status int, why string) {
	if timedOut(err) {
		return http.StatusRequestTimeout, "the body came too slowly"
	}
	return http.StatusBadRequest, "the body ended before its end"
}

// work waits until a large body of so many bytes may be parsed and stored, and returns what is to
// be called then. It has come whole, so its sender has no part in the time that this takes. nil:
// that is too long.
func (h *HTTP) work(r *http.Request, bytes int) (done func()) {
	ctx, cancel := context.WithTimeout(r.Context(), slotLimit)
	defer cancel()
	select {
	case h.working <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	if bytes <= laneBody {
		return func() { <-h.working }
	}
	if !h.Lane.Enter(ctx.Done()) {
		<-h.working
		return nil
	}
	return func() { h.Lane.Leave(); <-h.working }
}

// What the log says of large bodies that are not served now.
const (
	bodiesWait  = "large bodies wait for each other; those that come slowly are refused"
	storageSlow = "large bodies wait too long to be stored"
)

// busy answers that a request is not served now because of others, whatever the device sent.
func (h *HTTP) busy(w http.ResponseWriter, r *http.Request, sender proto.UUID, text string, err error) {
	h.note(r, refusal.Busy, h.nameOf(sender), text+": "+err.Error())
	w.Header().Set("Retry-After", retryAfter)
	fail(w, http.StatusServiceUnavailable, codeGeneral, err.Error())
}

// store hands the events in the body to the intake and answers. It returns false if the intake may
// still be reading them.
func (h *HTTP) store(
	w http.ResponseWriter, r *http.Request, s *scratch, device *registry.Device,
	parse func(body []byte, entity proto.UUID, now int64) ([]proto.Event, error),
) bool {
	events, err := parse(s.text, device.ID, h.Clock.Stamp())
	switch {
	case errors.Is(err, payload.ErrTooLarge):
		h.note(r, refusal.TooLarge, device.Name, err.Error())
		fail(w, http.StatusRequestEntityTooLarge, codeBadRequest, err.Error())
		return true
	case err != nil:
		h.wrongBody(w, r, device, err.Error())
		return true
	}
	if len(events) > 0 {
		if err := h.Intake.Accept(r.Context(), events); err != nil {
			h.refuse(w, r, device, err)
			return false
		}
	}
	w.WriteHeader(http.StatusOK)
	return true
}

// refuse answers that the intake did not take the events.
func (h *HTTP) refuse(w http.ResponseWriter, r *http.Request, device *registry.Device, err error) {
	h.refuseSome(w, r, device.Name, err, "")
}

// refuseSome is refuse where some events are stored all the same; kept says which.
func (h *HTTP) refuseSome(w http.ResponseWriter, r *http.Request, name string, err error, kept string) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // ends the connection; nobody would read an answer
	}
	h.note(r, notTaken(err), name, err.Error())
	w.Header().Set("Retry-After", retryAfter)
	why := "the queue takes no events now; send it again later"
	if errors.Is(err, agent.ErrNoRoom) {
		why = agent.ErrNoRoom.Error()
	}
	fail(w, http.StatusServiceUnavailable, codeGeneral, "not stored, "+why+kept)
}

func largerThan(limit int64) string {
	return "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes"
}

// tooLarge answers as the server does: with a JSON string and no Content-Type.
func tooLarge(w http.ResponseWriter, limit int64) {
	head := w.Header()
	head["Content-Type"] = nil
	head.Set("Connection", "close") // the rest of the body is not read
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, `"Payload size exceeds the limit of `+strconv.FormatInt(limit, 10)+` bytes"`)
}

// fail answers with an error as ThingsBoard words it.
func fail(w http.ResponseWriter, status, code int, message string) {
	b := make([]byte, 0, 256)
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"message":`...)
	b = proto.AppendJSONString(b, message)
	b = append(b, `,"errorCode":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, time.Now().UnixMilli(), 10)
	b = append(b, '}')
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
