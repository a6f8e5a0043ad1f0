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
	maxLogin     = 4 << 10   // of a body with a password
	bodiesAtOnce = 4         // read and worked on at a time; further ones wait
	readsAtOnce  = 4         // requests without a body, the same
	maxPath      = 1 << 10
	acceptLimit  = 20 * time.Second // how long the queue may take
)

// Intake takes events; *sync.Intake is one.
type Intake interface {
	// Accept returns nil when all events are durable.
	Accept(ctx context.Context, events []proto.Event) error
	// End is the Seq of the newest event in the queue.
	End() uint64
}

// Caller calls devices; *sync.Agent is one.
type Caller interface {
	CallDevice(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error)
}

// Options are what the API stands on.
type Options struct {
	Registry *registry.Registry
	Intake   Intake
	Births   agent.Births
	Calls    Caller
	Latest   *Latest
	Log      *slog.Logger
	Clock    *clock.Clock // nil: the machine's is right
}

// Handler serves the paths below /api/, but for those of devices.
type Handler struct {
	Options
	sessions *sessions
	asks     asks
	bodies   chan struct{} // one for each request with a body that is worked on
	reads    chan struct{}
	// edit is held from the look at what is there to the change of it, so that no two changes miss each other.
	edit sync.Mutex
}

// New returns the handler.
func New(o Options) *Handler {
	return &Handler{Options: o, sessions: newSessions(), asks: asks{when: map[proto.UUID]time.Time{}}, bodies: make(chan struct{}, bodiesAtOnce), reads: make(chan struct{}, readsAtOnce)}
}

// ThingsBoard's numbers in error answers.
const (
	codeGeneral     = 2
	codeAuth        = 10
	codeExpired     = 11
	codePermission  = 20
	codeArguments   = 31
	codeNotFound    = 32
	codeTooMany     = 33
	headerJSON      = "application/json"
	wordsForbidden  = "You don't have permission to perform this operation!"
	wordsNotFound   = "Requested item wasn't found!"
	wordsBadLogin   = "Invalid username or password"
	wordsNoSession  = "Authentication failed"
	wordsExpired    = "Token has expired"
	wordsNotStored  = "not stored, the queue takes no events now; send it again later"
	wordsNotHere    = "on its way to the cloud, but not stored here: the medium refuses or there is no room"
	wordsNotOffered = "no such path here"
)

// failure is an answer that is no success.
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

var (
	errForbidden = &failure{http.StatusForbidden, codePermission, wordsForbidden}
	errNotFound  = &failure{http.StatusNotFound, codeNotFound, wordsNotFound}
)

func bad(message string) error { return &failure{http.StatusBadRequest, codeArguments, message} }

// call is one request.
type call struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	user  registry.User
	args  []string // of the path
	body  []byte
	now   time.Time
	stamp int64 // of the events that it makes: sync.Clock
}

func (c *call) admin() bool { return c.user.Authority == "TENANT_ADMIN" }

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// route is one path. A "*" stands for any one segment.
type route struct {
	method, path string
	who          who
	do           func(c *call) (any, error)
	waits        bool // for a device, with a small body: others may go on meanwhile
}

type who uint8

const (
	anybody who = iota
	users
	admins
)

