package sync

import (
	"context"
	"errors"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// Former is what people see of the events of former edges.
type Former struct {
	Edge     string `json:"edge"`     // name and id of the edge; of several the one with the most events
	Events   uint64 `json:"events"`   // kept apart; they are among Snapshot.Dead
	Entities int    `json:"entities"` // that they are of
	Moving   bool   `json:"moving"`   // the queue is still looked through for them
	Command  string `json:"command"`  // that helps
}

// formerCommand is what sends the events of a former edge on.
const formerCommand = "edgesync dead retry --by-name"

// maxLeft bounds the entities that a list of what is kept names.
const maxLeft = 50

var errNoFormer = errors.New("this agent keeps no events of former edges")

// FormerEvents lists what is kept of former edges: at most 50 entities, those with the most events
// first.
func (d Dead) FormerEvents(context.Context) ([]former.Left, former.Stats, error) {
	if d.a.Former == nil {
		return nil, former.Stats{}, errNoFormer
	}
	return d.a.Former.List(maxLeft), d.a.Former.Stats(nil), nil
}

// RetryByName sends events of former edges to the entities of the same type and name that are here
// now: they enter the queue behind what waits there. One call looks at a bounded number of events;
// more says that there are others to look at. busy says that the queue has enough to do for now:
// call again once it has been sent.
func (d Dead) RetryByName(context.Context) (n int, more, busy bool, err error) {
	a := d.a
	if a.Former == nil {
		return 0, false, false, errNoFormer
	}
	edge := a.Registry.Edge()
	if edge == nil || !a.Registry.Synced() {
		return 0, false, false, errors.New("this edge has not been synchronised yet, so nobody knows which devices it has; try again later")
	}
	if a.Queue.Stats().Pending > returnPending {
		return 0, true, true, nil
	}
	named := make(map[string]proto.UUID)
	a.Registry.Named(func(id proto.UUID, entityType, name string) bool {
		named[entityType+"\x00"+name] = id
		return true
	})
	n, more, err = a.Former.Return(former.Target{
		Edge: edgeOf(edge),
		Find: func(entityType, name string, id proto.UUID) (proto.UUID, bool) {
			if a.Registry.Knows(id) {
				return id, true
			}
			id, ok := named[entityType+"\x00"+name]
			return id, ok
		},
		Append: takeBack(a.Queue, a.Clock.Now),
	})
	return n, more, false, err
}

// takeBack makes events that return durable in the queue.
func takeBack(q *wal.Queue, now func() int64) func(events ...wal.Event) error {
	return func(events ...wal.Event) error {
		ctx, cancel := context.WithTimeout(context.Background(), announceLimit)
		defer cancel()
		for i := range events { // they are accepted now: queue.max_age counts from here
			events[i].Time = now()
		}
		return q.Append(ctx, events...)
	}
}

// DropFormer gives up all events of former edges, and counts them as dropped.
func (d Dead) DropFormer(context.Context) (uint64, error) {
	if d.a.Former == nil {
		return 0, errNoFormer
	}
	n, err := d.a.Former.Drop()
	d.a.Tally.Note(tally.Person, n, 0, 0)
	return n, err
}
