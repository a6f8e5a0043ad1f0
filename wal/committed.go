package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"

	"edgesync/wal/disk"
)

// The committed file holds the committed position in two slots, which lie in different sectors and
// are written in turn, so that a torn write leaves the other one. Its loss means that events are
// sent again, never that one is skipped.
const (
	committedName = "committed"
	slotSize      = 4 + 4 + 8 + 2 + maxControlSize // magic, CRC-32C, generation, length, control and zeros behind it
	slotDistance  = 4096
	slotMagic     = 0x32636573 // "sec2"
)

// committedFile is the open file. The holder of Queue.own owns it after Open.
type committedFile struct {
	f          *os.File
	generation uint64
}

func appendSlot(dst []byte, generation uint64, c *control) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, slotMagic)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, generation)
	dst = binary.LittleEndian.AppendUint16(dst, 0)
	dst = c.append(dst)
	binary.LittleEndian.PutUint16(dst[start+16:], uint16(len(dst)-start-18))
	dst = append(dst, make([]byte, start+slotSize-len(dst))...)
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

func parseSlot(b []byte) (generation uint64, c control, ok bool) {
	if len(b) < slotSize || binary.LittleEndian.Uint32(b) != slotMagic ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:slotSize], castagnoli) {
		return 0, c, false
	}
	n := int(binary.LittleEndian.Uint16(b[16:]))
	if n > maxControlSize {
		return 0, c, false
	}
	c, ok = parseControl(b[18 : 18+n])
	return binary.LittleEndian.Uint64(b[8:]), c, ok
}

// readCommitted returns the newest intact slot of the file in dir.
func readCommitted(dir string) (c control, generation uint64, ok bool) {
	b, err := disk.Read(filepath.Join(dir, committedName), slotDistance+slotSize)
	if err != nil {
		return c, 0, false
	}
	for _, at := range [...]int{0, slotDistance} {
		if at >= len(b) {
			continue
		}
		if g, s, fine := parseSlot(b[at:]); fine && (!ok || g > generation) {
			c, generation, ok = s, g, true
		}
	}
	return c, generation, ok
}

// unwritten reports whether the file is there and nothing was written to it yet.
func unwritten(dir string) bool {
	b, err := disk.Read(filepath.Join(dir, committedName), slotDistance+slotSize)
	return err == nil && zeros(b)
}

// openCommitted opens or creates the file. A new one gets its full size at once, so that a full
// disk does not keep the position from being written. What is no regular file is set aside.
func openCommitted(dir, corrupt string, generation uint64) (*committedFile, error) {
	path := filepath.Join(dir, committedName)
	if err := disk.MakeWay(path, disk.File, corrupt, nil); err != nil { // tidy has done so at a start
		return nil, err
	}
	f, err := disk.Open(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if i, err := f.Stat(); err == nil && i.Size() == 0 {
		f.Write(make([]byte, slotDistance+slotSize)) // best effort
	}
	return &committedFile{f, generation}, nil
}

// write makes c durable in the slot whose turn it is.
func (c *committedFile) write(v *control, ops disk.Ops) error {
	var buf [slotSize]byte
	b := appendSlot(buf[:0], c.generation+1, v)
	if _, err := c.f.WriteAt(b, int64((c.generation+1)%2)*slotDistance); err != nil {
		return err
	}
	if err := ops.Sync(c.f); err != nil {
		return err
	}
	c.generation++
	return nil
}

func (c *committedFile) close() error {
	if c == nil || c.f == nil {
		return nil
	}
	err := c.f.Close()
	c.f = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
