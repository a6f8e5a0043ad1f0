package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
)

// Attribute values stand on flash, one record for each entity and scope, and are read when they are
// asked for; memory holds a key of 18 bytes for each record. A record is a list of
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

// attributeKey is the key of a record.
func attributeKey(s Scope, id proto.UUID) string {
	var k [2 + 16]byte
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

// attribute is one value with the time of its writer, in milliseconds since the Unix epoch.
type attribute struct {
	ts int64
	kv proto.KV
}

func decodeAttributes(b []byte) (list []attribute, ok bool) {
	for len(b) > 0 {
		item, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return list, false
		}
		b = b[n:]
		ts, n := protowire.ConsumeVarint(item)
		if n < 0 {
			return list, false
		}
		kv, ok := proto.ParseKV(item[n:])
		if !ok {
			return list, false
		}
		list = append(list, attribute{protowire.DecodeZigZag(ts), kv})
	}
	return list, true
}

func encodeAttributes(list []attribute) []byte {
	var b, item []byte
	for i := range list {
		item = protowire.AppendVarint(item[:0], protowire.EncodeZigZag(list[i].ts))
		item = proto.AppendKV(item, &list[i].kv)
		b = protowire.AppendBytes(b, item)
	}
	return b
}

func byKey(a attribute, key []byte) int { return bytes.Compare(a.kv.Key, key) }

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
	key := attributeKey(scope, id)
	old, _ := r.get(key)
	list, _ := decodeAttributes(old) // what is damaged is left out
	if ts == newest {
		ts = time.Now().UnixMilli()
		for i := range list {
			ts = max(ts, list[i].ts)
		}
	}
	changed := false
	var set []proto.KV
	for i := range kvs {
		kv := &kvs[i]
		at, there := slices.BinarySearchFunc(list, kv.Key, byKey)
		switch {
		case there && list[at].ts > ts:
			continue
		case there:
			same := sameValue(&list[at].kv, kv)
			if !same || scope == Latest {
				changed = true
				list[at] = attribute{ts, *kv}
			} else if list[at].ts < ts {
				// A new time alone is not worth a write: our own change coming back with the same
				// value changes nothing on flash.
				list[at].ts = ts
			}
		default:
			changed = true
			list = slices.Insert(list, at, attribute{ts, *kv})
		}
		set = append(set, *kv)
	}
	if changed {
		record := encodeAttributes(list)
		if len(list) > maxAttributeKeys || len(record) > maxAttributeRecord {
			return false, errFull
		}
		if err := r.put(key, record); err != nil {
			return false, err
		}
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
	key := attributeKey(scope, id)
	old, _ := r.get(key)
	list, _ := decodeAttributes(old)
	was := len(list)
	list = slices.DeleteFunc(list, func(a attribute) bool { return slices.Contains(names, string(a.kv.Key)) })
	var err error
	switch {
	case len(list) == was:
	case len(list) == 0:
		_, err = r.remove(key)
	default:
		err = r.put(key, encodeAttributes(list))
	}
	if err != nil {
		return false, err
	}
	if scope == SharedScope && len(names) > 0 {
		r.notifyShared(id, nil, names)
	}
	return len(list) != was, nil
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
// Unix epoch.
func (r *Registry) TimedAttributes(id proto.UUID, scope Scope, keys []string, fn func(ts int64, kv *proto.KV)) {
	record, ok := r.get(attributeKey(scope, id))
	if !ok {
		return
	}
	list, _ := decodeAttributes(record)
	if keys == nil {
		for i := range list {
			fn(list[i].ts, &list[i].kv)
		}
		return
	}
	for _, k := range keys {
		if at, ok := slices.BinarySearchFunc(list, []byte(k), byKey); ok {
			fn(list[at].ts, &list[at].kv)
		}
	}
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }
