package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// fields takes the body of a packet apart, from the front. Behind the first field that is wrong
// there are no more, and err says what was wrong with it.
type fields struct {
	typ  Type
	rest []byte
	err  *Error
}

// fieldsOf begins with the body of a whole packet, which has the given type. An error comes with
// the first field at the latest: no packet that is taken apart is empty.
func fieldsOf(frame []byte, t Type) fields {
	f := fields{typ: t}
	size, remaining, err := Header(frame)
	switch {
	case TypeOf(frame) != t:
		f.err = Unexpected(frame)
	case err != nil, size == 0, size+remaining != len(frame):
		f.fail("remaining length", "not that of the packet", ReasonMalformed)
	default:
		f.rest = frame[size:len(frame):len(frame)] // the buffer may go on with the next packet
	}
	return f
}

func (f *fields) fail(field, fault string, reason byte) {
	if f.err == nil {
		f.err = &Error{f.typ, field, fault, reason}
	}
	f.rest = nil
}

func (f *fields) byte(field string) byte {
	if len(f.rest) == 0 {
		f.fail(field, cutOff, ReasonMalformed)
		return 0
	}
	v := f.rest[0]
	f.rest = f.rest[1:]
	return v
}

func (f *fields) uint16(field string) uint16 {
	if len(f.rest) < 2 {
		f.fail(field, cutOff, ReasonMalformed)
		return 0
	}
	v := binary.BigEndian.Uint16(f.rest)
	f.rest = f.rest[2:]
	return v
}

// id is a packet id that must not be 0.
func (f *fields) id() uint16 {
	v := f.uint16("packet id")
	if v == 0 {
		f.fail("packet id", "0", ReasonMalformed)
	}
	return v
}

// binary is binary data, not nil but where there is an error.
func (f *fields) binary(field string) []byte {
	b, rest, ok := cutBinary(f.rest)
	if !ok {
		f.fail(field, cutOff, ReasonMalformed)
		return nil
	}
	f.rest = rest
	return b
}

// text is a string, in UTF-8 and without U+0000.
func (f *fields) text(field string) []byte {
	b := f.binary(field)
	if f.err == nil && !validText(b) {
		f.fail(field, badText, ReasonMalformed)
	}
	return b
}

func cutBinary(b []byte) (v, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return nil, nil, false
	}
	return b[2:end:end], b[end:], true
}

// validText tells whether b is a string of the protocol.
func validText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// topicFault is what is wrong with the topic of a PUBLISH, "" where nothing is. Almost every topic
// is ASCII: one pass suffices for those.
func topicFault(b []byte) string {
	ascii := true
	for _, c := range b {
		switch {
		case c == '+' || c == '#':
			return "with a wildcard"
		case c == 0:
			return badText
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.Valid(b) {
		return badText
	}
	return ""
}
