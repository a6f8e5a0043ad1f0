//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// procField reads a number from /proc/PID/FILE, whose lines are "name: number [kB]".
func procField(pid int, file, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		if rest, ok := strings.CutPrefix(sc.Text(), name+":"); ok {
			f := strings.Fields(rest)
			if len(f) == 0 {
				break
			}
			n, err := strconv.ParseInt(f[0], 10, 64)
			if len(f) > 1 && f[1] == "kB" {
				n <<= 10
			}
			return n, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}

// rss returns the resident memory of a process now and at its highest, in MB (10^6 bytes).
func rss(pid int) (now, highest float64, err error) {
	a, err := procField(pid, "status", "VmRSS")
	if err != nil {
		return 0, 0, err
	}
	b, err := procField(pid, "status", "VmHWM")
	return float64(a) / 1e6, float64(b) / 1e6, err
}

// versionRun is the yardstick for memory and start: a run of the same program that does nothing.
// It returns the best of five times in ms and the resident memory in MB.
func versionRun(ctx context.Context, bin string) (ms, mb float64, err error) {
	for i := range 5 {
		begin := time.Now()
		cmd := exec.CommandContext(ctx, bin, "version")
		if err := cmd.Run(); err != nil {
			return 0, 0, fmt.Errorf("edgesync version: %w", err)
		}
		took := float64(time.Since(begin).Microseconds()) / 1000
		if i == 0 || took < ms {
			ms = took
		}
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			mb = float64(int64(u.Maxrss)<<10) / 1e6
		}
	}
	return ms, mb, nil
}
