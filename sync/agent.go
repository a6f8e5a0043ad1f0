package sync

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	gosync "sync"
	"time"

	"edgesync/sync/clock"
	"edgesync/sync/config"
	"edgesync/wal"
)

// turnLimit is how long the loop may be busy with one turn before health is denied: a slow flash may hold it for seconds.
const turnLimit = 60 * time.Second

// Deps is what an agent works with. All of it outlives the agent; the caller closes it after Run has returned.
type Deps struct {
	Config   *config.Config
	Queue    *wal.Queue
	Dead     *wal.DeadLog
	Registry Registry
	Log      *slog.Logger
	Version  string
	Clock    *clock.Clock // begun; nil: the machine's clock is right
	// Syncing is told when a sync begins and when it is over, completed or not; nil: nobody is. The loop's goroutine calls it; it must not block.
	Syncing func(running bool)
}

// Agent carries the events of one queue to one cloud. Run does the work in the calling goroutine; the other methods may be called
// from any.
type Agent struct {
	Deps
	link    link
	jitter  func(time.Duration) time.Duration
	started time.Time
	hint    chan struct{}
	doors   Doors // nil: nobody takes calls
	calls   *callTable
	birth   gosync.Mutex // held while a device is made, so that no name is made twice
	orders  chan *order  // of people, about dead letters; the loop takes them

	mu        gosync.Mutex // guards the fields below, written by the loop once a turn
	published published
}

// published is what the loop tells about itself.
type published struct {
	turn     time.Time
	state    State
	since    time.Time
	lastErr  string
	inFlight int
	window   int
	rtt      time.Duration
	nextDial time.Time
	limited  bool
	edge     string
	synced   bool
	sync     string
	devices  int
	counters counters
}

// counters of this process's life.
type counters struct {
	connects, attempts, downlinks, unused, uplinkBytes uint64
}

// NewAgent returns an agent that does nothing until Run, but for queueing the creations of devices that a crash left behind.
func NewAgent(d Deps) *Agent {
	a := &Agent{
		Deps: d, link: link{cloud: d.Config.Cloud, keepalive: d.Config.Keepalive}, jitter: fullJitter,
		started: time.Now(), hint: make(chan struct{}, 1), orders: make(chan *order), calls: newCallTable(), published: published{turn: time.Now(), since: time.Now()},
	}
	a.announceUnborn()
	return a
}

// SetDoors says who delivers calls to devices. Before Run.
func (a *Agent) SetDoors(d Doors) { a.doors = d }

// Hint says that the link may be back (SIGHUP, an interface came up): a wait for the next attempt ends at once.
func (a *Agent) Hint() {
	select {
	case a.hint <- struct{}{}:
	default:
	}
}

// Turning is true while the loop turns, whatever the cloud does (architecture, /healthz).
func (a *Agent) Turning() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.published.turn) < turnLimit
}

// Snapshot is the agent's state now. The addresses of the doors are left for the caller to fill in.
func (a *Agent) Snapshot() Snapshot {
	a.mu.Lock()
	p := a.published
	a.mu.Unlock()
	now := time.Now()
	a.calls.mu.Lock()
	waiting := a.calls.count
	a.calls.mu.Unlock()
	s := Snapshot{
		CallsPending: waiting,
		State:        p.state, Since: now.Add(p.since.Sub(now)).UTC(), Running: true, Version: a.Version, LastError: p.lastErr, InFlight: p.inFlight, Window: p.window,
		RTTMS: float64(p.rtt.Microseconds()) / 1000, Connects: p.counters.connects, RateLimited: p.limited, Edge: p.edge,
		Cloud: a.link.addr(), Synced: p.synced, Sync: p.sync, Devices: p.devices, Downlinks: p.counters.downlinks,
		DownlinksUnused: p.counters.unused, UplinkBytes: p.counters.uplinkBytes, UptimeMS: now.Sub(a.started).Milliseconds(), RSSBytes: rss(),
	}
	if p.counters.attempts > 0 {
		s.Reconnects = p.counters.attempts - 1
	}
	if d := p.nextDial.Sub(now); d > 0 && !p.nextDial.IsZero() {
		s.NextAttemptMS = d.Milliseconds()
	}
	known, clockSince := a.Clock.State()
	s.Clock = known.String()
	if !clockSince.IsZero() {
		s.ClockSince = &clockSince
	}
	q := a.Queue.Stats()
	q.OldestPending, _ = a.Clock.Date(q.Committed+1, q.OldestPending)
	AddCounts(&s, q, a.Dead.Stats(), a.now())
	if known == clock.Unknown {
		s.ExtraWarnings = append(s.ExtraWarnings, clockWarning)
	}
	if e := a.Config.Queue.FlashEndurance; e > 0 && s.FlashWearPerDay > 0 {
		s.FlashYears = float64(e) / float64(s.FlashWearPerDay) / 365.25
	}
	return s
}

// clockWarning is what people see while the time is not known.
const clockWarning = "the clock of this machine is not set: telemetry without a time of its own waits until it is (is NTP reachable?)"

// now is the time as well as it is known.
func (a *Agent) now() time.Time { return time.UnixMilli(a.Clock.Now()) }

// flashSoon is how long an account must be before a rate is told from it.
const flashSoon = time.Minute

// addFlash fills in what the queue's account of the flash says.
func addFlash(s *Snapshot, q wal.Stats) {
	t := q.Today
	s.FlashBytesToday, s.FlashWearToday, s.FsyncsToday, s.CommitsToday, s.Stretched = t.Written, t.Wear, t.Fsyncs, t.Commits, q.Stretched
	s.FlashCommit, s.SlowFsyncs = q.CommitBytes, q.SlowSyncs
	if t.Events > 0 {
		s.FlashAmplified = float64(t.Wear) / float64(t.Events)
	}
	if q.Since >= flashSoon {
		s.FlashWearPerDay = int64(float64(t.Wear) / q.Since.Hours() * 24)
	}
}

// AddCounts fills in what the queue and the dead-letter log know. The queue counts an event as dead when it moves to the
// dead-letter log; what became of it there is taken from that log, so that the identity holds.
func AddCounts(s *Snapshot, q wal.Stats, d wal.DeadStats, now time.Time) {
	left := d.Delivered + d.Discarded
	s.Accepted, s.Pending, s.Damaged = q.Accepted, q.Pending, q.Damaged
	s.Deployed, s.Dropped, s.Dead = q.Deployed+d.Delivered, q.Dropped+d.Discarded, q.Dead-min(left, q.Dead)
	s.QueueBytes, s.Committed, s.LastOffset = q.Bytes, q.Committed, q.Last
	s.Commits, s.Writable = q.Commits, q.Writable
	addFlash(s, q)
	if q.OldestPending > 0 {
		s.OldestPendingMS = max(0, now.UnixMilli()-q.OldestPending)
	}
	if q.LastError != nil {
		s.ExtraWarnings = append(s.ExtraWarnings, "the queue cannot be written: "+q.LastError.Error())
	}
}

// rss is the resident memory of this process in bytes, 0 where the kernel does not tell.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// Run carries events until ctx ends, then flushes, waits a moment for the acknowledgements due, and closes the stream. A cloud
// that is away or refuses is never a reason to return.
func (a *Agent) Run(ctx context.Context) {
	l := newLoop(a)
	defer func() {
		if r := recover(); r != nil {
			a.Log.Error("the loop failed; this is a bug", "panic", r, "stack", string(debug.Stack()))
			panic(r)
		}
	}()
	l.run(ctx)
}
