package wal

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/wal/disk"
	"edgesync/wal/disk/powercut"
)

// state is a directory as a crash, a worn medium or a person may leave it. Every state must open,
// and serve.
type state struct {
	name string
	// make changes the directory of a closed queue with events 1 to stateEvents, of which 1 to
	// stateCommitted are committed.
	make func(t *testing.T, dir string)
	// lost reports whether an event cannot be read any more. again says that committed events are
	// sent again.
	lost  func(n uint64) bool
	again bool
	some  bool // which events are lost depends on the layout: any, but at least one
}

const (
	stateEvents    = 206
	stateCommitted = 5
)

func none(uint64) bool { return false }

func tailOf(t testing.TB, dir string) string {
	s := segmentsOf(t, dir)
	return s[len(s)-1]
}

func addTail(b []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		p := tailOf(t, dir)
		writeFile(t, p, append(readFile(t, p), b...))
	}
}

func garbage(n int) []byte { return powercut.Garbage(n) }

// flip changes one bit of the k-th frame of a segment, at a byte of its entry: 0 is the length, 1
// to 30 are the header, and the fragment follows.
func flip(segment, k, at int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		s := segmentsOf(t, dir)
		p := s[(segment+len(s))%len(s)]
		first, _ := segmentFirst(filepath.Base(p))
		b := readFile(t, p)
		starts := frames(t, b, first)
		b[starts[k]+at] ^= 0x10
		writeFile(t, p, b)
	}
}

