package wal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A group that ends with the segment needs no fsync but the library's. The group behind it begins
// the next segment, and syncs its name. The numbers are those of the control frames, nothing is
// counted twice, and every offset of the segment reads back.
func TestPadded(t *testing.T) {
	o := testOptions(queueDir(t))
	o.padUpTo = 400
	var steps []string
	o.ops = byStep(func(op string) error { steps = append(steps, op); return nil })
	q := openQueue(t, o)
	appended := uint64(0)
	for segments := q.Stats().Segments; q.Stats().Segments == segments; {
		appended++
		steps = steps[:0]
		before := q.Stats().Today.Fsyncs
		appendEvents(t, q, appended, 1)
		if s := q.Stats(); s.Segments > segments && (s.Today.Fsyncs-before != 1 || !slices.Equal(steps, []string{"write", "sync"})) {
			t.Fatalf("%d fsyncs, steps %v", s.Today.Fsyncs-before, steps)
		}
	}
	full := tailBefore(t, o.Dir)
	if i, err := os.Stat(full); err != nil || i.Size() < int64(o.SegmentSize) || i.Size() > int64(o.SegmentSize)+1 {
		t.Fatalf("%v, %v", i.Size(), err)
	}
	if n := tailSize(t, o); n != 0 {
		t.Fatalf("the new tail has %d bytes", n)
	}
	checkInspect(t, q)

	// A crash here may leave the new name there or not.
	for _, gone := range []bool{false, true} {
		dir := copyDir(t, o.Dir)
		if gone {
			if err := os.Remove(tailOf(t, dir)); err != nil {
				t.Fatal(err)
			}
		}
		crashed := openQueue(t, testOptions(dir))
		if got := pendingNumbers(t, crashed); !slices.Equal(got, span(1, appended)) ||
			crashed.Stats().Damaged != 0 || crashed.Stats().Accepted != appended {
			t.Fatalf("after a crash %s, %+v", sprint(got), crashed.Stats())
		}
		appendEvents(t, crashed, appended+1, 5)
		if got := pendingNumbers(t, crashed); !slices.Equal(got, span(1, appended+5)) {
			t.Fatalf("after a crash and five more %s", sprint(got))
		}
		closeQueue(t, crashed)
	}

	steps = steps[:0]
	appendEvents(t, q, appended+1, 1)
	if !slices.Equal(steps, []string{"write", "sync", "syncdir"}) {
		t.Fatalf("steps %v", steps)
	}
	appendEvents(t, q, appended+2, 99)
	if got := commitRead(t, q); !slices.Equal(got, span(1, appended+100)) {
		t.Fatalf("read %s", sprint(got))
	}
	closeQueue(t, q)
	if _, err := Verify(o.Dir, func(d *CorruptError) { t.Error(d) }); err != nil {
		t.Fatal(err)
	}
}

// Segments are padded only where somebody waits for the fsync that the padding saves, and never
// with an interval, where nobody does.
func TestPadsWhenOthersWait(t *testing.T) {
	for _, c := range []struct {
		name        string
		waiting     bool
		interval    bool
		left, group int64
		want        bool
	}{
		{"the next group would go beyond", true, false, 60, 64, true},
		{"nobody waits", false, false, 60, 64, false},
		{"nobody waits for an fsync", true, true, 60, 64, false},
		{"the next group has room", true, false, 60, 50, false},
		{"too much would be given up", true, false, 65, 500, false},
		{"it ends by itself", true, false, 0, 500, false},
	} {
		q := &Queue{pending: &group{waiting: c.waiting}}
		q.o.SegmentSize = 64 * padShare
		if c.interval {
			q.o.Interval = 1
		}
		if got := q.pads(int64(q.o.SegmentSize)-c.left, int(c.group)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// The padded frame takes up the room, whatever is left, and at most a byte more, unless its numbers
// alone take more.
func TestPaddedSize(t *testing.T) {
	c := control{seq: 12345, committed: Position{Offset: 99, Seq: 7}, counters: counters{deployed: 7}}
	bare := frame(c.append(appendFrame(nil, frameControl, &Event{Time: 5})))
	for left := int64(1); left < 20_000; left++ {
		f := padded(slices.Clone(bare), left)
		if n := int64(entrySize(len(f))); n < left || n > max(left+1, int64(entrySize(len(bare)))) {
			t.Fatalf("%d bytes for %d", n, left)
		}
		f.seal(77)
		if got, ok := parseControl(f.payload()); !ok || got != c {
			t.Fatalf("%+v", got)
		}
		if short := unpadded(f, 77); len(short) != len(bare) || !short.intact(77) {
			t.Fatalf("%d bytes remain of %d", len(short), len(bare))
		}
	}
}

// Thinning leaves out the zeros of the padding: merged again and again, they would be most of a
// segment.
func TestThinnedIsNotPadded(t *testing.T) {
	o := testOptions(queueDir(t))
	o.padUpTo = 400
	o.MaxBytes, o.Policy = int64(o.SegmentSize)*8, Thin
	o.Series = func(_, action uint8, fragment []byte) (uint64, bool) { return uint64(fragment[8]), action == 1 }
	q := openQueue(t, o)
	for n := range uint64(600) {
		if err := q.Append(context.Background(), thinEvent(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	thinned, zeros := 0, int64(0)
	firsts, err := listSegments(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range firsts[:len(firsts)-1] {
		h, _, ok := head(o.Dir, first)
		if !ok || h[offAction] == 0 {
			continue
		}
		thinned++
		name := segmentName(first)
		if err := Walk(o.Dir, first, func(r *Record) bool {
			if r.File == name && r.Found == FoundControl {
				zeros = max(zeros, r.Bytes)
			}
			return r.File == name
		}); err != nil {
			t.Fatal(err)
		}
	}
	if thinned < 3 || zeros > headerSize+maxControlSize {
		t.Fatalf("%d thinned segments, control frames of up to %d bytes", thinned, zeros)
	}
}

// tailBefore returns the path of the last segment but one.
func tailBefore(t testing.TB, dir string) string {
	t.Helper()
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) < 2 {
		t.Fatalf("%v, %v", firsts, err)
	}
	return filepath.Join(dir, segmentName(firsts[len(firsts)-2]))
}
