package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testOptions returns options with segments so small that a few hundred events fill several.
func testOptions(dir string) Options {
	return Options{Dir: dir, CorruptDir: filepath.Join(filepath.Dir(dir), filepath.Base(dir)+".corrupt"), SegmentSize: 2048}
}

func queueDir(t testing.TB) string { return filepath.Join(t.TempDir(), "queue") }

func openQueue(t testing.TB, o Options) *Queue {
	t.Helper()
	q, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func closeQueue(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// testEvent returns the event of number n. Everything in the event follows from n, so that an event
// that is read back can be checked as a whole.
func testEvent(n uint64) Event {
	e := Event{
		Kind: uint8(n % 64), Action: uint8(n % 128), Again: n%5 == 0, Time: int64(1_700_000_000_000 + n), Fragment: make([]byte, 8+n*7%90),
	}
	binary.LittleEndian.PutUint64(e.Entity[:], n*3)
	binary.LittleEndian.PutUint64(e.Fragment, n)
	for i := 8; i < len(e.Fragment); i++ {
		e.Fragment[i] = byte(n) + byte(i)
	}
	return e
}

// number returns the number of an event, and fails if anything in it is not as in testEvent.
func number(t testing.TB, e *Event) uint64 {
	t.Helper()
	if len(e.Fragment) < 8 {
		t.Fatalf("an event was invented: fragment %x", e.Fragment)
	}
	n := binary.LittleEndian.Uint64(e.Fragment)
	if want := testEvent(n); !bytes.Equal(want.Fragment, e.Fragment) ||
		want.Kind != e.Kind || want.Action != e.Action || want.Again != e.Again || want.Time != e.Time || want.Entity != e.Entity {
		t.Fatalf("event %d reads back as %+v", n, e)
	}
	return n
}

func appendEvents(t testing.TB, q *Queue, from, count uint64) {
	t.Helper()
	for n := from; n < from+count; n++ {
		if err := q.Append(context.Background(), testEvent(n)); err != nil {
			t.Fatalf("append of event %d: %v", n, err)
		}
	}
}

// readNumbers returns the numbers of the events behind the reader's position.
func readNumbers(t testing.TB, r *Reader) (numbers []uint64) {
	t.Helper()
	if err := r.Read(func(e *Entry) bool {
		numbers = append(numbers, number(t, &e.Event))
		return true
	}); err != nil {
		t.Fatalf("read: %v", err)
	}
	return numbers
}

func pendingNumbers(t testing.TB, q *Queue) []uint64 {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	return readNumbers(t, r)
}

func span(from, to uint64) (s []uint64) {
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

func checkIdentity(t testing.TB, s Stats) {
	t.Helper()
	if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
		t.Fatalf("accepted %d is not deployed %d + pending %d + dropped %d + dead %d + damaged %d",
			s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	}
}

// stored returns Stats without the fields that only the running process knows.
func stored(s Stats) Stats {
	s.Commits, s.Today, s.Since, s.CommitBytes, s.Writable, s.LastError, s.SyncTimes = 0, Account{}, 0, 0, false, nil, TimeCounts{}
	return s
}

func checkInspect(t testing.TB, q *Queue) {
	t.Helper()
	got, err := Inspect(q.o.Dir)
	if err != nil {
		t.Fatalf("inspect: %v", err)
	}
	if want := stored(q.Stats()); stored(got) != want {
		t.Fatalf("inspect says\n%+v, the queue\n%+v", stored(got), want)
	}
}

// commitRead reads all events, commits them as deployed and returns their numbers.
func commitRead(t testing.TB, q *Queue) []uint64 {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	numbers := readNumbers(t, r)
	if err := q.Commit(r.Position(), uint64(len(numbers)), 0); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return numbers
}

// memDir makes a directory in RAM where that is possible, for the many copies of directories that
// the tests make.
func memDir(t testing.TB) string {
	t.Helper()
	const shm = "/dev/shm"
	dir, err := os.MkdirTemp(shm, "edgesync-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(memDir(t), "queue")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range dirFiles(t, from) {
		writeFile(t, filepath.Join(to, name), b)
	}
	return to
}

// dirFiles reads a directory that may change meanwhile.
func dirFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			files[e.Name()] = b
		}
	}
	return files
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func segmentsOf(t testing.TB, dir string) (paths []string) {
	t.Helper()
	firsts, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range firsts {
		paths = append(paths, filepath.Join(dir, segmentName(f)))
	}
	return paths
}

// frames splits the intact content of a segment into its entries.
func frames(t testing.TB, data []byte, first uint64) (at []int) {
	t.Helper()
	for pos := 0; pos < len(data); first++ {
		_, n, bad := next(data[pos:], first)
		if bad {
			t.Fatalf("the test's segment is damaged at %d", pos)
		}
		at = append(at, pos)
		pos += n
	}
	return at
}

func sprint(n []uint64) string {
	if len(n) > 12 {
		return fmt.Sprintf("%d … %d (%d)", n[:6], n[len(n)-6:], len(n))
	}
	return fmt.Sprint(n)
}

// syncNow makes durable what was accepted, whatever Options.Interval is.
func syncNow(t testing.TB, q *Queue) {
	t.Helper()
	q.own.Lock()
	defer q.own.Unlock()
	if !q.syncWrites(time.Now()) {
		t.Fatal("the medium refuses")
	}
}
