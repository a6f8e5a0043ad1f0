//go:build page

package browser

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
)

// hushed is the routing secret, which no diagnosis may hold.
const hushed = "hush-4711-0815"

// real is an agent that runs as a process, with a cloud in a box.
type real struct {
	*testing.T
	cloud         *cloudtest.Cloud
	edge, device  proto.UUID
	address, port string
	log           string // the file
}

// newReal starts both. The agent waits for hours between two attempts, and dead letters rest at
// once, so that nothing but what a person orders brings a connection or a retry.
func newReal(t *testing.T) *real {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "edgesync")
	build := exec.Command("go", "build", "-tags", "grpcnotrace,nethttpomithttp2", "-o", bin, "edgesync")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := &real{T: t, cloud: cloudtest.New(cloudtest.Options{Seed: 1}), log: filepath.Join(dir, "agent.log")}
	tenant := r.cloud.Tenant()
	tenant.SetWidgetTypes(5)
	r.edge, r.device = tenant.NewID(), tenant.NewID()
	tenant.AddEdge(cloudtest.Edge{ID: r.edge, Name: "Hall", RoutingKey: "key", Secret: hushed, Created: time.Now()})
	r.cloud.AddDevice(r.edge, cloudtest.Device{ID: r.device, Name: "Meter", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token"})
	r.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
		if strings.Contains(u.String(), `"bad"`) {
			return "Failed to process telemetry"
		}
		return ""
	})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = r.cloud.Serve(lis) }()
	t.Cleanup(r.cloud.Stop)
	_, cloudPort, _ := net.SplitHostPort(lis.Addr().String())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = free.Addr().String()
	_, r.port, _ = net.SplitHostPort(r.address)
	free.Close()
	log, err := os.Create(r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "run", "--data_dir="+filepath.Join(dir, "data"), "--cloud.host=127.0.0.1", "--cloud.port="+cloudPort,
		"--cloud.routing_key=key", "--http.listen="+r.address, "--mqtt.listen=", "--reconnect.interval=1h", "--reconnect.max_interval=2h",
		"--retry.max=1")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "EDGESYNC_CLOUD_ROUTING_SECRET="+hushed), log, log
	p, err := rig.StartProcess("the agent", cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	r.until("the first sync", func() bool { return r.cloud.Stats().SyncsCompleted > 0 })
	return r
}

// until waits for something that the cloud notices.
func (r *real) until(what string, ok func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	if err := r.cloud.WaitFor(ctx, ok); err != nil {
		b, _ := os.ReadFile(r.log)
		r.Fatalf("%s: %v\n%s", what, err, b)
	}
}

func (r *real) post(body string) {
	r.Helper()
	res, err := http.Post("http://"+r.address+"/api/v1/token/telemetry", "application/json", strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.Fatal(res.Status)
	}
}

// has reports whether the cloud has a value of the device.
func (r *real) has(key string) func() bool {
	return func() bool { return len(r.cloud.Tenant().Series(r.device, key)) == 1 }
}

