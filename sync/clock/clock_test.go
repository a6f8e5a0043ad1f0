package clock

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
)

// machine is a board whose clock and power are the test's.
type machine struct {
	*testing.T
	dir  string
	boot string
	true int64        // what a right clock shows, ms
	on   int64        // true time of the start
	lag  atomic.Int64 // what the board's own clock is behind, ms
	end  uint64       // offset of the newest frame of the queue
}

const june = int64(1780272000000) // 2026-06-01

func newMachine(t *testing.T) *machine {
	return &machine{T: t, dir: t.TempDir(), boot: "boot-1", true: june, on: june}
}

func (m *machine) pass(d time.Duration) { m.true += d.Milliseconds() }

// restart is a power cut of length d, after which the board's clock shows start (ms).
func (m *machine) restart(boot string, d time.Duration, start int64) {
	m.pass(d)
	m.boot, m.on = boot, m.true
	m.lag.Store(m.true - start)
}

// clock is the clock of a new process. newest is the stamp of the queue's newest frame.
func (m *machine) clock(newest int64) *Clock {
	c := Open(m.dir, Machine{
		Wall: func() int64 { return m.true - m.lag.Load() }, Uptime: func() int64 { return m.true - m.on }, Boot: m.boot,
	}, time.Time{}, slog.New(slog.DiscardHandler))
	c.Begin(newest, m.end+1)
	return c
}

func (m *machine) state(c *Clock, want State) {
	m.Helper()
	if s, _ := c.State(); s != want {
		m.Errorf("the clock is %v, want %v", s, want)
	}
}

// dated asserts the date of an event.
func (m *machine) dated(c *Clock, offset uint64, stamp, want int64, sure bool) {
	m.Helper()
	if got, ok := c.Date(offset, stamp); got != want || ok != sure {
		m.Errorf("event %d is of %v, %v; want %v, %v", offset, time.UnixMilli(got).UTC(), ok, time.UnixMilli(want).UTC(), sure)
	}
}

func (m *machine) file() string {
	b, err := os.ReadFile(filepath.Join(m.dir, "clock"))
	if err != nil && !os.IsNotExist(err) {
		m.Fatal(err)
	}
	return string(b)
}

// NTP sets a clock from 1970 to now; then it is set back.
func TestJump(t *testing.T) {
	m := newMachine(t)
	m.restart("boot-1", 0, 0)
	c := m.clock(0)
	m.state(c, Unknown)
	m.pass(90 * time.Second)
	c.Update()
	taken, stamp := m.true, c.Stamp()
	if up, undated := proto.Uptime(stamp); !undated || up != 90_000 {
		t.Fatalf("stamped %d after 90 s", stamp)
	}
	estimate := leastBuild.UnixMilli() + 90_000
	m.dated(c, 1, stamp, estimate, false)
	if now := c.Now(); now != estimate {
		t.Errorf("now is %d, want %d", now, estimate)
	}
	m.pass(time.Hour)
	m.lag.Store(0)
	if got := c.Stamp(); got != m.true {
		t.Errorf("stamped %d after the jump, before anybody looked at the clock", got)
	}
	m.dated(c, 1, stamp, estimate+0, false) // nothing goes before the file is written
	c.Update()
	m.state(c, System)
	m.dated(c, 1, stamp, taken, true)
	if _, boots, ok := parse(m.file()); !ok || len(boots) != 1 || boots[0] != (boot{"boot-1", 1, m.on, exactly}) {
		t.Errorf("in the file stands %q", m.file())
	}
	for _, tt := range []struct{ back, believed time.Duration }{
		{56 * 365 * 24 * time.Hour, 0}, // to where no clock is right: what it showed before goes on
		{2 * time.Hour, 2 * time.Hour}, // it had been wrong
	} {
		m.lag.Store(tt.back.Milliseconds())
		m.pass(10 * time.Second)
		c.Update()
		if got, want := c.Stamp(), m.true-tt.believed.Milliseconds(); got != want {
			t.Errorf("%v after a jump back by %v, want %v", time.UnixMilli(got).UTC(), tt.back, time.UnixMilli(want).UTC())
		}
		m.state(c, System)
	}
	m.dated(c, 1, stamp, taken, true)
	m.dated(c, 9, june, june, true) // not a mark
}

// The process is killed before and after the clock is set, in the same start of the machine.
func TestKilled(t *testing.T) {
	m := newMachine(t)
	m.restart("boot-1", 0, 0)
	c := m.clock(0)
	m.pass(time.Minute)
	first, stamp := m.true, c.Stamp()
	m.end = 1
	c = m.clock(stamp)
	m.state(c, Unknown)
	m.pass(time.Minute)
	second, stamp2 := m.true, c.Stamp()
	m.end = 2
	m.lag.Store(0)
	c = m.clock(stamp2) // set while no process ran
	m.state(c, System)
	m.dated(c, 1, stamp, first, true)
	m.dated(c, 2, stamp2, second, true)
	m.lag.Store(m.true) // and lost again
	c = m.clock(stamp2)
	if got := c.Stamp(); got != m.true {
		t.Errorf("stamped %d, want %d: the same start of the machine", got, m.true)
	}
}

