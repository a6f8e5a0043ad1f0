package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Programs that were written for ThingsBoard, unchanged but for the address. They wait more than
// they work, so these tests run side by side.

// absent ends a test that lacks what scripts/ci/prepare installs. In CI that is a failure.
func absent(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// installed is the path of a program from the distribution.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, "%s is not installed; scripts/ci/prepare clients does it", name)
	}
	return path
}

// drive runs a program that says "ready" when the cloud may act, and "ok" at its end.
func drive(t *testing.T, during func(), name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.TempDir()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if last = lines.Text(); last == "ready" {
			during()
		}
	}
	if err := cmd.Wait(); err != nil || last != "ok" {
		t.Errorf("%s %q: %v, %s\n%s", name, args, err, last, log.String())
	}
}

func TestMosquittoClients(t *testing.T) {
	t.Parallel()
	pub, sub := installed(t, "mosquitto_pub"), installed(t, "mosquitto_sub")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	host, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	d := s.mustBeNamed("station 0")
	n := 0
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			n++
			out, err := exec.Command(pub, "-V", version, "-h", host, "-p", port, "-u", "token-0", "-i", "client",
				"-q", qos, "-t", "v1/devices/me/telemetry",
				"-m", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1000+n, n)).CombinedOutput()
			if err != nil {
				t.Errorf("%s, QoS %s: %v\n%s", version, qos, err, out)
			}
		}
		out, err := exec.Command(pub, "-V", version, "-h", host, "-p", port, "-u", "wrong", "-t",
			"v1/devices/me/telemetry", "-m", "{}").CombinedOutput()
		if err == nil {
			t.Errorf("%s: a wrong token is let in\n%s", version, out)
		}
	}

	// Each connection has taken over from the one before, and nothing of that is lost.
	s.arrived(d, "n", n)

	// A subscriber gets what the cloud changes; so the first line ends it.
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		var said, errs bytes.Buffer
		cmd := exec.Command(sub, "-V", version, "-h", host, "-p", port, "-u", "token-1", "-i", "client", "-q", "1",
			"-t", "v1/devices/me/attributes", "-C", "1", "-W", "120", "-d")
		cmd.Stdout, cmd.Stderr = &said, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		station := s.mustBeNamed("station 1")
		// The subscription shows in nothing that can be waited for, so the attribute is set until
		// it is seen; the same value again counts.
		tick := time.NewTicker(200 * time.Millisecond)
		for ended := false; !ended; {
			select {
			case err := <-done:
				ended = true
				if !strings.Contains(said.String(), `{"fan":true}`) {
					t.Errorf("%s: %v, %s%s", version, err, said.String(), errs.String())
				}
			case <-tick.C:
				s.share(station, "fan", true)
			}
		}
		tick.Stop()
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl := installed(t, "curl")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	ask := func(args ...string) string {
		t.Helper()
		path := args[0]
		out, err := exec.Command(curl,
			append([]string{
				"-sS", "--fail-with-body", "--max-time", "120",
				"http://" + r.http + "/api/v1/token-0/" + path,
			}, args[1:]...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	d := s.mustBeNamed("station 0")
	ask("telemetry", "-d", `{"ts":1000,"values":{"n":"42"}}`)
	s.arrived(d, "n", 1)
	ask("attributes", "-H", "Content-Type: application/json", "-d", `{"fw":"1.2x"}`)
	if got := ask("attributes?clientKeys=fw"); got != `{"client":{"fw":"1.2x"}}` {
		t.Errorf("attributes: %s", got)
	}
	// A long poll answers a command of the cloud.
	answer := make(chan string, 1)
	go func() {
		got, err := s.cloud.CallRPC(context.Background(), d.ID, "setGpio", `{"pin":1}`, false, patience)
		answer <- fmt.Sprint(got, err)
	}()
	id, rest, _ := strings.Cut(strings.TrimPrefix(ask("rpc?timeout=20000"), `{"id":`), ",")
	if want := `"method":"setGpio","params":{"pin":1}}`; rest != want {
		t.Errorf("rpc: %s, want %s", rest, want)
	}
	ask("rpc/"+id, "-d", `{"ok":true}`)
	if got := <-answer; got != `{"ok":true}<nil>` {
		t.Errorf("the cloud got %s", got)
	}
}

func TestPahoGo(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "paho")
	if out, err := exec.Command("go", "build", "-C", filepath.Join("..", "..", "scripts", "clients", "paho"), "-o",
		bin, ".").CombinedOutput(); err != nil {
		absent(t, "the client cannot be built; scripts/ci/prepare clients downloads its module: %v\n%s", err, out)
	}
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	d := s.mustBeNamed("station 0")
	answer := make(chan string, 1)
	drive(t, func() {
		s.arrived(d, "n", 500)
		s.share(d, "fan", true)
		go func() {
			got, err := s.cloud.CallRPC(context.Background(), d.ID, "setGpio", `{"pin":1}`, false, patience)
			answer <- fmt.Sprint(got, err)
		}()
	}, bin, r.snapshot().MQTTAddress, "token-0")
	select {
	case got := <-answer:
		if got != `{"did":"it"}<nil>` {
			t.Errorf("the cloud got %s", got)
		}
	case <-time.After(2 * patience):
		t.Error("the cloud got no answer")
	}
}
