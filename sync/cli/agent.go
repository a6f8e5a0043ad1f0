package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/config"
	"edgesync/sync/device"
	"edgesync/sync/device/foreign"
	"edgesync/sync/former"
	"edgesync/sync/keypair"
	"edgesync/sync/link"
	"edgesync/sync/minutes"
	"edgesync/sync/notify"
	"edgesync/sync/registry"
	"edgesync/sync/rest"
	"edgesync/sync/ruling"
	"edgesync/sync/share"
	"edgesync/sync/sighting"
	"edgesync/sync/tally"
	"edgesync/wal"
	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

const (
	// stopLimit is how long a clean stop may take after SIGTERM or SIGINT.
	stopLimit = 10 * time.Second
	// answerLimit is how long devices get for requests that run when the stop begins.
	answerLimit = 3 * time.Second
	// deadBytes bounds the dead-letter log, in bytes.
	deadBytes = 4 << 20
	// replayName is the file of a replay that is under way, in data_dir.
	replayName = "replay"
	// reserveBytes stay free on a full medium, so that the committed position can be written.
	reserveBytes = 256 << 10
)

// gateway is an agent with everything around it, as far as it is open. The goroutine of runAgent
// builds it step by step and closes it; what the status reads is set before the ports are served.
type gateway struct {
	*program
	config *config.Config
	log    *slog.Logger // of logs
	logs   *logger
	closes []func() error // of what is open, in the order in which it was opened

	begun   *config.Loaded                 // the configuration as it was at the start
	loaded  atomic.Pointer[config.Loaded]  // and as it is; the goroutine of waitForEnd sets it
	load    func() (*config.Loaded, error) // reads it again
	restart atomic.Pointer[string]         // what waits for one, for the status; nil or "": nothing

	dir      *disk.DataDir
	medium   medium.Medium
	warnings []string // for the log and the status
	clock    *clock.Clock
	queue    *wal.Queue
	dead     *wal.DeadLog
	former   *former.Store
	tally    *tally.File
	overflow *former.Store
	maxBytes int64                             // of the queue
	known    atomic.Pointer[registry.Registry] // the registry, once it is open: the queue asks for it
	registry *registry.Registry
	history  *link.History
	rules    *ruling.Rules
	chain    [32]byte // hash of that of rules.file
	minutes  *minutes.Log
	// toldVersion: the cloud was told. The goroutine of waitForEnd owns it.
	toldVersion bool
	agent       *agent.Agent
	doors       *device.Doors
	rest        *rest.Handler
	latest      *rest.Latest
	seen        *sighting.Book
	ports       ports
	manager     *notify.Socket // of services, such as systemd
}

// runAgent holds data_dir and runs the agent on it until ctx ends or a signal stops it (doc.go,
// "Assembly").
func (p *program) runAgent(ctx context.Context, l *config.Loaded, load func() (*config.Loaded, error), log *logger) (err error) {
	c := &l.Config
	limitMemory(p.env)
	// From the beginning, so that a hint or an early stop does not end a half-built agent.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	g := &gateway{
		program: p, config: c, log: log.Logger, logs: log, begun: l, load: load,
		ports: ports{failed: make(chan error, 4), stopping: make(chan struct{}), server: new(device.Server)},
	}
	g.loaded.Store(l)
	defer func() { err = errors.Join(err, g.close()) }()
	if g.manager, err = notify.Open(p.env.lookup); err != nil {
		g.warn(err.Error())
	}
	g.opened(g.manager.Close)
	for _, step := range []func() error{
		g.lock, g.openQueue, g.openDead, g.openFormer, g.openOverflow, g.openTally, g.openRegistry, g.openHistory, g.openMinutes,
		g.reportAside, g.reportRestored, g.connect,
		g.listenMQTT, g.listenHTTP, g.listenSock, g.serveHTTP,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	log.Info("edgesync runs", "version", p.full(), "http", g.ports.http, "https", g.ports.httpTLS,
		"mqtt", g.ports.mqtt, "mqtt_tls", g.ports.mqttTLS,
		"cloud", net.JoinHostPort(c.Cloud.Host, strconv.Itoa(c.Cloud.Port)), "data_dir", g.dir.Path)
	g.forgetRestored()
	g.tell(notify.Ready)
	return g.serve(ctx, signals)
}

