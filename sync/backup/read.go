package backup

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgesync/wal/disk"
)

// About says what an archive is.
type About struct {
	Time  time.Time
	Queue bool // with what waited
}

// Read takes an archive into the empty directory dir, durably but for the names in dir itself.
// limit bounds the bytes of all files. An error leaves what was read until then.
func Read(r io.Reader, dir string, limit int64) (a About, err error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 16<<10))
	if err != nil {
		return a, errNotTar
	}
	h := make([]byte, block)
	var dirs []string
	for n := 0; ; n++ {
		if _, err := io.ReadFull(z, h); err != nil {
			return a, broken(err)
		}
		name, size, err := parseHeader(h)
		if errors.Is(err, io.EOF) && n > 0 {
			break
		}
		switch {
		case err != nil, n == 0 && name != manifest, n > maxFiles:
			return a, errNotTar
		case n == 0:
			if a, err = readAbout(z, size); err != nil {
				return a, err
			}
			continue
		case !proper(name):
			return a, fmt.Errorf("%w: it names a file %s, which is none of edgesync's", errNotTar, strconv.Quote(name))
		}
		if limit -= size; limit < 0 {
			return a, errors.New("it is larger than the room there is: make room, or use another medium")
		}
		parts := strings.Split(name, "/")
		path := dir
		for _, p := range parts[:len(parts)-1] {
			path = filepath.Join(path, p)
			err := os.Mkdir(path, 0o700)
			if err == nil {
				dirs = append(dirs, path)
				err = disk.Own(path)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return a, err
			}
		}
		if err := take(filepath.Join(path, parts[len(parts)-1]), z, size); err != nil {
			return a, err
		}
	}
	// What follows the end is read to its checksum, and does not count.
	if rest, err := io.Copy(io.Discard, io.LimitReader(z, 1<<20)); err != nil || rest == 1<<20 {
		return a, broken(err)
	}
	for _, d := range dirs {
		if err := disk.SyncDir(d); err != nil {
			return a, err
		}
	}
	word := " without queue"
	if a.Queue {
		word = " with queue"
	}
	return a, errors.Join(
		disk.Replace(filepath.Join(dir, "format"), []byte(strconv.Itoa(disk.Format)+"\n")),
		disk.Replace(filepath.Join(dir, disk.Restored), []byte(a.Time.Format(time.RFC3339)+word+"\n")))
}

// broken is an error of the archive in words, or one of the medium that it lies on.
func broken(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return err
	}
	return errNotTar
}

// take writes a file with the next size bytes, and what fills them up.
func take(path string, r io.Reader, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, r, size)
	if err == nil {
		_, err = io.CopyN(io.Discard, r, -size&(block-1))
	}
	if err != nil {
		err = broken(err)
	} else {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), disk.Own(path))
}

// readAbout reads the first file of an archive.
func readAbout(r io.Reader, size int64) (a About, err error) {
	text := make([]byte, (min(size, block)+block-1)&^(block-1))
	if _, err := io.ReadFull(r, text); err != nil || size > block {
		return a, errNotTar
	}
	lines := strings.Split(string(text[:size]), "\n")
	if len(lines) < 4 || lines[0] != "edgesync backup 1" {
		return a, errNotTar
	}
	format, err := strconv.Atoi(strings.TrimPrefix(lines[1], "format "))
	if err != nil || format < 1 {
		return a, errNotTar
	}
	if format > disk.Format {
		return a, fmt.Errorf("it was made by a newer edgesync (format %d; this one knows %d): install that version, or one after it",
			format, disk.Format)
	}
	a.Time, err = time.Parse(time.RFC3339, strings.TrimPrefix(lines[2], "time "))
	a.Queue = lines[3] == "queue yes"
	if err != nil || !a.Queue && lines[3] != "queue no" {
		return a, errNotTar
	}
	return a, nil
}

// proper reports whether a name may be that of a file of the state: plain words, below one that is
// state.
func proper(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) > 4 || !slices.Contains(always, parts[0]) && !slices.Contains(withQueue, parts[0]) {
		return false
	}
	for _, p := range parts {
		if p == "" || p[0] == '.' || strings.Trim(p, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") != "" {
			return false
		}
	}
	return true
}
