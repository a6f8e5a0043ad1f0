package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/wal/disk"
)

func TestDeadOnFiles(t *testing.T) {
	dir := makeQueue(t)
	here := "--data_dir=" + dir
	code, out, errs := call(t, nil, "dead", "list", here)
	if code != 0 || errs != "" || strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, "         4  2026-01-02T05:04:05.678Z  ") ||
		!strings.Contains(out, " d ago  TIMESERIES_UPDATED    "+firstID+"      3  rests") ||
		!strings.Contains(out, "Validation error: ?[31mno") {
		t.Errorf("list: %d, %s\n%s", code, errs, out)
	}
	_, out, _ = call(t, nil, "dead", "list", "--json", here)
	var l agent.DeadLetter
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Offset != 4 || l.Tries != 3 || !l.Resting ||
		l.Entity != firstID || l.Kind != "ENTITY_DATA" || !l.At.Equal(base.Add(time.Minute)) {
		t.Errorf("list: %v, %s", err, out)
	}
	if code, out, _ = call(t, nil, "dead", "show", "4", here); code != 0 ||
		!strings.Contains(out, `"temperature": 23`) || !strings.Contains(out, "DEVICE "+firstID) || strings.Contains(out, "\x1b") {
		t.Errorf("show: %d\n%s", code, out)
	}
	if code, out, _ = call(t, nil, "dead", "show", "--json", "4", here); code != 0 ||
		!strings.Contains(out, `"content":{"ts":3000,"values":{"temperature":23}}`) {
		t.Errorf("show: %d\n%s", code, out)
	}
	if code, _, errs = call(t, nil, "dead", "show", "5", here); code != exitFailed ||
		!strings.Contains(errs, "no dead letter at offset 5") {
		t.Errorf("show of none: %d, %s", code, errs)
	}

	held, err := disk.OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"retry", "drop"} {
		if code, _, errs = call(t, nil, "dead", what, "all", here); code != exitLocked {
			t.Errorf("%s while another holds the directory: %d, %s", what, code, errs)
		}
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, _ = call(t, nil, "dead", "retry", "4", here); code != 0 || !strings.Contains(out, "1 dead letter woken; no agent runs") {
		t.Errorf("retry: %d, %s", code, out)
	}
	_, out, _ = call(t, nil, "dead", "list", "--json", here)
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Tries != 0 || l.Resting {
		t.Errorf("after retry: %v, %s", err, out)
	}
	if code, _, errs = call(t, nil, "dead", "drop", "77", here); code != exitFailed || !strings.Contains(errs, "offset 77") {
		t.Errorf("drop of none: %d, %s", code, errs)
	}
	if code, out, _ = call(t, nil, "dead", "drop", here, "all"); code != 0 || out != "1 dead letter dropped\n" {
		t.Errorf("drop: %d, %s", code, out)
	}
	if code, out, _ = call(t, nil, "dead", "drop", here, "all", "--json"); code != 0 || out != "{\"dropped\":0}\n" {
		t.Errorf("drop of nothing: %d, %s", code, out)
	}
	if _, out, _ = call(t, nil, "dead", "list", here); out != "no dead letters\n" {
		t.Errorf("list: %s", out)
	}
	_, out, _ = call(t, nil, "status", "--json", here)
	var s agent.Snapshot
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Accepted != 7 || s.Deployed != 2 || s.Dropped != 1 ||
		s.Dead != 0 || s.Pending != 4 {
		t.Errorf("status: %v, %s", err, out)
	}
}
