package registry

import (
	"errors"

	"edgesync/proto"
)

// BeginSync starts to note which devices and profiles the cloud still sends. A sync adds and never removes (wire contract 3.5), and what
// it does not bring is no longer ours.
func (r *Registry) BeginSync() {
	r.seen = make(map[proto.UUID]struct{})
	r.seenProfile = make(map[proto.UUID]struct{})
}

// AbortSync forgets that a sync began: the link was lost before its end.
func (r *Registry) AbortSync() { r.seen, r.seenProfile = nil, nil }

// EndSync removes what was not seen since BeginSync, remembers that a sync has completed, and makes it all durable. It tells how many
// devices it removed. Without a BeginSync (the server's operator started the sync, wire contract 3.1) nothing is removed. After an
// error it may be called again: what was to be removed is gone from memory and still staged.
func (r *Registry) EndSync() (removed int, err error) {
	if r.seen != nil {
		removed, err = r.sweep()
	}
	r.AbortSync()
	r.mu.Lock()
	r.edge.synced = true
	r.mu.Unlock()
	err = errors.Join(err, r.putFixed(keySynced, []byte{1}))
	return removed, errors.Join(err, r.Flush())
}

// sweep removes devices, credentials and profiles that were not seen; credentials without a device too.
func (r *Registry) sweep() (removed int, err error) {
	for _, id := range r.ids(kindDevice) {
		if _, ok := r.seen[id]; !ok {
			_, e := r.removeDevice(id)
			err = errors.Join(err, e)
			removed++
		}
	}
	for _, id := range r.ids(kindCreds) {
		if _, ok := r.ByID(id); !ok {
			_, e := r.remove(recordKey(kindCreds, id))
			err = errors.Join(err, e)
		}
	}
	for _, id := range r.ids(kindProf) {
		if _, ok := r.seenProfile[id]; !ok {
			_, e := r.remove(recordKey(kindProf, id))
			err = errors.Join(err, e)
			r.mu.Lock()
			delete(r.profiles, id)
			r.mu.Unlock()
		}
	}
	return removed, err
}

// ids lists the ids of a kind's records, staged ones included.
func (r *Registry) ids(kind byte) (ids []proto.UUID) {
	add := func(key string) {
		if len(key) == keyLen && key[0] == kind && r.has(key) {
			ids = append(ids, proto.UUID([]byte(key[1:])))
		}
	}
	for _, key := range r.store.Keys(string(kind)) {
		add(key)
	}
	for key := range r.staged {
		if !r.store.Has(key) {
			add(key)
		}
	}
	return ids
}

// Synced tells whether a sync has completed once for this edge, now or in an earlier life. Any goroutine.
func (r *Registry) Synced() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.edge.synced
}
