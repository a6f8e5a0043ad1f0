package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Data of an entity that the server does not have is acknowledged and dropped (wire contract 4.7). So when the creation of one is refused, its later
// events follow it into the dead-letter log, the orphans. When the creation has been accepted they go up one after the other, and what the entity
// does meanwhile queues up behind them, so that its order is kept.

// unborn is an entity whose creation was refused, until the last orphan has left.
type unborn struct {
	creation uint64 // offset
	born     bool   // accepted meanwhile
}

// orphanReason is what stands on the letter of an orphan.
const orphanReason = "the creation of its entity was refused; it waits for that"

// orphanPause is how often the log is looked through while nothing but orphans waits in it.
const orphanPause = 30 * time.Second

// isCreation tells whether an event brings the entity into being that it is about.
func isCreation(e *wal.Event) bool {
	return proto.Action(e.Action) == proto.ActionAdded && proto.Kind(e.Kind).Barrier()
}

// loadUnborn finds what was refused in an earlier life.
func (l *loop) loadUnborn() {
	err := l.Dead.Each(func(d *wal.DeadLetter) bool {
		u, known := l.unborn[d.Entity]
		switch {
		case isCreation(&d.Event):
			l.unborn[d.Entity] = unborn{creation: d.Offset}
		case d.Reason == orphanReason && (!known || u.born):
			l.unborn[d.Entity] = unborn{born: true} // else the creation would stand before it
		}
		return true
	})
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), time.Now())
	}
}

// orphan tells whether an event of the queue must go behind a refused creation.
func (l *loop) orphan(e *wal.Event, offset uint64) bool {
	u, refused := l.unborn[e.Entity]
	return refused && offset > u.creation
}

// pickLetter finds the letter to try next: an orphan whose entity is born, in their order, else the least tried. waits tells that orphans
// are there which cannot go yet.
func (l *loop) pickLetter() (pick wal.DeadLetter, found, waits bool, err error) {
	// Not before the commit that passed it is durable: after a crash the queue would still count as pending what was delivered here.
	committed := l.queue.DurablyCommitted().Offset
	take := func(d *wal.DeadLetter) {
		pick, found = *d, true
		pick.Fragment = append([]byte(nil), d.Fragment...)
	}
	left := make(map[proto.UUID]bool)
	first := false // pick is an orphan
	err = l.Dead.Each(func(d *wal.DeadLetter) bool {
		if l.orphan(&d.Event, d.Offset) && l.triesOf(d) <= 1 {
			switch {
			case !l.unborn[d.Entity].born:
				waits = true
				return true
			case d.Offset > committed:
				left[d.Entity], waits = true, true
				return true
			case !d.Resting:
				left[d.Entity] = true
				if !first {
					take(d)
					first = true
				}
				return true
			}
		}
		if !first && !d.Resting && d.Offset <= committed && (!found || l.triesOf(d) < l.triesOf(&pick)) {
			take(d)
		}
		return true
	})
	if err == nil {
		l.forgetBorn(left)
	}
	return pick, found, waits, err
}

// forgetBorn lets the events of entities that are born go their ordinary way again, but for those with orphans left.
func (l *loop) forgetBorn(left map[proto.UUID]bool) {
	for id, u := range l.unborn {
		if u.born && !left[id] {
			delete(l.unborn, id)
		}
	}
}

// orphanWait is how long the log need not be looked through while only orphans wait in it.
func (l *loop) orphanWait() time.Duration {
	for _, u := range l.unborn {
		if u.born {
			return time.Second // for a commit to be durable
		}
	}
	return orphanPause
}

// letterDelivered notes that the cloud took a letter.
func (l *loop) letterDelivered(d *wal.DeadLetter, now time.Time) {
	u, ok := l.unborn[d.Entity]
	if ok && u.creation == d.Offset {
		l.unborn[d.Entity] = unborn{d.Offset, true}
	}
	if ok && l.unborn[d.Entity].born {
		l.deadDue = now // the next orphan at once
	}
}

// takeOrphan puts an event that must follow a refused creation into a batch of its own, which is never sent.
func (l *loop) takeOrphan(e *wal.Entry, now time.Time) bool {
	b := l.open
	if !b.empty() || b.orphan {
		b.closed = true
		return false
	}
	b.orphan, b.closed, b.events, b.end, b.opened = true, true, 1, e.Position, now
	return true
}

// parkOrphan moves it to the dead-letter log and passes it.
func (l *loop) parkOrphan(b *batch, now time.Time) bool {
	return l.parkOpen(b, false, now, func(*wal.Entry) string { return orphanReason })
}
