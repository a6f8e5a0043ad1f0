package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"edgesync/wal/disk"
)

// keepBytes bounds in bytes what is kept of one damaged stretch.
const keepBytes = 1 << 20

// load reads the file into the map. The end of the last good frame becomes the end of the file.
func (s *Store) load() error {
	size, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		// The directory may be as new as the file.
		if err := s.o.syncDir(filepath.Dir(filepath.Dir(s.o.Path))); err != nil {
			return fmt.Errorf("store: sync the directory above %s: %w", s.o.Path, err)
		}
		return s.rewrite()
	}
	if err != nil {
		return fmt.Errorf("store: open %s: %w", s.o.Path, err)
	}
	known, err := s.findMarker(size)
	if err != nil {
		return fmt.Errorf("store: read %s: %w", s.o.Path, err)
	}
	if !known {
		// Nothing in it can be told from noise. Some file systems leave a renamed file empty.
		if size > 0 {
			s.o.Log.Warn("store is unreadable and was set aside", "file", s.o.Path, "bytes", size)
			s.stats.Damaged, s.stats.DamagedBytes = 1, size
			s.keep(0, size)
		}
		return s.rewrite()
	}
	if err := s.scan(size); err != nil {
		return fmt.Errorf("store: read %s: %w", s.o.Path, err)
	}
	if cut := size - s.size; cut > 0 {
		s.stats.CutBytes = cut
		s.o.Log.Warn("store ended in an unfinished write, which was cut", "file", s.o.Path, "bytes", cut)
		s.keep(s.size, size)
		s.broken = true
		if err := s.recover(); err != nil {
			return fmt.Errorf("store: cut the damaged end of %s: %w", s.o.Path, err)
		}
	}
	if s.stats.Damaged > 0 {
		s.o.Log.Warn("store has damaged parts, which were left out", "file", s.o.Path,
			"parts", s.stats.Damaged, "bytes", s.stats.DamagedBytes)
		// A copy leaves them out. Without room for it the next open meets the damage again.
		if err := s.rewrite(); err != nil {
			s.postpone(err)
		}
	}
	return nil
}

// findMarker learns the file's marker from the header, or from the first frame if both copies of it
// are damaged.
func (s *Store) findMarker(size int64) (bool, error) {
	h := make([]byte, headerSize+frameHeader)
	n, err := s.file.ReadAt(h, 0)
	if err = ioError(err); err != nil {
		return false, err
	}
	if h = h[:n]; n < headerSize {
		return false, nil
	}
	var ok bool
	if s.marker, ok = readHeader(h[:headerSize]); ok {
		return true, nil
	}
	if n < headerSize+8 {
		return false, nil
	}
	s.marker = [8]byte(h[headerSize:])
	length, ok := frameLen(h[headerSize:], s.marker, headerSize)
	if ok {
		ok, _, err = s.good(headerSize, size, length, h[headerSize:], nil)
	}
	if ok {
		s.stats.Damaged, s.stats.DamagedBytes = 1, headerSize
	}
	return ok, err
}

// good reads the ops of the frame whose header h was found at a position into buf, and checks them.
func (s *Store) good(position, size int64, length int, h, buf []byte) (bool, []byte, error) {
	if position+frameHeader+int64(length) > size {
		return false, buf, nil
	}
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if n, err := s.file.ReadAt(buf, position+frameHeader); n < length {
		return false, buf, ioError(err)
	}
	return frameGood(h, buf, position), buf, nil
}

// ioError makes the end of the file no error: a frame's length may point behind it.
func ioError(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// scan adopts all good frames up to size.
func (s *Store) scan(size int64) error {
	var (
		h   = make([]byte, frameHeader)
		buf []byte
	)
	s.size = headerSize
	for at := int64(headerSize); at < size; {
		n, err := s.file.ReadAt(h, at)
		if err := ioError(err); err != nil {
			return err
		}
		length, ok := frameLen(h[:n], s.marker, at)
		if ok {
			if ok, buf, err = s.good(at, size, length, h, buf); err != nil {
				return err
			}
		}
		if !ok {
			next, err := s.nextFrame(at+1, size)
			if err != nil {
				return err
			}
			if next < 0 {
				return nil // the end of what is good
			}
			s.stats.Damaged++
			s.stats.DamagedBytes += next - at
			s.keep(at, next)
			at = next
			continue
		}
		s.adopt(buf, at+frameHeader)
		at += frameHeader + int64(length)
		s.size = at
	}
	return nil
}

// nextFrame finds the first good frame at or behind a position; -1 if there is none.
func (s *Store) nextFrame(from, size int64) (int64, error) {
	window := make([]byte, 64<<10)
	var ops []byte
	for from+frameHeader < size {
		n, err := s.file.ReadAt(window, from)
		if err := ioError(err); err != nil {
			return -1, err
		}
		w := window[:n]
		if n < frameHeader {
			return -1, nil
		}
		for at := 0; at+frameHeader <= n; {
			i := bytes.Index(w[at:], s.marker[:])
			if i < 0 || at+i+frameHeader > n {
				break
			}
			at += i
			position := from + int64(at)
			if length, ok := frameLen(w[at:], s.marker, position); ok {
				ok, ops, err = s.good(position, size, length, w[at:at+frameHeader], ops)
				if ok || err != nil {
					return position, err
				}
			}
			at++
		}
		from += int64(n - frameHeader + 1)
	}
	return -1, nil
}

// read appends the value of key, which lies at v, to dst.
func (s *Store) read(key string, v extent, dst []byte) ([]byte, error) {
	n := len(dst)
	full := n + int(v.len) + 4
	for cap(dst) < full {
		dst = append(dst[:cap(dst)], make([]byte, full-cap(dst))...)
	}
	dst = dst[:full]
	if got, err := s.file.ReadAt(dst[n:], v.off); got < full-n {
		return dst[:n], fmt.Errorf("%w: %s at %d: %w", ErrValueDamaged, s.o.Path, v.off, err)
	}
	value := dst[n : full-4]
	sum := crc32.Update(crc32.Update(0, castagnoli, []byte(key)), castagnoli, value)
	if sum != binary.LittleEndian.Uint32(dst[full-4:]) {
		return dst[:n], fmt.Errorf("%w: %s at %d: wrong checksum", ErrValueDamaged, s.o.Path, v.off)
	}
	return dst[:full-4], nil
}

// keep copies a bad stretch of the file into the corrupt directory, as far as the bounds allow.
func (s *Store) keep(from, to int64) {
	if s.o.CorruptDir == "" {
		return
	}
	p := make([]byte, min(to-from, keepBytes))
	n, _ := s.file.ReadAt(p, from)
	if p = bytes.TrimRight(p[:n], "\x00"); len(p) == 0 {
		return // zeros show nothing
	}
	name := filepath.Base(filepath.Dir(s.o.Path)) + "-" + filepath.Base(s.o.Path) + "-"
	name += fmt.Sprintf("%020d-%d.bad", time.Now().UnixNano(), from)
	disk.Keep(s.o.CorruptDir, name, p, s.o.Log)
}
