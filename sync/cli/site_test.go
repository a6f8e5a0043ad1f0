package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/status"
)

// asAgent makes the test binary be the agent, so that tests can kill a real process of exactly this
// code.
const asAgent = "TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(Main(Build{Version: "dev"}))
	}
	os.Exit(m.Run())
}

// site is a cloud in a box on a real port, and a data directory for agents.
type site struct {
	*testing.T
	cloud  *cloudtest.Cloud
	edge   cloudtest.Edge
	addr   string
	dir    string
	config string
	link   string // keys of [cloud] beside who we are
	extra  string
	env    []string // of the agents
	exe    string   // the agent; "" is the test binary
	floods sync.Mutex
}

func newSite(t *testing.T, dir string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes and listens on ports; left out of -short")
	}
	s := &site{T: t, dir: dir, cloud: cloudtest.New(cloudtest.Options{})}
	tenant := s.cloud.Tenant()
	tenant.SetWidgetTypes(20)
	s.edge = cloudtest.Edge{
		ID: tenant.NewID(), Name: "edge", Type: "default", RoutingKey: "key",
		Secret: "s3cr3t-of-the-edge", Customer: proto.NullUUID, Created: time.Now().Add(-time.Hour),
	}
	tenant.AddEdge(s.edge)
	for i := range 3 {
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
			ID: tenant.NewID(), Name: fmt.Sprint("station ", i),
			CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("token-", i),
		})
	}
	s.listen("127.0.0.1:0")
	t.Cleanup(s.cloud.Stop)
	return s
}

func (s *site) listen(addr string) {
	s.Helper()
	var lis net.Listener
	s.eventually("listen on "+addr, func() bool {
		var err error
		lis, err = net.Listen("tcp", addr)
		return err == nil
	})
	s.addr = lis.Addr().String()
	go s.cloud.Serve(lis)
}

const patience = rig.Patience

func (s *site) eventually(what string, ok func() bool) {
	s.Helper()
	rig.Eventually(s.T, what, ok)
}

func (s *site) writeConfig(secret string) {
	s.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	s.config = filepath.Join(s.TempDir(), "config.toml")
	text := fmt.Sprintf("data_dir = %q\n[cloud]\nhost = %q\nport = %s\nrouting_key = \"key\"\nrouting_secret = %q\n%s"+
		"[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n"+
		"[reconnect]\ninterval = \"100ms\"\nmax_interval = \"500ms\"\n[batch]\ntimeout = \"50ms\"\n%s",
		s.dir, host, port, secret, s.link, s.extra)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *site) command(args ...string) *exec.Cmd {
	exe := s.exe
	if exe == "" {
		exe = os.Args[0]
	}
	cmd := exec.Command(exe, append(args, "--config", s.config)...)
	cmd.Env = append(append(os.Environ(), asAgent+"=1"), s.env...)
	return cmd
}

// tool runs the program as a process of its own on the site's directory.
func (s *site) tool(args ...string) (out string, code int) {
	s.Helper()
	cmd := s.command(args...)
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

func (s *site) start() *running {
	s.Helper()
	if s.config == "" {
		s.writeConfig(s.edge.Secret)
	}
	r := &running{site: s}
	cmd := s.command("run")
	cmd.Stderr = &r.log
	var err error
	if r.Process, err = rig.StartProcess("the agent", cmd); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		r.Kill()
		if text := r.log.String(); strings.Contains(text, "panic") {
			s.Errorf("the agent's log:\n%s", text)
		}
	})
	s.eventually("the agent says where its door is", func() bool {
		select {
		case <-r.Done():
			s.Fatalf("the agent ended: %v\n%s", r.Err(), &r.log)
		default:
		}
		snap, err := status.Fetch(s.dir)
		r.http = snap.HTTPAddress
		return err == nil && snap.Running && r.http != ""
	})
	return r
}

// synced starts an agent that knows its devices.
func (s *site) synced() *running {
	s.Helper()
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	return r
}

// named is the device of that name in the cloud.
func (s *site) named(name string) (d cloudtest.Device, ok bool) {
	for _, d := range s.cloud.Tenant().Devices() {
		if d.Name == name {
			return d, true
		}
	}
	return d, false
}

func (s *site) mustBeNamed(name string) cloudtest.Device {
	s.Helper()
	var d cloudtest.Device
	s.eventually("the cloud knows "+name, func() bool {
		var ok bool
		d, ok = s.named(name)
		return ok
	})
	return d
}

// arrived waits until the cloud has so many rows of a key.
func (s *site) arrived(d cloudtest.Device, key string, rows int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d rows of %s of %s", rows, key, d.Name),
		func() bool { return len(s.cloud.Tenant().Series(d.ID, key)) == rows })
}

func (s *site) share(d cloudtest.Device, key string, value bool) {
	s.cloud.SetSharedAttributes(d.ID, []*proto.KeyValueProto{{Key: key, Type: proto.KeyValueType_BOOLEAN_V, BoolV: value}}, true)
}

// running is an agent process.
type running struct {
	*site
	*rig.Process
	log  rig.Log
	http string
}

func (r *running) snapshot() agent.Snapshot {
	snap, err := status.Fetch(r.dir)
	if err != nil {
		return agent.Snapshot{}
	}
	return snap
}

// insist is post by a device that posts again when its connection ends without an answer, as the
// agent may end one that makes no progress while the machine is busy.
func (r *running) insist(token, body string) (code int) {
	for range 3 {
		if code, _ = post(r.http, token, body); code != 0 {
			break
		}
		r.Logf("no answer to a post of %d bytes; the agent's log:\n%s", len(body), &r.log)
	}
	return code
}

// post posts telemetry and returns status and headers; 0 and nil without an answer.
func post(addr, token, body string) (int, http.Header) {
	client := http.Client{Timeout: patience}
	res, err := client.Post("http://"+addr+"/api/v1/"+token+"/telemetry", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header
}

func balanced(t *testing.T, s agent.Snapshot) {
	t.Helper()
	if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
		t.Errorf("accepted %d != deployed %d + pending %d + dropped %d + dead %d + damaged %d", s.Accepted,
			s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	}
}

// admin logs in and returns the token.
func (r *running) admin() string {
	r.Helper()
	res, err := http.Post("http://"+r.http+"/api/auth/login", "application/json",
		strings.NewReader(`{"username":"`+cloudtest.AdminName+`","password":"`+cloudtest.AdminPassword+`"}`))
	if err != nil {
		r.Fatal(err)
	}
	defer res.Body.Close()
	var j struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&j); err != nil || j.Token == "" {
		r.Fatalf("%s, %v", res.Status, err)
	}
	return j.Token
}
