package backup

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"edgesync/wal/disk"
)

const (
	manifest = "edgesync-backup"
	// maxLive bounds what is read of a file that is written in place, in bytes: a segment ends soon
	// behind 512 KiB, and one event has at most 3 MiB.
	maxLive = 8 << 20
)

// maxFiles bounds the files of an archive: a queue of 1 GiB has some 2,100. Tests lower it.
var maxFiles = 20000

// What an archive has, and what it has beside that with the queue. max_bytes is of the medium.
var (
	always    = []string{"registry", "clock", "link"}
	withQueue = []string{"queue", "dead", "former", "overflow", "rules", "tally", "minutes", "replay", "max_bytes"}
)

// Hold calls fn while nothing in the data directory changes. An error means that it could not be
// held so long; then fn may be called again.
type Hold func(fn func() error) error

// member is a file of an archive: open, or read already.
type member struct {
	name string
	data io.Reader
	size int64
	file *os.File
}

// Write writes an archive of the data directory to w. The time is what the archive says; queue is
// whether it has what waits. Memory for the newest segments (512 KiB each) is needed, and a
// descriptor for each file.
func Write(w io.Writer, dir string, queue bool, now time.Time, hold Hold) error {
	var members []member
	release := func() {
		for _, m := range members {
			if m.file != nil {
				m.file.Close()
			}
		}
		members = nil
	}
	defer func() { release() }()
	names := always
	if queue {
		names = append(names[:len(names):len(names)], withQueue...)
	}
	err := hold(func() (err error) {
		release()
		for _, name := range names {
			if members, err = collect(members, dir, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	word := "no"
	if queue {
		word = "yes"
	}
	text := fmt.Sprintf("edgesync backup 1\nformat %d\ntime %s\nqueue %s\n", disk.Format, now.UTC().Format(time.RFC3339), word)
	members = append([]member{{name: manifest, data: strings.NewReader(text), size: int64(len(text))}}, members...)
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	for i := range members {
		if err := members[i].write(z, now.Unix()); err != nil {
			return fmt.Errorf("pack %s: %w", members[i].name, err)
		}
	}
	if _, err := z.Write(make([]byte, 2*block)); err != nil {
		return err
	}
	return z.Close()
}

func (m *member) write(w io.Writer, seconds int64) error {
	if _, err := w.Write(header(m.name, m.size, seconds)); err != nil {
		return err
	}
	if _, err := io.CopyN(w, m.data, m.size); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, -m.size&(block-1)))
	return err
}

// collect opens the files at and below name. What is not there is not there.
func collect(list []member, dir, name string) ([]member, error) {
	full := filepath.Join(dir, name)
	info, err := os.Stat(full)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err != nil {
		return list, err
	}
	if !info.IsDir() {
		return open(list, dir, name, path.Base(name) == "committed")
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return list, err
	}
	newest := ""
	for _, e := range entries {
		if n := e.Name(); len(n) == 20 && strings.Trim(n, "0123456789") == "" {
			newest = n // they are sorted
		}
	}
	for _, e := range entries {
		below := path.Join(name, e.Name())
		switch {
		case e.Name() == "LOCK", e.Name() == "reserve", strings.HasSuffix(e.Name(), disk.Temp):
		case e.Name() == newest:
			list, err = open(list, dir, below, true)
		default:
			list, err = collect(list, dir, below)
		}
		if err != nil {
			return list, err
		}
	}
	return list, nil
}

// open opens a file, and reads it if it is written in place.
func open(list []member, dir, name string, live bool) ([]member, error) {
	f, err := disk.Open(filepath.Join(dir, name), os.O_RDONLY, 0)
	switch {
	case errors.Is(err, disk.ErrIrregular), errors.Is(err, fs.ErrNotExist):
		return list, nil // what is of the wrong type is no state
	case err != nil:
		return list, err
	case len(list) == maxFiles || len(name) > maxName:
		f.Close()
		return list, fmt.Errorf("there are more than %d files in %s, or one has too long a name", maxFiles, dir)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return list, err
	}
	m := member{name: name, size: info.Size(), file: f}
	m.data = io.NewSectionReader(f, 0, m.size)
	if live {
		data, err := io.ReadAll(io.LimitReader(f, maxLive))
		if err != nil {
			f.Close()
			return list, err
		}
		f.Close()
		m.data, m.size, m.file = bytes.NewReader(data), int64(len(data)), nil
	}
	return append(list, m), nil
}
