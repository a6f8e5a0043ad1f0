package cloudtest

import (
	"math"
	"slices"

	"edgesync/proto"
)

// row is one stored value of a time series. It is small because hundreds of thousands are kept.
type row struct {
	ts     int64
	bits   uint64 // of a bool, a long or a double
	str    string
	writes uint32
	typ    proto.KeyValueType
}

func (r *row) set(v Value) {
	r.typ, r.str = v.Type, v.Str
	switch v.Type {
	case proto.KeyValueType_BOOLEAN_V:
		r.bits = 0
		if v.Bool {
			r.bits = 1
		}
	case proto.KeyValueType_LONG_V:
		r.bits = uint64(v.Long)
	case proto.KeyValueType_DOUBLE_V:
		r.bits = math.Float64bits(v.Dbl)
	}
}

func (r *row) value() Value {
	v := Value{Type: r.typ, Str: r.str}
	switch r.typ {
	case proto.KeyValueType_BOOLEAN_V:
		v.Bool = r.bits != 0
	case proto.KeyValueType_LONG_V:
		v.Long = int64(r.bits)
	case proto.KeyValueType_DOUBLE_V:
		v.Dbl = math.Float64frombits(r.bits)
	}
	return v
}

// maxLate is how many late rows may wait unsorted. The bound is small because each search visits
// all of them.
const maxLate = 128

// series is the history of one key of one entity. rows are sorted by ts. Late rows wait in late and
// are merged in when there are enough of them or when somebody reads, so that a flood of late rows
// costs no insertion per point.
type series struct {
	rows     []row
	late     []row
	arrivals []int64
}

// put stores a value and reports whether the row is new.
func (s *series) put(ts int64, v Value) bool {
	if n := len(s.rows); n == 0 || ts > s.rows[n-1].ts {
		s.rows = append(s.rows, row{ts: ts, writes: 1})
		s.rows[n].set(v)
		s.arrivals = append(s.arrivals, ts)
		return true
	}
	if r := s.find(ts); r != nil {
		r.set(v)
		if r.writes < math.MaxUint32 {
			r.writes++
		}
		return false
	}
	if len(s.late) == maxLate {
		s.merge()
	}
	s.late = append(s.late, row{ts: ts, writes: 1})
	s.late[len(s.late)-1].set(v)
	s.arrivals = append(s.arrivals, ts)
	return true
}

func (s *series) find(ts int64) *row {
	if i, ok := slices.BinarySearchFunc(s.rows, ts, compareRow); ok {
		return &s.rows[i]
	}
	for i := range s.late {
		if s.late[i].ts == ts {
			return &s.late[i]
		}
	}
	return nil
}

func compareRow(r row, ts int64) int {
	switch {
	case r.ts < ts:
		return -1
	case r.ts > ts:
		return 1
	}
	return 0
}

// merge merges the late rows into rows, in place and from the end.
func (s *series) merge() {
	if len(s.late) == 0 {
		return
	}
	slices.SortFunc(s.late, func(a, b row) int { return compareRow(a, b.ts) })
	i, j := len(s.rows)-1, len(s.late)-1
	s.rows = append(s.rows, s.late...)
	for k := len(s.rows) - 1; j >= 0; k-- {
		if i >= 0 && s.rows[i].ts > s.late[j].ts {
			s.rows[k] = s.rows[i]
			i--
		} else {
			s.rows[k] = s.late[j]
			j--
		}
	}
	s.late = s.late[:0]
}

// latest is the row with the highest ts, so late data never becomes the latest value
// (CONTRACT.md 5.3).
func (s *series) latest() *row {
	return &s.rows[len(s.rows)-1]
}

// attribute is one stored attribute.
type attribute struct {
	key string
	val Value
	ts  int64 // lastUpdateTs
}

// attributes are those of one scope in the order of their first arrival.
type attributes struct {
	list []attribute
	at   map[string]int
}

func (a *attributes) get(key string) *attribute {
	if i, ok := a.at[key]; ok {
		return &a.list[i]
	}
	return nil
}

func (a *attributes) set(key string, v Value, ts int64) {
	if old := a.get(key); old != nil {
		old.val, old.ts = v, ts
		return
	}
	if a.at == nil {
		a.at = make(map[string]int)
	}
	a.at[key] = len(a.list)
	a.list = append(a.list, attribute{key: key, val: v, ts: ts})
}

func (a *attributes) remove(key string) {
	i, ok := a.at[key]
	if !ok {
		return
	}
	a.list = slices.Delete(a.list, i, i+1)
	delete(a.at, key)
	for ; i < len(a.list); i++ {
		a.at[a.list[i].key] = i
	}
}

// scope numbers the three attribute scopes (CONTRACT.md 7.1).
type scope uint8

const (
	clientScope scope = iota
	serverScope
	sharedScope
	scopes
)

var scopeNames = [scopes]string{"CLIENT_SCOPE", "SERVER_SCOPE", "SHARED_SCOPE"}

func scopeOf(name string) (scope, bool) {
	for i, n := range scopeNames {
		if n == name {
			return scope(i), true
		}
	}
	return 0, false
}
