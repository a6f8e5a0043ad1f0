//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"edgesync/scripts/internal/rig"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == doNothing {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	only := flag.String("only", "", "measure one thing: appends, allocs, idle, drain, wire, registry, "+
		"million, aggregate, http, mqtt or rules")
	pending := flag.Int("pending", 1_000_000, "events of the backlog that \"million\" measures with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, *pending); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything, or only one thing. A figure beyond its bound is no error, because the
// bounds are for the machine that scripts/bench/README.md names; a figure that could not be
// measured is one.
func run(ctx context.Context, only string, pending int) error {
	// The directory is in the tree, not in /tmp: a disk is measured, and /tmp is often memory.
	if err := os.MkdirAll("build", 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("build", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	built := rig.Doing(os.Stderr, "building edgesync and the cloud in a box")
	bin, err := rig.Build(ctx, dir)
	built()
	if err != nil {
		return err
	}
	fmt.Printf("%s/%s, %d CPUs, %s\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	t := &table{out: os.Stdout}
	t.head()

	known := only == ""
	measure := func(name, what string, f func() error) {
		if only != "" && only != name {
			return
		}
		known = true
		if ctx.Err() != nil {
			return
		}
		// The table goes to standard output, which may be a file.
		done := rig.Doing(os.Stderr, "measuring "+what)
		err := f()
		done()
		if err != nil {
			t.missing(what, err)
		}
	}
	for _, writers := range []int{1, 16, 256} {
		measure("appends", fmt.Sprintf("durable appends/s, writers: %d", writers),
			func() error { return measureAppends(ctx, t, dir, writers) })
	}
	measure("allocs", "allocations per event, log to wire", func() error { return measureAllocs(ctx, t) })

	if only != "appends" && only != "allocs" {
		s, err := newSite(ctx, t, bin, dir)
		if err != nil {
			return err
		}
		defer s.cloud.Kill()
		// The first agent learns the devices.
		synced := rig.Doing(os.Stderr, "waiting for an agent to sync")
		a, err := s.start(ctx, s.cloud.GRPC)
		synced()
		if err != nil {
			return err
		}
		if err := a.Stop(); err != nil {
			return err
		}
		measure("idle", "RSS idle, and ten events a second", func() error { return s.idleAndSlow(ctx) })
		measure("drain", "drain and flash", func() error { return s.drain(ctx) })
		measure("wire", "bytes on the wire, draining", func() error { return s.drainWire(ctx) })
		measure("registry", "memory with "+grouped(manyDevices)+" devices", func() error { return registry(ctx, t, bin, dir, s.nothingMB) })
		measure("million", grouped(pending)+" pending", func() error { return s.million(ctx, pending) })
		measure("aggregate", "one-minute windows", func() error { return s.aggregate(ctx) })
		// HTTP and MQTT come last: the others cannot wait until the events that these leave are
		// gone.
		measure("http", "posts over HTTP", func() error { return s.http(ctx) })
		measure("mqtt", "publishes over MQTT", func() error { return s.mqtt(ctx) })
		measure("rules", "rule chains", func() error { return s.rules(ctx) })
	}
	if !known {
		return fmt.Errorf("there is nothing called %q to measure", only)
	}
	if t.over > 0 {
		fmt.Printf("\n%d figures are beyond their bounds\n", t.over)
	}
	if t.absent > 0 {
		return fmt.Errorf("%d things could not be measured", t.absent)
	}
	return ctx.Err()
}
