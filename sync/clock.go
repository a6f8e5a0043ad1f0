package sync

import (
	"edgesync/wal/disk"

	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
)

// Clock is the time of what is stored here, on machines whose own clock is not set yet when they start. That clock is believed from the build's time on, and
// from the last time that this data_dir has seen. Until then events are marked with the time since the machine's start (proto.Undated); what that is
// in real time shows when the clock is set, or when the cloud tells its own, and stands in the file "clock" before the first such event is sent.
//
//	Stamp ──▶ queue ──Date──▶ batch         the time of an event now; what it is once it is known
//	Tick, Tell, Settle                      the loop's: look at the clock, hear the cloud's, wait no longer
//
// Its methods may be called from any goroutine once Begin has returned. A nil *Clock is a clock that is always right.
type Clock struct {
	wall   func() int64 // milliseconds since the epoch
	uptime func() int64 // milliseconds since the machine's start, standby included
	boot   string       // which start that was
	path   string
	log    *slog.Logger
	floor  atomic.Int64 // what the wall clock must have reached to be believed, as of the last look

	mu      gosync.Mutex // guards what follows
	state   ClockState
	since   int64 // uptime at which state began
	offset  int64 // wall time of the machine's start, as far as it is known; 0: not
	least   int64 // what it is at least: the floor less the uptime, so that a stopped clock that goes on does not reach the floor by and by
	seen    int64 // newest time that was believed
	filed   int64 // the same, in the file
	filedAt int64 // uptime of the last try to write the file
	boots   []boot
	lost    int64  // stands for a start of which no record is left
	dirty   bool   // boots are not in the file
	failed  string // the last error of writing it
}

// ClockState tells whether the time is known, and from whom.
type ClockState uint8

// The states. With ClockCloud the machine's own clock is wrong, and the cloud's serves.
const (
	ClockUnknown ClockState = iota
	ClockSystem
	ClockCloud
)

var clockNames = [...]string{"unknown", "system", "cloud"}

// String is the state's name in status and logs.
func (s ClockState) String() string { return clockNames[s] }

const (
	// clockSlack is what a clock may be behind the last time seen: NTP sets it back by a little.
	clockSlack = time.Minute
	// cloudSlack is what it may be behind the cloud's, whose messages can be late by minutes when another edge holds them up (wire contract 6.1): if it
	// is more behind than this it is a clock that was stopped and goes on from where it stood.
	cloudSlack = 5 * time.Minute
	// clockPatience is how long after the first connection events without a time wait for one.
	clockPatience = 5 * time.Minute
	clockEvery    = time.Hour   // the time seen is written at most so often
	clockRetry    = time.Minute // after the file could not be written
)

// OpenClock reads what earlier lives have left in data_dir. build is when this binary was made, zero if that is not known. Until Begin the clock tells the
// time only.
func OpenClock(dir string, build time.Time, log *slog.Logger) *Clock {
	c := &Clock{wall: wallTime, uptime: uptime(), boot: bootID(), path: filepath.Join(dir, "clock"), log: log}
	c.open(build)
	return c
}

func wallTime() int64 { return time.Now().UnixMilli() }

// leastBuild is a time before which no clock is right.
var leastBuild = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *Clock) open(build time.Time) {
	if data, err := disk.Read(c.path, maxClockFile); err == nil {
		var ok bool
		if c.seen, c.boots, ok = parseClock(string(data)); !ok {
			c.log.Warn("the file of the clock is damaged; the times of events from before the clock was set are estimated", "file", c.path)
		}
	}
	c.filed = c.seen
	c.since = c.uptime()
	if build.Before(leastBuild) {
		build = leastBuild
	}
	c.lost = max(c.seen, build.UnixMilli())
	c.raise(c.lost - clockSlack.Milliseconds())
}

// raise sets the floor as of now.
func (c *Clock) raise(floor int64) {
	c.floor.Store(floor)
	c.least = floor - c.uptime()
}

// Begin tells what the queue knows: the time of its newest frame, 0 if there is none, and the offset of the next. Before any event is taken.
func (c *Clock) Begin(newest int64, next uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.boots); n > 0 && c.boots[n-1].from > next; n-- { // of a queue that somebody has removed
		c.boots = c.boots[:n-1]
	}
	if t, _ := c.dateLocked(next-1, newest); t-clockSlack.Milliseconds() > c.floor.Load() {
		c.seen = t
		c.raise(t - clockSlack.Milliseconds())
	}
	up := c.uptime()
	if b := c.current(); b != nil && b.known == exactly {
		c.offset = b.offset // of this start, from an earlier process
	}
	if c.offset == 0 && c.wall() < c.floor.Load() {
		if b := c.current(); b == nil {
			// Its events come after all that was seen: that much is sure, and keeps their order.
			c.addBoot(boot{id: c.boot, from: next, offset: c.floor.Load() + clockSlack.Milliseconds() - up, known: notYet})
		}
		c.log.Warn("the clock is not set yet: telemetry without a time of its own gets it when it is", "clock", time.UnixMilli(c.wall()).UTC(),
			"last_seen", time.UnixMilli(c.floor.Load()+clockSlack.Milliseconds()).UTC())
	}
	c.look(up)
}

// current is the record of this start of the machine; nil if there is none, because the time was always known.
func (c *Clock) current() *boot {
	if n := len(c.boots); n > 0 && c.boots[n-1].id == c.boot {
		return &c.boots[n-1]
	}
	return nil
}

func (c *Clock) addBoot(b boot) {
	if n := len(c.boots); n > 0 && c.boots[n-1].from == b.from { // it took no event
		c.boots = c.boots[:n-1]
	}
	if len(c.boots) >= maxBoots {
		c.boots = append(c.boots[:1], c.boots[2:]...) // the first record stands for its events too
	}
	c.boots, c.dirty = append(c.boots, b), true
}

