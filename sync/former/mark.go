package former

import (
	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/wal/store"
)

// Begin marks every event of the queue as the former edge's, and remembers its entities by name,
// durably. each calls its argument for every entity, the most important first, until it returns
// false. committed and newest are offsets of the queue. A mark that is there is replaced:
// what it was about belongs to the new mark's edge, but for entities that have events here.
func (s *Store) Begin(edge Edge, committed, newest uint64, each func(fn func(id proto.UUID, entityType, name string) bool)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openStore(); err != nil {
		return err
	}
	edge.Name = plain.Cut(edge.Name, maxName)
	var b store.Batch
	n := s.edgeNumber(edge)
	b.Put(keyEdge+string(rune(n)), edge.encode())
	m := mark{end: maxEnd, edge: n}
	if s.marked {
		if m.before = s.mark.before; s.mark.edge != n {
			m.before = s.mark.edge + 1
		}
	}
	b.Put(keyMark, m.encode())
	c := s.count
	if c.last > newest {
		c.last = 0 // the queue was begun anew
	}
	if s.kept() == 0 {
		c.since = committed
	}
	b.Put(keyCount, c.encode())
	b.Delete(keyLetters)
	names := s.names
	added := make(map[proto.UUID]*entity)
	put := func(id proto.UUID, typ, name string) bool {
		e := &entity{edge: n, typ: plain.Cut(typ, 64), name: plain.Cut(name, maxName)}
		if old := s.entities[id]; old != nil {
			names -= old.cost()
			e.edge, e.kept, e.sent = old.edge, old.kept, old.sent
		}
		if names+e.cost() > maxNames || b.Size() > maxNames*2 {
			return false
		}
		names += e.cost()
		added[id] = e
		b.Put(entityKey(id), e.encode())
		return true
	}
	put(edge.ID, proto.EdgeEntity, edge.Name)
	each(put)
	if err := s.apply(&b); err != nil {
		return err
	}
	for int(n) >= len(s.edges) {
		s.edges = append(s.edges, Edge{})
	}
	s.edges[n], s.mark, s.marked, s.count, s.letters, s.pass = edge, m, true, c, nil, nil
	for id, e := range added {
		s.add(id, e)
	}
	return nil
}

// edgeNumber is the number of an edge: its own if it is known, else a new one. Beyond maxEdges the
// last one is shared.
func (s *Store) edgeNumber(edge Edge) uint8 {
	for i := range s.edges {
		if s.edges[i].ID == edge.ID {
			return uint8(i)
		}
	}
	return uint8(min(len(s.edges), maxEdges-1))
}

// Marked is the edge that the mark is about, and the offset of the queue up to which events may be
// its own; end is the largest uint64 until End is called. letters reports whether its dead letters
// have moved. present is the edge that the registry has. ok is false without a mark, and for one
// that is void: it is about that edge, because a crash came before the registry changed.
func (s *Store) Marked(present proto.UUID) (edge Edge, end uint64, letters, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.marked || int(s.mark.edge) >= len(s.edges) {
		return Edge{}, 0, false, false
	}
	edge = s.edges[s.mark.edge]
	if n := int(s.mark.before); edge.ID == present && n > 0 && n <= len(s.edges) {
		edge = s.edges[n-1]
	}
	return edge, s.mark.end, s.mark.letters, edge.ID != present
}

// change makes another mark durable.
func (s *Store) change(fn func(m *mark)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.marked {
		return nil
	}
	m := s.mark
	fn(&m)
	var b store.Batch
	b.Put(keyMark, m.encode())
	if err := s.apply(&b); err != nil {
		return err
	}
	s.mark = m
	return nil
}

// End gives the mark its end, unless it has one: events behind it are the new edge's.
func (s *Store) End(offset uint64) error {
	return s.change(func(m *mark) { m.end = min(m.end, offset) })
}

// LettersMoved notes that no dead letter of the former edge is left in the dead-letter log.
func (s *Store) LettersMoved() error { return s.change(func(m *mark) { m.letters = true }) }

// Finish removes the mark, and the entities that have no events here.
func (s *Store) Finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.marked {
		return nil
	}
	var b store.Batch
	b.Delete(keyMark)
	b.Delete(keyLetters)
	for id, e := range s.entities {
		if e.kept == 0 {
			b.Delete(entityKey(id))
		}
	}
	if err := s.apply(&b); err != nil {
		return err
	}
	s.mark, s.marked, s.letters = mark{}, false, nil
	s.forgetEmpty()
	return nil
}

func (s *Store) forgetEmpty() {
	for id, e := range s.entities {
		if e.kept == 0 {
			s.names -= e.cost()
			delete(s.entities, id)
		}
	}
}
