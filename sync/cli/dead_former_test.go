package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// keepFormer keeps three events of a former edge in a data directory.
func keepFormer(t *testing.T, dir string) {
	t.Helper()
	s, err := former.Open(former.Options{Dir: filepath.Join(dir, "former"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Begin(former.Edge{ID: proto.UUID{1}, Name: "old\x1b[31m"}, 0, 100, func(fn func(proto.UUID, string, string) bool) {
		fn(first, "DEVICE", "meter")
	})
	if err != nil {
		t.Fatal(err)
	}
	event := func(id proto.UUID, offset uint64) former.Event {
		return former.Event{Offset: offset, Event: wal.Event{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: id,
			Fragment: proto.AppendTelemetry(nil, id, "DEVICE", 1, number("t", 1)),
		}}
	}
	if err := s.Put(context.Background(), []former.Event{event(first, 2), event(first, 3), event(second, 4)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Without an agent the files say what is kept of a former edge, which can be given up; sending it
// needs an agent.
func TestFormerEdgeOnFiles(t *testing.T) {
	dir := makeQueue(t)
	here := "--data_dir=" + dir
	keepFormer(t, dir)
	code, out, errs := call(t, nil, "dead", "list", here)
	if code != 0 || errs != "" || !strings.Contains(out, "3 events of former edges kept") ||
		!strings.Contains(out, "         2  DEVICE        "+firstID+"  meter  of edge") ||
		!strings.Contains(out, "         1  DEVICE        "+secondID+"  (name not known)  of edge") || strings.Contains(out, "\x1b") {
		t.Errorf("list: %d, %s\n%s", code, errs, out)
	}
	if _, out, _ = call(t, nil, "dead", "list", "--json", here); strings.Contains(out, "meter") {
		t.Errorf("list --json holds more than dead letters:\n%s", out)
	}
	_, out, _ = call(t, nil, "status", "--json", here)
	var s agent.Snapshot
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Former == nil || s.Former.Events != 3 || s.Former.Entities != 2 ||
		s.Former.Command != "edgesync dead retry --by-name" || !strings.HasPrefix(s.Former.Edge, `"old`) {
		t.Errorf("status: %v, %s", err, out)
	}
	if _, out, _ = call(t, nil, "wal", "dump", "--limit=2", here); !strings.Contains(out, "DEAD") {
		t.Errorf("dump:\n%s", out)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"retry", "--by-name"}, exitFailed, "no agent runs"},
		{[]string{"retry", "--by-name", "4"}, exitUsage, "takes no offset"},
		{[]string{"retry", "former"}, exitUsage, "named by its offset"},
		{[]string{"drop", "--by-name", "4"}, exitUsage, "by-name"},
	} {
		code, _, errs := call(t, nil, append(append([]string{"dead"}, c.args...), here)...)
		if code != c.code || !strings.Contains(errs, c.text) {
			t.Errorf("%v: %d, %s", c.args, code, errs)
		}
	}
	held, err := disk.OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs = call(t, nil, "dead", "drop", "former", here); code != exitLocked {
		t.Errorf("drop while another holds the directory: %d, %s", code, errs)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, _ = call(t, nil, "dead", "drop", "former", here); code != 0 || out != "3 events of former edges dropped\n" {
		t.Errorf("drop: %d, %s", code, out)
	}
	if code, out, _ = call(t, nil, "dead", "drop", "former", "--json", here); code != 0 || out != "{\"dropped\":0}\n" {
		t.Errorf("drop of nothing: %d, %s", code, out)
	}
}

// wal verify reads the events of former edges and the overflow too.
func TestVerifyReadsFormerEvents(t *testing.T) {
	dir := makeQueue(t)
	keepFormer(t, dir)
	code, out, errs := call(t, nil, "wal", "verify", "--data_dir", dir)
	if code != 0 || !strings.Contains(out, "\nformer: 1 segment, ") || strings.Count(out, "all intact") != 2 {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
	if err := os.Rename(filepath.Join(dir, "former"), filepath.Join(dir, "overflow")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overflow", "events-0", "00000000000000000001")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = call(t, nil, "wal", "verify", "--data_dir", dir)
	if code != exitFailed || !strings.Contains(out, "\noverflow: ") || !strings.Contains(out, "1 damaged place") {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
}
