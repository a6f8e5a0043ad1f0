package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
	"edgesync/sync/share"
	"edgesync/sync/sighting"
)

// Bounds of requests.
const (
	maxBody      = 256 << 10 // bytes of a body
	maxLogin     = 4 << 10   // bytes of a body with a password
	smallBody    = 16 << 10  // bytes; a larger body takes bytes of largeBodies as it comes
	largeBodies  = 1 << 20   // bytes of all large bodies in memory
	bodiesAtOnce = 4         // requests with a body that are worked on at a time; further ones wait
	smallAnswer  = 4 << 10   // bytes; a larger answer takes bytes of largeAnswers until it is read
	largeAnswers = 5 << 20   // bytes of all large answers in memory: the largest entity and a little more
	largeText    = 1 << 20   // bytes of an answer after which memory is given back before the next is made
	answerChunk  = 16 << 10  // bytes that are written at a time
	maxPath      = 1 << 10
	acceptLimit  = 20 * time.Second // how long the queue may take
	slotLimit    = 30 * time.Second // how long a request waits to be worked on
)

// Caller calls devices; *sync.Agent is one.
type Caller interface {
	CallDevice(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error)
}

// Options are what the API needs of its surroundings.
type Options struct {
	Registry  *registry.Registry
	Intake    *agent.Intake
	Creations agent.Creations
	Calls     Caller
	Latest    *Latest
	Queue     *Queue // nil: its events are not shown
	// Sync asks the cloud for a sync; nil: that cannot be ordered.
	Sync func(ctx context.Context) error
	// Entered is told of what is in the queue and about to be stored, and by whom; what it returns
	// is called once it is. Time series are deleted from a time on and before another one. nil:
	// nobody is told.
	Entered func(events []proto.Event, by registry.User, from, to int64) (stored func())
	Seen    *sighting.Book // of devices; nil: nobody looks
	Log     *slog.Logger
	Clock   *clock.Clock // nil: the machine's is right
	// Secure reports whether a request came over TLS; nil: all count as if they did.
	Secure func(r *http.Request) bool
	// Lane is held while an answer to a GET is made: an entity may have 4 MiB, and a page is
	// gathered from many. nil: one that nobody shares.
	Lane share.Lane
}

// Handler serves the paths below /api/, but for those of devices.
type Handler struct {
	Options
	sessions *sessions
	asks     asks
	bodies   chan struct{} // one for each request with a body that is worked on
	wasLarge bool          // the last answer to a GET; who holds Lane owns it
	coming   *share.Budget // of largeBodies
	going    *share.Budget // of largeAnswers
	// edit is held from the look at what is stored to the change of it, so that no change is lost
	// to another.
	edit sync.Mutex
}

// New returns the handler.
func New(o Options) *Handler {
	if o.Lane == nil {
		o.Lane = share.NewLane()
	}
	return &Handler{
		Options: o, sessions: newSessions(), asks: asks{when: map[proto.UUID]time.Time{}},
		bodies: make(chan struct{}, bodiesAtOnce),
		coming: share.New(largeBodies), going: share.New(largeAnswers),
	}
}

// call is one request.
type call struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	user  registry.User
	args  []string // of the path
	body  []byte
	now   time.Time
	stamp int64 // time of its events: clock.Clock.Stamp

	from, to int64 // of time series that are deleted, in ms since the epoch
}

func (c *call) admin() bool { return c.user.Authority == "TENANT_ADMIN" }

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	text, pass, err := h.serve(w, r)
	if pass != nil {
		defer pass.Close()
	}
	var f *failure
	switch {
	case err == nil:
		answer(w, text, pass)
	case errors.As(err, &f):
		fail(w, f)
	default:
		h.Log.Warn("a REST request failed", "path", r.URL.Path, "error", err)
		fail(w, &failure{http.StatusInternalServerError, codeGeneral, "internal error"})
	}
}

