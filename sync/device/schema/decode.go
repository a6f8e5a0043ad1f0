package schema

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
)

// Bounds of one message.
const (
	MaxJSON   = 1 << 20 // bytes of JSON that it may become
	maxLevels = 100     // of messages in messages, as in protobuf-java
	maxVisits = 1 << 20 // fields looked at, counting those that are absent
)

var (
	errTooDeep  = fmt.Errorf("protobuf: messages are nested more than %d deep", maxLevels)
	errTooLarge = fmt.Errorf("protobuf: the message would become more than %d bytes of JSON", MaxJSON)
	errWire     = errors.New("protobuf: the bytes are no message of the profile's schema")
	errUTF8     = errors.New("protobuf: a string is no UTF-8")
)

// AppendJSON appends the JSON of a message in wire form to dst. It keeps no reference to wire.
func (m *Message) AppendJSON(dst, wire []byte) ([]byte, error) {
	if len(wire) > MaxJSON {
		return dst, errTooLarge
	}
	d := decoder{wire: wire, out: dst, limit: len(dst) + MaxJSON, visits: maxVisits}
	d.items = append(d.items, item{bits: span(0, len(wire))})
	err := d.message(m, 1, maxLevels)
	return d.out, err
}

// decoder writes the JSON of one message, level by level. At each level it goes through the bytes
// once to find the values of every field, because fields stand in any order on the wire, and then
// writes the fields by number. Behind each level both stacks shrink to what they were, so they
// never hold more than the message has.
type decoder struct {
	wire   []byte
	out    []byte
	limit  int    // of out
	visits int    // that are left
	items  []item // values of the levels above, then of this one

	// heads has for each of these levels the first and the last item of each field, and then the
	// field that each oneof holds. All are indices plus 1; 0 is none.
	heads []int32
}

// item is a value on the stack.
type item struct {
	bits uint64 // of a number, or the span of the value in the wire form
	next int32  // index of the next value of the same field, plus 1; 0 is none
}

// span packs the offsets of a value into bits.
func span(from, to int) uint64 { return uint64(from)<<32 | uint64(to) }

func (d *decoder) bytes(it *item) []byte { return d.wire[it.bits>>32 : uint32(it.bits)] }

// message writes a message whose parts are the items from first on. Several parts of a message that
// is not repeated are read one behind the other, which merges them.
func (d *decoder) message(m *Message, first int32, levels int) error {
	if levels == 0 {
		return errTooDeep
	}
	if d.visits -= 1 + len(m.fields); d.visits < 0 {
		return errTooLarge
	}
	l := level{decoder: d, m: m, base: len(d.heads)}
	d.heads = append(d.heads, make([]int32, 2*len(m.fields)+m.oneofs)...)
	mark := len(d.items)
	for i := first; i != 0; i = d.items[i-1].next {
		it := d.items[i-1]
		if err := l.collect(int(it.bits>>32), int(uint32(it.bits))); err != nil {
			return err
		}
	}
	d.out = append(d.out, '{')
	before := len(d.out)
	for i := range m.fields {
		f := m.fields[i]
		head := d.heads[l.base+2*i]
		if head == 0 && f.presence {
			continue
		}
		if len(d.out) > before {
			d.out = append(d.out, ',')
		}
		d.out = append(append(append(d.out, '"'), f.json...), `":`...)
		if err := d.field(f, head, levels); err != nil {
			return err
		}
		if len(d.out) > d.limit {
			return errTooLarge
		}
	}
	d.out = append(d.out, '}')
	d.items, d.heads = d.items[:mark], d.heads[:l.base]
	return nil
}

// level is the message that is being read.
type level struct {
	*decoder
	m    *Message
	base int // where its heads begin
}

// collect notes the values that stand between from and to.
func (l *level) collect(from, to int) error {
	for from < to {
		number, typ, n := protowire.ConsumeTag(l.wire[from:to])
		if n < 0 || number > protowire.MaxValidNumber {
			return errWire
		}
		from += n
		i, known := l.m.find(number)
		if known {
			f := l.m.fields[i]
			switch want := f.kind.wire(); {
			case typ == want:
				n = l.value(i, from, to)
			case typ == protowire.BytesType && f.repeated: // numbers, packed
				n = l.packed(i, from, to)
			default:
				known = false
			}
		}
		if !known { // protowire also finds the end of a group
			n = protowire.ConsumeFieldValue(number, typ, l.wire[from:to])
		}
		if n < 0 {
			if n == badUTF8 {
				return errUTF8
			}
			return errWire
		}
		from += n
	}
	return nil
}

// badUTF8 stands for a length when a string is not UTF-8. It is below the error codes of protowire.
const badUTF8 = -100