// opened notes how to close what was just opened.
func (g *gateway) opened(close func() error) { g.closes = append(g.closes, close) }

// close closes what is open, the last first.
func (g *gateway) close() (err error) {
	for i := len(g.closes) - 1; i >= 0; i-- {
		err = errors.Join(err, g.closes[i]())
	}
	return err
}

// warn logs a text and keeps it for the status.
func (g *gateway) warn(text string) {
	g.log.Warn(text)
	g.warnings = append(g.warnings, text)
}

// tell says a state to the service manager. What fails is logged: it cannot be mended from here.
func (g *gateway) tell(state string) {
	if err := g.manager.Send(state); err != nil {
		g.log.Warn(err.Error())
	}
}

// lock takes data_dir and looks at the medium below it.
func (g *gateway) lock() (err error) {
	if g.dir, err = disk.OpenDataDir(g.config.DataDir); err != nil {
		return err
	}
	g.opened(g.dir.Close)
	kind := disk.Socket
	for _, name := range [...]string{"agent.sock", replayName, replayName + disk.Temp} {
		if err := g.dir.MakeWay(name, kind); err != nil {
			g.warn(err.Error())
		}
		kind = disk.File
	}
	if g.dir.OpenToAll() {
		g.warn("data_dir may be written by every user of this machine: whoever is on it can take away what waits there; " +
			"run chmod o-w " + strconv.Quote(g.dir.Path))
	}
	g.medium, err = medium.Probe(g.dir.Path)
	if err != nil {
		g.warn(err.Error()) // what the kernel does not tell is assumed
	}
	for _, trap := range g.medium.Traps() {
		g.warn(trap)
	}
	return nil
}

// openQueue opens the queue and begins the clock, which needs the newest time that the queue holds.
func (g *gateway) openQueue() (err error) {
	c := &g.config.Queue
	maxBytes := c.MaxBytes
	if maxBytes == 0 {
		if maxBytes, err = g.dir.AutoMaxBytes(g.medium.Raw); err != nil {
			g.warn(err.Error()) // the number is usable all the same
		}
	}
	g.maxBytes = maxBytes
	g.clock = clock.Open(g.dir.Path, clock.ThisMachine(), g.Commit, g.log)
	o := wal.Options{
		Dir: g.queueDir(), CorruptDir: g.corruptDir(), MaxBytes: maxBytes, MaxAge: c.MaxAge, Policy: c.Policy,
		FlashBudget: c.FlashBudget, MaxDelay: c.MaxDelay, CommitBytes: g.medium.CommitBytes, Fill: g.medium.InPlace(),
		Reserve: reserveBytes, Floor: g.medium.Floor(), Log: g.log, Series: agent.ThinSeries, Now: g.clock.Stamp,
		// The dead-letter log is opened before the id of the edge is known, and only then it is
		// asked.
		Record: agent.GapRecord(g.clock, g.edgeID, func() uint64 { return g.dead.Stats().Discarded }),
	}
	o.KeepBytes = min(c.Keep, maxBytes/2) // what waits has the other half, and so has what a replay puts there
	if p, err := agent.LoadReplay(g.replays()); err == nil && p != nil {
		o.Pinned = max(p.Offset, 1)
	}
	g.tally = tally.Open(g.dir.Path, g.now, g.log)
	o.Dropped = g.tally.Gap
	if c.Durability == "interval" {
		o.Interval = c.SyncInterval
	}
	if g.queue, err = wal.Open(o); err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	g.opened(g.queue.Close)
	g.clock.Meter(g.queue.Meter)
	g.clock.Begin(g.queue.Newest(), g.queue.End().Offset+1)
	g.opened(func() error { g.clock.Close(); return nil })
	return nil
}

