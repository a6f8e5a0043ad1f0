package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// The collector works towards less on the smallest routers, and never towards so little that it
// runs without end.
func TestMemoryLimitGoesByTheMachine(t *testing.T) {
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
	l := &softLimit{base: 16 << 20}
	l.devices, l.holding = 1000, 9<<20
	if got, want := l.bytes(), int64(16<<20+1000*deviceMemory+1<<20); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

// Without memory the kernel ends the agent first, unless somebody has said otherwise.
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
