package sync

import (
	"context"
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/wal"
)

// A backlog of devices that the cloud then refuses to create may be larger than the dead-letter
// log: nobody knew of the refusal when it was accepted. What the log's share for it cannot take
// goes to the overflow, which is a queue of its own, and costs no memory:
//
//	storeAside      dependents to the log; beyond its share, and behind others that are there, to
//	                the overflow, in batches
//	maybeReturn     once the cloud has a device, and its dependents in the log have gone, its
//	                events return to the queue, in order, behind what waits there
//	dropGivenUp     those of a creation that somebody dropped go with it
//
// From when the refusal is known the door refuses new data of such devices where the log's share is
// used up (room.go), so that the overflow does not grow by what comes later.

// overflow is what the loop knows of the overflow. It outlives sessions.
type overflow struct {
	store *former.Store // nil: there is none, and the dead-letter log pushes out its oldest
	used  bool          // something may be there
	due   time.Time     // of the next look at what can return
}

func newOverflow(s *former.Store, now time.Time) overflow {
	o := overflow{store: s}
	if s != nil && s.Any() {
		o.used, o.due = true, now
	}
	return o
}

// has reports whether an event of the queue is in the overflow: it is read once more.
func (o *overflow) has(e *wal.Entry) bool {
	return o.store != nil && proto.Kind(e.Kind) == proto.KindEntityData && o.store.Has(&e.Event, e.Offset)
}

// dividedAside is what of the events set aside goes to the dead-letter log, and what to the
// overflow.
func (l *loop) dividedAside() (letters []wal.DeadLetter, over []former.Event) {
	waiting := l.sending.waiting
	if l.overflow.store == nil {
		return waiting, nil
	}
	share, use := l.deadLog.Room(wal.DeadCreation), l.deadLog.Use(wal.DeadCreation)
	bytes := use.Bytes
	for i := range waiting {
		bytes += wal.DeadSize(len(waiting[i].Fragment), len(waiting[i].Reason))
	}
	if bytes <= share.Bytes && use.Letters+len(waiting) <= share.Letters && !l.overflow.used {
		return waiting, nil
	}
	for i := range waiting {
		d := &waiting[i]
		if d.Pinned || proto.Kind(d.Kind) != proto.KindEntityData || len(d.Fragment) > former.MaxFragment {
			letters = append(letters, *d)
		} else {
			over = append(over, former.Event{Event: d.Event, Offset: d.Offset})
		}
	}
	return letters, over
}

// putAside writes what was set aside.
func (l *loop) putAside(now time.Time) error {
	letters, over := l.dividedAside()
	if len(over) > 0 {
		err := l.overflow.store.Put(context.Background(), over)
		switch {
		case errors.Is(err, wal.ErrFull):
			l.complain("the room for data of devices that the cloud refuses is used up (queue.max_bytes); the oldest is dropped", "", now)
			letters = l.sending.waiting
		case err != nil:
			return err
		default:
			l.overflow.used = true
			if l.overflow.due.IsZero() {
				l.overflow.due = now.Add(overflowPause)
			}
		}
	}
	if len(letters) == 0 {
		return nil
	}
	return l.deadLog.PutAll(letters)
}

// maybeReturn has events return to the queue whose entities the cloud has by now.
func (l *loop) maybeReturn(now time.Time) {
	o := &l.overflow
	if o.store == nil || o.due.IsZero() || now.Before(o.due) {
		return
	}
	if !o.store.Any() {
		o.used, o.due = false, time.Time{}
		return
	}
	o.due = now.Add(overflowPause)
	busy := l.conn.state != Connected || l.syncing.running || l.former.active || len(l.sending.waiting) > 0
	if busy || l.queue.Stats().Pending > returnPending {
		return
	}
	n, more, err := o.store.Return(former.Target{
		Edge: edgeOf(l.reg.Edge()), Same: true,
		Find: func(_, _ string, id proto.UUID) (proto.UUID, bool) {
			_, waits := l.dependents.creations[id]
			return id, !waits
		},
		Append: takeBack(l.queue, l.clock.Now),
	})
	if err != nil {
		l.complain("data of devices that the cloud has by now cannot return to the queue yet", err.Error(), now)
		return
	}
	if n > 0 || more {
		o.due = now.Add(commitPause)
		l.sending.more = true
	}
}
