//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"edgesync/scripts/internal/rig"
)

// rss returns the resident memory of a process, now and at its highest, in MB (10^6 bytes).
func rss(pid int) (now, highest float64, err error) {
	a, err := rig.ProcField(pid, "status", "VmRSS")
	if err != nil {
		return 0, 0, err
	}
	b, err := rig.ProcField(pid, "status", "VmHWM")
	return float64(a) / 1e6, float64(b) / 1e6, err
}

// versionRun measures the yardstick for the start: the best of five runs of `edgesync version`, in
// ms.
func versionRun(ctx context.Context, bin string) (ms float64, err error) {
	for i := range 5 {
		begin := time.Now()
		if err := exec.CommandContext(ctx, bin, "version").Run(); err != nil {
			return 0, fmt.Errorf("edgesync version: %w", err)
		}
		took := float64(time.Since(begin).Microseconds()) / 1000
		if i == 0 || took < ms {
			ms = took
		}
	}
	return ms, nil
}

// doNothing, as the only argument, makes this program wait for the end of its input.
const doNothing = "do-nothing"

// nothingRSS measures the yardstick for memory, in MB: the resident memory of this program, which
// links gRPC and net/http too, while it does nothing. (The kernel's highest RSS of an ended child
// is of no use: it includes the parent's before the exec.)
func nothingRSS(ctx context.Context) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, doNothing)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return 0, err
	}
	now, _, err := rss(cmd.Process.Pid)
	in.Close()
	return now, errors.Join(err, cmd.Wait())
}
