package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestLimitGoesByTheMachine(t *testing.T) {
	for total, want := range map[int64]int64{
		0: 18 << 20, 32 << 20: 16 << 20, 57 << 20: 16 << 20, 64 << 20: 16 << 20, 68 << 20: 17 << 20,
		72 << 20: 18 << 20, 128 << 20: 18 << 20, 1 << 40: 18 << 20,
	} {
		if got := limitOf(total, 0); got != want {
			t.Errorf("%d of memory: %d, want %d", total, got, want)
		}
	}
	for bound, want := range map[int64]int64{
		10 << 20: 12 << 20, 20 << 20: 12 << 20, 24 << 20: 16 << 20, 32 << 20: 18 << 20, 1 << 40: 18 << 20,
	} {
		if got := limitOf(1<<30, bound); got != want {
			t.Errorf("a control group of %d: %d, want %d", bound, got, want)
		}
	}
}

// What is in use raises the limit from that of every day to that of the machine; devices and a
// message that comes raise both.
func TestLimitGoesByWhatIsInUse(t *testing.T) {
	l := &softLimit{base: 18 << 20, devices: 1000, holding: 9 << 20}
	const more = 1000*deviceMemory + 1<<20
	for live, want := range map[int64]int64{
		0: 15 << 20, 13 << 19: 15 << 20, 13<<19 + 1000: 15<<20 + 1500, 15 << 19: 33 << 19, 17 << 19: 18 << 20, 1 << 40: 18 << 20,
	} {
		l.live = live
		if got := l.bytes(); got != want+more {
			t.Errorf("%d in use: %d, want %d", live, got, want+more)
		}
	}
	l = &softLimit{base: 12 << 20, live: 1 << 20}
	if got := l.bytes(); got != 12<<20 {
		t.Errorf("in a small control group: %d, want %d", got, 12<<20)
	}
}

// Each collection is noticed, and fits the limit to what it has left.
func TestLimitFollowsCollections(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	l := &softLimit{base: 1 << 40}
	l.follow()
	ballast := make([]byte, 64<<20)
	for range 3 {
		for { // a finalizer is called some time after the collection that has found the garbage
			l.mu.Lock()
			live := l.live
			l.mu.Unlock()
			if live >= 32<<20 { // the percentage of the test's process may be another one
				break
			}
			runtime.GC()
		}
		l.mu.Lock()
		l.live = 0
		l.mu.Unlock()
	}
	l.measure()
	runtime.KeepAlive(ballast)
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := debug.SetMemoryLimit(-1); got != l.bytes() {
		t.Errorf("the limit is %d, want %d", got, l.bytes())
	}
}

func TestYieldsMemory(t *testing.T) {
	for before, want := range map[string]string{"0\n": yieldScore, "-500\n": "-500\n", "300\n": "300\n", "1000\n": "1000\n", "": ""} {
		path := filepath.Join(t.TempDir(), "oom_score_adj")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		yieldMemory(path)
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%q becomes %q, %v, want %q", before, b, err, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none")
	yieldMemory(missing)
	if _, err := os.Lstat(missing); err == nil {
		t.Error("where the kernel has no such file none is made")
	}
}
