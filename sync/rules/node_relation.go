package rules

import (
	"strings"
	"time"
)

// query finds entities by their relations (RULES.md 4.6).
type query struct {
	out     bool
	levels  int
	last    bool // only those of the last level
	filters []relationFilter
	device  []string // types of devices; nil: any entity
}

type relationFilter struct {
	relation string // "": any
	types    map[string]bool
	negate   bool
}

// maxRelated bounds the entities that one query looks at.
const maxRelated = 1000

func (c *config) query(key string) *query {
	s := &config{t: c.t.get(key)}
	q := &query{out: s.text("direction") != "TO", levels: s.size("maxLevel", 1), last: s.flag("fetchLastLevelOnly")}
	if q.levels <= 0 || q.levels > 10 {
		q.levels = 10
	}
	if f := s.t.get("filters"); f != nil && f.kind == isList {
		for _, item := range f.items {
			one := &config{t: item}
			q.filters = append(q.filters, relationFilter{one.text("relationType"), setOf(one.list("entityTypes")), one.flag("negate")})
		}
	}
	if s.t.get("deviceTypes") != nil {
		q.device = s.list("deviceTypes")
		q.filters = []relationFilter{{relation: s.text("relationType")}}
	}
	if s.err != nil && c.err == nil {
		c.err = s.err
	}
	return q
}

func (q *query) takes(rel Relation) bool {
	if len(q.filters) == 0 {
		return true
	}
	for _, f := range q.filters {
		same := f.relation == "" || f.relation == rel.Type
		if same != f.negate && (len(f.types) == 0 || f.types[rel.Other.Type]) {
			return true
		}
	}
	return false
}

// first is the first entity that the query finds from one; ok is false if there is none.
func (q *query) first(reg Registry, from Entity) (found Entity, ok bool) {
	level, seen := []Entity{from}, []Entity{from}
	for depth := 1; depth <= q.levels && len(level) > 0; depth++ {
		var next []Entity
		for _, e := range level {
			related := reg.Related(e, q.out)
			end := true
			for _, rel := range related {
				if has(seen, rel.Other) || len(seen) > maxRelated || !q.takes(rel) {
					continue
				}
				seen = append(seen, rel.Other)
				end = false
				next = append(next, rel.Other)
				if (!q.last || depth == q.levels) && q.isWanted(reg, rel.Other) {
					return rel.Other, true
				}
			}
			if q.last && end && e != from && q.isWanted(reg, e) {
				return e, true
			}
		}
		level = next
	}
	return Entity{}, false
}

func has(list []Entity, who Entity) bool {
	for i := range list {
		if list[i] == who {
			return true
		}
	}
	return false
}

func (q *query) isWanted(reg Registry, e Entity) bool {
	if q.device == nil {
		return true
	}
	if e.Type != "DEVICE" {
		return false
	}
	name, _, _ := reg.Profile(e)
	for _, t := range q.device {
		if t == name {
			return true
		}
	}
	return false
}

func makeRelate(n *node, c *config) work {
	out, typ := c.text("direction") != "TO", c.text("relationType")
	kind, pattern, profile := c.text("entityType"), c.text("entityNamePattern"), c.text("entityTypePattern")
	remove := strings.HasSuffix(n.typ, "DeleteRelationNode")
	single := !remove || c.flag("deleteForSingleEntity")
	clear, change := c.flag("removeCurrentRelations"), c.flag("changeOriginatorToRelatedEntity")
	return func(r *round) {
		m := r.m
		relation, _ := m.pattern(typ)
		name, _ := m.pattern(pattern)
		who := Entity{}
		if single {
			ok := kind == "TENANT"
			if who = r.e.reg.Tenant(); !ok {
				who, ok = r.e.reg.Find(kind, name)
			}
			if ok && profile != "" && (kind == "DEVICE" || kind == "ASSET") {
				want, _ := m.pattern(profile)
				have, _, known := r.e.reg.Profile(who)
				ok = !known || have == want
			}
			if !ok {
				r.fail("Failed to find " + kind + " with name '" + name + "'!")
				return
			}
		}
		if remove || clear {
			for _, rel := range r.e.reg.Related(m.Originator, out) {
				if rel.Type != relation || remove && single && rel.Other != who {
					continue
				}
				if !r.check(r.relate(rel.Other, relation, out, true)) {
					return
				}
			}
		}
		if !remove {
			if !r.check(r.relate(who, relation, out, false)) {
				return
			}
			if change {
				m.Originator = who
			}
		}
		r.tell("Success")
	}
}

// relate makes or deletes a relation between the originator and another entity.
func (r *round) relate(who Entity, relation string, out, remove bool) error {
	ch := &Change{Kind: "relation", Entity: r.m.Originator, Other: who, Relation: relation, Delete: remove}
	if !out {
		ch.Entity, ch.Other = ch.Other, ch.Entity
	}
	return r.out.Change(ch)
}

func makeAssign(_ *node, c *config) work {
	pattern := c.text("customerNamePattern")
	return func(r *round) {
		name, _ := r.m.pattern(pattern)
		who, ok := r.e.reg.Find("CUSTOMER", name)
		if !ok {
			r.fail("Customer with title '" + name + "' doesn't exist!")
			return
		}
		if r.check(r.out.Change(&Change{Kind: "customer", Entity: r.m.Originator, Other: who})) {
			r.tell("Success")
		}
	}
}

func makeUnassign(_ *node, _ *config) work {
	return func(r *round) {
		if r.check(r.out.Change(&Change{Kind: "customer", Entity: r.m.Originator, Delete: true})) {
			r.tell("Success")
		}
	}
}

func makeDeviceState(_ *node, c *config) work {
	event := c.text("event")
	if !strings.Contains(" CONNECT_EVENT DISCONNECT_EVENT ACTIVITY_EVENT INACTIVITY_EVENT ", " "+event+" ") {
		c.bad("event", "names no event of a device")
	}
	return func(r *round) {
		m := r.m
		if m.Originator.Type != "DEVICE" {
			r.fail("Unsupported originator type: " + m.Originator.Type)
			return
		}
		if !r.allows(m.Originator, r.e.opt.Now()) {
			r.tell("Rate limited")
			return
		}
		if r.check(r.out.Change(&Change{Kind: "state", Entity: m.Originator, Event: event, Time: m.when()})) {
			r.tell("Success")
		}
	}
}

// rates are the events that a device state node lets through for one device.
var rates = [...]struct {
	n    int
	each time.Duration
}{{1, time.Second}, {30, time.Minute}, {60, time.Hour}}

// allows counts an event of a device; false if there were too many.
func (r *round) allows(who Entity, now int64) bool {
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
