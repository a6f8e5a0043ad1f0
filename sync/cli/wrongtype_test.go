package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgesync/sync/config"
	"edgesync/sync/status"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// otaID is the name of an OTA package's file.
const otaID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

// ownNames are all names that an agent gives to files and directories in data_dir.
var ownNames = []struct {
	name string
	dir  bool
}{
	{"lock", false},
	{"max_bytes", false},
	{"max_bytes.TEMP", false},
	{"clock", false},
	{"clock.TEMP", false},
	{"tally", false},
	{"tally.TEMP", false},
	{"minutes", false},
	{"minutes.TEMP", false},
	{"replay", false},
	{"replay.TEMP", false},
	{"trial.TEMP", false},
	{"agent.sock", false},
	{"link", false},
	{"corrupt", true},
	{"queue", true},
	{"queue/LOCK", false},
	{"queue/committed", false},
	{"queue/reserve", false},
	{"queue/reserve.TEMP", false},
	{"queue/00000000000000000001", false},
	{"queue/00000000000000000001.TEMP", false},
	{"queue/00000000000000000001.THIN", false},
	{"queue/00000000000000000001.START", false},
	{"queue/00000000000000000001.END", false},
	{"queue/00000000000000000400", false},
	{"dead", true},
	{"dead/letters", false},
	{"dead/letters.new", false},
	{"former", true},
	{"former/store", false},
	{"former/store.new", false},
	{"former/events-0", true},
	{"overflow", true},
	{"overflow/store", false},
	{"overflow/store.new", false},
	{"overflow/events-0", true},
	{"registry", true},
	{"registry/store", false},
	{"registry/store.new", false},
	{"registry/ota", true},
	{"registry/ota/" + otaID, false},
	{"registry/ota/" + otaID + ".TEMP", false},
}

// wrongTypes put something at a path where a file or a directory belongs.
var wrongTypes = []struct {
	name string
	put  func(path string) error
}{
	{"directory", func(path string) error { return os.Mkdir(path, 0o700) }},
	{"full directory", func(path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), 0o700) }},
	{"pipe", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
	{"link to nothing", func(path string) error { return os.Symlink("nowhere/at/all", path) }},
	{"link to itself", func(path string) error { return os.Symlink(filepath.Base(path), path) }},
	{"link to a device", func(path string) error { return os.Symlink("/dev/null", path) }},
	{"socket", func(path string) error {
		here, err := os.Open(filepath.Dir(path)) // a socket's name has 107 bytes
		if err != nil {
			return err
		}
		defer here.Close()
		name := fmt.Sprintf("/proc/self/fd/%d/%s", here.Fd(), filepath.Base(path))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return l.Close()
	}},
	{"file", func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) }},
}

