package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// backfillRows are n rows of a logger that was offline, one a second, each with a text.
func backfillRows(n int, text string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `{"ts": %d, "values": {"t": 20.5, "h": 50, "p": 1000.1%s}}`, 1700000000000+1000*int64(i), text)
	}
	return b.String() + "]"
}

// A logger that was offline for a day and a half posts its rows as one body. Each is stored, and
// the rows that were answered for are there after a kill.
func TestBackfillOfADay(t *testing.T) {
	const rows = 20000
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.cloud.Stop()
	if code, head := post(r.http, "token-0", backfillRows(rows, "")); code != 200 {
		t.Fatalf("%d %v", code, head)
	}
	r.Kill()
	s.eventually("the rows after a kill", func() bool {
		var snap agent.Snapshot
		r = s.start()
		snap = r.snapshot()
		r.Kill()
		return snap.Pending >= rows && snap.Damaged == 0
	})
}
