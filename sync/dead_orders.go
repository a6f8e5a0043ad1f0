package sync

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// ErrBusy: the loop did not take an order in time. Nothing of it was done.
var ErrBusy = errors.New("the agent is busy; nothing was done, try again")

// DeadLetter is a dead letter as `edgesync dead list --json` prints it. A field once published
// keeps its name and meaning.
type DeadLetter struct {
	Offset  uint64    `json:"offset"`
	Time    time.Time `json:"time"` // when the event was accepted
	Action  string    `json:"action"`
	Kind    string    `json:"kind"`
	Entity  string    `json:"entity"`
	Name    string    `json:"name,omitempty"` // of the entity, where the list knows it
	Tries   int       `json:"tries"`
	Resting bool      `json:"resting"` // no more tries by itself
	Reason  string    `json:"reason"`  // what the cloud said, without secrets
	At      time.Time `json:"dead_since"`
	Size    int       `json:"bytes"` // of the event
}

// Dead are the dead letters of a running agent, for people to look at and to decide about. Its
// methods may be called from any goroutine; those that change something are done by the loop, which
// owns the tries.
type Dead struct{ a *Agent }

// DeadLetters gives access to the agent's dead letters.
func (a *Agent) DeadLetters() Dead { return Dead{a} }

// order is handed to the loop, which closes done when it has been carried out.
type order struct {
	do   func(l *loop, now time.Time)
	done chan struct{}
}

// carryOut has the loop call do. ErrBusy if the loop does not begin within orderPatience.
func (a *Agent) carryOut(ctx context.Context, do func(l *loop, now time.Time)) error {
	ctx, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	o := &order{do: do, done: make(chan struct{})}
	select {
	case a.orders <- o:
		<-o.done // the loop works at it: a few writes
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}

// Hold calls fn while the loop does nothing. fn must not call the agent. ErrBusy if the loop does
// not stop for it in time.
func (a *Agent) Hold(ctx context.Context, fn func()) error {
	return a.carryOut(ctx, func(*loop, time.Time) { fn() })
}

// List returns at most limit letters from the offset from on, and the offset to go on from, 0 at
// the end.
func (d Dead) List(ctx context.Context, from uint64, limit int) (list []DeadLetter, next uint64, err error) {
	var tries map[uint64]int
	if err := d.a.carryOut(ctx, func(l *loop, _ time.Time) { tries = maps.Clone(l.retries.tries) }); err != nil {
		return nil, 0, err
	}
	err = d.a.Dead.Each(func(w *wal.DeadLetter) bool {
		if w.Offset < from {
			return true
		}
		if len(list) == limit {
			next = w.Offset
			return false
		}
		list = append(list, DeadLetterOf(w, tries[w.Offset]))
		return true
	})
	return list, next, err
}

// DeadLetterOf shows a letter. tries are those in memory; the larger number of these and of the
// log's is shown.
func DeadLetterOf(w *wal.DeadLetter, tries int) DeadLetter {
	reason := w.Reason
	if isDependentLetter(w) {
		reason = dependentReason
	}
	return DeadLetter{
		Offset: w.Offset, Time: time.UnixMilli(w.Time).UTC(), Action: proto.Action(w.Action).String(), Kind: proto.Kind(w.Kind).String(),
		Entity: proto.FormatUUID(w.Entity), Tries: max(w.Tries, tries),
		Resting: w.Resting, Reason: reason, At: w.At, Size: len(w.Fragment),
	}
}

// Retry wakes the letter at offset, or all when that is 0: no tries count any more, and the loop
// tries the first of them at once, the others as fast as they are accepted. It returns how many
// letters there were.
func (d Dead) Retry(ctx context.Context, offset uint64) (n int, err error) {
	busy := d.a.carryOut(ctx, func(l *loop, _ time.Time) {
		which := named(offset)
		n, err = l.deadLog.Revive(which)
		maps.DeleteFunc(l.retries.tries, func(o uint64, _ int) bool { return which(o) })
		if t := l.retries.try; t != nil {
			for i := range t.letters {
				if which(t.letters[i].Offset) {
					t.letters[i].Tries, t.letters[i].Resting = 0, false
				}
			}
		}
		r := &l.retries
		r.due, r.birthsDue, r.flow, r.births = time.Time{}, time.Time{}, flow{}, flow{}
		r.pause.Reset()
	})
	return n, errors.Join(busy, err)
}

// Drop forgets the letter at offset, or all when that is 0, and counts them as discarded. What
// waits for a creation goes with it: the cloud would acknowledge it and drop it. later is how many
// it had to leave, because the commit that passed them is not durable yet: after a crash the queue
// would send them again. That takes a few seconds.
func (d Dead) Drop(ctx context.Context, offset uint64) (n, later int, err error) {
	busy := d.a.carryOut(ctx, func(l *loop, _ time.Time) {
		gone, births, late := toDrop(l.deadLog, offset, l.queue.DurablyCommitted().Offset)
		later = late
		if n, err = l.deadLog.Discard(func(o uint64) bool { return gone[o] }); err != nil {
			return
		}
		l.tally.Note(tally.Person, uint64(n), 0, 0)
		end := l.queue.End().Offset
		for id := range births {
			l.dependents.gaveUp(id, end)
		}
		maps.DeleteFunc(l.retries.tries, func(o uint64, _ int) bool { return gone[o] })
		if t := l.retries.try; t != nil && gone[t.letters[0].Offset] {
			t.dropped = true
		}
		if len(births) > 0 {
			l.retries.due = time.Time{} // what it had to leave is dropped by and by
		}
	})
	return n, later, errors.Join(busy, err)
}

// DropDead is Dead.Drop on the files of an agent that does not run; over may be nil.
func DropDead(log *wal.DeadLog, over *former.Store, offset uint64) (int, error) {
	gone, births, _ := toDrop(log, offset, math.MaxUint64)
	var more uint64
	if over != nil {
		var err error
		if more, err = over.GiveUp(slices.Collect(maps.Keys(births))); err != nil {
			return 0, err
		}
	}
	n, err := log.Discard(func(o uint64) bool { return gone[o] })
	return n + int(more), err
}

// toDrop lists what Drop forgets: the letter at offset, or all when that is 0, and what waits for a
// creation among them. births are the entities of those creations; later counts what lies behind
// durable, and is left.
func toDrop(log *wal.DeadLog, offset, durable uint64) (gone map[uint64]bool, births map[proto.UUID]uint64, later int) {
	which := named(offset)
	gone, births = make(map[uint64]bool), make(map[proto.UUID]uint64)
	log.Entries(func(e *wal.DeadEntry) bool {
		_, orphan := births[e.Entity]
		orphan = orphan && e.Class == wal.DeadCreation && !e.Resting
		switch {
		case !which(e.Offset) && !orphan:
		case e.Offset > durable:
			later++
		default:
			gone[e.Offset] = true
			if which(e.Offset) && creates(e.Kind, e.Action) {
				births[e.Entity] = e.Offset
			}
		}
		return true
	})
	return gone, births, later
}

func named(offset uint64) func(uint64) bool {
	return func(o uint64) bool { return offset == 0 || o == offset }
}

// obey carries out an order.
func (l *loop) obey(o *order, now time.Time) {
	defer close(o.done)
	o.do(l, now)
}

// Acknowledge notes that a person has seen what was lost so far.
func (d Dead) Acknowledge(context.Context) error {
	if d.a.Tally == nil {
		return errors.New("this agent keeps no account of what is lost")
	}
	s := d.a.Snapshot()
	return d.a.Tally.Seen(s.Damaged)
}
