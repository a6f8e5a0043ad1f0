package rig

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// asChild makes the test binary a child process that waits for its end.
const asChild = "RIG_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "":
		os.Exit(m.Run())
	case "fails":
		os.Exit(3)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	select {}
}

func child(t *testing.T, what string) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asChild+"="+what)
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := StartProcess("the child", cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if what == "waits" {
		if _, err := ready.Read(make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestProcess(t *testing.T) {
	p := child(t, "waits")
	select {
	case <-p.Done():
		t.Fatal("ended by itself")
	default:
	}
	p.Kill()
	p.Kill() // a second time does nothing
	if err := p.Err(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("killed: %v", err)
	}
	if err := child(t, "waits").Stop(); err == nil || err.Error() != "the child ended badly: signal: terminated" {
		t.Errorf("stopped: %v", err)
	}
	if err := child(t, "fails").Err(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("failed: %v", err)
	}
	if _, err := StartProcess("nothing", exec.Command("/nonexistent")); err == nil || !strings.HasPrefix(err.Error(), "start nothing: ") {
		t.Errorf("not started: %v", err)
	}
}

// pair returns both ends of a new connection over l.
func pair(t *testing.T, l *Link) (agent, cloud net.Conn) {
	t.Helper()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	agent, err := l.Dial(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if cloud = <-accepted; cloud == nil {
		t.Fatal("nothing was accepted")
	}
	return agent, cloud
}

// read returns what arrives at c within a second, and "" if nothing does.
func read(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	if late, ok := err.(net.Error); ok && late.Timeout() {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLink()
		defer l.Close()
		agent, cloud := pair(t, l)
		say := func(from net.Conn, text string) {
			t.Helper()
			if n, err := from.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("wrote %d bytes: %v", n, err)
			}
		}
		expect := func(what string, at net.Conn, want string) {
			t.Helper()
			if got := read(t, at); got != want {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
		say(agent, "up")
		expect("up", cloud, "up")
		say(cloud, "down")
		expect("down", agent, "down")
		l.Swallow.Store(true)
		say(agent, "lost")
		expect("swallowed", cloud, "")
		l.Swallow.Store(false)
		say(agent, "up")
		expect("up again", cloud, "up")
		l.Hang()
		say(agent, "lost")
		say(cloud, "down")
		expect("down of a hung link", agent, "down")
		agent.Close()
		expect("the end of a hung link", cloud, "")

		agent, cloud = pair(t, l)
		agent.Close()
		expect("the end", cloud, "EOF")

		agent, cloud = pair(t, l)
		l.Freeze()
		say(cloud, "lost")
		go func() { time.Sleep(5 * time.Second); agent.Close() }()
		begin := time.Now()
		if n, err := agent.Read(make([]byte, 16)); n != 0 || !errors.Is(err, net.ErrClosed) || time.Since(begin) != 5*time.Second {
			t.Errorf("a frozen link: %d bytes, %v, after %v", n, err, time.Since(begin))
		}

		l.Refuse.Store(true)
		if _, err := l.Dial(t.Context(), ""); err == nil {
			t.Error("a refused dial succeeds")
		}
		l.Refuse.Store(false)
		l.Hole.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin = time.Now()
		if _, err := l.Dial(ctx, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("a dial into a hole: %v after %v", err, time.Since(begin))
		}
	})
}

func TestGo(t *testing.T) {
	ended := 0
	halt := Go(t.Context(), func(ctx context.Context) { <-ctx.Done(); ended++ })
	halt()
	halt()
	if ended != 1 {
		t.Errorf("ended %d times", ended)
	}
}

func TestLog(t *testing.T) {
	var l Log
	l.Logger().Debug("hello", "n", 1)
	if got := l.String(); !strings.HasSuffix(got, "level=DEBUG msg=hello n=1\n") {
		t.Errorf("%q", got)
	}
	l.Reset()
	if got := l.String(); got != "" {
		t.Errorf("after the reset: %q", got)
	}
}

func TestWatcher(t *testing.T) {
	var w Watcher
	var _ registry.Watcher = &w
	w.DeviceChanged(registry.Device{Name: "d"}, registry.DeviceRenamed)
	w.SharedAttributes(proto.UUID{}, []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_BOOLEAN_V, Bool: true}}, []string{"gone"})
	changes, shared := w.Take()
	if len(changes) != 1 || !strings.HasPrefix(changes[0], "d ") || !slices.Equal(shared, []string{"k=true", "-gone"}) {
		t.Errorf("%q, %q", changes, shared)
	}
	if changes, shared = w.Take(); changes != nil || shared != nil {
		t.Errorf("taken twice: %q, %q", changes, shared)
	}
}

func TestData(t *testing.T) {
	dir := t.TempDir()
	var log Log
	for range 2 { // opened again after it was closed
		d := OpenData(t, dir, log.Logger(), nil)
		if got := d.Queue.Committed().Offset; got != 0 {
			t.Errorf("committed %d", got)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("logged: %s", log.String())
	}
}
