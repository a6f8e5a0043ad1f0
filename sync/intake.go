package sync

import (
	"context"
	"fmt"
	gosync "sync"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal"
)

// Intake is where the doors hand over events, for the queue.
// Safe for concurrent use.
type Intake struct {
	queue *wal.Queue
	cache Cache
	seen  func(events []proto.Event) // what came; nil: nobody looks
	rules Rules                      // nil: all events go to the queue
	came  func(events []proto.Event) // sees what rules take
	room  *Room                      // nil: there is room for all
	pool  gosync.Pool                // of *[]wal.Event
}

// Cache shows at once what was written here; *registry.Registry is one.
type Cache interface {
	// Posted takes attributes of a device that are in the queue. An error says that they could not
	// be kept; the cloud gets them all the same.
	Posted(id proto.UUID, scope string, p *proto.PostAttributeMsg) error
}

// Rules stand before the queue; *ruling.Rules is one. Any goroutine.
type Rules interface {
	// Take runs events of devices through their rule chains. finish is nil if the events go to the
	// queue as they are. Else out is what goes there in their place, until finish is called. finish
	// is called once out is in the queue, also if there is nothing in it, or is refused, with that
	// error. It makes durable what the chains keep, or undoes it, and calls done, which must not
	// block, when that is done, or, if done is nil, waits for it and returns the error. With done
	// the queue's goroutine may call it. After an error of Take nothing is kept.
	Take(events []proto.Event) (out []proto.Event, finish func(refused error, done func(error)) error, err error)
}

// NewIntake returns an intake in front of q.
func NewIntake(q *wal.Queue) *Intake {
	return &Intake{queue: q, pool: gosync.Pool{New: func() any { return new([]wal.Event) }}}
}

// Remember makes i show c what devices write, from now on. Before the doors open.
func (i *Intake) Remember(c Cache) { i.cache = c }

// Rule makes the events go through r before they enter the queue. came sees those that do not go
// there as they are, once what became of them is durable, or on its way to the medium: Observe's
// function does not. It must not keep them. Before the doors open.
func (i *Intake) Rule(r Rules, came func(events []proto.Event)) { i.rules, i.came = r, came }

// Limit makes i refuse data of devices whose creations the cloud refuses when r is used up. Before
// the doors open.
func (i *Intake) Limit(r *Room) { i.room = r }

// Observe lets f see all events that are accepted, from now on; it sees those of Submit on their
// way to the medium. f is called by many goroutines at once and must not keep the events. Before
// the doors open.
func (i *Intake) Observe(f func(events []proto.Event)) { i.seen = f }

// End is the Seq of the newest event that is in the queue.
func (i *Intake) End() uint64 { return i.queue.End().Seq }

// Accept returns nil when all events are durable; on any error but a PartialError none of them
// counts as accepted. Errors wrap those of wal, or are ErrNoRoom.
func (i *Intake) Accept(ctx context.Context, events []proto.Event) error {
	if i.room.limited() {
		kept, err := i.admit(events)
		if len(kept) == 0 && err != nil {
			return err
		}
		if failed := i.accept(ctx, kept); failed != nil {
			return failed
		}
		return err
	}
	return i.accept(ctx, events)
}

// admit returns the events for which there is room. The error says that there is none for some.
func (i *Intake) admit(events []proto.Event) (kept []proto.Event, err error) {
	refused := 0
	for k := range events {
		switch took := i.room.take(&events[k]); {
		case !took && refused == 0: // seldom, so that a publish costs nothing else where all of it is taken
			kept = append(make([]proto.Event, 0, len(events)), events[:k]...)
			refused++
		case !took:
			refused++
		case refused > 0:
			kept = append(kept, events[k])
		}
	}
	switch {
	case refused == 0:
		return events, nil
	case len(kept) == 0:
		return nil, ErrNoRoom
	}
	return kept, &PartialError{Stored: len(kept), Refused: refused}
}

