package disk

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
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
	err := makeCorrupt(dir)
	if err == nil {
		err = writeNew(unused(filepath.Join(dir, name), true), data)
	}
	if err != nil {
		log.Warn("damaged bytes could not be kept", "dir", dir, "error", err)
	}
	boundDir(dir)
}

// makeCorrupt makes the directory corrupt. What else has that name is renamed beside itself.
func makeCorrupt(dir string) error {
	return errors.Join(MakeWay(dir, Dir, "", nil), os.MkdirAll(dir, 0o700))
}

// unused is the path, or where that is taken the path and a number above all in its directory. In
// an ordered directory only its first file has none. So the numbers tell what came when: the times
// of files do not, where the clock is set late or files have times of 32 bits.
func unused(path string, ordered bool) string {
	entries, _ := os.ReadDir(filepath.Dir(path))
	taken, highest := ordered && len(entries) > 0, 0
	for _, e := range entries {
		taken = taken || e.Name() == filepath.Base(path)
		highest = max(highest, number(e.Name()))
	}
	if !taken {
		return path
	}
	return path + "." + strconv.Itoa(highest+1)
}

// number is what unused has put behind a name; 0 if nothing.
func number(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndexByte(name, '.')+1:])
	if err != nil || n < 0 || n >= 1<<30 {
		return 0
	}
	return n
}

// writeNew writes a file that is not there yet, or nothing.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// setAside is the suffix of what SetAside has moved.
const setAside = ".unreadable"

// SetAside moves a file or directory out of sight, durably: into the directory corrupt, or beside
// itself where that fails or corrupt is "". Its name gets the suffix ".unreadable", and a number
// where that is taken.
func SetAside(path, corrupt string) error {
	err := fs.ErrNotExist
	if corrupt != "" {
		if err = makeCorrupt(corrupt); err == nil {
			err = os.Rename(path, unused(filepath.Join(corrupt, filepath.Base(path)+setAside), true))
			boundDir(corrupt)
		}
	}
	if err != nil {
		err = os.Rename(path, unused(path+setAside, false))
	}
	return errors.Join(err, SyncDir(filepath.Dir(path)))
}

// boundDir deletes the oldest files of dir until it is within its bounds. Of what is no file
// (pipes, sockets, links, empty directories) it keeps CorruptFiles too. A directory that holds
// something stays: nobody here knows what that is.
func boundDir(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	type file struct {
		name string
		size int64
		came int
	}
	var files, others []file
	var total int64
	for _, e := range entries {
		i, err := e.Info()
		switch {
		case err != nil:
		case i.Mode().IsRegular():
			files = append(files, file{e.Name(), i.Size(), number(e.Name())})
			total += i.Size()
		default:
			others = append(others, file{e.Name(), 0, number(e.Name())})
		}
	}
	for _, list := range [...][]file{files, others} {
		// An instance of slices.SortFunc would be some kB more of code, for what happens after
		// damage.
		sort.Slice(list, func(i, j int) bool {
			a, b := &list[i], &list[j]
			return a.came < b.came || a.came == b.came && a.name < b.name
		})
	}
	for i := 0; i < len(files)-1 && (len(files)-i > CorruptFiles || total > CorruptBytes); i++ {
		os.Remove(filepath.Join(dir, files[i].name))
		total -= files[i].size
	}
	for i := 0; i < len(others)-CorruptFiles; i++ {
		os.Remove(filepath.Join(dir, others[i].name)) // fails for a directory that is not empty
	}
}
