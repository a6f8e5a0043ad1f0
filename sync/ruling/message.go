package ruling

import (
	"encoding/json"
	"errors"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

var (
	errFragment = errors.New("an event of a device is unreadable")
	errScope    = errors.New("there is no such scope")
	errNotHere  = errors.New("the entity is not stored here")
	errAction   = errors.New("this message cannot be pushed to the cloud")
)

var scopes = map[string]registry.Scope{
	"CLIENT_SCOPE": registry.ClientScope, "SHARED_SCOPE": registry.SharedScope, "SERVER_SCOPE": registry.ServerScope,
}

// fragment is an entityData part, taken apart. Its bytes are those of the event.
type fragment struct {
	entityType string
	ts         int64
	field      protowire.Number // what of EntityDataProto it has
	list       []byte           // fields of which those with the number kv are values
	kv         protowire.Number
	scope      string
}

// open takes a fragment apart (CONTRACT.md 1.4, 5.3, 5.4); false for what is no entityData with
// values.
func open(b []byte) (f fragment, ok bool) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != protowire.Number(proto.KindEntityData) || typ != protowire.BytesType {
		return f, false
	}
	data, n := protowire.ConsumeBytes(b[n:])
	if n < 0 {
		return f, false
	}
	fields(data, func(num protowire.Number, v []byte, n uint64) {
		switch num {
		case 3:
			f.entityType = entityType(v)
		case 4:
			fields(v, func(num protowire.Number, v []byte, _ uint64) {
				if num == 1 {
					f.list, f.kv = v, 2
				}
			})
			fields(f.list, func(num protowire.Number, _ []byte, n uint64) {
				if num == 1 {
					f.ts = int64(n)
				}
			})
			f.field = num
		case 5, 6, 8:
			f.field, f.list, f.kv = num, v, 1
		case 7:
			f.scope = string(v)
		case 9:
			f.ts = int64(n)
		}
	})
	return f, f.field != 0
}

func entityType(b []byte) string {
	if string(b) == proto.DeviceEntity {
		return proto.DeviceEntity
	}
	return string(b)
}

// fields calls fn for the fields of a message, until one is damaged.
func fields(b []byte, fn func(num protowire.Number, v []byte, n uint64)) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var v []byte
		var u uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return
		}
		b = b[n:]
		fn(num, v, u)
	}
}

// values are the values of a fragment; they point into it.
func (f *fragment) values() (kvs []proto.KV) {
	fields(f.list, func(num protowire.Number, v []byte, _ uint64) {
		if num == f.kv {
			if kv, ok := proto.ParseKV(v); ok {
				kvs = append(kvs, kv)
			}
		}
	})
	return kvs
}

// appendJSON appends the values as a JSON object, as the transport of a real edge writes them
// (RULES.md 2.1).
func (f *fragment) appendJSON(b []byte) []byte {
	b = append(b, '{')
	fields(f.list, func(num protowire.Number, v []byte, _ uint64) {
		kv, ok := proto.ParseKV(v)
		if num != f.kv || !ok {
			return
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(proto.AppendJSONString(b, kv.Key), ':')
		if kv.Type == proto.KeyValueType_DOUBLE_V {
			b = rules.AppendDouble(b, kv.Double)
		} else {
			b = proto.AppendJSONValue(b, &kv)
		}
	})
	return append(b, '}')
}

// message is the message of a device's event (RULES.md 2.2), and the time in it; false for what
// enters no chain.
func (r *Rules) message(e *proto.Event) (m *rules.Message, at int64, ok bool) {
	f, ok := open(e.Fragment)
	if !ok {
		return nil, 0, false
	}
	d, ok := r.Registry.ByID(e.Entity)
	if !ok {
		return nil, 0, false
	}
	// One text for the data and the time, and one piece of memory for the message and its metadata.
	var buf [512]byte
	b := f.appendJSON(buf[:0])
	n := len(b)
	if e.Action != proto.ActionPostAttributes {
		b = strconv.AppendInt(b, f.ts, 10) // a mark in place of the time stays one: the queue knows what it stands for
	}
	text := string(b)
	in := new(struct {
		m     rules.Message
		pairs [3]script.Pair
	})
	m = &in.m
	*m = rules.Message{
		Type: rules.PostTelemetry, Originator: rules.Entity{Type: proto.DeviceEntity, ID: e.Entity}, Time: e.Time,
		Data: text[:n], Metadata: in.pairs[:0],
	}
	if _, undated := proto.Uptime(e.Time); undated {
		m.Time = r.Clock.Now()
	}
	m.Metadata = append(m.Metadata, script.Pair{Key: "deviceName", Value: d.Name}, script.Pair{Key: "deviceType", Value: d.Type})
	if e.Action == proto.ActionPostAttributes {
		m.Type = rules.PostAttributes
		m.Metadata = append(m.Metadata, script.Pair{Key: "notifyDevice", Value: "false"})
	} else {
		m.Metadata = append(m.Metadata, script.Pair{Key: "ts", Value: text[n:]})
	}
	return m, f.ts, true
}

func pair(key, value string) script.Pair { return script.Pair{Key: key, Value: value} }

func meta(m *rules.Message, key string) string {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			return m.Metadata[i].Value
		}
	}
	return ""
}

