package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/wal"
)

// The edge's id changes when the edge is made anew in the cloud, or the gateway goes to another
// server. Events that wait then hold ids of entities of the former edge. A server that does not
// know them acknowledges and drops them (CONTRACT.md 4.7). So:
//
//	beEdge         at connect: mark the queue and remember the names (durable), then wipe the
//	               registry (durable in steps, see registry/wipe.go). Devices made here whose
//	               creations were not accepted stay, and are made at the new edge with their data
//	waits          nothing goes up until the first sync says what is here
//	isFormer       then an event up to the mark's end whose entity is not here is set apart; one
//	               whose entity is here under its id goes up
//	setApart       in batches, and the committed offset passes them; they count as dead
//	maybeSetApart  the dead letters of the former edge too; and the end of the mark
//
// Between the wipe and the first sync doors may still bring events of devices that they looked up
// before. So the mark ends where the queue ends at the end of that sync.

// formerEdge is what the loop knows of the change of the edge that is under way. It outlives
// sessions.
type formerEdge struct {
	store   *former.Store // nil: the edge never changes
	active  bool          // there is a mark, and the edge is another than the mark's
	from    *proto.EdgeConfiguration
	end     uint64 // of the mark, offset
	letters bool   // the dead letters have moved
	more    bool   // dead letters are left for the next turn
}

// waits reports whether nothing may go up because it is not known yet what is here.
func (f *formerEdge) waits(r Registry) bool { return f.active && !r.Synced() }

// holdsLetters reports whether dead letters of the former edge may lie among the others.
func (f *formerEdge) holdsLetters() bool { return f.active && !f.letters }

// isOther reports whether c is the configuration of another edge than was.
func isOther(was, c *proto.EdgeConfiguration) bool {
	return was != nil && (c.GetEdgeIdMSB() != 0 || c.GetEdgeIdLSB() != 0) &&
		(was.GetEdgeIdMSB() != c.GetEdgeIdMSB() || was.GetEdgeIdLSB() != c.GetEdgeIdLSB())
}

func edgeOf(c *proto.EdgeConfiguration) former.Edge {
	return former.Edge{
		ID:       proto.UUIDOf(c.GetEdgeIdMSB(), c.GetEdgeIdLSB()),
		Tenant:   proto.UUIDOf(c.GetTenantIdMSB(), c.GetTenantIdLSB()),
		Customer: proto.UUIDOf(c.GetCustomerIdMSB(), c.GetCustomerIdLSB()), Name: c.GetName(),
	}
}

func configurationOf(e former.Edge) *proto.EdgeConfiguration {
	c := &proto.EdgeConfiguration{Name: e.Name}
	c.EdgeIdMSB, c.EdgeIdLSB = proto.Halves(e.ID)
	c.TenantIdMSB, c.TenantIdLSB = proto.Halves(e.Tenant)
	c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(e.Customer)
	return c
}

// recallFormer goes on with the change of an earlier life.
func (l *loop) recallFormer() {
	f := &l.former
	if f.store == nil {
		return
	}
	edge, end, letters, ok := f.store.Marked(edgeOf(l.reg.Edge()).ID)
	f.active = ok && l.reg.Edge() != nil
	f.from, f.end, f.letters = configurationOf(edge), end, letters
}

// beEdge is setEdge for the edge that a session begins with, which may be another than before. An
// error says that the change could not be made durable: then nothing has changed, and the session
// must not be used.
func (l *loop) beEdge(c *proto.EdgeConfiguration, now time.Time) error {
	was := l.reg.Edge()
	if !isOther(was, c) {
		if l.former.store != nil && !l.former.active {
			if err := l.former.store.Finish(); err != nil { // of a change that a crash has cut short
				l.complain("the former edge's mark cannot be removed", err.Error(), now)
			}
		}
		l.setEdge(c)
		return nil
	}
	mine, err := l.madeHere()
	if err == nil {
		err = l.reg.Flush() // names are read from flash
	}
	if err == nil && l.former.store != nil {
		err = l.former.store.Begin(edgeOf(was), l.queue.Committed().Offset, l.queue.End().Offset, l.reg.Named)
	}
	if err == nil {
		err = l.reg.ChangeEdge(c, mine)
	}
	if err != nil {
		return fmt.Errorf("the change to another edge cannot be written: %w", err)
	}
	l.log.Warn("this is another edge now; events of entities that it does not have are set apart",
		"former", former.Named(edgeOf(was)), "edge", former.Named(edgeOf(c)))
	l.conn.edge = c.GetName()
	l.outage = outage{}
	l.search.end(l.cfg.Batch.Size)
	l.repeating.drop()
	l.dependents.keep(l.reg.HasDevice)
	clear(l.retries.tries)
	clear(l.retries.passed)
	l.recallFormer()
	return nil
}

