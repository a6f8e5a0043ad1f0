package wal

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"edgesync/wal/disk"
)

// verify returns the lines that Verify reports.
func verify(t testing.TB, dir string) (Checked, []string) {
	t.Helper()
	var damages []string
	c, err := Verify(dir, func(d *CorruptError) { damages = append(damages, d.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	if c.Damages != len(damages) {
		t.Errorf("%d damages counted, %d reported", c.Damages, len(damages))
	}
	return c, damages
}

func repairDir(t testing.TB, dir string) string {
	t.Helper()
	var log bytes.Buffer
	if err := Repair(dir, testOptions(dir).CorruptDir, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatalf("repair: %v\n%s", err, &log)
	}
	return log.String()
}

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		m[e.Name()] = e.Type().String() + string(b)
	}
	return m
}

// Whatever a crash or a worn medium leaves, Verify reports what is damaged and changes nothing.
// Repair makes it whole, loses no more than opening would, and changes nothing when done again.
func TestVerifyAndRepairStates(t *testing.T) {
	intact := []string{
		"untouched", "zeroed tail", "left-over TEMP", "left-over END", "START and END",
		"START before anything was deleted", "START of garbage far away",
	}
	base := baseDir(t)
	for _, s := range states() {
		t.Run(s.name, func(t *testing.T) {
			dir := copyDir(t, base)
			s.make(t, dir)
			if s.name == "nothing at all" {
				if _, err := Verify(dir, nil); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("verify: %v", err)
				}
				if err := Repair(dir, "", slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("repair: %v", err)
				}
				return
			}
			before := contents(t, dir)
			_, damages := verify(t, dir)
			if (len(damages) == 0) != slices.Contains(intact, s.name) {
				t.Errorf("verify reports %q", damages)
			}
			if !maps.Equal(before, contents(t, dir)) {
				t.Fatal("verify has changed something")
			}
			first := repairDir(t, dir)
			if len(damages) > 0 && first == "" {
				t.Error("repair says nothing of what it does")
			}
			if _, damages = verify(t, dir); len(damages) > 0 {
				t.Fatalf("after repair: %q", damages)
			}
			before = contents(t, dir)
			if second := repairDir(t, dir); second != "" || !maps.Equal(before, contents(t, dir)) {
				t.Errorf("repair again does something: %s", second)
			}
			checkState(t, dir, s)
			if _, damages = verify(t, dir); len(damages) > 0 {
				t.Errorf("after use: %q", damages)
			}
		})
	}
}

// Verify reports the exact offsets.
func TestVerifyReportsOffsets(t *testing.T) {
	dir := baseDir(t)
	paths := segmentsOf(t, dir)
	data := readFile(t, paths[2])
	first, _ := segmentFirst(filepath.Base(paths[2]))
	starts := frames(t, data, first)
	data[starts[3]+33] ^= 1
	data[starts[4]+33] ^= 1
	writeFile(t, paths[2], data)
	tail := readFile(t, paths[len(paths)-1])
	writeFile(t, paths[len(paths)-1], append(slices.Clone(tail), garbage(77)...))
	before, _ := verify(t, copyDir(t, baseDir(t)))
	c, damages := verify(t, dir)
	want := Record{
		Found: FoundDamage, Offset: first + 3, Last: first + 4, File: filepath.Base(paths[2]),
		At: int64(starts[3]), Bytes: int64(starts[5] - starts[3]),
	}
	if len(damages) != 2 || damages[0] != want.String() || !strings.Contains(damages[1], "77 bytes at the end") {
		t.Errorf("%q, want %q first", damages, want.String())
	}
	if c.Segments != len(paths) || c.Frames != before.Frames-2 || c.Lost != 0 || c.Bytes != before.Bytes+77 {
		t.Errorf("%+v, before %+v", c, before)
	}
	if c.Events != before.Events-2 || before.Events != stateEvents {
		t.Errorf("%d events, before %d", c.Events, before.Events)
	}
}