// Stamp is the time now, in milliseconds since the epoch, or a mark of proto.Undated while that is not known.
func (c *Clock) Stamp() int64 {
	if c == nil {
		return wallTime()
	}
	if w := c.wall(); w >= c.floor.Load() {
		return w
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.uptime()
	if c.offset != 0 {
		return c.offset + up
	}
	return proto.Undated(up)
}

// Now is the time now as well as it is known.
func (c *Clock) Now() int64 {
	t := c.Stamp()
	if up, undated := proto.Uptime(t); undated {
		c.mu.Lock()
		defer c.mu.Unlock()
		if b := c.current(); b != nil {
			return b.offset + up
		}
		return c.floor.Load() + clockSlack.Milliseconds() // before Begin
	}
	return t
}

// Date is the time of an event of the queue that was stamped with t; ok is false while that is not known, and t then the best estimate.
func (c *Clock) Date(offset uint64, t int64) (date int64, ok bool) {
	if c == nil {
		return t, true
	}
	if _, undated := proto.Uptime(t); !undated {
		return t, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dateLocked(offset, t)
}

func (c *Clock) dateLocked(offset uint64, t int64) (date int64, ok bool) {
	up, undated := proto.Uptime(t)
	if !undated {
		return t, true
	}
	b := boot{offset: c.lost, known: roughly} // the file is gone
	for i := range c.boots {
		if i == 0 || c.boots[i].from <= offset {
			b = c.boots[i]
		}
	}
	return b.offset + up, b.known != notYet || b.id != c.boot
}

// Tick looks at the machine's clock and writes the file when that is due. The loop calls it every few seconds.
func (c *Clock) Tick() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.uptime())
}

// look is Tick. The lock is held.
func (c *Clock) look(up int64) {
	w := c.wall()
	c.floor.Store(c.least + up)
	now := ClockUnknown
	switch {
	case w >= c.floor.Load():
		now = ClockSystem
		c.offset = w - up
		c.seen = w
	case c.offset != 0:
		now = ClockCloud
		if c.state == ClockSystem { // it was set back to nonsense: what it had told before goes on
			now = ClockSystem
		}
		c.seen = c.offset + up
	}
	if now != c.state {
		if now != ClockUnknown {
			c.log.Info("the clock is set", "by", now, "time", time.UnixMilli(c.offset+up).UTC())
		}
		c.state, c.since = now, up
	}
	if b := c.current(); b != nil && c.offset != 0 && b.known != exactly {
		b.offset, b.known, c.dirty = c.offset, exactly, true
	}
	if d := c.seen - c.filed; c.dirty || max(d, -d) >= clockEvery.Milliseconds() {
		c.save(up, false)
	}
}

// Tell takes the cloud's time, in milliseconds since the epoch: it is at least that late.
func (c *Clock) Tell(ms int64) {
	if c == nil || ms < leastBuild.UnixMilli() || ms >= proto.Undated(0) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w, up, slack := c.wall(), c.uptime(), cloudSlack.Milliseconds()
	switch {
	case w < ms-slack: // not set, or stopped and gone on from where it stood
		c.raise(ms - slack)
		if c.offset < ms-up || c.state != ClockCloud {
			c.offset = ms - up
		}
		if c.state == ClockSystem {
			c.log.Warn("this machine's clock is behind the cloud's; the cloud's is used", "clock", time.UnixMilli(w).UTC(), "cloud", time.UnixMilli(ms).UTC())
		}
		if c.state != ClockCloud {
			c.state, c.since = ClockCloud, up
			c.log.Info("the clock is set", "by", ClockCloud, "time", time.UnixMilli(ms).UTC())
		}
	case w < c.floor.Load() && w <= ms+slack: // both agree, so what was seen once was wrong
		c.raise(w - clockSlack.Milliseconds())
	case w < c.floor.Load():
		c.offset = ms - up
	}
	c.look(up)
}

// Settle ends the waiting: events of this start of the machine get the estimate, those that come until the time is known too.
func (c *Clock) Settle() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.current(); b != nil && b.known == notYet && c.offset == 0 {
		b.known, c.dirty = roughly, true
		up := c.uptime()
		c.log.Warn("the clock is still not set; the times of telemetry without one are estimated from the last time seen", "estimate", time.UnixMilli(b.offset+up).UTC())
		c.save(up, true)
	}
}

// Close writes the time seen. That it could not be is logged, and no failure of the stop.
func (c *Clock) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.uptime()
	c.look(up)
	if c.seen != c.filed {
		c.save(up, true)
	}
}

// save writes the file, or says once why not. What could not be written is relied on all the same: a medium that takes nothing must not hold up what waits.
func (c *Clock) save(up int64, now bool) {
	if !now && c.failed != "" && up-c.filedAt < clockRetry.Milliseconds() {
		return
	}
	c.filedAt = up
	if err := disk.Replace(c.path, []byte(formatClock(c.seen, c.boots))); err != nil {
		if text := err.Error(); text != c.failed {
			c.failed = text
			c.log.Warn("the time cannot be written to data_dir", "file", c.path, "error", err)
		}
		return
	}
	c.filed, c.dirty, c.failed = c.seen, false, ""
}

// State tells whether the time is known, from whom, and since when, by the machine's clock as it is now.
func (c *Clock) State() (s ClockState, since time.Time) {
	if c == nil {
		return ClockSystem, time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, time.UnixMilli(c.wall() - (c.uptime() - c.since)).UTC()
}

// bootID is the kernel's name for this start of the machine; one of this process where there is none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(b)); err == nil && validBoot(id) {
		return id
	}
	return "process-" + rand.Text()
}
