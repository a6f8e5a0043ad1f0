package store

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"edgesync/wal/disk"
)

// freshSuffix is the suffix of a file that is being written to replace the store.
const freshSuffix = ".new"

// freshFrame is how much of a fresh file goes into one frame.
const freshFrame = 64 << 10

// compactIfWorth rewrites the store when most of it is garbage. After a failure the old file stays
// in use.
func (s *Store) compactIfWorth() {
	garbage := s.size - headerSize - s.live
	if garbage <= compactFloor || garbage <= s.size/2 || s.size < s.wait {
		return
	}
	if err := s.rewrite(); err != nil {
		s.postpone(err)
	}
}

// postpone puts off the next compaction until the file has grown by half of what a compaction
// writes, so that a full disk is not asked at every batch, nor worn by copies that are given up.
func (s *Store) postpone(err error) {
	s.wait = s.size + max(compactFloor, s.live/2)
	s.o.Log.Warn("store could not be compacted; it goes on growing for now", "file", s.o.Path, "error", err)
}

// rewrite writes the living pairs, of which there may be none, into a new file that takes the name
// of the old one. At any moment one of the two is complete under the store's name.
func (s *Store) rewrite() (err error) {
	name := s.o.Path + freshSuffix
	f, err := disk.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("store: create %s: %w", name, err)
	}
	var fresh storage = f
	if s.o.wrap != nil {
		fresh = s.o.wrap(f)
	}
	n := &Store{o: s.o, file: fresh, keys: make(map[string]extent, len(s.keys)), size: headerSize}
	done := false
	defer func() {
		if !done {
			fresh.Close()
			os.Remove(name)
			s.wrote(0, n.size, 1) // most of it has reached the medium, and is written for nothing
		}
	}()

	rand.Read(n.marker[:])
	if _, err := fresh.WriteAt(newHeader(n.marker), 0); err != nil {
		return fmt.Errorf("store: write %s: %w", name, err)
	}
	if err := s.copyTo(n); err != nil {
		return err
	}
	if err := fresh.Sync(); err != nil {
		return fmt.Errorf("store: sync %s: %w", name, err)
	}
	if err := os.Rename(name, s.o.Path); err != nil {
		return fmt.Errorf("store: replace %s: %w", s.o.Path, err)
	}
	// The name stands for the new file now, so that is the one in use, whatever fails after this.
	done = true
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.marker, s.keys, s.size, s.live = n.file, n.marker, n.keys, n.size, n.live
	s.broken, s.wait = false, 0
	s.stats.Compactions++
	s.wrote(0, s.size, 2)
	s.renamed = true
	return s.syncName()
}

// syncName makes it durable that the name stands for the file in use. Before that a power cut could
// bring the old file back.
func (s *Store) syncName() error {
	if !s.renamed {
		return nil
	}
	if err := s.o.syncDir(filepath.Dir(s.o.Path)); err != nil {
		return fmt.Errorf("store: sync the directory of %s: %w", s.o.Path, err)
	}
	s.renamed = false
	return nil
}

// copyTo appends the living pairs to n, in the order of the old file so that it is read forwards.
func (s *Store) copyTo(n *Store) error {
	order := make([]string, 0, len(s.keys))
	for k := range s.keys {
		order = append(order, k)
	}
	sort.Slice(order, func(i, j int) bool { return s.keys[order[i]].off < s.keys[order[j]].off })
	var b Batch
	flush := func() error {
		if b.Len() == 0 {
			return nil
		}
		frame := b.frame(n.marker, n.size)
		if _, err := n.file.WriteAt(frame, n.size); err != nil {
			return fmt.Errorf("store: write %s: %w", s.o.Path+freshSuffix, err)
		}
		n.adopt(frame[frameHeader:], n.size+frameHeader)
		n.size += int64(len(frame))
		b.Reset()
		return nil
	}
	for _, k := range order {
		// A value that fills a batch alone must not share one, or the frame would be too long to be
		// read back.
		v := s.keys[k]
		if b.Len() > 0 && int64(b.Size())+PutSize(len(k), int(v.len)) > freshFrame {
			if err := flush(); err != nil {
				return err
			}
		}
		if err := b.put(k, int(v.len), func(dst []byte) ([]byte, error) { return s.read(k, v, dst) }); err != nil {
			s.stats.Damaged++
			s.stats.DamagedBytes += int64(v.len)
			s.o.Log.Warn("a stored value is unreadable and was left out", "error", err)
		}
	}
	return flush()
}
