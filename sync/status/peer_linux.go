package status

import "syscall"

// peerUser is the user at the other end of a socket.
func peerUser(fd uintptr) (uid int, ok bool) {
	c, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, false
	}
	return int(c.Uid), true
}
