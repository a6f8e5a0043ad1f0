package registry

import (
	"errors"
	"fmt"
	"slices"

	"edgesync/proto"
	"edgesync/wal/store"
)

const keyLen = 1 + 16 // of most records

// recordID is the key of most records: the letter of the kind and an id.
type recordID [keyLen]byte

func (k *kind) id(id proto.UUID) (key recordID) {
	key[0] = k.letter
	copy(key[1:], id[:])
	return key
}

func (k *kind) key(id proto.UUID) string {
	key := k.id(id)
	return string(key[:])
}

// kind is one sort of record.
type kind struct {
	letter byte
	part   string // of DownlinkMsg
	keep   string // the word in registry.keep without which it is not kept; "": always kept
	sync   syncMode
}

// syncMode says which syncs bring all records of a kind (CONTRACT.md 3.2). A record that such a
// sync did not bring is no longer this edge's.
type syncMode uint8

const (
	noSync    syncMode = iota // none: the edge must ask; they go with what they belong to
	everySync                 // "A" in the contract's table
	fullSync                  // "F"
)

// The kinds. Their letters are on flash and never change.
var (
	deviceProfiles    = &kind{'p', "deviceProfileUpdateMsg", "", everySync}
	devices           = &kind{'d', "deviceUpdateMsg", "", everySync}
	deviceCredentials = &kind{'c', "deviceCredentialsUpdateMsg", "", noSync}
	assetProfiles     = &kind{'q', "assetProfileUpdateMsg", "", everySync}
	assets            = &kind{'a', "assetUpdateMsg", "", everySync}
	entityViews       = &kind{'v', "entityViewUpdateMsg", "", everySync}
	ruleChains        = &kind{'r', "ruleChainUpdateMsg", "", fullSync}
	ruleChainMetadata = &kind{'m', "ruleChainMetadataUpdateMsg", "", noSync}
	dashboards        = &kind{'b', "dashboardUpdateMsg", "", everySync}
	alarms            = &kind{'z', "alarmUpdateMsg", "", noSync}
	alarmComments     = &kind{'o', "alarmCommentUpdateMsg", "", noSync}
	customers         = &kind{'k', "customerUpdateMsg", "", everySync}
	relations         = &kind{'l', "relationUpdateMsg", "", noSync}
	widgetsBundles    = &kind{'w', "widgetsBundleUpdateMsg", "widgets", fullSync}
	widgetTypes       = &kind{'y', "widgetTypeUpdateMsg", "widgets", fullSync}
	users             = &kind{'u', "userUpdateMsg", "", everySync}
	userCredentials   = &kind{'x', "userCredentialsUpdateMsg", "", noSync}
	otaPackages       = &kind{'g', "otaPackageUpdateMsg", "ota", fullSync}
	tenants           = &kind{'t', "tenantUpdateMsg", "", noSync}
	tenantProfiles    = &kind{'h', "tenantProfileUpdateMsg", "", noSync}
	resources         = &kind{'s', "resourceUpdateMsg", "images", fullSync}
	calculatedFields  = &kind{'f', "calculatedFieldUpdateMsg", "", noSync}
	attributes        = &kind{'@', "entityData", "", noSync}
	creations         = &kind{letter: 'n'} // made here, see create.go
	// persistent calls that wait for their device, then their answers, see calls.go
	calls    = &kind{letter: 'j'}
	otherIDs = &kind{letter: 'e'} // of alarms that were raised here, see alarm_ids.go
	// metadata of chains that have been replaced by some of which nobody has said yet that they are
	// good, see chains.go
	formerMetadata = &kind{letter: 'M'}
	sweptKinds     = []*kind{
		assetProfiles, assets, entityViews, ruleChains, dashboards, customers,
		widgetsBundles, widgetTypes, otaPackages, resources,
	}
	keyEdge, keySecret = "E", "S"
	keySynced          = "Y"
	keyWipe            = "W"
)

// get reads a record, staged changes included. An unreadable record counts as absent. Any
// goroutine.
func (r *Registry) get(key string) ([]byte, bool) {
	r.mu.RLock()
	v, ok := r.staged[key]
	r.mu.RUnlock()
	if ok {
		return v, v != nil
	}
	v, ok, err := r.store.Get(key, nil)
	if err != nil {
		r.log.Warn("a registry record is unreadable; the next sync brings it again", "error", err)
	}
	return v, ok
}

// has reports whether there is a record, without reading it. Any goroutine.
func (r *Registry) has(key string) bool {
	r.mu.RLock()
	v, ok := r.staged[key]
	r.mu.RUnlock()
	if ok {
		return v != nil
	}
	return r.store.Has(key)
}

