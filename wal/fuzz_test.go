package wal

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"edgesync/wal/disk"
)

// segmentOfEvents is a tail as the queue writes it: a control frame and n events.
func segmentOfEvents(n uint64) []byte {
	var b []byte
	put := func(offset uint64, t frameType, e Event) {
		f := frame(appendFrame(nil, t, &e))
		f.seal(offset)
		b = append(append(b, lengthOf(len(f))...), f...)
	}
	put(1, frameControl, Event{Fragment: (&control{}).append(nil)})
	for i := uint64(1); i <= n; i++ {
		put(i+1, frameEvent, testEvent(i))
	}
	return b
}

func lengthOf(n int) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// FuzzFrame: what is taken for a frame is what seal would write there, and a search ends on a
// frame.
func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, offset uint64) {
		offset = offset%maxOffset + 1
		if g, n, bad := next(b, offset); !bad {
			if n != entrySize(len(g)) || n > len(b) {
				t.Fatalf("frame of %d bytes takes %d of %d", len(g), n, len(b))
			}
			again := frame(bytes.Clone(g))
			again.seal(offset)
			if !bytes.Equal(again, g) {
				t.Fatal("sealing an intact frame changes it")
			}
		}
		if at, found, ok := resync(b, offset, offset+1000); ok {
			if _, _, bad := next(b[at:], found); bad || at < 1 || found < offset || found >= offset+1000 {
				t.Fatalf("search ends at %d with offset %d", at, found)
			}
		}
	})
}

// FuzzRepair: whatever the last segment holds, the queue opens, takes events and gives them back.
// Repairing again changes nothing.
func FuzzRepair(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		o := testOptions(queueDir(t))
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(o.Dir, segmentName(1))
		writeFile(t, p, b)
		before, err := Inspect(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repair(disk.System{}, o.Dir, o.CorruptDir, thinning{}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		once := readFile(t, p)
		if _, err := repair(disk.System{}, o.Dir, o.CorruptDir, thinning{}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once, readFile(t, p)) {
			t.Fatal("repairing again changes the segment")
		}
		q := openQueue(t, o)
		if s := q.Stats(); s.Accepted != before.Accepted || s.Last != before.Last {
			t.Fatalf("inspect saw %+v, open %+v", before, s)
		}
		for n := uint64(1); n <= 10; n++ {
			if err := q.Append(context.Background(), testEvent(1_000_000+n)); err != nil {
				t.Fatal(err)
			}
		}
		r := q.Reader()
		var got [][]byte
		if err := r.Read(func(e *Entry) bool { got = append(got, bytes.Clone(e.Fragment)); return true }); err != nil || len(got) < 10 {
			t.Fatalf("%d events, %v", len(got), err)
		}
		for i, g := range got[len(got)-10:] {
			if !bytes.Equal(g, testEvent(uint64(1_000_001+i)).Fragment) {
				t.Fatalf("appended event %d reads back as %x", i, g)
			}
		}
		if err := q.Commit(r.Position(), uint64(len(got)), 0); err != nil {
			t.Fatal(err)
		}
		checkIdentity(t, q.Stats())
		r.Close()
		closeQueue(t, q)
		q = openQueue(t, o)
		if s := q.Stats(); s.Pending != 0 {
			t.Fatalf("%+v", s)
		}
		closeQueue(t, q)
	})
}

// FuzzCommitted: whatever the committed file holds, what is read from it is a possible state.
func FuzzCommitted(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, committedName), b)
		c, generation, ok := readCommitted(dir)
		if !ok {
			return
		}
		if !c.valid() {
			t.Fatalf("%+v", c)
		}
		slot := appendSlot(nil, generation, &c)
		if !bytes.Contains(b, slot) {
			t.Fatal("the file does not hold what was read from it")
		}
	})
}

