package cli

import (
	"os"
	"strings"
	"syscall"
	"testing"

	agent "edgesync/sync"
)

// What a person orders of a running agent is done, and SIGHUP puts in force what has changed in the
// configuration, or says that it waits for a restart.
func TestOrdersAndReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, t.TempDir())
	r := s.synced()
	said := func(want string, args ...string) {
		t.Helper()
		if out, code := s.tool(args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: %d, %s", args, code, out)
		}
	}
	said("logs from debug on", "log", "debug")
	said("the log level was changed", "log")
	if out, code := s.tool("log", "loud"); code != 2 || !strings.Contains(out, "one of debug, info, warn, error") {
		t.Errorf("%d, %s", code, out)
	}
	sessions := s.cloud.Stats().Accepted
	said("connects anew", "reconnect")
	s.eventually("another session", func() bool { return s.cloud.Stats().Accepted == sessions+1 })
	s.eventually("the sync of that", func() bool { n := r.snapshot(); return n.State == agent.Connected && n.Sync == "" })
	syncs := s.cloud.Stats().Syncs
	said("asks the cloud", "sync")
	s.eventually("another sync", func() bool { return s.cloud.Stats().Syncs > syncs })

	hup := func(old, replaced string) {
		t.Helper()
		text, err := os.ReadFile(s.config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), old, replaced, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	logged := func(text string) {
		t.Helper()
		s.eventually(text, func() bool { return strings.Contains(r.log.String(), text) })
	}
	hup("[batch]\ntimeout = \"50ms\"", "[batch]\ntimeout = \"70ms\"\nsize = 7")
	logged(`msg="the configuration was read again" changed="batch.size, batch.timeout"`)
	hup(s.edge.Secret, s.edge.Secret+"x")
	logged(`msg="settings have changed that need a restart" settings=cloud.routing_secret`)
	s.eventually("the status says so", func() bool {
		return strings.Contains(strings.Join(r.snapshot().ExtraWarnings, "\n"), "need a restart: cloud.routing_secret")
	})
	hup("size = 7", "size = 0")
	logged("the configuration was not read again: it is wrong")
	if strings.Contains(r.log.String(), s.edge.Secret) {
		t.Error("the secret is in the log")
	}

	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	s.writeConfig(s.edge.Secret)
	if out, code := s.tool("reconnect"); code != 1 || !strings.Contains(out, "no agent runs on ") {
		t.Errorf("%d, %s", code, out)
	}
}
