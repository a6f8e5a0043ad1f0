package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"edgesync/proto"
)

// Attribute values stand on flash, few of an entity and scope in one record, more of them in
// several (attribute_records.go), and are read when they are asked for; memory holds the key of
// each record. A record is a list of
//
//	length uvarint | ts zigzag uvarint | KeyValueProto
//
// sorted by key.

// Bounds of the attributes of one entity and scope.
const (
	maxAttribute       = 256 << 10 // bytes of one value
	maxAttributeRecord = 512 << 10 // bytes of all of them
	maxAttributeKeys   = 1024
	maxKey             = 255 // bytes of a key (CONTRACT.md 4.7: characters)
)

// Latest is the scope of the latest telemetry that the cloud sent.
const Latest Scope = 3

const scopes = Scope(4) // how many there are

var scopeNames = [...]string{"CLIENT_SCOPE", "SHARED_SCOPE", "SERVER_SCOPE"}

// attributeKey is the key of the first record of an entity and scope.
func attributeKey(s Scope, id proto.UUID) string {
	var k [firstRecordLen]byte
	k[0], k[1] = attributes.letter, '0'+byte(s)
	copy(k[2:], id[:])
	return string(k[:])
}

func parseScope(name string) (Scope, bool) {
	if name == "" {
		return ServerScope, true // as the server reads it (CONTRACT.md 7.3)
	}
	i := slices.Index(scopeNames[:], name)
	return Scope(i), i >= 0
}

// hidden are attributes in which the server notes the activity of a device. They come along with
// others and would wear the flash (CONTRACT.md 6.3, 7.3).
var hidden = []string{
	"active", "lastConnectTime", "lastDisconnectTime", "lastActivityTime", "inactivityAlarmTime",
	"lastInactivityAlarmTime",
}

// applyEntityData takes attributes and telemetry. Telemetry is kept as the latest value only and is
// never sent up again (CONTRACT.md 7.3).
func (r *Registry) applyEntityData(e *proto.EntityDataProto) (kept bool, err error) {
	id := proto.UUIDOf(e.GetEntityIdMSB(), e.GetEntityIdLSB())
	if !r.ours(e.GetEntityType(), id) {
		return false, nil
	}
	ts := int64(newest)
	if e.AttributeTs != nil {
		ts = *e.AttributeTs
	}
	do := func(k bool, e error) {
		kept = kept || k
		err = errors.Join(err, e)
	}
	for _, p := range []*proto.PostAttributeMsg{e.PostAttributesMsg, e.AttributesUpdatedMsg} {
		if p == nil {
			continue
		}
		scope, ok := parseScope(e.GetPostAttributeScope())
		if !ok {
			return false, errMalformed
		}
		kvs := r.unlessDeleted(id, scope, kvsOf(p.GetKv(), scope))
		if scope == SharedScope {
			here := r.announcedHere(id)
			kvs = slices.DeleteFunc(kvs, func(kv proto.KV) bool { return here(string(kv.Key)) })
		}
		do(r.setAttributes(id, scope, ts, kvs))
	}
	if d := e.AttributeDeleteMsg; d != nil {
		scope, ok := parseScope(d.GetScope())
		if !ok {
			return false, errMalformed
		}
		names := d.GetAttributeNames()
		if scope == SharedScope {
			names = slices.DeleteFunc(slices.Clone(names), r.announcedHere(id))
		}
		do(r.deleteAttributes(id, scope, names))
	}
	for _, l := range e.GetPostTelemetryMsg().GetTsKvList() {
		do(r.setAttributes(id, Latest, l.GetTs(), kvsOf(l.GetKv(), Latest)))
	}
	return kept, err
}

// ours reports whether an entity is one whose data are kept here. The server also sends data of
// entities that are not here; they are dropped.
func (r *Registry) ours(entityType string, id proto.UUID) bool {
	switch entityType {
	case proto.DeviceEntity:
		return r.has(devices.key(id))
	case "ASSET":
		return r.has(assets.key(id))
	case "ENTITY_VIEW":
		return r.has(entityViews.key(id))
	}
	e := r.edge.config
	if e == nil {
		return false
	}
	switch entityType {
	case "EDGE":
		return id == proto.UUIDOf(e.EdgeIdMSB, e.EdgeIdLSB)
	case "TENANT":
		return id == proto.UUIDOf(e.TenantIdMSB, e.TenantIdLSB)
	case "CUSTOMER":
		return id == proto.UUIDOf(e.CustomerIdMSB, e.CustomerIdLSB) && id != proto.NullUUID
	}
	return false
}

// kvsOf converts the values of a message that can be kept and leaves out the others.
func kvsOf(list []*proto.KeyValueProto, scope Scope) []proto.KV {
	kvs := make([]proto.KV, 0, len(list))
	for _, m := range list {
		kv := proto.KVOf(m)
		if !fits(&kv) || kv.Type < 0 || kv.Type > proto.KeyValueType_JSON_V ||
			kv.Type == proto.KeyValueType_JSON_V && !validJSON(kv.Str) || scope == ServerScope && slices.Contains(hidden, string(kv.Key)) {
			continue
		}
		kvs = append(kvs, kv)
	}
	return kvs
}

// fits says whether a value is within the bounds of a key and of a value.
func fits(kv *proto.KV) bool {
	return len(kv.Key) > 0 && len(kv.Key) <= maxKey && len(kv.Str) <= maxAttribute
}

// asStored makes of values that were written here what the server stores of them.
func asStored(kvs []proto.KV) {
	for i := range kvs {
		kvs[i].ConvertToStored()
	}
}

func validJSON(text []byte) bool { return checkJSON(text) && json.Valid(text) }

// newest stands for the time of values that come without one: no earlier than the values that are
// stored, whatever this machine's clock shows.
const newest = math.MinInt64