// serve returns the answer as JSON text, nil for none. A large one has a pass, which the caller
// closes.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) ([]byte, *share.Pass, error) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/")
	if !ok || len(path) > maxPath || len(r.URL.RawQuery) > 16*maxPath {
		return nil, nil, &failure{http.StatusNotFound, codeNotFound, wordsNotOffered}
	}
	route, args, allowed := match(r.Method, path)
	switch {
	case route == nil && allowed != "":
		w.Header().Set("Allow", allowed)
		return nil, nil, &failure{http.StatusMethodNotAllowed, codeArguments, "use " + allowed + " here"}
	case route == nil:
		return nil, nil, &failure{http.StatusNotFound, codeNotFound, wordsNotOffered}
	}
	c := &call{Handler: h, w: w, r: r, args: args, now: time.Now(), stamp: h.Clock.Stamp()}
	if route.who != anybody {
		var err error
		if c.user, err = h.session(r, c.now); err != nil {
			return nil, nil, err
		}
		if route.who == admins && !c.admin() {
			return nil, nil, errForbidden
		}
	}
	hasBody := r.Method == http.MethodPost && r.ContentLength != 0
	if hasBody {
		limit := int64(maxBody)
		if route.who == anybody {
			limit = maxLogin
		}
		pass, err := c.read(limit) // before it takes a slot
		if pass != nil {
			defer pass.Close()
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if route.who == anybody {
		return c.encode(route.do(c))
	}
	if r.Method == http.MethodGet {
		return c.look(route)
	}
	release, err := c.slot(h.bodies)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if route.waits {
		release()
	}
	return c.encode(route.do(c))
}

// slot waits for one of the slots.
func (c *call) slot(slots chan struct{}) (release func(), err error) {
	t := time.NewTimer(slotLimit)
	defer t.Stop()
	select {
	case slots <- struct{}{}:
		return sync.OnceFunc(func() { <-slots }), nil
	case <-t.C:
	case <-c.r.Context().Done(): // nobody reads it
	}
	return nil, errBusy
}

// look answers a GET. While there are no bytes for a large answer the request waits without it, and
// without its slot: the answer is made anew then.
func (c *call) look(route *route) ([]byte, *share.Pass, error) {
	pass := new(share.Pass)
	for {
		release, err := c.slot(c.Lane)
		if err != nil {
			pass.Close()
			return nil, nil, err
		}
		if c.wasLarge { // what was left of it is garbage by now
			c.wasLarge = false
			agent.MakeRoom()
		}
		text, err := encoded(route.do(c))
		c.wasLarge = len(text) >= largeText
		if err != nil || len(text) <= smallAnswer {
			release()
			pass.Close()
			return text, nil, err
		}
		if !pass.IsOpen() {
			c.open(pass)
		}
		_, err = pass.Grow(len(text), noWait)
		release()
		if err == nil {
			return text, pass, nil
		}
		size := len(text)
		text = nil
		if _, err := pass.Grow(size, c.r.Context().Done()); err != nil {
			pass.Close()
			return nil, nil, errBusy
		}
	}
}

// noWait is closed: who comes with it takes bytes at once or not at all.
var noWait = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (c *call) open(pass *share.Pass) {
	c.going.Open(pass, c.user.ID, reader{http.NewResponseController(c.w)})
}

// encoded is what a path returned as JSON text, nil for nothing.
func encoded(result any, err error) ([]byte, error) {
	if err != nil || result == nil {
		return nil, err
	}
	if text, ok := result.(json.RawMessage); ok {
		return text, nil
	}
	return json.Marshal(result)
}

// encode is encoded with a pass for a large answer.
func (c *call) encode(result any, err error) ([]byte, *share.Pass, error) {
	text, err := encoded(result, err)
	if err != nil || len(text) <= smallAnswer {
		return text, nil, err
	}
	pass := new(share.Pass)
	c.open(pass)
	if _, err := pass.Grow(len(text), c.r.Context().Done()); err != nil {
		pass.Close()
		return nil, nil, errBusy
	}
	return text, pass, nil
}

// reader is a client that reads an answer.
type reader struct{ *http.ResponseController }

// Cut implements share.Cutter.
func (r reader) Cut() { _ = r.SetWriteDeadline(time.Unix(1, 0)) }

// read reads the body. A large one has a pass, also where read returns an error.
func (c *call) read(limit int64) (pass *share.Pass, err error) {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &failure{http.StatusUnsupportedMediaType, codeArguments, "a compressed body is not supported"}
	}
	whole := false
	defer func() {
		if !whole {
			c.w.Header().Set("Connection", "close")
		}
	}()
	tooLarge := &failure{http.StatusRequestEntityTooLarge, codeArguments, "the body is too large"}
	if c.r.ContentLength > limit {
		return nil, tooLarge
	}
	body := make([]byte, 0, min(max(c.r.ContentLength, 0)+1, 512))
	for {
		if len(body) == cap(body) {
			size := 2 * cap(body)
			if size > smallBody {
				if pass == nil {
					cut, _ := c.r.Body.(share.Cutter)
					pass = new(share.Pass)
					c.coming.Open(pass, c.user.ID, cut)
				}
				waited, err := pass.Grow(size, c.r.Context().Done())
				if a, ok := c.r.Body.(interface{ Stood(time.Duration) }); ok { // device.NewServer's
					a.Stood(waited)
				}
				if err != nil {
					return pass, errBusy
				}
			}
			grown := make([]byte, len(body), size)
			copy(grown, body)
			body = grown
		}
		n, err := c.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if pass != nil && pass.Moved(n) != nil {
			return pass, errBusy
		}
		switch {
		case int64(len(body)) > limit:
			return pass, tooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return pass, &failure{http.StatusRequestTimeout, codeArguments, "the body came too slowly"}
		case err != nil && !errors.Is(err, io.EOF):
			return pass, bad("the body ended before its end")
		case err == nil:
			continue
		}
		break
	}
	whole = true
	if pass != nil && pass.Ours() != nil {
		return pass, errBusy
	}
	if !utf8.Valid(body) {
		return pass, bad("the body is not UTF-8")
	}
	c.body = body
	return pass, nil
}

