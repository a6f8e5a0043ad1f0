package sync

import (
	"errors"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// A server on which the edge was deleted saves a device that is made here, assigns it to nobody,
// and refuses (CONTRACT.md 2.6, 4.2). Sent again, to the edge that was made anew, the creation
// would be an update, which assigns nothing. So such a device is half-made, which is durable, and
// its next creation goes up behind its deletion, in one uplink: the server works them off in that
// order. Nothing is lost with what is deleted, because all data of the device stands behind its
// creation.

// halfMade are the devices whose creation in the queue goes behind a deletion: by id the offset of
// that creation, which is the first that was read, for another one would delete data. It outlives
// sessions, and is bounded by the devices that the registry says are half-made.
type halfMade map[proto.UUID]uint64

// edgeGone notes the devices whose creations a server without this edge has refused.
func (l *loop) edgeGone(creations []proto.UUID, now time.Time) {
	l.setHalfMade(creations, true, now)
}

// setHalfMade makes durable whether devices are half-made, with one fsync for all of them.
func (l *loop) setHalfMade(list []proto.UUID, half bool, now time.Time) {
	if len(list) == 0 {
		return
	}
	var err error
	for _, id := range list {
		err = errors.Join(err, l.reg.SetHalfMade(id, half))
	}
	if err := errors.Join(err, l.reg.Flush()); err != nil {
		l.complain("the registry cannot be written", err.Error(), now)
	}
}

// creationsIn lists the devices whose creations a batch holds.
func (l *loop) creationsIn(b *batch, now time.Time) (list []proto.UUID) {
	l.sending.reader.Seek(b.start)
	err := l.sending.reader.Read(func(e *wal.Entry) bool {
		if e.Offset > b.end.Offset {
			return false
		}
		if isDeviceCreation(&e.Event) {
			list = append(list, e.Entity)
		}
		return true
	})
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
	}
	return list
}

// unmake puts the deletion of a half-made device in front of its creation, the last fragment of the
// open batch.
func (l *loop) unmake(e *wal.Event, offset uint64, fragment []byte) {
	if !isDeviceCreation(e) || !l.reg.HalfMade(e.Entity) {
		return
	}
	if first, ok := l.halfMade[e.Entity]; ok && first != offset {
		return
	}
	l.halfMade[e.Entity] = offset
	b := l.sending.open
	b.buf = slices.Insert(b.buf, len(b.buf)-len(fragment), deletionOf(e.Entity)...)
	b.unmade = append(b.unmade, e.Entity)
}

// isDeviceCreation reports whether an event brings a device into being.
func isDeviceCreation(e *wal.Event) bool {
	return isCreation(e) && proto.Kind(e.Kind) == proto.KindDevice
}

func deletionOf(id proto.UUID) []byte {
	return proto.AppendUpdate(nil, proto.KindDevice, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, id, "")
}

// made notes that the cloud has taken the creations of half-made devices. It comes before the
// commit that passes them, so that no other creation of such a device is taken for the first one.
func (l *loop) made(list []proto.UUID, now time.Time) {
	l.setHalfMade(list, false, now)
	for _, id := range list {
		delete(l.halfMade, id)
	}
}
