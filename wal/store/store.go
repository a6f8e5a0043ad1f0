package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"

	"edgesync/wal/disk"
)

// Sentinels of a Store.
var (
	// ErrWrite means that the medium refused a batch (full, failing, read-only). Nothing of it was
	// applied; try again later.
	ErrWrite = errors.New("store: cannot be written")
	// ErrValueDamaged means that a value cannot be read back as it was written.
	ErrValueDamaged = errors.New("store: value is damaged")
	// ErrBatchTooLarge means that a batch is larger than MaxBatch, or a key longer than MaxKey.
	ErrBatchTooLarge = errors.New("store: batch is too large")
)

// Bounds of a Store.
const (
	MaxBatch = 8 << 20 // bytes of one batch: a DownlinkMsg of 4 MiB, with room to spare
	MaxKey   = 1 << 10 // bytes of a key
)

// compactFloor is the garbage in bytes below which a store is never rewritten.
const compactFloor = 64 << 10

// Options says where a Store lives.
type Options struct {
	Path       string // the file; its directory is made with mode 0700
	CorruptDir string // where cut and damaged bytes are kept (disk.Keep); "" = nowhere
	Log        *slog.Logger
	Meter      disk.Meter // of what is written

	wrap    func(*os.File) storage // tests put a file with faults in its place
	syncDir func(dir string) error // nil = disk.SyncDir; tests put another in its place
}

// storage is what a Store needs of its file.
type storage interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Store is the map: see the overview of the package. All methods may be called from any goroutine.
// The caller keeps other processes away.
type Store struct {
	o Options

	mu      sync.Mutex // guards what follows
	file    storage
	marker  [8]byte
	keys    map[string]extent
	size    int64 // end of the last good frame
	live    int64 // bytes of the ops that put the living pairs
	lazy    bool  // Apply has no fsync
	broken  bool  // a write failed: the file may be longer than size
	renamed bool  // a new file has taken the name, which is not durable yet
	closed  bool
	wait    int64 // the last compaction failed: none before the file has this size
	stats   Stats
}

// extent is where a value lies in the file.
type extent struct {
	off int64
	len uint32
}

// Stats is a snapshot of a Store's counters.
type Stats struct {
	Keys         int
	Bytes        int64  // size of the file
	Live         int64  // of them, what a compaction would keep
	Damaged      int    // damaged stretches met in the middle at open
	DamagedBytes int64  // their length
	CutBytes     int64  // cut from the end at open
	Compactions  uint64 // since open
	Written      int64  // bytes written since open
}

// Open opens or creates the store at o.Path, repairing what needs repair. Damaged content is never
// an error; a medium that cannot be read or written is.
func Open(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.syncDir == nil {
		o.syncDir = disk.SyncDir
	}
	if err := disk.MakeWay(filepath.Dir(o.Path), disk.Dir, o.CorruptDir, o.Log); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("store: make the directory of %s: %w", o.Path, err)
	}
	for _, path := range [...]string{o.Path, o.Path + freshSuffix} {
		if err := disk.MakeWay(path, disk.File, o.CorruptDir, o.Log); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	// A crash left this of a compaction before the rename, so it was never the store.
	if err := os.Remove(o.Path + freshSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: remove the unfinished copy of %s: %w", o.Path, err)
	}
	s := &Store{o: o, keys: make(map[string]extent)}
	if err := s.load(); err != nil {
		if s.file != nil {
			s.file.Close()
		}
		return nil, err
	}
	return s, nil
}

