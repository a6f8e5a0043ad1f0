package minutes

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
)

func open(dir string, meter disk.Meter) *Log { return Open(dir, meter, slog.New(slog.DiscardHandler)) }

// shown is what Append shows of the last n minutes.
type shown struct {
	From    int64      `json:"from"`
	Step    int        `json:"step_ms"`
	Backlog []*int     `json:"backlog"`
	In      []*int     `json:"in"`
	Out     []*int     `json:"out"`
	Latency []*int     `json:"latency_ms"`
	Room    []*float64 `json:"room_percent"`
	Up      []*float64 `json:"up"`
}

func show(t *testing.T, l *Log, n int, at time.Time) (s shown) {
	t.Helper()
	if err := json.Unmarshal(l.Append(nil, n, at), &s); err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{len(s.Backlog), len(s.In), len(s.Out), len(s.Latency), len(s.Room), len(s.Up)} {
		if k != n {
			t.Fatalf("a column has %d minutes, want %d", k, n)
		}
	}
	return s
}

// values shows a column with -1 for null.
func values[N int | float64](list []*N) (out []N) {
	for _, p := range list {
		v := N(0)
		if v--; p != nil {
			v = *p
		}
		out = append(out, v)
	}
	return out
}

func same[N int | float64](t *testing.T, what string, got []*N, want ...N) {
	t.Helper()
	if !reflect.DeepEqual(values(got), want) {
		t.Errorf("%s: %v, want %v", what, values(got), want)
	}
}

// bubble runs a test in a bubble whose clock is set.
func bubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour)
		f(t)
	})
}

// run takes samples for so many minutes, with 6 events in and 3 out a minute.
func run(l *Log, s *Sample, n int) {
	for range n * 6 {
		s.Accepted++
		s.Deployed += uint64(s.Accepted % 2)
		s.Backlog = s.Accepted - s.Deployed
		l.Take(s, time.Now())
		time.Sleep(Every)
	}
}

// A minute holds what was seen in it: sums of what came and left, the most of the rest, and the
// share with a link. A restart keeps it; the time without an agent is not known.
func TestMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(dir, nil)
		s := Sample{Up: true, Latency: 1500, Percent: 12.345}
		run(l, &s, 2)
		s.Up = false
		run(l, &s, 1)
		check := func(when string, l *Log, at time.Time) {
			t.Helper()
			got := show(t, l, 5, at)
			if got.From != at.Add(-4*time.Minute).Truncate(time.Minute).UnixMilli() || got.Step != 60000 {
				t.Errorf("%s: from %d, step %d", when, got.From, got.Step)
			}
			same(t, when+": backlog", got.Backlog, -1, 3, 6, 9, -1)
			same(t, when+": in", got.In, -1, 5, 6, 6, -1) // what came before the first sample is not known
			same(t, when+": out", got.Out, -1, 2, 3, 3, -1)
			same(t, when+": latency", got.Latency, -1, 1500, 1500, 1500, -1)
			same(t, when+": room", got.Room, -1, 12.34, 12.34, 12.34, -1)
			same(t, when+": up", got.Up, -1, 1, 1, 0, -1)
		}
		l.Take(&s, time.Now())
		l.ring[l.now%Day] = minute{} // the minute that has begun
		check("running", l, time.Now())
		l.Close(time.Now())
		l = open(dir, nil)
		check("after a restart", l, time.Now())
		time.Sleep(3 * time.Hour)
		l = open(dir, nil)
		l.Take(&s, time.Now())
		time.Sleep(20 * time.Second)
		l.Take(&s, time.Now())
		got := show(t, l, 185, time.Now())
		same(t, "three hours later", append(got.Backlog[:4], got.Backlog[183:]...), -1, 3, 6, 9, -1, 9)
		same(t, "counts begin anew", got.In[184:], 0)
	})
}

