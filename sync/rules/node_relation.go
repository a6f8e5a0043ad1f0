package rules

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// query finds entities by their relations (RULES.md 4.6).
type query struct {
	In      bool     `conf:"direction TO"`
	Levels  int      `conf:"maxLevel 1"`
	Last    bool     `conf:"fetchLastLevelOnly"` // only those of the last level
	Device  []string `conf:"deviceTypes"`        // types of devices; nil: any entity
	filters []*relationFilter
}

type relationFilter struct {
	Relation string          `conf:"relationType"` // "": any
	Types    map[string]bool `conf:"entityTypes"`
	Negate   bool            `conf:"negate"`
}

// maxRelated bounds the entities that one query looks at.
const maxRelated = 1000

func (c *config) query(key string) *query {
	s, q := c.part(c.t.get(key)), &query{}
	s.fill(reflect.ValueOf(q).Elem())
	if q.Levels <= 0 || q.Levels > 10 {
		q.Levels = 10
	}
	if f := s.t.get("filters"); f != nil && f.kind == isList {
		for _, item := range f.items {
			f := new(relationFilter)
			s.part(item).fill(reflect.ValueOf(f).Elem())
			q.filters = append(q.filters, f)
		}
	}
	if s.t.get("deviceTypes") != nil {
		q.filters = []*relationFilter{{Relation: s.text("relationType")}}
	}
	return q
}

func (q *query) takes(rel *Relation) bool {
	for _, f := range q.filters {
		same := f.Relation == "" || f.Relation == rel.Type
		if same != f.Negate && (len(f.Types) == 0 || f.Types[rel.Other.Type]) {
			return true
		}
	}
	return len(q.filters) == 0
}

// first is the first entity that the query finds from one; ok is false if there is none.
func (q *query) first(reg Registry, from *Entity) (found Entity, ok bool) {
	level, seen := []Entity{*from}, []Entity{*from}
	for depth := 1; depth <= q.Levels && len(level) > 0; depth++ {
		var next []Entity
		for i := range level {
			e := &level[i]
			related := reg.Related(e, !q.In)
			end := true
			for j := range related {
				other := &related[j].Other
				if has(seen, other) || len(seen) > maxRelated || !q.takes(&related[j]) {
					continue
				}
				seen, next = append(seen, *other), append(next, *other)
				end = false
				if (!q.Last || depth == q.Levels) && q.isWanted(reg, other) {
					return *other, true
				}
			}
			if q.Last && end && depth > 1 && q.isWanted(reg, e) {
				return *e, true
			}
		}
		level = next
	}
	return Entity{}, false
}

func has(list []Entity, who *Entity) bool {
	for i := range list {
		if list[i] == *who {
			return true
		}
	}
	return false
}

func (q *query) isWanted(reg Registry, e *Entity) bool {
	if q.Device == nil {
		return true
	}
	if !is(e.Type, "DEVICE") {
		return false
	}
	name, _, _ := reg.Profile(e)
	return slices.Contains(q.Device, name)
}

// relating makes or deletes relations.
type relating struct {
	_        uncompared
	In       bool   `conf:"direction TO"`
	Relation string `conf:"relationType"`
	Kind     string `conf:"entityType"`
	Name     string `conf:"entityNamePattern"`
	Single   bool   `conf:"deleteForSingleEntity"`
	Clear    bool   `conf:"removeCurrentRelations"`
	Change   bool   `conf:"changeOriginatorToRelatedEntity"`
	remove   bool
}

func (f *relating) prepare(n *node, _ *config) {
	f.remove = strings.HasSuffix(n.typ, "DeleteRelationNode")
	f.Single = f.Single || !f.remove
}

func (f *relating) do(r *round) {
	m := r.m
	relation, _ := m.pattern(f.Relation)
	name, _ := m.pattern(f.Name)
	who := Entity{}
	if f.Single {
		ok := is(f.Kind, "TENANT")
		if who = r.e.reg.Tenant(); !ok {
			who, ok = r.e.reg.Find(f.Kind, name)
		}
		if !ok {
			r.notFound(f.Kind, name)
			return
		}
	}
	if f.remove || f.Clear {
		related := r.e.reg.Related(&m.Originator, !f.In)
		for i := range related {
			rel := &related[i]
			if rel.Type != relation || f.remove && f.Single && rel.Other != who {
				continue
			}
			if !r.relate(&rel.Other, relation, f.In, true) {
				return
			}
		}
	}
	if !f.remove {
		if !r.relate(&who, relation, f.In, false) {
			return
		}
		if f.Change {
			m.Originator = who
		}
	}
	r.tell("Success")
}

// notFound is the failure of a node that looks for an entity.
func (r *round) notFound(kind, name string) {
	r.fail("Failed to find " + kind + " with name '" + name + "'!")
}

// relate makes or deletes a relation between the originator and another entity; ok is false if the
// node has failed.
func (r *round) relate(who *Entity, relation string, in, remove bool) (ok bool) {
	ch := &Change{Kind: "relation", Relation: relation, Delete: remove}
	if in {
		ch.Entity, ch.Other = *who, r.m.Originator
	} else {
		ch.Entity, ch.Other = r.m.Originator, *who
	}
	return r.check(r.out.Change(ch))
}

// change makes another change, of the originator, and ends the node.
func (r *round) change(ch *Change) {
	ch.Entity = r.m.Originator
	if r.check(r.out.Change(ch)) {
		r.tell("Success")
	}
}

type assigning struct {
	Name string `conf:"customerNamePattern"`
}

func (f *assigning) do(r *round) {
	name, _ := r.m.pattern(f.Name)
	who, ok := r.e.reg.Find("CUSTOMER", name)
	if !ok {
		r.failOn("Customer with title '%' doesn't exist!", name)
		return
	}
	r.change(&Change{Kind: "customer", Other: who})
}

type unassigning struct{}

func (*unassigning) do(r *round) { r.change(&Change{Kind: "customer", Delete: true}) }

type deviceState struct {
	Event string `conf:"event"`
}

func (f *deviceState) prepare(_ *node, c *config) {
	if !strings.Contains(" CONNECT_EVENT DISCONNECT_EVENT ACTIVITY_EVENT INACTIVITY_EVENT ", " "+f.Event+" ") {
		c.bad("event", "names no event of a device")
	}
}

func (f *deviceState) do(r *round) {
	who := &r.m.Originator
	if !is(who.Type, "DEVICE") {
		r.failOn("Unsupported originator type: %", who.Type)
		return
	}
	if !r.allows(who, r.e.opt.Now()) {
		r.tell("Rate limited")
		return
	}
	r.change(&Change{Kind: "state", Event: f.Event, Time: r.m.when()})
}

// rates are the events that a device state node lets through for one device.
var rates = [...]struct {
	n    int
	each time.Duration
}{{1, time.Second}, {30, time.Minute}, {60, time.Hour}}

// allows counts an event of a device; false if there were too many.
func (r *round) allows(who *Entity, now int64) bool {
	lock(&r.n.mem.mu)
	defer unlock(&r.n.mem.mu)
	c, _, _ := r.cell(who) // which no journal keeps
	for _, rate := range rates {
		n := 0
		for _, at := range c.intervals {
			if at > now-rate.each.Milliseconds() {
				n++
			}
		}
		if n >= rate.n {
			return false
		}
	}
	r.add(c, now, 60)
	return true
}
