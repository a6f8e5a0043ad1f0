package proto

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var errNoFragment = errors.New("proto: the bytes are no part of an UplinkMsg")

// AppendContent appends the content of a fragment as one JSON object, with secrets replaced by
// "***", and returns the type of the entity that the fragment is about ("" if unknown). The text is
// for people who look into the queue; the way to the cloud does not use it.
//
//	telemetry   {"ts":1767225600000,"values":{"temperature":21.5}}
//	attributes  {"scope":"CLIENT_SCOPE","ts":…,"values":{…}}
//	            deleted ones: {"scope":"CLIENT_SCOPE","deleted":["key"]}
//	others      the message's own fields, ids put together, JSON text as JSON:
//	            {"msgType":"ENTITY_CREATED_RPC_MESSAGE","id":"…","entity":{…}}
func AppendContent(dst, fragment []byte) (content []byte, entityType string, err error) {
	var u UplinkMsg
	if err := proto.Unmarshal(fragment, &u); err != nil {
		return dst, "", errNoFragment // err is not wrapped: its text would show parts of the fragment
	}
	if len(u.EntityData) == 1 {
		return appendData(dst, u.EntityData[0]), u.EntityData[0].GetEntityType(), nil
	}
	m := u.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !f.IsList() || m.Get(f).List().Len() == 0 {
			continue
		}
		k := Kind(f.Number())
		e := m.Get(f).List().Get(0).Message()
		entityType = k.EntityType()
		if t := e.Descriptor().Fields().ByName("entityType"); entityType == "" && t != nil {
			entityType = e.Get(t).String()
		}
		w := writer{buf: dst, all: k == KindDeviceCredentials || k == KindUserCredentials || k == KindAPIKey}
		w.message(e, 0)
		return w.buf, entityType, nil
	}
	return dst, "", errNoFragment
}

// appendData writes the values of an entity. The names of the members are our own.
func appendData(dst []byte, e *EntityDataProto) []byte {
	w := writer{buf: append(dst, '{')}
	if s := e.GetPostAttributeScope(); s != "" {
		w.key("scope")
		w.text(s)
	}
	if d := e.GetAttributeDeleteMsg(); d != nil {
		if s := d.GetScope(); s != "" && e.GetPostAttributeScope() == "" {
			w.key("scope")
			w.text(s)
		}
		w.key("deleted")
		w.buf = append(w.buf, '[')
		for _, n := range d.GetAttributeNames() {
			w.comma()
			w.text(n)
		}
		w.buf = append(w.buf, ']')
	}
	if e.AttributeTs != nil {
		w.key("ts")
		w.time(e.GetAttributeTs())
	}
	lists := e.GetPostTelemetryMsg().GetTsKvList()
	if len(lists) == 1 {
		w.key("ts")
		w.time(lists[0].GetTs())
		w.values(lists[0].GetKv())
	} else if len(lists) > 1 { // legal, but never written by this encoder
		w.key("series")
		w.buf = append(w.buf, '[')
		for _, l := range lists {
			w.comma()
			w.buf = append(w.buf, '{')
			w.key("ts")
			w.time(l.GetTs())
			w.values(l.GetKv())
			w.buf = append(w.buf, '}')
		}
		w.buf = append(w.buf, ']')
	}
	for _, p := range []*PostAttributeMsg{e.GetPostAttributesMsg(), e.GetAttributesUpdatedMsg()} {
		if p != nil {
			w.values(p.GetKv())
		}
	}
	return append(w.buf, '}')
}

// writer writes JSON by hand, because reflection by name would make the linker keep every method of
// every type.
type writer struct {
	buf []byte
	all bool // the message is about credentials: every member but the harmless ones is a secret
}

// comma writes the separator, unless the next value is the first of its object or array.
func (w *writer) comma() {
	if c := w.buf[len(w.buf)-1]; c != '{' && c != '[' {
		w.buf = append(w.buf, ',')
	}
}

