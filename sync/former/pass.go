package former

import (
	"errors"
	"fmt"

	"edgesync/proto"
	"edgesync/wal"
	"edgesync/wal/store"
)

// Bounds of Return.
const (
	passEvents = 256       // of one batch
	passBytes  = 256 << 10 // of one batch
	passCall   = 4096      // events looked at in one call
)

// ErrMoving means that events of the former edge are still on their way here.
var ErrMoving = errors.New("events of the former edge are still being set apart; try again once the first sync of this edge" +
	" has completed and its events have passed")

// pass is one walk over the events.
type pass struct {
	reader *wal.Reader
	end    wal.Position
	left   map[proto.UUID]uint64 // events that stay, by entity
	seen   uint64
}

// Target is the edge that events are sent to.
type Target struct {
	Edge Edge
	// Same: the events go to the entities that they are of, whether their names are known or not.
	Same bool
	// Find is the id of the entity with that type and name; id is the one that it had.
	Find func(entityType, name string, id proto.UUID) (proto.UUID, bool)
	// Append makes events durable in the queue.
	Append func(events ...wal.Event) error
}

// Return sends events to the entities of the same type and name, in their order. It looks at a
// bounded number of them; more says that the walk is not at its end. n is how many were sent.
func (s *Store) Return(t Target) (n int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marked {
		return 0, false, ErrMoving
	}
	if s.events == nil {
		return 0, false, nil
	}
	found := make(map[proto.UUID]proto.UUID)
	for id, e := range s.entities {
		if e.name == "" && !t.Same || e.kept == 0 {
			continue
		}
		if e.typ == proto.EdgeEntity {
			found[id] = t.Edge.ID
		} else if other, ok := t.Find(e.typ, e.name, id); ok {
			found[id] = other
		}
	}
	if s.pass == nil {
		if len(found) == 0 {
			return 0, false, nil
		}
		s.pass = &pass{reader: s.events.Reader(), end: s.events.End(), left: make(map[proto.UUID]uint64)}
	}
	for looked := 0; looked < passCall; {
		events, seen, err := s.nextBatch(t, found)
		if err == nil {
			err = s.send(t, events)
		}
		if err != nil {
			s.stopPass()
			return n, false, err
		}
		n += len(events)
		if looked += seen; s.pass.reader.Position().Offset >= s.pass.end.Offset {
			return n, false, s.endPass()
		}
	}
	return n, true, nil
}

// stopPass ends a walk that is under way. The next one begins anew.
func (s *Store) stopPass() {
	if s.pass != nil {
		s.pass.reader.Close()
		s.pass = nil
	}
}

// returning is an event on its way back.
type returning struct {
	wal.Event
	entity proto.UUID // that it counts for
	offset uint64     // here
}

// nextBatch reads up to the next events that can be sent.
func (s *Store) nextBatch(t Target, found map[proto.UUID]proto.UUID) (events []returning, seen int, err error) {
	p, bytes := s.pass, 0
	err = p.reader.Read(func(e *wal.Entry) bool {
		if e.Offset > p.end.Offset || len(events) >= passEvents || bytes >= passBytes || seen >= passCall {
			return false
		}
		seen++
		p.seen++
		if len(e.Fragment) < header {
			return true
		}
		fragment := e.Fragment[header:]
		id := s.entityOf(&e.Event, fragment)
		ev, ok := s.forOther(&e.Event, fragment, id, t, found)
		switch {
		case ok && e.Offset <= s.entities[id].sent:
		case ok && found[id] != (proto.UUID{}):
			events = append(events, returning{ev, id, e.Offset})
			bytes += len(ev.Fragment)
		default:
			p.left[id]++
		}
		return true
	})
	if err != nil {
		return nil, seen, fmt.Errorf("former: read the events: %w", err)
	}
	return events, seen, nil
}

// forOther is an event as it is for the entity of the same name; not ok if it cannot be sent there:
// only telemetry, attributes and alarms can.
func (s *Store) forOther(e *wal.Event, fragment []byte, id proto.UUID, t Target, found map[proto.UUID]proto.UUID) (out wal.Event, ok bool) {
	out = *e
	other := found[id]
	switch proto.Kind(e.Kind) {
	case proto.KindEntityData:
		out.Entity = other
		out.Fragment, ok = proto.AppendForEntity(nil, fragment, other)
		return out, ok
	case proto.KindAlarm:
		from := Edge{}
		if n := s.entities[id].edge; int(n) < len(s.edges) {
			from = s.edges[n]
		}
		out.Fragment = append([]byte(nil), fragment...)
		proto.MapIDs(out.Fragment, func(u proto.UUID) (proto.UUID, bool) {
			switch {
			case u == from.Tenant:
				return t.Edge.Tenant, true
			case u == from.Customer && u != proto.NullUUID:
				return t.Edge.Customer, true
			}
			v, ok := found[u]
			return v, ok
		})
		if out.Entity == id {
			out.Entity = other
		}
		return out, true
	}
	return out, false
}

// send hands a batch to the queue, and counts it.
func (s *Store) send(t Target, events []returning) error {
	if len(events) == 0 {
		return nil
	}
	list := make([]wal.Event, len(events))
	for i := range events {
		list[i] = events[i].Event
	}
	if err := t.Append(list...); err != nil {
		return err
	}
	changed := newBatch()
	for i := range events {
		e := s.entities[events[i].entity]
		e.kept -= min(1, e.kept)
		e.sent = events[i].offset
		changed.changed[events[i].entity] = true
	}
	s.count.returned += uint64(len(events))
	var b store.Batch
	changed.write(s, &b)
	return s.apply(&b)
}

// endPass counts what is left as the walk has found it: what could not be read is damaged.
func (s *Store) endPass() error {
	p := s.pass
	s.pass = nil
	p.reader.Close()
	var left uint64
	for _, n := range p.left {
		left += n
	}
	kept := s.kept()
	c := s.count
	c.damaged += kept - min(kept, left)
	if left == 0 {
		return s.retire(c)
	}
	changed := newBatch()
	for id, e := range s.entities {
		if e.kept != p.left[id] {
			e.kept = p.left[id]
			changed.changed[id] = true
		}
	}
	s.count = c
	var b store.Batch
	changed.write(s, &b)
	return s.apply(&b)
}
