package ruling

import (
	"encoding/json"
	"strconv"

	"edgesync/proto"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

// Entered runs the messages of what people have made, over REST (RULES.md 2.2). Their events are in
// the queue already: what a push node would send unchanged is not sent twice.
func (r *Rules) Entered(events []proto.Event) {
	if r.Off {
		return
	}
	for i := range events {
		if m := r.entered(&events[i]); m != nil {
			r.handleQuietly(m)
		}
	}
}

// entered is the message of an event that people have made; nil: it enters no chain.
func (r *Rules) entered(e *proto.Event) *rules.Message {
	m := &rules.Message{Time: r.Clock.Now(), Up: true}
	switch e.Kind {
	case proto.KindEntityData:
		f, ok := open(e.Fragment)
		if !ok {
			return nil
		}
		m.Originator = rules.Entity{Type: f.entityType, ID: e.Entity}
		switch e.Action {
		case proto.ActionTimeseriesUpdated:
			m.Type = "TIMESERIES_UPDATED"
			b := strconv.AppendInt([]byte(`{"timeseries":[{"ts":`), f.ts, 10)
			m.Data = string(append(f.appendJSON(append(b, `,"values":`...)), `}]}`...))
		case proto.ActionAttributesUpdated:
			m.Type, m.Data = rules.AttributesUpdated, string(f.appendJSON(nil))
			m.Metadata = []script.Pair{{Key: "scope", Value: f.scope}}
		default:
			return nil
		}
	case proto.KindAlarm:
		m.Type = alarmMessages[e.Action]
		text, ok := r.Registry.Entity(proto.KindAlarm, r.Registry.AlarmID(e.Entity))
		a := readAlarm(e.Entity, text)
		if !ok || a == nil || m.Type == "" {
			return nil
		}
		m.Originator, m.Data = a.Originator, string(text)
		m.Metadata = []script.Pair{{Key: "entityName", Value: a.Type}, {Key: "entityType", Value: a.Originator.Type}}
	case proto.KindDevice, proto.KindAsset, proto.KindEntityView, proto.KindDashboard:
		m.Type = entityMessages[e.Action]
		m.Originator = rules.Entity{Type: entityTypes[e.Kind], ID: e.Entity}
		text, ok := r.Registry.EntityText(m.Originator.Type, e.Entity)
		if !ok || m.Type == "" {
			return nil
		}
		var j struct{ Name, Title string }
		_ = json.Unmarshal(text, &j) // a name that is none is left out
		m.Data = string(text)
		m.Metadata = []script.Pair{{Key: "entityName", Value: j.Name + j.Title}, {Key: "entityType", Value: m.Originator.Type}}
	default:
		return nil
	}
	return m
}

var (
	alarmMessages = map[proto.Action]string{
		proto.ActionAdded: "ENTITY_CREATED", proto.ActionUpdated: "ENTITY_UPDATED", proto.ActionAlarmAck: "ALARM_ACK",
		proto.ActionAlarmClear: "ALARM_CLEAR",
	}
	entityMessages = map[proto.Action]string{proto.ActionAdded: "ENTITY_CREATED", proto.ActionUpdated: "ENTITY_UPDATED"}
	entityTypes    = map[proto.Kind]string{
		proto.KindDevice: "DEVICE", proto.KindAsset: "ASSET", proto.KindEntityView: "ENTITY_VIEW", proto.KindDashboard: "DASHBOARD",
	}
)
