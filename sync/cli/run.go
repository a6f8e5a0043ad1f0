package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/config"
	"edgesync/sync/device"
	"edgesync/sync/registry"
	"edgesync/sync/rest"
	"edgesync/sync/status"
	"edgesync/wal"
	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

const (
	// stopLimit is how long a clean stop may take (issue: SIGTERM and SIGINT stop within 10 s).
	stopLimit = 10 * time.Second
	// answerLimit is how long devices get for requests that run when the stop begins.
	answerLimit = 3 * time.Second
	// deadBytes bounds the dead-letter log.
	deadBytes = 4 << 20
	// reserveBytes stay free on a full medium, so that the committed offset can be written (architecture, queue.max_bytes).
	reserveBytes = 256 << 10
	// memoryLimit is where the garbage collector begins to work harder; a soft limit, in bytes.
	memoryLimit = 24 << 20
	// gcPercent keeps the heap small: little memory is worth more here than little work.
	gcPercent = 50
	// syncGCPercent is the same while a sync runs, in which thousands of devices come within a second.
	syncGCPercent = 20
)

// loop is the agent as this file needs it.
type loop interface {
	Run(ctx context.Context)
	Hint()
	Turning() bool
	Snapshot() agent.Snapshot
	DeadLetters() agent.Dead
}

// parts are the rooms that stand on an open queue.
type parts struct {
	loop     loop
	devices  http.Handler // everything below /api/v1/
	rest     http.Handler // everything else below /api/, but for the status
	doors    *device.Doors
	registry *registry.Registry // closed after the loop has returned
}

// runAgent holds data_dir and runs the agent on it until ctx ends or a signal stops it. The order is fixed: lock, queue, registry,
// then ports; back in the reverse order, so that whoever was told "accepted" is on flash when the lock is given free.
func runAgent(ctx context.Context, b Build, c *config.Config, log *slog.Logger, env []string) (err error) {
	limitMemory(env)
	signals := make(chan os.Signal, 4) // from the beginning, so that a hint or an early stop is not the end of a half-made agent
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	dir, err := disk.OpenDataDir(c.DataDir)
	if err != nil {
		return err
	}
	also := func(f func() error) { err = errors.Join(err, f()) }
	defer also(dir.Close)

	var warnings []string
	warn := func(text string) {
		log.Warn(text)
		warnings = append(warnings, text)
	}
	on, err := medium.Probe(dir.Path)
	switch {
	case err != nil:
		warn(err.Error()) // what it cannot tell is assumed
	case on.RAM:
		warn("data_dir is in RAM (" + on.FS + "): a power cut loses what waits there; set data_dir to flash or disk")
	case on.ReadOnly:
		warn("data_dir is on a medium that is read-only (" + on.FS + "): nothing can be accepted until it is mounted for writing")
	}
	maxBytes := c.Queue.MaxBytes
	if maxBytes == 0 {
		if maxBytes, err = dir.AutoMaxBytes(); err != nil {
			warn(err.Error()) // the number is usable all the same
		}
	}
	clock := clock.Open(dir.Path, clock.ThisMachine(), b.Commit, log)
	var dead *wal.DeadLog                       // opened after the queue
	var known atomic.Pointer[registry.Registry] // and this behind it
	o := wal.Options{
		Dir: filepath.Join(dir.Path, "queue"), CorruptDir: filepath.Join(dir.Path, "corrupt"), MaxBytes: maxBytes, MaxAge: c.Queue.MaxAge,
		Policy: c.Queue.Policy, FlashBudget: c.Queue.FlashBudget, MaxDelay: c.Queue.MaxDelay, CommitBytes: on.CommitBytes, Fill: on.InPlace(), Reserve: reserveBytes, Log: log,
		Series: agent.ThinSeries, Now: clock.Stamp,
		Record: agent.GapRecord(clock, func() (id proto.UUID, ok bool) {
			if r := known.Load(); r != nil {
				id, ok = r.EdgeID()
			}
			return id, ok
		}, func() uint64 { return dead.Stats().Discarded }),
	}
	if c.Queue.Durability == "interval" {
		o.Interval = c.Queue.SyncInterval
	}
	queue, err := wal.Open(o)
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	defer also(queue.Close)
	clock.Begin(queue.Newest(), queue.End().Offset+1)
	defer clock.Close()
	dead, err = wal.OpenDead(filepath.Join(dir.Path, "dead"), deadBytes, queue.Committed().Offset, log)
	if err != nil {
		return fmt.Errorf("open the dead-letter log: %w", err)
	}
	defer also(dead.Close)
	syncing := syncMemory
	if has(env, "GOGC") {
		syncing = nil
	}
	p, err := assemble(b, c, dir, queue, dead, clock, syncing, log)
	if err != nil {
		return err
	}
	known.Store(p.registry)
	defer also(p.registry.Close)

	mqtt := device.NewMQTT(p.doors)
	defer also(mqtt.Close)
	var address, mqttAddress, mqttTLSAddress string
	snapshot := func() agent.Snapshot {
		s := p.loop.Snapshot()
		s.HTTPAddress, s.MQTTAddress, s.MQTTTLSAddress, s.Medium = address, mqttAddress, mqttTLSAddress, on.String()
		s.MQTTConnections = mqtt.Connections()
		s.ExtraWarnings = append(s.ExtraWarnings, warnings...)
		for _, c := range p.registry.Counts() {
			s.Parts = append(s.Parts, agent.Part{Name: c.Part, Received: c.Received, Kept: c.Kept, Malformed: c.Malformed})
		}
		return s
	}
	server := new(http.Server)
	failed := make(chan error, 3)
	if mqttAddress, mqttTLSAddress, err = listenMQTT(&c.MQTT, mqtt, failed); err != nil {
		return err
	}
	if c.HTTP.Listen != "" {
		l, err := net.Listen("tcp", c.HTTP.Listen)
		if err != nil {
			return fmt.Errorf("http.listen: %w", err)
		}
		address = l.Addr().String()
		page := status.Handler(status.Source{Snapshot: snapshot, Turning: p.loop.Turning, Events: p.events(o.Dir, dead)})
		server = device.NewServer(route(p.devices, p.rest, page), log)
		go func() { failed <- server.Serve(p.doors.Listen(l)) }()
	}
	if sock, err := status.Serve(dir.Path, snapshot, p.loop.DeadLetters()); err != nil {
		warn(err.Error() + "; edgesync status cannot ask this agent")
	} else {
		defer also(sock.Close)
	}
	log.Info("edgesync runs", "version", b.full(), "http", address, "mqtt", mqttAddress, "mqtt_tls", mqttTLSAddress, "cloud", net.JoinHostPort(c.Cloud.Host, fmt.Sprint(c.Cloud.Port)), "data_dir", dir.Path)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.loop.Run(ctx)
	}()
	err = waitForEnd(ctx, p.loop, signals, failed, log)
	watchdog := time.AfterFunc(stopLimit, func() {
		log.Error("did not stop in time; what was accepted is on flash", "limit", stopLimit)
		os.Exit(exitFailed)
	})
	defer watchdog.Stop()
	grace, release := context.WithTimeout(context.Background(), answerLimit)
	defer release()
	shut := make(chan struct{})
	go func() { // beside the other door: both may have to wait for devices, and stopLimit is for all
		_ = mqtt.Close()
		close(shut)
	}()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // whoever still sends is cut off and was not told "accepted"
	}
	<-shut
	cancel()
	<-done
	log.Info("edgesync stops")
	return err
}