// Starts without a clock in a row get times in their order, from the last time seen on; a start
// with a clock does not change them.
func TestPowerCuts(t *testing.T) {
	m := newMachine(t)
	c := m.clock(0)
	m.pass(30 * time.Minute)
	c.Update()
	seen := c.Stamp()
	m.end = 10

	m.restart("boot-2", time.Hour, 0) // power cut; seen stands in the queue only
	c = m.clock(seen)
	m.pass(5 * time.Minute)
	a := c.Stamp()
	m.dated(c, 11, a, seen+5*60_000, false)
	m.end = 11

	m.restart("boot-3", time.Hour, 0)
	c = m.clock(a)
	m.pass(2 * time.Minute)
	b := c.Stamp()
	m.dated(c, 11, a, seen+5*60_000, true)
	m.dated(c, 12, b, seen+7*60_000, false)
	m.end = 12

	m.restart("boot-4", time.Hour, m.true+time.Hour.Milliseconds())
	c = m.clock(b)
	m.state(c, System)
	m.dated(c, 11, a, seen+5*60_000, true)
	m.dated(c, 12, b, seen+7*60_000, true)
	if got := c.Stamp(); got != m.true {
		t.Errorf("stamped %d, want %d", got, m.true)
	}
}

// A clock that goes on from the last time seen, as OpenWrt sets it from its newest file, is not
// believed against the cloud's.
func TestStoppedClock(t *testing.T) {
	m := newMachine(t)
	m.pass(time.Hour)
	stopped := m.true
	m.restart("boot-2", 72*time.Hour, stopped)
	c := m.clock(stopped)
	m.state(c, System) // it cannot know
	m.pass(time.Minute)
	c.ObserveCloud(m.true)
	m.state(c, Cloud)
	for range 100 {
		m.pass(time.Hour)
		c.Update()
		if got := c.Stamp(); got != m.true {
			t.Fatalf("stamped %v, want %v", time.UnixMilli(got).UTC(), time.UnixMilli(m.true).UTC())
		}
	}
	c.ObserveCloud(m.true - 2*60_000) // a late message of another session
	if got := c.Stamp(); got != m.true {
		t.Errorf("a late message sets the clock back to %v", time.UnixMilli(got).UTC())
	}
	m.lag.Store(-3000)
	c.Update()
	m.state(c, System)
	if got := c.Stamp(); got != m.true+3000 {
		t.Errorf("stamped %d, want the machine's %d", got, m.true+3000)
	}
}

