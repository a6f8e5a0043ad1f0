package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// DataDir is a data directory that this process holds: whoever has the flock on its file "lock" is
// the one agent there. OpenDataDir makes one; its methods may be called from any goroutine.
type DataDir struct {
	Path string
	lock *os.File // referenced until Close: a collected os.File would drop the lock
}

// heldError is an ErrLocked that names the data directory and its holder.
type heldError struct{ text string }

func (e heldError) Error() string        { return e.text }
func (e heldError) Is(target error) bool { return target == ErrLocked }

// OpenDataDir creates the directory at path (mode 0700) where there is none, and takes its lock. A
// lock that is held gives ErrLocked, with the holder's process id where it is known. Any other
// error says why the directory cannot be used. What is of the wrong type is set aside (Aside). A
// directory of a newer release gives ErrNewer, and nothing is written.
func OpenDataDir(path string) (*DataDir, error) {
	if err := CheckFormat(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unusable(path, err)
	}
	d := &DataDir{Path: path}
	if err := errors.Join(d.MakeWay("corrupt", Dir), d.MakeWay("lock", File)); err != nil {
		return nil, unusable(path, err)
	}
	f, held, err := flock(filepath.Join(path, "lock"))
	if held {
		defer f.Close()
		text := "another agent holds the data directory " + strconv.Quote(path)
		var b [32]byte
		n, _ := f.Read(b[:])
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil && pid > 0 {
			text += ": process " + strconv.Itoa(pid)
		}
		return nil, heldError{text}
	}
	if err != nil {
		return nil, unusable(path, err)
	}
	// The id is for people only, so a full disk is no reason to stop here.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	_ = Own(f.Name())
	d.lock = f
	if err := errors.Join(d.finishExchange(), d.noteFormat()); err != nil {
		return nil, errors.Join(unusable(path, err), d.Close())
	}
	return d, nil
}

// Corrupt is the directory for what is set aside.
func (d *DataDir) Corrupt() string { return filepath.Join(d.Path, "corrupt") }

// MakeWay is the function of that name, for a name in the directory. It logs nothing: Aside
// reports.
func (d *DataDir) MakeWay(name string, want Kind) error {
	corrupt := d.Corrupt()
	if name == filepath.Base(corrupt) {
		corrupt = ""
	}
	return MakeWay(filepath.Join(d.Path, name), want, corrupt, nil)
}

// Aside lists what was set aside because it was of the wrong type and is still there: names
// below the directory.
func (d *DataDir) Aside() []string {
	var names []string
	for _, below := range [...]string{"", filepath.Base(d.Corrupt())} {
		entries, err := os.ReadDir(filepath.Join(d.Path, below))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), setAside) {
				names = append(names, filepath.Join(below, e.Name()))
			}
		}
	}
	return names
}

// OpenToAll reports whether every user of the machine may write into the directory.
func (d *DataDir) OpenToAll() bool {
	i, err := os.Stat(d.Path)
	return err == nil && i.Mode().Perm()&0o002 != 0
}

func unusable(path string, err error) error {
	return fmt.Errorf("the data directory %s cannot be used: %w; "+
		"give the user of edgesync the right to write there, or set data_dir", strconv.Quote(path), Reason(err))
}

// Close releases the directory.
func (d *DataDir) Close() error { return d.lock.Close() }

// Bounds in bytes of queue.max_bytes = "auto" (config.toml.example).
const (
	autoMin = 1 << 20
	autoMax = 1 << 30
)

// AutoMaxBytes is the quota in bytes for queue.max_bytes = "auto": half of what is free at the
// first start, at least 1 MiB and at most 1 GiB. It is decided once and kept in the file max_bytes,
// because a quota that shrinks while others fill the disk would drop events. Whoever removes the
// file has it decided anew. An error comes with a quota that can be used for this life of the
// process.
func (d *DataDir) AutoMaxBytes() (int64, error) {
	name := filepath.Join(d.Path, "max_bytes")
	way := errors.Join(d.MakeWay("max_bytes", File), d.MakeWay("max_bytes"+Temp, File))
	if way != nil {
		return autoMin, fmt.Errorf("read the quota of the queue: %w", way)
	}
	if data, err := ReadRegular(name, 64); err == nil {
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && n >= autoMin && n <= autoMax {
			return n, nil
		}
	}
	var st syscall.Statfs_t
	if err := Retry(func() error { return syscall.Statfs(d.Path, &st) }); err != nil {
		return autoMin, fmt.Errorf("ask for the free space of %s: %w", strconv.Quote(d.Path), err)
	}
	n := clampAuto(uint64(st.Bavail), uint64(st.Bsize))
	if err := Replace(name, []byte(strconv.FormatInt(n, 10)+"\n")); err != nil {
		return n, fmt.Errorf("keep the quota of the queue: %w", err)
	}
	return n, nil
}

// clampAuto is half of so many blocks of a size, within the bounds of the quota.
func clampAuto(blocks, size uint64) int64 {
	if size > 0 && blocks > 2*autoMax/size {
		return autoMax
	}
	return int64(min(max(blocks*size/2, autoMin), autoMax))
}