func states() []state {
	list := []state{
		{name: "untouched", make: func(*testing.T, string) {}},
		{name: "zeroed tail", make: addTail(make([]byte, 8192))},
		{name: "garbage tail", make: addTail(garbage(5000))},
		{name: "one byte of garbage", make: addTail([]byte{0x85})},
		{name: "tail of 0xff", make: addTail(slices.Repeat([]byte{0xff}, 4096))},
		{name: "length in the tail", make: flip(-1, 3, 0), some: true},
		{name: "header in the tail", make: flip(-1, 3, 9), some: true},
		{name: "checksum in the tail", make: flip(-1, 3, 1), some: true},
		{name: "fragment in the tail", make: flip(-1, 3, 33), some: true},
		{name: "head of the tail", make: flip(-1, 0, 7)},
		{name: "last frame of the tail but one", make: func(t *testing.T, dir string) {
			p := tailOf(t, dir)
			first, _ := segmentFirst(filepath.Base(p))
			flip(-1, len(frames(t, readFile(t, p), first))-2, 12)(t, dir)
		}, some: true},
		{name: "length in a sealed segment", make: flip(2, 3, 0), some: true},
		{name: "header in a sealed segment", make: flip(2, 3, 9), some: true},
		{name: "fragment in a sealed segment", make: flip(2, 3, 33), some: true},
		{name: "head of a sealed segment", make: flip(2, 0, 0)},
		{name: "two sealed segments without their heads", make: func(t *testing.T, dir string) {
			flip(2, 0, 9)(t, dir)
			flip(3, 0, 9)(t, dir)
		}},
		{name: "missing first segment", make: func(t *testing.T, dir string) {
			os.Remove(segmentsOf(t, dir)[0])
		}, some: true},
		{name: "missing middle segment", make: func(t *testing.T, dir string) {
			os.Remove(segmentsOf(t, dir)[2])
		}, some: true},
		{name: "two missing middle segments", make: func(t *testing.T, dir string) {
			s := segmentsOf(t, dir)
			os.Remove(s[2])
			os.Remove(s[3])
		}, some: true},
		{name: "missing last segment", make: func(t *testing.T, dir string) { os.Remove(tailOf(t, dir)) }, some: true},
		{name: "empty middle segment", make: func(t *testing.T, dir string) {
			writeFile(t, segmentsOf(t, dir)[2], nil)
		}, some: true},
		{name: "empty last segment", make: func(t *testing.T, dir string) {
			writeFile(t, tailOf(t, dir), nil)
		}, some: true},
		{name: "sealed segment of garbage", make: func(t *testing.T, dir string) {
			writeFile(t, segmentsOf(t, dir)[2], garbage(2000))
		}, some: true},
		{name: "sealed segment of zeros", make: func(t *testing.T, dir string) {
			writeFile(t, segmentsOf(t, dir)[2], make([]byte, 2000))
		}, some: true},
		{name: "two adjacent sealed segments of garbage", make: func(t *testing.T, dir string) {
			writeFile(t, segmentsOf(t, dir)[2], garbage(2000))
			writeFile(t, segmentsOf(t, dir)[3], garbage(2000))
		}, some: true},
		{name: "last segment of garbage", make: func(t *testing.T, dir string) {
			writeFile(t, tailOf(t, dir), garbage(3000))
		}, some: true},
		{name: "sealed segment cut short", make: func(t *testing.T, dir string) {
			os.Truncate(segmentsOf(t, dir)[2], 700)
		}, some: true},
		{name: "no segments, committed file there", make: func(t *testing.T, dir string) {
			for _, p := range segmentsOf(t, dir) {
				os.Remove(p)
			}
		}, some: true},
		{name: "nothing at all", make: func(t *testing.T, dir string) { os.RemoveAll(dir) }, some: true},
		{name: "everything empty", make: func(t *testing.T, dir string) {
			for _, p := range segmentsOf(t, dir) {
				writeFile(t, p, nil)
			}
			writeFile(t, filepath.Join(dir, committedName), nil)
		}, some: true},
		{name: "committed missing", make: func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, committedName))
		}, again: true},
		{name: "committed is garbage", make: func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, committedName), garbage(9000))
		}, again: true},
		{name: "committed is a directory", make: func(t *testing.T, dir string) {
			p := filepath.Join(dir, committedName)
			os.Remove(p)
			if err := os.Mkdir(p, 0o700); err != nil {
				t.Fatal(err)
			}
		}, again: true},
		{name: "committed cut in its second slot", make: func(t *testing.T, dir string) {
			os.Truncate(filepath.Join(dir, committedName), slotDistance+20)
		}, again: true},
		{name: "committed with both slots flipped", make: func(t *testing.T, dir string) {
			p := filepath.Join(dir, committedName)
			b := readFile(t, p)
			for _, at := range []int{20, slotDistance + 20} {
				if at < len(b) {
					b[at] ^= 1
				}
			}
			writeFile(t, p, b)
		}, again: true},
		{name: "left-over TEMP", make: func(t *testing.T, dir string) {
			writeFile(t, tailOf(t, dir)+".TEMP", garbage(100))
		}},
		{name: "left-over END", make: func(t *testing.T, dir string) {
			writeFile(t, segmentsOf(t, dir)[1]+".END", nil)
		}},
		{name: "START and END", make: func(t *testing.T, dir string) {
			s := segmentsOf(t, dir)
			writeFile(t, s[1]+".START", readFile(t, s[1]))
			writeFile(t, s[2]+".END", readFile(t, s[2]))
		}},
		{name: "START before anything was deleted", make: func(t *testing.T, dir string) {
			s := segmentsOf(t, dir)
			writeFile(t, s[1]+".START", readFile(t, s[1]))
		}},
		{name: "START with its source gone", make: func(t *testing.T, dir string) {
			s := segmentsOf(t, dir)
			os.Remove(s[0])
			os.Rename(s[1], s[1]+".START")
		}, some: true},
		{name: "START is all there is", make: func(t *testing.T, dir string) {
			s := segmentsOf(t, dir)
			for _, p := range s[:len(s)-1] {
				os.Remove(p)
			}
			os.Rename(s[len(s)-1], s[len(s)-1]+".START")
		}, some: true},
		{name: "START of garbage far away", make: func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, segmentName(999_999)+".START"), garbage(400))
		}},
		{name: "names the library does not know", make: func(t *testing.T, dir string) {
			for _, n := range []string{
				"18446744073709551615", "09999999999999999999", "00000000000000000000", "99999999999999999999",
				"0000000000000000000x", "notes.txt", ".hidden", "18446744073709551615.START",
			} {
				writeFile(t, filepath.Join(dir, n), []byte("not a segment"))
			}
		}},
		{name: "a directory under a segment's name", make: func(t *testing.T, dir string) {
			p := segmentsOf(t, dir)[2]
			os.Remove(p)
			os.Mkdir(p, 0o700)
			os.Mkdir(filepath.Join(dir, segmentName(5_000_000)), 0o700)
		}, some: true},
		{name: "a symbolic link under a segment's name", make: func(t *testing.T, dir string) {
			os.Symlink("/dev/null", filepath.Join(dir, segmentName(7_000_000)))
		}},
	}
	return list
}

