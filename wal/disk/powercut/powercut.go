// Package powercut works out, for tests, what a power cut may leave of a directory.
//
// A test looks at the directory (Disk.Scan) before each operation on the medium, and notes what of
// it is durable: the content of each file as of its last fsync, and the names as of the last fsync
// of the directory. From such a Point follows every State that the medium may show after a cut in
// the interval that ends there (Point.States), and Build makes a directory of one.
//
// Of names that are not durable any may be there, in the order of the operations or not. Of a
// file's unsynced end any length may be there, and behind it nothing, zeros or garbage. Of what is
// overwritten any sector may be there.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Disk follows one directory. Files are known by their inode numbers. A Disk is not safe for
// concurrent use.
type Disk struct {
	Dir    string
	Names  map[string]uint64 // as of the last Scan
	Data   map[uint64][]byte // content of every file seen so far
	Synced map[uint64][]byte // content as of the last fsync; none = empty
	Kept   map[string]uint64 // names as of the last fsync of the directory
	Ops    []NameOp          // operations on names since that fsync
}

// New follows the directory dir, of which nothing is known to be durable.
func New(dir string) *Disk {
	return &Disk{
		Dir: dir, Names: map[string]uint64{}, Data: map[uint64][]byte{}, Synced: map[uint64][]byte{},
		Kept: map[string]uint64{},
	}
}

// NameOp is what happened to a name: created (From is ""), removed (To is "") or renamed.
type NameOp struct {
	From, To string
	File     uint64
}

// Point is the interval between two looks at a directory, with what of it is durable.
type Point struct {
	Op           string // name of the operation, for messages
	Names        map[string]uint64
	Data, Synced map[uint64][]byte
	Kept         map[string]uint64
	Ops          []NameOp
	Slots        string // name of a file whose slots have a sector each; "" = none
}

// State is one state of the directory after a cut.
type State struct {
	Point  *Point
	Names  map[string]uint64
	File   uint64 // the one whose unsynced part is in a special state; 0 = none
	Shape  string // shape of that part
	N      int    // bytes or sectors of that part that are as written
	Fresh  bool   // everything else that is unsynced is there as written; else not
	Strict bool   // a medium that keeps the order of operations may show it: nothing counts as damaged
}

// Garbage is n bytes that look like nothing, the same each time.
func Garbage(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// Scan reads the directory, which nobody writes meanwhile. What has changed in it since the last
// Scan goes to Ops. Scan returns the names as of the last Scan.
func (d *Disk) Scan() (before map[string]uint64, previous map[uint64][]byte, changed []NameOp) {
	before, previous = d.Names, d.Data
	d.Names, d.Data = map[string]uint64{}, map[uint64][]byte{}
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		i, err := e.Info()
		if err != nil || e.Name() == "LOCK" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.Dir, e.Name()))
		if err != nil {
			panic(err)
		}
		n := i.Sys().(*syscall.Stat_t).Ino
		d.Names[e.Name()] = n
		if old := previous[n]; bytes.Equal(old, b) {
			b = old
		}
		d.Data[n] = b
	}
	for _, name := range slices.Sorted(maps.Keys(d.Names)) {
		if n := d.Names[name]; before[name] != n {
			op := NameOp{To: name, File: n}
			for old, m := range before {
				if m == n {
					op.From = old
				}
			}
			changed = append(changed, op)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := d.Names[name]; !ok && !slices.ContainsFunc(changed, func(o NameOp) bool { return o.From == name }) {
			changed = append(changed, NameOp{From: name})
		}
	}
	// A file whose name was taken by another is no longer seen, and may come back.
	for n, b := range previous {
		if _, ok := d.Data[n]; !ok {
			d.Data[n] = b
		}
	}
	d.Ops = append(slices.Clip(d.Ops), changed...)
	return before, previous, changed
}

func (s *State) String() string {
	return fmt.Sprintf("%s, file %d %s %d, fresh %v, ordered %v, names %v",
		s.Point.Op, s.File, s.Shape, s.N, s.Fresh, s.Strict, slices.Sorted(maps.Keys(s.Names)))
}