// madeHere tells which devices made here the former edge has not accepted: their creations wait in
// the queue, or among the dead letters.
func (l *loop) madeHere() (func(id proto.UUID, seq uint64) bool, error) {
	committed := l.queue.Committed()
	waiting, looked := make(map[proto.UUID]bool), 0
	l.rewind(committed)
	err := l.sending.reader.Read(func(e *wal.Entry) bool {
		if looked == creationsLooked {
			return false
		}
		looked++
		if isCreation(&e.Event) {
			waiting[e.Entity] = true
		}
		return true
	})
	l.rewind(committed)
	if err != nil {
		return nil, err
	}
	return func(id proto.UUID, seq uint64) bool {
		if c, ok := l.dependents.creations[id]; ok && !c.accepted {
			return true
		}
		return seq > committed.Seq && (waiting[id] || seq > committed.Seq+creationsLooked)
	}, nil
}

// isFormer reports whether an event is the former edge's, and would be dropped by the cloud.
func (l *loop) isFormer(e *wal.Event, offset uint64) bool {
	if !l.former.active || offset > l.former.end || len(e.Fragment) > former.MaxFragment || l.reg.Knows(e.Entity) {
		return false
	}
	if proto.Kind(e.Kind) == proto.KindAlarm {
		if o, ok := proto.OriginatorOf(e.Fragment); ok {
			return !l.reg.Knows(o)
		}
	}
	return true
}

// adapt writes the new edge's ids into what is sent of a device made here under the former one: its
// creation names the tenant, its relation the gateway.
func (l *loop) adapt(e *wal.Event, offset uint64, fragment []byte) {
	f := &l.former
	if !f.active || offset > f.end || proto.Kind(e.Kind) == proto.KindEntityData {
		return
	}
	l.adaptText(fragment)
}

func (l *loop) adaptText(fragment []byte) {
	proto.MoveTenant(fragment, l.former.from, l.reg.Edge())
	proto.MapIDs(fragment, func(id proto.UUID) (proto.UUID, bool) {
		if l.reg.Knows(id) {
			return id, false
		}
		typ, name := l.former.store.NameOf(id)
		if typ != proto.DeviceEntity || name == "" {
			return id, false
		}
		return l.reg.DeviceNamed(name)
	})
}

// apart is the next batch to be set apart.
type apart struct {
	events int            // of the queue that it passes
	put    []former.Event // of them, those that are not set apart yet
	bytes  int
}

// take adds an event of the queue; false if there is no room for it.
func (a *apart) take(s *former.Store, e *wal.Entry, date int64) bool {
	if a.events >= apartEvents || a.bytes >= apartBytes {
		return false
	}
	a.events++
	if s.Has(&e.Event, e.Offset) {
		return true
	}
	ev := former.Event{Event: e.Event, Offset: e.Offset}
	ev.Fragment = append([]byte(nil), e.Fragment...)
	if date != e.Time {
		proto.SetTime(ev.Fragment, e.Time, date)
		ev.Time = date
	}
	a.put = append(a.put, ev)
	a.bytes += len(ev.Fragment)
	return true
}