var (
	errFull      = errors.New("registry: full") // a bound is reached
	errMalformed = errors.New("registry: malformed")
	errLong      = fmt.Errorf("%w: a name is too long", errMalformed)
)

// put stages a record unless it is stored already. errFull means that there is no room for it.
func (r *Registry) put(key string, value []byte) error {
	if value == nil {
		value = []byte{} // nil deletes
	}
	if r.same(key, value) {
		return nil
	}
	bytes, records := r.grows(key, value)
	if !r.room.has(key, bytes, records) || records > 0 && key[0] == devices.letter && r.Devices() >= maxDevices {
		return r.full()
	}
	return r.stage(key, value)
}

// full is errFull; the first time it is logged.
func (r *Registry) full() error {
	if !r.warnedFull {
		r.warnedFull = true
		r.log.Warn("the registry is full; what the cloud provisions beyond is not kept",
			"records", r.room.all.records, "bytes", r.room.all.bytes, "most", r.room.most)
	}
	return errFull
}

// putFixed is put for the few records for which there is always room.
func (r *Registry) putFixed(key string, value []byte) error {
	if r.same(key, value) {
		return nil
	}
	return r.stage(key, value)
}

func (r *Registry) same(key string, value []byte) bool {
	if old, staged := r.staged[key]; staged {
		return old != nil && string(old) == string(value)
	}
	if !r.store.Has(key) || r.store.ValueLen(key) != len(value) {
		return false
	}
	stored, ok := r.get(key)
	return ok && string(stored) == string(value)
}

// remove stages the deletion of a record and reports whether there was one.
func (r *Registry) remove(key string) (bool, error) {
	if !r.has(key) {
		return false, nil
	}
	return true, r.stage(key, nil)
}

// stage takes a change; a nil value deletes. value belongs to the registry from now on.
func (r *Registry) stage(key string, value []byte) error {
	return r.stageAll([]staging{{key, value}})
}

// stageAll is stage for changes that belong together: readers and the store see all of them at
// once.
func (r *Registry) stageAll(changes []staging) error {
	r.mu.Lock()
	for _, c := range changes {
		bytes, records := r.grows(c.key, c.value)
		r.room.count(c.key, bytes, records)
		if old, ok := r.staged[c.key]; ok {
			r.stagedBytes -= len(c.key) + len(old)
		}
		r.staged[c.key] = c.value
		r.stagedBytes += len(c.key) + len(c.value)
		if furtherRecord(c.key) {
			r.noteRecord(c.key, c.value != nil)
		}
		r.tell(c.key)
	}
	r.mu.Unlock()
	if r.stagedBytes > maxStaged {
		return r.flush()
	}
	return nil
}

// relieve flushes what is staged beyond its bound because the medium has refused it; while it still
// does, nothing more may be staged.
func (r *Registry) relieve() error {
	if r.stagedBytes <= maxStaged {
		return nil
	}
	return r.flush()
}

func (r *Registry) flush() error {
	if len(r.staged) == 0 {
		return nil
	}
	keys := make([]string, 0, len(r.staged))
	for k := range r.staged {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b store.Batch
	for i, k := range keys {
		if v := r.staged[k]; v != nil {
			b.Put(k, v)
		} else {
			b.Delete(k)
		}
		// Every record stands for itself, but for those of the attributes of an entity, between
		// which values move. So a batch of unusual size may be written in parts.
		if b.Size() > maxFlush && (i+1 == len(keys) || !sameRecords(k, keys[i+1])) {
			if err := r.store.Apply(&b); err != nil {
				return fmt.Errorf("registry: %w", err)
			}
			b.Reset()
		}
	}
	if err := r.store.Apply(&b); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	r.mu.Lock()
	clear(r.staged)
	r.stagedBytes = 0
	r.mu.Unlock()
	return nil
}

// keysOf lists the keys of a kind's records, staged ones included.
func (r *Registry) keysOf(k *kind) (keys []string) {
	for _, key := range r.store.Keys(string(k.letter)) {
		if r.has(key) {
			keys = append(keys, key)
		}
	}
	for key, v := range r.staged {
		if v != nil && key[0] == k.letter && !r.store.Has(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// idsOf lists the ids of a kind's records.
func (r *Registry) idsOf(k *kind) (ids []proto.UUID) {
	for _, key := range r.keysOf(k) {
		if len(key) == keyLen {
			ids = append(ids, proto.UUID([]byte(key[1:])))
		}
	}
	return ids
}
