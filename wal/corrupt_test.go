package wal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Verify names the file and the first offset that is concerned.
func TestVerifyNamesWhatIsCorrupt(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 200)
	closeQueue(t, q)
	segments := segmentsOf(t, o.Dir)
	hurt, gone := segments[1], segments[3]
	first, _ := segmentFirst(filepath.Base(hurt))
	data := readFile(t, hurt)
	at := frames(t, data, first)
	data[at[4]+20] ^= 1 // within the fifth frame
	writeFile(t, hurt, data)
	missing, _ := segmentFirst(filepath.Base(gone))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	type found struct {
		segment string
		offset  uint64
	}
	var got []found
	if _, err := Verify(o.Dir, func(d *CorruptError) { got = append(got, found{d.Segment, d.Offset}) }); err != nil {
		t.Fatal(err)
	}
	want := []found{{filepath.Base(hurt), first + 4}, {filepath.Base(segments[2]), missing}}
	if !slices.Equal(got, want) {
		t.Errorf("corrupt are %v, want %v", got, want)
	}
}

// A Reader reports a segment that the medium refuses to read as a CorruptError, which wraps the
// error of the medium.
func TestReaderNamesWhatIsCorrupt(t *testing.T) {
	o := testOptions(queueDir(t))
	q := openQueue(t, o)
	appendEvents(t, q, 1, 5)
	path := tailOf(t, o.Dir)
	data := readFile(t, path)
	// A directory under the name of the file can be opened but not read.
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	r := q.Reader()
	defer r.Close()
	err := r.Read(func(*Entry) bool { return true })
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) || corrupt.Segment != filepath.Base(path) || corrupt.Offset != 1 || !errors.Is(err, syscall.EISDIR) {
		t.Errorf("read: %v, %+v", err, corrupt)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, data)
	if got := readNumbers(t, r); !slices.Equal(got, span(1, 5)) {
		t.Errorf("read %s when it can be read again", sprint(got))
	}
}
