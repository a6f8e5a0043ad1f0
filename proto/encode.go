package proto

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// KV is one key with one value, in the terms of KeyValueProto (CONTRACT.md 1.4). Type says which
// field holds the value; Str holds strings and JSON text. The appenders only read Key and Str and
// do not keep them.
type KV struct {
	Key    []byte
	Str    []byte
	Long   int64
	Double float64
	Type   KeyValueType
	Bool   bool
}

// ClientScope is the scope of the attributes that devices write (CONTRACT.md 7.1).
const ClientScope = "CLIENT_SCOPE"

// DeviceEntity is the entity type of devices in EntityDataProto.
const DeviceEntity = "DEVICE"

// EdgeEntity is the entity type of this edge itself: a legal originator of telemetry
// (CONTRACT.md 5.3).
const EdgeEntity = "EDGE"

// AppendTelemetry appends the fragment that stores kv at ts (milliseconds since the Unix epoch) as
// time series of the entity. kv may be empty: the server then only notes that the entity is alive.
func AppendTelemetry(dst []byte, entity UUID, entityType string, ts int64, kv []KV) []byte {
	list := varintField(ts) + kvsSize(kv)
	post := 1 + protowire.SizeBytes(list) // tsKvList = 1
	size := entitySize(entity, entityType) + 1 + protowire.SizeBytes(post)

	dst = appendEntity(dst, entity, entityType, size)
	dst = appendHead(dst, 4, post) // postTelemetryMsg
	dst = appendHead(dst, 1, list) // tsKvList
	dst = appendVarintField(dst, 1, ts)
	return appendKVs(dst, 2, kv)
}

// AppendPostAttributes appends the fragment that hands kv as attributes of the scope to the
// server's rule chain. The fragment carries no time: the server stamps the values on arrival, so
// they always win (pattern a of CONTRACT.md 7.2).
func AppendPostAttributes(dst []byte, entity UUID, entityType, scope string, kv []KV) []byte {
	post := kvsSize(kv)
	size := entitySize(entity, entityType) + 1 + protowire.SizeBytes(post) + stringField(scope)

	dst = appendEntity(dst, entity, entityType, size)
	dst = appendHead(dst, 5, post) // postAttributesMsg
	dst = appendKVs(dst, 1, kv)
	return appendStringField(dst, 7, scope)
}

// AppendAttributesUpdated appends the fragment that stores kv as attributes of the scope with the
// edge's time ts (milliseconds since the Unix epoch). The server acknowledges and drops each key
// that it holds with the same or a newer time (pattern b of CONTRACT.md 7.2).
func AppendAttributesUpdated(dst []byte, entity UUID, entityType, scope string, ts int64, kv []KV) []byte {
	post := kvsSize(kv)
	size := entitySize(entity, entityType) + 1 + protowire.SizeBytes(post) + stringField(scope) +
		1 + protowire.SizeVarint(uint64(ts)) // explicit presence: written also when 0

	dst = appendEntity(dst, entity, entityType, size)
	dst = appendHead(dst, 6, post) // attributesUpdatedMsg
	dst = appendKVs(dst, 1, kv)
	dst = appendStringField(dst, 7, scope)
	dst = protowire.AppendTag(dst, 9, protowire.VarintType) // attributeTs
	return protowire.AppendVarint(dst, uint64(ts))
}

// AppendAttributeDelete appends the fragment that deletes attributes by name.
func AppendAttributeDelete(dst []byte, entity UUID, entityType, scope string, names []string) []byte {
	del := stringField(scope)
	for _, n := range names {
		del += 1 + protowire.SizeBytes(len(n))
	}
	size := entitySize(entity, entityType) + 1 + protowire.SizeBytes(del)

	dst = appendEntity(dst, entity, entityType, size)
	dst = appendHead(dst, 8, del) // attributeDeleteMsg
	dst = appendStringField(dst, 1, scope)
	for _, n := range names {
		dst = appendHead(dst, 2, len(n))
		dst = append(dst, n...)
	}
	return dst
}

// appendEntity begins a fragment: the tag and length of an EntityDataProto of size bytes, and its
// first three fields.
func appendEntity(dst []byte, entity UUID, entityType string, size int) []byte {
	msb, lsb := Halves(entity)
	dst = appendHead(dst, protowire.Number(KindEntityData), size)
	dst = appendVarintField(dst, 1, msb)
	dst = appendVarintField(dst, 2, lsb)
	return appendStringField(dst, 3, entityType)
}

