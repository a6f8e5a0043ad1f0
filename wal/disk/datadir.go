package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked: another agent holds data_dir (exit code 75).
var ErrLocked = errors.New("another agent holds the data directory")

// DataDir is a data directory held by this process: whoever has the flock on its file "lock" is the one agent there.
type DataDir struct {
	Path string
	lock *os.File // referenced until Close: a collected os.File would drop the lock
}

// OpenDataDir creates the directory (0700) where there is none and takes its lock. A held lock is ErrLocked, with the holder's
// process id if it is known.
func OpenDataDir(path string) (*DataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unusable(path, err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, unusable(path, fmt.Errorf("lock it: %w", err))
		}
		var b [32]byte
		n, _ := f.Read(b[:])
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil && pid > 0 {
			return nil, fmt.Errorf("%w %s: process %d", ErrLocked, strconv.Quote(path), pid)
		}
		return nil, fmt.Errorf("%w %s", ErrLocked, strconv.Quote(path))
	}
	// The id is for people only, so a full disk is no reason to stop here.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &DataDir{Path: path, lock: f}, nil
}

func unusable(path string, err error) error {
	return fmt.Errorf("the data directory %s cannot be used: %w; give the user of edgesync the right to write there, or set data_dir",
		strconv.Quote(path), Reason(err))
}

// Close gives the directory free.
func (d *DataDir) Close() error { return d.lock.Close() }

// Bounds of queue.max_bytes = "auto" (architecture, "Time limits and other numbers").
const (
	autoMin = 1 << 20
	autoMax = 1 << 30
)

// AutoMaxBytes is the quota for queue.max_bytes = "auto": half of what is free at the first start. It is decided once and kept in
// the file max_bytes, because a quota that shrinks while others fill the disk would drop events. Remove the file to decide anew.
func (d *DataDir) AutoMaxBytes() (int64, error) {
	name := filepath.Join(d.Path, "max_bytes")
	if data, err := ReadBounded(name, maxSmall); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n >= autoMin && n <= autoMax {
			return n, nil
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.Path, &st); err != nil {
		return autoMin, fmt.Errorf("ask for the free space of %s: %w", strconv.Quote(d.Path), err)
	}
	n := clampAuto(uint64(st.Bavail), uint64(st.Bsize))
	if err := Replace(name, []byte(strconv.FormatInt(n, 10)+"\n")); err != nil {
		return n, fmt.Errorf("keep the quota of the queue: %w", err)
	}
	return n, nil
}

func clampAuto(blocks, size uint64) int64 {
	if size > 0 && blocks > 2*autoMax/size {
		return autoMax
	}
	return int64(min(max(blocks*size/2, autoMin), autoMax))
}

// Replace writes a small file so that after a crash either the old or the new content is there.
func Replace(name string, content []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// maxSmall bounds a small file of data_dir, in bytes.
const maxSmall = 1 << 20

// ReadBounded reads a file of at most limit bytes. A pipe is read to its end.
func ReadBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", strconv.Quote(name), limit, ErrTooLarge)
	}
	return data, nil
}

// ErrTooLarge says that a file is larger than its reader allows.
var ErrTooLarge = errors.New("too large")

// Reason leaves out the operation and the path that an error of os repeats.
func Reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