// events is where the page looks for the queue's events.
func (p *parts) events(queue string, dead *wal.DeadLog) *status.Events {
	return &status.Events{Queue: queue, Dead: dead.Has, Name: func(id proto.UUID) string {
		d, _ := p.registry.ByID(id)
		return d.Name
	}}
}

// listenMQTT opens the listeners of the MQTT door and serves them. It returns their addresses, "" for one that is off.
func listenMQTT(c *config.MQTT, door *device.MQTT, failed chan<- error) (plain, secure string, err error) {
	serve := func(l net.Listener) {
		if err := door.Serve(l); err != nil {
			failed <- err
		}
	}
	if c.Listen != "" {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return "", "", fmt.Errorf("mqtt.listen: %w", err)
		}
		plain = l.Addr().String()
		go serve(l)
	}
	if c.TLS.Listen != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return "", "", fmt.Errorf("mqtt.tls: %w", err)
		}
		l, err := net.Listen("tcp", c.TLS.Listen)
		if err != nil {
			return "", "", fmt.Errorf("mqtt.tls.listen: %w", err)
		}
		secure = l.Addr().String()
		go serve(tls.NewListener(l, device.TLSConfig(pair)))
	}
	return plain, secure, nil
}

// waitForEnd returns when it is time to stop: nil for a signal or the end of ctx. From then on a second signal ends the process.
func waitForEnd(ctx context.Context, l loop, signals <-chan os.Signal, failed <-chan error, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("a door for devices failed: %w", err)
		case s := <-signals:
			if s == syscall.SIGHUP {
				l.Hint()
				continue
			}
			log.Info("stopping", "signal", s.String())
			signal.Reset(syscall.SIGTERM, syscall.SIGINT)
			return nil
		}
	}
}

// route gives the device API to the devices' door, the rest of the API to the REST room, and what is left to the page. No ServeMux: it would redirect odd
// tokens.
func route(devices, api, rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/api/v1/"):
			devices.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/api/") && path != "/api/edge/status" && path != "/api/edge/events":
			api.ServeHTTP(w, r)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

// limitMemory suits the collector to small machines, unless the environment says otherwise.
func limitMemory(env []string) {
	if !has(env, "GOGC") {
		debug.SetGCPercent(gcPercent)
	}
	if !has(env, "GOMEMLIMIT") {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// syncMemory keeps the heap smaller still while a sync runs.
func syncMemory(running bool) {
	percent := gcPercent
	if running {
		percent = syncGCPercent
	}
	debug.SetGCPercent(percent)
}

// assemble builds registry, intake, loop and device door on an open queue.
func assemble(b Build, c *config.Config, dir *disk.DataDir, queue *wal.Queue, dead *wal.DeadLog, clock *clock.Clock, syncing func(running bool), log *slog.Logger) (*parts, error) {
	reg, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir.Path, "registry"), CorruptDir: filepath.Join(dir.Path, "corrupt"), Keep: c.Registry.Keep, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the registry: %w", err)
	}
	reg.Follow(queue)
	latest := rest.NewLatest(clock)
	intake := agent.NewIntake(queue)
	intake.Remember(reg)
	intake.Observe(latest.Observe)
	a := agent.NewAgent(agent.Deps{Config: c, Queue: queue, Dead: dead, Registry: reg, Log: log, Version: b.full(), Clock: clock, Syncing: syncing})
	doors := device.NewDoors(device.Ports{Intake: intake, Lookups: reg, Packages: reg, Calls: a, Births: a, Log: log, Clock: clock})
	a.SetDoors(doors)
	reg.Watch(doors)
	api := rest.New(rest.Options{
		Registry: reg, Intake: intake, Births: a, Calls: a, Latest: latest, Log: log, Clock: clock,
	})
	return &parts{
		loop: a, doors: doors, devices: device.NewHTTP(doors, c.HTTP.MaxBody), rest: api, registry: reg,
	}, nil
}