// setAttributes writes the values that are not older than the stored ones: the newest writer wins
// (CONTRACT.md 7.2). A value of the same time counts, because what comes later is what the server
// has. Shared values go to the watcher, also when the value is the same (API.md 2).
func (r *Registry) setAttributes(id proto.UUID, scope Scope, ts int64, kvs []proto.KV) (bool, error) {
	stored := r.attributesOf(id, scope)
	if ts == newest {
		ts = time.Now().UnixMilli()
		for i := range kvs {
			if a := stored.find(kvs[i].Key); a != nil {
				ts = max(ts, a.ts)
			}
		}
	}
	var set []proto.KV
	for i := range kvs {
		kv := &kvs[i]
		h := stored.holder(kv.Key)
		at, there := slices.BinarySearchFunc(h.list, kv.Key, byKey)
		switch {
		case there && h.list[at].ts > ts:
			continue
		case there:
			same := sameValue(&h.list[at].kv, kv)
			if !same || scope == Latest {
				h.changed = true
				h.list[at] = attribute{ts, *kv}
			} else if h.list[at].ts < ts {
				// A new time alone is not worth a write: our own change coming back with the same
				// value changes nothing on flash.
				h.list[at].ts = ts
			}
		default:
			h.changed, h.grown = true, true
			h.list = append(h.list, attribute{})
			copy(h.list[at+1:], h.list[at:])
			h.list[at] = attribute{ts, *kv}
		}
		set = append(set, *kv)
	}
	if err := stored.put(); err != nil {
		return false, err
	}
	if scope == SharedScope && len(set) > 0 {
		r.notifyShared(id, set, nil)
	}
	return len(set) > 0, nil
}

func sameValue(a, b *proto.KV) bool {
	return a.Type == b.Type && a.Bool == b.Bool && a.Long == b.Long && a.Double == b.Double && bytes.Equal(a.Str, b.Str)
}

// deleteAttributes removes values by name, whatever their times are (CONTRACT.md 7.2).
func (r *Registry) deleteAttributes(id proto.UUID, scope Scope, names []string) (bool, error) {
	stored := r.attributesOf(id, scope)
	removed := false
	for _, name := range names {
		h := stored.holder([]byte(name))
		if at, there := slices.BinarySearchFunc(h.list, []byte(name), byKey); there {
			h.list = slices.Delete(h.list, at, at+1)
			h.changed, removed = true, true
		}
	}
	if err := stored.put(); err != nil {
		return false, err
	}
	if scope == SharedScope && len(names) > 0 {
		r.notifyShared(id, nil, names)
	}
	return removed, nil
}

// dropAttributes removes all attributes of an entity and scope.
func (r *Registry) dropAttributes(id proto.UUID, scope Scope) (err error) {
	stored := r.attributesOf(id, scope)
	for at := range stored.records() {
		_, e := r.remove(stored.key(at))
		err = errors.Join(err, e)
	}
	return err
}

// Posted takes attributes of a device that were written here and are in the queue already, so that
// the device reads back what it wrote. They become durable with the next Flush. A posted value
// always wins here, as it does in the cloud (CONTRACT.md 7.2). Any goroutine.
func (r *Registry) Posted(id proto.UUID, scope string, p *proto.PostAttributeMsg) error {
	s, ok := parseScope(scope)
	if !ok {
		return errMalformed
	}
	if s == SharedScope {
		r.lock()
	} else {
		r.write.Lock() // nothing that the watcher hears of
	}
	defer r.unlock()
	if !r.has(devices.key(id)) {
		return nil
	}
	if err := r.relieve(); err != nil {
		return err
	}
	kvs := kvsOf(p.GetKv(), s)
	asStored(kvs)
	_, err := r.setAttributes(id, s, newest, kvs)
	return err
}

// Attributes calls fn for the attributes of an entity: those named by keys, or all of the scope if
// keys is nil. The order is that of keys, or by name. kv is valid during the call only. Any
// goroutine.
func (r *Registry) Attributes(id proto.UUID, scope Scope, keys []string, fn func(kv *proto.KV)) {
	r.TimedAttributes(id, scope, keys, func(_ int64, kv *proto.KV) { fn(kv) })
}

// TimedAttributes is Attributes with the time of each value's writer, in milliseconds since the
// Unix epoch. Values of one record are of one moment. Only one record is in memory at a time.
func (r *Registry) TimedAttributes(id proto.UUID, scope Scope, keys []string, fn func(ts int64, kv *proto.KV)) {
	stored := r.attributesOf(id, scope)
	if keys == nil {
		r.walkAttributes(id, scope, &stored, fn)
		return
	}
	for _, k := range keys {
		name := []byte(k)
		stored.forget(stored.place(name))
		found := stored.find(name)
		for !stored.current() { // a record was split meanwhile
			stored = r.attributesOf(id, scope)
			found = stored.find(name)
		}
		if found != nil {
			fn(found.ts, &found.kv)
		}
	}
}

// walkAttributes calls fn for all attributes of an entity and scope, record by record. Where
// records are split meanwhile it goes on with the name at which the next range began.
func (r *Registry) walkAttributes(id proto.UUID, scope Scope, stored *attributeSet, fn func(ts int64, kv *proto.KV)) {
	from := ""
	for at := 0; at < stored.records(); {
		stored.forget(at)
		list := stored.record(at).list
		if !stored.current() {
			*stored = r.attributesOf(id, scope)
			at = stored.place([]byte(from))
			continue
		}
		for i := range list {
			if string(list[i].kv.Key) >= from {
				fn(list[i].ts, &list[i].kv)
			}
		}
		if at++; at < stored.records() {
			from = stored.from(at)
		}
	}
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }
