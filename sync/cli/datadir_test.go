package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// olderDataDir copies testdata/datadir, as an agent of November 2026 left it: of nine events three
// are delivered, one is a dead letter, five wait (three values of a device of the cloud, the
// creation of a device made here and its credentials).
func olderDataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "datadir"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A data directory of an older release opens with all that it holds: sync/OPERATIONS.md promises
// so. Who changes a format adds a directory as it was before, and leaves this one.
func TestOlderDataDirectory(t *testing.T) {
	dir := olderDataDir(t)
	code, out, errs := call(t, nil, "status", "--json", "--data_dir", dir)
	var s agent.Snapshot
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		t.Fatalf("status: exit code %d, %s (%v)", code, errs, err)
	}
	if s.Accepted != 9 || s.Deployed != 3 || s.Pending != 5 || s.Dead != 1 || s.Dropped != 0 || s.Damaged != 0 {
		t.Errorf("status: %s", out)
	}
	if code, out, errs := call(t, nil, "wal", "verify", "--data_dir", dir); code != 0 {
		t.Errorf("verify: exit code %d, %s%s", code, out, errs)
	}
	code, out, errs = call(t, nil, "wal", "dump", "--pending", "--json", "--data_dir", dir)
	if code != 0 {
		t.Fatalf("dump: exit code %d, %s", code, errs)
	}
	var got []string
	for _, e := range objects(t, out) {
		line := fmt.Sprint(e["action"])
		if values, ok := e["content"].(map[string]any)["values"]; ok {
			line += fmt.Sprint(" ", values)
		}
		got = append(got, line)
	}
	want := []string{
		"TIMESERIES_UPDATED map[n:4]", "TIMESERIES_UPDATED map[n:5]", "TIMESERIES_UPDATED map[n:6]",
		"ADDED", "CREDENTIALS_UPDATED",
	}
	if !slices.Equal(got, want) {
		t.Errorf("pending: %q", got)
	}
	if code, out, errs := call(t, nil, "dead", "list", "--data_dir", dir); code != 0 || strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, "TIMESERIES_DELETED") {
		t.Errorf("dead list: exit code %d, %s%s", code, out, errs)
	}
	reg, err := registry.Open(registry.Options{Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	for token, name := range map[string]string{"token-1": "Device 1", "pump-token": "pump"} {
		if d, ok := reg.ByToken(token); !ok || d.Name != name {
			t.Errorf("%s is of %+v", token, d)
		}
	}
	if !reg.Synced() || reg.Edge().GetName() != "Demo edge" {
		t.Errorf("synced %v, edge %v", reg.Synced(), reg.Edge().GetName())
	}
	if _, err := os.Stat(filepath.Join(dir, "corrupt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was set aside (%v)", err)
	}
}
