package wal

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func letterAt(offset uint64, class DeadClass, size int) DeadLetter {
	return DeadLetter{
		Event: Event{Kind: 2, Action: 4, Time: int64(offset), Entity: [16]byte{byte(offset)}, Fragment: make([]byte, size)}, Offset: offset,
		Class: class, At: time.UnixMilli(1),
	}
}

// Dead letters that are put together cost one fsync, replace those at their offsets, and are there
// when the log is opened again.
func TestDeadLettersPutTogether(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDead(dir, 1<<20, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put(letterAt(7, DeadRefused, 10)); err != nil {
		t.Fatal(err)
	}
	fsyncs := 0
	d.Meter(func(_, _ int64, n int) { fsyncs += n })
	var letters []DeadLetter
	for o := uint64(1); o <= 1000; o++ {
		letters = append(letters, letterAt(o, DeadCreation, 100))
	}
	if err := errors.Join(d.PutAll(letters), d.PutAll(nil)); err != nil || fsyncs != 1 {
		t.Errorf("%v, %d fsyncs", err, fsyncs)
	}
	check := func() {
		t.Helper()
		s := d.Stats()
		want := DeadShare{Letters: 1000, Bytes: 1000 * DeadSize(100, 0)}
		if s.Letters != 1000 || s.Classes[DeadCreation] != want || s.Classes[DeadRefused] != (DeadShare{}) || s.Discarded != 0 {
			t.Errorf("%+v, want %+v", s, want)
		}
		next := uint64(1)
		d.Entries(func(e *DeadEntry) bool {
			if e.Offset != next || e.Entity != [16]byte{byte(next)} || e.Kind != 2 || e.Action != 4 || e.Class != DeadCreation ||
				e.Tries != 0 || e.Resting || e.Pinned || e.Size != DeadSize(100, 0) {
				t.Errorf("%+v", e)
			}
			next++
			return next <= 500
		})
		if next != 501 {
			t.Errorf("looked through %d", next-1)
		}
	}
	check()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDead(dir, 1<<20, 1000, nil); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	check()
	if err := d.PutAll([]DeadLetter{letterAt(1, DeadCreation, 1), letterAt(2, DeadCreation, MaxFragment+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	check()
}

// Those that are put together push out older ones of their class, and none of themselves; what does
// not fit together is put one by one.
func TestDeadLettersPutTogetherBeyondTheBound(t *testing.T) {
	d, err := OpenDead(t.TempDir(), 64<<10, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	put := func(from, to uint64, class DeadClass) {
		t.Helper()
		var letters []DeadLetter
		for o := from; o <= to; o++ {
			letters = append(letters, letterAt(o, class, 1000))
		}
		if err := d.PutAll(letters); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 20, DeadRefused)
	put(21, 50, DeadCreation)
	put(51, 70, DeadCreation)
	s := d.Stats()
	if s.Classes[DeadRefused].Letters != 20 || s.Letters+int(s.Discarded) != 70 || !d.Has(70) || !d.Has(51) || d.Has(21) {
		t.Errorf("%+v", s)
	}
	if g := d.TakeGap(); g.Events != s.Discarded || g.Why != WhyDead {
		t.Errorf("%+v", g)
	}
	put(71, 170, DeadCreation) // more than the log holds
	s = d.Stats()
	if s.Classes[DeadRefused].Letters != 20 || s.Letters+int(s.Discarded) != 170 || !d.Has(170) || s.Bytes > 64<<10 {
		t.Errorf("%+v", s)
	}
}

// Settle makes the committed position durable without an append and without the pause.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := Open(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		if err := q.Append(t.Context(), Event{Kind: 2, Action: 4, Fragment: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		end := q.End()
		if err := q.Commit(end, 1, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if q.DurablyCommitted() == end {
			t.Fatal("it is durable without a reason")
		}
		q.Settle()
		synctest.Wait()
		if got := q.DurablyCommitted(); got != end {
			t.Errorf("%+v, want %+v", got, end)
		}
	})
}