// walk lists what a reader can read of a sealed segment: the fragments of its events by their
// offsets.
func walk(data []byte, first, limit uint64) map[uint64][]byte {
	events := make(map[uint64][]byte)
	for offset := first; len(data) > 0 && offset < limit; {
		f, at, n, bad := follow(data, offset, limit)
		if bad {
			jump, found, ok := resync(data, offset+1, limit)
			if !ok {
				break
			}
			data, offset = data[jump:], found
			continue
		}
		if f.typ() == frameEvent {
			events[at] = f.payload()
		}
		data, offset = data[n:], at+1
	}
	return events
}

// thinnedSegment returns a sealed segment of n events after one thinning, and the offset behind it.
func thinnedSegment(n uint64) (data []byte, limit uint64) {
	s := sieve{series: func(uint8, uint8, []byte) (uint64, bool) { return 0, true }, room: 1 << 20}
	s.segment(segmentOfEvents(n), 1, n+2, true, 1)
	return s.out, n + 2
}

// FuzzThin: whatever a sealed segment holds, thinning keeps within its bounds, invents no event,
// counts what it leaves out, and makes a segment without damage. The reader reads all that can be
// read, of the old segment and of the new one.
func FuzzThin(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		const first = 1
		limit := first + uint64(size)
		series := func(kind, _ uint8, fragment []byte) (uint64, bool) {
			return uint64(len(fragment) % 3), kind != 5
		}
		s := sieve{series: series, room: len(b) + 4096}
		s.segment(b, first, limit, true, 1)
		if len(s.out) > s.room+maxFrame+maxPrefix {
			t.Fatalf("%d bytes from %d", len(s.out), len(b))
		}
		before := walk(b, first, limit)
		if len(s.out) > s.room {
			return // given up
		}
		after := walk(s.out, first, limit)
		for at, fragment := range after {
			if old, ok := before[at]; !ok || !bytes.Equal(old, fragment) {
				t.Fatalf("an event was invented at %d", at)
			}
		}
		if uint64(len(before)-len(after)) != s.gap.Events {
			t.Fatalf("%d events of %d are left, %d counted as dropped", len(after), len(before), s.gap.Events)
		}
		for data, offset := s.out, uint64(first); len(data) > 0; {
			_, at, n, bad := follow(data, offset, limit)
			if bad {
				t.Fatalf("the new segment is damaged at offset %d", offset)
			}
			if data, offset = data[n:], at+1; len(data) == 0 && at+1 != limit {
				t.Fatalf("the new segment ends at %d, not in front of %d", at, limit)
			}
		}
		if size == 0 {
			return
		}
		for _, content := range [][]byte{b, s.out} {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, segmentName(first)), content)
			head := control{seq: uint64(size)}
			h := frame(head.append(appendFrame(nil, frameControl, &Event{})))
			h.seal(limit)
			writeFile(t, filepath.Join(dir, segmentName(limit)), appendEntry(nil, h))
			q := openQueue(t, Options{Dir: dir})
			r := q.Reader()
			got := make(map[uint64]bool)
			if err := r.Read(func(e *Entry) bool {
				if old, ok := before[e.Offset]; !ok || !bytes.Equal(old, e.Fragment) || got[e.Offset] {
					t.Fatalf("an event was invented at %d", e.Offset)
				}
				got[e.Offset] = true
				return true
			}); err != nil {
				t.Fatal(err)
			}
			if want := len(walk(content, first, limit)); len(got) != want {
				t.Fatalf("%d events are read of %d", len(got), want)
			}
			if err := q.Commit(r.Position(), uint64(len(got)), 0); err != nil {
				t.Fatal(err)
			}
			if s := q.Stats(); s.Pending != 0 {
				t.Fatalf("%+v", s)
			}
			checkIdentity(t, q.Stats())
			r.Close()
			closeQueue(t, q)
		}
	})
}

// FuzzControl: a control frame that parses is a possible state, and is written as it was read.
func FuzzControl(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := parseControl(b)
		if !ok {
			return
		}
		if !c.valid() || c.counters.sum() != c.committed.Seq || c.ahead > c.seq-c.committed.Seq {
			t.Fatalf("%+v", c)
		}
		again, ok := parseControl(c.append(nil))
		if !ok || again != c || c.newer(&again) {
			t.Fatalf("%+v is read back as %+v", c, again)
		}
	})
}

