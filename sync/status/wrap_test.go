package status

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/tally"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		line    string
		columns int
		want    []string
	}{
		{"  flash     a b c", 0, []string{"  flash     a b c"}},
		{"  flash     " + strings.Repeat("abcd ", 8) + "end", 40, []string{
			"  flash     abcd abcd abcd abcd abcd", "            abcd abcd abcd end",
		}},
		{"  No link since " + strings.Repeat("x", 50) + " y", 10, []string{"  No link since", "  " + strings.Repeat("x", 50), "  y"}},
		{"  \x1b[33m" + strings.Repeat("é ", 19) + "\x1b[0m", 40, []string{"  \x1b[33m" + strings.Repeat("é ", 19) + "\x1b[0m"}},
	} {
		if got := wrap(tt.line, tt.columns); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d: %q, want %q", tt.line, tt.columns, got, tt.want)
		}
	}
}

// What people watch fits the smallest screens, and begins with what matters most.
func TestWatchFits(t *testing.T) {
	s := sample()
	s.At, s.State, s.Room.Percent = s.Since.Add(time.Hour), agent.Disconnected, 99
	s.Causes = []agent.Cause{{Text: strings.Repeat("the cause ", 50), Count: 9}}
	s.Losses = []tally.Loss{{Reason: "quota", Events: 10, Since: &s.Since, Until: &s.Since}}
	s.ExtraWarnings = []string{strings.Repeat("a warning ", 30)}
	for _, to := range []screen{{columns: 80, rows: 23}, {columns: 60, rows: 23, colour: true}} {
		var b bytes.Buffer
		if err := printFor(&b, &s, s.At, to); err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(rows) > to.rows || !strings.Contains(rows[1], "FULL and dropping the oldest since") {
			t.Errorf("%d rows:\n%s", len(rows), b.String())
		}
		for _, row := range rows {
			if width(row) > to.columns {
				t.Errorf("%d columns: %s", width(row), row)
			}
		}
	}
}