func (i *Intake) accept(ctx context.Context, events []proto.Event) error {
	if i.rules != nil {
		out, finish, err := i.rules.Take(events)
		if err == nil && len(out) > 0 {
			p := i.frame(out)
			if err = i.queue.Append(ctx, *p...); err != nil {
				err = finish(err, nil)
			}
			i.release(p)
		}
		switch {
		case err != nil:
			return fmt.Errorf("accept %d events: %w", len(events), err)
		case finish != nil:
			i.came(events)
			return finish(nil, nil)
		}
	}
	return i.keep(ctx, events)
}

// keep appends events that go to the queue as they are.
func (i *Intake) keep(ctx context.Context, events []proto.Event) error {
	p := i.frame(events)
	err := i.queue.Append(ctx, *p...)
	i.release(p)
	if err != nil {
		return fmt.Errorf("accept %d events: %w", len(events), err)
	}
	if i.seen != nil {
		i.seen(events)
	}
	if i.cache != nil {
		for k := range events {
			if isPosted(&events[k]) {
				i.remember(&events[k])
			}
		}
	}
	return nil
}

// Submit is Accept without waiting for the medium. done is called once, in the order in which the
// caller's events were taken, mostly from the queue's own goroutine, and must not block. If Submit
// returns an error, done is not called. Submit waits while the group commit before is full (ctx
// bounds that), and for the medium when attributes are among the events: the cache, which the
// queue's goroutine may not wait for, is to have the attributes before the device gets its answer.
// The events and their fragments are the caller's again when Submit returns.
func (i *Intake) Submit(ctx context.Context, events []proto.Event, done func(error)) error {
	if i.room.limited() {
		kept, short := i.admit(events)
		if len(kept) == 0 && short != nil {
			return short
		}
		if short != nil {
			all := done
			done = func(err error) {
				if err == nil {
					err = short
				}
				all(err)
			}
		}
		events = kept
	}
	return i.submit(ctx, events, done)
}

func (i *Intake) submit(ctx context.Context, events []proto.Event, done func(error)) error {
	if i.rules != nil {
		out, finish, err := i.rules.Take(events)
		switch {
		case err != nil:
			return fmt.Errorf("accept %d events: %w", len(events), err)
		case finish == nil:
		case len(out) == 0:
			i.came(events)
			return finish(nil, done)
		default:
			p := i.frame(out)
			err := i.queue.Submit(ctx, *p, func(err error) {
				_ = finish(err, done)
			})
			i.release(p)
			if err != nil {
				return fmt.Errorf("accept %d events: %w", len(events), finish(err, nil))
			}
			i.came(events)
			return nil
		}
	}
	if i.cache != nil {
		for k := range events {
			if isPosted(&events[k]) {
				done(i.keep(ctx, events)) // the rules have had them
				return nil
			}
		}
	}
	p := i.frame(events)
	err := i.queue.Submit(ctx, *p, done)
	i.release(p)
	if err != nil {
		return fmt.Errorf("accept %d events: %w", len(events), err)
	}
	if i.seen != nil {
		i.seen(events)
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

func isPosted(e *proto.Event) bool {
	return (e.Action == proto.ActionPostAttributes || e.Action == proto.ActionAttributesUpdated) && e.Kind == proto.KindEntityData
}

// remember shows the cache the attributes of an event. The event is in the queue, so no error from
// here may reach the device.
func (i *Intake) remember(e *proto.Event) {
	var u proto.UplinkMsg
	if pb.Unmarshal(e.Fragment, &u) != nil {
		return
	}
	for _, d := range u.GetEntityData() {
		p, scope := d.GetPostAttributesMsg(), d.GetPostAttributeScope()
		// The mark of a provisioned device. Whoever sets shared attributes for people, the REST
		// API, writes them into the cache itself.
		if p == nil && scope == "SERVER_SCOPE" {
			p = d.GetAttributesUpdatedMsg()
		}
		if p != nil && d.GetEntityType() == proto.DeviceEntity {
			_ = i.cache.Posted(e.Entity, scope, p)
		}
	}
}
