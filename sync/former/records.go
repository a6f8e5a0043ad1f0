package former

import (
	"encoding/binary"
	"errors"
	"math"

	"edgesync/proto"
	"edgesync/wal/store"
)

// Keys of the store. Numbers are big-endian.
//
//	"c"         generation u32 | counted u64 | last u64 | returned u64 | discarded u64 |
//	            damaged u64 | since u64
//	"m"         the end of the mark u64 | 1 once the dead letters have moved u8 | edge u8 |
//	            number of the edge of the mark that it has replaced, plus 1, u8
//	"e" edge    of a former edge: id | tenant | customer, [16] each | name
//	"n" id      of an entity: edge u8 | kept u64 | sent u64 | len(type) u8 | type | name
//	"b"         offsets u64 of the dead letters of the last batch
const (
	keyCount, keyMark, keyEdge, keyEntity, keyLetters = "c", "m", "e", "n", "b"

	countLen  = 4 + 6*8
	markLen   = 8 + 1 + 1 + 1
	edgeLen   = 3 * 16
	entityLen = 1 + 8 + 8 + 1
)

// Bounds.
const (
	// maxNames bounds the entities that are remembered, in bytes: 64 for each beside its type and
	// name. Events of others are kept under no name.
	maxNames   = 1 << 20
	entityCost = 64
	maxName    = 1 << 10 // bytes of a name
	maxEdges   = 16      // former edges that are told apart
	// maxEnd is the end of a mark that has none yet.
	maxEnd = math.MaxUint64
)

// count are the counters, over the life of the directory.
type count struct {
	generation                   uint32 // of the events
	counted                      uint64 // offset among the events up to which they are counted
	last                         uint64 // offset in the queue of the last one that came from there
	returned, discarded, damaged uint64
	since                        uint64 // offset in the queue behind which the first that is here may lie
}

// mark says which events of the queue are the former edge's.
type mark struct {
	end     uint64 // offset; maxEnd: not known yet
	letters bool   // the dead letters have moved
	edge    uint8
	// before is the edge, plus 1, of an unfinished mark that this one has replaced; 0: there was
	// none. It counts while edge is still the present one.
	before uint8
}

// Edge is a former edge.
type Edge struct {
	ID, Tenant, Customer proto.UUID
	Name                 string
}

// entity is an entity of a former edge.
type entity struct {
	edge uint8
	kept uint64 // events
	sent uint64 // offset among the events up to which those that can be sent were
	typ  string
	name string
}

func (e *entity) cost() int { return entityCost + len(e.typ) + len(e.name) }

func (c *count) encode() []byte {
	v := binary.BigEndian.AppendUint32(nil, c.generation)
	for _, n := range [...]uint64{c.counted, c.last, c.returned, c.discarded, c.damaged, c.since} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	return v
}

func (m *mark) encode() []byte {
	v := binary.BigEndian.AppendUint64(nil, m.end)
	letters := byte(0)
	if m.letters {
		letters = 1
	}
	return append(v, letters, m.edge, m.before)
}

func (e *Edge) encode() []byte {
	v := append([]byte(nil), e.ID[:]...)
	v = append(v, e.Tenant[:]...)
	v = append(v, e.Customer[:]...)
	return append(v, e.Name...)
}

func (e *entity) encode() []byte {
	v := append(make([]byte, 0, entityLen+len(e.typ)+len(e.name)), e.edge)
	v = binary.BigEndian.AppendUint64(v, e.kept)
	v = binary.BigEndian.AppendUint64(v, e.sent)
	v = append(v, byte(len(e.typ)))
	v = append(v, e.typ...)
	return append(v, e.name...)
}

func decodeCount(v []byte) (c count, ok bool) {
	if len(v) != countLen {
		return c, false
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(v[4+8*i:]) }
	return count{binary.BigEndian.Uint32(v), u(0), u(1), u(2), u(3), u(4), u(5)}, true
}

func decodeMark(v []byte) (m mark, ok bool) {
	if len(v) != markLen || v[8] > 1 || v[9] >= maxEdges || v[10] > maxEdges {
		return m, false
	}
	return mark{binary.BigEndian.Uint64(v), v[8] == 1, v[9], v[10]}, true
}

func decodeEdge(v []byte) (e Edge, ok bool) {
	if len(v) < edgeLen || len(v) > edgeLen+maxName {
		return e, false
	}
	return Edge{proto.UUID(v), proto.UUID(v[16:]), proto.UUID(v[32:]), string(v[edgeLen:])}, true
}

func decodeEntity(v []byte) (e entity, ok bool) {
	if len(v) < entityLen || v[0] >= maxEdges || len(v) < entityLen+int(v[entityLen-1]) || len(v) > entityLen+255+maxName {
		return e, false
	}
	n := int(v[entityLen-1])
	return entity{
		edge: v[0], kept: binary.BigEndian.Uint64(v[1:]), sent: binary.BigEndian.Uint64(v[9:]),
		typ: string(v[entityLen : entityLen+n]), name: string(v[entityLen+n:]),
	}, true
}

var errDamaged = errors.New("former: a record does not decode")

// load fills memory from the store. A record that does not decode is left out: what it counted is
// counted anew at the next pass over the events.
func (s *Store) load(st *store.Store) (worst error) {
	get := func(key string, fn func(v []byte) bool) {
		v, ok, err := st.Get(key, nil)
		if err == nil && ok && !fn(v) {
			err = errDamaged
		}
		if err != nil {
			worst = err
		}
	}
	for _, key := range st.Keys("") {
		get(key, func(v []byte) (ok bool) {
			switch {
			case key == keyCount:
				s.count, ok = decodeCount(v)
			case key == keyMark:
				s.mark, ok = decodeMark(v)
				s.marked = ok
			case len(key) == 2 && key[:1] == keyEdge && key[1] < maxEdges:
				var e Edge
				if e, ok = decodeEdge(v); ok {
					for len(s.edges) <= int(key[1]) {
						s.edges = append(s.edges, Edge{})
					}
					s.edges[key[1]] = e
				}
			case len(key) == 17 && key[:1] == keyEntity:
				var e entity
				if e, ok = decodeEntity(v); ok {
					s.add(proto.UUID([]byte(key[1:])), &e)
				}
			case key == keyLetters:
				s.letters = make(map[uint64]bool)
				for ok = len(v)%8 == 0; len(v) >= 8; v = v[8:] {
					s.letters[binary.BigEndian.Uint64(v)] = true
				}
			}
			return ok
		})
	}
	return worst
}

// add takes an entity into memory.
func (s *Store) add(id proto.UUID, e *entity) {
	if old := s.entities[id]; old != nil {
		s.names -= old.cost()
	}
	s.entities[id] = e
	s.names += e.cost()
}

func entityKey(id proto.UUID) string { return keyEntity + string(id[:]) }