// ends are the committed offset and that of the newest durable frame. Any goroutine.
func (g *gateway) ends() (committed, last uint64) {
	return g.queue.Committed().Offset, g.queue.End().Offset
}

func (g *gateway) replays() string    { return filepath.Join(g.dir.Path, replayName) }
func (g *gateway) queueDir() string   { return filepath.Join(g.dir.Path, "queue") }
func (g *gateway) corruptDir() string { return g.dir.Corrupt() }

// edgeID is the id of this edge; false while the cloud has not given it. Any goroutine may ask.
func (g *gateway) edgeID() (id proto.UUID, ok bool) {
	if r := g.known.Load(); r != nil {
		return r.EdgeID()
	}
	return id, false
}

func (g *gateway) openDead() (err error) {
	g.dead, err = wal.OpenDead(filepath.Join(g.dir.Path, "dead"), deadBytes, g.queue.Committed().Offset, g.log)
	if err != nil {
		return fmt.Errorf("open the dead-letter log: %w", err)
	}
	g.dead.Meter(g.queue.Meter)
	g.opened(g.dead.Close)
	return nil
}

// openFormer opens the events of former edges.
func (g *gateway) openFormer() (err error) {
	g.former, err = g.openEvents("former", "the events of former edges")
	return err
}

// openOverflow opens what the dead-letter log has no room for.
func (g *gateway) openOverflow() (err error) {
	g.overflow, err = g.openEvents("overflow", "the overflow of the dead-letter log")
	return err
}

