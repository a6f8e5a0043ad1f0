package notify_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgesync/sync/notify"
)

type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// listen plays the manager on a socket of this name.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSend(t *testing.T) {
	for name, path := range map[string]string{
		"path": filepath.Join(t.TempDir(), "notify"), "abstract": "@edgesync-notify-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			manager := listen(t, path)
			s, err := notify.Open(environment{"NOTIFY_SOCKET": path}.lookup)
			if err != nil {
				t.Fatal(err)
			}
			for _, state := range []string{notify.Ready, notify.Alive, notify.Stopping} {
				if err := s.Send(state); err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 64)
				n, err := manager.Read(buf)
				if err != nil || string(buf[:n]) != state {
					t.Errorf("the manager heard %q, %v, want %q", buf[:n], err, state)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	s, err := notify.Open(environment{}.lookup)
	if err != nil || s.Every() != 0 {
		t.Errorf("%v, %v", s.Every(), err)
	}
	if err := s.Send(notify.Ready); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "missing")
	s, err = notify.Open(environment{"NOTIFY_SOCKET": path}.lookup)
	if err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
		t.Errorf("a socket that is not there: %v", err)
	}
	if err := s.Send(notify.Ready); err != nil { // an agent goes on without it
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	listen(t, path)
	self := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"120000000", "", time.Minute},
		{"120000000", self, time.Minute},
		{"120000000", self + "0", 0},
		{"", "", 0},
		{"-5", "", 0},
		{"1", "", 0},
		{"soon", "", 0},
		{"99999999999999999", "", 0},
	} {
		e := environment{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": c.usec}
		if c.pid != "" {
			e["WATCHDOG_PID"] = c.pid
		}
		s, err := notify.Open(e.lookup)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Every(); got != c.want {
			t.Errorf("WATCHDOG_USEC=%q WATCHDOG_PID=%q: %v, want %v", c.usec, c.pid, got, c.want)
		}
		s.Close()
	}
}
