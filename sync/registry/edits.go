package registry

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sort"

	"edgesync/proto"
	"edgesync/wal"
)

// What people change here, over the REST API, is queued for the cloud first and then stored by
// Edit. Until the cloud has acknowledged the event, what the cloud sends of that entity is older
// and must not win: a sync in between would bring back what was deleted, and undo what was changed.
// For that long an edit is remembered with the Seq of its event.

// Edit is one change of an entity made here.
type Edit struct {
	// KindDevice, KindDeviceCredentials, KindAsset, KindEntityView, KindDashboard, KindAlarm,
	// KindRelation
	Kind    proto.Kind
	ID      proto.UUID // of the entity; of credentials, of their device; of no use for relations
	Text    string     // the whole entity as JSON; not needed for deletions but of relations
	Deleted bool
}

// edit is what is remembered of an Edit.
type edit struct {
	seq     uint64 // of the queue, at or behind its event
	deleted bool
}

const (
	edits = 'i' // letter of the records of edits; the key of the edited record follows
	// maxPast bounds the alarms that are over and kept all the same, because somebody here may
	// still delete them.
	maxPast = 128
	// manyEdits is how many edits are remembered before those that the cloud has are looked for:
	// while a link stays up no sync forgets them.
	manyEdits = 256
)

// Progress says how far the cloud is with the queue; *wal.Queue is one.
type Progress interface {
	Committed() wal.Position
	End() wal.Position
}

// Follow names the queue that holds the events of the edits, before Apply is first called. Edits
// whose events the queue never had are forgotten: it is another queue.
func (r *Registry) Follow(q Progress) {
	r.write.Lock()
	defer r.unlock()
	r.queue = q
	end := q.End().Seq
	for _, key := range r.store.Keys(string(edits)) {
		value, ok := r.get(key)
		if !ok || len(key) != 1+keyLen || len(value) != 9 {
			continue
		}
		e := edit{binary.BigEndian.Uint64(value), value[8] == 1}
		if e.seq > end {
			if _, err := r.remove(key); err != nil {
				r.log.Warn("the registry cannot be written", "error", err)
			}
			continue
		}
		r.edits[recordID([]byte(key[1:]))] = e
	}
}

// localKinds are the kinds that Entity and Entities read; some of them Edit changes.
var localKinds = map[proto.Kind]*kind{
	proto.KindDevice: devices, proto.KindDeviceCredentials: deviceCredentials, proto.KindAsset: assets, proto.KindEntityView: entityViews,
	proto.KindDashboard: dashboards, proto.KindAlarm: alarms, proto.KindRelation: relations, proto.KindDeviceProfile: deviceProfiles,
	proto.KindAssetProfile: assetProfiles, proto.KindCalculatedField: calculatedFields, proto.KindRuleChain: ruleChains,
	proto.KindRuleChainMetadata: ruleChainMetadata,
}

// Edit stores changes made here, whose events are in the queue at or before seq, durably and in
// their order. An error means that the medium refused or that there is no room; the cloud gets the
// changes all the same. Any goroutine.
func (r *Registry) Edit(seq uint64, list ...Edit) (err error) {
	r.lock()
	defer r.unlock()
	for i := range list {
		err = errors.Join(err, r.apply(&list[i], seq))
	}
	if len(r.gone) > 0 && r.roll == nil {
		err = errors.Join(err, r.cascade())
	}
	return errors.Join(err, r.flush())
}

