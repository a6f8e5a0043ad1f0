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
	cure := "give the user of edgesync the right to write there"
	switch {
	case errors.Is(err, syscall.EROFS):
		cure = "mount it so that it can be written (dmesg may say why it is not)"
	case errors.Is(err, syscall.ENOSPC):
		cure = "free some room there"
	}
	return fmt.Errorf("the data directory %s cannot be used: %w; %s, or set data_dir", strconv.Quote(path), Reason(err), cure)
}

// Close releases the directory.
func (d *DataDir) Close() error { return d.lock.Close() }

// Bounds in bytes of queue.max_bytes = "auto" (config.toml.example).
const (
	autoMin = 1 << 20
	autoMax = 1 << 30
	autoRaw = 8 << 20 // on flash without a translation layer, where programs and settings lie too
)

// AutoMaxBytes is the quota in bytes for queue.max_bytes = "auto": AutoQuota of what is free at the
// first start. It is decided once and kept in the file max_bytes, because a quota that shrinks
// while others fill the disk would drop events. Whoever removes the file has it decided anew. An
// error comes with a quota that can be used for this life of the process.
func (d *DataDir) AutoMaxBytes(raw bool) (int64, error) {
	name := filepath.Join(d.Path, quotaName)
	way := errors.Join(d.MakeWay(quotaName, File), d.MakeWay(quotaName+Temp, File))
	if way != nil {
		return autoMin, fmt.Errorf("read the quota of the queue: %w", way)
	}
	if n, ok := KeptQuota(d.Path); ok {
		return n, nil
	}
	free, err := Free(d.Path)
	if err != nil {
		return autoMin, err
	}
	n := AutoQuota(free, raw)
	if err := Replace(name, []byte(strconv.FormatInt(n, 10)+"\n")); err != nil {
		return n, fmt.Errorf("keep the quota of the queue: %w", err)
	}
	return n, nil
}

const quotaName = "max_bytes"

// KeptQuota is what AutoMaxBytes has decided for the data directory at path; false if nothing yet.
func KeptQuota(path string) (bytes int64, ok bool) {
	data, err := ReadRegular(filepath.Join(path, quotaName), 64)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil && n >= autoMin && n <= autoMax
}

// AutoQuota is half of the bytes that are free, at least 1 MiB and at most 1 GiB; on raw flash,
// that is without a translation layer, at most 8 MiB.
func AutoQuota(free int64, raw bool) int64 {
	most := int64(autoMax)
	if raw {
		most = autoRaw
	}
	return min(max(free/2, autoMin), most)
}
