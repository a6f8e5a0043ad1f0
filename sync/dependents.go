package sync

import (
	"maps"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Data of an entity that the server does not have is acknowledged and dropped (CONTRACT.md 4.7). So
// when the creation of an entity is refused, its later events, the dependents, follow it to the
// dead letters. When the creation has been accepted they go up one after the other, and what the
// entity does meanwhile queues up behind them, so that its order is kept.

// dependents are the entities whose creations were refused, each until its last dependent has left.
// It outlives sessions, and is bounded by the dead-letter log.
type dependents struct {
	creations map[proto.UUID]refusedCreation // by entity
}

// refusedCreation is the creation of an entity, refused once.
type refusedCreation struct {
	offset   uint64
	accepted bool // meanwhile
}

// dependentReason is the reason of a dependent. The log also holds it as older releases wrote it.
const (
	dependentReason      = "waits for the creation of its entity, which was refused"
	olderDependentReason = "the creation of its entity was refused; it waits for that"
)

// isCreation reports whether an event brings the entity into being that it is about.
func isCreation(e *wal.Event) bool {
	return proto.Action(e.Action) == proto.ActionAdded && proto.Kind(e.Kind).Barrier()
}

func newDependents() dependents {
	return dependents{creations: make(map[proto.UUID]refusedCreation)}
}

func (d *dependents) any() bool { return len(d.creations) > 0 }

// has reports whether an event of the entity at that offset must stand behind a refused creation.
func (d *dependents) has(entity proto.UUID, offset uint64) bool {
	if len(d.creations) == 0 {
		return false
	}
	c, refused := d.creations[entity]
	return refused && offset > c.offset
}

// waits reports whether a letter must stay because the creation of its entity is refused.
func (d *dependents) waits(letter *wal.DeadLetter) bool {
	return d.has(letter.Entity, letter.Offset) && !d.creations[letter.Entity].accepted
}

// refused notes that the creation of an entity was refused.
func (d *dependents) refused(entity proto.UUID, offset uint64) {
	d.creations[entity] = refusedCreation{offset: offset}
}

// delivered notes that the cloud took a letter.
func (d *dependents) delivered(letter *wal.DeadLetter) {
	c, ok := d.creations[letter.Entity]
	if ok && c.offset == letter.Offset {
		c.accepted = true
		d.creations[letter.Entity] = c
	}
}

// forget lets the events of entities whose creations are accepted go their ordinary way again, but
// for those with dependents left.
func (d *dependents) forget(left map[proto.UUID]bool) {
	for id, c := range d.creations {
		if c.accepted && !left[id] {
			delete(d.creations, id)
		}
	}
}

// keep forgets the creations of entities that are not here any more.
func (d *dependents) keep(here func(proto.UUID) bool) {
	maps.DeleteFunc(d.creations, func(id proto.UUID, _ refusedCreation) bool { return !here(id) })
}

// pause is how long the log need not be looked through while only dependents wait in it.
func (d *dependents) pause() time.Duration {
	for _, c := range d.creations {
		if c.accepted {
			return commitPause
		}
	}
	return dependentPause
}

// loadRefusedCreations finds what was refused in an earlier life.
func (l *loop) loadRefusedCreations() {
	known := l.dependents.creations
	err := l.deadLog.Each(func(d *wal.DeadLetter) bool {
		c, ok := known[d.Entity]
		switch {
		case isCreation(&d.Event):
			l.dependents.refused(d.Entity, d.Offset)
		case (d.Reason == dependentReason || d.Reason == olderDependentReason) && (!ok || c.accepted):
			known[d.Entity] = refusedCreation{accepted: true} // no creation lies before it, so that was accepted
		}
		return true
	})
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), time.Now())
	}
}

// picked is the letter to try next.
type picked struct {
	letter     wal.DeadLetter
	found      bool
	dependents bool // some are there that cannot go yet
}

// pickDeadLetter finds the letter to try next: a dependent whose creation is accepted, in their
// order, else the least tried.
func (l *loop) pickDeadLetter() (p picked, err error) {
	// Not before the commit that passed it is durable: after a crash the queue would still count as
	// pending what was delivered here.
	committed := l.queue.DurablyCommitted().Offset
	take := func(d *wal.DeadLetter) {
		p.letter, p.found = *d, true
		p.letter.Fragment = append([]byte(nil), d.Fragment...)
	}
	left := make(map[proto.UUID]bool) // entities with dependents
	dependent := false                // p.letter is one
	err = l.deadLog.Each(func(d *wal.DeadLetter) bool {
		if l.dependents.has(d.Entity, d.Offset) && l.retries.of(d) <= 1 {
			switch {
			case !l.dependents.creations[d.Entity].accepted:
				p.dependents = true
				return true
			case d.Offset > committed:
				left[d.Entity], p.dependents = true, true
				return true
			case !d.Resting:
				left[d.Entity] = true
				if !dependent {
					take(d)
					dependent = true
				}
				return true
			}
		}
		if !dependent && !d.Resting && d.Offset <= committed && (!p.found || l.retries.of(d) < l.retries.of(&p.letter)) {
			take(d)
		}
		return true
	})
	if err == nil {
		l.dependents.forget(left)
	}
	return p, err
}