// encode makes the events of a push (RULES.md 4.4, CONTRACT.md 5.3, 5.4, 5.6). t is locked.
func (t *take) encode(e *rules.Event) (list []proto.Event, err error) {
	event := func(kind proto.Kind, action proto.Action, fragment []byte) {
		list = append(list, proto.Event{Kind: kind, Action: action, Time: t.stamp(e.Time), Entity: e.Entity.ID, Fragment: fragment})
	}
	id, typ := e.Entity.ID, e.Entity.Type
	switch e.Action {
	case "TIMESERIES_UPDATED":
		err = values(&t.parser, t.parser.Telemetry, e.Data, id, e.Time, func(f *fragment, b []byte) {
			if typ != proto.DeviceEntity {
				b = proto.AppendTelemetry(nil, id, typ, f.ts, f.values())
			} else {
				b = append([]byte(nil), b...)
			}
			event(proto.KindEntityData, proto.ActionTimeseriesUpdated, b)
		})
	case "POST_ATTRIBUTES":
		err = values(&t.parser, t.parser.Attributes, e.Data, id, 0, func(f *fragment, _ []byte) {
			event(proto.KindEntityData, proto.ActionPostAttributes, proto.AppendPostAttributes(nil, id, typ, e.Scope, f.values()))
		})
	case "ATTRIBUTES_UPDATED":
		err = values(&t.parser, t.parser.Attributes, e.Data, id, 0, func(f *fragment, _ []byte) {
			event(proto.KindEntityData, proto.ActionAttributesUpdated,
				proto.AppendAttributesUpdated(nil, id, typ, e.Scope, e.Time, f.values()))
		})
	case "ATTRIBUTES_DELETED":
		var j struct{ Attributes []string }
		if err = json.Unmarshal([]byte(e.Data), &j); err == nil {
			event(proto.KindEntityData, proto.ActionAttributesDeleted, proto.AppendAttributeDelete(nil, id, typ, e.Scope, j.Attributes))
		}
	default:
		for _, a := range alarmActions {
			if a.name != e.Action {
				continue
			}
			at := t.Registry.AlarmID(e.Alarm)
			text, ok := t.Registry.Entity(proto.KindAlarm, at)
			if !ok {
				return nil, errors.New("the alarm is not here any more")
			}
			event(proto.KindAlarm, a.action, proto.AppendUpdate(nil, proto.KindAlarm, a.update, at, string(text)))
			list[0].Entity = at
			return list, nil
		}
		err = errAction
	}
	return list, err
}

var alarmActions = [...]struct {
	name   string
	action proto.Action
	update proto.UpdateMsgType
}{
	{"ADDED", proto.ActionAdded, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE},
	{"UPDATED", proto.ActionUpdated, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE},
	{"ALARM_ACK", proto.ActionAlarmAck, proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE},
	{"ALARM_CLEAR", proto.ActionAlarmClear, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE},
}

// stamp is the time of an event: now, or the mark that its values have in place of a time.
func (r *Rules) stamp(at int64) int64 {
	if _, undated := proto.Uptime(at); undated {
		return at
	}
	return r.Clock.Stamp()
}

// values reads values as a device may post them, and calls fn for each fragment that they make.
// The fragment's bytes are p's.
func values(p *payload.Parser, parse func([]byte, proto.UUID, int64) ([]proto.Event, error), data string, id proto.UUID, at int64,
	fn func(f *fragment, b []byte),
) error {
	events, err := parse([]byte(data), id, at)
	if err != nil {
		return err
	}
	for i := range events {
		f, ok := open(events[i].Fragment)
		if !ok {
			return errFragment
		}
		fn(&f, events[i].Fragment)
	}
	return nil
}
