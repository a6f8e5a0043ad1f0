package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/wal"
)

// evil holds what a terminal may act on.
const evil = "a\x1b[2J\x07\u009b31m\u202e\u2066\u2028\u200f\x7fz"

func harmless(t *testing.T, what, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("%s is not UTF-8", what)
	}
	for _, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s: %U reaches the terminal: %.300q", what, r, out)
			return
		}
	}
}

// No form of output lets a control character of a device, of the cloud or of an argument through,
// and JSON keeps the text that it stands for.
func TestNothingReachesATerminal(t *testing.T) {
	dir := t.TempDir()
	kv := []proto.KV{{Key: []byte(evil), Type: proto.KeyValueType_STRING_V, Str: []byte(evil)}}
	device := proto.UUID{1}
	e := wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: time.Now().UnixMilli(), Entity: device,
		Fragment: proto.AppendTelemetry(nil, device, proto.DeviceEntity, 1000, kv),
	}
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Append(t.Context(), e), q.Commit(wal.Position{Offset: 3, Seq: 1}, 0, 1), q.Close()); err != nil {
		t.Fatal(err)
	}
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), deadBytes, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	letter := wal.DeadLetter{Event: e, Offset: 2, Reason: evil, Tries: 1, At: time.Now()}
	if err := errors.Join(d.Put(letter), d.Close()); err != nil {
		t.Fatal(err)
	}
	at := "--data_dir=" + dir
	for _, args := range [][]string{
		{"wal", "dump", at},
		{"wal", "dump", "--json", at},
		{"wal", "stat", at},
		{"dead", "list", at},
		{"dead", "list", "--json", at},
		{"dead", "show", at, "2"},
		{"dead", "show", "--json", at, "2"},
		{"status", at},
		{"status", "--json", at},
		{"check", "--cloud.host=" + evil, "--data_dir=" + evil},
		{evil},
		{"help", evil},
		{"wal", evil},
		{"status", "--" + evil},
		{"wal", "dump", "--data_dir=" + evil},
		{"wal", "dump", "--kind=" + evil, at},
		{"run", "--config=" + evil},
	} {
		_, out, errs := call(t, nil, args...)
		what := strings.Join(args, " ")
		harmless(t, what, out)
		harmless(t, what, errs)
		if len(args) > 2 && args[1] == "dump" && args[2] == "--json" {
			var got struct {
				Content struct{ Values map[string]string }
			}
			line, _, _ := strings.Cut(out, "\n")
			if err := json.Unmarshal([]byte(line), &got); err != nil || got.Content.Values[evil] != evil {
				t.Errorf("%v of %q", err, line)
			}
		}
	}
}

// The log holds no control character either, and cuts what is too long to be meant.
func TestLogIsHarmlessAndBounded(t *testing.T) {
	var b bytes.Buffer
	p := &program{stdout: &b, stderr: &b}
	if code := p.run(context.Background(), []string{"version"}); code != exitOK { // wraps the streams
		t.Fatal(code)
	}
	b.Reset()
	log := newLogger(p.stdout, p.stderr, &config.Log{Level: "info", Format: "text", Target: "stderr"}, nil)
	long := strings.Repeat("é"+evil, 1<<20)
	log.Info(long, "edge", long, "error", errors.New(long), "bytes", []byte(evil), "any", struct{ S string }{evil})
	if err := (&sentences{w: p.stderr}).Handle(t.Context(), slog.NewRecord(time.Time{}, slog.LevelInfo, evil, 0)); err != nil {
		t.Fatal(err)
	}
	harmless(t, "log", b.String())
	if b.Len() > 64<<10 {
		t.Errorf("a line of %d bytes", b.Len())
	}
}