func entitySize(entity UUID, entityType string) int {
	msb, lsb := Halves(entity)
	return varintField(msb) + varintField(lsb) + stringField(entityType)
}

func kvsSize(kv []KV) int {
	n := 0
	for i := range kv {
		n += 1 + protowire.SizeBytes(kvSize(&kv[i]))
	}
	return n
}

func kvSize(kv *KV) int {
	n := 0
	if len(kv.Key) > 0 {
		n += 1 + protowire.SizeBytes(len(kv.Key))
	}
	n += varintField(int64(kv.Type))
	switch kv.Type {
	case KeyValueType_BOOLEAN_V:
		if kv.Bool {
			n += 2
		}
	case KeyValueType_LONG_V:
		n += varintField(kv.Long)
	case KeyValueType_DOUBLE_V:
		if math.Float64bits(kv.Double) != 0 {
			n += 9
		}
	case KeyValueType_STRING_V, KeyValueType_JSON_V:
		if len(kv.Str) > 0 {
			n += 1 + protowire.SizeBytes(len(kv.Str))
		}
	}
	return n
}

func appendKVs(dst []byte, field protowire.Number, kvs []KV) []byte {
	for i := range kvs {
		dst = appendHead(dst, field, kvSize(&kvs[i]))
		dst = AppendKV(dst, &kvs[i])
	}
	return dst
}

// AppendKV appends kv as a KeyValueProto, without tag and length.
func AppendKV(dst []byte, kv *KV) []byte {
	dst = appendBytesField(dst, 1, kv.Key)
	dst = appendVarintField(dst, 2, int64(kv.Type))
	switch kv.Type {
	case KeyValueType_BOOLEAN_V:
		if kv.Bool {
			dst = appendVarintField(dst, 3, 1)
		}
	case KeyValueType_LONG_V:
		dst = appendVarintField(dst, 4, kv.Long)
	case KeyValueType_DOUBLE_V:
		if b := math.Float64bits(kv.Double); b != 0 { // by its bits: -0.0 is not the default
			dst = protowire.AppendTag(dst, 5, protowire.Fixed64Type)
			dst = protowire.AppendFixed64(dst, b)
		}
	case KeyValueType_STRING_V:
		dst = appendBytesField(dst, 6, kv.Str)
	case KeyValueType_JSON_V:
		dst = appendBytesField(dst, 7, kv.Str)
	}
	return dst
}

// ParseKV reads what AppendKV wrote. Key and Str of the result point into b; ok is false for bytes
// that do not parse, an empty key and an unknown type.
func ParseKV(b []byte) (kv KV, ok bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return kv, false
		}
		b = b[n:]
		var v uint64
		var text []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			return kv, false
		}
		if n < 0 {
			return kv, false
		}
		b = b[n:]
		switch num {
		case 1:
			kv.Key = text
		case 2:
			kv.Type = KeyValueType(v)
		case 3:
			kv.Bool = v != 0
		case 4:
			kv.Long = int64(v)
		case 5:
			kv.Double = math.Float64frombits(v)
		case 6, 7:
			kv.Str = text
		}
	}
	return kv, len(kv.Key) > 0 && kv.Type >= KeyValueType_BOOLEAN_V && kv.Type <= KeyValueType_JSON_V
}

// KVOf converts a decoded message to a KV. Key and Str are copies.
func KVOf(m *KeyValueProto) KV {
	kv := KV{
		Key: []byte(m.GetKey()), Type: m.GetType(), Bool: m.GetBoolV(), Long: m.GetLongV(),
		Double: m.GetDoubleV(), Str: []byte(m.GetStringV()),
	}
	if kv.Type == KeyValueType_JSON_V {
		kv.Str = []byte(m.GetJsonV())
	}
	return kv
}

// The appenders below write fields with a number below 16 and implicit presence: the tag takes one
// byte, and a default value is not written.

func varintField(v int64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(uint64(v))
}

func stringField(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}

func appendVarintField(dst []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}

func appendStringField(dst []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	dst = appendHead(dst, field, len(s))
	return append(dst, s...)
}

func appendBytesField(dst []byte, field protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = appendHead(dst, field, len(b))
	return append(dst, b...)
}

// appendHead appends the tag and length of a length-delimited field.
func appendHead(dst []byte, field protowire.Number, size int) []byte {
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(size))
}