// A day is kept, of whatever lives, and the file with it is bounded.
func TestADayIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var s Sample
		for range 9 {
			l := open(dir, nil)
			run(l, &s, 400)
			l.Close(time.Now())
			time.Sleep(time.Minute) // else two lives share one
			if i, err := os.Stat(l.path); err != nil || i.Size() > maxFile {
				t.Fatal(i, err)
			}
		}
		l := open(dir, nil)
		got := show(t, l, Day, time.Now())
		seen := 0
		for i, p := range got.Backlog {
			if p != nil {
				if want := int(s.Accepted-s.Deployed) - 3*(Day-2-i) + 3*gaps(got.Backlog[i:]); *p != want && *p != want-3 {
					t.Fatalf("minute %d: %d events, want %d", i, *p, want)
				}
				seen++
			}
		}
		if seen < Day-10 {
			t.Errorf("%d minutes are known", seen)
		}
	})
}

func gaps(list []*int) (n int) {
	for _, p := range list[:len(list)-1] {
		if p == nil {
			n++
		}
	}
	return n
}

// The file is written when the queue writes anyway, once an hour at most, and then appended to.
func TestWritesRideAlong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var writes int
		var bytes int64
		l := open(dir, func(_, n int64, _ int) { writes++; bytes += n })
		var s Sample
		run(l, &s, 300)
		if writes != 0 {
			t.Fatalf("%d writes while the queue wrote nothing", writes)
		}
		for range 240 {
			s.Commits++
			run(l, &s, 1)
		}
		if writes != 4 {
			t.Errorf("%d writes in four hours, want 4", writes)
		}
		if i, err := os.Stat(l.path); err != nil || i.Size() != bytes {
			t.Errorf("the file has %v, %v; %d bytes were written", i, err, bytes)
		}
	})
}

// What a crash tears or a medium damages costs what stands behind, and the next write mends the
// file.
func TestDamagedFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var s Sample
		for range 2 {
			l := open(dir, nil)
			run(l, &s, 5)
			l.Close(time.Now())
			time.Sleep(time.Minute)
		}
		path := filepath.Join(dir, fileName)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data[:len(data)-3], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(dir, nil)
		same(t, "the first life", show(t, l, 13, time.Now()).Backlog, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1)
		l.Close(time.Now())
		l = open(dir, nil)
		if l.broken {
			t.Error("the file is still broken")
		}
		same(t, "after the mending", show(t, l, 13, time.Now()).Backlog, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1)
	})
}

// A clock that is set later dates the minutes of this life anew, and loses none of before.
func TestClockIsSetLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var s Sample
		l := open(dir, nil)
		run(l, &s, 2)
		l.Close(time.Now())
		time.Sleep(time.Minute)
		unset := func() time.Time { return time.Unix(100, 0) }
		l = open(dir, nil)
		for range 12 {
			l.Take(&s, unset())
			time.Sleep(Every)
		}
		same(t, "unset", show(t, l, 4, unset()).Backlog, -1, 6, 6, -1)
		same(t, "set", show(t, l, 6, time.Now()).Backlog, 3, 6, -1, 6, 6, -1)
	})
}

// FuzzParse: no file makes it panic, and what was read is written as it was.
func FuzzParse(f *testing.F) {
	m := &minute{backlog: 1, in: 300, out: 2, latency: 70000, room: 10000, seen: 6, up: 5}
	f.Add(appendFrame([]byte(header), 29000000, 3, func(int) *minute { return m }))
	f.Add([]byte(header))
	f.Add([]byte(header + "\x02\x00\x00\x00\x00\x00\x01\x60"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFile {
			return
		}
		again := []byte(header)
		n := 0
		parse(data, func(at int64, m minute) {
			n++
			again = appendFrame(again, at, 1, func(int) *minute { return &m })
		})
		k := 0
		if ok := parse(again, func(int64, minute) { k++ }); !ok || k != n {
			t.Fatalf("%d minutes of %d, %v", k, n, ok)
		}
	})
}
