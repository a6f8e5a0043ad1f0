package wal

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/wal/store"
)

func openDead(t testing.TB, dir string, maxBytes int64, committed uint64) *DeadLog {
	t.Helper()
	d, err := OpenDead(dir, maxBytes, committed, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func deadLetter(offset uint64, resting bool, fragment string) DeadLetter {
	return DeadLetter{
		Event: Event{Kind: 2, Action: 4, Time: 1700000000000, Entity: [16]byte{15: 7}, Fragment: []byte(fragment)}, Offset: offset,
		Reason: "refused", Tries: 3, At: time.UnixMilli(1700000001234).UTC(), Resting: resting,
	}
}

func put(t testing.TB, d *DeadLog, l DeadLetter) {
	t.Helper()
	if err := d.Put(l); err != nil {
		t.Fatal(err)
	}
}

func offsets(t testing.TB, d *DeadLog) (all []uint64) {
	t.Helper()
	if err := d.Each(func(l *DeadLetter) bool { all = append(all, l.Offset); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDeadLogLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dead")
	d := openDead(t, dir, 1<<20, 0)
	for _, o := range []uint64{7, 3, 300, 9} {
		put(t, d, deadLetter(o, false, "fragment"))
	}
	rest := deadLetter(7, true, "fragment")
	rest.Tries = 10
	put(t, d, rest) // replaces the one of this offset
	if err := errors.Join(d.Remove(3, true), d.Remove(9, false), d.Remove(1000, true)); err != nil {
		t.Fatal(err)
	}
	check := func(d *DeadLog, want ...uint64) {
		t.Helper()
		if got := offsets(t, d); !slices.Equal(got, want) {
			t.Fatalf("dead letters %v, want %v", got, want)
		}
		st := d.Stats()
		if st.Letters != len(want) || st.Resting != 1 || st.Delivered != 1 || st.Discarded != 1 {
			t.Fatalf("stats %+v", st)
		}
	}
	check(d, 7, 300)
	got, ok, err := d.Get(7)
	if err != nil || !ok || !reflect.DeepEqual(got, rest) {
		t.Fatalf("got %+v, %v, %v", got, ok, err)
	}
	bytes := d.Stats().Bytes
	d.Close()

	d = openDead(t, dir, 1<<20, 300)
	if check(d, 7, 300); d.Stats().Bytes != bytes {
		t.Errorf("%d bytes before and %d after a restart", bytes, d.Stats().Bytes)
	}
	d.Close()
	// The queue was committed up to 299 only: event 300 is still in it.
	d = openDead(t, dir, 1<<20, 299)
	check(d, 7)
	d.Close()
	check(openDead(t, dir, 1<<20, 1000), 7)
}

func TestDeadLogBound(t *testing.T) {
	one := store.PutSize(8, deadFixed+len("refused")+100)
	body := strings.Repeat("x", 100)
	dir := filepath.Join(t.TempDir(), "dead")
	d := openDead(t, dir, 3*one, 0)
	put(t, d, deadLetter(1, false, body))
	put(t, d, deadLetter(2, true, body))
	put(t, d, deadLetter(3, false, body))
	put(t, d, deadLetter(4, false, body)) // the one that rests goes
	if got := offsets(t, d); !slices.Equal(got, []uint64{1, 3, 4}) {
		t.Fatalf("dead letters %v", got)
	}
	put(t, d, deadLetter(5, false, body)) // then the oldest
	put(t, d, deadLetter(3, true, body))  // replacing needs no room
	if got := offsets(t, d); !slices.Equal(got, []uint64{3, 4, 5}) {
		t.Fatalf("dead letters %v", got)
	}
	put(t, d, deadLetter(6, false, strings.Repeat("x", int(3*one)))) // never fits, whatever is removed
	if st := d.Stats(); st.Discarded != 3 || st.Bytes != 3*one || st.Letters != 3 {
		t.Fatalf("stats %+v", st)
	}
	if g := d.TakeGap(); g.Events != 3 || g.Why != WhyDead || g.First == 0 || g.Last < g.First || d.TakeGap() != (Gap{}) {
		t.Fatalf("gap %+v", g)
	}
	d.Close()
	d = openDead(t, dir, 2*one, 100) // a smaller bound
	if got, st, g := offsets(t, d), d.Stats(), d.TakeGap(); !slices.Equal(got, []uint64{4, 5}) || st.Discarded != 4 || g.Events != 1 {
		t.Fatalf("dead letters %v, %+v, %+v", got, st, g)
	}
	pinned := deadLetter(7, true, body)
	pinned.Pinned = true
	put(t, d, pinned)
	put(t, d, deadLetter(8, false, body))
	put(t, d, deadLetter(9, false, body))
	d.Close()
	d = openDead(t, dir, 2*one, 100)
	put(t, d, deadLetter(10, false, body))
	if got := offsets(t, d); !slices.Equal(got, []uint64{7, 10}) {
		t.Fatalf("dead letters %v", got)
	}
}

// A power cut at every byte of a removal: dead letter and counter change together.
func TestDeadLogCountsWithRemoval(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "dead")
	d := openDead(t, dir, 1<<20, 0)
	put(t, d, deadLetter(1, false, "x"))
	before := d.store.Stats().Bytes
	if err := d.Remove(1, true); err != nil {
		t.Fatal(err)
	}
	d.Close()
	whole, _ := os.ReadFile(filepath.Join(dir, "letters"))
	for cut := before; cut <= int64(len(whole)); cut++ {
		if err := os.WriteFile(filepath.Join(dir, "letters"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		d := openDead(t, dir, 1<<20, 9)
		if st := d.Stats(); st.Letters+int(st.Delivered) != 1 || (cut == int64(len(whole))) != (st.Delivered == 1) {
			t.Fatalf("cut at %d of %d: %+v", cut, len(whole), st)
		}
		d.Close()
	}
}

func FuzzDecodeLetter(f *testing.F) {
	l := deadLetter(1, true, "fragment")
	f.Add(appendDeadLetter(nil, &l))
	f.Add([]byte{deadVersion})
	f.Add(make([]byte, deadFixed))
	f.Fuzz(func(t *testing.T, p []byte) {
		var l DeadLetter
		if decodeDeadLetter(p, &l) != nil || len(l.Reason) > MaxReason || p[1] > deadResting {
			return
		}
		if got := appendDeadLetter(nil, &l); string(got) != string(p) {
			t.Fatalf("%x became %x", p, got)
		}
	})
}

// Reviving and discarding many dead letters at once, and a look from outside that changes nothing.
func TestDeadLogBulk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dead")
	if st, err := InspectDead(dir, 0, nil); err != nil || st != (DeadStats{}) {
		t.Errorf("a log that is not there: %v, %+v", err, st)
	}
	d := openDead(t, dir, 8<<20, 0)
	large := strings.Repeat("x", 300<<10)
	for o := uint64(1); o <= 9; o++ {
		put(t, d, deadLetter(o, o != 5, large)) // more than one batch
	}
	odd := func(o uint64) bool { return o%2 == 1 }
	before := d.Stats()
	if n, err := d.Revive(odd); n != 5 || err != nil {
		t.Fatalf("revive: %d, %v", n, err)
	}
	if st := d.Stats(); st.Resting != 4 || st.Bytes != before.Bytes || st.Letters != 9 {
		t.Errorf("after revive: %+v, before %+v", st, before)
	}
	if n, err := d.Discard(func(o uint64) bool { return o < 4 || o == 77 }); n != 3 || err != nil {
		t.Fatalf("discard: %d, %v", n, err)
	}
	var waiting []uint64
	err := d.Waiting(6, func(l *DeadLetter) bool {
		waiting = append(waiting, l.Offset)
		return len(waiting) < 2
	})
	if err != nil || !slices.Equal(waiting, []uint64{7, 9}) {
		t.Errorf("waiting from 6 on: %v, %v", waiting, err)
	}
	if n, err := d.Discard(func(o uint64) bool { return o == 2 }); n != 0 || err != nil {
		t.Fatalf("discard again: %d, %v", n, err)
	}
	check := func(st DeadStats, letters []DeadLetter) {
		t.Helper()
		if st.Letters != 6 || st.Resting != 3 || st.Discarded != 3 || st.Delivered != 0 || st.Bytes != before.Bytes/9*6 {
			t.Errorf("stats %+v", st)
		}
		for i, l := range letters {
			want := deadLetter(uint64(4+i), (4+i)%2 == 0, large)
			if (4+i)%2 == 1 {
				want.Tries = 0
			}
			if !reflect.DeepEqual(l, want) {
				t.Errorf("dead letter %d: %+v", l.Offset, l.Event.Kind)
			}
		}
		if len(letters) != 6 {
			t.Errorf("%d dead letters", len(letters))
		}
	}
	read := func(committed uint64) (DeadStats, []DeadLetter) {
		t.Helper()
		var list []DeadLetter
		st, err := InspectDead(dir, committed, func(l *DeadLetter) bool {
			c := *l
			c.Fragment = slices.Clone(l.Fragment)
			list = append(list, c)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return st, list
	}
	path := filepath.Join(dir, "letters")
	torn := append(readFile(t, path), garbage(500)...)
	check(read(100)) // beside the open log
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, torn)
	check(read(100))
	if st, list := read(5); st.Letters != 2 || len(list) != 2 {
		t.Errorf("up to 5: %+v, %d dead letters", st, len(list))
	}
	if got := readFile(t, path); string(got) != string(torn) {
		t.Error("looking has changed the file")
	}
	d = openDead(t, dir, 8<<20, 100)
	if got := offsets(t, d); !slices.Equal(got, []uint64{4, 5, 6, 7, 8, 9}) {
		t.Errorf("after opening again: %v", got)
	}
	check(read(100))
}

// Dead letters that were delivered together are removed and counted in one write, and those that
// are not there are not counted.
func TestDeadLogDeliver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dead")
	d, err := OpenDead(dir, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for o := uint64(1); o <= 200; o++ {
		put(t, d, deadLetter(o, o%2 == 0, "x"))
	}
	n, err := d.Deliver(func(o uint64) bool { return o <= 50 || o > 1000 })
	if again, e := d.Deliver(func(o uint64) bool { return o <= 50 }); n != 50 || again != 0 || err != nil || e != nil {
		t.Errorf("delivered %d, then %d: %v, %v", n, again, err, e)
	}
	var waiting []uint64
	err = d.Waiting(0, func(l *DeadLetter) bool {
		waiting = append(waiting, l.Offset)
		return true
	})
	if err != nil || len(waiting) != 75 || waiting[0] != 51 || waiting[74] != 199 {
		t.Errorf("waiting %v: %v", waiting, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenDead(dir, 0, 1000, nil); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if st := d.Stats(); st.Letters != 150 || st.Delivered != 50 || st.Discarded != 0 {
		t.Errorf("after opening again: %+v", st)
	}
}
