package sync

import (
	"context"
	"fmt"
	gosync "sync"

	"edgesync/proto"
	"edgesync/wal"
)

// Intake is where events of the doors enter: rules first (none in this release), then the queue. Safe for concurrent use.
type Intake struct {
	queue *wal.Queue
	pool  gosync.Pool // of *[]wal.Event
}

// NewIntake returns an intake in front of q.
func NewIntake(q *wal.Queue) *Intake {
	return &Intake{queue: q, pool: gosync.Pool{New: func() any { return new([]wal.Event) }}}
}

// Accept returns nil when all events are durable; on any error none of them counts as accepted. Errors wrap those of wal.
func (i *Intake) Accept(ctx context.Context, events []proto.Event) error {
	p := i.pool.Get().(*[]wal.Event)
	batch := (*p)[:0]
	for k := range events {
		e := &events[k]
		batch = append(batch, wal.Event{Kind: uint8(e.Kind), Action: uint8(e.Action), Time: e.Time, Entity: e.Entity, Fragment: e.Fragment})
	}
	err := i.queue.Append(ctx, batch...)
	clear(batch) // the fragments are the caller's
	*p = batch
	i.pool.Put(p)
	if err != nil {
		return fmt.Errorf("accept %d events: %w", len(events), err)
	}
	return nil
}
