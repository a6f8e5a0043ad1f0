package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// tailBytes bounds what is read of the last segment: a segment overshoots its size by at most one frame.
const tailBytes = 64 << 20

// tail is what repair found in the last segment; it is all that is read at start, however long the backlog.
type tail struct {
	first   uint64 // offset of its first frame; 1 if there is no segment at all
	last    uint64 // offset of its last frame; first-1 if it is empty
	bytes   int64
	seq     uint64 // events accepted up to last
	seqSure bool   // a control frame told seq; else it counts from 0 at first
	newest  control
	found   bool // newest holds something
}

// repair makes dir a log that the library opens: left-over temporary files go, a tail that is torn, zeroed or garbage is cut, and
// unreadable frames between readable ones are replaced one by one by frames that say so, so that offsets never shift against the
// committed one. Cut bytes and damaged files are kept in corrupt. It reads the last segment only. Calling it again changes nothing.
func repair(dir, corrupt string, log *slog.Logger) (tail, error) {
	if err := removeLeftovers(dir, log); err != nil {
		return tail{}, err
	}
	firsts, err := listSegments(dir)
	if err != nil {
		return tail{}, err
	}
	if len(firsts) == 0 {
		return tail{first: 1}, nil
	}
	first := firsts[len(firsts)-1]
	t, err := repairTail(dir, corrupt, first, log)
	if err != nil {
		return t, fmt.Errorf("repair of segment %s: %w", segmentName(first), err)
	}
	if !t.seqSure && len(firsts) > 1 {
		// The last segment does not tell how many events came before it; the ones before it do.
		if before, ok := seqBefore(dir, firsts[:len(firsts)-1], first); ok {
			t.seq += before
			t.seqSure = true
		}
	}
	return t, nil
}

// removeLeftovers clears what a crash inside the library's TruncateFront leaves: a temporary file; or a .START file, which the library
// finishes by itself. We never truncate the back, so an .END file beside it is not ours to trust.
func removeLeftovers(dir string, log *slog.Logger) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	starts := 0
	for i := len(entries) - 1; i >= 0; i-- {
		name := entries[i].Name()
		drop := strings.HasSuffix(name, ".TEMP") || strings.HasSuffix(name, ".END")
		if strings.HasSuffix(name, ".START") {
			starts++
			drop = starts > 1 // of two the later one is the truth
		}
		if !drop || !entries[i].Type().IsRegular() {
			continue
		}
		log.Info("removing a left-over file", "file", filepath.Join(dir, name))
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func repairTail(dir, corrupt string, first uint64, log *slog.Logger) (tail, error) {
	path := filepath.Join(dir, segmentName(first))
	data, err := readBounded(path, tailBytes)
	if err != nil {
		// Not even readable: set it aside whole and begin a new one with the same offsets.
		log.Error("the last segment cannot be read; it is set aside", "file", path, "error", err)
		if err := setAside(path, corrupt); err != nil {
			return tail{}, err
		}
		data = nil
		if err := writeFileDurably(path, nil); err != nil {
			return tail{}, err
		}
	}
	t, out, pos := scan(data, first, func(at, bytes int, offsets uint64) {
		log.Error("unreadable events in the last segment", "file", path, "position", at, "bytes", bytes, "offsets", offsets)
	})
	if cut := len(data) - pos; cut > 0 {
		if !zeros(data[pos:]) {
			keep(corrupt, segmentName(first)+".tail", data[pos:], log)
		}
		log.Warn("cutting an incomplete tail", "file", path, "position", pos, "bytes", cut)
	}
	switch {
	case out != nil:
		keep(corrupt, segmentName(first)+".damaged", data, log)
		return t, writeFileDurably(path, out)
	case pos < len(data):
		return t, truncateDurably(path, int64(pos))
	}
	return t, nil
}

// scan walks through the bytes of a last segment. pos is where its readable part ends. out is the content with every unreadable
// stretch in front of readable frames replaced, or nil if there is none; each such stretch is reported.
func scan(data []byte, first uint64, report func(at, bytes int, offsets uint64)) (t tail, out []byte, pos int) {
	t = tail{first: first, last: first - 1}
	for pos < len(data) {
		offset := t.last + 1
		f, n, bad := next(data[pos:], offset)
		if !bad {
			if out != nil {
				out = append(out, data[pos:pos+n]...)
			}
			t.add(f)
			pos += n
			continue
		}
		at, found, ok := resync(data[pos:], offset+1, offset+1<<16)
		if !ok {
			break
		}
		report(pos, at, found-offset)
		if out == nil {
			out = append(make([]byte, 0, len(data)), data[:pos]...)
		}
		for ; offset < found; offset++ {
			out = appendLost(out, offset)
			t.add(frame(out[len(out)-headerSize:]))
		}
		pos += at
	}
	t.bytes = int64(pos)
	if out != nil {
		t.bytes = int64(len(out))
	}
	return t, out, pos
}

// add takes a frame into the account of the tail.
func (t *tail) add(f frame) {
	t.last++
	switch f.typ() {
	case frameEvent, frameLost: // what was lost counts as an event until a control frame tells better
		t.seq++
	case frameControl:
		if c, ok := parseControl(f.payload()); ok {
			t.seq, t.seqSure, t.newest, t.found = c.seq, true, c, true
		}
	}
}

func appendLost(dst []byte, offset uint64) []byte {
	dst = binary.AppendUvarint(dst, headerSize)
	start := len(dst)
	dst = appendFrame(dst, frameLost, &Event{})
	frame(dst[start:]).seal(offset)
	return dst
}

// seqBefore finds how many events were accepted before offset by the control frames at the heads of earlier segments, walking back at
// most a few of them.
func seqBefore(dir string, firsts []uint64, offset uint64) (seq uint64, ok bool) {
	for i := len(firsts) - 1; i >= 0 && i >= len(firsts)-4; i-- {
		data, err := readBounded(filepath.Join(dir, segmentName(firsts[i])), tailBytes)
		if err != nil {
			continue
		}
		t := tail{first: firsts[i], last: firsts[i] - 1}
		for pos := 0; pos < len(data) && t.last+1 < offset; {
			f, n, bad := next(data[pos:], t.last+1)
			if bad {
				at, found, ok := resync(data[pos:], t.last+2, offset)
				if !ok {
					break
				}
				t.seq += found - t.last - 1
				t.last, pos = found-1, pos+at
				continue
			}
			t.add(f)
			pos += n
		}
		if t.seqSure {
			return t.seq + (offset - 1 - t.last), true // frames missing at its end count as events
		}
	}
	return 0, false
}

func setAside(path, corrupt string) error {
	if corrupt == "" {
		return os.Remove(path)
	}
	if err := os.MkdirAll(corrupt, 0o700); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(corrupt, filepath.Base(path)+".unreadable")); err != nil {
		return err
	}
	boundDir(corrupt)
	return syncDir(filepath.Dir(path))
}

func truncateDurably(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
