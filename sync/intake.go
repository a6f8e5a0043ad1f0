package sync

import (
	"context"
	"fmt"
	gosync "sync"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal"
)

// Intake is where events of the doors enter: rules first (none in this release), then the queue. Safe for concurrent use.
type Intake struct {
	queue *wal.Queue
	cache Cache
	seen  func(events []proto.Event) // what came, once it is durable; nil: nobody looks
	pool  gosync.Pool                // of *[]wal.Event
}

// Cache lets a device read back at once what it wrote; *registry.Registry is one.
type Cache interface {
	// Posted takes client attributes of a device that are in the queue. An error tells that they could not be kept; the cloud gets them
	// all the same.
	Posted(id proto.UUID, p *proto.PostAttributeMsg) error
}

// NewIntake returns an intake in front of q.
func NewIntake(q *wal.Queue) *Intake {
	return &Intake{queue: q, pool: gosync.Pool{New: func() any { return new([]wal.Event) }}}
}

// Remember makes i show c what devices write, from now on. Before the doors open.
func (i *Intake) Remember(c Cache) { i.cache = c }

// Observe lets f see all events that were accepted, from now on. It is called by many goroutines at once and must not keep the events.
// Before the doors open.
func (i *Intake) Observe(f func(events []proto.Event)) { i.seen = f }

// End is the Seq of the newest event that is in the queue.
func (i *Intake) End() uint64 { return i.queue.End().Seq }

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
	if i.seen != nil {
		i.seen(events)
	}
	if i.cache != nil {
		for k := range events {
			if events[k].Action == proto.ActionPostAttributes && events[k].Kind == proto.KindEntityData {
				i.remember(&events[k])
			}
		}
	}
	return nil
}

// remember shows the cache the attributes of an event. It is in the queue, so nothing that goes wrong here may be told to the device.
func (i *Intake) remember(e *proto.Event) {
	var u proto.UplinkMsg
	if pb.Unmarshal(e.Fragment, &u) != nil {
		return
	}
	for _, d := range u.GetEntityData() {
		if p := d.GetPostAttributesMsg(); p != nil && d.GetEntityType() == proto.DeviceEntity {
			_ = i.cache.Posted(e.Entity, p)
		}
	}
}