// commit makes events durable in the queue, and then the same changes in the registry. It does not
// end with the request: the queue must not have a change that the registry lacks because a client
// went away.
func (c *call) commit(events []proto.Event, edits ...registry.Edit) error {
	if err := c.accept(events); err != nil {
		return err
	}
	return c.entered(events, func() error { return c.stored(c.Registry.Edit(c.Intake.End(), edits...)) })
}

// entered stores what people have made, and tells the rule chains of its events.
func (c *call) entered(events []proto.Event, store func() error) error {
	if c.Entered == nil {
		return store()
	}
	run := c.Entered(events, c.user, c.from, c.to)
	err := store()
	if err == nil {
		run()
	}
	return err
}

// stored turns a failure to store what is in the queue already into an answer, and logs it.
func (c *call) stored(err error) error {
	if err == nil {
		return nil
	}
	c.Log.Warn("a change made by REST is in the queue and cannot be stored here", "error", err)
	return &failure{http.StatusInternalServerError, codeGeneral, wordsNotHere}
}

func (c *call) accept(events []proto.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), acceptLimit)
	defer cancel()
	if err := c.Intake.Accept(ctx, events); err != nil {
		return &failure{http.StatusServiceUnavailable, codeGeneral, wordsNotStored}
	}
	return nil
}

// event is one event about an entity, made now.
func (c *call) event(kind proto.Kind, action proto.Action, id proto.UUID, fragment []byte) proto.Event {
	return proto.Event{Kind: kind, Action: action, Time: c.stamp, Entity: id, Fragment: fragment}
}

// object reads the body as a JSON object.
func (c *call) object() (document, error) {
	var fields document
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &fields) != nil {
		return nil, bad("the body must be a JSON object")
	}
	return fields, nil
}
