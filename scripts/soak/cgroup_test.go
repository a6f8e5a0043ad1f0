//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestEachAttackOnce holds that a run of each attack has them all, the long ones too, in the
// table's order, behind a time without one.
func TestEachAttackOnce(t *testing.T) {
	names := func(only string, each bool) (list []string) {
		deck, err := chosen(only, each, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range deck {
			list = append(list, a.name)
		}
		return list
	}
	want := []string{"no attack"}
	for _, a := range attacks {
		want = append(want, a.name)
	}
	if got := names("", true); !slices.Equal(got, want) {
		t.Errorf("each attack once is %q, want %q", got, want)
	}
	if got, want := names("SIGSTOP,kill -9", true), []string{"no attack", "SIGSTOP", "kill -9"}; !slices.Equal(got, want) {
		t.Errorf("each of two once is %q, want %q", got, want)
	}
	if got := names("", false); slices.Contains(got, "no attack") || slices.Contains(got, "another edge") {
		t.Errorf("a minute of attacks has %q", got)
	}
}

// TestMemoryOfOneAttack holds that what the cgroup counts from its beginning is told attack by
// attack, and the highest of all at the end.
func TestMemoryOfOneAttack(t *testing.T) {
	g := &cgroup{limit: 20 << 20, dir: t.TempDir()}
	counts := func(most, hits, faults string) {
		t.Helper()
		for name, text := range map[string]string{
			"memory.max_usage_in_bytes": most, "memory.failcnt": hits, "memory.oom_control": "oom_kill 0",
			"memory.stat": "pgfault 99\npgmajfault " + faults + "\ntotal_pgmajfault 77",
		} {
			if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	counts("15000000", "40", "7")
	g.mark()
	if b, err := os.ReadFile(filepath.Join(g.dir, "memory.max_usage_in_bytes")); err != nil || string(b) != "0" {
		t.Errorf("the highest use stands at %q, %v; want 0: the kernel begins it anew with that", b, err)
	}
	counts("12000000", "42", "10")
	if got, want := g.since(), (pressure{most: 12e6, hits: 2, faults: 3}); got != want {
		t.Errorf("since the mark %+v, want %+v", got, want)
	}
	const all = "15.0 MB of 21.0 MB at most, 42 times at the bound, 10 pages read from its files anew, 0 ended by the kernel"
	if got := g.said(); got != all {
		t.Errorf("in all %q, want %q", got, all)
	}
}

// TestOnlyTheAgentIsInside holds that no other command touches the copy of the program whose pages
// are the cgroup's.
func TestOnlyTheAgentIsInside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	own, bin := at("own"), at("bin")
	for path, text := range map[string]string{
		own: "#!/bin/sh\necho own \"$@\"\n", bin: "#!/bin/sh\necho bin \"$@\"\n", at("wrapper"): wrapped(own, bin, at("procs")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	said := func(args ...string) string {
		out, err := exec.Command(at("wrapper"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got, want := said("status", "--json"), "bin status --json\n"; got != want {
		t.Errorf("status runs %q, want %q", got, want)
	}
	if _, err := os.Stat(at("procs")); err == nil {
		t.Error("status went into the cgroup")
	}
	if got, want := said("run", "--config", "x"), "own run --config x\n"; got != want {
		t.Errorf("run runs %q, want %q", got, want)
	}
	if _, err := os.Stat(at("procs")); err != nil {
		t.Error("the agent did not go into the cgroup")
	}
}
