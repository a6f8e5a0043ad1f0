package mqtt

import "encoding/binary"

// Publish is a PUBLISH. The slices are of the packet.
type Publish struct {
	QoS        byte   // 0, 1 or 2
	Duplicate  bool   // sent before, it says; also with QoS 0
	Retain     bool   // to be kept for later subscribers
	Topic      []byte // may be empty; without wildcards
	ID         uint16 // not 0; 0 with QoS 0
	Properties Properties
	Payload    []byte
}

// Decode takes a PUBLISH of the given version apart. The error is an [*Error].
func (p *Publish) Decode(version byte, frame []byte) error {
	*p = Publish{}
	f := fieldsOf(frame, TypePublish)
	if f.err != nil {
		return f.err
	}
	p.QoS, p.Duplicate, p.Retain = frame[0]>>1&3, frame[0]&8 != 0, frame[0]&1 != 0
	if p.QoS == 3 {
		f.fail("QoS", "3", ReasonMalformed)
	}
	p.Topic = f.binary("topic")
	if fault := topicFault(p.Topic); fault != "" {
		f.fail("topic", fault, ReasonMalformed)
	}
	if p.QoS > 0 {
		p.ID = f.id()
	}
	if version == 5 {
		if len(f.rest) > 0 && f.rest[0] == 0 { // almost always
			f.rest = f.rest[1:]
		} else {
			p.Properties = f.properties(inPublish)
		}
	}
	p.Payload = f.rest
	if f.err != nil {
		*p = Publish{}
		return f.err
	}
	return nil
}

// PublishSize is the size in bytes of a PUBLISH with a payload of so many bytes.
func PublishSize(version byte, topic string, payload int, qos byte) int {
	n := publishBody(version, topic, payload, qos)
	var length [4]byte
	return 1 + len(appendLength(length[:0], n)) + n
}

func publishBody(version byte, topic string, payload int, qos byte) int {
	n := 2 + len(topic) + payload
	if qos > 0 {
		n += 2 // packet id
	}
	if version == 5 {
		n++ // no properties
	}
	return n
}

// AppendPublish appends a PUBLISH without properties. topic has at most 65535 bytes; id is not 0
// where qos, which is at most 2, is not 0, and does not count where it is.
func AppendPublish(dst []byte, version byte, topic string, payload []byte, qos byte, id uint16) []byte {
	return append(AppendPublishHead(dst, version, topic, len(payload), qos, id), payload...)
}

// AppendPublishHead appends what stands before the payload of a PUBLISH, which has so many bytes.
func AppendPublishHead(dst []byte, version byte, topic string, payload int, qos byte, id uint16) []byte {
	dst = appendHead(dst, TypePublish, qos<<1, publishBody(version, topic, payload, qos))
	dst = appendText(dst, topic)
	if qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	if version == 5 {
		dst = append(dst, 0)
	}
	return dst
}
