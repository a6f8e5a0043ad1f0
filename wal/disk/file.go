package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// SyncDir makes durable what was created, renamed and deleted in the directory dir. A file system
// that has no fsync for directories (EINVAL, ENOTSUP: vfat over FUSE, 9p, some network file
// systems) is no error: there is nothing more that a program could do.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := fsyncDir(d); err != nil && !noDirectorySync(err) {
		return fmt.Errorf("fsync of directory %s: %w", dir, err)
	}
	return nil
}

// fsyncDir and fsyncFile are the fsyncs of an open directory and file; tests put others in their
// place.
var fsyncDir, fsyncFile = (*os.File).Sync, (*os.File).Sync

// noDirectorySync reports whether the file system cannot sync directories at all. ENOTSUP is
// EOPNOTSUPP on Linux.
func noDirectorySync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// Replace puts data in the place of the file at path, which may not exist yet: after a crash the
// old content is there or the new one, and after Replace has returned nil the new one. Until then
// the content stands in path+".TEMP"; after an error that file is gone. The file gets mode 0600.
func Replace(path string, data []byte) error {
	return ReplaceFunc(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Temp is the suffix of a file that is being written to replace another. A crash may leave one.
const Temp = ".TEMP"

// ReplaceFunc is Replace for content that write produces, which need not be in memory as a whole.
// An error of write is returned as it is, and leaves the old file.
func ReplaceFunc(path string, write func(io.Writer) error) error {
	if err := Prepare(path, write); err != nil {
		return err
	}
	return Commit(path)
}

// Prepare is the first half of ReplaceFunc: the content is durable beside the old file, and Commit
// puts it in its place. What is never committed lies there, under the suffix Temp.
func Prepare(path string, write func(io.Writer) error) error {
	temp := path + Temp
	f, err := Open(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_ = Own(temp)
	err = write(f)
	if err == nil {
		err = fsyncFile(f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// Commit is the second half of ReplaceFunc.
func Commit(path string) error {
	if err := os.Rename(path+Temp, path); err != nil {
		os.Remove(path + Temp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Overwrite puts b in the place of the content of an existing file, without a second copy of it:
// for a disk that has no room for Replace. A crash may leave a mixture of both.
func Overwrite(path string, b []byte) error {
	f, err := Open(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ErrTooLarge means that a file is larger than its reader allows.
var ErrTooLarge = errors.New("too large")

// ReadBounded reads a file of at most limit bytes; a larger one gives ErrTooLarge. A pipe is waited
// for and read to its end, which no file of a data directory may ask for: see ReadRegular.
func ReadBounded(path string, limit int64) ([]byte, error) {
	return readBounded(path, limit, os.OpenFile)
}

// ReadRegular is ReadBounded for what must be a regular file (Open).
func ReadRegular(path string, limit int64) ([]byte, error) { return readBounded(path, limit, Open) }

func readBounded(path string, limit int64, open func(string, int, fs.FileMode) (*os.File, error)) ([]byte, error) {
	f, err := open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", strconv.Quote(path), limit, ErrTooLarge)
	}
	return b, nil
}

// Reason leaves out the operation and the path that an error of package os repeats.
func Reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Read reads the first limit bytes of a regular file, or as many as it has.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// Worn reports whether an error is of the medium itself (EIO, EBADMSG, EUCLEAN). Others pass (too
// many open files, no memory) or need a person (permissions).
func Worn(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EBADMSG) || errors.Is(err, syscall.EUCLEAN)
}

// Salvage reads what can be read of the first limit bytes of a file that the medium refuses to read
// as a whole. Each block of 4 KiB that is Worn becomes zeros.
func Salvage(path string, limit int64) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return salvage(f, min(i.Size(), limit))
}

func salvage(r io.ReaderAt, size int64) ([]byte, error) {
	const block = 4096
	b := make([]byte, size)
	for at := int64(0); at < size; at += block {
		part := b[at:min(size, at+block)]
		if _, err := r.ReadAt(part, at); Worn(err) {
			clear(part)
		} else if err != nil && err != io.EOF {
			return nil, err
		}
	}
	return b, nil
}

// Retry repeats a system call that a signal has interrupted (EINTR), which package syscall does not
// do by itself.
func Retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// Free is how many bytes this process may still write below dir, as statfs(2) has it: an estimate
// where the file system compresses.
func Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := Retry(func() error { return syscall.Statfs(dir, &st) }); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", strconv.Quote(dir), err)
	}
	size := uint64(max(st.Bsize, 0))
	if size > 0 && st.Bavail > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return int64(st.Bavail * size), nil
}
