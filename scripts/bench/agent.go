//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

const (
	drainEvents  = 200_000
	slowEvents   = 200 // at ten a second
	perPost      = 100
	steadyAfter  = 3 * time.Second // how long an idle process gets until it is measured
	drainLimit   = 5 * time.Minute
	nothingWords = "of a Go program with gRPC and HTTP that does nothing"
)

// site is a cloud in a box and one data directory, on which agents are started and stopped many
// times.
type site struct {
	t      *table
	bin    rig.Binaries
	dir    string
	cloud  *rig.Cloud
	meters []*meter
	port   string // of the HTTP door, the same for each agent
	dead   string // an address where nobody listens: a cloud that is away

	versionMS, nothingMB float64 // yardsticks
}

func newSite(ctx context.Context, t *table, bin rig.Binaries, dir string) (*site, error) {
	s := &site{t: t, bin: bin, dir: dir}
	var err error
	if s.versionMS, err = versionRun(ctx, bin.Agent); err != nil {
		return nil, err
	}
	if s.nothingMB, err = nothingRSS(ctx); err != nil {
		return nil, err
	}
	if s.port, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.dead, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.cloud, err = rig.StartCloud(ctx, bin.Cloud, filepath.Join(dir, "cloud.log"), 12, "--discard"); err != nil {
		return nil, err
	}
	devices, err := s.cloud.Devices(ctx)
	if err != nil {
		s.cloud.Kill()
		return nil, err
	}
	s.meters = newMeters(devices)
	return s, nil
}

// freeAddress returns an address of this machine on which nobody listens now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *site) config() string { return filepath.Join(s.dir, "config.toml") }

// roomForMillions is the queue's configuration for agents that take millions of events.
const roomForMillions = "\n[queue]\nmax_bytes = \"8GiB\"\n"

// settings are the settings of an agent with a cloud at that address.
func (s *site) settings(cloud string) rig.Config {
	return rig.Config{DataDir: filepath.Join(s.dir, "data"), Cloud: cloud, HTTPListen: s.port, Extra: roomForMillions}
}

// start starts the agent with a cloud at that address and waits until it takes posts.
func (s *site) start(ctx context.Context, cloud string) (*rig.Agent, error) {
	return startAgent(ctx, s.bin.Agent, s.dir, s.settings(cloud))
}

// startAgent starts an agent whose configuration and log are in dir, and waits until it takes
// posts.
func startAgent(ctx context.Context, binary, dir string, settings rig.Config) (*rig.Agent, error) {
	config := filepath.Join(dir, "config.toml")
	if err := rig.WriteConfig(config, settings); err != nil {
		return nil, err
	}
	a, err := rig.StartAgent(ctx, binary, config, filepath.Join(dir, "agent.log"))
	if err != nil {
		return nil, err
	}
	if err := a.WaitReady(ctx); err != nil {
		a.Kill()
		return nil, err
	}
	return a, nil
}

// empty waits until no event is pending and returns the status of that moment.
func empty(ctx context.Context, a *rig.Agent) (agent.Snapshot, error) {
	var last agent.Snapshot
	var failure error
	err := rig.Poll(ctx, 100*time.Millisecond, drainLimit, a.Done(), func() bool {
		last, failure = a.Status(ctx)
		return failure == nil && last.Running && last.Pending == 0
	})
	if err != nil {
		return last, fmt.Errorf("the queue did not drain: %w; %d pending, state %v, last error %q (%v)", err,
			last.Pending, last.State, last.LastError, failure)
	}
	return last, nil
}

