package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gproto "google.golang.org/protobuf/proto"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// The queue of makeQueue: two devices' telemetry, attributes and new credentials, an hour apart from base on.
var (
	base   = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	first  = proto.UUID{0x78, 15: 1}
	second = proto.UUID{0x78, 15: 2}
)

const (
	firstID  = "78000000-0000-0000-0000-000000000001"
	secondID = "78000000-0000-0000-0000-000000000002"
)

func number(key string, v int64) []proto.KV {
	return []proto.KV{{Key: []byte(key), Type: proto.KeyValueType_LONG_V, Long: v}}
}

// makeQueue makes a data directory whose queue holds seven events, at the offsets 2 to 8, as the first frame of a segment is a control
// frame. Three are committed: two deployed, one dead. The letters of offsets 4 and 5 are in the log, one of which counts.
func makeQueue(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	credentials, err := gproto.Marshal(&proto.UplinkMsg{DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{
		Entity: `{"deviceId":{"entityType":"DEVICE","id":"` + secondID + `"},"credentialsType":"ACCESS_TOKEN","credentialsId":"hush-hush"}`,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	events := []wal.Event{
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: first, Fragment: proto.AppendTelemetry(nil, first, "DEVICE", 1000, number("temperature", 21))},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second, Fragment: proto.AppendTelemetry(nil, second, "DEVICE", 2000, number("temperature", 22))},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: first, Fragment: proto.AppendTelemetry(nil, first, "DEVICE", 3000, number("temperature", 23))},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionPostAttributes), Entity: first, Fragment: proto.AppendPostAttributes(nil, first, "DEVICE", "CLIENT_SCOPE", []proto.KV{
			{Key: []byte("evil"), Type: proto.KeyValueType_STRING_V, Str: []byte("a\x1b[31m\u009b b")},
		})},
		{Kind: uint8(proto.KindDeviceCredentials), Action: uint8(proto.ActionCredentialsUpdated), Entity: second, Fragment: credentials},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second, Fragment: proto.AppendTelemetry(nil, second, "DEVICE", 4000, []proto.KV{
			{Key: []byte("text"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("long ", 100))},
		})},
		{Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Entity: second, Fragment: []byte("no fragment")},
	}
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		events[i].Time = base.Add(time.Duration(i) * time.Hour).UnixMilli()
	}
	if err := q.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Commit(wal.Position{Offset: 4, Seq: 3}, 2, 1), q.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), deadBytes, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	letter := wal.DeadLetter{Event: events[2], Offset: 4, Reason: "Validation error: \x1b[31mno", Tries: 3, At: base.Add(time.Minute), Resting: true}
	early := letter
	early.Offset = 5 // a crash came before its commit: the queue still has it
	if err := errors.Join(d.Put(letter), d.Put(early), d.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// objects reads JSON Lines.
func objects(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		list = append(list, m)
	}
	return list
}

