package cloudtest

import "edgesync/proto"

// Entity returns the JSON of an entity as the server stores it. entityType is the name on the wire;
// ok is false for an unknown entity.
func (t *Tenant) Entity(entityType string, id proto.UUID) (json string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeNumbers[entityType], id)
	if r == nil {
		return "", false
	}
	return r.marshal(), true
}

// Relations lists, as JSON, the relations that begin or end at an entity, except those to edges.
func (t *Tenant) Relations(id proto.UUID) (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.relations {
		if (r.from.id == id || r.to.id == id) && r.from.typ != typeEdge && r.to.typ != typeEdge {
			list = append(list, r.marshal())
		}
	}
	return list
}