// idleAndSlow measures an agent without events, and then one with ten events a second.
func (s *site) idleAndSlow(ctx context.Context) error {
	p, err := newProxy(s.cloud.GRPC)
	if err != nil {
		return err
	}
	defer p.close()
	a, err := s.start(ctx, p.address())
	if err != nil {
		return err
	}
	defer a.Kill()
	before, err := empty(ctx, a)
	if err != nil {
		return err
	}
	if err := pause(ctx, steadyAfter); err != nil {
		return err
	}
	now, _, err := rss(a.PID())
	if err != nil {
		return err
	}
	s.t.add(line{what: "RSS idle, MB", measured: now, format: "%.1f", yardstick: s.nothingMB, of: nothingWords, bound: 14})

	up, down := p.up.Load(), p.down.Load()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var body []byte
	for i := range slowEvents {
		if body, err = s.meters[i%10].post(ctx, client, a.HTTP, 1, body); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	after, err := empty(ctx, a)
	if err != nil {
		return err
	}
	s.wire("ten events a second", p.up.Load()-up, p.down.Load()-down, slowEvents, after.UplinkBytes-before.UplinkBytes, 45)
	return a.Stop()
}

// wire adds the lines of bytes on the wire.
func (s *site) wire(when string, up, down int64, events int, payload uint64, bound float64) {
	s.t.add(line{
		what: "bytes sent per event, " + when, measured: float64(up) / float64(events), format: "%.1f",
		yardstick: float64(payload) / float64(events), of: "of payload before compression", bound: bound,
	})
	s.t.add(line{what: "bytes received per event, " + when, measured: float64(down) / float64(events), format: "%.1f", noBound: true})
}

// filled starts an agent without a cloud, fills its queue, calls look and stops the agent.
func (s *site) filled(ctx context.Context, n, perPost int, look func(a *rig.Agent, before, after agent.Snapshot) error) error {
	a, err := s.start(ctx, s.dead)
	if err != nil {
		return err
	}
	defer a.Kill()
	before, err := a.Status(ctx)
	if err != nil {
		return err
	}
	if before.Pending != 0 {
		return fmt.Errorf("%d events are pending before the queue is filled", before.Pending)
	}
	if err := fill(ctx, s.meters, a.HTTP, n, perPost); err != nil {
		return err
	}
	after, err := a.Status(ctx)
	if err != nil {
		return err
	}
	if after.Pending < uint64(n) {
		return fmt.Errorf("%d events were accepted, and %d are pending", n, after.Pending)
	}
	if err := look(a, before, after); err != nil {
		return err
	}
	return a.Stop()
}

// drain measures how fast the backlog goes to the cloud, and the bytes that filling and draining
// wrote.
func (s *site) drain(ctx context.Context) error {
	bare, err := bareDrain(ctx, s.cloud.GRPC, s.meters, drainEvents)
	if err != nil {
		return fmt.Errorf("the bare client: %w", err)
	}
	var log, flash, kernel int64
	err = s.filled(ctx, drainEvents, perPost, func(a *rig.Agent, before, after agent.Snapshot) (err error) {
		log = after.QueueBytes - before.QueueBytes
		flash = after.FlashBytesToday
		kernel, err = rig.ProcField(a.PID(), "io", "write_bytes")
		return err
	})
	if err != nil {
		return err
	}
	base, err := s.cloud.Stats(ctx)
	if err != nil {
		return err
	}
	a, err := s.launch(ctx, s.cloud.GRPC)
	if err != nil {
		return err
	}
	defer a.Kill()
	// The time runs from the arrival of the first event to that of the last, looked up every 2 ms.
	// It leaves out connecting and the sync, which come before.
	var first, last time.Time
	var failure error
	err = rig.Poll(ctx, 2*time.Millisecond, drainLimit, a.Done(), func() bool {
		var st rig.Stats
		if st, failure = s.cloud.Stats(ctx); failure != nil {
			return true
		}
		last = time.Now()
		if st.Events == base.Events {
			first = last
		}
		return st.Events >= base.Events+drainEvents
	})
	if err = errors.Join(err, failure); err != nil {
		return err
	}
	end, err := empty(ctx, a)
	if err != nil {
		return err
	}
	s.t.add(line{
		what: fmt.Sprintf("drain of %d events, events/s", drainEvents), measured: drainEvents / last.Sub(first).Seconds(), format: "%.0f",
		yardstick: bare, of: "by a bare gRPC client with messages built beforehand", atLeast: true, bound: 250_000,
	})

	flash += end.FlashBytesToday
	k, err := rig.ProcField(a.PID(), "io", "write_bytes")
	if err != nil {
		return err
	}
	kernel += k
	s.t.add(line{
		what: "bytes to flash per event byte, posts of 100", measured: float64(flash) / float64(log), format: "%.3f",
		yardstick: 1, of: "byte of log", bound: 1.1,
	})
	s.t.add(line{
		what: "the same by the kernel's write_bytes", measured: float64(kernel) / float64(log), format: "%.3f",
		yardstick: 1, of: "byte of log", noBound: true,
	})
	s.t.add(line{
		what:     "bytes of log per event beyond the fragment",
		measured: (float64(log) - float64(end.UplinkBytes)) / drainEvents, format: "%.1f",
		yardstick: float64(end.UplinkBytes) / drainEvents, of: "of fragment", bound: 32,
	})
	return a.Stop()
}

// launch starts the agent and does not wait until it answers.
func (s *site) launch(ctx context.Context, cloud string) (*rig.Agent, error) {
	if err := rig.WriteConfig(s.config(), s.settings(cloud)); err != nil {
		return nil, err
	}
	return rig.Launch(ctx, s.bin.Agent, s.config(), filepath.Join(s.dir, "agent.log"))
}

// drainWire measures the bytes on the wire of a drain, connecting included.
func (s *site) drainWire(ctx context.Context) error {
	err := s.filled(ctx, drainEvents, perPost, func(*rig.Agent, agent.Snapshot, agent.Snapshot) error { return nil })
	if err != nil {
		return err
	}
	p, err := newProxy(s.cloud.GRPC)
	if err != nil {
		return err
	}
	defer p.close()
	a, err := s.start(ctx, p.address())
	if err != nil {
		return err
	}
	defer a.Kill()
	end, err := empty(ctx, a)
	if err != nil {
		return err
	}
	s.wire("draining", p.up.Load(), p.down.Load(), drainEvents, end.UplinkBytes, 15)
	return a.Stop()
}

// million measures memory and start with that many pending events: a million unless --pending says
// otherwise.
func (s *site) million(ctx context.Context, pending int) error {
	count := grouped(pending)
	err := s.filled(ctx, pending, 500, func(a *rig.Agent, _, _ agent.Snapshot) error {
		_, highest, err := rss(a.PID())
		if err == nil {
			s.t.add(line{
				what: "RSS at most, taking " + count + " events, MB", measured: highest, format: "%.1f",
				yardstick: s.nothingMB, of: nothingWords, bound: 24,
			})
		}
		return err
	})
	if err != nil {
		return err
	}

	begin := time.Now()
	a, err := s.launch(ctx, s.dead)
	if err != nil {
		return err
	}
	defer func() { a.Kill() }()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	body := s.meters[0].appendJSON(nil)
	var took time.Duration
	err = rig.Poll(ctx, time.Millisecond, rig.StartLimit, a.Done(), func() bool {
		status, err := send(ctx, client, s.port, s.meters[0].Token, body)
		took = time.Since(begin)
		return err == nil && status == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("the agent took no event: %w\n%s", err, rig.Tail(filepath.Join(s.dir, "agent.log"), 10))
	}
	s.t.add(line{
		what: "exec to the first accepted event, " + count, measured: float64(took.Microseconds()) / 1000, format: "%.1f ms",
		yardstick: s.versionMS, of: "for `edgesync version`", bound: 1000,
	})
	if err := pause(ctx, steadyAfter); err != nil {
		return err
	}
	now, _, err := rss(a.PID())
	if err != nil {
		return err
	}
	s.t.add(line{
		what: "RSS with " + count + " pending, MB", measured: now, format: "%.1f", yardstick: s.nothingMB,
		of: nothingWords, bound: 24,
	})
	if err := a.Stop(); err != nil {
		return err
	}

	if a, err = s.start(ctx, s.cloud.GRPC); err != nil {
		return err
	}
	if _, err := empty(ctx, a); err != nil {
		return err
	}
	_, highest, err := rss(a.PID())
	if err != nil {
		return err
	}
	s.t.add(line{
		what: "RSS at most, draining " + count + " events, MB", measured: highest, format: "%.1f",
		yardstick: s.nothingMB, of: nothingWords, bound: 24,
	})
	return a.Stop()
}

// grouped writes a number with commas between the thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
