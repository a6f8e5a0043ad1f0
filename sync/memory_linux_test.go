package sync

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCodeMapping(t *testing.T) {
	const exe = "/usr/bin/edgesync"
	for line, want := range map[string][2]uintptr{
		"00400000-008b3000 r-xp 00000000 fe:00 123      /usr/bin/edgesync\n": {0x400000, 0x4b3000},
		"008b3000-00dd3000 r--p 004b3000 fe:00 123      /usr/bin/edgesync\n": {0x8b3000, 0x520000},
		"00dd3000-00e42000 rw-p 009d3000 fe:00 123      /usr/bin/edgesync\n": {}, // holds data
		"00400000-008b3000 r-xs 00000000 fe:00 123      /usr/bin/edgesync\n": {},
		"00400000-008b3000 r-xp 00000000 fe:00 123      /usr/lib/other.so\n": {},
		"7ffe48614000-7ffe48635000 rw-p 00000000 00:00 0  [stack]\n":         {},
		"3738b6c00000-3738b7800000 rw-p 00000000 00:00 0 \n":                 {},
		"008b3000-00400000 r-xp 00000000 fe:00 123      /usr/bin/edgesync\n": {},
		"x-y r-xp 00000000 fe:00 123      /usr/bin/edgesync\n":               {},
		"": {},
	} {
		start, length, ok := codeMapping([]byte(line), exe)
		if ok != (want[1] != 0) || start != want[0] || length != want[1] {
			t.Errorf("%q gives %#x, %#x, %v; want %#x", line, start, length, ok, want)
		}
	}
}

// Constants, code and data are unchanged after the pages of the code are given back.
func TestUnmapCode(t *testing.T) {
	before := strings.Join(stateNames[:], " ")
	unmapCode()
	if got := strings.Join(stateNames[:], " "); got != before || got != "disconnected reconnecting draining processing connected refused" {
		t.Fatalf("after the code was unmapped: %q", got)
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
}

// The memory of the machine is what /proc/meminfo says.
func TestMemTotal(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
	}{
		{"MemTotal:         123456 kB\nMemFree:           1 kB\n", 123456 << 10},
		{"MemFree: 1 kB\nMemTotal: 59000 kB", 59000 << 10},
		{"MemTotal: -5 kB\n", 0},
		{"MemTotal: 99999999999999999999 kB\n", 0},
		{"MemTotal: 9000000000000000000 kB\n", 0},
		{"MemTotal: 5 MB\n", 0},
		{"MemTotal:", 0},
		{"", 0},
	} {
		if got := memTotalIn([]byte(c.text)); got != c.want {
			t.Errorf("%q: %d, want %d", c.text, got, c.want)
		}
	}
	if MemTotal() < 16<<20 {
		t.Errorf("this machine has %d bytes", MemTotal())
	}
}

// What a control group allows is the least of its own limit and those of the groups it is in, of
// both versions.
func TestMemBound(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":      {map[string]string{"proc/self/cgroup": "0::/\n"}, 0},
		"no files":  {nil, 0},
		"unlimited": {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		"v2, of a parent": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "20971520\n", "sys/fs/cgroup/a/b/memory.max": "33554432\n",
		}, 20 << 20},
		"v1, seen from a container": {map[string]string{
			"proc/self/cgroup":                           "9:pids:/x\n4:memory:/docker/1234\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/pids/x/memory.max":            "5\n",
		}, 64 << 20},
		"v1, unlimited": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 0},
		"nonsense": {map[string]string{"proc/self/cgroup": "x\n0::../..\n", "sys/fs/cgroup/memory.max": "-3\n"}, 0},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			path := filepath.Join(root, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if got := MemBound(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