func offsets(t *testing.T, out string) (list []int) {
	t.Helper()
	for _, m := range objects(t, out) {
		list = append(list, int(m["offset"].(float64)))
	}
	return list
}

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
	if want := "         2  2026-01-02T03:04:05.678Z  DEPLOYED  TIMESERIES_UPDATED   DEVICE " + firstID + "  ts=1000 temperature=21"; lines[1] != want {
		t.Errorf("got  %q\nwant %q", lines[1], want)
	}
	for i, want := range []string{
		"control ", "DEPLOYED ", "DEPLOYED ", "DEAD ", `scope=CLIENT_SCOPE evil="a\u001b[31m?`, "PENDING   CREDENTIALS_UPDATED  DEVICE " + secondID, "long long", "does not decode",
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
	if got["type"] != "event" || got["time"] != "2026-01-02T03:04:05.678Z" || got["state"] != "DEPLOYED" || got["action"] != "TIMESERIES_UPDATED" || got["kind"] != "ENTITY_DATA" ||
		got["entity_type"] != "DEVICE" || got["entity"] != firstID || string(content) != `{"ts":1000,"values":{"temperature":21}}` || got["bytes"].(float64) < 20 {
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

// TestStamped: both of one width, so that columns stay where they are.
func TestStamped(t *testing.T) {
	for ms, want := range map[int64]string{base.UnixMilli(): "2026-01-02T03:04:05.678Z", proto.Undated(90_250): "uptime 1m30.25s         "} {
		if got := stamped(ms); got != want {
			t.Errorf("%d is shown as %q", ms, got)
		}
	}
	if got := moment(proto.Undated(5)); got != nil {
		t.Errorf("an unknown time is shown as %v", got)
	}
}

func TestWalStat(t *testing.T) {
	dir := makeQueue(t)
	code, out, errs := call(t, nil, "wal", "stat", "--json", "--segments", "--data_dir", dir)
	var s walStats
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || errs != "" {
		t.Fatal(code, err, errs)
	}
	if s.First != 1 || s.Committed != 4 || s.Last != 8 || s.Segments != 1 || s.Accepted != 7 || s.Deployed != 2 || s.Pending != 4 || s.Dead != 1 || s.Dropped != 0 || !s.Balanced {
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

// Damage is told by verify and dump, mended by repair, and told no more.
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
	if code != exitFailed || !strings.Contains(out, "bytes unreadable: offset 5\n") || !strings.Contains(out, "4 bytes at the end are no frame") ||
		!strings.Contains(out, "2 damaged places") || !strings.Contains(errs, "edgesync wal repair") {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
	_, out, _ = call(t, nil, "wal", "dump", "--json", "--from=4", "--data_dir", dir)
	list := objects(t, out)
	if len(list) != 6 || list[1]["type"] != "damaged" || list[1]["offset"] != 5.0 || list[1]["last"] != 5.0 || list[5]["type"] != "torn" || list[5]["bytes"] != 4.0 {
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
	if code != 0 || errs != "" || !strings.Contains(out, "cutting an incomplete tail") || !strings.Contains(out, filepath.Join(dir, "corrupt")) || !strings.Contains(out, "all intact; 1 offset was marked as lost") {
		t.Errorf("repair: %d\n%s%s", code, out, errs)
	}
	if kept, err := os.ReadDir(filepath.Join(dir, "corrupt")); err != nil || len(kept) != 2 {
		t.Errorf("kept: %v, %v", kept, err)
	}
	if code, out, errs = call(t, nil, "wal", "verify", "--data_dir", dir); code != 0 || errs != "" {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}
	if code, out, _ = call(t, nil, "wal", "repair", "--dir", filepath.Join(dir, "queue")); code != 0 || !strings.HasPrefix(out, "nothing to repair\n") {
		t.Errorf("repair again: %d\n%s", code, out)
	}
	_, out, _ = call(t, nil, "wal", "dump", "--json", "--data_dir", dir)
	if got := offsets(t, out); !slices.Equal(got, []int{2, 3, 4, 5, 6, 7, 8}) || !strings.Contains(out, `{"type":"lost","offset":5,"last":5,`) {
		t.Errorf("dump: %s", out)
	}
}

func TestDeadOnFiles(t *testing.T) {
	dir := makeQueue(t)
	here := "--data_dir=" + dir
	code, out, errs := call(t, nil, "dead", "list", here)
	if code != 0 || errs != "" || strings.Count(out, "\n") != 2 || !strings.Contains(out, "         4  2026-01-02T05:04:05.678Z  TIMESERIES_UPDATED    "+firstID+"      3  rests") ||
		!strings.Contains(out, "Validation error: ?[31mno") {
		t.Errorf("list: %d, %s\n%s", code, errs, out)
	}
	_, out, _ = call(t, nil, "dead", "list", "--json", here)
	var l agent.Letter
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Offset != 4 || l.Tries != 3 || !l.Resting || l.Entity != firstID || l.Kind != "ENTITY_DATA" || !l.At.Equal(base.Add(time.Minute)) {
		t.Errorf("list: %v, %s", err, out)
	}
	if code, out, _ = call(t, nil, "dead", "show", "4", here); code != 0 || !strings.Contains(out, `"temperature": 23`) || !strings.Contains(out, "DEVICE "+firstID) || strings.Contains(out, "\x1b") {
		t.Errorf("show: %d\n%s", code, out)
	}
	if code, out, _ = call(t, nil, "dead", "show", "--json", "4", here); code != 0 || !strings.Contains(out, `"content":{"ts":3000,"values":{"temperature":23}}`) {
		t.Errorf("show: %d\n%s", code, out)
	}
	if code, _, errs = call(t, nil, "dead", "show", "5", here); code != exitFailed || !strings.Contains(errs, "no dead letter at offset 5") {
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
	if code, out, _ = call(t, nil, "dead", "retry", "4", here); code != 0 || !strings.Contains(out, "1 letter woken; no agent runs") {
		t.Errorf("retry: %d, %s", code, out)
	}
	_, out, _ = call(t, nil, "dead", "list", "--json", here)
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Tries != 0 || l.Resting {
		t.Errorf("after retry: %v, %s", err, out)
	}
	if code, _, errs = call(t, nil, "dead", "drop", "77", here); code != exitFailed || !strings.Contains(errs, "offset 77") {
		t.Errorf("drop of none: %d, %s", code, errs)
	}
	if code, out, _ = call(t, nil, "dead", "drop", here, "all"); code != 0 || out != "1 letter dropped\n" {
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
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Accepted != 7 || s.Deployed != 2 || s.Dropped != 1 || s.Dead != 0 || s.Pending != 4 {
		t.Errorf("status: %v, %s", err, out)
	}
}

func TestCommandsSayWhatIsWrong(t *testing.T) {
	dir := makeQueue(t)
	file := filepath.Join(dir, "lock-me-not")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"wal", 2, "", "Usage:"},
		{"dead", 2, "", "Usage:"},
		{"wal --help", 0, "edgesync wal verify", ""},
		{"wal dump -h", 0, "--since TIME", ""},
		{"help wal", 0, "--since TIME", ""},
		{"help dead", 0, "OFFSET|all", ""},
		{"dead retry --help", 0, "OFFSET|all", ""},
		{"wall", 2, "", "did you mean wal?"},
		{"wal verfy", 2, "", "did you mean wal verify?"},
		{"wal frobnicate", 2, "", "one of: stat, dump, verify, repair"},
		{"dead lsit", 2, "", "did you mean dead list?"},
		{"wal dump --sicne=2h", 2, "", "did you mean --since?"},
		{"wal dump --kind=ALARMS", 2, "", "did you mean ALARM?"},
		{"wal dump --kind=q", 2, "", "there are ENTITY_DATA, "},
		{"wal dump --action=TIMESERIES_UPDATE", 2, "", "did you mean TIMESERIES_UPDATED?"},
		{"wal dump --since=yesterday", 2, "", "how long ago as 90s, 2h or 7d"},
		{"wal dump --since=-2h", 2, "", "how long ago"},
		{"wal dump --entity=5", 2, "", "UUID such as"},
		{"wal dump --limit=x", 2, "", "invalid value"},
		{"wal dump --entity 7 hush", 2, "", "UUID"},
		{"wal stat hush", 2, "", "an argument too many"},
		{"wal verify --json", 2, "", "unknown flag --json"},
		{"dead list hush", 2, "", "an argument too many"},
		{"dead show", 2, "", "needs the offset"},
		{"dead show all", 2, "", "a number above 0\n"},
		{"dead retry 0", 2, "", `or "all"`},
		{"dead drop hush", 2, "", "a number above 0"},
		{"dead drop 1 2", 2, "", "an argument too many"},
		{"dead list --dir=x", 2, "", "unknown flag --dir"},
		{"wal stat --data_dir=" + dir + "x", 1, "", "there is no queue at"},
		{"wal stat --dir=" + file, 1, "", "is no directory"},
		{"wal repair --dir=" + dir + "x", 1, "", "there is no queue at"},
		{"dead drop all --data_dir=" + dir + "x", 1, "", "there is no queue at"},
		{"dead list --config=gone.toml", 78, "", "gone.toml"},
		{"wal stat --config=gone.toml --dir=" + filepath.Join(dir, "queue"), 0, "accepted", ""},
	} {
		code, out, errs := call(t, nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.stdout) || !strings.Contains(errs, c.stderr) || (c.stdout == "") != (out == "") || (c.stderr == "") != (errs == "") {
			t.Errorf("%s: %d, want %d\nstdout %.300q\nstderr %q", c.args, code, c.code, out, errs)
		}
		if strings.Contains(out+errs, "hush") {
			t.Errorf("%s shows an argument that may be a secret", c.args)
		}
	}
	if _, err := os.Stat(dir + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
	for _, text := range []string{help, walHelp, deadHelp} {
		for line := range strings.Lines(text) {
			if n := len([]rune(line)); n > 142 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}
