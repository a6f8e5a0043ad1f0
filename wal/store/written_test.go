package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// However a Store is used, compactions write no more than the batches did, but for the headers of
// their frames and of the file: what one writes was handed over since the one before it was.
func TestCompactionsDoubleWhatIsWrittenAtMost(t *testing.T) {
	value := func(n int) string { return strings.Repeat("v", n) }
	rnd := rand.New(rand.NewPCG(7, 8))
	for name, use := range map[string]func(i int) []string{
		"one small value":               func(int) []string { return []string{"k", value(50)} },
		"one of 10,000 values":          func(i int) []string { return []string{fmt.Sprint("k", i*7919%10_000), value(50)} },
		"one value of 10 KB":            func(int) []string { return []string{"k", value(10_000)} },
		"put and deleted":               func(i int) []string { return []string{"k", [...]string{value(3000), "-"}[i%2]} },
		"values that shrink":            func(i int) []string { return []string{fmt.Sprint("k", i%100), value(2000 - i)} },
		"only deletions of what is not": func(i int) []string { return []string{fmt.Sprint("k", i), "-"} },
		"any": func(int) []string {
			if rnd.IntN(3) == 0 {
				return []string{fmt.Sprint("k", rnd.IntN(300)), "-"}
			}
			return []string{fmt.Sprint("k", rnd.IntN(300)), value(rnd.IntN(1500))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var written int64
			s, err := Open(Options{
				Path:  filepath.Join(memDir(t), "s", "store"),
				Meter: func(_, n int64, _ int) { written += n },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			apply(t, s, "large", value(200_000), "k", value(30)) // must be copied each time
			own := written
			for i := range 2000 {
				before := s.Stats()
				apply(t, s, use(i)...)
				after := s.Stats()
				if after.Compactions == before.Compactions {
					own += after.Bytes - before.Bytes
					continue
				}
				// What the batch took cannot be seen any more.
				var b Batch
				for pair := use(i); len(pair) > 0; pair = nil {
					if pair[1] == "-" {
						b.Delete(pair[0])
					} else {
						b.Put(pair[0], []byte(pair[1]))
					}
				}
				own += int64(b.Size())
			}
			st := s.Stats()
			compactions := int64(st.Compactions)
			frames := compactions * (headerSize + frameHeader*(1+st.Bytes/freshFrame))
			t.Logf("%d compactions: %d bytes for %d", compactions, written, own)
			if written != st.Written || written > 2*own+frames {
				t.Errorf("%d bytes were written (%d by the account of the store) for %d of batches and %d of frames",
					written, st.Written, own, frames)
			}
		})
	}
}

// What a failed write and a failed compaction have written is accounted for.
func TestFailedWritesAreMetered(t *testing.T) {
	var write, sync, cut bool
	var written int64
	var fsyncs int
	s, err := Open(Options{
		Path: filepath.Join(t.TempDir(), "store"), wrap: func(f *os.File) storage { return badFile{f, &write, &sync, &cut} },
		Meter: func(_, n int64, f int) { written, fsyncs = written+n, fsyncs+f },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply(t, s, "k", "1")
	var b Batch
	b.Put("k", []byte(strings.Repeat("x", 1000)))
	frame := int64(b.Size())
	before, syncs := written, fsyncs
	sync = true
	if err := s.Apply(&b); !errors.Is(err, ErrWrite) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if got := written - before; got != frame {
		t.Errorf("a batch of %d bytes that was not synced is accounted for as %d", frame, got)
	}
	sync = false
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	if got := written - before; got != 2*frame || fsyncs-syncs != 3 { // both tries, and the cut between them
		t.Errorf("%d bytes and %d fsyncs, want %d and 3", got, fsyncs-syncs, 2*frame)
	}

	// A compaction that cannot be synced: the file that is given up was written all the same.
	s.mu.Lock()
	defer s.mu.Unlock()
	before = written
	s.o.wrap = func(f *os.File) storage {
		fails := true
		return badFile{f, &write, &fails, &cut}
	}
	if err := s.rewrite(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if got := written - before; got < frame || got > frame+200 {
		t.Errorf("a failed compaction of %d bytes is accounted for as %d", frame, got)
	}
}

// While no compaction succeeds, the copies that are given up are as rare as the file grows: they
// write twice what the batches do at most.
func TestFailingCompactionsAreRare(t *testing.T) {
	var write, cut bool
	var written int64
	s, err := Open(Options{Path: filepath.Join(memDir(t), "store"), Meter: func(_, n int64, _ int) { written += n }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply(t, s, "large", strings.Repeat("v", 1<<20))
	s.o.wrap = func(f *os.File) storage {
		fails := true
		return badFile{f, &write, &fails, &cut}
	}
	begun, size := written, s.Stats().Bytes
	for i := range 4000 {
		apply(t, s, "k", strings.Repeat("v", 1000)+fmt.Sprint(i))
	}
	own := s.Stats().Bytes - size
	if all := written - begun; all < own+2<<20 || all > 3*own {
		t.Errorf("%d bytes were written for %d of batches", all, own)
	}
}
