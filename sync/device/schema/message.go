package schema

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Message is a message type of a schema. It does not change once it is parsed; many goroutines may
// use it.
type Message struct {
	fields []*field // by number
	oneofs int
}

// field is a field of a message.
type field struct {
	name     string // as in the schema
	json     string // in lowerCamelCase
	number   protowire.Number
	kind     kind
	repeated bool
	presence bool     // an absent field is not the same as one with its default value
	oneof    int      // which of the message, from 1; 0 is none
	message  *Message // of kindMessage
	enum     *enum    // of kindEnum
}

// enum is an enumeration; its first value is the default.
type enum struct {
	first   int32
	names   map[int32]string // the first of several names with one number
	numbers map[string]int32
}

// kind is the type of a field.
type kind uint8

const (
	kindDouble kind = iota
	kindFloat
	kindInt32
	kindInt64
	kindUint32
	kindUint64
	kindSint32
	kindSint64
	kindFixed32
	kindFixed64
	kindSfixed32
	kindSfixed64
	kindBool
	kindString
	kindBytes
	kindEnum
	kindMessage
)

// scalars are the names of the kinds before kindEnum.
var scalars = [...]string{
	"double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64",
	"fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
}

// wire returns the wire type of values of a kind.
func (k kind) wire() protowire.Type {
	switch k {
	case kindDouble, kindFixed64, kindSfixed64:
		return protowire.Fixed64Type
	case kindFloat, kindFixed32, kindSfixed32:
		return protowire.Fixed32Type
	case kindString, kindBytes, kindMessage:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// find returns the index of the field with that number, or where it would be.
func (m *Message) find(number protowire.Number) (int, bool) {
	from, to := 0, len(m.fields)
	for from < to {
		if i := (from + to) / 2; m.fields[i].number < number {
			from = i + 1
		} else {
			to = i
		}
	}
	return from, from < len(m.fields) && m.fields[from].number == number
}

// jsonName returns the name of a field in JSON: an underscore goes, and the letter behind it
// becomes a capital.
func jsonName(name string) string {
	var b strings.Builder
	upper := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			upper = true
			continue
		case upper && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		upper = false
		b.WriteByte(c)
	}
	return b.String()
}
