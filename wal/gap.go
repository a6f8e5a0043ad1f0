package wal

import (
	"fmt"
	"strings"
	"time"
)

// Why says why events were given up. Several reasons may come together in one gap.
type Why uint8

// The reasons.
const (
	WhyQuota Why = 1 << iota // the room was used up (queue.max_bytes)
	WhyAge                   // older than queue.max_age
	WhyThin                  // every second one of a series, so that the room lasts (policy "thin")
	WhyDead                  // the cloud had refused them, and the log of dead letters is full
	whyEnd
)

// String lists the reasons in the words of the configuration.
func (w Why) String() string {
	var s []string
	for i, name := range [...]string{"quota", "age", "thin", "dead letters full"} {
		if w&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	if w >= whyEnd || w == 0 {
		s = append(s, fmt.Sprintf("unknown (%d)", uint8(w)))
	}
	return strings.Join(s, "+")
}

// Gap is what was dropped: how many events, the times of the first and the last of them in
// milliseconds since the Unix epoch (0 = could not be read), and why.
type Gap struct {
	Events      uint64
	First, Last int64
	Why         Why
}

// add takes another gap into this one.
func (g *Gap) add(o Gap) {
	if o.Events == 0 {
		return
	}
	if o.First != 0 && (g.First == 0 || o.First < g.First) {
		g.First = o.First
	}
	if o.Last != 0 && (g.Last == 0 || o.Last > g.Last) {
		g.Last = o.Last
	}
	g.Events += o.Events
	g.Why |= o.Why
}

// see takes an event that is given up into the gap.
func (g *Gap) see(time int64) { g.add(Gap{Events: 1, First: time, Last: time}) }

// tell says that events have given way.
func (q *Queue) tell(g Gap) {
	if q.o.Dropped != nil && g.Events > 0 {
		q.o.Dropped(g)
	}
}

// Rejected is since when, and when last, events were refused for want of room (RejectNew); zero:
// none was in this process's life.
type Rejected struct{ Since, Last time.Time }

// rejectedPause is how long nothing is refused before the next refusal is the first of others.
const rejectedPause = 10 * time.Minute

func (r *Rejected) note(now time.Time) {
	if r.Since.IsZero() || now.Sub(r.Last) > rejectedPause {
		r.Since = now
	}
	r.Last = now
}

// Room is the quota in bytes, or what Options.Floor leaves of it; 0 = unlimited. And it is what was
// refused because of it.
func (q *Queue) Room() (limit int64, r Rejected) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most, q.rejected
}

// AddGap has a gap reported by an event soon, as if the queue had dropped the events itself. They
// count elsewhere. A crash before that event is in the log forgets the gap.
func (q *Queue) AddGap(g Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gap.add(g)
}
