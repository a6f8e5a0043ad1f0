package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"edgesync/sync/config"
)

// The last lines are kept, within both bounds.
func TestRingKeepsTheLastLines(t *testing.T) {
	var r ring
	for i := range 1000 {
		fmt.Fprintf(&r, "line %d\n", i)
	}
	if lines := strings.Split(r.String(), "\n"); len(lines) != ringLines+1 || lines[0] != "line 800" || lines[199] != "line 999" {
		t.Errorf("%d lines, from %q on", len(lines), lines[0])
	}
	long := strings.Repeat("x", 1023) + "\n"
	for range 100 {
		fmt.Fprint(&r, long)
	}
	if r.String() != strings.Repeat(long, 32) || cap(r.text) != ringBytes {
		t.Errorf("%d bytes in %d", len(r.String()), cap(r.text))
	}
	fmt.Fprint(&r, strings.Repeat("y", 2*ringBytes)+"\n")
	if got := r.String(); got != strings.Repeat("y", ringBytes-1)+"\n" {
		t.Errorf("%d bytes of a line that is too long", len(got))
	}
}

// The level changes for loggers that were made before, and what is logged is kept with its time
// whatever the target.
func TestLogLevelChanges(t *testing.T) {
	var stdout, stderr bytes.Buffer
	l := newLogger(&stdout, &stderr, &config.Log{Level: "warn", Format: "json", Target: "procd"}, nil)
	derived := l.With("k", 1)
	derived.Info("a")
	for _, word := range []string{"debug+3", "loud", ""} {
		if l.set(word) == nil {
			t.Errorf("%q is taken for a level", word)
		}
	}
	if err := l.set("debug"); err != nil {
		t.Fatal(err)
	}
	derived.Debug("b")
	if stdout.String() != `{"level":"DEBUG","msg":"b","k":1}`+"\n" || stderr.Len() > 0 {
		t.Errorf("%q, %q", &stdout, &stderr)
	}
	if kept := l.last.String(); !strings.HasPrefix(kept, "time=2") || !strings.HasSuffix(kept, "level=DEBUG msg=b k=1\n") ||
		strings.Count(kept, "\n") != 1 {
		t.Errorf("kept %q", kept)
	}
}
