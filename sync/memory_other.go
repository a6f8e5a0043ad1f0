//go:build !linux

package sync

func unmapCode() {}

func memTotal() int64 { return 0 }