// Each button of the overview does what it says to an agent that runs.
func TestRealActions(t *testing.T) {
	r := newReal(t)
	c := newChromium(t)
	n := c.open("http://"+r.address+"/", desktop)
	n.shows("state", "connected")
	n.shows("peer", "Hall")

	before := r.cloud.Stats().SyncsCompleted
	n.click("[data-do=sync]")
	n.shows("a-note", "A sync is asked for.")
	r.until("the sync", func() bool { return r.cloud.Stats().SyncsCompleted > before })

	r.cloud.Away(true)
	n.shows("state", "disconnected")
	r.cloud.Away(false)
	r.post(`{"ts":1767225600000,"values":{"waiting":1}}`)
	n.shows("t-pending", "1")
	n.click("[data-do=reconnect]")
	n.shows("a-note", "Connecting.")
	r.until("the connection", r.has("waiting"))
	n.shows("state", "connected")

	n.fill("#level", "debug")
	n.shows("a-note", "The log level is debug until the agent starts anew.")
	n.value("location.hash = 'log'")
	n.wait("document.querySelectorAll('#l-rows li').length > 0")
	n.value("location.hash = 'overview'")

	down := t.TempDir()
	n.call("", "Browser.setDownloadBehavior", args{"behavior": "allow", "downloadPath": down, "browserContextId": n.context}, nil)
	n.click("#bundle")
	n.shows("a-note", "The diagnosis is downloaded")
	var files []string
	for range 400 {
		if files, _ = filepath.Glob(filepath.Join(down, "edgesync-*.tar.gz")); len(files) == 1 {
			break
		}
		n.value("new Promise(f => setTimeout(f, 50))")
	}
	if len(files) != 1 {
		t.Fatalf("%d files are downloaded", len(files))
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || !strings.Contains(string(b), "routing_key") || strings.Contains(string(b), hushed) {
		t.Errorf("%d bytes of diagnosis, %v", len(b), err)
	}
	n.clean("actions of a real agent")
}

// What the cloud refuses is retried and dropped by hand.
func TestRealDeadLetters(t *testing.T) {
	r := newReal(t)
	c := newChromium(t)
	n := c.open("http://"+r.address+"/#refused", desktop)
	n.shows("d-note", "Nothing is refused.")
	for i := range 3 {
		r.post(fmt.Sprintf(`{"ts":%d,"values":{"v%d":"bad"}}`, 1767225600000+i, i))
	}
	r.post(`{"ts":1767225600009,"values":{"fine":1}}`) // others pass, so it is the events
	r.until("what is fine", r.has("fine"))
	rows := func(n int) string { return fmt.Sprintf("document.querySelectorAll('#d-rows .row').length === %d", n) }
	n.shows("n-dead", "3")
	n.value("location.hash = 'overview'")
	n.value("location.hash = 'refused'")
	n.wait(rows(3))
	n.shows("d-rows", "Failed to process telemetry")

	r.cloud.RefuseUplink(nil)
	n.click("#d-rows .row:nth-child(1) .line")
	n.click("#d-rows .more button")
	n.shows("d-note", "It is tried again now.")
	n.wait("document.getElementById('n-dead').innerText === '2'")
	n.value("location.hash = 'overview'")
	n.value("location.hash = 'refused'")
	n.wait(rows(2))

	n.click("#d-rows .row:nth-child(1) .line")
	n.click("#d-rows .more .danger")
	n.wait("document.getElementById('sure').open")
	n.click("#sure button:not(.danger)")
	n.wait("!document.getElementById('sure').open && " + rows(2))
	n.value("new Promise(f => setTimeout(f, 200))") // the dialog tells of its end a little later
	n.click("#d-rows .more .danger")
	n.click("#sure-y")
	n.shows("d-note", "1 event is dropped.")
	n.wait(rows(1))
	n.click("#d-retry")
	n.shows("d-note", "tried again")
	n.wait("document.getElementById('n-dead').innerText.trim() === ''")
	arrived := 0
	for i := range 3 {
		if r.has(fmt.Sprint("v", i))() {
			arrived++
		}
	}
	if arrived != 2 {
		t.Errorf("%d of the refused values are in the cloud, want the two that were retried", arrived)
	}
	n.value("location.hash = 'overview'")
	n.shows("account", "lost: person")
	n.clean("dead letters of a real agent")
}

// Who guesses passwords is slowed down and told so, and does not keep out who was here lately.
func TestRealLogin(t *testing.T) {
	r := newReal(t)
	c := newChromium(t)
	n := c.open("http://edge.test:"+r.port+"/#events", desktop)
	r.post(`{"ts":1767225600000,"values":{"recipe":"salt"}}`)
	login := func(user, password string) {
		t.Helper()
		n.shows("who", "Log in")
		if n.value("document.getElementById('login').open") != true {
			n.click("#who button")
			n.wait("document.getElementById('login').open")
		}
		n.value("document.getElementById('login-e').textContent = ''")
		n.fill("#login [name=user]", user)
		n.fill("#login [name=password]", password)
		n.click("#login [type=submit]")
	}
	login(cloudtest.AdminName, cloudtest.AdminPassword)
	n.shows("who", cloudtest.AdminName)
	n.shows("e-rows", "TIMESERIES_UPDATED")
	n.click("#who button")
	n.shows("e-note", "shown to who is logged in")
	const wrong, slow = "Invalid username or password", "Too many attempts; try again later"
	for i := range 14 {
		login("guest@example.org", fmt.Sprint("guess ", i))
		n.wait("document.getElementById('login-e').innerText !== ''")
		if said := n.text("login-e"); i < 10 && said != wrong || i >= 10 && said != wrong && said != slow {
			t.Errorf("wrong password %d: %q", i+1, said)
		}
	}
	if said := n.text("login-e"); said != slow {
		t.Errorf("after 14 wrong passwords: %q", said)
	}
	n.shot("login-slowed-desktop-light")
	c.mu.Lock()
	c.errors = nil // the answers to wrong passwords
	c.mu.Unlock()
	login(cloudtest.AdminName, cloudtest.AdminPassword)
	n.shows("who", cloudtest.AdminName)
	n.shows("e-rows", "TIMESERIES_UPDATED")
	n.clean("logged in to a real agent")
}
