package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
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
	code = run(context.Background(), Build{Version: "dev"}, args, env, &out, &errs)
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
		{nil, []string{"status", "--jsno"}, 2, "", "did you mean --json?"},
		{nil, []string{"run", "--json"}, 2, "", "unknown flag --json"},
		{nil, []string{"run", "--cloud.host"}, 2, "", "needs an argument"},
		{nil, []string{"check", "--cloud.routing_secret=", "hush-hush"}, 2, "", "no flag"},
		{nil, []string{"run"}, 78, "", "cloud.routing_key is missing"},
		{nil, []string{"check"}, 78, "cloud.host", "cloud.routing_secret is missing"},
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
	}, nil)
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
	if code, out, _ = call(t, nil, "status", "--data_dir", dir); code != 0 || !strings.Contains(out, "All is well") || strings.Contains(out, "\x1b") {
		t.Errorf("%d, %q, want a calm sentence without colours", code, out)
	}
}

// While a sync runs the collector keeps the heap smaller than otherwise.
func TestSyncMemory(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	syncMemory(true)
	during := debug.SetGCPercent(100)
	syncMemory(false)
	if after := debug.SetGCPercent(100); during != syncGCPercent || after != gcPercent || syncGCPercent >= gcPercent {
		t.Errorf("%d %% during a sync, %d %% after it", during, after)
	}
}
