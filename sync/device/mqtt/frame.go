package mqtt

import "encoding/binary"

// Type is a packet's, the upper four bits of its first byte.
type Type byte

// The types. 0 is none.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth
)

var typeNames = [16]string{
	"packet of type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String is the name in the standard.
func (t Type) String() string { return typeNames[t&15] }

// TypeOf is the type of the packet that begins with b, 0 where b is empty.
func TypeOf(b []byte) Type {
	if len(b) == 0 {
		return 0
	}
	return Type(b[0] >> 4)
}

// Header reads the header of the packet that begins with b: size is that of the header itself, 2 to
// 5 bytes, and remaining, at most 268435455, that of what follows it. Both are 0 as long as b does
// not hold the whole header. The error is an [*Error].
func Header(b []byte) (size, remaining int, err error) {
	if len(b) < 2 {
		return 0, 0, nil
	}
	remaining, n := cutLength(b[1:])
	switch {
	case n < 0:
		return 0, 0, &Error{TypeOf(b), "remaining length", "longer than 4 bytes", ReasonMalformed}
	case n == 0:
		return 0, 0, nil
	}
	return 1 + n, remaining, nil
}

// cutLength reads a length of one to four bytes from the front of b, and says how many bytes it
// took: 0 where b ends before it does, -1 where it does not end.
func cutLength(b []byte) (v, n int) {
	for i, c := range b {
		v |= int(c&0x7f) << (7 * i)
		switch {
		case c < 0x80:
			return v, i + 1
		case i == 3:
			return 0, -1
		}
	}
	return 0, 0
}

// appendLength is the reverse of cutLength. v is at most 268435455.
func appendLength(dst []byte, v int) []byte { return binary.AppendUvarint(dst, uint64(v)) }

// appendHead appends the first byte of a packet and the length of the rest.
func appendHead(dst []byte, t Type, flags byte, remaining int) []byte {
	return appendLength(append(dst, byte(t)<<4|flags), remaining)
}
