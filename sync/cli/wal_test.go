package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/wal/disk"
)

func TestWalStat(t *testing.T) {
	dir := makeQueue(t)
	code, out, errs := call(t, nil, "wal", "stat", "--json", "--segments", "--data_dir", dir)
	var s walStats
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || errs != "" {
		t.Fatal(code, err, errs)
	}
	if s.First != 1 || s.Committed != 4 || s.Last != 8 || s.Segments != 1 || s.Accepted != 7 || s.Deployed != 2 ||
		s.Pending != 4 || s.Dead != 1 || s.Dropped != 0 || !s.Balanced {
		t.Errorf("%+v", s)
	}
	if s.OldestPending == nil || !s.OldestPending.Equal(base.Add(3*time.Hour)) || !s.NewestPending.Equal(base.Add(6*time.Hour)) {
		t.Errorf("pending from %v to %v", s.OldestPending, s.NewestPending)
	}
	if len(s.List) != 1 || s.List[0].First != 1 || s.List[0].Bytes != s.Bytes || s.List[0].Begun == nil {
		t.Errorf("segments %+v", s.List)
	}
	code, out, _ = call(t, nil, "wal", "stat", "--dir", filepath.Join(dir, "queue"))
	if code != 0 || !strings.Contains(out, "accepted            7") || !strings.Contains(out, "committed 4, last 8") {
		t.Errorf("%d\n%s", code, out)
	}
}

// verify and dump show damage; after a repair they show what it has marked as lost.
func TestVerifyAndRepair(t *testing.T) {
	dir := makeQueue(t)
	path := filepath.Join(dir, "queue", "00000000000000000001")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[strings.Index(string(data), "evil")] ^= 4
	if err := os.WriteFile(path, append(data, "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, nil, "wal", "verify", "--data_dir", dir)
	if code != exitFailed || !strings.Contains(out, "bytes unreadable: offset 5\n") ||
		!strings.Contains(out, "4 bytes at the end are no frame") ||
		!strings.Contains(out, "2 damaged places") || !strings.Contains(errs, "edgesync wal repair") {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
	_, out, _ = call(t, nil, "wal", "dump", "--json", "--from=4", "--data_dir", dir)
	list := objects(t, out)
	if len(list) != 6 || list[1]["type"] != "damaged" || list[1]["offset"] != 5.0 || list[1]["last"] != 5.0 ||
		list[5]["type"] != "torn" || list[5]["bytes"] != 4.0 {
		t.Errorf("dump: %s", out)
	}
	_, out, _ = call(t, nil, "wal", "dump", "--from=5", "--limit=1", "--data_dir", dir)
	if !strings.HasPrefix(out, "         5  DAMAGED  segment 00000000000000000001 at ") {
		t.Errorf("dump: %s", out)
	}

	held, err := disk.OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs = call(t, nil, "wal", "repair", "--data_dir", dir); code != exitLocked {
		t.Errorf("repair beside an agent: %d, %s", code, errs)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs = call(t, nil, "wal", "repair", "--data_dir", dir)
	if code != 0 || errs != "" || !strings.Contains(out, "cutting an incomplete tail") ||
		!strings.Contains(out, filepath.Join(dir, "corrupt")) || !strings.Contains(out, "all intact; 1 offset was marked as lost") {
		t.Errorf("repair: %d\n%s%s", code, out, errs)
	}
	if kept, err := os.ReadDir(filepath.Join(dir, "corrupt")); err != nil || len(kept) != 2 {
		t.Errorf("kept: %v, %v", kept, err)
	}
	if code, out, errs = call(t, nil, "wal", "verify", "--data_dir", dir); code != 0 || errs != "" {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
	if code, out, _ = call(t, nil, "wal", "repair", "--dir", filepath.Join(dir, "queue")); code != 0 ||
		!strings.HasPrefix(out, "nothing to repair\n") {
		t.Errorf("repair again: %d\n%s", code, out)
	}
	_, out, _ = call(t, nil, "wal", "dump", "--json", "--data_dir", dir)
	if got := offsets(t, out); !slices.Equal(got, []int{2, 3, 4, 5, 6, 7, 8}) ||
		!strings.Contains(out, `{"type":"lost","offset":5,"last":5,`) {
		t.Errorf("dump: %s", out)
	}
}
