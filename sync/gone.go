package sync

import (
	"bytes"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// The server acknowledges data of an entity that was deleted there, and drops them without a sign
// (CONTRACT.md 4.7, 13.7). That an entity is gone shows in a deletion that comes down, or at the
// end of a sync that did not bring it. From then on what waits of its data counts as refused. The
// data are sent all the same, because a deletion and an unassignment look alike (CONTRACT.md 6.3),
// and of an entity that is only unassigned the server stores them. When they are acknowledged they
// go to the dead letters and rest there: a person who knows more drops them, or sends them again.
//
// Data that were acknowledged after the entity was there for certain, and before its end showed,
// count as deployed; so do those that are sent after a restart of the agent that came in between.
// Which of them the server has dropped cannot be known.

// goneReason is the reason of a dead letter whose entity is gone.
const goneReason = "the cloud has acknowledged it, but its entity is not this edge's any more:" +
	" the cloud has dropped it if the entity was deleted, and has it if the entity was unassigned"

// isGone reports whether an event holds data of an entity that the cloud has taken away.
func (l *loop) isGone(e *wal.Event) bool {
	return proto.Kind(e.Kind) == proto.KindEntityData && l.reg.TakenAway(e.Entity)
}

// moveGone puts the acknowledged events of a batch whose entities are gone into the dead-letter
// log, in one write, and returns how many there are. If the medium refuses, they count as deployed.
func (l *loop) moveGone(b *batch, now time.Time) int {
	var letters []wal.DeadLetter
	r := l.queue.Past(b.start.Offset)
	defer r.Close()
	err := r.Read(func(e *wal.Entry) bool {
		if e.Offset > b.end.Offset {
			return false
		}
		if !l.isGone(&e.Event) || l.dependents.has(e.Entity, e.Offset) || l.deadLog.Has(e.Offset) {
			return true
		}
		d := wal.DeadLetter{
			Event: e.Event, Offset: e.Offset, Reason: goneReason, Tries: 1, At: now, Resting: true, Class: wal.DeadRefused,
		}
		d.Fragment = bytes.Clone(e.Fragment)
		if date, _ := l.date(e); date != e.Time {
			proto.SetTime(d.Fragment, e.Time, date)
			d.Time = date
		}
		letters = append(letters, d)
		return true
	})
	if err == nil {
		err = l.deadLog.PutAll(letters)
	}
	if err != nil {
		l.complain("events of entities that are gone cannot be moved to the dead-letter log, and count as deployed", err.Error(), now)
		return 0
	}
	if len(letters) > 0 {
		l.complain("the cloud acknowledges events of an entity that is not this edge's any more; they are in the dead-letter log",
			proto.FormatUUID(letters[0].Entity), now, "events", len(letters))
	}
	return min(len(letters), b.events)
}
