package cli

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"edgesync/sync/config"
)

// A line of each level, on each target and in each format.
func TestLogTargets(t *testing.T) {
	const when = `time=TIME `
	for _, c := range []struct {
		name           string
		log            config.Log
		stdout, stderr string
	}{
		{
			"stderr",
			config.Log{Level: "debug", Format: "text", Target: "stderr"},
			"",
			when + "level=DEBUG msg=a k=1 g.v=2\n" + when + "level=INFO msg=b k=1 g.v=2\n" +
				when + "level=WARN msg=c k=1 g.v=2\n" + when + "level=ERROR msg=d k=1 g.v=2\n",
		},
		{
			"procd",
			config.Log{Level: "debug", Format: "text", Target: "procd"},
			"level=DEBUG msg=a k=1 g.v=2\nlevel=INFO msg=b k=1 g.v=2\n",
			"level=WARN msg=c k=1 g.v=2\nlevel=ERROR msg=d k=1 g.v=2\n",
		},
		{
			"journal",
			config.Log{Level: "info", Format: "text", Target: "journal"},
			"",
			"<6>level=INFO msg=b k=1 g.v=2\n<4>level=WARN msg=c k=1 g.v=2\n<3>level=ERROR msg=d k=1 g.v=2\n",
		},
		{
			"journal, all",
			config.Log{Level: "debug", Format: "json", Target: "journal"},
			"",
			`<7>{"level":"DEBUG","msg":"a","k":1,"g":{"v":2}}` + "\n" + `<6>{"level":"INFO","msg":"b","k":1,"g":{"v":2}}` + "\n" +
				`<4>{"level":"WARN","msg":"c","k":1,"g":{"v":2}}` + "\n" + `<3>{"level":"ERROR","msg":"d","k":1,"g":{"v":2}}` + "\n",
		},
		{
			"procd, json",
			config.Log{Level: "warn", Format: "json", Target: "procd"},
			"",
			`{"level":"WARN","msg":"c","k":1,"g":{"v":2}}` + "\n" + `{"level":"ERROR","msg":"d","k":1,"g":{"v":2}}` + "\n",
		},
		{
			"stderr, json",
			config.Log{Level: "error", Format: "json", Target: "stderr"},
			"",
			`{"time":"TIME","level":"ERROR","msg":"d","k":1,"g":{"v":2}}` + "\n",
		},
	} {
		var stdout, stderr bytes.Buffer
		log := newLogger(&stdout, &stderr, &c.log, nil).With("k", 1).WithGroup("g")
		log.Debug("a", "v", 2)
		log.Info("b", "v", 2)
		log.Warn("c", "v", 2)
		log.Error("d", "v", 2)
		times := regexp.MustCompile(`(time="?)[^ "]*T[^ "]*`)
		got := regexp.MustCompile(`("time":")[^"]*`).ReplaceAllString(times.ReplaceAllString(stderr.String(), "${1}TIME"), "${1}TIME")
		if stdout.String() != c.stdout || got != c.stderr {
			t.Errorf("%s\nstdout\n%s\nwant\n%s\nstderr\n%s\nwant\n%s", c.name, stdout.String(), c.stdout, got, c.stderr)
		}
	}
}

// Levels between the four, of which there are none so far, go with the next below.
func TestLogLevelsBetween(t *testing.T) {
	var stdout, stderr bytes.Buffer
	log := newLogger(&stdout, &stderr, &config.Log{Level: "debug", Format: "text", Target: "journal"}, nil)
	for _, l := range []slog.Level{-8, -1, 3, 7, 12} {
		log.Log(t.Context(), l, "x")
	}
	want := "<7>level=DEBUG+3 msg=x\n<6>level=INFO+3 msg=x\n<4>level=WARN+3 msg=x\n<3>level=ERROR+4 msg=x\n"
	if stderr.String() != want {
		t.Errorf("got\n%s\nwant\n%s", stderr.String(), want)
	}
}

// The journal is where systemd says that it is, and not where a shell below a service was sent.
func TestLogFindsTheJournal(t *testing.T) {
	var st syscall.Stat_t
	if err := syscall.Fstat(2, &st); err != nil {
		t.Fatal(err)
	}
	here := "JOURNAL_STREAM=" + strconv.FormatUint(uint64(st.Dev), 10) + ":" + strconv.FormatUint(uint64(st.Ino), 10)
	for env, want := range map[string]bool{here: true, here + "1": false, "JOURNAL_STREAM=9:1": false, "": false} {
		if got := (environment{env}).journal(os.Stderr); got != want {
			t.Errorf("%s: %v, want %v", env, got, want)
		}
		var stdout, stderr bytes.Buffer
		newLogger(&stdout, &stderr, &config.Log{Level: "info", Format: "text", Target: "auto"}, environment{env}).Info("x")
		if got := strings.HasPrefix(stderr.String(), "<6>level=INFO"); got != want {
			t.Errorf("%s: logged %q", env, stderr.String())
		}
	}
}