// baseDir makes the directory of a closed queue with stateEvents events, of which stateCommitted
// are committed.
func baseDir(t testing.TB) string {
	dir := queueDir(t)
	q := openQueue(t, testOptions(dir))
	appendEvents(t, q, 1, stateCommitted)
	r := q.Reader()
	readNumbers(t, r)
	r.Close()
	if err := q.Commit(r.Position(), stateCommitted-1, 1); err != nil {
		t.Fatal(err)
	}
	appendEvents(t, q, stateCommitted+1, stateEvents-stateCommitted)
	closeQueue(t, q)
	if n := len(segmentsOf(t, dir)); n < 6 {
		t.Fatalf("only %d segments", n)
	}
	return dir
}

func TestStoredStates(t *testing.T) {
	base := baseDir(t)
	for _, s := range states() {
		t.Run(s.name, func(t *testing.T) {
			dir := copyDir(t, base)
			s.make(t, dir)
			checkState(t, dir, s)
		})
	}
}

// A torn last frame, at every byte of it (doc.go, row C2).
func TestTornTail(t *testing.T) {
	base := baseDir(t)
	p := tailOf(t, base)
	first, _ := segmentFirst(filepath.Base(p))
	data := readFile(t, p)
	starts := frames(t, data, first)
	from := starts[len(starts)-1]
	for size := from; size < len(data); size++ {
		dir := copyDir(t, base)
		if err := os.Truncate(filepath.Join(dir, filepath.Base(p)), int64(size)); err != nil {
			t.Fatal(err)
		}
		checkState(t, dir, state{name: "torn", lost: func(n uint64) bool { return n == stateEvents }})
	}
	// Old content of a block, which is intact elsewhere, stands behind the torn frame.
	dir := copyDir(t, base)
	writeFile(t, filepath.Join(dir, filepath.Base(p)), append(slices.Clone(data[:from]), data[starts[1]:from]...))
	checkState(t, dir, state{name: "old content", lost: func(n uint64) bool { return n == stateEvents }})
}

func checkState(t *testing.T, dir string, s state) {
	t.Helper()
	if s.lost == nil {
		s.lost = none
	}
	o := testOptions(dir)
	q := openQueue(t, o)
	stats := q.Stats()
	checkIdentity(t, stats)
	checkInspect(t, q)

	appendEvents(t, q, 1001, 10)
	got := pendingNumbers(t, q)
	old, fresh := got[:max(0, len(got)-10)], got[max(0, len(got)-10):]
	if !slices.Equal(fresh, span(1001, 1010)) {
		t.Fatalf("the ten appended events read back as %s", sprint(fresh))
	}
	if !slices.IsSorted(old) || len(slices.Compact(slices.Clone(old))) != len(old) {
		t.Fatalf("order broken: %s", sprint(old))
	}
	seen := make(map[uint64]bool)
	for _, n := range old {
		seen[n] = true
		if n == 0 || n > stateEvents {
			t.Fatalf("event %d was never appended", n)
		}
		if n <= stateCommitted && !s.again {
			t.Fatalf("event %d was committed and is read again", n)
		}
		if s.lost(n) {
			t.Fatalf("event %d cannot be there", n)
		}
	}
	missing := 0
	for n := uint64(stateCommitted + 1); n <= stateEvents; n++ {
		if !seen[n] && !s.lost(n) {
			missing++
		}
	}
	if missing > 0 && !s.some || missing == 0 && s.some {
		t.Fatalf("%d events that should be readable are not: %s", missing, sprint(old))
	}

	commitRead(t, q)
	after := q.Stats()
	checkIdentity(t, after)
	if after.Pending != 0 || after.Committed != after.Last {
		t.Fatalf("after everything was committed: %+v", after)
	}
	closeQueue(t, q)

	q = openQueue(t, o)
	again := q.Stats()
	checkIdentity(t, again)
	if again.Accepted != after.Accepted || again.Deployed != after.Deployed || again.Dead != after.Dead ||
		again.Damaged != after.Damaged || again.Pending != 0 || again.Last < after.Last {
		t.Fatalf("after opening again:\n%+v, before\n%+v", again, after)
	}
	checkInspect(t, q)
	appendEvents(t, q, 2001, 3)
	if got := commitRead(t, q); !slices.Equal(got, span(2001, 2003)) {
		t.Fatalf("events appended after opening again read back as %s", sprint(got))
	}
	closeQueue(t, q)
}

