package disk

import (
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

// TestUnusableNamesTheCure holds that a directory that cannot be used is told with what helps.
func TestUnusableNamesTheCure(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		want  string
	}{
		{syscall.EACCES, "permission denied; give the user of edgesync the right to write there, or set data_dir"},
		{syscall.EROFS, "read-only file system; mount it so that it can be written (dmesg may say why it is not), or set data_dir"},
		{syscall.ENOSPC, "no space left on device; free some room there, or set data_dir"},
	} {
		err := unusable("/mnt/stick", fmt.Errorf("lock: %w", &fs.PathError{Op: "open", Path: "/mnt/stick/lock", Err: c.errno}))
		if got, want := err.Error(), `the data directory "/mnt/stick" cannot be used: `+c.want; got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}
