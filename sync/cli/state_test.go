package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// contents lists the files below a directory with what they hold; its sockets and lock left out.
func contents(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !e.Type().IsRegular() || name == "lock" {
			return nil
		}
		data, err := os.ReadFile(path)
		list = append(list, name+"="+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A data directory of a newer release is refused by every command that touches it, in a sentence,
// and nothing is written.
func TestNewerDataDirectory(t *testing.T) {
	dir := olderDataDir(t)
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "archive")
	before := contents(t, dir)
	keys := []string{"CLOUD_ROUTING_KEY=k", "CLOUD_ROUTING_SECRET=hush-hush"}
	for _, args := range []string{
		"run --http.listen= --mqtt.listen=127.0.0.1:0", "status", "status --json", "status --ack", "wal stat",
		"wal dump", "wal verify", "wal repair",
		"dead list", "dead show 5", "dead retry all", "dead drop all", "backup " + archive, "backup --with-queue " + archive,
		"restore --yes /dev/null", "reset --yes --keep-config",
	} {
		code, out, errs := call(t, keys, append(strings.Fields(args), "--data_dir", dir)...)
		if strings.HasPrefix(args, "restore") {
			if code != 1 {
				t.Errorf("%s: %d", args, code)
			}
			continue // the archive comes first, and is none
		}
		if code != 1 || out != "" || !strings.Contains(errs,
			"was written by a newer edgesync (format 2; this one knows 1): install that version again") {
			t.Errorf("%s: exit code %d, %q %q", args, code, out, errs)
		}
	}
	if after := contents(t, dir); !slices.Equal(before, after) {
		t.Error("something was written")
	}
	if _, err := os.Lstat(archive); err == nil {
		t.Error("an archive was written")
	}
}

// answered runs the program with somebody who answers at a terminal.
func answered(t *testing.T, answer string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	p := &program{Build: Build{Version: "dev"}, stdin: strings.NewReader(answer), interactive: true, stdout: &out, stderr: &errs}
	code = p.run(context.Background(), args)
	return code, out.String(), errs.String()
}

// What deletes asks before, and only yes is a yes.
func TestResetAsks(t *testing.T) {
	dir := olderDataDir(t)
	before := contents(t, dir)
	for _, answer := range []string{"", "\n", "y\n", "no\n", "yesyes\n"} {
		code, _, errs := answered(t, answer, "reset", "--keep-config", "--data_dir", dir)
		if code != 1 || !strings.Contains(errs, "holds 5 events that wait for the cloud, and 1 dead letter. All of it will be deleted") ||
			!strings.Contains(errs, "nothing was done") {
			t.Errorf("%q: exit code %d, %s", answer, code, errs)
		}
	}
	if code, _, errs := call(t, nil, "reset", "--keep-config", "--data_dir", dir); code != 1 || !strings.Contains(errs, "say --yes") {
		t.Errorf("without a terminal: %d, %s", code, errs)
	}
	for _, args := range [][]string{{"reset"}, {"reset", "--all", "--keep-config"}, {"restore"}, {"backup"}, {"reset", "--all", "hush"}} {
		if code, _, errs := call(t, nil, append(args, "--data_dir", dir)...); code != 2 || strings.Contains(errs, "hush") {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
	after := slices.DeleteFunc(contents(t, dir), func(s string) bool { return s == "format=1\n" })
	if !slices.Equal(before, after) {
		t.Errorf("something was deleted: %d files before, %d after", len(before), len(after))
	}
	if code, _, errs := answered(t, "yes\n", "reset", "--keep-config", "--data_dir", dir); code != 0 {
		t.Errorf("yes: exit code %d, %s", code, errs)
	}
	if got := contents(t, dir); len(got) != 0 {
		t.Errorf("left: %.200q", got)
	}
}

// For the next owner nothing is left: neither state nor configuration nor secret. A file of OpenWrt
// is as the package brings it.
func TestResetAll(t *testing.T) {
	for _, openwrt := range []bool{false, true} {
		t.Run(fmt.Sprint(openwrt), func(t *testing.T) { resetAll(t, openwrt) })
	}
}

func resetAll(t *testing.T, openwrt bool) {
	dir, etc := olderDataDir(t), t.TempDir()
	secret, file := filepath.Join(etc, "secret"), filepath.Join(etc, "config")
	text := fmt.Sprintf("data_dir = %q\ncloud.routing_key = 'key-of-mine'\ncloud.routing_secret_file = %q\n", dir, secret)
	want := "gone"
	if openwrt {
		text = fmt.Sprintf("config edgesync main\n option data_dir '%s'\nconfig section cloud\n option routing_key 'key-of-mine'\n"+
			" option routing_secret_file '%s'\n", dir, secret)
		want = config.ShippedUCI
	}
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(secret, []byte("hush-hush"), 0o600),
		os.WriteFile(config.Place{File: file, UCI: openwrt, Secret: secret}.Before(), []byte("hush-hush"), 0o600)); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, nil, "reset", "--all", "--yes", "--config", file)
	if code != 0 || strings.Contains(out, "hush") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	got := "gone"
	if data, err := os.ReadFile(file); err == nil {
		got = string(data)
	}
	if got != want {
		t.Errorf("openwrt %v: the file is %q", openwrt, got)
	}
	for _, name := range []string{secret, file + ".before", filepath.Join(etc, "config.before")} {
		if _, err := os.Lstat(name); err == nil && (openwrt || !strings.HasSuffix(name, "config.before")) {
			t.Errorf("%s is still there", name)
		}
	}
	if got := contents(t, dir); len(got) != 0 {
		t.Errorf("left: %.200q", got)
	}
}

// A backup is taken beside an agent whose devices post all the time, and put into another
// directory: every event that was accepted before it is there, and goes to the cloud from there.
func TestBackupBesideTheAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.cloud.RateLimit(true) // what is accepted waits
	var posts sync.WaitGroup
	stop := make(chan struct{})
	accepted := make(chan int, 1<<14) // the numbers that devices were told are accepted, in the order of each
	for w := range 4 {
		posts.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				v := w*1000000 + n
				if code, _ := post(r.http, fmt.Sprint("token-", w%3), fmt.Sprintf(`{"ts":%d,"values":{"n%d":%d}}`,
					1+n, w, v)); code == http.StatusOK {
					accepted <- v
				}
			}
		})
	}
	s.eventually("some events", func() bool { return len(accepted) > 200 })
	var files []string
	counts := []int{len(accepted)}
	for i := range 5 {
		file := filepath.Join(t.TempDir(), "backup.tar.gz")
		out, code := s.tool("backup", "--with-queue", file)
		if code != 0 || !strings.Contains(out, "with the events that wait") {
			t.Fatalf("backup: %d, %s", code, out)
		}
		files, counts = append(files, file), append(counts, len(accepted))
		s.eventually("more events", func() bool { return len(accepted) > counts[i]+50 })
	}
	close(stop)
	posts.Wait()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := e.Name(); !slices.Contains(disk.State, n) && n != "lock" && n != "agent.sock" {
			t.Errorf("%s is in data_dir, and neither restored nor reset", n)
		}
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the archive: %v, %v", info, err)
	}
	r.Kill()
	for i, file := range files {
		dir := filepath.Join(t.TempDir(), "data")
		if out, code := s.tool("restore", file, "--data_dir", dir); code != 0 || !strings.Contains(out,
			"what was sent since is sent again") {
			t.Fatalf("restore: %d, %s", code, out)
		}
		out, code := s.tool("wal", "verify", "--data_dir", dir)
		if code != 0 {
			t.Errorf("backup %d: verify: %d, %s", i, code, out)
		}
		out, code = s.tool("wal", "dump", "--json", "--pending", "--data_dir", dir)
		if code != 0 {
			t.Fatalf("dump: %d, %.300s", code, out)
		}
		got := 0
		for _, e := range objects(t, out) {
			if values, ok := e["content"].(map[string]any)["values"].(map[string]any); ok {
				for name := range values {
					if name[0] == 'n' && len(name) == 2 {
						got++
					}
				}
			}
		}
		// counts[i] was before this backup; what came while it was made may be in it.
		if got < counts[i] || got > counts[i+1]+4 {
			t.Errorf("backup %d has %d events; %d were accepted before, %d after", i, got, counts[i], counts[i+1])
		}
		s.dir = dir
	}
	if os.Geteuid() == 0 { // what root restores belongs to whom data_dir belongs to
		dir := filepath.Join(t.TempDir(), "data")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 8077, 8078)); err != nil {
			t.Fatal(err)
		}
		if out, code := s.tool("restore", files[0], "--data_dir", dir); code != 0 {
			t.Fatalf("restore: %d, %s", code, out)
		}
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			var st syscall.Stat_t
			if err := errors.Join(err, syscall.Stat(path, &st)); err != nil || st.Uid != 8077 || st.Gid != 8078 {
				t.Errorf("%s belongs to %d:%d (%v)", path, st.Uid, st.Gid, err)
			}
			return nil
		})
	}
	// The last one goes on.
	s.config = ""
	r = s.start()
	const told = "was restored from a backup of 20"
	s.eventually("the log says so", func() bool { return strings.Contains(r.log.String(), told) })
	if out, code := s.tool("status"); code != 0 || !strings.Contains(out, told) || !strings.Contains(out, "sent again") {
		t.Errorf("status: %d, %s", code, out)
	}
	s.cloud.RateLimit(false)
	s.eventually("all goes up", func() bool { n := r.snapshot(); return n.Pending == 0 && n.Deployed >= uint64(counts[4]) })
	balanced(t, r.snapshot())
	if err := r.Stop(); err != nil {
		t.Error(err)
	}
	r = s.synced()
	if strings.Contains(r.log.String(), told) {
		t.Error("it is told at every start")
	}
}

