package sync

import (
	"maps"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/sync/plain"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// Data of an entity that the server does not have is acknowledged and dropped (CONTRACT.md 4.7). So
// when the creation of an entity is refused, its later events, the dependents, follow it to the
// dead letters. When the creation has been accepted they go up in their order, and what the entity
// does meanwhile queues up behind them, so that its order is kept.
//
// The dependents that one turn meets are written together, in one write (uplink.go, storeAside).
// The batch that is being filled goes on around them, so that they slow nobody down.

// dependents are the entities whose creations were refused, each until its last dependent has left.
// It outlives sessions, and is bounded by the dead-letter log.
type dependents struct {
	creations map[proto.UUID]refusedCreation // by entity
	changed   bool                           // since tellOfRefused looked last

	// refusals is how many creations were refused since one was accepted, at most refusedInARow:
	// then those that follow are not tried from the queue (aside.go).
	refusals int
	cause    string // of the last refusal
}

// refusedCreation is the creation of an entity, refused once.
type refusedCreation struct {
	offset   uint64
	name     string // of what it creates, if it has one, bounded
	accepted bool   // meanwhile
	told     bool   // the cloud was found to refuse it; else it is only to be proved (proof.go)
	until    uint64 // somebody gave it up: its dependents up to this offset are to go too; else 0
}

// dependentReason is the reason of a dependent. A dead letter of its class without a reason is one;
// older releases wrote one of the two texts.
const (
	dependentReason      = "waits for the creation of its entity, which was refused"
	olderDependentReason = "the creation of its entity was refused; it waits for that"
)

// isCreation reports whether an event brings the entity into being that it is about.
func isCreation(e *wal.Event) bool { return creates(e.Kind, e.Action) }

func creates(kind, action uint8) bool {
	return proto.Action(action) == proto.ActionAdded && proto.Kind(kind).Barrier()
}

// isDependentLetter reports whether a dead letter was put there as a dependent.
func isDependentLetter(d *wal.DeadLetter) bool {
	return d.Class == wal.DeadCreation && !d.Pinned && d.Reason == "" || d.Reason == dependentReason || d.Reason == olderDependentReason
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
	return refused && offset > c.offset && (c.until == 0 || offset <= c.until)
}

// waits reports whether a letter must stay because the creation of its entity is refused.
func (d *dependents) waits(entity proto.UUID, offset uint64) bool {
	return d.has(entity, offset) && !d.creations[entity].accepted
}

// refused notes that the creation of an entity was refused. A crash may have had it announced
// twice: then everything waits for the first one.
func (d *dependents) refused(entity proto.UUID, offset uint64) {
	d.changed = true
	if c, ok := d.creations[entity]; ok && !c.accepted && c.until == 0 && c.offset <= offset {
		c.told = true
		d.creations[entity] = c
		return
	}
	d.creations[entity] = refusedCreation{offset: offset, name: d.creations[entity].name, told: true}
}

// taken notes that the cloud has answered the creation of an entity with success, which is to be
// proved.
func (d *dependents) taken(entity proto.UUID, offset uint64) {
	d.changed = true
	if c, ok := d.creations[entity]; !ok || c.accepted || c.until != 0 {
		d.creations[entity] = refusedCreation{offset: offset, name: c.name}
	}
}

// await reports whether the creation of an entity waits to be taken by the cloud, or to be proved.
func (d *dependents) await(entity proto.UUID) bool {
	c, ok := d.creations[entity]
	return ok && !c.accepted && c.until == 0
}

// named notes what a creation creates.
func (d *dependents) named(entity proto.UUID, fragment []byte) {
	if c, ok := d.creations[entity]; ok && len(d.creations) <= namedCreations {
		c.name = createdName(fragment)
		d.creations[entity] = c
	}
}

// refusedFor notes why the cloud refused a creation. A hopeless text is about that one only.
func (d *dependents) refusedFor(text string, hopeless bool) {
	d.cause, d.changed = link.FirstLine(text), true
	if !hopeless {
		d.refusals = min(refusedInARow, d.refusals+1)
	}
}

// delivered notes that the cloud took a letter.
func (d *dependents) delivered(letter *wal.DeadLetter) {
	c, ok := d.creations[letter.Entity]
	if ok && c.offset == letter.Offset {
		c.accepted = true
		d.creations[letter.Entity] = c
		d.changed = true
	}
}

// gaveUp notes that somebody dropped a creation. What its entity did up to the offset end is given
// up with it.
func (d *dependents) gaveUp(entity proto.UUID, end uint64) {
	if c, ok := d.creations[entity]; ok {
		c.until = end
		d.creations[entity] = c
		d.changed = true
	}
}

// forget lets the events of entities whose creations are accepted go their ordinary way again, but
// for those with dependents left.
func (d *dependents) forget(left map[proto.UUID]struct{}) {
	for id, c := range d.creations {
		if _, waits := left[id]; c.accepted && !waits {
			delete(d.creations, id)
			d.changed = true
		}
	}
}

// keep forgets the creations of entities that are not here any more.
func (d *dependents) keep(here func(proto.UUID) bool) {
	maps.DeleteFunc(d.creations, func(id proto.UUID, _ refusedCreation) bool { return !here(id) })
	d.changed = true
}

// createdName is the name in the JSON of what a fragment creates; "" if there is none.
func createdName(fragment []byte) string {
	var u proto.UplinkMsg
	if pb.Unmarshal(fragment, &u) != nil {
		return ""
	}
	entity := ""
	switch {
	case len(u.GetDeviceUpdateMsg()) == 1:
		entity = u.GetDeviceUpdateMsg()[0].GetEntity()
	case len(u.GetAssetUpdateMsg()) == 1:
		entity = u.GetAssetUpdateMsg()[0].GetEntity()
	case len(u.GetEntityViewUpdateMsg()) == 1:
		entity = u.GetEntityViewUpdateMsg()[0].GetEntity()
	case len(u.GetDashboardUpdateMsg()) == 1:
		entity = u.GetDashboardUpdateMsg()[0].GetEntity()
	default:
		return ""
	}
	return plain.Cut(nameIn(entity), createdNameBytes)
}

// loadRefusedCreations finds what was refused in an earlier life.
func (l *loop) loadRefusedCreations() {
	d := &l.dependents
	stuck := make(map[uint64]bool) // dependents that rest, as older releases left them
	err := l.deadLog.Each(func(letter *wal.DeadLetter) bool {
		c, ok := d.creations[letter.Entity]
		switch {
		case isCreation(&letter.Event) && letter.Reason == takenReason:
			l.recallTaken(letter)
			d.named(letter.Entity, letter.Fragment)
		case isCreation(&letter.Event):
			d.refused(letter.Entity, letter.Offset)
			d.named(letter.Entity, letter.Fragment)
			if letter.Reason != creationAside {
				d.refusedFor(letter.Reason, letter.Resting)
				l.proofs.silent = l.proofs.silent || letter.Reason == silentReason
			}
		case isDependentLetter(letter):
			if !ok || c.accepted {
				d.creations[letter.Entity] = refusedCreation{accepted: true} // no creation lies before it, so that was accepted
			}
			if letter.Resting {
				stuck[letter.Offset] = true
			}
		}
		return true
	})
	if err == nil && len(stuck) > 0 {
		_, err = l.deadLog.Revive(func(offset uint64) bool { return stuck[offset] })
	}
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), time.Now())
	}
	d.changed = true
}

