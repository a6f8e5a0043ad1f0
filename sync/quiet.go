package sync

import (
	"runtime/debug"
	"time"

	"edgesync/sync/link"
)

// quiet is what is known about work and rest, for giving memory back. It outlives sessions.
type quiet struct {
	worked   bool // since memory was given back last
	gaveBack time.Time
}

// maybeGiveBack returns memory to a small machine once it has been quiet for a while after work: a
// first sync is megabytes of which little is kept, and the collector alone would hold them.
func (l *loop) maybeGiveBack(now time.Time) {
	q := &l.quiet
	switch {
	case l.conn.state != Connected || l.syncing.running:
		q.worked = true
	case q.worked && !now.Before(l.giveBackDue()):
		*q = quiet{worked: len(l.asking.questions) > 0, gaveBack: now}
		link.ReleaseMemory()
		debug.FreeOSMemory()
		unmapCode()
	}
}

// MakeRoom gives memory back before something large comes, or on its way: what the last of its kind
// left is garbage by now, and two in memory at a time are more than a small machine has. It takes a
// collection, some milliseconds. Any goroutine.
func MakeRoom() {
	link.ReleaseMemory()
	debug.FreeOSMemory()
	unmapCode()
}

// giveBackDue is when it is quiet. While questions are asked, for minutes if there are thousands of
// devices, it is quiet between two of them.
func (l *loop) giveBackDue() time.Time {
	if len(l.asking.questions) > 0 {
		return l.quiet.gaveBack.Add(askGiveBack)
	}
	last := l.conn.since // of Connected
	if l.conn.lastReceived.After(last) {
		last = l.conn.lastReceived
	}
	return last.Add(quietFor)
}

// grown says how many devices there are to who sets the bounds of memory. It outlives sessions.
type grown struct {
	report func(devices int) // Deps.Devices
	last   int               // that were reported
}

func (g *grown) to(devices int) {
	if change := devices - g.last; g.report != nil && (change > devicesStep || change < -devicesStep) {
		g.last = devices
		g.report(devices)
	}
}
