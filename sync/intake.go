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
	p := i.frame(events)
	err := i.queue.Append(ctx, *p...)
	i.release(p)
	if err != nil {
		return fmt.Errorf("accept %d events: %w", len(events), err)
	}
	return nil
}

// Submit is Accept without waiting for the medium: done is called once, in the order in which events were taken, from the queue's own
// goroutine, and must not block. If Submit returns an error done is not called. It waits only while the group commit before is full;
// ctx bounds that. The events and their fragments are the caller's again when it returns.
func (i *Intake) Submit(ctx context.Context, events []proto.Event, done func(error)) error {
	p := i.frame(events)
	err := i.queue.Submit(ctx, *p, done)
	i.release(p)
	if err != nil {
		return fmt.Errorf("accept %d events: %w", len(events), err)
	}
	return nil
}

// frame puts events into the queue's words, in a pooled slice.
func (i *Intake) frame(events []proto.Event) *[]wal.Event {
	p := i.pool.Get().(*[]wal.Event)
	batch := (*p)[:0]
	for k := range events {
		e := &events[k]
		batch = append(batch, wal.Event{Kind: uint8(e.Kind), Action: uint8(e.Action), Time: e.Time, Entity: e.Entity, Fragment: e.Fragment})
	}
	*p = batch
	return p
}

func (i *Intake) release(p *[]wal.Event) {
	clear(*p) // the fragments are the caller's
	i.pool.Put(p)
}
