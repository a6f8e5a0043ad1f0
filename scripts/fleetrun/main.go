//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"edgesync/scripts/internal/rig"
)

func main() {
	p := plan{every: 2 * time.Second, calm: 20 * time.Second, outage: 40 * time.Second, watch: time.Minute}
	flag.IntVar(&p.agents, "agents", 200, "how many agents, 1 to 10000")
	flag.DurationVar(&p.outage, "outage", p.outage, "how long the cloud is away")
	var bin rig.Binaries
	flag.StringVar(&bin.Agent, "agent", "build/edgesync", "the agent")
	flag.StringVar(&bin.Cloud, "cloud", "build/cloud", "the cloud in a box")
	flag.Parse()
	if flag.NArg() > 0 || p.agents < 1 || p.agents > 10000 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The directory is in the tree, not in /tmp, which is often memory.
	if err := inDirectory("build", func(dir string) error { return newFleet(os.Stdout, dir, bin, p).run(ctx) }); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "fleetrun:", err)
		os.Exit(1)
	}
}

// inDirectory has run work in a new directory below parent, which stays if something does not hold.
func inDirectory(parent string, run func(dir string) error) error {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "fleet-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := run(dir); err != nil {
		return fmt.Errorf("%w\nthe files are kept in %s", err, dir)
	}
	return os.RemoveAll(dir)
}
