//go:build linux

// Package spent tells what benchmarks take of the processors. On a machine with other work the
// clock tells how much of it was left, and little of the benchmark.
package spent

import (
	"syscall"
	"testing"
	"time"
)

// From begins to count the CPU time of this process, that of its collector included. The function
// that it returns reports the time as cpu-ns/op.
func From(b *testing.B) (report func()) {
	before := now(b)
	return func() { b.ReportMetric(float64((now(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func now(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
