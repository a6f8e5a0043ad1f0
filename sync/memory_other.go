//go:build !linux

package sync

func unmapCode() {}
