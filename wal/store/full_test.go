package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fullFile refuses its steps while full says so, and leaves half of what was to be written.
type fullFile struct {
	storage
	full func() error
}

func (f fullFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.full(); err != nil {
		n, _ := f.storage.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.storage.WriteAt(p, off)
}

func (f fullFile) Sync() error {
	if err := f.full(); err != nil {
		return err
	}
	return f.storage.Sync()
}

func (f fullFile) Truncate(n int64) error {
	if err := f.full(); err != nil {
		return err
	}
	return f.storage.Truncate(n)
}

// The medium is full from each step of a run on, for one step, a few and many: writes, fsyncs,
// cuts, compactions and their names. Whatever the step, what was applied is there, what was refused
// is not, also after a crash, and the store goes on once there is room.
func TestFullAtEveryStep(t *testing.T) {
	for _, lasts := range []int{1, 2, 3, 20} {
		for from := 0; ; from++ {
			reached := true
			t.Run(fmt.Sprintf("%d steps from %d", lasts, from), func(t *testing.T) { reached = fullFrom(t, from, lasts) })
			if !reached || t.Failed() {
				break
			}
		}
	}
}

// fullFrom is a run in which so many steps fail; false if it ends before the first of them.
func fullFrom(t *testing.T, from, lasts int) bool {
	step := 0
	full := func() error {
		if step++; step > from && step <= from+lasts {
			return fmt.Errorf("step %d: %w", step, syscall.ENOSPC)
		}
		return nil
	}
	path := filepath.Join(t.TempDir(), "store")
	s, err := Open(Options{
		Path: path, wrap: func(f *os.File) storage { return fullFile{f, full} },
		syncDir: func(string) error { return full() },
	})
	for tries := 0; err != nil; tries++ {
		if !errors.Is(err, syscall.ENOSPC) || tries > lasts {
			t.Fatalf("open: %v", err)
		}
		s, err = Open(Options{
			Path: path, wrap: func(f *os.File) storage { return fullFile{f, full} },
			syncDir: func(string) error { return full() },
		})
	}
	t.Cleanup(func() { s.Close() })
	want := map[string]string{}
	big := strings.Repeat("x", compactFloor/2)
	for n := range 12 {
		var b Batch
		value := fmt.Sprint(n, big)
		b.Put("large", []byte(value)) // what it replaces is garbage, to be compacted away
		key := fmt.Sprint("key ", n)
		b.Put(key, []byte("small"))
		switch err := s.Apply(&b); {
		case err == nil:
			want["large"], want[key] = value, "small"
		case !errors.Is(err, ErrWrite) || !errors.Is(err, syscall.ENOSPC):
			t.Fatalf("apply: %v", err)
		}
		wantContent(t, s, want)
	}
	reached := step > from
	step = from + lasts
	apply(t, s, "last", "1")
	want["last"] = "1"
	wantContent(t, s, want)
	s.Close()
	s = openStore(t, path)
	wantContent(t, s, want)
	if st := s.Stats(); st.Damaged != 0 || st.CutBytes != 0 {
		t.Fatalf("the file was left damaged: %+v", st)
	}
	return reached
}
