package sync

import (
	"os"
	"strconv"
	"strings"
	gosync "sync"
	"syscall"
	"time"

	"edgesync/sync/clock"
	"edgesync/sync/former"
	"edgesync/wal"
)

// board is where the loop publishes its state, once a turn, for other goroutines.
type board struct {
	mu gosync.Mutex
	p  published
}

func (b *board) read() published {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.p
}

func (b *board) write(p published) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.p = p
}

// published is what the loop says about itself.
type published struct {
	turn     time.Time
	state    State
	since    time.Time
	linked   time.Time // zero: no session
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
	refused  *refusedCreations // nil: no creation is
	unproven int               // creations
	counters counters
	replay   Replay // State "": there was none in this life
	contact  contact
	paced    paced // the oldest sample
	server   serverClock
}

// counters of this process's life.
type counters struct {
	connects, attempts, downlinks, unused, uplinkBytes, repeated, replayed uint64
}

// publish lets other goroutines see the loop's state.
func (l *loop) publish(now time.Time) {
	c, s := &l.conn, &l.sending
	devices := l.reg.Devices()
	l.grown.to(devices)
	if l.dependents.changed {
		l.refused = l.dependents.describe()
	}
	l.tellRoom()
	replay := l.replaying.Replay
	replay.Waits = l.replayWaits()
	l.board.write(published{
		turn: now, state: c.state, since: c.since, linked: c.acceptedAt, lastErr: c.lastErr, edge: c.edge,
		inFlight: s.win.unanswered(), window: s.win.size, rtt: s.win.rtt, limited: s.limited,
		nextDial: l.dialing.next, synced: l.reg.Synced(), sync: l.syncing.text(), devices: devices,
		refused: l.refused, unproven: len(l.proofs.taken), counters: l.counters, contact: l.contact, replay: replay,
		paced: l.pace.take(now, l.queue), server: l.rpc.server,
	})
}

