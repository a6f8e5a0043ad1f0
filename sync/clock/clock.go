package clock

import (
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/wal/disk"
)

// Clock is the time of the events of one data directory (doc.go). Its methods may be called from
// any goroutine once Begin has returned. Of a nil *Clock the machine's clock is always right.
type Clock struct {
	Machine
	path  string
	log   *slog.Logger
	floor atomic.Int64 // what the wall clock must show at least to be believed, as of the last look

	mu     gosync.Mutex // guards what follows
	state  State
	since  int64 // uptime at which state began
	offset int64 // wall time of the machine's start; 0: not known
	// least is the floor less the uptime: the floor rises with the uptime, so that a clock that had
	// stopped and goes on does not reach it in the end.
	least   int64
	seen    int64 // newest time that was believed
	filed   int64 // seen, as the file has it
	filedAt int64 // uptime of the last try to write the file
	boots   []boot
	lost    int64  // time of a start of which no record is left
	dirty   bool   // boots are not in the file
	failed  string // the last error of writing the file; "" after a success
}

// Machine is what a Clock asks of the machine that it runs on. Tests have machines of their own.
type Machine struct {
	Wall   func() int64 // milliseconds since the epoch, as the machine's clock shows them
	Uptime func() int64 // milliseconds since the machine's start, standby included
	Boot   string       // name of this start, in the form of the kernel's boot_id
}

// ThisMachine is the machine that this process runs on.
func ThisMachine() Machine { return Machine{Wall: wallTime, Uptime: uptime(), Boot: bootID()} }

// State says whether the time is known, and from whom.
type State uint8

// The states (doc.go).
const (
	Unknown State = iota
	System
	Cloud
)

var names = [...]string{"unknown", "system", "cloud"}

// String is the state's name in status and logs.
func (s State) String() string { return names[s] }

const (
	// maxFile bounds the file "clock" in bytes; maxBoots lines of at most 130 are less.
	maxFile = 64 << 10
	// slack is what a clock may be behind the last time seen: NTP sets clocks back a little.
	slack = time.Minute
	// cloudSlack is what a clock may be behind the cloud's, whose messages can be late by minutes
	// when another edge holds them up (CONTRACT.md 6.1). A clock that is further behind had
	// stopped, and goes on from where it stood.
	cloudSlack = 5 * time.Minute
	// Patience is how long after the first connection events without a time wait for one.
	Patience = 5 * time.Minute
	every    = time.Hour   // the time seen is written at most this often
	retry    = time.Minute // pause after the file could not be written
)

// Open returns the clock of the data directory dir, with what earlier lives have left in its file.
// A file that is missing or damaged costs exact dates, and is no error. build is when this binary
// was made; zero if that is not known. Until Begin the clock can be asked for the time, and for
// nothing else.
func Open(dir string, m Machine, build time.Time, log *slog.Logger) *Clock {
	c := &Clock{Machine: m, path: filepath.Join(dir, "clock"), log: log}
	for _, path := range [...]string{c.path, c.path + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, filepath.Join(dir, "corrupt"), log); err != nil {
			log.Warn("the file of the clock is in the way of a new one", "error", err)
		}
	}
	c.open(build)
	return c
}

func wallTime() int64 { return time.Now().UnixMilli() }

// leastBuild is a time before which no clock is right.
var leastBuild = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *Clock) open(build time.Time) {
	if data, err := disk.ReadRegular(c.path, maxFile); err == nil {
		var ok bool
		if c.seen, c.boots, ok = parse(string(data)); !ok {
			c.log.Warn("the file of the clock is damaged; the times of events from before the clock was set are estimated", "file", c.path)
		}
	}
	c.filed = c.seen
	c.since = c.Uptime()
	if build.Before(leastBuild) {
		build = leastBuild
	}
	c.lost = max(c.seen, build.UnixMilli())
	c.raise(c.lost - slack.Milliseconds())
}

// raise sets the floor as of now.
func (c *Clock) raise(floor int64) {
	c.floor.Store(floor)
	c.least = floor - c.Uptime()
}

// Begin takes what the queue knows: the time of its newest frame, 0 if there is none, and the
// offset of the next frame. It is called once, before any event is taken.
func (c *Clock) Begin(newest int64, next uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.boots); n > 0 && c.boots[n-1].from > next; n-- { // of a queue that was removed
		c.boots = c.boots[:n-1]
	}
	if t, _ := c.dateLocked(next-1, newest); t-slack.Milliseconds() > c.floor.Load() {
		c.seen = t
		c.raise(t - slack.Milliseconds())
	}
	up := c.Uptime()
	if b := c.current(); b != nil && b.known == exactly {
		c.offset = b.offset // of this start, from an earlier process
	}
	if c.offset == 0 && c.Wall() < c.floor.Load() {
		if b := c.current(); b == nil {
			// The events of this start come after all that was seen: this much is sure, and keeps
			// their order.
			c.addBoot(boot{id: c.Boot, from: next, offset: c.floor.Load() + slack.Milliseconds() - up, known: notYet})
		}
		c.log.Warn("the clock is not set yet: telemetry without a time of its own gets it when it is", "clock",
			time.UnixMilli(c.Wall()).UTC(),
			"last_seen", time.UnixMilli(c.floor.Load()+slack.Milliseconds()).UTC())
	}
	c.look(up)
}

// current is the record of this start of the machine; nil if the time was always known.
func (c *Clock) current() *boot {
	if n := len(c.boots); n > 0 && c.boots[n-1].id == c.Boot {
		return &c.boots[n-1]
	}
	return nil
}

func (c *Clock) addBoot(b boot) {
	if n := len(c.boots); n > 0 && c.boots[n-1].from == b.from { // the start before took no event
		c.boots = c.boots[:n-1]
	}
	if len(c.boots) >= maxBoots {
		c.boots = append(c.boots[:1], c.boots[2:]...) // the first record now stands for the events of the second too
	}
	c.boots, c.dirty = append(c.boots, b), true
}

// Stamp is the time now, in milliseconds since the epoch, or a mark (proto.Undated) while that is
// not known.
func (c *Clock) Stamp() int64 {
	if c == nil {
		return wallTime()
	}
	if w := c.Wall(); w >= c.floor.Load() {
		return w
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.Uptime()
	if c.offset != 0 {
		return c.offset + up
	}
	return proto.Undated(up)
}

// Now is the time now, in milliseconds since the epoch; an estimate while it is not known.
func (c *Clock) Now() int64 {
	t := c.Stamp()
	if up, undated := proto.Uptime(t); undated {
		c.mu.Lock()
		defer c.mu.Unlock()
		if b := c.current(); b != nil {
			return b.offset + up
		}
		return c.floor.Load() + slack.Milliseconds() // before Begin
	}
	return t
}

// Date is the time of the event at an offset of the queue that was stamped with t, in milliseconds
// since the epoch. ok is false while that is not known; the date then is the best estimate.
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
	b := boot{offset: c.lost, known: roughly} // if the file is gone
	for i := range c.boots {
		if i == 0 || c.boots[i].from <= offset {
			b = c.boots[i]
		}
	}
	return b.offset + up, b.known != notYet || b.id != c.Boot
}

// Update looks at the machine's clock, and writes the file when that is due. The loop calls it
// every few seconds.
func (c *Clock) Update() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.Uptime())
}

// look is Update. The lock is held.
func (c *Clock) look(up int64) {
	w := c.Wall()
	c.floor.Store(c.least + up)
	now := Unknown
	switch {
	case w >= c.floor.Load():
		now = System
		c.offset = w - up
		c.seen = w
	case c.offset != 0:
		now = Cloud
		if c.state == System { // set back to a time that no clock shows: the time from before goes on
			now = System
		}
		c.seen = c.offset + up
	}
	if now != c.state {
		if now != Unknown {
			c.log.Info("the clock is set", "by", now, "time", time.UnixMilli(c.offset+up).UTC())
		}
		c.state, c.since = now, up
	}
	if b := c.current(); b != nil && c.offset != 0 && b.known != exactly {
		b.offset, b.known, c.dirty = c.offset, exactly, true
	}
	if d := c.seen - c.filed; c.dirty || max(d, -d) >= every.Milliseconds() {
		c.save(up, false)
	}
}

// ObserveCloud takes a time of the cloud, in milliseconds since the epoch: it is at least that late
// now. Times that cannot be are ignored.
func (c *Clock) ObserveCloud(ms int64) {
	if c == nil || ms < leastBuild.UnixMilli() || ms >= proto.Undated(0) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w, up, margin := c.Wall(), c.Uptime(), cloudSlack.Milliseconds()
	switch {
	case w < ms-margin: // not set, or had stopped
		c.raise(ms - margin)
		if c.offset < ms-up || c.state != Cloud {
			c.offset = ms - up
		}
		if c.state == System {
			c.log.Warn("this machine's clock is behind the cloud's; the cloud's is used", "clock",
				time.UnixMilli(w).UTC(), "cloud", time.UnixMilli(ms).UTC())
		}
		if c.state != Cloud {
			c.state, c.since = Cloud, up
			c.log.Info("the clock is set", "by", Cloud, "time", time.UnixMilli(ms).UTC())
		}
	case w < c.floor.Load() && w <= ms+margin: // both agree, so the last time seen was wrong
		c.raise(w - slack.Milliseconds())
	case w < c.floor.Load():
		c.offset = ms - up
	}
	c.look(up)
}

// AcceptEstimate ends the wait for a time: the events of this start of the machine are dated with
// the estimate, those that come before the time is known too.
func (c *Clock) AcceptEstimate() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.current(); b != nil && b.known == notYet && c.offset == 0 {
		b.known, c.dirty = roughly, true
		up := c.Uptime()
		c.log.Warn("the clock is still not set; the times of telemetry without one are estimated from the last time seen",
			"estimate", time.UnixMilli(b.offset+up).UTC())
		c.save(up, true)
	}
}

// Close writes the time seen. That it cannot be written is logged, and is no error of the stop.
func (c *Clock) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	up := c.Uptime()
	c.look(up)
	if c.seen != c.filed {
		c.save(up, true)
	}
}

// save writes the file, or logs once why not. What cannot be written is relied on all the same: a
// medium that takes nothing must not hold up what waits. Unless now is set, a failed write is tried
// again after retry only.
func (c *Clock) save(up int64, now bool) {
	if !now && c.failed != "" && up-c.filedAt < retry.Milliseconds() {
		return
	}
	c.filedAt = up
	if err := disk.Replace(c.path, []byte(format(c.seen, c.boots))); err != nil {
		if text := err.Error(); text != c.failed {
			c.failed = text
			c.log.Warn("the time cannot be written to data_dir", "file", c.path, "error", err)
		}
		return
	}
	c.filed, c.dirty, c.failed = c.seen, false, ""
}

// State says whether the time is known, from whom, and since when, by the machine's clock as it is
// now.
func (c *Clock) State() (s State, since time.Time) {
	if c == nil {
		return System, time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, time.UnixMilli(c.Wall() - (c.Uptime() - c.since)).UTC()
}

// bootID is the kernel's name for this start of the machine, or a name for this process where the
// kernel has none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(b)); err == nil && validBoot(id) {
		return id
	}
	return "process-" + rand.Text()
}