// The cloud's time dates what was taken before, and corrects a time that was seen by mistake.
func TestCloudsTime(t *testing.T) {
	m := newMachine(t)
	m.restart("boot-1", 0, 0)
	c := m.clock(0)
	m.pass(time.Minute)
	taken, stamp := m.true, c.Stamp()
	for _, bad := range []int64{0, 5, -1, leastBuild.UnixMilli() - 1, 1 << 42, 1 << 62} {
		c.ObserveCloud(bad)
		m.state(c, Unknown)
	}
	m.pass(time.Second)
	c.ObserveCloud(m.true)
	m.state(c, Cloud)
	m.dated(c, 1, stamp, taken, true)
	m.end = 5

	m.restart("boot-2", time.Minute, m.true+time.Minute.Milliseconds()) // its clock is right, but somebody was in the year 2050
	c = m.clock(time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	m.state(c, Unknown)
	m.pass(time.Second)
	taken, stamp = m.true, c.Stamp()
	c.ObserveCloud(m.true - 500)
	m.state(c, System)
	m.dated(c, 6, stamp, taken, true)
	if got := c.Stamp(); got != m.true {
		t.Errorf("stamped %d, want %d", got, m.true)
	}
	c.Close()
	if c = m.clock(0); c.Stamp() != m.true {
		t.Error("the wrong time is still in the file")
	}
}

// Once it is accepted the estimate counts, also in the next process, until the clock is set.
func TestAcceptedEstimate(t *testing.T) {
	m := newMachine(t)
	m.restart("boot-1", 0, 0)
	c := m.clock(0)
	m.pass(time.Minute)
	taken, stamp := m.true, c.Stamp()
	c.AcceptEstimate()
	estimate := leastBuild.UnixMilli() + 60_000
	m.dated(c, 1, stamp, estimate, true)
	m.end = 1
	c = m.clock(stamp)
	m.dated(c, 1, stamp, estimate, true)
	m.state(c, Unknown)
	m.lag.Store(0)
	c.Update()
	c.AcceptEstimate()
	m.dated(c, 1, stamp, taken, true)
}

// The file is written once an hour and at the end, not for events; a file that is damaged or cannot
// be written stops nothing.
func TestFile(t *testing.T) {
	m := newMachine(t)
	c := m.clock(0)
	last, writes := m.file(), 0
	for range 3 * 720 {
		m.pass(5 * time.Second)
		c.Stamp()
		c.Update()
		if now := m.file(); now != last {
			last = now
			writes++
		}
	}
	if writes != 3 {
		t.Errorf("%d writes in three hours, want 3", writes)
	}
	m.pass(time.Minute)
	c.Close()
	if seen, _, ok := parse(m.file()); !ok || seen != m.true {
		t.Errorf("the stop leaves %q, want %d", m.file(), m.true)
	}

	for _, content := range []string{
		"", "\x00\x00\x00", "edgesync clock 1\nseen 5\nboot",
		"edgesync clock 1\nseen -5\n", strings.Repeat("boot x 1 1 =\n", 100),
	} {
		if err := os.WriteFile(filepath.Join(m.dir, "clock"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		m.restart("boot-"+string(rune('a'+len(content)%20)), 0, 0)
		c = m.clock(m.true)
		m.dated(c, 1, proto.Undated(7), m.true+7, false)
	}
	for _, up := range []int64{5, 500_000} { // and a file that is gone: an estimate that does not move
		if err := os.RemoveAll(filepath.Join(m.dir, "clock")); err != nil {
			t.Fatal(err)
		}
		m.restart("boot-y", 0, m.true)
		c = m.clock(m.true)
		m.pass(time.Hour)
		c.Update()
		m.dated(c, 1, proto.Undated(up), leastBuild.UnixMilli()+up, true)
	}
	m.restart("boot-z", 0, 0)
	m.dir = filepath.Join(m.dir, "none")
	c = m.clock(0)
	m.lag.Store(0)
	m.pass(time.Minute)
	c.Update()
	m.dated(c, 1, proto.Undated(7), m.on+7, true)
}

// The number of starts that are remembered is bounded, and starts that took no event are not
// counted.
func TestStartsAreBounded(t *testing.T) {
	m := newMachine(t)
	stamp := int64(0)
	for i := range 3 * maxBoots {
		m.restart("boot-"+string(rune('A'+i%26))+string(rune('a'+i/26)), time.Minute, 0)
		c := m.clock(stamp)
		if i%3 > 0 {
			m.pass(time.Minute)
			stamp = c.Stamp()
			m.end++
		}
		if len(c.boots) > maxBoots {
			t.Fatalf("%d starts are remembered", len(c.boots))
		}
	}
	seen, boots, ok := parse(m.file())
	if !ok || len(boots) != maxBoots || boots[0].from != 1 {
		t.Errorf("%d starts in the file, from offset %d, seen %d, %v", len(boots), boots[0].from, seen, ok)
	}
}

// What the kernel says of this machine agrees with what /proc shows.
func TestMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no /proc")
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Skip(err)
	}
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	if up := float64(uptime()()) / 1000; up < seconds { // which a container may see as its own
		t.Errorf("up for %v s, and /proc/uptime says %v", up, seconds)
	}
	if id := bootID(); len(id) != 36 || id != bootID() || !validBoot(id) {
		t.Errorf("boot id %q", id)
	}
}

// Offsets begin anew when somebody has removed the queue, but not the file of the clock.
func TestQueueRemoved(t *testing.T) {
	m := newMachine(t)
	m.end = 1000
	m.restart("boot-1", 0, 0)
	m.clock(0)
	m.end = 0
	c := m.clock(0)
	m.pass(time.Minute)
	taken, stamp := m.true, c.Stamp()
	m.lag.Store(0)
	c.Update()
	m.dated(c, 1, stamp, taken, true)
}

// What is read from a file is bounded, and reads the same when it is written again.
func FuzzParse(f *testing.F) {
	f.Add(format(june, []boot{{"boot-1", 1, june, exactly}, {"boot-2", 77, june + 5, notYet}}))
	f.Add("edgesync clock 1\nseen 5\nboot a 1 2 ~\nboot b 1 2 ~\n")
	f.Fuzz(func(t *testing.T, s string) {
		seen, boots, ok := parse(s)
		if len(boots) > maxBoots {
			t.Fatalf("%d boots", len(boots))
		}
		again, list, fine := parse(format(seen, boots))
		if ok && (!fine || again != seen || len(list) != len(boots)) {
			t.Fatalf("%q is read, but not what is written for it", s)
		}
	})
}
