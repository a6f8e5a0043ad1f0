package wal

import (
	"bytes"
	"os"
	"strconv"
	"testing"
)

// readSoFar returns how many bytes this process has read from files, as the kernel counts.
func readSoFar(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("the kernel does not count what is read: %v", err)
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("rchar: ")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Skip("the kernel does not count what is read")
	return 0
}

// Opening reads the last segment twice, by repair and by the library, and a few bytes beside it,
// however long the backlog is.
func TestOpenReadsOneSegment(t *testing.T) {
	o := testOptions(queueDir(t))
	o.SegmentSize = 16 << 10
	q := openQueue(t, o)
	const events = 60_000
	group := make([]Event, 500)
	for n := 0; n < events; n += len(group) {
		for i := range group {
			group[i] = Event{Fragment: make([]byte, 100)}
		}
		if err := q.Append(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
	}
	if s := q.Stats(); s.Segments < 400 {
		t.Fatalf("only %d segments", s.Segments)
	}
	closeQueue(t, q)
	before := readSoFar(t)
	q = openQueue(t, o)
	read := readSoFar(t) - before
	if most := int64(2*(o.SegmentSize+200) + 16<<10); read > most || read < 200 {
		t.Fatalf("opening %d bytes read %d, want at most %d", q.Stats().Bytes, read, most)
	}
	if s := q.Stats(); s.Pending != events {
		t.Fatalf("%+v", s)
	}
	closeQueue(t, q)
}
