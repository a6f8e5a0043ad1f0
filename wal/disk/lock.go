package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked means that another process holds a directory. The process ends with exit code 75.
var ErrLocked = errors.New("directory is held by another process")

// Lock takes the directory dir for this process, by flock(2) on the file LOCK in it. It does not
// wait: a directory that is held gives ErrLocked. The lock lasts until the file is closed, so the
// caller must keep a reference: a collected os.File would drop the lock.
func Lock(dir string) (*os.File, error) {
	f, held, err := flock(filepath.Join(dir, "LOCK"))
	if held {
		f.Close()
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// flock opens or creates a file and locks it. With held the file is open, and another process has
// the lock.
func flock(path string) (f *os.File, held bool, err error) {
	f, err = Open(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return f, true, nil
		}
		f.Close()
		return nil, false, fmt.Errorf("flock: %w", err)
	}
	return f, false, nil
}
