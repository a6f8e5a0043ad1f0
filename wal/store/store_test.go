package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(Options{Path: path, CorruptDir: filepath.Join(filepath.Dir(path), "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func apply(t testing.TB, s *Store, pairs ...string) {
	t.Helper()
	var b Batch
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "-" {
			b.Delete(pairs[i])
		} else {
			b.Put(pairs[i], []byte(pairs[i+1]))
		}
	}
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
}

// content returns all keys of a store with their values.
func content(t testing.TB, s *Store) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for _, k := range s.Keys("") {
		v, ok, err := s.Get(k, nil)
		if err != nil || !ok {
			t.Fatalf("key %q: %v %v", k, ok, err)
		}
		m[k] = string(v)
	}
	return m
}

func wantContent(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	if got := content(t, s); !maps.Equal(got, want) {
		t.Fatalf("store holds %v, want %v", got, want)
	}
}

func TestKeepsWhatWasApplied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "store")
	s := openStore(t, path)
	apply(t, s, "a", "1", "b", "2", "c", "")
	apply(t, s, "a", "3", "b", "-", "none", "-")
	want := map[string]string{"a": "3", "c": ""}
	wantContent(t, s, want)
	s.Close()
	s = openStore(t, path)
	wantContent(t, s, want)
	if s.Has("b") || !s.Has("c") || s.ValueLen("a") != 1 {
		t.Error("Has or ValueLen is wrong")
	}
	if st := s.Stats(); st.CutBytes != 0 || st.Damaged != 0 || st.Keys != 2 {
		t.Errorf("stats %+v", st)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if st, err := os.Stat(name); err != nil || st.Mode() != mode {
			t.Errorf("%s has mode %v, %v", name, st.Mode(), err)
		}
	}
}

// A power cut at every byte of the last batch, in three shapes of tail: the batch is there as a
// whole only if all of its bytes are.
func TestTornAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	s := openStore(t, path)
	apply(t, s, "a", "1", "b", "2")
	before := s.Stats().Bytes
	apply(t, s, "a", "9", "b", "-", "c", strings.Repeat("x", 40))
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := map[string]string{"a": "1", "b": "2"}
	for cut := before; cut < int64(len(whole)); cut++ {
		zeroes := make([]byte, int64(len(whole))-cut)
		junk := bytes.Repeat([]byte{0xa5}, len(zeroes))
		for shape, tail := range map[string][]byte{"short": nil, "zeroed": zeroes, "garbage": junk} {
			p := filepath.Join(dir, fmt.Sprintf("%s-%d", shape, cut), "store")
			if err := os.Mkdir(filepath.Dir(p), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, append(bytes.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, p)
			wantContent(t, s, old)
			if st := s.Stats(); st.Bytes != before || st.CutBytes != cut+int64(len(tail))-before {
				t.Fatalf("%s at %d: %+v, good end %d", shape, cut, st, before)
			}
			apply(t, s, "d", "4")
			s.Close()
			s = openStore(t, p)
			wantContent(t, s, map[string]string{"a": "1", "b": "2", "d": "4"})
			s.Close()
		}
	}
}

// Every byte of the file is damaged in turn. At most the batch with that byte is lost, and nothing
// is there that was not written.
func TestDamagedMiddle(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	s := openStore(t, path)
	apply(t, s, "a", "1")
	first := s.Stats().Bytes
	apply(t, s, "b", "2")
	second := s.Stats().Bytes
	apply(t, s, "c", "3")
	s.Close()
	whole, _ := os.ReadFile(path)
	for at := range whole {
		p := filepath.Join(dir, fmt.Sprint(at), "store")
		os.Mkdir(filepath.Dir(p), 0o700)
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		if err := os.WriteFile(p, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"a": "1", "b": "2", "c": "3"}
		switch at := int64(at); {
		case at < headerSize:
		case at < first:
			delete(want, "a")
		case at < second:
			delete(want, "b")
		default:
			delete(want, "c")
		}
		s := openStore(t, p)
		wantContent(t, s, want)
		s.Close()
		// The damage is found once: the copy without it has replaced the file.
		s = openStore(t, p)
		wantContent(t, s, want)
		if st := s.Stats(); st.Damaged != 0 {
			t.Fatalf("byte %d: the second open met the damage again: %+v", at, st)
		}
		s.Close()
	}
}

func TestLostHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := openStore(t, path)
	apply(t, s, "a", "1")
	s.Close()
	whole, _ := os.ReadFile(path)
	copy(whole, make([]byte, headerSize))
	os.WriteFile(path, whole, 0o600)
	s = openStore(t, path)
	wantContent(t, s, map[string]string{"a": "1"})
	s.Close()

	// A file of noise is set aside, and a new store begins.
	os.WriteFile(path, bytes.Repeat([]byte("noise"), 100), 0o600)
	s = openStore(t, path)
	wantContent(t, s, map[string]string{})
	if kept, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "corrupt", "*.bad")); len(kept) == 0 {
		t.Error("the noise was not kept")
	}
}

// A value that looks like a frame must not become one when the search for the next frame passes
// through it.
func TestValueIsNoFrame(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store")
	s := openStore(t, path)
	var evil Batch
	evil.Put("evil", []byte("x"))
	at := s.Stats().Bytes
	apply(t, s, "a", string(evil.frame([8]byte{1, 2, 3}, at+20)))
	apply(t, s, "b", "2")
	s.Close()
	whole, _ := os.ReadFile(path)
	whole[at] ^= 1
	os.WriteFile(path, whole, 0o600)
	wantContent(t, openStore(t, path), map[string]string{"b": "2"})
}

func TestCompacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := openStore(t, path)
	value := strings.Repeat("v", 1000)
	apply(t, s, "keep", "k", "big", strings.Repeat("b", 3*freshFrame))
	for i := range 2000 {
		apply(t, s, "k", value+fmt.Sprint(i))
	}
	st := s.Stats()
	if st.Compactions == 0 || st.Bytes > 2*st.Live+compactFloor+2000 {
		t.Fatalf("2 MB of garbage: %+v", st)
	}
	want := map[string]string{"keep": "k", "big": strings.Repeat("b", 3*freshFrame), "k": value + "1999"}
	wantContent(t, s, want)
	s.Close()
	s = openStore(t, path)
	if wantContent(t, s, want); s.Stats().Live != st.Live {
		t.Errorf("live %d before and %d after a restart", st.Live, s.Stats().Live)
	}
}

func TestBounds(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "store"))
	var b Batch
	b.Put(strings.Repeat("k", MaxKey+1), nil)
	if err := s.Apply(&b); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("long key: %v", err)
	}
	b.Reset()
	b.Put("k", make([]byte, MaxBatch))
	if err := s.Apply(&b); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("long value: %v", err)
	}
	wantContent(t, s, map[string]string{})
}

// badFile fails on demand, and leaves half of what was to be written.
type badFile struct {
	storage
	write, sync, cut *bool
}

func (f badFile) WriteAt(p []byte, off int64) (int, error) {
	if *f.write {
		n, _ := f.storage.WriteAt(p[:len(p)/2], off)
		return n, syscall.ENOSPC
	}
	return f.storage.WriteAt(p, off)
}

func (f badFile) Sync() error {
	if *f.sync {
		return syscall.EIO
	}
	return f.storage.Sync()
}

func (f badFile) Truncate(n int64) error {
	if *f.cut {
		return syscall.EIO
	}
	return f.storage.Truncate(n)
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	var write, sync, cut bool
	s, err := Open(Options{Path: path, wrap: func(f *os.File) storage { return badFile{f, &write, &sync, &cut} }})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, "a", "1")
	var b Batch
	b.Put("a", []byte("2"))
	b.Put("b", []byte("2"))
	for _, fault := range []*bool{&write, &sync, &cut} {
		*fault = true
		write = write || fault == &cut
		for range 2 {
			if err := s.Apply(&b); !errors.Is(err, ErrWrite) {
				t.Fatalf("a failing medium: %v", err)
			}
			wantContent(t, s, map[string]string{"a": "1"})
		}
		write, sync, cut = false, false, false
	}
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	apply(t, s, "c", "3")
	s.Close()
	s = openStore(t, path)
	wantContent(t, s, map[string]string{"a": "2", "b": "2", "c": "3"})
	if st := s.Stats(); st.Damaged != 0 || st.CutBytes != 0 {
		t.Errorf("the file was left damaged: %+v", st)
	}

	// A compaction that finds no room leaves the old file in use.
	var b2 Batch
	b2.Put("a", bytes.Repeat([]byte("x"), 200<<10))
	s.o.wrap = func(f *os.File) storage { return badFile{f, &write, &sync, &cut} }
	for range 3 {
		write = true // for new files only: the one in use was opened without the fault
		if err := s.Apply(&b2); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Compactions != 0 || st.Bytes < 600<<10 {
		t.Errorf("compacted onto a full disk: %+v", st)
	}
	if v, _, err := s.Get("a", nil); len(v) != 200<<10 || err != nil {
		t.Errorf("a has %d bytes, %v", len(v), err)
	}
}

func TestDamagedValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := openStore(t, path)
	apply(t, s, "a", "unmistakable")
	whole, _ := os.ReadFile(path)
	f, _ := os.OpenFile(path, os.O_WRONLY, 0)
	f.WriteAt([]byte("U"), int64(bytes.Index(whole, []byte("unmistakable"))))
	f.Close()
	if v, ok, err := s.Get("a", nil); ok || !errors.Is(err, ErrValueDamaged) || len(v) != 0 {
		t.Errorf("%q %v %v", v, ok, err)
	}
}

func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "store")
	s := openStore(f, path)
	apply(f, s, "a", "1", "b", "2")
	apply(f, s, "a", "-")
	s.Close()
	whole, _ := os.ReadFile(path)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:headerSize])
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "store")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, path)
		was := content(t, s)
		apply(t, s, "new", "n")
		was["new"] = "n"
		s.Close()
		wantContent(t, openStore(t, path), was)
	})
}

func FuzzDecodeOps(f *testing.F) {
	var b Batch
	b.Put("key", []byte("value"))
	b.Delete("other")
	f.Add(b.buf[frameHeader:])
	f.Add([]byte{opPut, 0xff, 0xff, 0xff, 0xff, 0x0f, 1})
	f.Add([]byte{opDelete, 3, 'a'})
	f.Fuzz(func(t *testing.T, p []byte) {
		err := decodeOps(p, func(o change) {
			if o.valueAt < 0 || o.valueLen < 0 || o.valueAt+o.valueLen > len(p) || len(o.key) > MaxKey {
				t.Fatalf("%+v lies outside %d bytes", o, len(p))
			}
		})
		if err != nil && !errors.Is(err, errBadOps) {
			t.Fatal(err)
		}
	})
}
