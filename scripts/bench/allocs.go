//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// measureAllocs runs the benchmark of ./sync that takes events from the log to the wire.
func measureAllocs(ctx context.Context, t *table) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkLogToWire$", "-benchmem", "edgesync/sync")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench LogToWire: %w\n%s", err, out)
	}
	allocs, err := parseLogToWire(string(out))
	if err != nil {
		return err
	}
	// The allocations are constant per batch of 100, which gives a few hundredths per event.
	t.add(line{what: "allocations per event, log to wire", measured: allocs, format: "%.3f", bound: 0.5})
	return nil
}

// parseLogToWire finds allocs/event in the output of the benchmark, or else divides allocs/op by
// events/op (1 if missing).
func parseLogToWire(out string) (float64, error) {
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != "BenchmarkLogToWire" && !strings.HasPrefix(f[0], "BenchmarkLogToWire-") {
			continue
		}
		metrics := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return 0, fmt.Errorf("benchmark line %q: %w", l, err)
			}
			metrics[f[i+1]] = v
		}
		if v, ok := metrics["allocs/event"]; ok {
			return v, nil
		}
		perOp, ok := metrics["allocs/op"]
		if !ok {
			return 0, fmt.Errorf("benchmark line %q has no allocs/op", l)
		}
		if events := metrics["events/op"]; events > 0 {
			perOp /= events
		}
		return perOp, nil
	}
	return 0, errors.New("there is no BenchmarkLogToWire in ./sync")
}
