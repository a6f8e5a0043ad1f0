package sync

import (
	"errors"
	"fmt"
	"sync/atomic"

	"edgesync/proto"
	"edgesync/wal"
)

// ErrNoRoom: the cloud refuses to create the device, and the room for what waits for that is used
// up. The device is to try again later.
var ErrNoRoom = errors.New("the cloud refuses to create this device, and the room for its data is used up; send it again later")

// PartialError says that some events of several were stored, and the others were not for want of
// room. errors.Is finds ErrNoRoom in it.
type PartialError struct{ Stored, Refused int }

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d events are stored, %d are not: %v", e.Stored, e.Refused, ErrNoRoom)
}

// Unwrap returns ErrNoRoom.
func (e *PartialError) Unwrap() error { return ErrNoRoom }

// Room is the room for data of devices whose creations the cloud refuses. The loop says which those
// are and how much there is; an Intake takes of it. Safe for concurrent use.
type Room struct {
	waiting atomic.Pointer[map[proto.UUID]struct{}] // devices whose data waits; nil: there are none

	// Bytes and events taken over the life of the process, and how far each may go.
	bytes, events         atomic.Int64
	mostBytes, mostEvents atomic.Int64
	refused               atomic.Uint64 // events
}

// limited reports whether any creation is refused: one atomic load, on the way of every event.
func (r *Room) limited() bool { return r != nil && r.waiting.Load() != nil }

// take reports whether an event may enter the queue, and counts it if it is one that waits. What
// people change about entities always may: it is little, and all of it or nothing.
func (r *Room) take(e *proto.Event) bool {
	waiting := r.waiting.Load()
	if waiting == nil || e.Kind != proto.KindEntityData {
		return true
	}
	if _, ok := (*waiting)[e.Entity]; !ok {
		return true
	}
	size := wal.DeadSize(len(e.Fragment), 0)
	bytes, events := r.bytes.Add(size), r.events.Add(1)
	if bytes <= r.mostBytes.Load() && events <= r.mostEvents.Load() {
		return true
	}
	r.bytes.Add(-size)
	r.events.Add(-1)
	r.refused.Add(1)
	return false
}

// full reports whether nothing more of an ordinary size is taken.
func (r *Room) full() bool {
	return r.waiting.Load() != nil &&
		(r.bytes.Load()+roomForOne > r.mostBytes.Load() || r.events.Load()+1 > r.mostEvents.Load())
}

// roomForOne is an ordinary event as a dead letter, in bytes.
const roomForOne = 128

// roomAccount is how the loop keeps a Room. What the Intake has taken is counted twice until the
// loop has read it from the queue: so it asks at intervals what lies behind it.
type roomAccount struct {
	room *Room
	// Taken and moved to the dead letters for certain.
	bytes, events int64
	// When the reader reaches the offset mark, so much more is.
	mark                  uint64
	marked                bool
	markBytes, markEvents int64
	// Of the backlog that was there at the start, until the reader has passed the offset start.
	start                   uint64
	startBytes, startEvents int64
}

// tellRoom says to the Intake whose data waits and what room there is. Called once a turn.
func (l *loop) tellRoom() {
	a, d := &l.room, &l.dependents
	if !d.any() {
		if a.room.waiting.Load() != nil {
			a.room.waiting.Store(nil)
		}
		d.changed = false
		return
	}
	if len(l.sending.waiting) == 0 { // else not all that was read is there
		read := l.sending.reader.Position().Offset
		if read >= a.start {
			a.startBytes, a.startEvents = 0, 0
		}
		if a.marked && read >= a.mark {
			a.bytes, a.events, a.marked = a.markBytes, a.markEvents, false
		}
	}
	if !a.marked {
		// What is counted here may enter the queue a moment later, behind the mark; roomReserve is
		// there for it.
		a.markBytes, a.markEvents = a.room.bytes.Load(), a.room.events.Load()
		a.mark, a.marked = l.queue.End().Offset, true
	}
	share, use := l.deadLog.Room(wal.DeadCreation), l.deadLog.Use(wal.DeadCreation)
	if l.overflow.used {
		use = share // more than the share waits already
	}
	keep := share.Bytes / roomReserve
	a.room.mostBytes.Store(a.bytes + share.Bytes - keep - use.Bytes - a.startBytes)
	a.room.mostEvents.Store(a.events + int64(share.Letters-share.Letters/roomReserve-use.Letters) - a.startEvents)
	if !d.changed {
		return
	}
	d.changed = false
	waiting := make(map[proto.UUID]struct{}, len(d.creations))
	for id, c := range d.creations {
		if c.until == 0 {
			waiting[id] = struct{}{}
		}
	}
	a.room.waiting.Store(&waiting)
}

// countBacklog finds what the queue holds of devices whose creations are refused, at the start.
// Beyond roomLooked events it takes the whole room for used until the reader has passed them.
func (l *loop) countBacklog() error {
	a := &l.room
	if !l.dependents.any() {
		return nil
	}
	a.start = l.queue.End().Offset
	r := l.sending.reader // the queue's only one
	defer r.Seek(l.queue.Committed())
	looked := 0
	err := r.Read(func(e *wal.Entry) bool {
		if looked == roomLooked {
			a.startBytes = 1 << 40
			return false
		}
		looked++
		if l.dependents.has(e.Entity, e.Offset) && !l.deadLog.Has(e.Offset) {
			a.startBytes += wal.DeadSize(len(e.Fragment), 0)
			a.startEvents++
		}
		return true
	})
	return err
}
