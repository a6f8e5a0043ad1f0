package disk

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
)

// Bounds of a directory that keeps damaged bytes. The oldest files leave it first, and the newest
// stays whatever its size.
const (
	CorruptFiles = 8
	CorruptBytes = 4 << 20
)

// Keep copies bytes that were cut or could not be read into the directory dir, under name, or name
// and a number where that is taken, for people to look at. Of more than half of CorruptBytes it
// keeps the first half. It does its best only, because a full disk must not hinder a repair: what
// fails is logged. With dir == "" nothing is kept.
func Keep(dir, name string, data []byte, log *slog.Logger) {
	if dir == "" || len(data) == 0 {
		return
	}
	if len(data) > CorruptBytes/2 {
		data = data[:CorruptBytes/2]
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

// SetAside moves a file or directory out of sight, durably: into the directory corrupt, or beside
// itself where that fails or corrupt is "". Its name gets the suffix ".unreadable".
func SetAside(path, corrupt string) error {
	err := fs.ErrNotExist
	if corrupt != "" {
		if err = os.MkdirAll(corrupt, 0o700); err == nil {
			err = os.Rename(path, filepath.Join(corrupt, filepath.Base(path)+".unreadable"))
			boundDir(corrupt)
		}
	}
	if err != nil {
		err = os.Rename(path, path+".unreadable")
	}
	return errors.Join(err, SyncDir(filepath.Dir(path)))
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
	// An instance of slices.SortFunc would be some kB more of code, for what happens after damage.
	sort.Slice(files, func(i, j int) bool {
		a, b := &files[i], &files[j]
		return a.mod < b.mod || a.mod == b.mod && a.name < b.name
	})
	for i := 0; i < len(files)-1 && (len(files)-i > CorruptFiles || total > CorruptBytes); i++ {
		os.Remove(filepath.Join(dir, files[i].name))
		total -= files[i].size
	}
}
