package wal

import (
	"context"
	"reflect"
	"runtime"
	"slices"
	"testing"

	tlog "github.com/tidwall/wal"
)

// The library's copy of the tail has room for the segment once something is in it, also when the log was opened in the middle of one. A segment then
// allocates hardly more than itself, instead of five times that. (When this fails after an update of the library, its fields have other names.)
func TestRoomyCopy(t *testing.T) {
	const segment = 256 << 10
	o := testOptions(queueDir(t))
	o.SegmentSize = segment
	q := openQueue(t, o)
	caps := func() (frames, positions int) {
		q.own.Lock()
		defer q.own.Unlock()
		f, p, ok := tailCopy(q.store)
		if !ok {
			t.Fatal("the library keeps its copy elsewhere")
		}
		return cap(*f), p.Cap()
	}
	appendEvents(t, q, 1, 10)
	if frames, _ := caps(); frames > 4<<10 {
		t.Fatalf("room for %d bytes with 10 events", frames)
	}
	appendEvents(t, q, 11, 500)
	appendEvents(t, q, 511, 1)
	frames, positions := caps()
	if frames < segment || frames > segment*5/4 {
		t.Fatalf("room for %d bytes", frames)
	}
	closeQueue(t, q)
	q = openQueue(t, o)
	appendEvents(t, q, 512, 1)
	if n, m := caps(); n != frames || m < positions*9/10 || m > positions*11/10 {
		t.Fatalf("room for %d bytes and %d frames, and after a restart for %d and %d", frames, positions, n, m)
	}

	for q.Stats().Segments == 1 {
		appendEvents(t, q, q.Stats().Accepted+1, 100)
	}
	e := make([]Event, 100)
	for i := range e {
		e[i] = testEvent(1)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for q.Stats().Segments < 6 {
		if err := q.Append(context.Background(), e...); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 4; n > 3*segment {
		t.Fatalf("a segment of %d bytes allocates %d", segment, n)
	}
	closeQueue(t, q)
}

// Of a library that has other fields nothing is touched.
func TestRoomyCopyOfAnother(t *testing.T) {
	for _, v := range []any{
		new(tlog.Batch), new(int), (*tlog.Log)(nil), 1,
		&struct{ segments int }{1},
	} {
		if f, ok := sliceField(reflect.ValueOf(v), "segments"); ok {
			t.Errorf("%T has a field %s", v, f.Type())
		}
	}
	v := &struct{ segments []int }{[]int{1, 2}}
	f, ok := sliceField(reflect.ValueOf(v), "segments")
	if !ok {
		t.Fatal("there is one")
	}
	f.Grow(100)
	if cap(v.segments) < 102 || !slices.Equal(v.segments, []int{1, 2}) {
		t.Fatalf("%v, room for %d", v.segments, cap(v.segments))
	}
}
