package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Kind is what a name in a data directory stands for. A link counts as what it leads to.
type Kind uint8

// The kinds.
const (
	File Kind = iota
	Dir
	Socket
)

// String is the kind in words.
func (k Kind) String() string {
	switch k {
	case Dir:
		return "directory"
	case Socket:
		return "socket"
	}
	return "regular file"
}

// of reports whether what has this mode is of the kind.
func (k Kind) of(m fs.FileMode) bool {
	switch k {
	case Dir:
		return m.IsDir()
	case Socket:
		return m&fs.ModeSocket != 0
	}
	return m.IsRegular()
}

// MakeWay sets aside what stands at path, durably, if it is not of the kind want: a directory, a
// pipe, a socket or a link that leads nowhere where a file belongs. It goes into the directory
// corrupt (SetAside) and is logged; log may be nil. Nothing at path, or the right kind, is left as
// it is. Every package calls it before it opens what it owns, so that nothing in a data directory
// hinders a start. ErrLocked means that another process does the same at this moment.
func MakeWay(path string, want Kind, corrupt string, log *slog.Logger) error {
	if fits(path, want) {
		return nil
	}
	// The one that takes something else away must not take the file that another process has put
	// there meanwhile: it may be a lock.
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		defer d.Close()
		err := Retry(func() error { return syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s", ErrLocked, filepath.Dir(path))
		}
	}
	if fits(path, want) {
		return nil
	}
	if err := SetAside(path, corrupt); err != nil {
		return fmt.Errorf("%s is no %s and cannot be moved away: %w", strconv.Quote(path), want, err)
	}
	if log != nil {
		log.Warn("setting aside what is of the wrong type", "file", path, "wanted", want.String())
	}
	return nil
}

// fits reports whether nothing stands at path, or something of the kind want.
func fits(path string, want Kind) bool {
	i, err := os.Lstat(path)
	if err != nil { // nothing there, or the opening says more
		return true
	}
	if i.Mode()&fs.ModeSymlink != 0 {
		if i, err = os.Stat(path); err != nil {
			return false
		}
	}
	return want.of(i.Mode())
}

// ErrIrregular means that what should be a regular file is something else.
var ErrIrregular = errors.New("not a regular file")

var errDirectory = fmt.Errorf("%w: %w", ErrIrregular, syscall.EISDIR)

// Open is os.OpenFile for what must be a regular file: anything else gives ErrIrregular, and a pipe
// at which nobody writes does not hold the caller up.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, perm)
	switch {
	case errors.Is(err, syscall.ENXIO): // a pipe or a socket
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrIrregular}
	case errors.Is(err, syscall.EISDIR):
		return nil, &fs.PathError{Op: "open", Path: path, Err: errDirectory}
	case err != nil:
		return nil, err
	}
	i, err := f.Stat()
	switch {
	case err == nil && i.Mode().IsRegular():
		return f, nil
	case err == nil && i.IsDir():
		err = errDirectory
	case err == nil:
		err = ErrIrregular
	}
	f.Close()
	return nil, &fs.PathError{Op: "open", Path: path, Err: err}
}
