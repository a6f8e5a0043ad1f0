package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Data of an entity that the server does not have is acknowledged and dropped (wire contract 4.7). So when the creation of one is refused, its later
// events follow it into the dead-letter log, and are tried again from there only when the creation has been accepted (architecture, "Time limits").

// orphanReason is what stands on such a letter.
const orphanReason = "the creation of its entity was refused; it waits for that"

// orphanPause is how often the log is looked through while nothing but orphans waits in it.
const orphanPause = 30 * time.Second

// isCreation tells whether an event brings the entity into being that it is about.
func isCreation(e *wal.Event) bool {
	return proto.Action(e.Action) == proto.ActionAdded && proto.Kind(e.Kind).Barrier()
}

// loadUnborn finds the creations that were refused in an earlier life.
func (l *loop) loadUnborn() {
	err := l.Dead.Each(func(d *wal.DeadLetter) bool {
		if isCreation(&d.Event) {
			l.unborn[d.Entity] = d.Offset
		}
		return true
	})
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), time.Now())
	}
}

// orphan tells whether an event must follow a refused creation.
func (l *loop) orphan(e *wal.Event, offset uint64) bool {
	at, refused := l.unborn[e.Entity]
	return refused && offset > at
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
	e, ok := l.entry(b)
	if !ok {
		l.rewind(l.queue.Committed())
		return false
	}
	if !l.bury(e, orphanReason, false, now) {
		l.rewind(b.start)
		return false
	}
	l.reader.Seek(b.end)
	b.events, b.dead, b.state = 0, 1, acked
	l.push(b)
	l.commit(now)
	return true
}
