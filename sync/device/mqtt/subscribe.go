package mqtt

import (
	"encoding/binary"
	"iter"
)

// Subscription is a SUBSCRIBE or an UNSUBSCRIBE. The slices are of the packet.
type Subscription struct {
	Type       Type
	ID         uint16 // not 0
	Properties Properties
	Filters    Filters // of an UNSUBSCRIBE at least one
}

// Filters are the filters of a packet, checked, as they lie in it.
type Filters struct {
	count   int
	options bool // a byte of them stands behind each filter
	packed  []byte
}

// Filter is one of them.
type Filter struct {
	Name    []byte // UTF-8 without U+0000; may be empty
	QoS     byte   // 0, 1 or 2; 0 in an UNSUBSCRIBE
	Options byte   // as they came, with the QoS in the lowest two bits
}

// Len is how many there are.
func (l Filters) Len() int { return l.count }

// All are the filters in their order.
func (l Filters) All() iter.Seq[Filter] {
	return func(yield func(Filter) bool) {
		rest := l.packed
		for range l.count {
			var f Filter
			f.Name, rest, _ = cutBinary(rest)
			if l.options {
				f.Options, rest = rest[0], rest[1:]
				f.QoS = f.Options & 3
			}
			if !yield(f) {
				return
			}
		}
	}
}

// Decode takes a SUBSCRIBE or an UNSUBSCRIBE of the given version apart. The error is an [*Error].
func (s *Subscription) Decode(version byte, frame []byte) error {
	*s = Subscription{Type: TypeOf(frame)}
	in := uint8(inSubscribe)
	switch s.Type {
	case TypeSubscribe:
		s.Filters.options = true
	case TypeUnsubscribe:
		in = inUnsubscribe
	default:
		return Unexpected(frame)
	}
	f := fieldsOf(frame, s.Type)
	if f.err == nil && frame[0]&15 != 2 {
		f.fail("flags of the header", badBits, ReasonMalformed)
	}
	s.ID = f.id()
	if version == 5 {
		s.Properties = f.properties(in)
	}
	s.Filters.packed = f.rest
	for len(f.rest) > 0 {
		f.text("filter")
		if s.Filters.options {
			// Before MQTT 5 all but the QoS is reserved.
			if o := f.byte("options of a filter"); o&3 == 3 || version != 5 && o > 2 {
				f.fail("options of a filter", badBits, ReasonMalformed)
			}
		}
		s.Filters.count++
	}
	if s.Type == TypeUnsubscribe && s.Filters.count == 0 {
		f.fail("filters", "none", ReasonMalformed)
	}
	if f.err != nil {
		*s = Subscription{}
		return f.err
	}
	return nil
}

// AppendSuback answers a SUBSCRIBE; codes has one byte for each filter.
func AppendSuback(dst []byte, version byte, id uint16, codes []byte) []byte {
	return appendCodes(dst, TypeSuback, version, id, codes)
}

// AppendUnsuback answers an UNSUBSCRIBE; codes has one byte for each filter, which only MQTT 5
// sends.
func AppendUnsuback(dst []byte, version byte, id uint16, codes []byte) []byte {
	if version != 5 {
		codes = nil
	}
	return appendCodes(dst, TypeUnsuback, version, id, codes)
}

func appendCodes(dst []byte, t Type, version byte, id uint16, codes []byte) []byte {
	n := 2 + len(codes)
	if version == 5 {
		n++ // no properties
	}
	dst = binary.BigEndian.AppendUint16(appendHead(dst, t, 0, n), id)
	if version == 5 {
		dst = append(dst, 0)
	}
	return append(dst, codes...)
}
