package status

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// screenSize is how many columns a terminal has, and how many rows can be written without
// scrolling.
func screenSize(w io.Writer) (columns, rows int) {
	var size struct{ rows, columns, x, y uint16 }
	if f, ok := w.(*os.File); ok {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
		if errno == 0 && size.columns > 0 && size.rows > 1 {
			return int(size.columns), int(size.rows) - 1
		}
	}
	return 80, 23
}
