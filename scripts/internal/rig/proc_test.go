//go:build linux

package rig

import (
	"os"
	"testing"
)

func TestCPUTime(t *testing.T) {
	before, err := CPUTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		// Use CPU time until the kernel has counted some.
		if after, err := CPUTime(os.Getpid()); err != nil || after > before {
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

func TestProcField(t *testing.T) {
	if n, err := ProcField(os.Getpid(), "status", "VmRSS"); err != nil || n < 1<<20 || n%1024 != 0 {
		t.Errorf("the memory of this process: %d, %v", n, err)
	}
	if n, err := ProcField(os.Getpid(), "status", "Pid"); err != nil || n != int64(os.Getpid()) {
		t.Errorf("the id of this process: %d, %v", n, err)
	}
	if n, err := ProcField(os.Getpid(), "status", "Nothing"); err == nil {
		t.Errorf("what is not there: %d", n)
	}
}
