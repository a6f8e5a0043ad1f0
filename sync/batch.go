package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// batch is one UplinkMsg: consecutive events of the queue whose ranks do not fall, so that the
// server works them off in their order (CONTRACT.md 4.2). buf holds room for the message's head and
// then the fragments, one behind the other.
type batch struct {
	id         int32
	start, end wal.Position // events behind start, up to and including end
	buf        []byte
	events     int
	rank       uint8        // of the last event
	barrier    bool         // nothing else may be in flight beside it
	urgent     bool         // goes without waiting for more events
	closed     bool         // takes no more events
	creates    bool         // there is a creation in it
	births     []birth      // entities that it creates, if all of its events are about those
	created    int          // of them; -1: some of its events are about others
	inside     int          // events between its own that are in the dead-letter log
	attrs      []proto.UUID // entities whose attributes it updates
	opened     time.Time    // when its first event was taken
	sentAt     time.Time
	slot       int // of the window that it took when it left, from 1
	state      batchState
	reason     string       // of a refusal
	behind     passed       // what follows it and is not sent
	unmade     []proto.UUID // half-made devices whose creations are in it (halfmade.go)
	again      bool         // the cloud has acknowledged it before (repeat.go)
	gone       bool         // it holds data of an entity that the cloud has taken away (gone.go)
}

// birth is what a batch holds of an entity that it creates.
type birth struct {
	entity proto.UUID
	rank   uint8 // of the last event
}

// passed are the events directly behind a batch that are not sent: they are in the dead-letter log,
// or cannot be read any more. They are committed with the batch.
type passed struct {
	end   wal.Position // zero: there are none
	dead  int          // of them in the dead-letter log
	slots int          // of the window that they take: after a refusal they are passed again
}

type batchState uint8

const (
	inFlight batchState = iota
	acked
	refused
)

func (b *batch) empty() bool { return b.events == 0 }

func (b *batch) fragments() int { return len(b.buf) - proto.UplinkHeader }

// passes is the position up to which the committed offset moves with the batch: over what was set
// aside behind it too.
func (b *batch) passes() wal.Position {
	if b.behind.end.Offset != 0 {
		return b.behind.end
	}
	return b.end
}

func (b *batch) reset(at wal.Position) {
	*b = batch{start: at, end: at, buf: append(b.buf[:0], make([]byte, proto.UplinkHeader)...), attrs: b.attrs[:0], births: b.births[:0]}
}

// limits of a batch, as they are now.
type limits struct {
	events int
	server int // bytes of a RequestMsg
}

// take adds an event if it may stand in this batch behind the others; false closes the batch.
func (b *batch) take(e *wal.Entry, l limits, now time.Time) bool {
	kind, action := proto.Kind(e.Kind), proto.Action(e.Action)
	rank := kind.Rank()
	attribute := isAttribute(action)
	size := b.fragments() + len(e.Fragment)
	creation := isCreation(&e.Event)
	order, born := b.follows(e, rank, creation)
	switch {
	case b.closed:
		return false
	case b.empty():
	case b.events >= l.events, size > batchBytes, proto.RequestSize(size, maxID) > l.server, !order,
		b.creates && !kind.Barrier(), // data waits until the creation is proved (proof.go)
		kind.Barrier() && !b.barrier, // in front of a barrier everything else must be through
		attribute && b.updates(e.Entity):
		b.closed = true
		return false
	}
	if b.empty() {
		b.opened = now
		b.barrier = kind.Barrier()
	}
	b.buf = append(b.buf, e.Fragment...)
	b.events++
	b.rank = max(b.rank, rank)
	b.end = e.Position
	b.creates = b.creates || creation
	switch {
	case born >= 0:
		b.births[born].rank = rank
	case creation && len(b.births) == b.created:
		b.births = append(b.births, birth{e.Entity, rank})
		b.created++
	default:
		b.births, b.created = b.births[:0], -1
	}
	if attribute {
		b.attrs = append(b.attrs, e.Entity)
	}
	if attribute || b.barrier || kind == proto.KindRPC {
		b.urgent = true
	}
	if b.events >= l.events || b.fragments() >= batchBytes {
		b.closed = true
	}
	return true
}

// follows reports whether the server keeps the order of an event and those in the batch: it works a
// batch off by ranks (CONTRACT.md 4.2). Devices that are created one behind the other, each with
// its credentials and its relation, may go together, for the server keeps the order of each. born
// is the index of the entity among births, or -1.
func (b *batch) follows(e *wal.Entry, rank uint8, creation bool) (order bool, born int) {
	if b.created > 0 {
		for i := range b.births {
			if b.births[i].entity == e.Entity {
				return rank >= b.births[i].rank && (rank >= b.rank || proto.Kind(e.Kind).Barrier()), i
			}
		}
		if creation && proto.Kind(e.Kind) == proto.KindDevice {
			return true, -1
		}
	}
	return rank >= b.rank, -1
}

func (b *batch) updates(entity proto.UUID) bool {
	for i := range b.attrs {
		if b.attrs[i] == entity {
			return true
		}
	}
	return false
}

// isAttribute reports whether an event writes attributes. The server may apply two such writes of
// one key in either order (CONTRACT.md 4.3), so they never travel together. The entity decides,
// because the key stands inside the fragment.
func isAttribute(a proto.Action) bool {
	return a == proto.ActionAttributesUpdated || a == proto.ActionPostAttributes || a == proto.ActionAttributesDeleted
}