// Walk reports everything once and in order, from any offset.
func TestWalkFromAnywhere(t *testing.T) {
	dir := baseDir(t)
	flip(2, 3, 9)(t, dir)
	os.Remove(segmentsOf(t, dir)[4])
	var all []Record
	if err := Walk(dir, 0, func(r *Record) bool {
		e := *r
		e.Event.Fragment = bytes.Clone(r.Event.Fragment)
		all = append(all, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	for _, r := range all {
		if r.Offset != next {
			t.Fatalf("%v, want offset %d", r.String(), next)
		}
		if r.Found == FoundEvent {
			number(t, &r.Event)
		}
		next = r.Last + 1
	}
	for from := uint64(1); from <= next+1; from++ {
		want := from
		if err := Walk(dir, from, func(r *Record) bool {
			if r.Offset != want {
				t.Fatalf("from %d: %v, want offset %d", from, r.String(), want)
			}
			want = r.Last + 1
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if want != max(next, from) {
			t.Fatalf("from %d: ends at %d, want %d", from, want, next)
		}
	}
	n := 0
	if err := Walk(dir, 1, func(*Record) bool { n++; return n < 5 }); err != nil || n != 5 {
		t.Errorf("stopped at %d, %v", n, err)
	}
}

// Verify and Walk never find damage in a queue that is written, committed and dropped meanwhile.
func TestWalkBesideAQueue(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 50)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		r := q.Reader()
		defer r.Close()
		for n := uint64(51); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := q.Append(t.Context(), testEvent(n), testEvent(n), testEvent(n)); err != nil {
				t.Error(err)
				return
			}
			if n%40 == 0 {
				r.Read(func(*Entry) bool { return true })
				q.Commit(r.Position(), 1000, 0)
			}
		}
	})
	for range 30 {
		if _, damages := verify(t, o.Dir); len(damages) > 0 {
			t.Errorf("%q", damages)
			break
		}
	}
	if err := Repair(o.Dir, "", slog.New(slog.DiscardHandler)); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("repair beside a queue: %v", err)
	}
	close(stop)
	writer.Wait()
}

// What thinning has removed is no damage, and Repair leaves it alone. Damage in a thinned segment
// is reported and repaired.
func TestVerifyThinned(t *testing.T) {
	o := thinOptions(t)
	q := openQueue(t, o)
	appendThin(t, q, 1, 1500)
	stats := q.Stats()
	left := thinPending(t, q)
	c, damages := verify(t, o.Dir)
	if len(damages) > 0 || c.Thinned != stats.Dropped || c.Events != len(left) || c.Lost != 0 {
		t.Fatalf("%+v, %q, dropped %d, left %d", c, damages, stats.Dropped, len(left))
	}
	next := uint64(1)
	if err := Walk(o.Dir, 1, func(r *Record) bool {
		if r.Offset != next {
			t.Fatalf("%v, want offset %d", r.String(), next)
		}
		next = r.Last + 1
		return true
	}); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
	before := contents(t, o.Dir)
	if did := repairDir(t, o.Dir); did != "" || !maps.Equal(before, contents(t, o.Dir)) {
		t.Fatalf("repair of what is intact: %s", did)
	}
	p := segmentsOf(t, o.Dir)[1]
	data := readFile(t, p)
	data[len(data)/2] ^= 1
	writeFile(t, p, data)
	if _, damages = verify(t, o.Dir); len(damages) != 1 {
		t.Fatalf("%q", damages)
	}
	repairDir(t, o.Dir)
	c, damages = verify(t, o.Dir)
	if len(damages) > 0 || c.Lost == 0 || c.Events != len(left)-1 {
		t.Fatalf("after repair: %+v, %q", c, damages)
	}
	q = openQueue(t, o)
	if got := thinRead(t, q.Reader()); len(got) != len(left)-1 {
		t.Errorf("%d events are left, want %d", len(got), len(left)-1)
	}
	checkIdentity(t, q.Stats())
}

func TestSegmentsAndNewest(t *testing.T) {
	dir := baseDir(t)
	list, err := Segments(dir)
	if err != nil || len(list) != len(segmentsOf(t, dir)) || list[0].First != 1 || list[0].Time == 0 || list[1].Bytes < 2048 {
		t.Errorf("%v, %+v", err, list)
	}
	if ms, err := Newest(dir); err != nil || ms != testEvent(stateEvents).Time {
		t.Errorf("newest %d, %v, want %d", ms, err, testEvent(stateEvents).Time)
	}
}
