package rest_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/proto"
	agent "edgesync/sync"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/sync/registry"
	"edgesync/sync/rest"
	"edgesync/sync/share"
	"edgesync/wal"
)

// rig is the API on a real registry and a real queue, with what a cloud has provisioned, and
// without a cloud.
type rig struct {
	*testing.T
	reg    *registry.Registry
	queue  *wal.Queue
	dead   *wal.DeadLog
	reader *wal.Reader
	latest *rest.Latest
	intake *agent.Intake
	agent  *agent.Agent
	api    http.Handler
	calls  caller
	tokens map[string]string
	lane   share.Lane
	dir    string   // of the data
	synced error    // what an order of a sync comes to
	heard  []string // by the rule chains: action, kind, user
}

// caller stands in for the loop.
type caller struct {
	f func(method, params string, oneway bool, timeout time.Duration) (string, error)
}

func (c *caller) CallDevice(_ context.Context, _ proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error) {
	return c.f(method, params, oneway, timeout)
}

func id(n int) (u proto.UUID) {
	u[0], u[15] = 0xA0, byte(n)
	return u
}

func text(n int) string { return proto.FormatUUID(id(n)) }

func ref(typ string, n int) string { return `{"entityType":"` + typ + `","id":"` + text(n) + `"}` }

// Numbers of the entities that are provisioned.
const (
	edge = iota + 1
	tenant
	customer
	otherCustomer
	admin
	user
	meter   // a device of the customer
	lamp    // a device of nobody
	hall    // an asset of the customer
	profile // of devices, the default one
	assetProfile
)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, latest: rest.NewLatest(nil), tokens: map[string]string{}}
	r.open(t.TempDir())
	r.provision()
	r.reader = r.queue.Reader()
	r.build(slog.New(slog.DiscardHandler))
	return r
}

// open opens a data directory, which is closed at the end of the test.
func (r *rig) open(dir string) {
	r.Helper()
	r.dir = dir
	d := boxrig.OpenData(r.T, dir, nil, nil)
	r.queue, r.dead, r.reg = d.Queue, d.Dead, d.Registry
	r.Cleanup(func() { _ = d.Close() })
}

func (r *rig) build(log *slog.Logger) {
	r.Helper()
	r.intake = agent.NewIntake(r.queue)
	r.intake.Remember(r.reg)
	r.intake.Observe(r.latest.Observe)
	c := settings(r.T)
	r.agent = agent.NewAgent(agent.Deps{Config: c, Queue: r.queue, Dead: r.dead, Registry: r.reg, Log: log, Version: "test"})
	r.api = rest.New(rest.Options{
		Registry: r.reg, Intake: r.intake, Creations: r.agent, Calls: &r.calls, Latest: r.latest, Log: log,
		Lane: r.lane, Entered: r.entered, Sync: func(context.Context) error { return r.synced },
		Queue: &rest.Queue{Dir: filepath.Join(r.dir, "queue"), Ends: func() (committed, last uint64) {
			return r.queue.Committed().Offset, r.queue.End().Offset
		}},
	})
}

// entered stands in for the rule chains.
func (r *rig) entered(events []proto.Event, by registry.User, _, _ int64) func() {
	return func() {
		for i := range events {
			e := &events[i]
			r.heard = append(r.heard, fmt.Sprint(e.Action, " ", e.Kind, " ", by.ID[15]))
		}
	}
}

// settings is the default configuration with what is set, as key=value of the environment.
func settings(t *testing.T, env ...string) *config.Config {
	t.Helper()
	var f config.Flags
	f.Register(flag.NewFlagSet("test", flag.ContinueOnError))
	l, err := config.Load(&f, append([]string{
		"EDGESYNC_CLOUD_ROUTING_KEY=key",
		"EDGESYNC_CLOUD_ROUTING_SECRET=secret", "EDGESYNC_DATA_DIR=" + t.TempDir(),
	}, env...))
	if err != nil {
		t.Fatal(err)
	}
	return &l.Config
}

const password = "correct horse"

func hash(t *testing.T) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(h), "$2b$", "$2a$", 1)
}

func (r *rig) apply(m *proto.DownlinkMsg) {
	r.Helper()
	if _, err := r.reg.Apply(m); err != nil {
		r.Fatal(err)
	}
	if err := r.reg.Flush(); err != nil {
		r.Fatal(err)
	}
}

func userDown(n int, email, authority string, of int) *proto.UserUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.UserUpdateMsg{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"id":` + ref("USER", n) + `,"email":"` + email + `","authority":"` + authority + `","customerId":` +
			ref("CUSTOMER", of) + `}`,
	}
}

func credentialsDown(n int, hash string) *proto.UserCredentialsUpdateMsg {
	return &proto.UserCredentialsUpdateMsg{Entity: `{"userId":` + ref("USER", n) + `,"enabled":true,"password":"` + hash + `"}`}
}

func deviceDown(n int, name, rest string) *proto.DeviceUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DeviceUpdateMsg{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"id":` + ref("DEVICE", n) + `,"createdTime":5,"tenantId":` + ref("TENANT", tenant) + `,"name":"` +
			name + `","type":"default"` + rest + `}`,
	}
}

