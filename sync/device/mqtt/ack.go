package mqtt

import "encoding/binary"

// DecodeAck reads the packet id, which may be 0, of a PUBACK, PUBREC, PUBREL or PUBCOMP. The reason
// and the properties that may follow in MQTT 5 are not looked at. The error is an [*Error].
func DecodeAck(frame []byte) (id uint16, err error) {
	t := TypeOf(frame)
	if t < TypePuback || t > TypePubcomp {
		return 0, Unexpected(frame)
	}
	f := fieldsOf(frame, t)
	if f.err == nil && t == TypePubrel && frame[0]&15 != 2 {
		f.fail("flags of the header", badBits, ReasonMalformed)
	}
	if id = f.uint16("packet id"); f.err != nil {
		return 0, f.err
	}
	return id, nil
}

// AppendAck appends a PUBACK, PUBREC or PUBCOMP. Versions before MQTT 5 know no reason; 0, success,
// is not written.
func AppendAck(dst []byte, t Type, version byte, id uint16, reason byte) []byte {
	if version == 5 && reason != 0 {
		dst = binary.BigEndian.AppendUint16(appendHead(dst, t, 0, 3), id)
		return append(dst, reason)
	}
	return binary.BigEndian.AppendUint16(appendHead(dst, t, 0, 2), id)
}
