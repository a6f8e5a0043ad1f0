package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
)

// Bounds of requests.
const (
	maxBody      = 256 << 10 // bytes of a body
	maxLogin     = 4 << 10   // bytes of a body with a password
	bodiesAtOnce = 4         // read and worked on at a time; further ones wait
	readsAtOnce  = 4         // requests without a body, the same
	maxPath      = 1 << 10
	acceptLimit  = 20 * time.Second // how long the queue may take
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
	Log       *slog.Logger
	Clock     *clock.Clock // nil: the machine's is right
}

// Handler serves the paths below /api/, but for those of devices.
type Handler struct {
	Options
	sessions *sessions
	asks     asks
	bodies   chan struct{} // one for each request with a body that is worked on
	reads    chan struct{}
	// edit is held from the look at what is stored to the change of it, so that no change is lost
	// to another.
	edit sync.Mutex
}

// New returns the handler.
func New(o Options) *Handler {
	return &Handler{
		Options: o, sessions: newSessions(), asks: asks{when: map[proto.UUID]time.Time{}},
		bodies: make(chan struct{}, bodiesAtOnce), reads: make(chan struct{}, readsAtOnce),
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
}

func (c *call) admin() bool { return c.user.Authority == "TENANT_ADMIN" }

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	result, err := h.serve(w, r)
	var f *failure
	switch {
	case err == nil:
		answer(w, result)
	case errors.As(err, &f):
		fail(w, f)
	default:
		h.Log.Warn("a REST request failed", "path", r.URL.Path, "error", err)
		fail(w, &failure{http.StatusInternalServerError, codeGeneral, "internal error"})
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/")
	if !ok || len(path) > maxPath || len(r.URL.RawQuery) > 16*maxPath {
		return nil, &failure{http.StatusNotFound, codeNotFound, wordsNotOffered}
	}
	route, args, allowed := match(r.Method, path)
	switch {
	case route == nil && allowed != "":
		w.Header().Set("Allow", allowed)
		return nil, &failure{http.StatusMethodNotAllowed, codeArguments, "use " + allowed + " here"}
	case route == nil:
		return nil, &failure{http.StatusNotFound, codeNotFound, wordsNotOffered}
	}
	c := &call{Handler: h, w: w, r: r, args: args, now: time.Now(), stamp: h.Clock.Stamp()}
	if route.who != anybody {
		var err error
		if c.user, err = h.session(r, c.now); err != nil {
			return nil, err
		}
		if route.who == admins && !c.admin() {
			return nil, errForbidden
		}
	}
	hasBody := r.Method == http.MethodPost && r.ContentLength != 0
	if route.who == anybody {
		if hasBody {
			if err := c.read(maxLogin); err != nil {
				return nil, err
			}
		}
		return route.do(c)
	}
	slots := h.reads
	if hasBody {
		slots = h.bodies
	}
	select {
	case slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	release := sync.OnceFunc(func() { <-slots })
	defer release()
	if hasBody {
		if err := c.read(maxBody); err != nil {
			return nil, err
		}
	}
	if route.waits {
		release()
	}
	return route.do(c)
}

// read reads the body.
func (c *call) read(limit int64) error {
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return &failure{http.StatusUnsupportedMediaType, codeArguments, "a compressed body is not supported"}
	}
	tooLarge := &failure{http.StatusRequestEntityTooLarge, codeArguments, "the body is too large"}
	if c.r.ContentLength > limit {
		c.w.Header().Set("Connection", "close")
		return tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, limit+1))
	switch {
	case err != nil:
		c.w.Header().Set("Connection", "close")
		return bad("the body ended before its end")
	case int64(len(body)) > limit:
		c.w.Header().Set("Connection", "close")
		return tooLarge
	case !utf8.Valid(body):
		return bad("the body is not UTF-8")
	}
	c.body = body
	return nil
}

// commit makes events durable in the queue, and then the same changes in the registry. It does not
// end with the request: the queue must not have a change that the registry lacks because a client
// went away.
func (c *call) commit(events []proto.Event, edits ...registry.Edit) error {
	if err := c.accept(events); err != nil {
		return err
	}
	return c.stored(c.Registry.Edit(c.Intake.End(), edits...))
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
