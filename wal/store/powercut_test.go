package store

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"edgesync/wal/disk"
	"edgesync/wal/disk/powercut"
)

var powercutStates = flag.String("powercut", "some", "states that TestPowerCut opens: some or all")

// cutFile is a Store's file. The directory is looked at before each step on it.
type cutFile struct {
	*os.File
	d *cutStore
}

func (f cutFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.look("write")
	return f.File.WriteAt(p, off)
}

func (f cutFile) Truncate(size int64) error {
	f.d.look("truncate")
	return f.File.Truncate(size)
}

func (f cutFile) Sync() error {
	f.d.look("sync")
	if err := f.File.Sync(); err != nil {
		return err
	}
	i, err := f.Stat()
	if err != nil {
		return err
	}
	n := i.Sys().(*syscall.Stat_t).Ino
	f.d.disk.Synced = maps.Clone(f.d.disk.Synced)
	f.d.disk.Synced[n] = f.d.disk.Data[n]
	return nil
}

// cutStore follows what of a Store's directory is durable.
type cutStore struct {
	disk     *powercut.Disk
	versions []map[string]string // content after each batch that was handed over
	quiet    bool
	acked    int // index of the newest version that was acknowledged
	states   []powercut.State
	oldest   []int // of each state: the oldest version that may be there
	newest   []int // of each state: the newest version that may be there
}

func (c *cutStore) look(op string) {
	d := c.disk
	d.Scan()
	p := &powercut.Point{Op: op, Names: d.Names, Data: d.Data, Synced: d.Synced, Kept: d.Kept, Ops: d.Ops}
	for _, s := range p.States() {
		if s.Strict && !c.quiet {
			c.states, c.oldest, c.newest = append(c.states, s), append(c.oldest, c.acked), append(c.newest, len(c.versions)-1)
		}
	}
	// A new file's name is not durable until the file has taken the store's name, which is synced
	// at once. A cut may come between the two.
	if len(d.Ops) > 0 && d.Ops[len(d.Ops)-1].To == "store" {
		d.Kept, d.Ops = d.Names, nil
	}
}

// memDir makes a directory in RAM where that is possible: every state is a directory of its own.
func memDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "edgesync-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A power cut before each step of a Store, compactions among them, leaves what was applied, and of
// a batch under way all or nothing.
func TestPowerCut(t *testing.T) {
	dir := filepath.Join(memDir(t), "s")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &cutStore{disk: powercut.New(dir), versions: []map[string]string{{}}}
	wrap := func(f *os.File) storage { return cutFile{f, c} }
	o := Options{Path: filepath.Join(dir, "store"), wrap: wrap}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 4))
	compactions := uint64(0)
	for i := range 30 {
		var b Batch
		next := maps.Clone(c.versions[len(c.versions)-1])
		for range 1 + rnd.IntN(3) {
			key, value := strconv.Itoa(rnd.IntN(6)), strings.Repeat(strconv.Itoa(i), 1+rnd.IntN(30))
			if rnd.IntN(5) == 0 {
				b.Delete(key)
				delete(next, key)
			} else {
				b.Put(key, []byte(value))
				next[key] = value
			}
		}
		// A large value is written unwatched, because every byte of it would be a state. Deleting
		// it causes a compaction.
		switch c.quiet = i%10 == 2; i % 10 {
		case 2:
			value := strings.Repeat("x", compactFloor+1000)
			b.Put("large", []byte(value))
			next["large"] = value
		case 6:
			b.Delete("large")
			delete(next, "large")
		}
		c.versions = append(c.versions, next)
		if err := s.Apply(&b); err != nil {
			t.Fatal(err)
		}
		c.acked++
		if i == 15 {
			compactions += s.Stats().Compactions
			s.Close()
			if s, err = Open(o); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.look("end")
	compactions += s.Stats().Compactions
	s.Close()
	if compactions < 4 { // the first makes the file
		t.Fatalf("%d compactions", compactions)
	}
	order := rnd.Perm(len(c.states))
	slices.SortStableFunc(order, func(a, b int) int { return int(min(c.states[a].File, 1)) - int(min(c.states[b].File, 1)) })
	if *powercutStates != "all" {
		order = order[:min(len(order), 700)]
	}
	seen := make(map[uint64]bool)
	work := filepath.Join(memDir(t), "s")
	for _, i := range order {
		st := &c.states[i]
		if !st.Build(t, work, seen) {
			continue
		}
		s, err := Open(Options{Path: filepath.Join(work, "store")})
		if err != nil {
			t.Fatalf("%s: %v", st, err)
		}
		got := content(t, s)
		fits := func(m map[string]string) bool { return maps.Equal(m, got) }
		if !slices.ContainsFunc(c.versions[c.oldest[i]:c.newest[i]+1], fits) || s.Stats().Damaged != 0 {
			t.Fatalf("%s: neither batch %d nor %d: %d keys, %+v", st, c.oldest[i], c.newest[i], len(got), s.Stats())
		}
		apply(t, s, "more", "1")
		got["more"] = "1"
		s.Close()
		s, err = Open(Options{Path: filepath.Join(work, "store")})
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, got)
		s.Close()
	}
	t.Logf("%d of %d states looked at, %d different ones opened, %d compactions", len(order), len(c.states), len(seen), compactions)
}

// The directory cannot be synced after a compaction. Nothing more is accepted into the new file
// before it can, because a power cut could bring the old file back.
func TestUnsyncedCompaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "store")
	var fail error
	syncs := 0
	s, err := Open(Options{Path: path, syncDir: func(dir string) error {
		syncs++
		return errors.Join(fail, disk.SyncDir(dir))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fail = syscall.EIO
	var b Batch
	b.Put("k", bytes.Repeat([]byte{1}, 50_000))
	for s.Stats().Compactions == 1 { // the first has made the file
		if err := s.Apply(&b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Apply(&b); !errors.Is(err, ErrWrite) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("apply: %v", err)
	}
	fail = nil
	before := syncs
	apply(t, s, "k", "2")
	apply(t, s, "l", "3")
	wantContent(t, s, map[string]string{"k": "2", "l": "3"})
	if syncs != before+1 {
		t.Fatalf("the directory was synced %d times", syncs-before)
	}
}