// While an agent runs nothing is restored or reset.
func TestRestoreBesideTheAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	if out, code := s.tool("backup", file); code != 0 || !strings.Contains(out, "without events that wait") {
		t.Fatalf("backup: %d, %s", code, out)
	}
	for _, args := range [][]string{{"restore", "--yes", file}, {"reset", "--yes", "--all"}} {
		if out, code := s.tool(args...); code != 75 || !strings.Contains(out, "another agent holds") {
			t.Errorf("%q: %d, %s", args, code, out)
		}
	}
	if code, _ := post(r.http, "token-1", `{"a":1}`); code != http.StatusOK {
		t.Errorf("post: %d", code)
	}
	r.Kill()
	// Without its queue the registry serves devices at once, without a cloud.
	s.cloud.Stop()
	if out, code := s.tool("reset", "--yes", "--keep-config"); code != 0 {
		t.Fatalf("reset: %d, %s", code, out)
	}
	if out, code := s.tool("restore", file); code != 0 || !strings.Contains(out, "without events") {
		t.Fatalf("restore: %d, %s", code, out)
	}
	r = s.start()
	if code, _ := post(r.http, "token-1", `{"a":1}`); code != http.StatusOK {
		t.Errorf("post after restore: %d", code)
	}
}

// A restore is killed at different moments: the directory is as it was, or as the archive has it.
func TestRestoreUnderKills(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.cloud.RateLimit(true)
	for range 30 {
		if code, _ := post(r.http, "token-1", `{"a":"`+strings.Repeat("x", 40000)+`"}`); code != http.StatusOK {
			t.Fatalf("post: %d", code)
		}
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	if out, code := s.tool("backup", "--with-queue", file); code != 0 {
		t.Fatalf("backup: %d, %s", code, out)
	}
	target := filepath.Join(t.TempDir(), "data")
	old := contents(t, olderDataDir(t))
	open := func() []string {
		d, err := disk.OpenDataDir(target)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		return slices.DeleteFunc(contents(t, target), func(s string) bool { return strings.HasPrefix(s, "format=") })
	}
	exists := func(name string) bool {
		_, err := os.Lstat(filepath.Join(target, name))
		return err == nil
	}
	var fresh []string
	for _, moment := range []string{
		"", "incoming.TEMP", "incoming.TEMP/queue", "incoming.TEMP/registry/store",
		"incoming.TEMP/restored", "incoming", "incoming/cleared",
	} {
		if err := errors.Join(os.RemoveAll(target), os.CopyFS(target, os.DirFS(filepath.Join("testdata", "datadir")))); err != nil {
			t.Fatal(err)
		}
		cmd := s.command("restore", "--yes", file, "--data_dir", target)
		p, err := rig.StartProcess("restore", cmd)
		if err != nil {
			t.Fatal(err)
		}
		s.eventually("the moment", func() bool {
			select {
			case <-p.Done():
				return true
			default:
				return moment != "" && exists(moment)
			}
		})
		p.Kill()
		got := open()
		if moment == "" {
			fresh = got
			if len(fresh) < 6 || slices.Equal(fresh, old) {
				t.Fatalf("restored: %d files", len(fresh))
			}
			continue
		}
		if !slices.Equal(got, old) && !slices.Equal(got, fresh) {
			t.Errorf("killed at %s: neither as before nor as restored: %d files, %d before, %d restored", moment,
				len(got), len(old), len(fresh))
		}
	}
}

// A device that was made here, and whose creation waited in a queue that did not come along, is
// announced again: the cloud would else drop what it sends, in silence.
func TestRestoredCreation(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.writeConfig(s.edge.Secret)
	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	if out, code := s.tool("backup", file, "--data_dir", olderDataDir(t)); code != 0 {
		t.Fatalf("backup: %d, %s", code, out)
	}
	if out, code := s.tool("restore", file); code != 0 {
		t.Fatalf("restore: %d, %s", code, out)
	}
	r := s.synced()
	// The profile is one of another tenant, so this cloud refuses the device, and says so.
	s.eventually("the creation is announced", func() bool { return r.snapshot().Dead == 2 })
	if out, code := s.tool("dead", "list"); code != 0 || !strings.Contains(out, "ADDED") || !strings.Contains(out, "pump") {
		t.Errorf("dead list: %d, %s", code, out)
	}
}
