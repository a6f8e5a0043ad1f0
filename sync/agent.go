package sync

import (
	"context"
	"log/slog"
	"runtime/debug"
	gosync "sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/clock"
	"edgesync/sync/config"
	"edgesync/sync/former"
	"edgesync/sync/link"
	"edgesync/sync/share"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// Deps is what an agent works with. All of it outlives the agent; the caller closes it after Run
// has returned.
type Deps struct {
	Config   *config.Config
	Queue    *wal.Queue
	Dead     *wal.DeadLog
	Former   *former.Store // events of former edges; nil: the edge never changes
	Overflow *former.Store // what the dead-letter log has no room for (overflow.go); nil: there is none
	Replays  string        // the file of a replay that is under way (replay.go); "": there can be none
	Registry Registry
	Log      *slog.Logger
	Version  string
	Tally    *tally.File  // what was given up and why; nil: only counted
	Clock    *clock.Clock // begun; nil: the machine's clock is right
	// History is by which ways the cloud was reached before; nil: nobody remembers.
	History *link.History
	// Syncing is called when a sync begins and when it is over, completed or not; nil: nobody is.
	// The loop's goroutine calls it; it must not block.
	Syncing func(running bool)
	// Devices is called with the number of devices that are known here whenever it has changed by
	// more than 1,024 since the last call; nil: nobody is. By the loop's goroutine; it must not
	// block.
	Devices func(n int)
	// Coming is told of what the cloud has sent, before the registry takes it; what it returns,
	// unless it is nil, is called once the registry has. nil: nobody is told. The loop's goroutine
	// calls both; they must not block.
	Coming func(d *proto.DownlinkMsg) (came func())
	// Made is told of a device that was made here by a gateway or by provisioning, whose creation
	// is in the queue. It must not block. nil: nobody is told.
	Made func(c *proto.Creation)
	// Holding is called with the bytes that wait in memory of what the cloud sends, whenever they
	// have changed by some MiB; nil: nobody is. Any goroutine calls it; it must not block.
	Holding func(bytes int64)
	// Lane is held while a large message of the cloud is decoded and handled, so that others that
	// take much memory do so before or behind it; nil: there are no others.
	Lane share.Lane
}

// Agent carries the events of one queue to one cloud. Run does the work in the calling goroutine;
// the other methods may be called from any.
type Agent struct {
	Deps
	dialer   link.Dialer
	jitter   func(time.Duration) time.Duration
	started  time.Time
	hint     chan struct{}
	doors    Doors // nil: nobody takes calls
	calls    *calls.Table
	creating gosync.Mutex // held while a device is made, so that no name is made twice
	noted    []noted      // the devices whose gateways were noted last; guarded by creating
	orders   chan *order  // of people, about dead letters; the loop takes them
	room     Room         // for data of devices that the cloud refuses to create
	board    board
}

// NewAgent returns an agent that does nothing until Run, but for queueing the creations of devices
// that a crash left behind.
func NewAgent(d Deps) *Agent {
	now := time.Now()
	store := calls.Store{Keep: d.Registry.KeepCall, Drop: d.Registry.DropCall, Flush: d.Registry.Flush}
	a := &Agent{
		Deps: d, dialer: link.Dialer{
			Cloud: d.Config.Cloud, Keepalive: d.Config.Keepalive, MaxInbound: MaxInbound(d.Config), Packages: d.Registry,
			Holding: d.Holding, Large: MakeRoom, Lane: d.Lane,
			Traffic: new(link.Traffic),
		},
		jitter: fullJitter, started: now, hint: make(chan struct{}, 1), orders: make(chan *order), calls: calls.NewTable(store),
		board: board{p: published{turn: now, since: now}},
	}
	a.announcePending()
	return a
}

// SetDoors says who delivers calls to devices. Before Run.
func (a *Agent) SetDoors(d Doors) { a.doors = d }

// Room is the room for data of devices that the cloud refuses to create, for Intake.Limit.
func (a *Agent) Room() *Room { return &a.room }

// Hint says that the link may be back (SIGHUP, an interface came up): a wait for the next attempt
// ends at once.
func (a *Agent) Hint() {
	select {
	case a.hint <- struct{}{}:
	default:
	}
}

// Turning reports whether the loop turns, whatever the cloud does (/healthz).
func (a *Agent) Turning() bool { return time.Since(a.board.read().turn) < turnLimit }

// Run carries events until ctx ends, then flushes, waits a moment for the acknowledgements due, and
// closes the stream. A cloud that is away or refuses is never a reason to return.
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
