package registry

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal/store"
)

// A change of the edge removes what the former edge had. That may be more than one batch of the
// store, so the intention is durable first: an end of the process in between would else leave
// devices of the former edge under the id of the new one. Opening the registry goes on with it.
//
//	1   keyWipe is written: the new configuration, and which devices made here stay
//	2   the records of those get the ids of the new tenant; all others are removed
//	3   keyEdge is the new configuration, and keyWipe is removed, in one batch
//
// keyWipe is the number of the devices that stay u32, their ids [16], and the new configuration.

// wipe makes every record of the former edge go, durably, but those of devices made here whose
// creations are not accepted yet. After an error memory is as it was, and the next attempt goes on.
func (r *Registry) wipe(config []byte, mine func(id proto.UUID, seq uint64) bool) error {
	if err := r.flush(); err != nil { // of what stays, all must be in the store
		return err
	}
	intent := binary.BigEndian.AppendUint32(nil, 0)
	stays := make(map[proto.UUID]bool)
	var refused []proto.UUID
	for id, b := range r.creations {
		if !b.known && (!b.queued || mine != nil && mine(id, b.seq)) {
			stays[id] = true
			intent = append(intent, id[:]...)
			if b.queued && r.queue != nil && b.seq <= r.queue.Committed().Seq {
				refused = append(refused, id)
			}
		}
	}
	binary.BigEndian.PutUint32(intent, uint32(len(stays)))
	var b store.Batch
	// A creation that was passed and is kept was refused. It has no place in the queue that says
	// when a sync must bring the device, so none takes it for gone.
	for _, id := range refused {
		c := r.creations[id]
		c.seq = math.MaxUint64
		r.creations[id] = c
		b.Put(creations.key(id), c.encode())
	}
	b.Put(keyWipe, append(intent, config...))
	if err := r.applyWipe(&b); err != nil {
		return err
	}
	if err := r.finishWipe(); err != nil {
		return err
	}
	r.forgetFormer(stays)
	r.mu.Lock()
	r.tell(ruleChains.key(proto.UUID{}))
	r.mu.Unlock()
	return nil
}

// applyWipe makes one batch of a wipe durable.
func (r *Registry) applyWipe(b *store.Batch) error {
	if err := r.store.Apply(b); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	b.Reset()
	return nil
}

// finishWipe carries out the wipe that keyWipe says, in the store; without that record it does
// nothing.
func (r *Registry) finishWipe() error {
	intent, ok, err := r.store.Get(keyWipe, nil)
	if err != nil || !ok {
		return nil // damaged: the first sync removes what the new edge does not have
	}
	var b store.Batch
	stays, config, ok := decodeWipe(intent)
	if !ok {
		b.Delete(keyWipe)
		return r.applyWipe(&b)
	}
	was, now := new(proto.EdgeConfiguration), new(proto.EdgeConfiguration)
	if v, ok, err := r.store.Get(keyEdge, nil); err == nil && ok && pb.Unmarshal(v, was) == nil && pb.Unmarshal(config, now) == nil {
		for id := range stays {
			text, ok, err := r.store.Get(devices.key(id), nil)
			if err == nil && ok && proto.MoveTenant(text, was, now) {
				b.Put(devices.key(id), text)
			}
			if b.Size() > maxFlush {
				if err := r.applyWipe(&b); err != nil {
					return err
				}
			}
		}
	}
	for _, key := range r.store.Keys("") {
		if key == keyWipe || key == keyEdge || staysAt(key, stays) {
			continue
		}
		b.Delete(key)
		if b.Size() > maxFlush {
			if err := r.applyWipe(&b); err != nil {
				return err
			}
		}
	}
	if err := r.applyWipe(&b); err != nil {
		return err
	}
	b.Put(keyEdge, config)
	b.Delete(keyWipe)
	return r.applyWipe(&b)
}

func decodeWipe(v []byte) (stays map[proto.UUID]bool, config []byte, ok bool) {
	if len(v) < 4 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint32(v))
	if n > maxCreations || len(v) < 4+16*n {
		return nil, nil, false
	}
	stays = make(map[proto.UUID]bool, n)
	for i := range n {
		stays[proto.UUID(v[4+16*i:])] = true
	}
	return stays, bytes.Clone(v[4+16*n:]), true
}

// staysAt reports whether a record belongs to a device that stays.
func staysAt(key string, stays map[proto.UUID]bool) bool {
	if key[0] == attributes.letter {
		return len(key) >= 2+16 && stays[proto.UUID([]byte(key[2:]))]
	}
	if len(key) != keyLen || !stays[proto.UUID([]byte(key[1:]))] {
		return false
	}
	return key[0] == devices.letter || key[0] == deviceCredentials.letter || key[0] == creations.letter
}

