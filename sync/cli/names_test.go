package cli

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"edgesync/sync/cloudtest/rig"
	"edgesync/wal"
)

// People name devices, and read names: while an agent runs and without one.
func TestNamesInDumps(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	post := func(token, body string) {
		t.Helper()
		if code, err := post(r.http, token, body); code != http.StatusOK {
			t.Fatal(code, err)
		}
	}
	post("token-0", `{"a":1}`)
	post("token-1", `{"b":2}`)
	post("token-0", `{"a":3}`)

	cmd := s.command("wal", "dump", "--entity", "station 0", "--tail", "1", "--follow")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = write
	follower, err := rig.StartProcess("wal dump --follow", cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Kill)
	write.Close()
	lines := bufio.NewScanner(read)
	next := func(want ...string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("the dump has ended: ", lines.Err())
		}
		for _, w := range want {
			if !strings.Contains(lines.Text(), w) {
				t.Errorf("lacks %q: %s", w, lines.Text())
			}
		}
	}
	next("a=3", "  TIMESERIES_UPDATED   DEVICE station 0  ")
	post("token-1", `{"b":4}`)
	post("token-0", `{"a":5}`)
	next("a=5", "station 0")

	if out, code := s.tool("wal", "dump", "--entity", "nobody"); code != exitFailed ||
		!strings.Contains(out, "nothing here has this name") {
		t.Errorf("%d, %s", code, out)
	}
	r.Kill()
	out, code := s.tool("wal", "dump", "--entity", "station 1", "--tail=1", "--json")
	list := objects(t, out)
	if code != 0 || len(list) != 1 || list[0]["name"] != "station 1" || !strings.Contains(out, `"b":4`) {
		t.Errorf("%d, %s", code, out)
	}
}

// edgesync dead list --follow prints what is there, and then each dead letter that comes, once.
func TestDeadListFollows(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a process; left out of -short")
	}
	dir := makeQueue(t)
	cmd := exec.Command(os.Args[0], "dead", "list", "--follow", "--json", "--data_dir", dir)
	cmd.Env = append(os.Environ(), asAgent+"=1")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = write
	follower, err := rig.StartProcess("dead list --follow", cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(follower.Kill)
	write.Close()
	lines := bufio.NewScanner(read)
	next := func(offset string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), `"offset":`+offset+",") {
			t.Fatalf("not %s: %s, %v", offset, lines.Text(), lines.Err())
		}
	}
	next("4")
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), deadBytes, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []uint64{3, 2} { // an older event may follow a newer one
		e := wal.DeadLetter{Event: wal.Event{Kind: 1, Fragment: []byte("x")}, Offset: offset, Reason: "no", At: base}
		if err := d.Put(e); err != nil {
			t.Fatal(err)
		}
		next(strconv.FormatUint(offset, 10))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// Dead letters of one entity, and the last ones.
func TestDeadListChooses(t *testing.T) {
	dir := makeQueue(t)
	for args, want := range map[string]int{
		"": 1, "--tail=5": 1, "--entity=" + firstID: 1, "--entity=" + secondID: 0, "--entity=" + secondID + " --tail 1": 0,
	} {
		code, out, errs := call(t, nil, append([]string{"dead", "list", "--json", "--data_dir", dir}, strings.Fields(args)...)...)
		if code != 0 || errs != "" || len(objects(t, out)) != want {
			t.Errorf("%s: %d, %s%s", args, code, out, errs)
		}
	}
}

// A directory without a segment is no queue.
func TestVerifyOfNoQueue(t *testing.T) {
	code, out, errs := call(t, nil, "wal", "verify", "--dir", t.TempDir())
	if code != exitFailed || out != "" && !strings.Contains(out, "0 segments") ||
		!strings.Contains(errs, "is no queue: no segment is in it") {
		t.Errorf("%d, %q, %q", code, out, errs)
	}
}