// Routes in the order in which they are tried.
var routes = []route{
	{"POST", "auth/login", anybody, (*call).login, false},
	{"POST", "auth/token", anybody, (*call).refresh, false},
	{"POST", "auth/logout", users, (*call).logout, false},
	{"GET", "auth/user", users, (*call).whoami, false},

	{"POST", "device/credentials", admins, (*call).saveCredentials, false},
	{"GET", "device/*/credentials", users, (*call).credentials, false},
	{"POST", "device-with-credentials", admins, (*call).saveWithCredentials, false},
	{"GET", "tenant/devices", admins, func(c *call) (any, error) { return c.list(deviceDef, "deviceName") }, false},
	{"GET", "tenant/assets", admins, func(c *call) (any, error) { return c.list(assetDef, "assetName") }, false},
	{"GET", "tenant/device", admins, func(c *call) (any, error) { return c.byName(deviceDef, "deviceName") }, false},
	{"GET", "tenant/asset", admins, func(c *call) (any, error) { return c.byName(assetDef, "assetName") }, false},
	{"GET", "edge/*/devices", admins, func(c *call) (any, error) { return c.listOfEdge(deviceDef) }, false},
	{"GET", "edge/*/assets", admins, func(c *call) (any, error) { return c.listOfEdge(assetDef) }, false},
	{"GET", "tenant/entityViews", admins, func(c *call) (any, error) { return c.list(viewDef, "entityViewName") }, false},
	{"GET", "tenant/dashboards", users, func(c *call) (any, error) { return c.list(dashboardDef, "dashboardName") }, false},
	{"GET", "customer/*/devices", users, func(c *call) (any, error) { return c.listOf(deviceDef) }, false},
	{"GET", "customer/*/assets", users, func(c *call) (any, error) { return c.listOf(assetDef) }, false},

	{"POST", "device", users, func(c *call) (any, error) { return c.save(deviceDef) }, false},
	{"GET", "device/*", users, func(c *call) (any, error) { return c.get(deviceDef) }, false},
	{"DELETE", "device/*", admins, func(c *call) (any, error) { return c.delete(deviceDef) }, false},
	{"POST", "asset", users, func(c *call) (any, error) { return c.save(assetDef) }, false},
	{"GET", "asset/*", users, func(c *call) (any, error) { return c.get(assetDef) }, false},
	{"DELETE", "asset/*", admins, func(c *call) (any, error) { return c.delete(assetDef) }, false},
	{"POST", "entityView", admins, func(c *call) (any, error) { return c.save(viewDef) }, false},
	{"GET", "entityView/*", users, func(c *call) (any, error) { return c.get(viewDef) }, false},
	{"DELETE", "entityView/*", admins, func(c *call) (any, error) { return c.delete(viewDef) }, false},
	{"POST", "dashboard", admins, func(c *call) (any, error) { return c.save(dashboardDef) }, false},
	{"GET", "dashboard/*", users, func(c *call) (any, error) { return c.get(dashboardDef) }, false},
	{"DELETE", "dashboard/*", admins, func(c *call) (any, error) { return c.delete(dashboardDef) }, false},

	{"GET", "ruleChain/*", admins, (*call).ruleChain, false},
	{"GET", "ruleChain/*/metadata", admins, (*call).ruleChainMetadata, false},

	{"POST", "alarm", users, (*call).saveAlarm, false},
	{"POST", "alarm/*/ack", users, (*call).ackAlarm, false},
	{"POST", "alarm/*/clear", users, (*call).clearAlarm, false},
	{"GET", "alarm/info/*", users, (*call).alarm, false},
	{"GET", "alarm/*", users, (*call).alarm, false},
	{"DELETE", "alarm/*", users, (*call).deleteAlarm, false},
	{"GET", "alarm/*/*", users, (*call).alarmsOf, false},
	{"GET", "v2/alarm/*/*", users, (*call).alarmsOf, false},

	{"POST", "relation", users, (*call).saveRelation, false},
	{"POST", "v2/relation", users, (*call).saveRelation, false},
	{"GET", "relation", users, (*call).relation, false},
	{"DELETE", "relation", users, (*call).deleteRelation, false},
	{"DELETE", "v2/relation", users, (*call).deleteRelation, false},
	{"GET", "relations", users, (*call).relations, false},
	{"GET", "relations/from/*/*", users, func(c *call) (any, error) { return c.relationsAt(false) }, false},
	{"GET", "relations/from/*/*/*", users, func(c *call) (any, error) { return c.relationsAt(false) }, false},
	{"GET", "relations/to/*/*", users, func(c *call) (any, error) { return c.relationsAt(true) }, false},
	{"GET", "relations/to/*/*/*", users, func(c *call) (any, error) { return c.relationsAt(true) }, false},
	{"DELETE", "relations", users, (*call).deleteRelations, false},

	{"GET", "plugins/telemetry/*/*/values/attributes", users, (*call).attributes, false},
	{"GET", "plugins/telemetry/*/*/values/attributes/*", users, (*call).attributes, false},
	{"GET", "plugins/telemetry/*/*/keys/attributes", users, (*call).attributeKeys, false},
	{"GET", "plugins/telemetry/*/*/keys/attributes/*", users, (*call).attributeKeys, false},
	{"GET", "plugins/telemetry/*/*/values/timeseries", users, (*call).timeseries, false},
	{"GET", "plugins/telemetry/*/*/values/timeseries/history", users, (*call).timeseries, false},
	{"GET", "plugins/telemetry/*/*/keys/timeseries", users, (*call).timeseriesKeys, false},
	{"POST", "plugins/telemetry/*/*/timeseries/*", users, (*call).saveTimeseries, false},
	{"POST", "plugins/telemetry/*/*/timeseries/*/*", users, (*call).saveTimeseries, false},
	{"DELETE", "plugins/telemetry/*/*/timeseries/delete", users, (*call).deleteTimeseries, false},
	{"POST", "plugins/telemetry/*/*/attributes/*", users, (*call).saveAttributes, false},
	{"POST", "plugins/telemetry/*/*/*", users, (*call).saveAttributes, false},
	{"DELETE", "plugins/telemetry/*/*/*", users, (*call).deleteAttributes, false},
	{"POST", "plugins/telemetry/*/*", users, (*call).saveDeviceAttributes, false},
	{"DELETE", "plugins/telemetry/*/*", users, (*call).deleteDeviceAttributes, false},

	{"POST", "rpc/oneway/*", users, func(c *call) (any, error) { return c.rpc(true, false) }, true},
	{"POST", "rpc/twoway/*", users, func(c *call) (any, error) { return c.rpc(false, false) }, true},
	{"POST", "plugins/rpc/oneway/*", users, func(c *call) (any, error) { return c.rpc(true, true) }, true},
	{"POST", "plugins/rpc/twoway/*", users, func(c *call) (any, error) { return c.rpc(false, true) }, true},
}