func (w *writer) key(k string) {
	w.comma()
	w.text(k)
	w.buf = append(w.buf, ':')
}

func (w *writer) text(s string)  { w.buf = AppendJSONString(w.buf, s) }
func (w *writer) number(n int64) { w.buf = strconv.AppendInt(w.buf, n, 10) }

// time writes a time, or null for an undated one (see Undated).
func (w *writer) time(t int64) {
	if _, undated := Uptime(t); undated {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.number(t)
}

// real writes a float; NaN and the infinities, which JSON does not have, as text.
func (w *writer) real(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.text(strconv.FormatFloat(f, 'g', -1, 64))
		return
	}
	w.buf = strconv.AppendFloat(w.buf, f, 'g', -1, 64)
}

func (w *writer) values(kv []*KeyValueProto) {
	w.key("values")
	w.buf = append(w.buf, '{')
	for _, v := range kv {
		w.key(v.GetKey())
		switch v.GetType() {
		case KeyValueType_BOOLEAN_V:
			w.buf = strconv.AppendBool(w.buf, v.GetBoolV())
		case KeyValueType_LONG_V:
			w.number(v.GetLongV())
		case KeyValueType_DOUBLE_V:
			w.real(v.GetDoubleV())
		case KeyValueType_JSON_V:
			if w.hides(v.GetKey()) {
				w.text(mask)
			} else {
				w.json(v.GetJsonV())
			}
		default:
			w.secretOr(v.GetKey(), v.GetStringV())
		}
	}
	w.buf = append(w.buf, '}')
}

// secretOr writes s, or the mask if name is the name of a secret.
func (w *writer) secretOr(name, s string) {
	if s != "" && w.hides(name) {
		s = mask
	}
	w.text(s)
}

// json writes JSON text as JSON with its secrets masked. Of text that is no JSON, or is nested too
// deeply, it writes only the length.
func (w *writer) json(s string) {
	before := len(w.buf)
	if s == "" {
		w.text("")
	} else if !w.masked(s) {
		w.buf = w.buf[:before]
		w.text("(" + strconv.Itoa(len(s)) + " bytes that are no JSON)")
	}
}

// jsonFields are the fields that hold JSON text (CONTRACT.md 1.5, 8.1).
var jsonFields = map[protoreflect.Name]bool{"entity": true, "params": true, "response": true, "additionalInfo": true}

const maxDepth = 32

// message writes the fields of a message that are set, in the order in which edge.proto lists them.
func (w *writer) message(m protoreflect.Message, depth int) {
	w.buf = append(w.buf, '{')
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		if base, ok := strings.CutSuffix(name, "MSB"); ok {
			if low := fields.ByName(protoreflect.Name(base + "LSB")); low != nil {
				w.key(base)
				w.text(FormatUUID(UUIDOf(m.Get(f).Int(), m.Get(low).Int())))
				continue
			}
		}
		if strings.HasSuffix(name, "LSB") || !m.Has(f) && f.Kind() != protoreflect.EnumKind || depth > maxDepth {
			continue
		}
		w.key(name)
		v := m.Get(f)
		if !f.IsList() {
			w.field(f, v, depth)
			continue
		}
		w.buf = append(w.buf, '[')
		for j := range v.List().Len() {
			w.comma()
			w.field(f, v.List().Get(j), depth)
		}
		w.buf = append(w.buf, ']')
	}
	w.buf = append(w.buf, '}')
}

func (w *writer) field(f protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		w.buf = strconv.AppendBool(w.buf, v.Bool())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			w.text(string(e.Name()))
		} else {
			w.number(int64(v.Enum()))
		}
	case protoreflect.MessageKind:
		w.message(v.Message(), depth+1)
	case protoreflect.DoubleKind:
		w.real(v.Float())
	case protoreflect.StringKind:
		if jsonFields[f.Name()] {
			w.json(v.String())
		} else {
			w.secretOr(string(f.Name()), v.String())
		}
	default: // integers: the messages have no other kinds
		w.number(v.Int())
	}
}
