//go:build !linux

package cli

import (
	"os"
	"syscall"
)

// termios is for Linux only: what is typed is shown elsewhere.
func termios(*os.File, bool, *syscall.Termios) error { return syscall.ENOTSUP }
