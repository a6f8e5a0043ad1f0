//go:build !linux

package cli

import (
	"os"
	"syscall"
)

// termios is for Linux only: elsewhere nobody is asked, and what is typed is shown.
func termios(*os.File, bool, *syscall.Termios) error { return syscall.ENOTSUP }
