//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/scripts/internal/rig"
	"edgesync/sync/cli"
)

// asAgent makes the test binary an agent.
const asAgent = "FLEETRUN_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(cli.Main(cli.Build{Version: "test"}))
	}
	os.Exit(m.Run())
}

// Five agents go through all that 200 go through in make fleet.
func TestFleet(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes some ten seconds")
	}
	dir := t.TempDir()
	bin := rig.Binaries{Cloud: filepath.Join(dir, "cloud")}
	if out, err := exec.Command("go", "build", "-o", bin.Cloud, "edgesync/scripts/cloud").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// What is started has the variable, and the test has not.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin.Agent = filepath.Join(dir, "agent")
	if err := os.WriteFile(bin.Agent, []byte("#!/bin/sh\n"+asAgent+"=1 exec '"+self+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := plan{agents: 5, every: 100 * time.Millisecond, calm: time.Second, outage: 2 * time.Second, watch: 3 * time.Second}
	err = newFleet(&out, dir, bin, p).run(t.Context())
	if err != nil || !strings.Contains(out.String(), "in the cloud is exactly what was acknowledged") ||
		!strings.Contains(out.String(), "the accounts of 5 of 5 agents are even") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestCompare(t *testing.T) {
	rows := func(list ...int) (r []rig.Row) {
		for _, n := range list {
			b, _ := json.Marshal(n)
			r = append(r, rig.Row{TS: firstTime + int64(n), Value: b, Writes: 1})
		}
		return r
	}
	g := &gateway{device: "d", posted: 3}
	other := rows(1, 2, 3)
	other[1].Value = json.RawMessage(`5`)
	for name, c := range map[string]struct {
		rows    []rig.Row
		wrong   string
		missing int
	}{
		"all":         {rows(1, 2, 3), "", 0},
		"none yet":    {nil, "", 3},
		"some yet":    {rows(1, 2), "", 1},
		"a hole":      {rows(1, 3), "d: reading 2 is 3 at 1767225600003", 0},
		"another":     {other, "d: reading 2 is 5 at 1767225600002", 0},
		"more":        {rows(1, 2, 3, 4), "d: 4 readings are in the cloud, 3 were posted", 0},
		"not a value": {[]rig.Row{{TS: firstTime + 1, Value: json.RawMessage(`"x"`)}}, `d: reading 1 is "x" at 1767225600001`, 0},
	} {
		if wrong, missing := g.compare(c.rows); wrong != c.wrong || missing != c.missing {
			t.Errorf("%s: %q, %d missing; want %q, %d", name, wrong, missing, c.wrong, c.missing)
		}
	}
}

func TestSpread(t *testing.T) {
	list := []rig.Second{{At: 99, Count: 50}, {At: 100, Count: 20}, {At: 103, Count: 30}, {At: 159, Count: 60}, {At: 160, Count: 999}}
	s := spreadOf(list, time.Unix(100, 999), 60)
	if s.all != 110 || s.most != 60 || len(s.counts) != 60 || s.counts[3] != 30 || s.wide() {
		t.Errorf("%+v, wide %v", s, s.wide())
	}
	var b bytes.Buffer
	s = spreadOf(list[:3], time.Unix(100, 0), 60)
	s.print(&b, "from the cut on")
	if got, want := b.String(), "\nattempts to connect in each second from the cut on: 50 in 60 s, at most 30 in one (60 %)\n"+
		"    0 s    20    0    0   30    0    0    0    0    0    0\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range []struct {
		all, most int
		wide      bool
	}{{5, 5, true}, {6, 6, false}, {100, 15, true}, {100, 16, false}, {1000, 150, true}, {1000, 151, false}, {0, 0, true}} {
		if s := (spread{all: c.all, most: c.most}); s.wide() != c.wide {
			t.Errorf("%d of %d in a second: wide %v", c.most, c.all, s.wide())
		}
	}
}
