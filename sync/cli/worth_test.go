package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"edgesync/wal/disk"
)

// The check of a configuration says what data_dir is worth, whether it is there or is still to be
// made: medium, room, quota, and what to beware of. It makes nothing.
func TestCheckSaysWhatTheDirectoryIsWorth(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a small tmpfs needs root")
	}
	mount := t.TempDir()
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=10m"); err != nil {
		t.Skip("no tmpfs here: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(mount, syscall.MNT_DETACH) })
	dir := filepath.Join(mount, "a", "data")
	args := []string{"check", "--cloud.host=tb", "--cloud.routing_key=key-of-it", "--cloud.routing_secret=hush-hush", "--data_dir=" + dir}
	for made, want := range []string{"queue.max_bytes = auto     5.0 MiB\n", "queue.max_bytes = auto     2.0 MiB\n"} {
		code, out, errs := call(t, nil, args...)
		if code != exitOK {
			t.Fatalf("%d: %s", code, errs)
		}
		for _, text := range []string{
			want, "medium of data_dir         tmpfs, ", "of 10.0 MiB free\n",
			"note: data_dir is in RAM (tmpfs): a power cut loses what waits there",
		} {
			if !strings.Contains(out, text) {
				t.Errorf("%q is not in\n%s", text, out)
			}
		}
		if _, err := os.Lstat(filepath.Dir(dir)); (err == nil) != (made == 1) {
			t.Errorf("the directory after a check: %v", err)
		}
		d, err := disk.OpenDataDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Replace(filepath.Join(dir, "max_bytes"), []byte("2097152\n")); err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
}