// openEvents opens events that have left the queue. They may take as much room.
func (g *gateway) openEvents(name, what string) (*former.Store, error) {
	s, err := former.Open(former.Options{
		Dir: filepath.Join(g.dir.Path, name), CorruptDir: g.corruptDir(), MaxBytes: g.maxBytes, Floor: g.medium.Floor(),
		Log: g.log, Meter: g.queue.Meter,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", what, err)
	}
	g.opened(s.Close)
	return s, nil
}

// openTally has the tally, which took notes from the queue's first moment on, know what the
// counters say.
func (g *gateway) openTally() error {
	var s agent.Snapshot
	agent.AddCounts(&s, g.queue.Stats(), g.dead.Stats(), g.former.Stats(nil), g.overflow.Stats(nil), time.Time{})
	g.tally.Begin(s.Dropped, g.queue.Meter, func() tally.Flash {
		life := g.queue.Life()
		return tally.Flash{Written: life.Written, Worn: life.Wear}
	})
	g.opened(func() error { g.tally.Close(); return nil })
	return nil
}

// now is the time as well as it is known.
func (g *gateway) now() time.Time { return time.UnixMilli(g.clock.Now()) }

func (g *gateway) openRegistry() (err error) {
	g.registry, err = registry.Open(registry.Options{
		Dir: filepath.Join(g.dir.Path, "registry"), CorruptDir: g.corruptDir(), Keep: g.config.Registry.Keep, Log: g.log,
		MaxMessage: agent.MaxInbound(g.config), Meter: g.queue.Meter, End: func() uint64 { return g.queue.End().Seq },
	})
	if err != nil {
		return fmt.Errorf("open the registry: %w", err)
	}
	g.opened(g.registry.Close)
	return nil
}

// openHistory opens what is known of earlier links to the cloud.
func (g *gateway) openHistory() error {
	g.history = link.OpenHistory(g.dir.Path, link.Way(&g.config.Cloud, os.Getenv), g.queue.Meter, g.log)
	g.opened(func() error { g.history.Close(); return nil })
	return nil
}

// openMinutes opens the record of the last day.
func (g *gateway) openMinutes() error {
	g.minutes = minutes.Open(g.dir.Path, g.queue.Meter, g.log)
	g.opened(func() error { g.minutes.Close(g.now()); return nil })
	return nil
}

// takeMinute notes the state of the agent for the record of the last day.
func (g *gateway) takeMinute() {
	s := g.agent.Snapshot()
	g.minutes.Take(&minutes.Sample{
		Backlog: s.Pending, Accepted: s.Accepted, Deployed: s.Deployed, Latency: s.OldestPendingMS, Percent: s.Room.Percent,
		Up: s.State.Linked(), Commits: s.Commits,
	}, g.now())
}

// reportAside warns of what was of the wrong type and lies beside what is in use until a person has
// looked at it.
func (g *gateway) reportAside() error {
	names := g.dir.Aside()
	if len(names) == 0 {
		return nil
	}
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	text := strings.Join(names[:min(len(names), 8)], ", ")
	g.warn("set aside in data_dir, because of the wrong type where a file or directory of the agent belongs (" +
		strconv.Itoa(len(names)) + "): " + text + "; look at it there, and delete it")
	return nil
}

// connect builds the intake, the loop, the devices' doors and the REST API on the open queue and
// registry, and makes them known to each other. Nothing runs yet.
func (g *gateway) connect() error {
	syncing := syncMemory
	if g.env.has("GOGC") {
		syncing = nil
	}
	var devices func(int)
	var holding func(int64)
	if !g.env.has("GOMEMLIMIT") {
		l := &softLimit{base: limitOf(agent.MemTotal(), agent.MemBound(""))}
		l.setDevices(g.registry.Devices())
		devices, holding = l.setDevices, l.setHolding
	}
	lane := share.NewLane()
	g.registry.Follow(g.queue)
	g.latest, g.seen = rest.NewLatest(g.clock), sighting.New(time.Now(), g.registry.HasDevice)
	if err := g.openRules(g.latest); err != nil {
		return err
	}
	seen := func(events []proto.Event) { g.seen.Observe(time.Now(), events) }
	// What people make goes to the queue whatever the rules say.
	intake, people := agent.NewIntake(g.queue), agent.NewIntake(g.queue)
	for _, i := range []*agent.Intake{intake, people} {
		i.Remember(g.registry)
		i.Observe(func(events []proto.Event) {
			g.latest.Observe(events)
			seen(events)
		})
	}
	intake.Rule(g.rules, seen)
	g.agent = agent.NewAgent(agent.Deps{
		Config: g.config, Queue: g.queue, Dead: g.dead, Former: g.former, Overflow: g.overflow, Replays: g.replays(), Tally: g.tally,
		Registry: g.registry, Log: g.log, Version: g.full(),
		Clock: g.clock, History: g.history, Syncing: syncing, Devices: devices, Holding: holding, Lane: lane,
		Coming: g.rules.Coming, Made: g.rules.Made,
	})
	intake.Limit(g.agent.Room())
	people.Limit(g.agent.Room())
	maps, err := foreign.Compile(g.config.MQTT.Maps)
	if err != nil {
		return fmt.Errorf("mqtt.map: %w", err) // package config has checked them
	}
	g.doors = device.NewDoors(device.Ports{
		Intake: intake, Lookups: g.registry, Packages: g.registry, Calls: g.rules, Creations: g.agent, Foreign: maps, Seen: g.seen,
		Log: g.log, Clock: g.clock, Synced: g.registry.Synced, Lane: lane,
		Provisioned: func(p *device.Provisioned) { g.rules.Provisioned(p.Device, p.OK, p.Key, p.CredentialsType) },
	})
	g.rules.Connect(g.agent, g.doors)
	g.agent.SetDoors(g.rules)
	g.registry.Watch(g.doors)
	g.rest = rest.New(rest.Options{
		Registry: g.registry, Intake: people, Creations: g.agent, Calls: g.agent, Latest: g.latest, Seen: g.seen,
		Log: g.log, Clock: g.clock, Entered: g.rules.Entered, Lane: lane, Secure: device.Secure,
		Queue: &rest.Queue{Dir: g.queueDir(), Ends: g.ends}, Sync: func(ctx context.Context) error { return g.agent.Sync(ctx, false) },
	})
	g.known.Store(g.registry)
	g.rules.Start()
	return nil
}

// serve runs the loop until it is time to stop, and then stops the ports and the loop.
func (g *gateway) serve(ctx context.Context, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.agent.Run(ctx)
	}()
	err := g.waitForEnd(ctx, signals)
	g.tell(notify.Stopping)
	watchdog := time.AfterFunc(stopLimit, func() {
		g.log.Error("did not stop in time; what was accepted is on flash", "limit", stopLimit)
		os.Exit(exitFailed)
	})
	defer watchdog.Stop()
	g.ports.stop(answerLimit)
	cancel()
	<-done
	g.log.Info("edgesync stops")
	return err
}

