package disk

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"edgesync/wal/disk/powercut"
)

// holes fails some reads, as a worn medium does.
type holes struct {
	data []byte
	bad  int64
}

func (h holes) ReadAt(b []byte, at int64) (int, error) {
	if at <= h.bad && h.bad < at+int64(len(b)) {
		return 0, fmt.Errorf("read: %w", syscall.EIO)
	}
	return copy(b, h.data[at:]), nil
}

func TestSalvage(t *testing.T) {
	data := powercut.Garbage(10_000)
	got, err := salvage(holes{data, 5000}, int64(len(data)))
	want := slices.Clone(data)
	clear(want[4096:8192])
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("salvage returns %d bytes, %v", len(got), err)
	}
	if _, err := salvage(failing{}, 100); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("an error that passes is not damage: %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, syscall.EMFILE }

// A file system that cannot sync directories takes a replacement all the same: the file is there. A
// file system that can sync directories, and fails, does not.
func TestReplaceWithoutDirectorySync(t *testing.T) {
	defer func() { fsyncDir = (*os.File).Sync }()
	for _, test := range []struct {
		refusal syscall.Errno
		fine    bool
	}{{syscall.EINVAL, true}, {syscall.ENOTSUP, true}, {syscall.EOPNOTSUPP, true}, {syscall.EIO, false}} {
		path := filepath.Join(t.TempDir(), "clock")
		fsyncDir = func(d *os.File) error { return &os.PathError{Op: "sync", Path: d.Name(), Err: test.refusal} }
		err := Replace(path, []byte("new"))
		if test.fine && err != nil || !test.fine && !errors.Is(err, test.refusal) {
			t.Errorf("replace where the directory's fsync says %v: %v", test.refusal, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
			t.Errorf("%v leaves %q, %v", test.refusal, b, err)
		}
		err = ReplaceFunc(path, func(w io.Writer) error {
			_, err := io.WriteString(w, "newer")
			return err
		})
		if test.fine && err != nil || !test.fine && !errors.Is(err, test.refusal) {
			t.Errorf("replace with a function, where the directory's fsync says %v: %v", test.refusal, err)
		}
	}
}

// Content that cannot be written whole leaves the old file, and nothing beside it.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := Replace(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("half of it")
	if err := ReplaceFunc(path, func(w io.Writer) error {
		_, err := io.WriteString(w, "ne")
		return errors.Join(err, cause)
	}); !errors.Is(err, cause) {
		t.Errorf("replace: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if b, err := Read(path, 100); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := Read(path, 2); err != nil || string(b) != "ol" {
		t.Errorf("two bytes of it: %q, %v", b, err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
}

// A medium that is full at the write, at the fsync or when the name is to change leaves the old
// content, and nothing beside it; once there is room the new content is taken.
func TestReplaceOnFullMedium(t *testing.T) {
	full := func(f *os.File) error { return &os.PathError{Op: "sync", Path: f.Name(), Err: syscall.ENOSPC} }
	for _, at := range []string{"write", "sync", "sync of the directory"} {
		t.Run(at, func(t *testing.T) {
			defer func() { fsyncDir, fsyncFile = (*os.File).Sync, (*os.File).Sync }()
			dir := t.TempDir()
			path := filepath.Join(dir, "clock")
			if err := Replace(path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			want, write := "old", func(w io.Writer) error {
				_, err := io.WriteString(w, "new")
				return err
			}
			switch at {
			case "write":
				write = func(w io.Writer) error {
					_, err := io.WriteString(w, "ne")
					return errors.Join(err, syscall.ENOSPC)
				}
			case "sync":
				fsyncFile = full
			default:
				fsyncDir, want = full, "new" // or, after a power cut, the old one
			}
			for range 2 {
				if err := ReplaceFunc(path, write); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("replace: %v", err)
				}
				entries, err := os.ReadDir(dir)
				if b, readErr := os.ReadFile(path); err != nil || readErr != nil || string(b) != want || len(entries) != 1 {
					t.Fatalf("%q, %v, %v", b, entries, errors.Join(err, readErr))
				}
			}
			fsyncDir, fsyncFile = (*os.File).Sync, (*os.File).Sync
			if err := Replace(path, []byte("newer")); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "newer" {
				t.Fatalf("%q, %v", b, err)
			}
		})
	}
}

// What came last stays, whatever the times of the files say: the clock of a router begins anew, and
// file systems of 32 bits show times after 2038 as long ago.
func TestKeepGoesByNoTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "corrupt")
	log := slog.New(slog.DiscardHandler)
	year := 2100
	for n := range 2 * CorruptFiles {
		name := fmt.Sprint("name", n%3)
		Keep(dir, name, []byte{byte(n)}, log)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var kept []byte
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, b...)
			if int(b[0]) == n { // each is older than the one before it, by its time
				old := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
				if err := os.Chtimes(path, old, old); err != nil {
					t.Fatal(err)
				}
				year--
			}
		}
		slices.Sort(kept)
		want := []byte{}
		for i := max(0, n-CorruptFiles+1); i <= n; i++ {
			want = append(want, byte(i))
		}
		if !slices.Equal(kept, want) {
			t.Fatalf("after %d: %v, want %v", n, kept, want)
		}
	}
}

// The oldest of the kept files goes first, until the directory is within its bounds.
func TestKeepIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "corrupt")
	log := slog.New(slog.DiscardHandler)
	count := func() (n int, bytes int64) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			i, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			bytes += i.Size()
		}
		return len(entries), bytes
	}
	for range 3 * CorruptFiles {
		Keep(dir, "name", []byte("damaged"), log)
	}
	if n, bytes := count(); n != CorruptFiles || bytes != CorruptFiles*int64(len("damaged")) {
		t.Errorf("%d files of %d bytes", n, bytes)
	}
	for range 5 {
		Keep(dir, "large", make([]byte, CorruptBytes), log)
	}
	if n, bytes := count(); n != 2 || bytes != CorruptBytes {
		t.Errorf("%d files of %d bytes", n, bytes)
	}
	Keep("", "name", []byte("damaged"), log)
}
