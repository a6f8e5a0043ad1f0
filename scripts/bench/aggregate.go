//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

// So many devices post one value a second each, for a minute, over so many connections.
const (
	aggregateDevices = 1000
	aggregateSeconds = 60
	aggregateLanes   = 16
	aggregateValues  = aggregateDevices * aggregateSeconds
)

// minuteChain is the chain that makes one event of a minute of a device.
const minuteChain = "scripts/chains/minute.json"

// amount is what a minute of values took.
type amount struct {
	events       uint64 // that came to the cloud
	wire         int64  // bytes sent
	flash        int64  // bytes handed to files
	kernel       int64  // the same by the kernel's write_bytes
	highest, now float64
}

// aggregate measures a minute of values of many devices twice, each time with a data directory of
// its own: without a chain, so that each value goes up, and with the chain that sends a minimum,
// maximum, average and count of each device.
func (s *site) aggregate(ctx context.Context) error {
	chain, err := filepath.Abs(minuteChain)
	if err != nil {
		return err
	}
	raw, err := s.minute(ctx, "raw", "")
	if err != nil {
		return fmt.Errorf("without a chain: %w", err)
	}
	windows, err := s.minute(ctx, "windows", "\n[rules]\nfile = "+strconv.Quote(chain)+"\n")
	if err != nil {
		return fmt.Errorf("with %s: %w", minuteChain, err)
	}
	of := fmt.Sprintf("of the same %s values without a chain", grouped(aggregateValues))
	t := s.t
	t.add(line{
		what: "one-minute windows, 1,000 values/s: RSS at most, MB", measured: windows.highest, format: "%.1f",
		yardstick: raw.highest, of: of, bound: 24,
	})
	t.add(line{
		what: "events up", measured: float64(windows.events), format: "%.0f", yardstick: float64(raw.events), of: of,
		bound: aggregateDevices,
	})
	t.add(line{
		what: "bytes sent per value", measured: float64(windows.wire) / aggregateValues, format: "%.2f",
		yardstick: float64(raw.wire) / aggregateValues, of: of, bound: 1. / 20, onRatio: true,
	})
	t.add(line{
		what: "bytes to flash per value", measured: float64(windows.flash) / aggregateValues, format: "%.1f",
		yardstick: float64(raw.flash) / aggregateValues, of: of, bound: 1, onRatio: true,
	})
	t.add(line{
		what: "the same by the kernel's write_bytes", measured: float64(windows.kernel) / aggregateValues, format: "%.1f",
		yardstick: float64(raw.kernel) / aggregateValues, of: of, noBound: true,
	})
	return nil
}

// minute has all devices post a value each second for a minute, and waits until all that comes of
// it is in the cloud. What the agent says of a device that becomes active, once, is not counted:
// each has posted a value before.
func (s *site) minute(ctx context.Context, name, extra string) (m amount, err error) {
	dir := filepath.Join(s.dir, "aggregate-"+name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return m, err
	}
	cloud, err := rig.StartCloud(ctx, s.bin.Cloud, filepath.Join(dir, "cloud.log"), aggregateDevices, "--discard")
	if err != nil {
		return m, err
	}
	defer cloud.Kill()
	devices, err := cloud.Devices(ctx)
	if err != nil {
		return m, err
	}
	p, err := newProxy(cloud.GRPC)
	if err != nil {
		return m, err
	}
	defer p.close()
	a, err := startAgent(ctx, s.bin.Agent, dir, rig.Config{
		DataDir: filepath.Join(dir, "data"), Cloud: p.address(), HTTPListen: "127.0.0.1:0", Extra: extra,
	})
	if err != nil {
		return m, err
	}
	defer a.Kill()
	wait := func(what string, ok func(now agent.Snapshot) bool) (now agent.Snapshot, err error) {
		err = rig.Poll(ctx, 200*time.Millisecond, drainLimit, a.Done(), func() bool {
			var failure error
			now, failure = a.Status(ctx)
			return failure == nil && ok(now)
		})
		if err != nil {
			err = fmt.Errorf("%s: %w; %d devices, %d pending, %d waiting", what, err, now.Devices, now.Pending, now.Held)
		}
		return now, err
	}
	quiet := func(now agent.Snapshot) bool {
		return now.Devices == aggregateDevices && now.Held == 0 && now.Pending == 0
	}
	if _, err := wait("the devices did not come", quiet); err != nil {
		return m, err
	}
	meters := newMeters(devices)
	if err := postSeconds(ctx, meters, a.HTTP, 1); err != nil {
		return m, err
	}
	before, err := wait("the first values did not go up", quiet)
	if err != nil {
		return m, err
	}
	base, err := cloud.Stats(ctx)
	if err != nil {
		return m, err
	}
	kernel, err := rig.ProcField(a.PID(), "io", "write_bytes")
	if err != nil {
		return m, err
	}
	up := p.up.Load()
	if err := postSeconds(ctx, meters, a.HTTP, aggregateSeconds); err != nil {
		return m, err
	}
	after, err := wait("what came of the values did not go up", quiet)
	if err != nil {
		return m, err
	}
	end, err := cloud.Stats(ctx)
	if err != nil {
		return m, err
	}
	if m.kernel, err = rig.ProcField(a.PID(), "io", "write_bytes"); err != nil {
		return m, err
	}
	m.events, m.wire, m.flash, m.kernel = end.Events-base.Events, p.up.Load()-up, after.Life.Written-before.Life.Written, m.kernel-kernel
	if m.now, m.highest, err = rss(a.PID()); err != nil {
		return m, err
	}
	return m, a.Stop()
}

// postSeconds has each device post a value a second, each at its time.
func postSeconds(ctx context.Context, meters []*meter, address string, seconds int) error {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: aggregateLanes}}
	defer client.CloseIdleConnections()
	errs := make([]error, aggregateLanes)
	begin := time.Now()
	var all sync.WaitGroup
	for lane := range aggregateLanes {
		all.Go(func() {
			for n := range seconds {
				for i := lane; i < len(meters); i += aggregateLanes {
					at := begin.Add(time.Duration(n)*time.Second + time.Duration(i)*time.Second/time.Duration(len(meters)))
					if err := pause(ctx, time.Until(at)); err != nil {
						errs[lane] = err
						return
					}
					m := meters[i]
					m.temperature = math.Round((m.temperature+m.random.NormFloat64()*0.1)*10) / 10
					body := append(strconv.AppendFloat([]byte(`{"temperature":`), m.temperature, 'f', 1, 64), '}')
					status, err := send(ctx, client, address, m.Token, body)
					if err == nil && status != http.StatusOK {
						err = fmt.Errorf("the agent answered a post with %d", status)
					}
					if err != nil {
						errs[lane] = err
						return
					}
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