// The seeds in the repository follow the format. UPDATE_SEEDS=1 writes them anew.
func TestSeeds(t *testing.T) {
	whole := segmentOfEvents(12)
	flipped := bytes.Clone(whole)
	flipped[200] ^= 4
	slots := make([]byte, slotDistance+slotSize)
	copy(slots, appendSlot(nil, 4, &control{
		seq: 9, committed: Position{Offset: 8, Seq: 7}, counters: counters{deployed: 5, dead: 2},
	}))
	copy(slots[slotDistance:], appendSlot(nil, 5, &control{
		seq: 9, committed: Position{Offset: 9, Seq: 8}, counters: counters{deployed: 6, dead: 2},
	}))
	torn := bytes.Clone(slots)
	torn[slotDistance+30] ^= 1
	first := frames(t, whole, 1)
	thinned, limit := thinnedSegment(12)
	thinTorn := bytes.Clone(thinned)
	thinTorn[len(thinned)/2] ^= 1
	full := (&control{
		seq: 900, committed: Position{Offset: 80, Seq: 70}, counters: counters{50, 10, 7, 3}, ahead: 100,
		thin: thinning{into: 90, from: 300, bytes: 4096, level: 3}, gap: Gap{Events: 5, First: -7, Last: 1_700_000_000_000, Why: WhyThin},
	}).append(nil)
	seeds := map[string][]byte{
		"FuzzRepair/whole":        whole,
		"FuzzRepair/torn":         whole[:len(whole)-5],
		"FuzzRepair/flipped":      flipped,
		"FuzzRepair/empty":        {},
		"FuzzRepair/zeros":        append(bytes.Clone(whole), make([]byte, 600)...),
		"FuzzRepair/garbage":      append(bytes.Clone(whole), garbage(600)...),
		"FuzzRepair/hole":         append(bytes.Clone(whole[:first[3]]), whole[first[6]:]...),
		"FuzzFrame/event":         whole[first[1]:first[2]],
		"FuzzFrame/behind":        append(garbage(50), whole[first[1]:first[2]]...),
		"FuzzFrame/length":        {0xff, 0xff, 0xff, 0x7f, 0x40},
		"FuzzFrame/long-length":   {0x9e, 0x00, 0x40},
		"FuzzCommitted/two-slots": slots,
		"FuzzCommitted/torn":      torn,
		"FuzzCommitted/one":       slots[:slotSize],
		"FuzzCommitted/short":     slots[:20],
		"FuzzThin/whole":          whole,
		"FuzzThin/thinned":        thinned,
		"FuzzThin/flipped":        thinTorn,
		"FuzzThin/torn":           thinned[:len(thinned)-3],
		"FuzzControl/full":        full,
		"FuzzControl/short":       full[:9],
		"FuzzControl/zero":        (&control{}).append(nil),
		"FuzzControl/kept": (&control{
			seq: 9, committed: Position{Offset: 300, Seq: 7}, counters: counters{deployed: 7}, kept: 200,
		}).append(nil),
	}
	for name, b := range seeds {
		path := filepath.Join("testdata", "fuzz", filepath.FromSlash(name))
		want := "go test fuzz v1\n[]byte(" + strconv.Quote(string(b)) + ")\n"
		if filepath.Dir(name) == "FuzzFrame" {
			want += fmt.Sprintf("uint64(%d)\n", 1) // offset 2 after the fuzz function's shift
		}
		if filepath.Dir(name) == "FuzzThin" {
			want += fmt.Sprintf("uint16(%d)\n", limit-1)
		}
		if os.Getenv("UPDATE_SEEDS") != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("seed %s is not what the format says (%v); write it anew with UPDATE_SEEDS=1", name, err)
		}
	}
}
