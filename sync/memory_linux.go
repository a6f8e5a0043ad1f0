package sync

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"edgesync/wal/disk"
)

// unmapCode lets go of the pages of the program's own file, its code and constants: most of what
// start-up, TLS and a first sync touch is never touched again, and two thirds of the memory of an
// idle agent were such pages. They are clean; what is needed comes back from the page cache, or
// from the file, at the next touch. It changes nothing but what is counted as resident.
func unmapCode() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		if start, length, ok := codeMapping(line, exe); ok {
			// An error leaves things as they were.
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, start, length, syscall.MADV_DONTNEED)
		}
	}
}

// codeMapping reads a line of /proc/self/maps. ok is true for a mapping of the file exe that is
// private and cannot be written: to drop pages of any other kind would lose data.
func codeMapping(line []byte, exe string) (start, length uintptr, ok bool) {
	f := bytes.Fields(line)
	if len(f) != 6 || string(f[5]) != exe || len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] != '-' || f[1][3] != 'p' {
		return 0, 0, false
	}
	from, to, found := bytes.Cut(f[0], []byte{'-'})
	a, err1 := strconv.ParseUint(string(from), 16, strconv.IntSize)
	b, err2 := strconv.ParseUint(string(to), 16, strconv.IntSize)
	if !found || err1 != nil || err2 != nil || b <= a {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}

// MemTotal is the memory of this machine in bytes; 0 where the kernel does not say.
func MemTotal() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return memTotalIn(text)
}

// MemBound is the least limit of memory in bytes that a control group sets for this process; 0:
// none. The files of the kernel are below root, "" but for tests.
func MemBound(root string) (limit int64) {
	read := func(path string) string {
		b, _ := disk.Read(root+path, 1<<20)
		return string(b)
	}
	for line := range strings.Lines(read("/proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		base, file := "/sys/fs/cgroup", "memory.max"
		switch f[1] {
		case "":
		case "memory":
			base, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			n, err := strconv.ParseInt(strings.TrimSpace(read(filepath.Join(base, dir, file))), 10, 64)
			if err == nil && n > 0 && n < 1<<50 && (limit == 0 || n < limit) {
				limit = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit
}

// memTotalIn reads /proc/meminfo.
func memTotalIn(text []byte) int64 {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "MemTotal:" && string(f[2]) == "kB" {
			if n, err := strconv.ParseInt(string(f[1]), 10, 64); err == nil && n > 0 && n < 1<<50 {
				return n << 10
			}
		}
	}
	return 0
}