func (r *Registry) apply(e *Edit, seq uint64) (err error) {
	k := localKinds[e.Kind]
	if k == nil {
		return errMalformed
	}
	if k == alarms {
		joined := *e
		r.toCloudAlarm(&joined)
		e = &joined
	}
	id := k.id(e.ID)
	if k == relations {
		key, ok := relationKey([]byte(e.Text))
		if !ok {
			return errMalformed
		}
		id = relationID(key)
	}
	err = r.remember(id, edit{seq, e.Deleted})
	c := &change{kind: k, id: e.ID, deleted: e.Deleted, text: e.Text}
	var e2 error
	switch k {
	case devices:
		if e.Deleted {
			_, e2 = r.removeDevice(e.ID)
			break
		}
		d, ok := decodeDevice([]byte(e.Text))
		if !ok {
			return errors.Join(err, errMalformed)
		}
		// Not applyDevice, which would note that the cloud knows the device.
		had := r.packagesOf(e.ID)
		r.noteAssigned(e.ID, assignedIn([]byte(e.Text)))
		e2 = errors.Join(r.put(k.key(e.ID), []byte(e.Text)), r.adopt(e.ID, d), r.announce(e.ID, had))
	case deviceCredentials:
		_, e2 = r.applyCredentials([]byte(e.Text))
	case alarms:
		_, e2 = r.applyEntity(c) // also one that is over
		e2 = errors.Join(e2, r.forgetPast())
	case relations:
		t := proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
		if e.Deleted {
			t = proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
		}
		_, e2 = r.applyRelation(t, []byte(e.Text))
	case assets, entityViews, dashboards:
		_, e2 = r.applyEntity(c)
	default:
		e2 = errMalformed
	}
	return errors.Join(err, e2)
}

func (r *Registry) remember(id recordID, e edit) (err error) {
	if len(r.edits) >= r.editsAt && r.roll == nil && r.queue != nil {
		err = r.forgetEdits(r.queue.Committed().Seq)
		r.editsAt = max(manyEdits, 2*len(r.edits)) // while all of them wait, each look finds nothing
	}
	r.edits[id] = e
	value := binary.BigEndian.AppendUint64(nil, e.seq)
	if e.deleted {
		value = append(value, 1)
	} else {
		value = append(value, 0)
	}
	return errors.Join(err, r.put(string(edits)+string(id[:]), value))
}

// relationID identifies a relation, which has no id, among the edits.
func relationID(key string) (id recordID) {
	sum := sha256.Sum256([]byte(key))
	id[0] = relations.letter
	copy(id[1:], sum[:])
	return id
}

// relationDown takes what the cloud sends of a relation. Neither an older answer nor an older
// deletion counts against what was done with the relation here: the cloud will have the change of
// this edge last, and no sync would show the difference (CONTRACT.md 3.2).
func (r *Registry) relationDown(t proto.UpdateMsgType, text []byte) (bool, error) {
	if key, ok := relationKey(text); ok && (r.edited(relationID(key)) || r.goneHere(proto.UUID([]byte(key[1:17]))) ||
		r.goneHere(proto.UUID([]byte(key[17:33])))) {
		return false, nil
	}
	return r.applyRelation(t, text)
}

// edited reports whether a record was changed here and what the cloud sends of it is out of date:
// the cloud does not know of the change yet, or did not when the running sync began.
func (r *Registry) edited(id recordID) bool {
	e, ok := r.edits[id]
	return ok && (r.queue != nil && e.seq > r.queue.Committed().Seq || r.roll != nil && e.seq > r.committed)
}

// goneHere reports whether an entity was deleted here and the cloud does not know it yet. What the
// cloud sends of the entity's belongings is then out of date, and no sync would take it away again
// (CONTRACT.md 3.2).
func (r *Registry) goneHere(id proto.UUID) bool {
	for _, k := range []*kind{devices, assets, entityViews, dashboards} {
		if key := k.id(id); r.edits[key].deleted && r.edited(key) {
			return true
		}
	}
	return false
}

// unlessGone wraps the application of what belongs to an entity; owner finds the entity in the
// JSON.
func (r *Registry) unlessGone(owner func(text []byte) jsonID, apply func(c *change) (bool, error)) func(c *change) (bool, error) {
	return func(c *change) (bool, error) {
		if !c.deleted && len(r.edits) > 0 {
			if id, ok := proto.ParseUUID(owner([]byte(c.text)).ID); ok && r.goneHere(id) {
				return false, nil
			}
		}
		return apply(c)
	}
}

// originator is whom an alarm is about.
func originator(text []byte) jsonID {
	var j struct {
		Originator jsonID `json:"originator"`
	}
	decode(text, &j)
	return j.Originator
}

// fieldOwner is the entity that a calculated field belongs to.
func fieldOwner(text []byte) jsonID {
	var j struct {
		Entity jsonID `json:"entityId"`
	}
	decode(text, &j)
	return j.Entity
}

// unlessEdited wraps the application of what the cloud sends of a record. The cloud's deletions
// always count.
func (r *Registry) unlessEdited(apply func(c *change) (bool, error)) func(c *change) (bool, error) {
	return func(c *change) (bool, error) {
		switch id := c.kind.id(c.id); {
		case c.deleted:
			err := r.forgetEdit(id)
			kept, e := apply(c)
			return kept, errors.Join(err, e)
		case r.edited(id):
			r.mark(c.kind, c.id)
			return false, nil
		}
		return apply(c)
	}
}

func (r *Registry) forgetEdit(id recordID) error {
	if _, ok := r.edits[id]; !ok {
		return nil
	}
	delete(r.edits, id)
	_, err := r.remove(string(edits) + string(id[:]))
	return err
}

// forgetEdits drops the edits that the cloud has: their Seq is not behind committed.
func (r *Registry) forgetEdits(committed uint64) (err error) {
	for id, e := range r.edits {
		if e.seq <= committed {
			err = errors.Join(err, r.forgetEdit(id))
		}
	}
	return err
}

// forgetPast drops the oldest alarms that are over.
func (r *Registry) forgetPast() (err error) {
	type past struct {
		id proto.UUID
		ts int64
	}
	var list []past
	ids := r.idsOf(alarms)
	if len(ids) <= maxPast {
		return nil
	}
	for _, id := range ids {
		text, _ := r.get(alarms.key(id))
		var j struct {
			Acknowledged, Cleared bool
			Created               int64 `json:"createdTime"`
		}
		if json.Unmarshal(text, &j) == nil && j.Acknowledged && j.Cleared {
			list = append(list, past{id, j.Created})
		}
	}
	if len(list) <= maxPast {
		return nil
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ts < list[j].ts })
	for _, p := range list[:len(list)-maxPast] {
		_, e := r.removeEntity(alarms, p.id)
		err = errors.Join(err, e)
	}
	return err
}

// SaveAttributes stores attributes of an entity that were set here at ts, durably. Any goroutine;
// the bytes of kvs are the caller's again when it returns.
func (r *Registry) SaveAttributes(id proto.UUID, scope Scope, ts int64, kvs []proto.KV) error {
	r.lock()
	defer r.unlock()
	if err := r.relieve(); err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(kvs), func(kv proto.KV) bool { return !fits(&kv) })
	asStored(kept)
	_, err := r.setAttributes(id, scope, ts, kept)
	return errors.Join(err, r.flush())
}

// DeleteAttributes removes attributes by name, durably; the event at or before seq in the queue
// says so to the cloud. Any goroutine.
func (r *Registry) DeleteAttributes(id proto.UUID, scope Scope, names []string, seq uint64) error {
	r.lock()
	defer r.unlock()
	var err error
	if scope != Latest { // of which the cloud gets no event
		err = r.remember(scopeID(scope, id), edit{seq, true})
	}
	_, e := r.deleteAttributes(id, scope, names)
	return errors.Join(err, e, r.flush())
}

// scopeID identifies the attributes of an entity and scope among the edits.
func scopeID(scope Scope, id proto.UUID) (key recordID) {
	key[0] = '0' + byte(scope)
	copy(key[1:], id[:])
	return key
}

// unlessDeleted leaves out of what the cloud sends the attributes that are not stored here, while
// the cloud does not know that some were deleted here. A new one among them comes again with the
// answer after the next connect.
func (r *Registry) unlessDeleted(id proto.UUID, scope Scope, kvs []proto.KV) []proto.KV {
	if len(kvs) == 0 || !r.edited(scopeID(scope, id)) {
		return kvs
	}
	stored := r.attributesOf(id, scope)
	return slices.DeleteFunc(kvs, func(kv proto.KV) bool { return stored.find(kv.Key) == nil })
}
