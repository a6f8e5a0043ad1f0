package medium

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc(5)).
type mount struct {
	number  string // major:minor, as in st_dev; major 0 is anonymous
	point   string
	fs      string
	source  string
	options string // of the file system, still escaped: an escaped comma is no separator
}

// parseMounts reads the table of mounts. Lines that are none are passed over.
func parseMounts(table string) (mounts []mount) {
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(line, " - ")
		a, b := strings.Fields(before), strings.Fields(after)
		if len(a) < 6 || len(b) < 2 {
			continue
		}
		m := mount{number: a[2], point: unescape(a[4]), fs: unescape(b[0]), source: unescape(b[1])}
		if len(b) > 2 {
			m.options = b[2]
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes how the kernel writes blanks and the like: a backslash and three octal digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// option returns the value of one option of the file system, "" if it has none.
func (m *mount) option(name string) string {
	for o := range strings.SplitSeq(m.options, ",") {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return unescape(v)
		}
	}
	return ""
}

// mountOf finds the mount that an absolute path is on: the deepest one, and of those on the same
// point the last, which hides the others. Mounts with the number that stat(2) gives for the path go
// before those without: a deep mount may be hidden by a later one above it, and btrfs gives a
// number that no mount has.
func mountOf(mounts []mount, path, number string) (found mount, ok bool) {
	for _, m := range mounts {
		if !within(m.point, path) {
			continue
		}
		same, had := m.number == number, found.number == number
		if !ok || same && !had || same == had && len(m.point) >= len(found.point) {
			found, ok = m, true
		}
	}
	return found, ok
}

// deviceNumber writes a st_dev as the kernel's tables do. Bits 8 to 19 and above 43 are the major
// number, the others the minor one, in the 32 bits of MIPS and the 64 of the others alike.
func deviceNumber(dev uint64) string {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&^0xff&0xffffffff
	return strconv.FormatUint(major, 10) + ":" + strconv.FormatUint(minor, 10)
}

// within reports whether a path is the directory or something below it.
func within(dir, path string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// device is what lies under a mount. The zero one is unknown.
type device struct {
	name  string
	ram   bool
	stat  string // file whose seventh number counts the sectors of 512 bytes written so far; "" = none
	write int64  // smallest write in bytes, of flash without a translation layer; 0 = unknown
	fs    string // of the file system that writes there, behind overlays
}

// overlays bounds how many overlays are looked through.
const overlays = 3

// deviceUnder finds the mount that the absolute path is on, and the device under it; an overlay
// leads to the device of its upper directory. number is the path's st_dev, if known; root is where
// /proc and /sys are. False if the table of mounts cannot be read.
func deviceUnder(root, path, number string) (on mount, d device, ok bool) {
	mounts := parseMounts(readSmall(root, "proc/self/mountinfo"))
	on, ok = mountOf(mounts, path, number)
	m := on
	for range overlays {
		if !ok || m.fs != "overlay" {
			break
		}
		// The path is that of the moment of mounting; in a container it leads nowhere, and nothing
		// is known.
		upper := m.option("upperdir")
		if !filepath.IsAbs(upper) || !exists(filepath.Join(root, upper)) {
			return on, device{}, true
		}
		m, ok = mountOf(mounts, filepath.Clean(upper), "")
	}
	if !ok || m.fs == "overlay" {
		return on, device{}, on.point != "" // under an overlay nothing is known; the kind still is
	}
	d = m.device(root)
	d.fs = m.fs
	return on, d, true
}

// device looks a mount's device up in /sys.
func (m *mount) device(root string) device {
	sys := filepath.Join(root, "sys")
	switch m.fs {
	case "tmpfs", "ramfs", "rootfs":
		return device{ram: true}
	case "ubifs":
		return ubiVolume(sys, m.source)
	case "jffs2":
		// It writes through the MTD layer, so that the block device's counter, where there is one,
		// stands still.
		_, minor, _ := strings.Cut(m.number, ":")
		mtd := "mtd" + minor
		return device{name: "/dev/" + mtd, write: number64(readSmall(sys, "class/mtd", mtd, "writesize"))}
	}
	dir := filepath.Join(sys, "dev/block", m.number)
	if !exists(dir) { // btrfs and its like number their file systems themselves
		if !strings.HasPrefix(m.source, "/dev/") {
			return device{name: remote(m.source)}
		}
		if dir = filepath.Join(sys, "class/block", filepath.Base(m.source)); !exists(dir) {
			return device{name: m.source}
		}
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return device{}
	}
	d := device{stat: filepath.Join(dir, "stat")} // a partition's own, which others on the disk do not disturb
	if exists(filepath.Join(dir, "partition")) {
		dir = filepath.Dir(dir)
		if !exists(d.stat) {
			d.stat = filepath.Join(dir, "stat")
		}
	}
	base := filepath.Base(dir)
	d.name = "/dev/" + strings.ReplaceAll(base, "!", "/")
	d.ram = numbered(base, "ram") || numbered(base, "zram")
	return d
}

// remote is a source that names a server's directory ("server:/export"), else nothing: "none" and
// "overlay" are no devices.
func remote(source string) string {
	if strings.Contains(source, ":/") || strings.HasPrefix(source, "//") {
		return source
	}
	return ""
}

// ubiVolume finds the volume that ubifs was mounted from. The source is, as mount(8) was told,
// ubiX_Y, ubiY (of the first device), ubiX:NAME or ubi:NAME, with ! for : too, and the first may be
// written as a path in /dev.
func ubiVolume(sys, source string) device {
	class := filepath.Join(sys, "class/ubi")
	volume := strings.TrimPrefix(source, "/dev/")
	if at := strings.IndexAny(volume, ":!"); at >= 0 {
		on, name := volume[:at], volume[at+1:]
		if on == "ubi" {
			on = "ubi0"
		}
		volume = ""
		volumes, _ := os.ReadDir(class)
		for _, v := range volumes {
			if strings.HasPrefix(v.Name(), on+"_") && readSmall(filepath.Join(class, v.Name(), "name")) == name {
				volume = v.Name()
			}
		}
	} else if numbered(volume, "ubi") {
		volume = "ubi0_" + strings.TrimPrefix(volume, "ubi")
	}
	on, _, ok := strings.Cut(volume, "_")
	if !ok || !numbered(on, "ubi") || !exists(filepath.Join(class, volume)) {
		return device{name: source}
	}
	return device{name: "/dev/" + volume, write: number64(readSmall(class, on, "min_io_size"))}
}

// numbered reports whether a name is the word and a number.
func numbered(name, word string) bool {
	rest, ok := strings.CutPrefix(name, word)
	return ok && rest != "" && strings.Trim(rest, "0123456789") == ""
}

func number64(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Bounds of a smallest write that is believed. Below is NOR flash, where it says nothing about the
// cost of a commit.
const (
	minPage = 256
	maxPage = 64 << 10
)

// commit is what one commit costs as far as can be known without trying. ubifs writes the inode
// (160 bytes) and, compressed, the block of 4 KiB that changed with a header of 48, which is half
// full in the mean, and fills up to the smallest write; jffs2 fills its write buffer up once
// (fs/ubifs/ubifs-media.h, fs/jffs2/wbuf.c).
func (d *device) commit() (bytes int64, source string) {
	if d.write < minPage || d.write > maxPage {
		return AssumedCommit, "assumed"
	}
	bytes = d.write
	if d.fs == "ubifs" {
		const node = 160 + 48 + 2048
		bytes = (node + d.write - 1) / d.write * d.write
	}
	return bytes, fmt.Sprintf("minimal I/O size %d of %s", d.write, d.name)
}

// written is how many bytes were written to the device since the machine started; false where the
// kernel does not count. The file's format is Documentation/block/stat.rst; a sector there has 512
// bytes whatever the disk's are.
func (d *device) written() (bytes uint64, ok bool) {
	if d.stat == "" {
		return 0, false
	}
	b, err := os.ReadFile(d.stat)
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(b))
	if len(f) < 7 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[6], 10, 64)
	return n * 512, err == nil
}
