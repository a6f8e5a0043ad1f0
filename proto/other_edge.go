package proto

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// MapIDs replaces ids in the JSON inside b: fn gets each id that stands there as a text of its own,
// and returns the one to write in its place. An id has one length, so b keeps its own, also where
// it is the fragment of an event with JSON in it. n is how many were replaced.
func MapIDs(b []byte, fn func(UUID) (UUID, bool)) (n int) {
	const length = 36
	for i := 0; i+length+2 <= len(b); i++ {
		if b[i] != '"' || b[i+1+length] != '"' {
			continue
		}
		text := b[i+1 : i+1+length]
		id, ok := ParseUUID(string(text))
		if !ok {
			continue
		}
		if other, ok := fn(id); ok && other != id {
			copy(text, FormatUUID(other))
			n++
		}
		i += length
	}
	return n
}

// MoveTenant replaces in the JSON inside b what belongs to one edge's configuration by what belongs
// to another's: tenant, customer and edge. It reports whether anything was replaced.
func MoveTenant(b []byte, from, to *EdgeConfiguration) bool {
	pairs := [...][2]UUID{
		{UUIDOf(from.GetTenantIdMSB(), from.GetTenantIdLSB()), UUIDOf(to.GetTenantIdMSB(), to.GetTenantIdLSB())},
		{UUIDOf(from.GetCustomerIdMSB(), from.GetCustomerIdLSB()), UUIDOf(to.GetCustomerIdMSB(), to.GetCustomerIdLSB())},
		{UUIDOf(from.GetEdgeIdMSB(), from.GetEdgeIdLSB()), UUIDOf(to.GetEdgeIdMSB(), to.GetEdgeIdLSB())},
	}
	return MapIDs(b, func(id UUID) (UUID, bool) {
		for _, p := range pairs {
			// NullUUID is no customer, and stands for other things too.
			if id == p[0] && id != (UUID{}) && id != NullUUID && p[1] != (UUID{}) {
				return p[1], true
			}
		}
		return UUID{}, false
	}) > 0
}

// AppendForEntity appends the fragment of an event of KindEntityData as it is for another entity of
// the same type. ok is false for what does not parse as one; then dst comes back as it was.
func AppendForEntity(dst, fragment []byte, id UUID) (out []byte, ok bool) {
	number, typ, n := protowire.ConsumeTag(fragment)
	if n < 0 || number != protowire.Number(KindEntityData) || typ != protowire.BytesType {
		return dst, false
	}
	data, m := protowire.ConsumeBytes(fragment[n:])
	if m < 0 || n+m != len(fragment) {
		return dst, false
	}
	body := make([]byte, 0, len(data)+20)
	msb, lsb := Halves(id)
	for i, half := range [...]int64{msb, lsb} {
		if half != 0 {
			body = protowire.AppendTag(body, protowire.Number(i+1), protowire.VarintType)
			body = protowire.AppendVarint(body, uint64(half))
		}
	}
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return dst, false
		}
		m := protowire.ConsumeFieldValue(number, typ, data[n:])
		if m < 0 {
			return dst, false
		}
		if number > 2 {
			body = append(body, data[:n+m]...)
		}
		data = data[n+m:]
	}
	dst = protowire.AppendTag(dst, protowire.Number(KindEntityData), protowire.BytesType)
	return protowire.AppendBytes(dst, body), true
}

// EntityTypeOf is the entityType of an event of KindEntityData; "" for what does not parse as one.
func EntityTypeOf(fragment []byte) (typ string) {
	eachField(fragment, protowire.Number(KindEntityData), protowire.BytesType, func(data []byte) {
		eachField(data, 3, protowire.BytesType, func(b []byte) { typ = string(bytes.Clone(b)) })
	})
	return typ
}

// OriginatorOf is the id of the entity that an event of KindAlarm is about.
func OriginatorOf(fragment []byte) (id UUID, ok bool) {
	i := bytes.Index(fragment, []byte(`"originator"`))
	if i < 0 {
		return id, false
	}
	end := bytes.IndexByte(fragment[i:], '}')
	if end < 0 {
		return id, false
	}
	MapIDs(fragment[i:i+end], func(u UUID) (UUID, bool) {
		if !ok {
			id, ok = u, true
		}
		return u, false
	})
	return id, ok
}
