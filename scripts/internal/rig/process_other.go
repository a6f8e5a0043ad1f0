//go:build !linux

package rig

import "syscall"

// childAttributes: the signal at the parent's death is Linux's own.
func childAttributes() *syscall.SysProcAttr { return nil }