// waitForEnd returns when it is time to stop: nil for a signal or the end of ctx. From then on a
// second signal ends the process.
func (g *gateway) waitForEnd(ctx context.Context, signals <-chan os.Signal) error {
	renewals := time.NewTicker(keypair.Every)
	defer renewals.Stop()
	samples := time.NewTicker(minutes.Every)
	defer samples.Stop()
	var reports <-chan time.Time
	if every := g.config.Report.Interval; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		reports = t.C
	}
	g.takeMinute()
	var alive <-chan time.Time
	if every := g.manager.Every(); every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		alive = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-renewals.C:
			g.ports.checkPairs()
		case <-samples.C:
			g.takeMinute()
		case <-reports:
			g.reportFigures(ctx)
		case <-alive:
			if g.agent.Turning() { // else the manager restarts what no longer turns
				g.tell(notify.Alive)
			}
		case err := <-g.ports.failed:
			return fmt.Errorf("a door for devices failed: %w", err)
		case s := <-signals:
			if s == syscall.SIGHUP {
				g.ports.checkPairs()
				g.reload(ctx)
				g.agent.Hint()
				continue
			}
			g.log.Info("stopping", "signal", s.String())
			signal.Reset(syscall.SIGTERM, syscall.SIGINT)
			return nil
		}
	}
}

// snapshot is the state of the agent with what only the assembly knows. Any goroutine may ask.
func (g *gateway) snapshot() agent.Snapshot {
	s := g.agent.Snapshot()
	s.HTTPAddress, s.MQTTAddress, s.MQTTTLSAddress = g.ports.http, g.ports.mqtt, g.ports.mqttTLS
	s.HTTPTLSAddress = g.ports.httpTLS
	var now time.Time
	if s.Clock != clock.Unknown.String() {
		now = time.UnixMilli(g.clock.Now())
	}
	s.ExtraWarnings = append(s.ExtraWarnings, g.ports.pairWarnings(now)...)
	for _, p := range g.ports.pairs {
		s.Certificates = append(s.Certificates, agent.EndOf{Door: p.Name(), Ends: p.Ends().UTC()})
	}
	s.MQTTConnections, s.Medium = g.ports.door.Connections(), g.medium.String()
	s.MediumFree, _ = disk.Free(g.dir.Path) // 0 where the kernel does not say
	s.ExtraWarnings = append(s.ExtraWarnings, g.warnings...)
	if text := g.restart.Load(); text != nil && *text != "" {
		s.ExtraWarnings = append(s.ExtraWarnings, *text)
	}
	r := g.rules.Counts()
	s.AddRules(r.Made, r.Filtered, r.Held, r.Merged)
	s.RuleFailures = r.Failed
	if root := g.rules.RootChain(); root.Nodes > 0 {
		s.RootChain, s.RootChainNodes, s.RootChainSince = root.Name, root.Nodes, &root.Since
	}
	s.AnswerTimes = g.doors.AnswerTimes()
	s.Refusals, s.Refused = g.doors.Refusals().Counts(), g.doors.Refusals().Latest(agent.MaxRefused)
	for _, c := range g.registry.Counts() {
		s.Parts = append(s.Parts, agent.Part{Name: c.Part, Received: c.Received, Kept: c.Kept, Malformed: c.Malformed})
	}
	return s
}