// rooms opens what an agent opens in data_dir, as runAgent does, and closes it.
func rooms(dir string) (warnings []string, err error) {
	log := slog.New(slog.DiscardHandler)
	c := &config.Config{DataDir: dir}
	c.Registry.Keep = []string{"ota"}
	g := &gateway{program: &program{stderr: io.Discard}, config: c, log: log}
	defer g.close()
	for _, step := range []func() error{
		g.lock, g.openQueue, g.openDead, g.openFormer, g.openOverflow, g.openTally, g.openRegistry, g.openHistory, g.openMinutes,
		g.reportAside,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	sock, err := status.Serve(dir, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := sock.Close(); err != nil {
		return nil, err
	}
	if err := g.queue.Append(context.Background(), wal.Event{Fragment: []byte("x")}); err != nil {
		return nil, err
	}
	st := g.queue.Stats()
	if st.Accepted != st.Deployed+st.Pending+st.Dropped+st.Dead+st.Damaged {
		return nil, fmt.Errorf("unbalanced: %+v", st)
	}
	if err := g.dead.Put(wal.DeadLetter{Offset: 1}); err != nil {
		return nil, err
	}
	return g.warnings, nil
}

// Whatever stands where a file of the agent belongs, it starts, takes events, and reports what it
// has set aside; nothing of it is lost.
func TestWrongTypesAreSetAside(t *testing.T) {
	for _, own := range ownNames {
		for _, wrong := range wrongTypes {
			if own.dir == strings.HasSuffix(wrong.name, "directory") || own.name == "agent.sock" && wrong.name == "socket" {
				continue
			}
			if !own.dir && wrong.name == "file" && own.name != "agent.sock" {
				continue
			}
			t.Run(own.name+" is a "+wrong.name, func(t *testing.T) {
				dir := olderDataDir(t)
				path := filepath.Join(dir, own.name)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := wrong.put(path); err != nil {
					t.Fatal(err)
				}
				before, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second start finds nothing new
					var warnings []string
					done := make(chan error, 1)
					go func() {
						var err error
						warnings, err = rooms(dir)
						done <- err
					}()
					select {
					case err = <-done:
					case <-time.After(time.Minute):
						t.Fatal("the start hangs")
					}
					if err != nil {
						t.Fatal(err)
					}
					moved := filepath.Join("corrupt", filepath.Base(path)+".unreadable")
					if own.name == "corrupt" {
						moved = "corrupt.unreadable"
					}
					after, err := os.Lstat(filepath.Join(dir, moved))
					if err != nil || after.Mode().Type() != before.Mode().Type() || !os.SameFile(before, after) {
						t.Fatalf("set aside: %v (%v)", after, err)
					}
					if text := strings.Join(warnings, "\n"); !strings.Contains(text, "belongs (1): ") || !strings.Contains(text, moved) {
						t.Errorf("warnings: %s", text)
					}
				}
			})
		}
	}
}

// A data_dir that everybody may write into is warned of.
func TestDataDirOpenToAllIsWarnedOf(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o770: false, 0o777: true, 0o702: true} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		warnings, err := rooms(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(warnings, "\n"), "written by every user"); got != want {
			t.Errorf("mode %o: warnings %q", mode, warnings)
		}
	}
}

// The commands look into such a directory without waiting.
func TestCommandsPassOverWrongTypes(t *testing.T) {
	dir := olderDataDir(t)
	for _, name := range []string{"queue/committed", "dead/letters", "agent.sock"} {
		path := filepath.Join(dir, name)
		os.Remove(path)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"status"}, {"wal", "verify"}, {"wal", "dump"}, {"dead", "list"}, {"wal", "repair"}, {"wal", "verify"},
	} {
		done := make(chan string, 1)
		go func() {
			code, out, errs := call(t, nil, append(args, "--data_dir", dir)...)
			done <- fmt.Sprint(code, " ", out, errs)
		}()
		select {
		case got := <-done:
			t.Logf("%q: %s", args, got)
		case <-time.After(time.Minute):
			t.Fatalf("%q hangs", args)
		}
	}
	if i, err := os.Lstat(filepath.Join(dir, "queue", "committed")); err != nil || !i.Mode().IsRegular() {
		t.Errorf("after the repair: %v, %v", i, err)
	}
}

// The whole agent on a directory full of pipes: it starts, and a value reaches the cloud.
func TestAgentStartsAmongPipes(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	for _, name := range []string{
		"lock", "clock", "max_bytes", "agent.sock", "corrupt", "queue/LOCK", "queue/committed", "queue/00000000000000000001",
		"registry/store",
	} {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	if code, _ := post(r.http, "token-0", `{"ts":1,"values":{"a":1}}`); code != http.StatusOK {
		t.Fatalf("post: %d", code)
	}
	s.eventually("the value arrives", func() bool { n := r.snapshot(); return n.Deployed == 1 && n.Pending == 0 })
	if text := strings.Join(r.snapshot().ExtraWarnings, "\n"); !strings.Contains(text, "belongs (9): ") {
		t.Errorf("warnings: %s", text)
	}
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
}

// One lock, whatever stood there: of two agents that start at once over a pipe, one runs.
func TestOneHolderAfterWrongType(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, "lock"), 0o600); err != nil {
			t.Fatal(err)
		}
		held := make(chan *disk.DataDir, 4)
		for range cap(held) {
			go func() {
				d, _ := disk.OpenDataDir(dir)
				held <- d
			}()
		}
		var holders []*disk.DataDir
		for range cap(held) {
			if d := <-held; d != nil {
				holders = append(holders, d)
			}
		}
		for _, d := range holders {
			d.Close()
		}
		if len(holders) > 1 {
			t.Fatalf("%d holders", len(holders))
		}
	}
}
