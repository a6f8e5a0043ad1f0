package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
	"edgesync/sync/status"
)

// asAgent makes the test binary be the agent, so that tests can kill a real process of exactly this code.
const asAgent = "TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(Main(Build{Version: "dev"}))
	}
	os.Exit(m.Run())
}

// site is a cloud in a box on a real port and a place for agents.
type site struct {
	*testing.T
	cloud  *cloudtest.Cloud
	edge   cloudtest.Edge
	addr   string
	dir    string
	config string
	extra  string
	env    []string // of the agents
	exe    string   // the agent; "" is the test binary
}

func newSite(t *testing.T, dir string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes and listens on ports; left out of -short")
	}
	s := &site{T: t, dir: dir, cloud: cloudtest.New(cloudtest.Options{})}
	tenant := s.cloud.Tenant()
	tenant.SetWidgetTypes(20)
	s.edge = cloudtest.Edge{ID: tenant.NewID(), Name: "edge", Type: "default", RoutingKey: "key", Secret: "s3cr3t-of-the-edge", Customer: proto.NullUUID, Created: time.Now().Add(-time.Hour)}
	tenant.AddEdge(s.edge)
	for i := range 3 {
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{ID: tenant.NewID(), Name: fmt.Sprint("station ", i), CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("token-", i)})
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

// eventually polls, because other processes tell nothing when they change.
func (s *site) eventually(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited too long: %s", what)
		}
	}
}

// running is an agent process.
type running struct {
	*site
	cmd  *exec.Cmd
	log  *bytes.Buffer
	http string
	done chan error
}

func (s *site) writeConfig(secret string) {
	s.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	s.config = filepath.Join(s.TempDir(), "config.toml")
	text := fmt.Sprintf("data_dir = %q\n[cloud]\nhost = %q\nport = %s\nrouting_key = \"key\"\nrouting_secret = %q\n[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n"+
		"[reconnect]\ninterval = \"100ms\"\nmax_interval = \"500ms\"\n[batch]\ntimeout = \"50ms\"\n%s", s.dir, host, port, secret, s.extra)
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

func (s *site) start() *running {
	s.Helper()
	if s.config == "" {
		s.writeConfig(s.edge.Secret)
	}
	r := &running{site: s, cmd: s.command("run"), log: new(bytes.Buffer), done: make(chan error, 1)}
	r.cmd.Stderr = r.log
	if err := r.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go func() { r.done <- r.cmd.Wait() }()
	s.Cleanup(func() { r.cmd.Process.Kill() })
	s.eventually("the agent says where its door is", func() bool {
		select {
		case err := <-r.done:
			s.Fatalf("the agent ended: %v\n%s", err, r.log)
		default:
		}
		snap, err := status.Fetch(s.dir)
		r.http = snap.HTTPAddress
		return err == nil && snap.Running && r.http != ""
	})
	return r
}

func (r *running) kill() {
	r.cmd.Process.Kill()
	<-r.done
}

func (r *running) snapshot() agent.Snapshot {
	snap, err := status.Fetch(r.dir)
	if err != nil {
		return agent.Snapshot{}
	}
	return snap
}

// post returns the status of a telemetry post, 0 if there was none.
func post(addr, token, body string) (int, http.Header) {
	client := http.Client{Timeout: 5 * time.Second}
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
		t.Errorf("accepted %d != deployed %d + pending %d + dropped %d + dead %d + damaged %d", s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	}
}

// Devices post until they hear 200; the agent is killed again and again, the link cut in between. Every reading is in the cloud, and
// each station's readings arrived in order.
func TestNothingIsLostThroughKills(t *testing.T) {
	const kills, readings = 6, 400
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	var address sync.Map // "" while there is no agent
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	address.Store("a", r.http)
	var stations sync.WaitGroup
	progress := make(chan struct{}, 3*readings)
	for i := range 3 {
		stations.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for n := 1; n <= readings; n++ {
				body := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1767225600000+int64(n), n)
				for {
					<-pause.C
					a, _ := address.Load("a")
					if code, _ := post(a.(string), fmt.Sprint("token-", i), body); code == http.StatusOK {
						break
					} else if code/100 == 4 {
						t.Errorf("station %d: status %d", i, code)
						return
					}
				}
				progress <- struct{}{}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for k := range kills {
		for range 3*readings/(kills+2) + random.IntN(20) {
			<-progress
		}
		if k == 2 {
			s.cloud.Stop()
		}
		r.kill()
		if k == 3 {
			s.listen(s.addr)
		}
		r = s.start()
		address.Store("a", r.http)
	}
	stations.Wait()
	s.eventually("the backlog drains", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending == 0 })
	balanced(t, r.snapshot())
	duplicates := 0
	for _, d := range s.cloud.Tenant().Devices() {
		rows := s.cloud.Tenant().Series(d.ID, "n")
		if len(rows) != readings {
			t.Errorf("%s: %d of %d readings arrived", d.Name, len(rows), readings)
		}
		for i, row := range rows {
			if row.TS != 1767225600000+int64(i)+1 || row.Value.Long != int64(i)+1 {
				t.Fatalf("%s: row %d is %+v", d.Name, i, row)
			}
			duplicates += row.Writes - 1
		}
		high := int64(0)
		for _, ts := range s.cloud.Tenant().Arrivals(d.ID, "n") {
			if ts < high {
				t.Errorf("%s: %d arrived behind %d", d.Name, ts, high)
			}
			high = ts
		}
	}
	t.Logf("%d kills, %d readings, %d duplicates", kills, 3*readings, duplicates)
}

// What the cloud has provisioned is kept: devices are served after a restart without a cloud, and after an unassignment no more.
func TestServesDevicesWithoutCloud(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	s.cloud.Stop()
	r.kill()
	r = s.start()
	if code, _ := post(r.http, "token-1", `{"a":1}`); code != http.StatusOK {
		t.Errorf("a known device got %d", code)
	}
	if code, _ := post(r.http, "token-9", `{"a":1}`); code != http.StatusUnauthorized {
		t.Errorf("an unknown device got %d", code)
	}
	res, err := http.Get("http://" + r.http + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %d", res.StatusCode)
	}
	for _, d := range s.cloud.Tenant().Devices() {
		if d.CredentialsID == "token-1" {
			s.cloud.UnassignDevice(d.ID) // the edge hears nothing of it: it is away (wire contract 3.5)
		}
	}
	s.listen(s.addr)
	s.eventually("the next sync finds the device gone", func() bool {
		code, _ := post(r.http, "token-1", `{"a":1}`)
		return code == http.StatusUnauthorized
	})
	if code, _ := post(r.http, "token-2", `{"a":1}`); code != http.StatusOK {
		t.Errorf("a device that stays got %d", code)
	}
}

// A wrong secret: the reason in words, the secret nowhere.
func TestWrongSecret(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.writeConfig("not-the-right-secret")
	r := s.start()
	s.eventually("the refusal", func() bool { return strings.Contains(r.snapshot().LastError, "check cloud.routing_secret") })
	b, err := json.Marshal(r.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-r.done; err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if all := string(b) + r.log.String(); strings.Contains(all, "not-the-right-secret") || !strings.Contains(all, "***") {
		t.Errorf("the secret is not masked in: %s", all)
	}
}

// Where only a proxy knows the way to the cloud, HTTPS_PROXY names it, and the cloud's name is the proxy's to resolve (wire contract 9).
func TestThroughAProxy(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	asked := make(chan string, 64)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		there, err := net.Dial("tcp", s.addr)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, rest, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go io.Copy(there, rest)
		io.Copy(here, there)
	}))
	defer proxy.Close()
	s.writeConfig(s.edge.Secret)
	s.env = []string{"HTTPS_PROXY=" + proxy.URL, "EDGESYNC_CLOUD_HOST=cloud.invalid", "EDGESYNC_CLOUD_PORT=7070"}
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	if got := <-asked; got != "CONNECT cloud.invalid:7070" {
		t.Errorf("the proxy was asked %s", got)
	}
	if code, _ := post(r.http, "token-0", `{"ts":1,"values":{"a":1}}`); code != http.StatusOK {
		t.Fatalf("post: %d", code)
	}
	s.eventually("the event to arrive", func() bool { return r.snapshot().Deployed == 1 })
	r.kill()
	s.cloud.Stop()
}

