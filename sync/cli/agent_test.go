package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	agent "edgesync/sync"
)

// What the cloud has provisioned is kept: devices are served after a restart without a cloud. After
// an unassignment they are not served any more.
func TestServesDevicesWithoutCloud(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	s.cloud.Stop()
	r.Kill()
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
			s.cloud.UnassignDevice(d.ID) // the edge is away, and gets no message (CONTRACT.md 3.5)
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

// The status says in words that the secret is wrong, and shows the secret nowhere.
func TestWrongSecret(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.writeConfig("not-the-right-secret")
	r := s.start()
	s.eventually("the refusal", func() bool { return strings.Contains(r.snapshot().LastError, "check cloud.routing_secret") })
	b, err := json.Marshal(r.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if all := string(b) + r.log.String(); strings.Contains(all, "not-the-right-secret") || !strings.Contains(all, "***") {
		t.Errorf("the secret is not masked in: %s", all)
	}
}

// tunnel joins a client of a proxy, which asked with CONNECT, and the site's cloud.
func (s *site) tunnel(w http.ResponseWriter) {
	there, err := net.Dial("tcp", s.addr)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.Error(err)
		return
	}
	defer here.Close()
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	go io.Copy(there, rest)
	io.Copy(here, there)
}

// Where only a proxy knows the way to the cloud, HTTPS_PROXY names it, and the cloud's name is the
// proxy's to resolve (CONTRACT.md 9).
func TestThroughAProxy(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	asked := make(chan string, 64)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		s.tunnel(w)
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
	r.Kill()
	s.cloud.Stop()
}

// A proxy that demands a user and a password gets those of HTTPS_PROXY. They stand neither in the
// log nor in the status, whether the proxy takes them or not.
func TestProxyPassword(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	var closed atomic.Bool // the password is not the right one any more
	closed.Store(true)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Proxy-Authorization")
		if given != "Basic YW5uOmh1c2gvaHVzaA==" || closed.Load() { // ann:hush/hush
			w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
			http.Error(w, "who is hush, who shows "+given, http.StatusProxyAuthRequired)
			return
		}
		s.tunnel(w)
	}))
	defer proxy.Close()
	addr := proxy.Listener.Addr().String()
	s.writeConfig(s.edge.Secret)
	s.env = []string{"HTTPS_PROXY=http://ann:hush%2Fhush@" + addr, "EDGESYNC_CLOUD_HOST=cloud.invalid", "EDGESYNC_CLOUD_PORT=7070"}
	r := s.start()
	said := "the proxy " + addr + " refuses the user and the password (407 Proxy Authentication Required): check those in HTTPS_PROXY"
	s.eventually("the refusal", func() bool { return r.snapshot().LastError == said })
	text, _ := s.tool("status")
	closed.Store(false)
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	b, err := json.Marshal(r.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if !strings.Contains(text, said) || !strings.Contains(r.log.String(), said) {
		t.Errorf("the status or the log does not say %q:\n%s\n%s", said, text, r.log.String())
	}
	all := text + string(b) + r.log.String()
	for _, secret := range []string{"hush", "YW5u", "ann:"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is shown in: %s", secret, all)
		}
	}
}

// One agent a data directory; a second one says so and ends, with an exit code of its own.
func TestSecondAgentOnOneDirectory(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
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
	if err := r.Stop(); err != nil { // after stopLimit the agent ends itself, with exitFailed
		t.Errorf("SIGTERM: %v\n%s", err, &r.log)
	}
	s.cloud.Stall(false)
	r = s.start()
	s.eventually("the event arrives after the restart", func() bool { n := r.snapshot(); return n.Accepted == 1 && n.Deployed == 1 })
}

// While others fill the disk devices are refused with Retry-After; nothing accepted is lost, and
// service returns by itself.
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

// While a sync runs the collector keeps the heap smaller than otherwise.
func TestSyncMemory(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	syncMemory(true)
	windowMemory(true)
	syncMemory(false)
	during := debug.SetGCPercent(100)
	windowMemory(false)
	if after := debug.SetGCPercent(100); during != tightGCPercent || after != gcPercent || tightGCPercent >= gcPercent {
		t.Errorf("%d %% during a sync, %d %% after it", during, after)
	}
}

// Until this host, port and TLS setting have worked, a failure says what to configure; afterwards,
// over restarts too, until when they worked: in the status, its JSON and the log.
func TestAdviceOnlyUntilItWorked(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, other, _ := net.SplitHostPort(lis.Addr().String())
	lis.Close()
	utc := []string{"TZ=UTC"}
	elsewhere := append(utc, "EDGESYNC_CLOUD_PORT="+other)
	const advice, before = "check cloud.host and cloud.port", "; it worked "
	says := func(r *running, never, want string) {
		t.Helper()
		s.eventually("the words "+want, func() bool { return strings.Contains(r.snapshot().LastError, want) })
		for where, all := range map[string]string{"JSON": r.snapshot().LastError, "log": r.log.String()} {
			if !strings.Contains(all, want) || strings.Contains(all, never) {
				t.Errorf("%s: %s", where, all)
			}
		}
		// The headline counts the attempts in between, and says only once when the link worked.
		text, _ := s.tool("status")
		if what, _, _ := strings.Cut(want, before); !strings.Contains(text, what) || strings.Contains(text, never) {
			t.Errorf("status: %s", text)
		}
	}
	s.env = elsewhere
	r := s.start()
	says(r, before, "nothing listens there: "+advice)
	r.Kill()

	s.env = utc
	r = s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	r.Kill() // a power cut: what is known must be on flash
	s.cloud.Stop()
	r = s.start()
	says(r, advice, "nothing listens there; it worked at ")
	if err := r.Stop(); err != nil {
		t.Error(err)
	}

	s.listen(s.addr)
	r = s.start()
	s.eventually("the second sync", func() bool { return r.snapshot().Synced && r.snapshot().State >= agent.Draining })
	s.cloud.Stop()
	said := "nothing listens there; it worked until " + time.Now().UTC().Format("15:")
	if minute := time.Now().UTC().Minute(); minute == 0 || minute == 59 {
		said = "nothing listens there; it worked until "
	}
	says(r, advice, said)
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	r = s.start()
	says(r, advice, said)
	r.Kill()

	s.env = elsewhere
	r = s.start()
	says(r, before, "nothing listens there: "+advice)
}
