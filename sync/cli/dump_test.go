package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
)

func TestDumpFilters(t *testing.T) {
	dir := makeQueue(t)
	hour := func(n int) string { return base.Add(time.Duration(n) * time.Hour).Format(time.RFC3339Nano) }
	for _, c := range []struct {
		args string
		want []int
	}{
		{"", []int{2, 3, 4, 5, 6, 7, 8}},
		{"--all", []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{"--pending", []int{5, 6, 7, 8}},
		{"--pending --limit=2", []int{5, 6}},
		{"--from=4", []int{4, 5, 6, 7, 8}},
		{"--from 7 --limit 9", []int{7, 8}},
		{"--from=99", nil},
		{"--tail=2", []int{7, 8}},
		{"--tail 1 --entity " + firstID, []int{5}},
		{"--tail 99", []int{2, 3, 4, 5, 6, 7, 8}},
		{"--tail 3 --limit 1", []int{6}},
		{"--tail 3 --kind ALARM", nil},
		{"--entity=" + firstID, []int{2, 4, 5}},
		{"--entity=" + strings.ToUpper(secondID) + " --pending", []int{6, 7, 8}},
		{"--kind=DEVICE_CREDENTIALS", []int{6}},
		{"--kind=entity-data --action=post_attributes", []int{5}},
		{"--action=TIMESERIES_UPDATED --limit=1", []int{2}},
		{"--since=" + hour(2), []int{4, 5, 6, 7, 8}},
		{"--until=" + hour(2), []int{2, 3, 4}},
		{"--since=" + hour(1) + " --until=" + hour(3), []int{3, 4, 5}},
		{"--since=1s", nil},
		{"--until=1h30m", []int{2, 3, 4, 5, 6, 7, 8}},
		{"--since=65535d", []int{2, 3, 4, 5, 6, 7, 8}},
	} {
		code, out, errs := call(t, nil, append([]string{"wal", "dump", "--json", "--data_dir=" + dir}, strings.Fields(c.args)...)...)
		if got := offsets(t, out); code != 0 || errs != "" || !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, %q, offsets %v, want %v", c.args, code, errs, got, c.want)
		}
	}
}

func TestDumpForPeople(t *testing.T) {
	dir := makeQueue(t)
	code, out, errs := call(t, nil, "wal", "dump", "--dir", filepath.Join(dir, "queue"), "--all")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if code != 0 || errs != "" || len(lines) != 8 {
		t.Fatalf("%d, %q, %d lines:\n%s", code, errs, len(lines), out)
	}
	ago := fmt.Sprintf("%10s", plain.Ago(time.Since(base)))
	if want := "         2  2026-01-02T03:04:05.678Z  " + ago + "  DEPLOYED  TIMESERIES_UPDATED   DEVICE " + firstID +
		"  ts=1000 temperature=21"; lines[1] != want {
		t.Errorf("got  %q\nwant %q", lines[1], want)
	}
	for i, want := range []string{
		"control ", "DEPLOYED ", "DEPLOYED ", "DEAD ", `scope=CLIENT_SCOPE evil="a\u001b[31m?`,
		"PENDING   CREDENTIALS_UPDATED  DEVICE " + secondID, "long long", "does not decode",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d lacks %q: %q", i, want, lines[i])
		}
	}
	if strings.Contains(out, "hush") || !strings.Contains(lines[5], "credentialsId=***") {
		t.Errorf("the token is shown: %s", lines[5])
	}
	if strings.ContainsAny(out, "\x1b\u009b") {
		t.Error("control characters reach the terminal")
	}
	if n := len(lines[6]); n > 300 || !strings.HasSuffix(lines[6], "…") {
		t.Errorf("%d bytes in a line: %s", n, lines[6])
	}
}

func TestDumpJSON(t *testing.T) {
	dir := makeQueue(t)
	_, out, _ := call(t, nil, "wal", "dump", "--json", "--all", "--data_dir", dir)
	list := objects(t, out)
	got := list[1]
	content, _ := json.Marshal(got["content"])
	if got["type"] != "event" || got["time"] != "2026-01-02T03:04:05.678Z" || got["state"] != "DEPLOYED" ||
		got["action"] != "TIMESERIES_UPDATED" || got["kind"] != "ENTITY_DATA" ||
		got["entity_type"] != "DEVICE" || got["entity"] != firstID ||
		string(content) != `{"ts":1000,"values":{"temperature":21}}` || got["bytes"].(float64) < 20 {
		t.Errorf("%v", got)
	}
	if list[0]["type"] != "control" || list[0]["accepted"] != 0.0 {
		t.Errorf("control frame: %v", list[0])
	}
	if text := list[6]["content"].(map[string]any)["values"].(map[string]any)["text"]; text != strings.Repeat("long ", 100) {
		t.Errorf("the content is not whole: %v", text)
	}
	if list[7]["content"] != nil || list[7]["error"] == nil {
		t.Errorf("what does not decode: %v", list[7])
	}
	if strings.Contains(out, "hush") {
		t.Error("the token is shown")
	}
}

// Times and uptimes have one width, so that columns stay where they are.
func TestStamped(t *testing.T) {
	for ms, want := range map[int64]string{
		base.UnixMilli():      "2026-01-02T03:04:05.678Z",
		proto.Undated(90_250): "uptime 1m30.25s         ",
	} {
		if got := stamped(ms); got != want {
			t.Errorf("%d is shown as %q", ms, got)
		}
	}
	if got := moment(proto.Undated(5)); got != nil {
		t.Errorf("an unknown time is shown as %v", got)
	}
}
