package cli

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// The service manager hears that the agent serves, that it lives while its loop turns, and that it
// stops; a hint says nothing.
func TestTellsTheServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	hear := func() string {
		t.Helper()
		buf := make([]byte, 256)
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=100000"}
	r := s.start()
	if got := hear(); got != "READY=1" {
		t.Errorf("first it heard %q", got)
	}
	for range 3 {
		if got := hear(); got != "WATCHDOG=1" {
			t.Errorf("it heard %q, and nothing had happened", got)
		}
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	for {
		got := hear()
		if got == "WATCHDOG=1" {
			continue
		}
		if got != "STOPPING=1" {
			t.Errorf("at the end it heard %q", got)
		}
		return
	}
}

// A manager that is gone is no reason not to serve.
func TestServesWithoutItsServiceManager(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.env = []string{"NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "gone")}
	r := s.synced()
	if code, _ := post(r.http, "token-1", `{"a":1}`); code != 200 {
		t.Errorf("a device got %d", code)
	}
}