// dropGivenUp discards what is left of the dependents of creations that somebody gave up, as far as
// the commit that passed them is durable.
func (l *loop) dropGivenUp(now time.Time) {
	d := &l.dependents
	given := false
	for _, c := range d.creations {
		given = given || c.until != 0
	}
	if !given {
		return
	}
	gone, left := make(map[uint64]bool), make(map[proto.UUID]struct{})
	durable := l.queue.DurablyCommitted().Offset
	l.deadLog.Entries(func(e *wal.DeadEntry) bool {
		switch c := d.creations[e.Entity]; {
		case c.until == 0 || e.Class != wal.DeadCreation || !d.has(e.Entity, e.Offset):
		case e.Offset <= durable:
			gone[e.Offset] = true
		default:
			left[e.Entity] = struct{}{}
		}
		return true
	})
	n, err := l.deadLog.Discard(func(o uint64) bool { return gone[o] })
	if l.tally.Note(tally.Person, uint64(max(n, 0)), 0, 0); err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
		return
	}
	var ids []proto.UUID
	for id, c := range d.creations {
		if _, waits := left[id]; c.until != 0 && !waits && c.until <= durable {
			ids = append(ids, id)
		}
	}
	if l.overflow.store != nil {
		n, err := l.overflow.store.GiveUp(ids)
		if l.tally.Note(tally.Person, n, 0, 0); err != nil {
			l.complain("the overflow cannot be written", err.Error(), now)
			return
		}
	}
	for _, id := range ids {
		delete(d.creations, id)
	}
	d.changed = true
}