func (r *rig) provision() {
	r.Helper()
	c := &proto.EdgeConfiguration{Name: "edge"}
	c.EdgeIdMSB, c.EdgeIdLSB = proto.Halves(id(edge))
	c.TenantIdMSB, c.TenantIdLSB = proto.Halves(id(tenant))
	c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(id(customer))
	if err := r.reg.SetEdge(c); err != nil {
		r.Fatal(err)
	}
	h := hash(r.T)
	pm, pl := proto.Halves(id(profile))
	qm, ql := proto.Halves(id(assetProfile))
	am, al := proto.Halves(id(hall))
	cm, cl := proto.Halves(id(customer))
	r.apply(&proto.DownlinkMsg{
		UserUpdateMsg: []*proto.UserUpdateMsg{
			userDown(admin, "admin@x", "TENANT_ADMIN", 0),
			userDown(user, "User@x", "CUSTOMER_USER", customer),
		},
		UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{credentialsDown(admin, h), credentialsDown(user, h)},
		CustomerUpdateMsg:        []*proto.CustomerUpdateMsg{{IdMSB: cm, IdLSB: cl, Entity: `{"title":"ours"}`}},
		DeviceProfileUpdateMsg:   []*proto.DeviceProfileUpdateMsg{{IdMSB: pm, IdLSB: pl, Entity: `{"name":"default","default":true}`}},
		AssetProfileUpdateMsg:    []*proto.AssetProfileUpdateMsg{{IdMSB: qm, IdLSB: ql, Entity: `{"name":"default","default":true}`}},
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{deviceDown(meter, "meter",
			`,"customerId":`+ref("CUSTOMER", customer)), deviceDown(lamp, "lamp", "")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{
			Entity: `{"id":{"id":"` + text(99) + `"},"createdTime":7,"deviceId":` + ref("DEVICE", meter) +
				`,"credentialsType":"ACCESS_TOKEN","credentialsId":"meter-token","credentialsValue":null}`,
		}},
		AssetUpdateMsg: []*proto.AssetUpdateMsg{{
			IdMSB: am, IdLSB: al,
			Entity: `{"id":` + ref("ASSET", hall) + `,"name":"hall","type":"default","customerId":` + ref("CUSTOMER", customer) + `}`,
		}},
	})
}

// answer is what the API said.
type answer struct {
	status int
	head   http.Header
	body   string
}

// send sends a request as somebody: "admin@x", "user@x", or "" for nobody.
func (r *rig) send(as, method, path, body string) answer {
	r.Helper()
	q := httptest.NewRequest(method, path, strings.NewReader(body))
	if as != "" {
		q.Header.Set("X-Authorization", "Bearer "+r.token(as))
	}
	return r.do(q)
}

func (r *rig) do(q *http.Request) answer {
	w := httptest.NewRecorder()
	r.api.ServeHTTP(w, q)
	b, _ := io.ReadAll(w.Result().Body)
	return answer{w.Code, w.Result().Header, string(b)}
}

func (r *rig) login(name, word string) answer {
	r.Helper()
	b, _ := json.Marshal(map[string]string{"username": name, "password": word})
	return r.send("", "POST", "/api/auth/login", string(b))
}

func (r *rig) token(as string) string {
	r.Helper()
	if r.tokens[as] == "" {
		a := r.login(as, password)
		var t struct{ Token string }
		if json.Unmarshal([]byte(a.body), &t) != nil || t.Token == "" {
			r.Fatalf("login of %s: %d %s", as, a.status, a.body)
		}
		r.tokens[as] = t.Token
	}
	return r.tokens[as]
}

// events are those that came into the queue since the last look: action, kind, entity, content.
func (r *rig) events() (list []string) {
	r.Helper()
	err := r.reader.Read(func(e *wal.Entry) bool {
		content, _, err := proto.AppendContent(nil, e.Fragment)
		if err != nil {
			r.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%v %v %s", proto.Action(e.Action), proto.Kind(e.Kind), content))
		return true
	})
	if err != nil {
		r.Fatal(err)
	}
	return list
}

// contains reports whether got has everything that want has: objects may have more members.
func contains(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, v := range w {
			if !ok || !contains(g[k], v) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !contains(g[i], w[i]) {
				return false
			}
		}
		return true
	}
	return got == want
}

// has demands JSON that has everything that want has; an empty want demands nothing at all.
func (r *rig) has(what, got, want string) {
	r.Helper()
	if want == "" {
		if got != "" {
			r.Errorf("%s: %s, want nothing", what, got)
		}
		return
	}
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		r.Fatalf("%s: %v", want, err)
	}
	if json.Unmarshal([]byte(got), &g) != nil || !contains(g, w) {
		r.Errorf("%s: %s, want %s", what, got, want)
	}
}
