package former

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sort"

	"edgesync/proto"
	"edgesync/wal/store"
)

// Stats are counts of events, but for Entities. Returned, Discarded and Damaged are over the life
// of the directory.
type Stats struct {
	Kept      uint64 // here now
	Returned  uint64 // back in the queue, for the entities of the same names
	Discarded uint64 // given up by a person
	Damaged   uint64 // here, and unreadable
	Edge      string // name and id of the former edge with the most events here; "" without any
	Entities  int    // that have events here
	Moving    bool   // events of the queue are looked through for those of the former edge
}

// Left is what is kept of one entity.
type Left struct {
	Edge   string `json:"edge"` // name and id of the former edge
	Type   string `json:"entity_type"`
	Name   string `json:"name"` // "": not known
	ID     string `json:"entity"`
	Events uint64 `json:"events"`
}

// Stats is a snapshot. with, which may be nil, is called in the same moment: while no event is on
// its way from here to the queue.
func (s *Store) Stats(with func()) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if with != nil {
		with()
	}
	st := Stats{Returned: s.count.returned, Discarded: s.count.discarded, Damaged: s.count.damaged, Moving: s.marked}
	var by [maxEdges]uint64
	for _, e := range s.entities {
		if e.kept > 0 {
			st.Entities++
			st.Kept += e.kept
			by[e.edge] += e.kept
		}
	}
	if st.Kept > 0 {
		most := 0
		for i, n := range by {
			if n > by[most] {
				most = i
			}
		}
		st.Edge = s.edgeName(uint8(most))
	}
	return st
}

// edgeName is the name and the id of a former edge.
func (s *Store) edgeName(n uint8) string {
	if int(n) >= len(s.edges) {
		return "unknown"
	}
	return Named(s.edges[n])
}

// Named is the name and the id of an edge, for people.
func Named(e Edge) string { return `"` + e.Name + `" (` + proto.FormatUUID(e.ID) + ")" }

// List lists the entities that have events here, those with the most first, at most limit of them.
func (s *Store) List(limit int) (list []Left) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []proto.UUID
	for id, e := range s.entities {
		if e.kept > 0 {
			ids = append(ids, id)
		}
	}
	// An instance of slices.SortFunc would be 14 kB more of code on MIPS, for what people ask for.
	sort.Slice(ids, func(i, j int) bool {
		a, b := s.entities[ids[i]], s.entities[ids[j]]
		switch {
		case a.kept != b.kept:
			return a.kept > b.kept
		case a.name != b.name:
			return a.name < b.name
		}
		return bytes.Compare(ids[i][:], ids[j][:]) < 0
	})
	for _, id := range ids[:min(limit, len(ids))] {
		e := s.entities[id]
		list = append(list, Left{Edge: s.edgeName(e.edge), Type: e.typ, Name: e.name, ID: proto.FormatUUID(id), Events: e.kept})
	}
	return list
}

// Inspect reads a directory without changing anything; a process may hold it meanwhile. Of the
// Store that it returns only Stats, List, Keeps and NameOf may be called.
func Inspect(dir string) (*Store, error) {
	s := &Store{o: Options{Dir: dir}, entities: make(map[proto.UUID]*entity), closed: true}
	st, err := store.Inspect(filepath.Join(dir, "store"))
	if err != nil {
		return nil, fmt.Errorf("former: %w", err)
	}
	defer st.Close()
	if err := s.load(st); err != nil {
		return nil, err
	}
	return s, nil
}

// Keeps reports, for people, whether an event of the queue that was passed is kept here. It may be
// wrong for an entity of which some events returned and others did not.
func (s *Store) Keeps(id proto.UUID, offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entities[id]
	return e != nil && e.kept > 0 && offset > s.count.since && offset <= s.count.last
}

// NameOf is the type and the name of an entity of a former edge; empty if they are not known.
func (s *Store) NameOf(id proto.UUID) (entityType, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entities[id]; e != nil {
		return e.typ, e.name
	}
	return "", ""
}
