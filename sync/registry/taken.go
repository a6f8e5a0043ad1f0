package registry

import "edgesync/proto"

// maxTaken bounds the entities of which it is known that the cloud has taken them away. Any of them
// gives way to a further one.
const maxTaken = 1024

// TakenAway reports whether the cloud has deleted or unassigned an entity since this process began,
// by a message or by a sync that did not bring the entity, and it is not back since. Any goroutine.
func (r *Registry) TakenAway(id proto.UUID) bool {
	r.mu.RLock()
	_, taken := r.taken[id]
	r.mu.RUnlock()
	return taken && !r.Knows(id)
}

// noteTaken notes that an entity is gone, unless people deleted it here. A device made here, whose
// creation the cloud has refused so far, is none: the ids of the server are of version 1, those
// made here are not. The caller holds write.
func (r *Registry) noteTaken(id proto.UUID) {
	if id[6]>>4 != 1 {
		return
	}
	for _, k := range []*kind{devices, assets, entityViews, dashboards} {
		if r.edits[k.id(id)].deleted {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken == nil {
		r.taken = make(map[proto.UUID]struct{})
	}
	if len(r.taken) >= maxTaken {
		for old := range r.taken {
			delete(r.taken, old)
			break
		}
	}
	r.taken[id] = struct{}{}
}
