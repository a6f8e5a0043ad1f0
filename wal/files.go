package wal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"syscall"
)

// Bounds of what is kept of damaged files, oldest out first.
const (
	corruptFiles = 8
	corruptBytes = 4 << 20
)

func segmentName(first uint64) string { return fmt.Sprintf("%020d", first) }

// sortUint64 sorts numbers. An instance of slices.Sort would be some kB more of code, for what happens at a start.
func sortUint64(v []uint64) {
	sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
}

// listSegments returns the first offsets of the segments in dir, sorted. Other files are ignored.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		if n, ok := segmentFirst(e.Name()); ok && e.Type().IsRegular() {
			firsts = append(firsts, n)
		}
	}
	sortUint64(firsts)
	return firsts, nil
}

func segmentFirst(name string) (uint64, bool) {
	if len(name) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && n > 0 && n <= maxOffset
}

// syncDir makes creations, renames and deletions in dir durable. Some file systems have no fsync for directories; they say EINVAL.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("fsync of directory %s: %w", dir, err)
	}
	return nil
}

// writeFileDurably replaces path with data: temporary file, fsync, rename, fsync of the directory.
func writeFileDurably(path string, data []byte) error {
	tmp := path + ".TEMP"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// keep copies bytes that were cut or could not be read into dir, for people to look at. It is bounded and best effort: a full disk
// must not hinder the repair.
func keep(dir, name string, data []byte, log *slog.Logger) {
	if dir == "" || len(data) == 0 {
		return
	}
	if len(data) > corruptBytes/2 {
		data = data[:corruptBytes/2]
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		path := filepath.Join(dir, name)
		for i := 1; ; i++ {
			if _, statErr := os.Lstat(path); statErr != nil || i > 1000 {
				break
			}
			path = filepath.Join(dir, name+"."+strconv.Itoa(i))
		}
		if err = os.WriteFile(path, data, 0o600); err != nil {
			os.Remove(path)
		}
	}
	if err != nil {
		log.Warn("damaged bytes could not be kept", "dir", dir, "error", err)
	}
	boundDir(dir)
}

// boundDir deletes the oldest files of dir until it is within its bounds.
func boundDir(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type file struct {
		name string
		size int64
		mod  int64
	}
	var files []file
	var total int64
	for _, e := range entries {
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			files = append(files, file{e.Name(), i.Size(), i.ModTime().UnixNano()})
			total += i.Size()
		}
	}
	sort.Slice(files, func(i, j int) bool { // as sortUint64
		a, b := &files[i], &files[j]
		return a.mod < b.mod || a.mod == b.mod && a.name < b.name
	})
	for i := 0; i < len(files)-1 && (len(files)-i > corruptFiles || total > corruptBytes); i++ {
		os.Remove(filepath.Join(dir, files[i].name))
		total -= files[i].size
	}
}

// lockDir takes the directory for this process. The file must stay referenced: a collected os.File drops the lock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// worn tells an error of the medium itself from one that passes (too many open files, no memory) or needs a person (permissions).
func worn(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EBADMSG) || errors.Is(err, syscall.EUCLEAN)
}

// salvage reads of a file of at most limit bytes what can be read, with zeros for the rest, which no frame's checksum takes for content.
func salvage(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return salvageFrom(f, min(i.Size(), limit))
}

func salvageFrom(r io.ReaderAt, size int64) ([]byte, error) {
	const block = 4096
	b := make([]byte, size)
	for at := int64(0); at < size; at += block {
		part := b[at:min(size, at+block)]
		if _, err := r.ReadAt(part, at); worn(err) {
			clear(part)
		} else if err != nil && err != io.EOF {
			return nil, err
		}
	}
	return b, nil
}

// readBounded reads a file of at most limit bytes; of a longer one the first limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
