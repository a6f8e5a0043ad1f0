package medium

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"edgesync/wal/disk"
)

// Medium is what the kernel says of the medium under a directory.
type Medium struct {
	// FS is the kind of file system as mount(8) names it, "ext4". Where the mounts cannot be read
	// it is what the magic number says ("ext2/3/4"), or "0x" and that number.
	FS string
	// Upper is the kind of the file system under an overlay, "jffs2"; "" where there is no overlay,
	// or where its upper directory cannot be seen.
	Upper string
	// Raw means flash without a translation layer, written by JFFS2 or UBIFS, also under an
	// overlay. There is little of it, an estimate is all that the kernel has of what is free, and
	// it wears out by what this process writes. Of an overlay whose upper directory cannot be seen,
	// Probe finds out.
	Raw bool
	// RAM means that a power cut empties it: tmpfs and ramfs, an overlay whose upper directory is
	// there (an OpenWrt that has no overlay partition yet), and a file system on a RAM disk or
	// zram.
	RAM bool
	// ReadOnly means mounted so, or made so by the kernel after errors.
	ReadOnly bool
	// Device is what is written to: "/dev/mmcblk0" (the disk, not its partition), "/dev/ubi0_1",
	// "/dev/mtd5", "server:/export"; "" where the kernel does not say.
	Device string
	// CommitBytes is what one small commit (a write and an fsync) costs the medium, in bytes; 0 in
	// RAM, never negative.
	CommitBytes int64
	// CommitSource says for people where CommitBytes comes from: "measured on /dev/mmcblk0",
	// "minimal I/O size 2048 of /dev/ubi0_1", "assumed", "in RAM".
	CommitSource string
	// Free is what this process may still write there, and Total the size of the file system, both
	// in bytes.
	Free, Total int64
}

// String is the medium in words: "ext4 on /dev/mmcblk0, 8192 bytes a commit (measured on
// /dev/mmcblk0)".
func (m Medium) String() string {
	s := m.FS
	if m.Upper != "" {
		s += " over " + m.Upper
	}
	if m.Device != "" {
		s += " on " + m.Device
	}
	if m.CommitBytes > 0 {
		s += fmt.Sprintf(", %d bytes a commit (%s)", m.CommitBytes, m.CommitSource)
	}
	return s
}

// Traps says what a person should know before trusting a data directory to the medium: in whole
// sentences for the log, the status and the check of a configuration; none if it is fit.
func (m Medium) Traps() (list []string) {
	where := "data_dir is on " + m.kind()
	switch {
	case m.RAM:
		list = append(list, "data_dir is in RAM ("+m.kind()+"): a power cut loses what waits there; set data_dir to flash or disk")
	case m.ReadOnly:
		list = append(list, where+", which is read-only: nothing can be accepted until it is mounted for writing")
	}
	switch m.kind() {
	case "vfat", "exfat", "msdos", "ntfs3", "fuseblk":
		list = append(list, where+", which has no owners: whoever is on this machine may read the tokens and events there, "+
			"and a power cut may cost a file that is being replaced; use ext4 or f2fs")
	case "nfs", "nfs4", "cifs", "smb3", "9p":
		list = append(list, where+", a server's: while it is away devices are refused")
	case "jffs2":
		if m.Free < m.Total/10 {
			list = append(list, where+", of which less than a tenth is free: it stops for seconds at a time to tidy up")
		}
	}
	return list
}

// kind is the file system that writes to the device.
func (m *Medium) kind() string {
	if m.Upper != "" {
		return m.Upper
	}
	return m.FS
}

// InPlace reports whether the file system is known to overwrite a file's blocks where they are, and
// to write its journal only when more than data has changed. A commit into room that the file has
// costs half there (wal.Options.Fill). File systems that write every change to new blocks (f2fs,
// ubifs, jffs2, btrfs) gain nothing by it.
func (m Medium) InPlace() bool { return !m.RAM && strings.HasPrefix(m.FS, "ext") }

// Floor is how many bytes of the file system a queue had better leave free; 0 = it may fill it. On
// raw flash, and where the queue shares an overlay with the system, the system comes up read-only
// when there is none: an overlay makes its work directory anew at each mount.
func (m Medium) Floor() int64 {
	if m.RAM || !m.Raw && m.FS != "overlay" {
		return 0
	}
	return min(max(m.Total/32, 256<<10), 8<<20)
}

// AssumedCommit is the cost of a commit in bytes where the kernel does not say: ext4 writes a block
// of data and one of its journal.
const AssumedCommit = 8 << 10

