//go:build !linux

package status

// peerUser is not known: abstract sockets are Linux's.
func peerUser(uintptr) (uid int, ok bool) { return 0, false }
