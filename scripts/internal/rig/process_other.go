//go:build !linux

package rig

import "syscall"

// childAttributes returns nil: only Linux has a signal at the parent's death.
func childAttributes() *syscall.SysProcAttr { return nil }
