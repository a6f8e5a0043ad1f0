package disk

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestDataDirIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := OpenDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a fresh directory: %v, %v, want 0700", info.Mode(), err)
	}
	_, err = OpenDataDir(path)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("second holder: %v, want ErrLocked with process and path", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = OpenDataDir(path)
	if err != nil {
		t.Fatalf("after the first one closed: %v", err)
	}
	d.Close()
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := OpenDataDir(path)
		if err == nil || errors.Is(err, ErrLocked) ||
			!strings.Contains(err.Error(), "set data_dir") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want what to do and where", path, err)
		}
	}
}

func TestAutoMaxBytesIsDecidedOnce(t *testing.T) {
	for _, tt := range []struct {
		free      int64
		disk, raw int64
	}{
		{0, 1 << 20, 1 << 20},
		{100 * 4096, 1 << 20, 1 << 20},
		{1000 * 4096, 2048000, 2048000},
		{16<<20 - 2, 8<<20 - 1, 8<<20 - 1},
		{60 << 20, 30 << 20, 8 << 20},
		{2 << 30, 1 << 30, 8 << 20},
		{math.MaxInt64, 1 << 30, 8 << 20},
	} {
		if got := AutoQuota(tt.free, false); got != tt.disk {
			t.Errorf("%d free: %d, want %d", tt.free, got, tt.disk)
		}
		if got := AutoQuota(tt.free, true); got != tt.raw {
			t.Errorf("%d free on raw flash: %d, want %d", tt.free, got, tt.raw)
		}
	}
	d, err := OpenDataDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, err := d.AutoMaxBytes(false)
	if err != nil || first < 1<<20 || first > 1<<30 {
		t.Fatalf("quota %d, %v", first, err)
	}
	name := filepath.Join(d.Path, "max_bytes")
	if data, err := os.ReadFile(name); err != nil || string(data) != strconv.FormatInt(first, 10)+"\n" {
		t.Errorf("kept %q, %v, want %d", data, err, first)
	}
	for content, want := range map[string]int64{"2000000\n": 2000000, "garbage": first, "": first, "5": first, "99999999999": first} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := d.AutoMaxBytes(false)
		// Free room may have changed a little since. Only the size of what was kept is exact.
		if err != nil || (want == 2000000) != (got == 2000000) || got < 1<<20 || got > 1<<30 {
			t.Errorf("file %q: %d, %v", content, got, err)
		}
	}
}
