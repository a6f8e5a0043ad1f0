package mqtt

// Reason codes of MQTT 5 that an [Error] carries.
const (
	ReasonMalformed = 0x81
	ReasonProtocol  = 0x82
	ReasonVersion   = 0x84 // a protocol or a version of it that is not spoken here
	// ReasonTopicAlias is for a topic alias, since none is offered.
	ReasonTopicAlias = 0x94
)

// Error is what is wrong with a packet of a client. The connection that the packet came over cannot
// go on.
type Error struct {
	Type   Type   // of the packet
	Field  string // of the packet, such as "client id"
	Fault  string // of the field, such as "cut off"
	Reason byte   // for a DISCONNECT of MQTT 5
}

// Error says which packet is wrong and why, such as "CONNECT: client id: cut off".
func (e *Error) Error() string { return e.Type.String() + ": " + e.Field + ": " + e.Fault }

// Faults that several fields can have.
const (
	cutOff  = "cut off"
	badText = "not UTF-8, or with U+0000"
	badBits = "reserved bits are wrong"
)

// Unexpected is the error for a packet, not empty, that must not come now, whatever is in it: one
// that only servers send, one of a type that does not exist, an AUTH, which must be agreed on
// first, a second CONNECT, or anything before the first.
func Unexpected(frame []byte) *Error {
	return &Error{TypeOf(frame), "type", "must not come now", ReasonProtocol}
}
