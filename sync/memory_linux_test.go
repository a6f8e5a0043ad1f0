package sync

import (
	"os"
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