// Snapshot is the agent's state now. The addresses of the doors are left for the caller to fill in.
func (a *Agent) Snapshot() Snapshot {
	p := a.board.read()
	now := time.Now()
	s := Snapshot{
		State: p.state, Since: now.Add(p.since.Sub(now)).UTC(), Running: true, Version: a.Version, LastError: p.lastErr,
		InFlight: p.inFlight, Window: p.window, RTTMS: float64(p.rtt.Microseconds()) / 1000,
		Connects: p.counters.connects, RateLimited: p.limited, Edge: p.edge, Cloud: a.dialer.Addr(),
		Synced: p.synced, Sync: p.sync, Devices: p.devices, CallsPending: a.calls.Waiting(),
		Downlinks: p.counters.downlinks, DownlinksUnused: p.counters.unused, UplinkBytes: p.counters.uplinkBytes,
		Repeated: p.counters.repeated, MaxInbound: a.dialer.MaxInbound,
		UptimeMS: now.Sub(a.started).Milliseconds(), RSSBytes: rss(),
		WireIn: a.dialer.Traffic.In.Load(), WireOut: a.dialer.Traffic.Out.Load(),
	}
	s.Replayed = p.counters.replayed
	if p.replay.State != "" {
		s.Replay = &p.replay
	}
	if p.counters.attempts > 0 {
		s.Reconnects = p.counters.attempts - 1
	}
	if d := p.nextDial.Sub(now); d > 0 && !p.nextDial.IsZero() {
		s.NextAttemptMS = d.Milliseconds()
	}
	if c := &p.server; !c.at.IsZero() {
		ahead := now.UnixMilli() - c.now(now)
		s.ClockOffsetMS = &ahead
	}
	known, clockSince := a.Clock.State()
	s.Clock = known.String()
	if !clockSince.IsZero() {
		s.ClockSince = &clockSince
	}
	var (
		q    wal.Stats
		f, o former.Stats
	)
	look := func() { q = a.Queue.Stats() }
	if a.Overflow != nil { // nothing is on its way from the two to the queue while look is called
		look = func() { o = a.Overflow.Stats(func() { q = a.Queue.Stats() }) }
	}
	if a.Former != nil {
		f = a.Former.Stats(look)
	} else {
		look()
	}
	s.At = a.now().UTC()
	if c := &p.contact; !c.at.IsZero() {
		at := s.At.Add(c.at.Sub(now))
		s.LastContact = &at
	}
	if !p.linked.IsZero() {
		at := now.Add(p.linked.Sub(now)).UTC()
		s.LinkedSince = &at
	}
	s.AttemptsSince, s.Causes = p.counters.attempts-p.contact.attempts, p.contact.causes
	if t := a.Tally; t != nil {
		s.Losses, s.DamagedSeen = t.Losses(), t.Damaged()
		s.Unrecorded = t.Unrecorded()
	}
	q.OldestPending, _ = a.Clock.Date(q.Committed+1, q.OldestPending)
	AddCounts(&s, q, a.Dead.Stats(), f, o, a.now())
	a.addRoom(&s, p.paced)
	life := a.Queue.Life()
	s.Life = Life{Written: life.Written, Worn: life.Wear, Fsyncs: life.Fsyncs, Events: life.Number, CPU: cpu().Seconds()}
	s.TurnedAway = a.room.refused.Load()
	s.UnprovenCreations = p.unproven
	if p.refused == nil { // what is to be proved, or was just now, is not refused
		s.RefusedCreations = nil
	}
	if r := s.RefusedCreations; r != nil {
		r.Full = a.room.full()
		r.Room = a.Dead.Room(wal.DeadCreation).Bytes
		if p.refused != nil {
			r.Devices, r.Cause, r.Names = p.refused.devices, p.refused.cause, p.refused.names
		}
	}
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

// flashSoon is how long an account must be before a rate is computed from it.
const flashSoon = time.Minute

// addFlash fills in what the queue's account of the flash says.
func addFlash(s *Snapshot, q wal.Stats) {
	t := q.Today
	s.FlashBytesToday, s.FlashWearToday, s.FsyncsToday, s.CommitsToday = t.Written, t.Wear, t.Fsyncs, t.Commits
	s.Stretched = q.Stretched
	s.FlashCommit, s.SlowFsyncs, s.FsyncTimes = q.CommitBytes, q.SlowSyncs, q.SyncTimes
	if t.Events > 0 {
		s.FlashAmplified = float64(t.Wear) / float64(t.Events)
	}
	if q.Since >= flashSoon {
		s.FlashWearPerDay = int64(float64(t.Wear) / q.Since.Hours() * 24)
	}
}

// AddCounts fills in what the queue, the dead-letter log, the events of former edges (f) and the
// overflow (o) say. The queue counts an event as dead when it moves to one of the three; what
// became of it there is taken from them, so that the identity holds. What returns to the queue is
// accepted by it a second time.
func AddCounts(s *Snapshot, q wal.Stats, d wal.DeadStats, f, o former.Stats, now time.Time) {
	returned := min(f.Returned+o.Returned, q.Dead)
	discarded, damaged := d.Discarded+f.Discarded+o.Discarded, f.Damaged+o.Damaged
	left := d.Delivered + discarded + damaged
	s.Accepted, s.Pending, s.Damaged = q.Accepted-returned, q.Pending, q.Damaged+damaged
	s.Deployed, s.Dropped = q.Deployed+d.Delivered, q.Dropped+discarded
	s.Dead = q.Dead - returned - min(left, q.Dead-returned)
	if f.Kept > 0 || f.Moving {
		s.Former = &Former{Edge: f.Edge, Events: f.Kept, Entities: f.Entities, Moving: f.Moving, Command: formerCommand}
	}
	s.QueueBytes, s.Committed, s.LastOffset = q.Bytes, q.Committed, q.Last
	s.Commits, s.Writable = q.Commits, q.Writable
	s.Room.Used, s.Room.acknowledged = q.Bytes, q.Acknowledged
	s.DeadResting, s.DeadWaiting = d.Resting, d.Letters-d.Resting
	if u := d.Classes[wal.DeadCreation]; u.Letters > 0 {
		s.RefusedCreations = &RefusedCreations{Devices: d.Pinned, Events: u.Letters - d.Pinned + int(o.Kept), Bytes: u.Bytes}
	}
	addFlash(s, q)
	if q.OldestPending > 0 {
		s.OldestPendingMS = max(0, now.UnixMilli()-q.OldestPending)
	}
	if q.LastError != nil {
		s.ExtraWarnings = append(s.ExtraWarnings, "the queue cannot be written: "+q.LastError.Error())
	}
}

// cpu is what this process has used of the processor; 0 where the kernel does not say.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the resident memory of this process in bytes; 0 where the kernel does not say.
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