// States lists what the medium may show of an interval.
func (p *Point) States() (list []State) {
	var nameStates []map[string]uint64
	ordered := 0 // the first state of that order
	prefix := maps.Clone(p.Kept)
	nameStates = append(nameStates, maps.Clone(prefix))
	for _, o := range p.Ops {
		o.do(prefix)
		nameStates = append(nameStates, maps.Clone(prefix))
	}
	ordered = len(nameStates)
	if n := len(p.Ops); n > 1 && n <= 6 {
		for set := 1; set < 1<<n; set++ {
			if set&(set+1) == 0 {
				continue // a prefix of the order
			}
			names := maps.Clone(p.Kept)
			for i, o := range p.Ops {
				if set>>i&1 != 0 {
					o.do(names)
				}
			}
			nameStates = append(nameStates, names)
		}
	}
	for i, names := range nameStates {
		strict := i < ordered
		var dirty []uint64
		for _, n := range names {
			if !bytes.Equal(p.Synced[n], p.Data[n]) {
				dirty = append(dirty, n)
			}
		}
		slices.Sort(dirty)
		list = append(list,
			State{Point: p, Names: names, Strict: strict},
			State{Point: p, Names: names, Strict: strict, Fresh: true})
		for _, n := range slices.Compact(dirty) {
			for _, fresh := range []bool{false, true}[:min(2, len(dirty))] {
				tail := len(p.Data[n]) - len(p.Synced[n])
				add := func(shape string, k int, ordered bool) {
					list = append(list, State{
						Point: p, Names: names, File: n, Shape: shape, N: k, Fresh: fresh, Strict: strict && ordered,
					})
				}
				if tail == 0 { // slots with a sector each, or a tail that was filled beforehand
					var sectors []int
					for k := range (len(p.Data[n]) + 511) / 512 {
						lo, hi := k*512, min(k*512+512, len(p.Data[n]))
						if !bytes.Equal(p.Synced[n][lo:hi], p.Data[n][lo:hi]) {
							sectors = append(sectors, k)
						}
					}
					// Sectors behind it are as written, so a medium that keeps the order tears the
					// last one only.
					for i, k := range sectors {
						add("torn sector", k, i == len(sectors)-1)
						add("half a sector", k, i == len(sectors)-1)
					}
				}
				for k := range max(0, tail) {
					add("short", k, true)
					add("zeros", k, true)
					add("garbage", k, true)
				}
				for k := 0; k+512 < tail; k += 100 { // blocks that were written before those in front of them
					add("hole", k, false)
				}
			}
		}
	}
	return list
}

func (o NameOp) do(names map[string]uint64) {
	if o.From != "" {
		if o.To != "" && names[o.From] != o.File {
			return // renamed before it was there
		}
		delete(names, o.From)
	}
	if o.To != "" {
		names[o.To] = o.File
	}
}

// Build makes the directory dir and returns true. It returns false, and makes nothing, if an equal
// directory is in seen. Build adds to seen; more is what else the check of the state depends on.
func (s *State) Build(t testing.TB, dir string, seen map[uint64]bool, more ...any) bool {
	t.Helper()
	files := s.files()
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprint(h, name, len(files[name]))
		h.Write(files[name])
	}
	fmt.Fprint(h, append([]any{s.Strict}, more...)...)
	if seen[h.Sum64()] {
		return false
	}
	seen[h.Sum64()] = true
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// files is the content of the directory.
func (s *State) files() map[string][]byte {
	files := make(map[string][]byte)
	for name, n := range s.Names {
		b := s.Point.Synced[n]
		written := s.Point.Data[n]
		if n == s.File {
			b = bytes.Clone(written)
			from := min(len(s.Point.Synced[n])+s.N, len(b))
			switch s.Shape {
			case "short":
				b = b[:from]
			case "zeros":
				clear(b[from:])
			case "garbage":
				copy(b[from:], Garbage(len(b)-from))
			case "hole":
				clear(b[from : from+256])
			case "torn sector":
				lo, hi := s.N*512, min(s.N*512+512, len(b))
				if name != s.Point.Slots { // what the write leaves as it is stays (see package wal, Assumptions)
					for b[lo] == s.Point.Synced[n][lo] {
						lo++
					}
				}
				copy(b[lo:hi], Garbage(hi-lo))
			case "half a sector":
				copy(b[s.N*512+60:min(len(b), s.N*512+512)], s.Point.Synced[n][s.N*512+60:])
			}
		} else if s.Fresh {
			b = written
		}
		files[name] = b
	}
	return files
}
