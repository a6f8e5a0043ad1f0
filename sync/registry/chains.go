package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"edgesync/proto"
)

// What stands in the way of a message: rule chains, and what belongs to them. Whoever executes
// chains hears of each change of their records, and of those of alarms.

// Heard says what changed: a rule chain, its metadata, the tenant's profile, an alarm.
type Heard uint8

// What may have changed.
const (
	ChainHeard Heard = iota + 1
	AlarmHeard
)

// Hear names the function that is told of each change of a rule chain, its metadata, a tenant
// profile or an alarm, as soon as it is in force. fn is called with locks held: it must not call
// the registry, and not block. Before the loop runs.
func (r *Registry) Hear(fn func(what Heard, id proto.UUID)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hear = fn
}

// tell tells of a change of a record. The caller holds mu.
func (r *Registry) tell(key string) {
	if r.hear == nil || len(key) != keyLen {
		return
	}
	switch key[0] {
	case ruleChains.letter, ruleChainMetadata.letter, tenantProfiles.letter:
		r.hear(ChainHeard, proto.UUID([]byte(key[1:])))
	case alarms.letter:
		r.hear(AlarmHeard, proto.UUID([]byte(key[1:])))
	}
}

func (r *Registry) applyRuleChain(c *change) (bool, error) {
	var err error
	if !c.deleted && rootFlag([]byte(c.text)) {
		err = r.unroot(c.id)
	}
	kept, e := r.applyEntity(c)
	err = errors.Join(err, e)
	if c.deleted && kept {
		for _, k := range [...]*kind{ruleChainMetadata, formerMetadata} {
			_, e := r.remove(k.key(c.id))
			err = errors.Join(err, e)
		}
	}
	return kept, err
}

// keepFormer keeps the metadata of a chain that are about to be replaced, unless older ones are
// kept already: the new ones may turn out to be no chain.
func (r *Registry) keepFormer(id proto.UUID, text []byte) {
	former := formerMetadata.key(id)
	if r.has(former) {
		return
	}
	if old, ok := r.get(ruleChainMetadata.key(id)); ok && !bytes.Equal(old, text) {
		_ = r.put(former, old) // where there is no room, the new ones count whatever they are
	}
}

// FormerMetadata are the metadata that a chain had before, until GoodMetadata. Any goroutine.
func (r *Registry) FormerMetadata(id proto.UUID) ([]byte, bool) { return r.get(formerMetadata.key(id)) }

// GoodMetadata says that a chain's metadata of this text are good, so that the former ones may go,
// or, if others have come meanwhile, that these are the former ones. It is staged. Any goroutine.
func (r *Registry) GoodMetadata(id proto.UUID, text []byte) error {
	former := formerMetadata.key(id)
	if !r.has(former) {
		return nil
	}
	r.lock()
	defer r.unlock()
	if r.has(former) && !r.same(ruleChainMetadata.key(id), text) { // else they have gone with their chain
		return r.put(former, text)
	}
	_, err := r.remove(former)
	return err
}

func rootFlag(text []byte) bool {
	var j struct{ Root bool }
	return json.Unmarshal(text, &j) == nil && j.Root
}

// unroot takes the flag from the former root, of which no message says that it lost it
// (../rules/RULES.md 1.4).
func (r *Registry) unroot(root proto.UUID) (err error) {
	for _, id := range r.idsOf(ruleChains) {
		text, ok := r.get(ruleChains.key(id))
		if id == root || !ok || !rootFlag(text) {
			continue
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) != nil {
			continue
		}
		if fresh := bytes.Replace(text, []byte(`"root":true`), []byte(`"root":false`), 1); !rootFlag(fresh) {
			text = fresh
		} else {
			fields["root"] = json.RawMessage("false")
			if text, err = json.Marshal(fields); err != nil {
				return err
			}
		}
		err = errors.Join(err, r.put(ruleChains.key(id), text))
	}
	return err
}

// NodeLimit is how many executions of nodes the tenant's profile allows a message; 0: it does not
// say. Any goroutine.
func (r *Registry) NodeLimit() int {
	r.write.Lock()
	ids := r.idsOf(tenantProfiles)
	r.write.Unlock()
	for _, id := range ids {
		text, _ := r.get(tenantProfiles.key(id))
		var j struct {
			Data struct {
				Configuration struct {
					Most int `json:"maxRuleNodeExecutionsPerMessage"`
				} `json:"configuration"`
			} `json:"profileData"`
		}
		if json.Unmarshal(text, &j) == nil && j.Data.Configuration.Most > 0 {
			return j.Data.Configuration.Most
		}
	}
	return 0
}

// KeepAlarm stores an alarm that a rule chain raised or changed, as JSON. The cloud need not hear
// of it: what the cloud sends of the alarm wins. It is staged, and durable with the next Flush. Any
// goroutine.
func (r *Registry) KeepAlarm(id proto.UUID, text []byte) error {
	r.lock()
	defer r.unlock()
	if err := r.relieve(); err != nil {
		return err
	}
	_, err := r.applyEntity(&change{kind: alarms, id: id, text: string(text)}) // also one that is over
	return errors.Join(err, r.forgetPast())
}

// KeepValues stores attributes of an entity that a rule chain saves, or that a device has posted
// without an event for the cloud. They are staged, and durable with the next Flush. Any goroutine;
// the bytes of kvs are the caller's again when it returns.
func (r *Registry) KeepValues(id proto.UUID, scope Scope, ts int64, kvs []proto.KV) error {
	return r.keepValues(id, scope, ts, kvs, nil)
}

// keepValues is KeepValues, and notes in was what it has replaced, unless was is nil.
func (r *Registry) keepValues(id proto.UUID, scope Scope, ts int64, kvs []proto.KV, was map[string]*replaced) error {
	r.lock()
	defer r.unlock()
	if err := r.relieve(); err != nil {
		return err
	}
	if scope == ClientScope {
		ts = newest
	}
	kept := slices.DeleteFunc(slices.Clone(kvs), func(kv proto.KV) bool { return !fits(&kv) })
	asStored(kept)
	var list []*replaced
	if stored := r.attributesOf(id, scope); was != nil {
		for i := range kept {
			one := was[string(kept[i].Key)]
			if one == nil {
				one = new(replaced)
				if a := stored.find(kept[i].Key); a != nil {
					one.was, one.there = attribute{a.ts, ownKV(&a.kv)}, true
				}
			}
			list = append(list, one)
		}
	}
	if _, err := r.setAttributes(id, scope, ts, kept); err != nil {
		return err // none is set
	}
	stored := r.attributesOf(id, scope)
	for i, one := range list {
		if a := stored.find(kept[i].Key); a != nil && sameValue(&a.kv, &kept[i]) { // else there was a newer one
			one.now = ownKV(&kept[i])
			was[string(one.now.Key)] = one
		}
	}
	return nil
}

// Replaced are attributes of an entity that a rule chain has replaced, and what they were before:
// each once, however often it was replaced. Any goroutine.
type Replaced struct {
	r     *Registry
	id    proto.UUID
	scope Scope
	list  map[string]*replaced
}

// replaced is an attribute, and what it was before.
type replaced struct {
	now   proto.KV
	was   attribute
	there bool // it was there
}

// Replaced begins to replace attributes of an entity.
func (r *Registry) Replaced(id proto.UUID, scope Scope) *Replaced {
	return &Replaced{r, id, scope, make(map[string]*replaced)}
}

// Replace is KeepValues.
func (p *Replaced) Replace(ts int64, kvs []proto.KV) error {
	return p.r.keepValues(p.id, p.scope, ts, kvs, p.list)
}

func ownKV(kv *proto.KV) proto.KV {
	own := *kv
	own.Key, own.Str = bytes.Clone(kv.Key), bytes.Clone(kv.Str)
	return own
}

// Undo brings back what was there before, where nobody else has set it since.
func (p *Replaced) Undo() {
	r := p.r
	r.lock()
	defer r.unlock()
	stored := r.attributesOf(p.id, p.scope)
	var set []proto.KV
	var gone []string
	for _, key := range slices.Sorted(maps.Keys(p.list)) {
		one := p.list[key]
		h := stored.holder(one.now.Key)
		at, there := slices.BinarySearchFunc(h.list, one.now.Key, byKey)
		switch {
		case !there || !sameValue(&h.list[at].kv, &one.now):
			continue
		case one.there:
			h.list[at] = one.was
			set = append(set, one.was.kv)
		default:
			h.list = slices.Delete(h.list, at, at+1)
			gone = append(gone, key)
		}
		h.changed = true
	}
	if stored.put() == nil && p.scope == SharedScope && len(set)+len(gone) > 0 {
		r.notifyShared(p.id, set, gone)
	}
}

// DropAlarm forgets an alarm that a rule chain has raised, if it is still as it was then. The cloud
// has not heard of it. Any goroutine.
func (r *Registry) DropAlarm(id proto.UUID, was []byte) {
	r.lock()
	defer r.unlock()
	if text, ok := r.get(alarms.key(id)); ok && bytes.Equal(text, was) {
		_, _ = r.removeEntity(alarms, id) // what is still there is cleared as any other
		delete(r.gone, id)                // nothing belongs to it
	}
}

// entityKinds are the kinds of EntityText beside devices and the edge.
var entityKinds = map[string]*kind{
	"ASSET": assets, "ENTITY_VIEW": entityViews, "CUSTOMER": customers, "DASHBOARD": dashboards, "DEVICE_PROFILE": deviceProfiles,
	"ASSET_PROFILE": assetProfiles, "TENANT": tenants, "USER": users, "ALARM": alarms, "RULE_CHAIN": ruleChains, "DEVICE": devices,
	"CALCULATED_FIELD": calculatedFields,
}

// EntityText reads an entity's JSON by the name of its type. Any goroutine.
func (r *Registry) EntityText(entityType string, id proto.UUID) ([]byte, bool) {
	k := entityKinds[entityType]
	if k == nil || k == devices && !r.HasDevice(id) {
		return nil, false
	}
	return r.get(k.key(id))
}

// EntityNamed finds an entity of a type by its exact name, or by its title. Any goroutine.
func (r *Registry) EntityNamed(entityType, name string) (proto.UUID, bool) {
	if entityType == proto.DeviceEntity {
		return r.DeviceNamed(name)
	}
	k := entityKinds[entityType]
	if k == nil {
		return proto.UUID{}, false
	}
	for _, key := range r.store.Keys(string(k.letter)) {
		text, ok := r.get(key)
		var j struct{ Name, Title string }
		if ok && len(key) == keyLen && decode(text, &j) && (j.Name == name || j.Name == "" && j.Title == name) {
			return proto.UUID([]byte(key[1:])), true
		}
	}
	return proto.UUID{}, false
}
