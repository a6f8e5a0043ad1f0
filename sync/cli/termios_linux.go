package cli

import (
	"os"
	"syscall"
	"unsafe"
)

// termios gets or sets the attributes of a terminal.
func termios(f *os.File, set bool, t *syscall.Termios) error {
	request := uintptr(syscall.TCGETS)
	if set {
		request = syscall.TCSETS
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(t))); errno != 0 {
		return errno
	}
	return nil
}
