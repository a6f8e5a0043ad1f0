package schema

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// AppendWire appends the wire form of a JSON object. Members that the schema does not have, and
// names that an enumeration does not have, are left out. What does not fit the schema is an error,
// as for the server.
func (m *Message) AppendWire(dst, object []byte) ([]byte, error) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return dst, fmt.Errorf("protobuf: %w", err)
	}
	return m.appendWire(dst, v, maxLevels)
}

func (m *Message) appendWire(dst []byte, v any, levels int) ([]byte, error) {
	object, ok := v.(map[string]any)
	switch {
	case levels == 0:
		return dst, errTooDeep
	case !ok:
		return dst, errors.New("protobuf: a JSON object is needed")
	}
	held := make([]bool, m.oneofs+1)
	for i := range m.fields {
		f := m.fields[i]
		v := object[f.json]
		if f.name != f.json {
			if other, ok := object[f.name]; ok && v != nil {
				return dst, fmt.Errorf("protobuf: %s is there twice", f.name)
			} else if ok {
				v = other
			}
		}
		if v == nil { // null too
			continue
		}
		if f.oneof > 0 && held[f.oneof] {
			return dst, fmt.Errorf("protobuf: %s is one of several that exclude each other", f.name)
		}
		held[f.oneof] = true
		var err error
		if dst, err = f.appendWire(dst, v, levels); err != nil {
			return dst, fmt.Errorf("%w, in %s", err, f.name)
		}
	}
	return dst, nil
}

func (f *field) appendWire(dst []byte, v any, levels int) ([]byte, error) {
	switch {
	case f.repeated:
		return f.appendList(dst, v, levels)
	case f.kind == kindMessage:
		inner, err := f.message.appendWire(nil, v, levels-1)
		if err != nil {
			return dst, err
		}
		return f.appendBytes(dst, inner), nil
	}
	value, ok, err := f.appendScalar(nil, v)
	if err != nil || !ok || !f.presence && f.isDefault(value) {
		return dst, err
	}
	return append(protowire.AppendTag(dst, f.number, f.kind.wire()), value...), nil
}

// appendList appends a list. Numbers are packed, as in proto3.
func (f *field) appendList(dst []byte, v any, levels int) ([]byte, error) {
	list, ok := v.([]any)
	if !ok {
		return dst, errors.New("protobuf: a JSON array is needed")
	}
	var value []byte
	packed := f.kind.wire() != protowire.BytesType
	for _, e := range list {
		var err error
		switch {
		case e == nil:
			err = errors.New("protobuf: a list has no null")
		case f.kind == kindMessage:
			value, err = f.message.appendWire(value[:0], e, levels-1)
			dst = f.appendBytes(dst, value)
		default:
			if value, ok, err = f.appendScalar(value, e); ok && !packed {
				dst = append(protowire.AppendTag(dst, f.number, protowire.BytesType), value...)
				value = value[:0]
			}
		}
		if err != nil {
			return dst, err
		}
	}
	if packed && len(value) > 0 {
		dst = f.appendBytes(dst, value)
	}
	return dst, nil
}

// appendBytes appends a field that is a string, bytes or a message.
func (f *field) appendBytes(dst, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, f.number, protowire.BytesType), value)
}

// isDefault reports whether an absent field would mean the same value.
func (f *field) isDefault(value []byte) bool {
	if f.kind == kindEnum {
		v, _ := protowire.ConsumeVarint(value)
		return int32(v) == f.enum.first
	}
	for _, b := range value {
		if b != 0 {
			return false
		}
	}
	return true
}

// appendScalar appends a value without its tag. ok is false if there is nothing to append.
func (f *field) appendScalar(dst []byte, v any) (_ []byte, ok bool, err error) {
	text, ok := textOf(v)
	if !ok {
		return dst, false, errors.New("protobuf: an object or a list where a value is needed")
	}
	bits := 64
	switch f.kind {
	case kindFloat, kindInt32, kindUint32, kindSint32, kindFixed32, kindSfixed32, kindEnum:
		bits = 32
	}
	var n uint64
	switch f.kind {
	case kindString:
		return protowire.AppendString(dst, text), true, nil
	case kindBytes:
		b, err := readBase64(text)
		return protowire.AppendBytes(dst, b), err == nil, err
	case kindDouble, kindFloat:
		d, err := readFloat(text, bits)
		if n = math.Float64bits(d); bits == 32 {
			n = uint64(math.Float32bits(float32(d)))
		}
		if err != nil {
			return dst, false, err
		}
	case kindBool:
		n = protowire.EncodeBool(text == "true")
		if text != "true" && text != "false" {
			return dst, false, errors.New("protobuf: neither true nor false")
		}
	case kindUint32, kindUint64, kindFixed32, kindFixed64:
		if n, err = readUint(text, bits); err != nil {
			return dst, false, err
		}
	default:
		i, err := readInt(text, bits)
		if f.kind == kindEnum {
			if number, ok := f.enum.numbers[text]; ok {
				i, err = int64(number), nil
			} else if err != nil {
				return dst, false, nil // a name that the schema does not have
			}
		}
		if err != nil {
			return dst, false, err
		}
		if n = uint64(i); f.kind == kindSint32 || f.kind == kindSint64 {
			n = protowire.EncodeZigZag(i)
		}
	}
	switch f.kind.wire() {
	case protowire.Fixed32Type:
		return protowire.AppendFixed32(dst, uint32(n)), true, nil
	case protowire.Fixed64Type:
		return protowire.AppendFixed64(dst, n), true, nil
	}
	return protowire.AppendVarint(dst, n), true, nil
}

// readBase64 reads base64 of both alphabets, with or without padding.
func readBase64(text string) ([]byte, error) {
	text = strings.ReplaceAll(strings.ReplaceAll(strings.TrimRight(text, "="), "-", "+"), "_", "/")
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("protobuf: no base64")
	}
	return b, nil
}

// textOf returns the text of a JSON value that is no object. A list with one such value has its
// text, because the server's JSON reader does not distinguish the two.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case []any:
		if len(v) == 1 {
			return textOf(v[0])
		}
	}
	return "", false
}

var errNumber = errors.New("protobuf: no number of that type")

// exact is the largest whole number that may be written with a point or an exponent.
const exact = 1 << 53

func readInt(text string, bits int) (int64, error) {
	n, err := strconv.ParseInt(text, 10, bits)
	if err == nil {
		return n, nil
	}
	d, err := readFloat(text, 64)
	if n = int64(d); err != nil || math.Abs(d) > exact || float64(n) != d || bits == 32 && int64(int32(n)) != n {
		return 0, errNumber
	}
	return n, nil
}

func readUint(text string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, bits)
	if err == nil {
		return n, nil
	}
	i, err := readInt(text, 64)
	if err != nil || i < 0 || bits == 32 && int64(uint32(i)) != i {
		return 0, errNumber
	}
	return uint64(i), nil
}

func readFloat(text string, bits int) (float64, error) {
	switch text {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	d, err := strconv.ParseFloat(text, bits)
	if err != nil || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, errNumber
	}
	return d, nil
}
