package registry

import (
	"encoding/json"
	"errors"

	"edgesync/proto"
)

// BeginSync starts to note what the cloud still sends. A sync adds and never removes (CONTRACT.md
// 3.5), and what it does not bring is no longer this edge's. full means a full sync, which brings
// more kinds. committed is the Seq up to which the cloud has the queue's events: a device that was
// made here after that is kept although the sync cannot bring it.
func (r *Registry) BeginSync(full bool, committed uint64) {
	r.write.Lock()
	defer r.unlock()
	var ids []recordID
	for _, k := range append([]*kind{devices, deviceProfiles, users}, sweptKinds...) {
		for _, id := range r.idsOf(k) {
			ids = append(ids, k.id(id))
		}
	}
	r.roll = newRoll(ids)
	r.fullSync, r.committed = full, committed
}

// Awaits names the function that says whether the creation of an entity made here waits to be taken
// by the cloud. No sync can bring such an entity, and EndSync, which calls the function, keeps it.
// The loop's goroutine.
func (r *Registry) Awaits(waits func(id proto.UUID) bool) {
	r.write.Lock()
	defer r.unlock()
	r.awaits = waits
}

// waits reports whether the creation of an entity made here waits to be taken by the cloud.
func (r *Registry) waits(id proto.UUID) bool { return r.awaits != nil && r.awaits(id) }

// Incomplete notes that not all that the running sync sends can be taken: its end removes nothing
// then, for what was left out may have been among it.
func (r *Registry) Incomplete() {
	r.write.Lock()
	defer r.unlock()
	if r.roll != nil {
		r.roll.unsure = true
	}
}

// RemoveNothing lets the end of the running sync remove nothing: the sync is for something else
// than to find out what is gone.
func (r *Registry) RemoveNothing() {
	r.write.Lock()
	defer r.unlock()
	if r.roll != nil {
		r.roll.keep = true
	}
}

// AbortSync forgets that a sync began: the link was lost before its end.
func (r *Registry) AbortSync() {
	r.write.Lock()
	defer r.unlock()
	r.roll = nil
}

// EndSync removes what was not seen since BeginSync, remembers that a sync has completed, and makes
// all of it durable. removed counts the entities. Without a BeginSync (the server's operator
// started the sync, CONTRACT.md 3.1), or after Incomplete, nothing is removed. After an error
// EndSync may be called again: what was to be removed is gone from memory and still staged.
func (r *Registry) EndSync() (removed int, err error) {
	r.lock()
	defer r.unlock()
	full := r.roll != nil && r.fullSync
	if r.roll != nil {
		switch {
		case r.roll.keep:
		case r.roll.unsure:
			r.log.Warn("the sync is incomplete: what it did not bring is kept until the next one")
		default:
			removed, err = r.sweep()
		}
		err = errors.Join(err, r.forgetEdits(r.committed)) // what the cloud had when this sync began
	}
	r.roll = nil
	return removed, errors.Join(err, r.cascade(), r.setSynced(full), r.flush())
}

// sweep removes what the sync did not bring, and credentials and metadata whose entity is gone.
func (r *Registry) sweep() (removed int, err error) {
	unseen := func(k *kind, drop func(id proto.UUID) (bool, error)) {
		for _, id := range r.idsOf(k) {
			if !r.roll.missing(k.id(id)) {
				continue
			}
			there, e := drop(id)
			err = errors.Join(err, e)
			if there {
				removed++
			}
		}
	}
	unseen(devices, func(id proto.UUID) (bool, error) {
		if r.waits(id) {
			return false, nil
		}
		if b, ok := r.creations[id]; ok && !b.known && (!b.queued || b.seq > r.committed) {
			return false, nil // made or changed here; the cloud cannot know it yet
		}
		return r.removeDevice(id)
	})
	unseen(deviceProfiles, func(id proto.UUID) (bool, error) {
		r.mu.Lock()
		delete(r.profiles, id)
		r.mu.Unlock()
		_, e := r.remove(deviceProfiles.key(id))
		return false, errors.Join(e, r.reassign(id, assigned{}))
	})
	for _, k := range sweptKinds {
		if k.sync == everySync || k.sync == fullSync && r.fullSync {
			unseen(k, func(id proto.UUID) (bool, error) {
				if r.waits(id) {
					return false, nil
				}
				if e, ok := r.edits[k.id(id)]; ok && e.seq > r.committed {
					return false, nil // made or changed here; the cloud cannot know it yet
				}
				there, err := r.removeEntity(k, id)
				if k == otaPackages {
					r.dropOTA(id)
					err = errors.Join(err, r.announcePackage(id))
				}
				return there, err
			})
		}
	}
	unseen(users, func(id proto.UUID) (bool, error) {
		// Administrators come with a full sync only.
		text, _ := r.get(users.key(id))
		var u jsonUser
		if !r.fullSync && json.Unmarshal(text, &u) == nil && u.Authority == "TENANT_ADMIN" {
			return false, nil
		}
		return r.removeUser(id)
	})
	dropUnowned := func(k, of *kind) {
		for _, id := range r.idsOf(k) {
			if !r.has(of.key(id)) {
				_, e := r.remove(k.key(id))
				err = errors.Join(err, e)
			}
		}
	}
	dropUnowned(deviceCredentials, devices)
	dropUnowned(userCredentials, users)
	if r.fullSync {
		dropUnowned(ruleChainMetadata, ruleChains)
		dropUnowned(formerMetadata, ruleChains)
	}
	return removed, err
}

// Synced reports whether a sync has completed once for this edge, now or in an earlier life. Any
// goroutine.
func (r *Registry) Synced() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.edge.synced
}

// ToAsk calls fn for what the cloud should be asked about: devices and assets that were not here
// before (fresh, CONTRACT.md 7.4), once each, and, if all is true, every other device too, because
// changed shared attributes come down in no other way (CONTRACT.md 6.3). The loop's goroutine.
func (r *Registry) ToAsk(all bool, fn func(id proto.UUID, entityType string, fresh bool)) {
	r.write.Lock()
	fresh := r.fresh
	r.fresh = make(map[proto.UUID]struct{})
	r.write.Unlock()
	for id := range fresh {
		switch {
		case r.has(devices.key(id)):
			fn(id, proto.DeviceEntity, true)
		case r.has(assets.key(id)):
			fn(id, "ASSET", true)
		}
	}
	if !all {
		return
	}
	var ids []proto.UUID
	r.Each(func(d Device) bool {
		if _, ok := fresh[d.ID]; !ok {
			ids = append(ids, d.ID)
		}
		return true
	})
	for _, id := range ids {
		fn(id, proto.DeviceEntity, false)
	}
}