// One agent a data directory; the second tells so and leaves, with its own exit code.
func TestSecondAgentOnOneDirectory(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.start()
	second := s.command("run")
	out, err := second.CombinedOutput()
	if code := second.ProcessState.ExitCode(); err == nil || code != exitLocked {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, _ := post(r.http, "nobody", `{}`); code != http.StatusUnauthorized {
		t.Errorf("the first agent answers %d", code)
	}
}

// SIGTERM ends the agent in time although the cloud neither answers nor closes.
func TestStopsInTime(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	s.cloud.Stall(true)
	if code, _ := post(r.http, "token-0", `{"ts":1,"values":{"a":1}}`); code != http.StatusOK {
		t.Fatalf("post: %d", code)
	}
	began := time.Now()
	r.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-r.done; err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, r.log)
	}
	if took := time.Since(began); took > stopLimit {
		t.Errorf("the stop took %v", took)
	}
	s.cloud.Stall(false)
	r = s.start()
	s.eventually("the event arrives after the restart", func() bool { n := r.snapshot(); return n.Accepted == 1 && n.Deployed == 1 })
}

// A disk filled by others: devices are refused with Retry-After, nothing accepted is lost, service returns by itself.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a small tmpfs")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	s := newSite(t, filepath.Join(mount, "data"))
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	s.cloud.Stop() // so that nothing drains
	ballast := filepath.Join(mount, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	f.Close()
	accepted, refused := 0, false
	padding := strings.Repeat("x", 2000)
	for n := 1; n <= 100 && !refused; n++ {
		code, head := post(r.http, "token-0", fmt.Sprintf(`{"ts":%d,"values":{"n":%d,"p":%q}}`, 1000+n, n, padding))
		switch code {
		case http.StatusOK:
			accepted = n
		case http.StatusServiceUnavailable:
			refused = true
			if head.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		default:
			t.Fatalf("status %d", code)
		}
	}
	if !refused {
		t.Fatal("a full disk accepts for ever")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.eventually("service returns", func() bool {
		code, _ := post(r.http, "token-0", `{"ts":5000,"values":{"n":5000}}`)
		return code == http.StatusOK
	})
	s.listen(s.addr)
	s.eventually("the backlog drains", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending == 0 })
	balanced(t, r.snapshot())
	for _, d := range s.cloud.Tenant().Devices() {
		if d.CredentialsID != "token-0" {
			continue
		}
		if rows := s.cloud.Tenant().Series(d.ID, "n"); len(rows) != accepted+1 {
			t.Errorf("%d rows, %d were accepted", len(rows), accepted+1)
		}
	}
}