// match finds the route of a request; allowed are the methods that the path knows if it is another.
func match(method, path string) (r *route, args []string, allowed string) {
	segments := strings.Split(path, "/")
	for i := range routes {
		a, ok := matchPath(routes[i].path, segments)
		switch {
		case !ok:
		case routes[i].method == method:
			return &routes[i], a, ""
		case !strings.Contains(allowed, routes[i].method):
			if allowed != "" {
				allowed += ", "
			}
			allowed += routes[i].method
		}
	}
	return nil, nil, allowed
}

func matchPath(pattern string, segments []string) (args []string, ok bool) {
	for i, s := range segments {
		var p string
		var more bool
		p, pattern, more = strings.Cut(pattern, "/")
		switch {
		case more != (i < len(segments)-1), s == "":
			return nil, false
		case p == "*":
			args = append(args, s)
		case p != s:
			return nil, false
		}
	}
	return args, true
}

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

// answer writes a success: nothing, JSON text, or what is marshalled to it.
func answer(w http.ResponseWriter, result any) {
	var text []byte
	switch v := result.(type) {
	case nil:
		w.WriteHeader(http.StatusOK)
		return
	case json.RawMessage:
		text = v
	default:
		var err error
		if text, err = json.Marshal(v); err != nil {
			fail(w, &failure{http.StatusInternalServerError, codeGeneral, "internal error"})
			return
		}
	}
	w.Header().Set("Content-Type", headerJSON)
	_, _ = w.Write(text)
}

// fail answers with an error as ThingsBoard words it.
func fail(w http.ResponseWriter, f *failure) {
	text, _ := json.Marshal(struct {
		Status    int    `json:"status"`
		Message   string `json:"message"`
		ErrorCode int    `json:"errorCode"`
		Timestamp int64  `json:"timestamp"`
	}{f.status, f.message, f.code, time.Now().UnixMilli()})
	w.Header().Set("Content-Type", headerJSON)
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(text)
}

// commit makes events durable in the queue, and then the changes that they tell of in the registry. It does not end with the request: half of it must
// not be left to chance.
func (c *call) commit(events []proto.Event, edits ...registry.Edit) error {
	if err := c.accept(events); err != nil {
		return err
	}
	if err := c.Registry.Edit(c.Intake.End(), edits...); err != nil {
		c.Log.Warn("a change made by REST is in the queue and cannot be stored here", "error", err)
		return &failure{http.StatusInternalServerError, codeGeneral, wordsNotHere}
	}
	return nil
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