// Inspect reads the store at path without changing anything; a process may hold it meanwhile. The
// Store that it returns takes no batches. A file that does not exist, or in which nothing can be
// told from noise, is empty; so is what is no file.
func Inspect(path string) (*Store, error) {
	s := &Store{o: Options{Path: path, Log: slog.New(slog.DiscardHandler)}, keys: make(map[string]extent)}
	f, err := disk.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, disk.ErrIrregular) {
		s.closed = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.file = f
	i, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	known, err := s.findMarker(i.Size())
	if err == nil && known {
		err = s.scan(i.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// open gives the file at the store's path to s.
func (s *Store) open() (size int64, err error) {
	f, err := disk.Open(s.o.Path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return 0, err
	}
	if s.file != nil {
		s.file.Close()
	}
	s.file = f
	if s.o.wrap != nil {
		s.file = s.o.wrap(f)
	}
	return st.Size(), nil
}

// Apply makes a batch durable, all or nothing, with one write and one fsync (but see Lazy). An
// error wraps ErrWrite when the medium refused; the same batch may then be applied again.
func (s *Store) Apply(b *Batch) error {
	if b.Len() == 0 {
		return nil
	}
	if b.tooLarge || len(b.buf) > MaxBatch {
		return fmt.Errorf("%w: %d bytes into %s", ErrBatchTooLarge, len(b.buf), s.o.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("store %s: %w", s.o.Path, fs.ErrClosed)
	}
	if err := s.recover(); err != nil {
		return s.refused(err)
	}
	frame := b.frame(s.marker, s.size)
	n, err := s.file.WriteAt(frame, s.size)
	fsyncs := 0
	if !s.lazy {
		fsyncs = 1
		if err == nil {
			err = s.file.Sync()
		}
	}
	s.wrote(s.size, int64(n), fsyncs) // also what is cut again
	if err != nil {
		s.broken = true
		// The space is given back now, or by the next Apply.
		return s.refused(errors.Join(err, s.recover()))
	}
	s.adopt(frame[frameHeader:], s.size+frameHeader)
	s.size += int64(len(frame))
	s.compactIfWorth()
	return nil
}

// Lazy has Apply leave out its fsync from now on, or no longer: batches then survive the process,
// and become durable with the next one that is not lazy.
func (s *Store) Lazy(lazy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lazy = lazy
}

// wrote accounts for so many bytes written at a position, and so many fsyncs.
func (s *Store) wrote(at, bytes int64, fsyncs int) {
	s.stats.Written += bytes
	s.o.Meter.Add(at, bytes, fsyncs)
}

func (s *Store) refused(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrWrite, s.o.Path, err)
}

// recover cuts what a failed write left behind the last good frame, and makes the name of a
// compacted file durable.
func (s *Store) recover() error {
	if err := s.syncName(); err != nil {
		return err
	}
	if !s.broken {
		return nil
	}
	if err := s.file.Truncate(s.size); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.broken = false
	s.wrote(s.size, 0, 1)
	return nil
}

// Meter has what is written from now on go to m.
func (s *Store) Meter(m disk.Meter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Meter = m
}

// adopt takes the ops of a good frame into the map; off is where they begin in the file.
func (s *Store) adopt(ops []byte, off int64) {
	_ = decodeOps(ops, func(o change) {
		if old, ok := s.keys[string(o.key)]; ok {
			s.live -= PutSize(len(o.key), int(old.len))
		}
		if o.delete {
			delete(s.keys, string(o.key))
			return
		}
		s.keys[string(o.key)] = extent{off: off + int64(o.valueAt), len: uint32(o.valueLen)}
		s.live += PutSize(len(o.key), o.valueLen)
	})
}

// Get appends the value of key to dst. ErrValueDamaged means that there is one and that it is
// unreadable.
func (s *Store) Get(key string, dst []byte) (value []byte, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return dst, false, fmt.Errorf("store %s: %w", s.o.Path, fs.ErrClosed)
	}
	v, ok := s.keys[key]
	if !ok {
		return dst, false, nil
	}
	value, err = s.read(key, v, dst)
	return value, err == nil, err
}

// Has reports whether there is a value for key, without reading it.
func (s *Store) Has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.keys[key]
	return ok
}

// ValueLen is the length in bytes of the value of key, 0 if there is none.
func (s *Store) ValueLen(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.keys[key].len)
}

// Keys lists the keys that begin with prefix, sorted.
func (s *Store) Keys(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.keys {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// Stats is a snapshot.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Keys, st.Bytes, st.Live = len(s.keys), s.size, s.live
	return st
}

// Close releases the file. Everything applied is durable already.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.file.Close()
}
