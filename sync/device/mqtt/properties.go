package mqtt

import (
	"encoding/binary"
	"iter"
)

// Numbers of properties that somebody asks for.
const (
	PropSubscriptionID    = 11
	PropSessionExpiry     = 17 // s
	PropReceiveMaximum    = 33 // packets
	PropTopicAlias        = 35
	PropUser              = 38
	PropMaximumPacketSize = 39 // bytes
)

// Numbers of properties that this package itself writes.
const propAssignedID = 18

// kind is the type of a property's value.
type kind uint8

const (
	kindNone   kind = iota // there is no such property
	kindByte               // a number in 1 byte
	kindUint16             // in 2 bytes
	kindUint32             // in 4 bytes
	kindLength             // in 1 to 4 bytes
	kindText
	kindBinary
	kindPair // two texts
)

// Where a property may stand. The properties of a will are apart from those of its CONNECT.
const (
	inConnect = 1 << iota
	inWill
	inPublish
	inSubscribe
	inUnsubscribe
)

// propertyTable has a row for each property that clients may send in packets whose properties are
// looked at (MQTT 5, 2.2.2.2). A client must not send a Topic Alias, number 35, to a server that
// offers none, nor a Subscription Identifier in a PUBLISH.
var propertyTable = [64]struct {
	kind kind
	in   uint8
}{
	1:                     {kindByte, inPublish | inWill},   // Payload Format Indicator
	2:                     {kindUint32, inPublish | inWill}, // Message Expiry Interval
	3:                     {kindText, inPublish | inWill},   // Content Type
	8:                     {kindText, inPublish | inWill},   // Response Topic
	9:                     {kindBinary, inPublish | inWill}, // Correlation Data
	PropSubscriptionID:    {kindLength, inSubscribe},
	PropSessionExpiry:     {kindUint32, inConnect},
	21:                    {kindText, inConnect},   // Authentication Method
	22:                    {kindBinary, inConnect}, // Authentication Data
	23:                    {kindByte, inConnect},   // Request Problem Information
	24:                    {kindUint32, inWill},    // Will Delay Interval
	25:                    {kindByte, inConnect},   // Request Response Information
	PropReceiveMaximum:    {kindUint16, inConnect},
	34:                    {kindUint16, inConnect}, // Topic Alias Maximum
	PropUser:              {kindPair, inConnect | inWill | inPublish | inSubscribe | inUnsubscribe},
	PropMaximumPacketSize: {kindUint32, inConnect},
}

// Properties are the properties of a packet, checked, as they lie in it. Earlier versions than MQTT
// 5 have none.
type Properties []byte

// Property is one of them. What its number does not have is 0 or nil.
type Property struct {
	ID     byte
	Number uint32
	Name   []byte // of a user property
	Value  []byte // text or binary data
}

// All are the properties in their order.
func (p Properties) All() iter.Seq[Property] {
	return func(yield func(Property) bool) {
		for len(p) > 0 {
			v, rest, ok := cutProperty(p)
			if !ok || !yield(v) {
				return
			}
			p = rest
		}
	}
}

// Number is the value of a property that is a number, 0 if it is not there.
func (p Properties) Number(id byte) uint32 {
	for len(p) > 0 {
		v, rest, ok := cutProperty(p)
		if !ok {
			return 0
		}
		if v.ID == id {
			return v.Number
		}
		p = rest
	}
	return 0
}

// properties takes the properties of a packet of MQTT 5.
func (f *fields) properties(in uint8) Properties {
	const field = "properties"
	if f.err != nil {
		return nil
	}
	size, n := cutLength(f.rest)
	switch {
	case n < 0:
		f.fail(field, "a length of more than 4 bytes", ReasonMalformed)
		return nil
	case n == 0, len(f.rest)-n < size:
		f.fail(field, cutOff, ReasonMalformed)
		return nil
	}
	all := f.rest[n : n+size : n+size]
	f.rest = f.rest[n+size:]
	seen := uint64(0)
	for rest := all; len(rest) > 0; {
		id := rest[0]
		if id == PropTopicAlias && in == inPublish {
			f.fail(field, "a topic alias, which is not offered here", ReasonTopicAlias)
			return nil
		}
		if int(id) >= len(propertyTable) || propertyTable[id].in&in == 0 {
			f.fail(field, "one that does not belong there", ReasonMalformed)
			return nil
		}
		if id != PropUser && seen&(1<<id) != 0 {
			f.fail(field, "one that may come once comes twice", ReasonProtocol)
			return nil
		}
		seen |= 1 << id
		p, behind, ok := cutProperty(rest)
		if !ok {
			f.fail(field, "a value is cut off", ReasonMalformed)
			return nil
		}
		k := propertyTable[id].kind // a Name that is not there is text
		if (k == kindText || k == kindPair) && !(validText(p.Name) && validText(p.Value)) {
			f.fail(field, "a text is not UTF-8, or with U+0000", ReasonMalformed)
			return nil
		}
		rest = behind
	}
	return all
}

// cutProperty reads a property from the front of b; false if that is none, or not all of one.
func cutProperty(b []byte) (p Property, rest []byte, ok bool) {
	p.ID, b = b[0], b[1:]
	if int(p.ID) >= len(propertyTable) {
		return p, nil, false
	}
	size := 0
	switch propertyTable[p.ID].kind {
	case kindByte:
		size = 1
	case kindUint16:
		size = 2
	case kindUint32:
		size = 4
	case kindLength:
		v, n := cutLength(b)
		if n <= 0 {
			return p, nil, false
		}
		p.Number = uint32(v)
		return p, b[n:], true
	case kindText, kindBinary:
		p.Value, b, ok = cutBinary(b)
		return p, b, ok
	case kindPair:
		if p.Name, b, ok = cutBinary(b); ok {
			p.Value, b, ok = cutBinary(b)
		}
		return p, b, ok
	}
	if size == 0 || len(b) < size {
		return p, nil, false
	}
	for _, c := range b[:size] {
		p.Number = p.Number<<8 | uint32(c)
	}
	return p, b[size:], true
}

// appendText appends a string or binary data of at most 65535 bytes.
func appendText[T string | []byte](dst []byte, v T) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(v))), v...)
}