func TestTwoOpeners(t *testing.T) {
	dir := queueDir(t)
	q := openQueue(t, testOptions(dir))
	if _, err := Open(testOptions(dir)); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("the second opener gets %v, want disk.ErrLocked", err)
	}
	appendEvents(t, q, 1, 3)
	checkInspect(t, q)
	closeQueue(t, q)
	openQueue(t, testOptions(dir))
}

// When the committed file is lost and segments in front are gone, nobody knows whether the cloud has
// acknowledged what was in them: that is damage, and never deployed.
func TestCommittedLostAfterDrop(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 200)
	closeQueue(t, q)
	firsts, err := listSegments(o.Dir)
	if err != nil || len(firsts) < 5 {
		t.Fatalf("%d segments, %v", len(firsts), err)
	}
	passed, ok := headSeq(o.Dir, firsts[2])
	if !ok || passed == 0 {
		t.Fatal("no control frame at a segment's head")
	}
	for _, name := range []string{committedName, segmentName(firsts[0]), segmentName(firsts[1])} {
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	q = openQueue(t, o)
	checkIdentity(t, q.Stats())
	if got := pendingNumbers(t, q); !slices.Equal(got, span(passed+1, 200)) {
		t.Errorf("pending are %v, want %d to 200", got, passed+1)
	}
	if s := q.Stats(); s.Accepted != 200 || s.Deployed != 0 || s.Damaged != 0 || s.Pending != 200 {
		t.Errorf("%+v, want 200 pending", s)
	}
	checkInspect(t, q)
	commitRead(t, q)
	if s := q.Stats(); s.Accepted != 200 || s.Deployed != 200-passed || s.Damaged != passed || s.Pending != 0 {
		t.Errorf("%+v, want %d damaged and the others deployed", s, passed)
	}
	checkIdentity(t, q.Stats())
}

// A committed file that cannot be read costs duplicates, so it is logged. A committed file that was
// not written yet, as after a kill in the first seconds, is zeros, and is not logged.
func TestUnreadableCommittedFileIsLogged(t *testing.T) {
	const line = "the committed offset cannot be read"
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		want bool
	}{
		{"intact", func(*testing.T, string) {}, false},
		{"missing", func(t *testing.T, path string) { os.Remove(path) }, true},
		{"garbage", func(t *testing.T, path string) { writeFile(t, path, garbage(9000)) }, true},
		{"zeros, not written yet", func(t *testing.T, path string) { writeFile(t, path, make([]byte, 9000)) }, false},
		{"no queue yet", func(t *testing.T, path string) { os.RemoveAll(filepath.Dir(path)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions(baseDir(t))
			c.make(t, filepath.Join(o.Dir, committedName))
			var log bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			closeQueue(t, openQueue(t, o))
			if strings.Contains(log.String(), line) != c.want {
				t.Fatalf("log:\n%s", log.String())
			}
		})
	}
}