// Read asks the kernel for the medium under dir, which must exist. It writes nothing: the cost of a
// commit is what can be known without trying, Probe measures it. It reads a few small files of
// /proc and /sys and may be called for each status page. The error is that of statfs; whatever else
// cannot be had leaves its field empty.
func Read(dir string) (Medium, error) {
	m, _, err := read("/", dir)
	return m, err
}

// Probe is Read, and measures the cost of a commit as CommitCost does. A medium that refuses the
// trial as read-only is ReadOnly, whatever its mount says. The process that owns dir calls it at
// start, before the queue there is opened.
func Probe(dir string) (Medium, error) {
	m, d, err := read("/", dir)
	if err != nil {
		return m, err
	}
	if err := m.measure(dir, d); errors.Is(err, syscall.EROFS) {
		m.ReadOnly = true
	}
	if m.FS == "overlay" && m.Upper == "" && !m.RAM {
		m.Raw = refusesAllocation(dir)
	}
	return m, nil
}

// read is Read for the machine whose /proc and /sys are under root.
func read(root, dir string) (Medium, device, error) {
	var st syscall.Statfs_t
	if err := disk.Retry(func() error { return syscall.Statfs(dir, &st) }); err != nil {
		return Medium{}, device{}, fmt.Errorf("ask for the file system of %s: %w", dir, err)
	}
	var m Medium
	unit := int64(st.Frsize)
	if unit <= 0 {
		unit = int64(st.Bsize)
	}
	m.Free, m.Total = product(st.Bavail, unit), product(st.Blocks, unit)
	m.ReadOnly = st.Flags&rdonly != 0
	m.FS, m.RAM = kindOf(uint32(st.Type))

	var d device
	if path, err := absolute(dir); err == nil {
		var on mount
		var ok bool
		number := ""
		var st syscall.Stat_t
		if disk.Retry(func() error { return syscall.Stat(dir, &st) }) == nil {
			number = deviceNumber(uint64(st.Dev))
		}
		if on, d, ok = deviceUnder(root, path, number); ok {
			m.FS = on.fs
			m.Device = d.name
			m.RAM = m.RAM || d.ram
			if d.fs != on.fs {
				m.Upper = d.fs
			}
		}
	}
	m.Raw = m.kind() == "jffs2" || m.kind() == "ubifs"
	m.CommitBytes, m.CommitSource = d.commit()
	if m.RAM {
		m.CommitBytes, m.CommitSource = 0, "in RAM"
	}
	return m, d, nil
}

const rdonly = 1 // ST_RDONLY of statfs(2)

// kindOf names a file system by its magic number (linux/magic.h), and reports whether it lives in
// RAM.
func kindOf(magic uint32) (name string, ram bool) {
	switch magic {
	case 0x01021994:
		return "tmpfs", true
	case 0x858458f6:
		return "ramfs", true
	case magicExt:
		return "ext2/3/4", false
	case magicXFS:
		return "xfs", false
	case 0x794c7630:
		return "overlay", false
	case 0x24051905:
		return "ubifs", false
	case 0x72b6:
		return "jffs2", false
	case 0xf2f52010:
		return "f2fs", false
	case 0x73717368:
		return "squashfs", false
	case 0xe0f5e1e2:
		return "erofs", false
	case 0x4d44:
		return "vfat", false
	case 0x2011bab0:
		return "exfat", false
	case 0x7366746e:
		return "ntfs3", false
	case 0x9123683e:
		return "btrfs", false
	case 0x6969:
		return "nfs", false
	case 0xff534d42, 0xfe534d42:
		return "cifs", false
	case 0x65735546:
		return "fuse", false
	case 0x01021997:
		return "9p", false
	}
	return fmt.Sprintf("%#x", magic), false
}

const (
	magicExt = 0xef53
	magicXFS = 0x58465342
)

// product is blocks*unit, at most what an int64 holds.
func product(blocks uint64, unit int64) int64 {
	if unit <= 0 {
		return 0
	}
	if blocks > math.MaxInt64/uint64(unit) {
		return math.MaxInt64
	}
	return int64(blocks) * unit
}

// absolute is the path of dir from the root, without symbolic links, as the table of mounts has it.
func absolute(dir string) (string, error) {
	path, err := filepath.EvalSymlinks(dir)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	return path, err
}

// readSmall reads a file of /proc or /sys of at most 1 MiB, cut at the ends; "" if there is none.
func readSmall(parts ...string) string {
	b, err := disk.Read(filepath.Join(parts...), 1<<20)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
