package rig

import "syscall"

// childAttributes keeps Ctrl-C away from the children, so that they end in our order, and ends them should we be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
