package clock

import (
	"syscall"
	"time"
	"unsafe"
)

// clockBoottime is CLOCK_BOOTTIME of Linux: like CLOCK_MONOTONIC, but it goes on in standby.
const clockBoottime = 7

// uptime returns a function that returns the milliseconds since the machine's start; since now,
// where the kernel does not say.
func uptime() func() int64 {
	began := time.Now()
	return func() int64 {
		var t syscall.Timespec
		if _, _, e := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0); e != 0 {
			return time.Since(began).Milliseconds()
		}
		return t.Nano() / 1e6
	}
}