// setApart makes a batch durable with the events of former edges and passes it. False: the medium
// refuses, or there is no room. The events stay in the queue, and are tried again after a while.
func (l *loop) setApart(now time.Time) bool {
	s := &l.sending
	if len(s.apart.put) > 0 {
		if err := l.former.store.Put(context.Background(), s.apart.put); err != nil {
			l.complainApart(err, now)
			start := s.open.start
			s.apart = apart{}
			s.open.reset(start)
			s.reader.Seek(start)
			s.pauseUntil = now.Add(l.cfg.Retry.Interval)
			return false
		}
	}
	n := s.apart.events
	s.apart = apart{}
	l.pass(s.open.end, n, 1, now)
	s.open.reset(s.open.end)
	return true
}

func (l *loop) complainApart(err error, now time.Time) {
	reason := err.Error()
	if errors.Is(err, wal.ErrFull) {
		reason = "there is no room for more (queue.max_bytes); send them with `edgesync dead retry --by-name`," +
			" or give them up with `edgesync dead drop former`"
	}
	l.complain("events of the former edge cannot be set apart; they stay in the queue, and what is behind them waits", reason, now)
}

// maybeSetApart moves on the change of the edge that is under way.
func (l *loop) maybeSetApart(now time.Time) {
	f := &l.former
	f.more = false
	if !f.active || !l.reg.Synced() || now.Before(l.sending.pauseUntil) {
		return
	}
	err := l.advanceChange()
	if err != nil {
		l.complainApart(err, now)
		l.sending.pauseUntil = now.Add(l.cfg.Retry.Interval)
	}
}

func (l *loop) advanceChange() error {
	f := &l.former
	if end := l.queue.End().Offset; end < f.end {
		if err := f.store.End(end); err != nil {
			return err
		}
		f.end = end
	}
	if !f.letters {
		done, err := l.moveLetters()
		if err != nil || !done {
			f.more = err == nil
			return err
		}
		if err := f.store.LettersMoved(); err != nil {
			return err
		}
		f.letters = true
	}
	durable := l.queue.DurablyCommitted()
	if durable.Offset < f.end && durable.Seq < l.queue.End().Seq {
		return nil
	}
	if err := f.store.Finish(); err != nil {
		return err
	}
	f.active = false
	if s := f.store.Stats(nil); s.Kept > 0 {
		l.log.Warn("events of a former edge are kept; `edgesync dead retry --by-name` sends them to the devices of the same names",
			"events", s.Kept, "former", s.Edge)
	}
	return nil
}

// moveLetters moves the next batch of the former edge's dead letters to its events, and writes the
// new ids into those of devices made here. done: none are left.
func (l *loop) moveLetters() (done bool, err error) {
	var (
		put   []former.Event
		bytes int
		moved = make(map[uint64]bool)
		own   []wal.DeadLetter
	)
	done = true
	durable := l.queue.DurablyCommitted().Offset
	err = l.deadLog.Each(func(d *wal.DeadLetter) bool {
		switch {
		case d.Offset > l.former.end || d.Class == wal.DeadNever:
		case d.Offset > durable: // a crash would bring it back into the queue
			done = false
		case !l.isFormer(&d.Event, d.Offset):
			fragment := append([]byte(nil), d.Fragment...)
			if proto.Kind(d.Kind) != proto.KindEntityData {
				l.adaptText(fragment)
			}
			if string(fragment) != string(d.Fragment) {
				d.Fragment = fragment
				own = append(own, *d)
			}
		case len(moved) >= apartEvents || bytes >= apartBytes:
			done = false
			return false
		default:
			moved[d.Offset] = true
			if l.former.store.HasLetter(d.Offset) {
				break
			}
			e := former.Event{Event: d.Event, Offset: d.Offset, Letter: true}
			e.Fragment = append([]byte(nil), d.Fragment...)
			put = append(put, e)
			bytes += len(e.Fragment)
		}
		return true
	})
	if err != nil {
		return false, err
	}
	for i := range own {
		if err := l.deadLog.Put(own[i]); err != nil {
			return false, err
		}
	}
	if len(put) > 0 {
		if err := l.former.store.Put(context.Background(), put); err != nil {
			return false, err
		}
	}
	if len(moved) > 0 {
		_, err = l.deadLog.Release(func(offset uint64) bool { return moved[offset] })
	}
	return done, err
}