// value notes one value of a field and returns its length, which is negative if the value is
// malformed.
func (l *level) value(i, from, to int) int {
	b := l.wire[from:to]
	f := l.m.fields[i]
	var bits uint64
	var n int
	switch f.kind.wire() {
	case protowire.VarintType:
		bits, n = protowire.ConsumeVarint(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		bits = uint64(v)
	case protowire.Fixed64Type:
		bits, n = protowire.ConsumeFixed64(b)
	case protowire.BytesType:
		var v []byte
		if v, n = protowire.ConsumeBytes(b); n >= 0 {
			if f.kind == kindString && !utf8.Valid(v) {
				return badUTF8
			}
			bits = span(from+n-len(v), from+n)
		}
	}
	if n >= 0 {
		l.note(i, bits)
	}
	return n
}

// packed notes the numbers of a packed list and returns its length.
func (l *level) packed(i, from, to int) int {
	list, n := protowire.ConsumeBytes(l.wire[from:to])
	if n < 0 {
		return n
	}
	end := from + n
	for at := end - len(list); at < end; {
		k := l.value(i, at, end)
		if k < 0 {
			return k
		}
		at += k
	}
	return n
}

// note adds a value to those of a field. It replaces the value of a field that is not repeated.
func (l *level) note(i int, bits uint64) {
	f := l.m.fields[i]
	heads := l.heads[l.base:]
	if f.oneof > 0 {
		held := &heads[2*len(l.m.fields)+f.oneof-1]
		if *held != 0 && *held != int32(i+1) {
			heads[2*(*held-1)] = 0
		}
		*held = int32(i + 1)
	}
	head, tail := &heads[2*i], &heads[2*i+1]
	if *head != 0 && !f.repeated && f.kind != kindMessage {
		l.items[*head-1].bits = bits
		return
	}
	l.items = append(l.items, item{bits: bits})
	last := int32(len(l.items))
	if *head == 0 {
		*head = last
	} else {
		l.items[*tail-1].next = last
	}
	*tail = last
}

// field writes the value of a field whose items begin with head.
func (d *decoder) field(f *field, head int32, levels int) error {
	switch {
	case f.repeated:
		return d.list(f, head, levels)
	case f.kind == kindMessage:
		return d.message(f.message, head, levels-1)
	}
	var it item
	if head != 0 {
		it = d.items[head-1]
	} else if f.kind == kindEnum {
		it.bits = uint64(f.enum.first)
	}
	d.scalar(f, &it)
	return nil
}

func (d *decoder) list(f *field, head int32, levels int) error {
	d.out = append(d.out, '[')
	for i := head; i != 0; i = d.items[i-1].next {
		if i != head {
			d.out = append(d.out, ',')
		}
		it := d.items[i-1]
		it.next = 0
		if f.kind == kindMessage { // of one part
			mark := len(d.items)
			d.items = append(d.items, it)
			if err := d.message(f.message, int32(mark+1), levels-1); err != nil {
				return err
			}
			d.items = d.items[:mark]
		} else {
			d.scalar(f, &it)
		}
		if len(d.out) > d.limit {
			return errTooLarge
		}
	}
	d.out = append(d.out, ']')
	return nil
}

// scalar writes a value that is no message.
func (d *decoder) scalar(f *field, it *item) {
	n := int64(it.bits)
	switch f.kind {
	case kindDouble:
		d.out = appendJava(d.out, math.Float64frombits(it.bits), 64)
		return
	case kindFloat:
		d.out = appendJava(d.out, float64(math.Float32frombits(uint32(n))), 32)
		return
	case kindBool:
		d.out = strconv.AppendBool(d.out, n != 0)
		return
	case kindString:
		d.out = proto.AppendJSONString(d.out, d.bytes(it))
		return
	case kindInt32, kindSfixed32:
		n = int64(int32(n))
	case kindUint32, kindFixed32:
		n = int64(uint32(n))
	case kindSint32:
		n = protowire.DecodeZigZag(uint64(uint32(n)))
	case kindSint64:
		n = protowire.DecodeZigZag(it.bits)
	}
	name, named := "", false
	if f.kind == kindEnum {
		n = int64(int32(n))
		name, named = f.enum.names[int32(n)]
	}
	var buf [24]byte
	text := buf[:0]
	quoted := true
	switch f.kind {
	case kindBytes:
		text = base64.StdEncoding.AppendEncode(text, d.bytes(it))
	case kindUint64, kindFixed64:
		text = strconv.AppendUint(text, it.bits, 10)
	default:
		if text, quoted = strconv.AppendInt(text, n, 10), named; named {
			text = append(text[:0], name...)
		}
		quoted = quoted || f.kind == kindInt64 || f.kind == kindSint64 || f.kind == kindSfixed64
	}
	if quoted {
		d.out = append(d.out, '"')
	}
	d.out = append(d.out, text...)
	if quoted {
		d.out = append(d.out, '"')
	}
}

// appendJava writes a floating-point number as Java does: always with a point, and with an exponent
// below 0.001 and from 10,000,000 on. The digits matter, because the server derives the type of a
// value from them (API.md 1.3).
func appendJava(dst []byte, v float64, bits int) []byte {
	format := byte('e')
	if a := math.Abs(v); a == 0 || a >= 1e-3 && a < 1e7 {
		format = 'f'
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(v, format, -1, bits), "e")
	switch digits {
	case "NaN", "-Inf", "+Inf":
		digits = strings.TrimPrefix(strings.Replace(digits, "Inf", "Infinity", 1), "+")
		return proto.AppendJSONString(dst, digits)
	}
	dst = append(dst, digits...)
	if !strings.Contains(digits, ".") {
		dst = append(dst, ".0"...)
	}
	if exponent != "" {
		n, _ := strconv.Atoi(exponent)
		dst = strconv.AppendInt(append(dst, 'E'), int64(n), 10)
	}
	return dst
}
