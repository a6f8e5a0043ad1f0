package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Ops are the operations by which a queue changes its medium. System performs them; tests put a
// medium in its place that refuses one of them, is slow, or looks at the files before each. Whoever
// owns the files calls them, one at a time; FinishSync alone may run while Append does.
type Ops interface {
	// Append runs write, by which the queue's library appends a group to the segments. With beside
	// the fsync of the group in front of it is still running.
	Append(beside bool, write func() error) error
	// Adopt runs sync, which makes durable what was found when the directory was opened.
	Adopt(sync func() error) error

	// SyncData is fdatasync(2): f's data, and its size if that has changed. f is nil where the
	// library has synced what it wrote, because a segment has ended with it.
	SyncData(f *os.File) error
	// StartSync and FinishSync are SyncData in two halves. The owner of the files calls StartSync,
	// in the order of the groups, and may write on; another goroutine calls FinishSync, which waits
	// for the medium. names says that the fsync of the directory follows.
	StartSync(f *os.File, names bool) error
	FinishSync(f *os.File) error
	// Sync is fsync(2) of the file of the committed position.
	Sync(f *os.File) error
	// SyncDir makes durable what was created in a directory; see the function of that name.
	SyncDir(dir string) error

	// Allocate reserves blocks for the first size bytes of f. The size of the file stays. Without
	// such a call in the file system it does nothing.
	Allocate(f *os.File, size int64) error
	// Fill writes zeros from one position of f to another, durably.
	Fill(f *os.File, from, to int64) error
	// Truncate cuts f, and Cut does so durably.
	Truncate(f *os.File, size int64) error
	Cut(f *os.File, size int64) error

	// Replace, Rename and Remove change names. Replace is durable; see the function of that name.
	// Remove deletes files of a directory in their order, as far as it comes, and makes that
	// durable; one that is not there counts as deleted.
	Replace(path string, data []byte) error
	Rename(from, to string) error
	Remove(dir string, names []string) (gone int, err error)
}

// System is the medium itself. It has no state and may be used from any goroutine.
type System struct{}

// Block is the unit in bytes in which a file system writes.
const Block = 4 << 10

const fallocKeepSize = 1 // FALLOC_FL_KEEP_SIZE of linux/falloc.h

// Append implements Ops.
func (System) Append(_ bool, write func() error) error { return write() }

// Adopt implements Ops.
func (System) Adopt(sync func() error) error { return sync() }

// SyncData implements Ops.
func (System) SyncData(f *os.File) error {
	if f == nil {
		return nil
	}
	err := syscall.EINTR
	for err == syscall.EINTR {
		err, _ = syscall.Fdatasync(int(f.Fd())).(syscall.Errno)
	}
	if err != 0 {
		return fmt.Errorf("fdatasync of %s: %w", f.Name(), err)
	}
	return nil
}

// StartSync implements Ops. The kernel needs no notice: FinishSync does all of it.
func (System) StartSync(*os.File, bool) error { return nil }

// FinishSync implements Ops.
func (s System) FinishSync(f *os.File) error { return s.SyncData(f) }

// Sync implements Ops.
func (System) Sync(f *os.File) error { return f.Sync() }

// SyncDir implements Ops.
func (System) SyncDir(dir string) error { return SyncDir(dir) }

// Allocate implements Ops.
func (System) Allocate(f *os.File, size int64) error {
	err := Retry(func() error { return syscall.Fallocate(int(f.Fd()), fallocKeepSize, 0, size) })
	if errors.Is(err, syscall.EOPNOTSUPP) {
		return nil
	}
	return err
}

// Fill implements Ops. It writes block by block: of one large write the kernel makes one large
// piece of page cache, and counts all of it as written at each commit into it.
func (System) Fill(f *os.File, from, to int64) error {
	var block [Block]byte
	for from < to {
		n := min(Block-from%Block, to-from)
		if _, err := f.WriteAt(block[:n], from); err != nil {
			return err
		}
		from += n
	}
	return f.Sync()
}

// Truncate implements Ops.
func (System) Truncate(f *os.File, size int64) error { return f.Truncate(size) }

// Cut implements Ops.
func (System) Cut(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// Replace implements Ops.
func (System) Replace(path string, data []byte) error { return Replace(path, data) }

// Rename implements Ops.
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements Ops.
func (System) Remove(dir string, names []string) (gone int, err error) {
	for ; gone < len(names); gone++ {
		err = os.Remove(filepath.Join(dir, names[gone]))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = nil
	}
	if gone > 0 {
		err = errors.Join(err, SyncDir(dir))
	}
	return gone, err
}