// forgetFormer makes memory follow the store after a wipe.
func (r *Registry) forgetFormer(stays map[proto.UUID]bool) {
	var gone []Device
	r.Each(func(d Device) bool {
		if !stays[d.ID] {
			gone = append(gone, d)
		}
		return true
	})
	type record struct {
		device Device
		creds  credentials
		known  bool
	}
	kept := make(map[proto.UUID]record)
	for id := range stays {
		text, _ := r.get(devices.key(id))
		d, ok := decodeDevice(text)
		if !ok || !r.creations[id].queued { // a pending creation is found by nobody
			continue
		}
		text, _ = r.get(deviceCredentials.key(id))
		c, known := decodeCredentials(text)
		kept[id] = record{d, c, known}
	}
	r.mu.Lock()
	clear(r.devices)
	r.texts = 0
	clear(r.credentials)
	clear(r.names)
	clear(r.profiles)
	clear(r.assigned)
	clear(r.further)
	r.edge = edgeState{configured: r.edge.configured, hasConfigured: r.edge.hasConfigured}
	for id := range r.creations {
		if !stays[id] {
			delete(r.creations, id)
		}
	}
	for id, k := range kept {
		r.putDevice(id, k.device)
		if k.known {
			r.index(id, k.creds)
		}
	}
	r.room = room{most: r.room.most}
	r.countStored()
	r.mu.Unlock()
	r.roll = nil
	clear(r.edits)
	clear(r.gone)
	clear(r.fresh)
	r.dropAllOTA()
	for _, d := range gone {
		r.notify(d, DeviceDeleted)
	}
}

// Named calls fn for the entities that have a name and may have data, devices first, until it
// returns false. Any goroutine; fn must not call the registry.
func (r *Registry) Named(fn func(id proto.UUID, entityType, name string) bool) {
	more := true
	r.Each(func(d Device) bool {
		more = fn(d.ID, proto.DeviceEntity, d.Name)
		return more
	})
	for _, k := range namedKinds {
		for _, key := range r.store.Keys(string(k.kind.letter)) {
			text, ok := r.get(key)
			var j struct {
				Name  string `json:"name"`
				Title string `json:"title"`
			}
			if !more {
				return
			}
			if ok && len(key) == keyLen && decode(text, &j) && j.Name+j.Title != "" {
				more = fn(proto.UUID([]byte(key[1:])), k.entity, j.Name+j.Title)
			}
		}
	}
}

// namedKinds are those of Named beside devices.
var namedKinds = []struct {
	kind   *kind
	entity string
}{{assets, "ASSET"}, {entityViews, "ENTITY_VIEW"}, {customers, "CUSTOMER"}, {dashboards, "DASHBOARD"}}

// SetHalfMade stages that the cloud has a device made here and has assigned it to nobody, or that
// this is over. One that was not made here, or that the cloud has sent down, is left as it is. Any
// goroutine.
func (r *Registry) SetHalfMade(id proto.UUID, half bool) error {
	r.write.Lock()
	defer r.unlock()
	b, ok := r.creations[id]
	if !ok || b.known || b.half == half {
		return nil
	}
	b.half = half
	r.creations[id] = b
	return r.put(creations.key(id), b.encode())
}

// HalfMade reports what SetHalfMade has staged. Any goroutine.
func (r *Registry) HalfMade(id proto.UUID) bool {
	r.write.Lock()
	defer r.write.Unlock()
	b, ok := r.creations[id]
	return ok && b.half && !b.known
}

// DeviceNamed is ByName, for those who need only the id. Any goroutine.
func (r *Registry) DeviceNamed(name string) (proto.UUID, bool) {
	d, ok := r.ByName(name)
	return d.ID, ok
}

// Knows reports whether an entity is this edge's, or the edge, its tenant or its customer. Any
// goroutine.
func (r *Registry) Knows(id proto.UUID) bool {
	if r.HasDevice(id) {
		return true
	}
	r.mu.RLock()
	c := r.edge.config
	r.mu.RUnlock()
	return knows(c, r.has, id)
}

// knows reports whether an entity other than a device is that of an edge with these records.
func knows(c *proto.EdgeConfiguration, has func(key string) bool, id proto.UUID) bool {
	if c != nil && (id == proto.UUIDOf(c.EdgeIdMSB, c.EdgeIdLSB) || id == proto.UUIDOf(c.TenantIdMSB, c.TenantIdLSB) ||
		id == proto.UUIDOf(c.CustomerIdMSB, c.CustomerIdLSB)) {
		return true
	}
	for _, k := range knownKinds {
		if has(k.key(id)) {
			return true
		}
	}
	return false
}

// knownKinds are those of Knows beside devices.
var knownKinds = []*kind{
	assets, entityViews, customers, dashboards, users, alarms, alarmComments, deviceProfiles, assetProfiles, ruleChains,
}
