package rig

import "syscall"

// childAttributes keeps Ctrl-C from the children, so that this process decides in which order they
// end, and ends them when this process is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
