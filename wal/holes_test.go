package wal

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// After segments were dropped the library opens the log again. When that fails, because the medium gives other bytes back than were
// written, devices are refused for a moment and the queue comes back by itself.
func TestDropSurvivesDamagedTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 512
		armed := false
		o.inject = func(op string) error {
			if op == "drop" && armed {
				armed = false
				p := tailOf(t, o.Dir)
				b := readFile(t, p)
				b[len(b)-1] ^= 1
				writeFile(t, p, append(b, 0x85)) // a length that the library does not take
			}
			return nil
		}
		q := openQueue(t, o)
		appendEvents(t, q, 1, 40)
		r := q.Reader()
		defer r.Close()
		n := 0
		if err := r.Read(func(*Entry) bool { n++; return n <= 30 }); err != nil {
			t.Fatal(err)
		}
		armed = true
		if err := q.Commit(r.Position(), 30, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * fileAfter)
		if armed {
			t.Fatal("nothing was dropped")
		}
		appendEvents(t, q, 41, 10)
		s := q.Stats()
		if checkIdentity(t, s); !s.Writable || s.Accepted != 50 {
			t.Fatalf("%+v", s)
		}
		got := readNumbers(t, r)
		if !slices.Equal(got[len(got)-10:], span(41, 50)) {
			t.Fatalf("read %s", sprint(got))
		}
		closeQueue(t, q)
	})
}
