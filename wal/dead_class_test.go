package wal

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/wal/store"
)

// kinds are dead letters of each kind, all of the same size.
func deadOf(kind DeadClass, offset uint64) DeadLetter {
	l := deadLetter(offset, kind == DeadNever, strings.Repeat("x", 100))
	l.Class, l.Pinned = kind, false
	return l
}

func offsetsOf(t *testing.T, d *DeadLog, kind DeadClass) (all []uint64) {
	t.Helper()
	if err := d.Each(func(l *DeadLetter) bool {
		if l.Class == kind {
			all = append(all, l.Offset)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// A storm of one kind leaves the share of each other kind alone, in every order of kinds.
func TestDeadLetterKindsDoNotPushOutEachOther(t *testing.T) {
	one := store.PutSize(8, deadFixed+len("refused")+100)
	kinds := []DeadClass{DeadRefused, DeadNever, DeadCreation}
	for _, storm := range kinds {
		for _, victim := range kinds {
			if storm == victim {
				continue
			}
			t.Run(storm.String()+" against "+victim.String(), func(t *testing.T) {
				d := openDead(t, filepath.Join(t.TempDir(), "dead"), 160*one, 0)
				share := map[DeadClass]int{DeadRefused: 70, DeadNever: 10, DeadCreation: 80}[victim]
				for o := range share {
					put(t, d, deadOf(victim, uint64(o+1)))
				}
				for o := range 400 {
					put(t, d, deadOf(storm, uint64(1000+o)))
				}
				kept := offsetsOf(t, d, victim)
				if victim == DeadNever { // it gives way first
					if len(kept) != 0 {
						t.Errorf("%d that can never be sent hold room that others need", len(kept))
					}
				} else if !slices.Equal(kept, span(1, uint64(share))) {
					t.Errorf("%d of %d left", len(kept), share)
				}
				st := d.Stats()
				if st.Bytes > 160*one || uint64(st.Letters)+st.Discarded != uint64(share+400) {
					t.Errorf("%+v", st)
				}
				got := offsetsOf(t, d, storm)
				want := map[DeadClass]int{DeadRefused: 160 - share, DeadNever: 10, DeadCreation: 160 - share}[storm]
				if victim == DeadNever {
					want = 160
				}
				if len(got) != want || got[len(got)-1] != 1399 {
					t.Errorf("%d of the storm are left, want the newest %d", len(got), want)
				}
			})
		}
	}
}

// What can never be sent has its bound even where there is room.
func TestNeverSentIsBounded(t *testing.T) {
	one := store.PutSize(8, deadFixed+len("refused")+100)
	dir := filepath.Join(t.TempDir(), "dead")
	d := openDead(t, dir, 160*one, 0)
	put(t, d, deadOf(DeadRefused, 1))
	for o := uint64(2); o < 50; o++ {
		put(t, d, deadOf(DeadNever, o))
	}
	if got := offsets(t, d); !slices.Equal(got, append([]uint64{1}, span(40, 49)...)) {
		t.Errorf("kept %v", got)
	}
	if g := d.TakeGap(); g.Events != 38 {
		t.Errorf("gap %+v", g)
	}
	d.Close()
	d = openDead(t, dir, 80*one, 100)
	if got := offsets(t, d); !slices.Equal(got, append([]uint64{1}, span(45, 49)...)) {
		t.Errorf("with half the room %v", got)
	}
	if st := d.Stats(); st.Classes[DeadNever].Bytes != 5*one || st.Classes[DeadNever].Letters != 5 || st.Classes[DeadRefused].Letters != 1 {
		t.Errorf("%+v", st.Classes)
	}
}

// A creation outlives what depends on it.
func TestCreationIsKeptLongerThanDependents(t *testing.T) {
	one := store.PutSize(8, deadFixed+len("refused")+100)
	d := openDead(t, filepath.Join(t.TempDir(), "dead"), 10*one, 0)
	creation := deadOf(DeadCreation, 1)
	creation.Pinned = true
	put(t, d, creation)
	for o := uint64(2); o < 30; o++ {
		put(t, d, deadOf(DeadCreation, o))
	}
	if got := offsets(t, d); !slices.Equal(got, append([]uint64{1}, span(21, 29)...)) {
		t.Errorf("kept %v", got)
	}
}

// Dead letters of before there were kinds: a pinned one was a creation.
func TestDeadLettersWithoutKind(t *testing.T) {
	for flags, want := range map[byte]DeadClass{
		0: DeadRefused, deadResting: DeadRefused, deadPinned: DeadCreation, deadPinned | deadResting: DeadCreation,
	} {
		l := deadLetter(1, false, "x")
		p := appendDeadLetter(nil, &l)
		p[1] = flags
		var got DeadLetter
		if err := decodeDeadLetter(p, &got); err != nil || got.Class != want {
			t.Errorf("flags %d: %v, %v", flags, got.Class, err)
		}
	}
	for _, kind := range []DeadClass{DeadRefused, DeadNever, DeadCreation} {
		l := deadOf(kind, 1)
		p := appendDeadLetter(nil, &l)
		var got DeadLetter
		if err := decodeDeadLetter(p, &got); err != nil || got.Class != kind || got.Pinned {
			t.Errorf("%v came back as %v, %v", kind, got.Class, err)
		}
	}
}

// What is kept elsewhere leaves the log uncounted, over restarts too.
func TestDeadRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dead")
	d, err := OpenDead(dir, 0, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 5; n++ {
		if err := d.Put(DeadLetter{Offset: n, Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := d.Release(func(o uint64) bool { return o%2 == 1 }); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for range 2 {
		if s := d.Stats(); s.Letters != 2 || s.Delivered != 0 || s.Discarded != 0 || d.Has(1) || !d.Has(2) {
			t.Errorf("%+v", s)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if d, err = OpenDead(dir, 0, 100, nil); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
}
