package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	agent "edgesync/sync"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// call runs the program in this process.
func call(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir()) // no config.toml of somebody's
	var out, errs bytes.Buffer
	p := &program{Build: Build{Version: "dev"}, env: env, stdout: &out, stderr: &errs}
	code = p.run(context.Background(), args)
	return code, out.String(), errs.String()
}

func TestExitCodesAndSentences(t *testing.T) {
	dir := t.TempDir()
	held, err := disk.OpenDataDir(filepath.Join(dir, "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	openwrt := filepath.Join(dir, "openwrt")
	doc := "config edgesync 'main'\n\noption enabled 1\n\nconfig section cloud\n\toption prot hush-hush\n"
	if err := os.WriteFile(openwrt, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := []string{"CLOUD_ROUTING_KEY=k", "CLOUD_ROUTING_SECRET=hush-hush"}
	tests := []struct {
		env, args      []string
		code           int
		stdout, stderr string
	}{
		{nil, nil, 2, "", "Usage:"},
		{nil, []string{"help"}, 0, "edgesync status", ""},
		{nil, []string{"--help"}, 0, "Exit codes", ""},
		{nil, []string{"help", "run"}, 0, "--queue.max_bytes", ""},
		{nil, []string{"help", "wla"}, 2, "", "did you mean wal?"},
		{nil, []string{"run", "-h"}, 0, "--cloud.routing_key", ""},
		{nil, []string{"version"}, 0, "edgesync dev", ""},
		{nil, []string{"stauts"}, 2, "", "did you mean status?"},
		{nil, []string{"run", "--cloud.prot=1"}, 2, "", "unknown flag --cloud.prot; did you mean --cloud.port?"},
		{nil, []string{"status", "--jsno"}, 2, "", "did you mean --json?\nRun \"edgesync help status\""},
		{nil, []string{"doctor", "--x"}, 2, "", "Run \"edgesync help doctor\""},
		{nil, []string{"check", "--x"}, 2, "", "Run \"edgesync help check\""},
		{nil, []string{"rules", "--x"}, 2, "", "Run \"edgesync help rules\""},
		{nil, []string{"status", "--cloud.hots=x"}, 2, "", "did you mean --cloud.host?\nRun \"edgesync help run\""},
		{nil, []string{"help", "foo"}, 2, "", "unknown command \"foo\"\n"},
		{nil, []string{"log", "loud"}, 2, "", "debug, info, warn, error\nRun \"edgesync help log\""},
		{nil, []string{"dead", "drop"}, 2, "", "dead drop needs the offset of a dead letter, or all"},
		{nil, []string{"replay", "--from=yesterday"}, 2, "", "for flag --from: write a time"},
		{nil, []string{"run", "--json"}, 2, "", "unknown flag --json"},
		{nil, []string{"run", "--cloud.host"}, 2, "", "--cloud.host needs a value"},
		{nil, []string{"check", "--cloud.routing_secret=", "hush-hush"}, 2, "", "no flag"},
		{nil, []string{"run"}, 78, "", "cloud.routing_key is missing"},
		{nil, []string{"check"}, 78, "cloud.host", "cloud.routing_secret is missing"},
		{
			keys,
			[]string{"check", "--config=" + openwrt},
			78, openwrt,
			openwrt + ":6, option cloud.prot: there is no such option; did you mean cloud.port?",
		},
		{nil, []string{"run", "--config=gone.toml"}, 78, "", "gone.toml"},
		{[]string{"EDGESYNC_CLOUD_HOTS=x"}, []string{"status"}, 78, "", "EDGESYNC_CLOUD_HOST"},
		{keys, []string{"check"}, 0, "The configuration is fine.", ""},
		{keys, []string{"run", "--data_dir=" + held.Path}, 75, "", "another agent holds"},
		{keys, []string{"run", "--data_dir=" + file}, 1, "", "cannot be used"},
		{nil, []string{"status", "--data_dir=" + dir}, 1, "", "no agent runs"},
	}
	for _, tt := range tests {
		code, stdout, stderr := call(t, tt.env, tt.args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%q %q: %d, want %d\nstdout %q\nstderr %q", tt.env, tt.args, code, tt.code, stdout, stderr)
		}
		if (tt.stdout == "" && stdout != "") || (tt.stderr == "" && stderr != "") {
			t.Errorf("%q: printed to the wrong place\nstdout %q\nstderr %q", tt.args, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "hush") {
			t.Errorf("%q shows the secret", tt.args)
		}
	}
}

func TestCheckSaysWhereValuesCameFrom(t *testing.T) {
	_, out, _ := call(t, []string{"CLOUD_RPC_HOST=tb", "CLOUD_ROUTING_SECRET=hush", "CLOUD_RPC_TIMEOUT=7"}, "check", "--log.level=warn")
	rows := make(map[string]string)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 {
			rows[f[0]] = f[1] + " " + f[2]
		}
	}
	for key, want := range map[string]string{
		"cloud.host": "tb CLOUD_RPC_HOST", "cloud.routing_secret": "*** CLOUD_ROUTING_SECRET", "cloud.timeout": "7s CLOUD_RPC_TIMEOUT",
		"log.level": "warn --log.level", "cloud.port": "7070 default", "cloud.tls.ca_file": `"" default`,
	} {
		if rows[key] != want {
			t.Errorf("%s: %q, want %q", key, rows[key], want)
		}
	}
	if !strings.Contains(out, "note: CLOUD_RPC_TIMEOUT=7 is taken as 7 seconds") {
		t.Errorf("no note on the timeout in %q", out)
	}
}

func TestStatusAsksTheAgent(t *testing.T) {
	dir := t.TempDir()
	s, err := status.Serve(dir, func() agent.Snapshot {
		return agent.Snapshot{State: agent.Connected, Running: true, Writable: true, Accepted: 7, Deployed: 7}
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	code, out, errs := call(t, nil, "status", "--json", "--data_dir", dir)
	var got agent.Snapshot
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Accepted != 7 || got.State != agent.Connected {
		t.Errorf("%d, %v, %q, %q", code, err, out, errs)
	}
	if strings.Count(out, "\n") != 1 {
		t.Errorf("%q is not one line", out)
	}
	if code, out, _ = call(t, nil, "status", "--data_dir", dir); code != 0 || !strings.Contains(out, "All is well") ||
		strings.Contains(out, "\x1b") {
		t.Errorf("%d, %q, want a calm sentence without colours", code, out)
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
		{"wal dump --tail=0", 2, "", "--tail takes a number"},
		{"wal dump --tail 10001", 2, "", "--tail takes a number"},
		{"wal dump --entity=5", 1, "", "there is no queue at"},
		{"wal dump --limit=x", 2, "", "invalid value"},
		{"wal dump --entity 7 hush", 2, "", "an argument too many"},
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
		if code != c.code || !strings.Contains(out, c.stdout) || !strings.Contains(errs, c.stderr) ||
			(c.stdout == "") != (out == "") || (c.stderr == "") != (errs == "") {
			t.Errorf("%s: %d, want %d\nstdout %.300q\nstderr %q", c.args, code, c.code, out, errs)
		}
		if strings.Contains(out+errs, "hush") {
			t.Errorf("%s shows an argument that may be a secret", c.args)
		}
	}
	if _, err := os.Stat(dir + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
}

// Each command has a page that fits a small terminal, with an example, and is in the list.
func TestEveryCommandHasAPage(t *testing.T) {
	all := help()
	for i := range pages {
		p := &pages[i]
		if !strings.Contains(all, "  edgesync "+p.name+" ") {
			t.Errorf("%s is not in the list", p.name)
		}
		for _, args := range [][]string{{"help", p.name}, {p.name, "--help"}} {
			code, out, errs := call(t, nil, args...)
			if code != 0 || out != p.String() || errs != "" {
				t.Errorf("%q: %d\n%s\n%s", args, code, out, errs)
			}
		}
		needs := []string{"Usage:\n  edgesync " + p.name, "\nExample"}
		for _, f := range strings.Fields(p.flags) {
			needs = append(needs, "--"+f)
		}
		for _, need := range needs {
			if !strings.Contains(p.String(), need) {
				t.Errorf("%s: the page does not have %q", p.name, need)
			}
		}
		all += p.String()
	}
	for line := range strings.Lines(all) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
