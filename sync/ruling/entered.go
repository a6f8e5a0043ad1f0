package ruling

import (
	"encoding/json"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

// Entered makes the messages of what people do over REST (RULES.md 2.2), before it is done: what it
// returns runs them once it is. Their events are in the queue then: what a push node would send
// unchanged is not sent twice. Time series are deleted from a time on and before another one.
func (r *Rules) Entered(events []proto.Event, by registry.User, from, to int64) func() {
	if r.Off {
		return func() {}
	}
	var list []*rules.Message
	who := userOf(by)
	add := func(messages ...*rules.Message) {
		for _, m := range messages {
			m.Metadata = append(append(m.Metadata, who...), r.customerOf(by, m)...)
		}
		list = append(list, messages...)
	}
	was := map[proto.UUID]string{} // severities of alarms
	for i := range events {
		switch e := &events[i]; {
		case e.Action == proto.ActionDeleted: // it cannot be read any more when it is done
			add(r.entered(e)...)
		case e.Kind == proto.KindAlarm && e.Action == proto.ActionUpdated:
			if a := r.AlarmByID(e.Entity); a != nil {
				was[e.Entity] = a.Severity
			}
		}
	}
	return func() {
		var series []byte // those that are saved, of which there is one message
		var last int64
		for i := range events {
			e := &events[i]
			if before := was[e.Entity]; before != "" && e.Action == proto.ActionUpdated {
				if a := r.AlarmByID(e.Entity); a != nil && a.Severity != before {
					add(a.Comment(r, r.Clock.Now(), before, rules.Entity{Type: "USER", ID: by.ID}))
				}
			}
			if e.Action == proto.ActionDeleted {
				continue
			}
			if e.Action != proto.ActionTimeseriesUpdated {
				add(r.entered(e)...)
			} else if f, ok := open(e.Fragment); ok {
				if series == nil {
					add(r.entered(e)...)
				}
				series = f.appendSeries(series, last)
				last = f.ts
			}
		}
		for _, m := range list {
			switch m.Type {
			case "TIMESERIES_UPDATED":
				m.Data = string(append(series, `}]}`...))
			case "TIMESERIES_DELETED":
				b := strconv.AppendInt([]byte(m.Data[:len(m.Data)-1]+`,"startTs":`), from, 10)
				m.Data = string(append(strconv.AppendInt(append(b, `,"endTs":`...), to, 10), '}'))
			}
			r.handleQuietly(m)
		}
	}
}

// appendSeries appends the values of a fragment to the data of TIMESERIES_UPDATED: those of one
// time are one object.
func (f *fragment) appendSeries(b []byte, last int64) []byte {
	switch {
	case b == nil:
		b = append(b, `{"timeseries":[{"ts":`...)
	case f.ts == last:
		n := len(b) - 1
		b = f.appendJSON(b[:n]) // over the end of the former object, which a comma takes
		b[n] = ','
		return b
	default:
		b = append(b, `},{"ts":`...)
	}
	return f.appendJSON(append(strconv.AppendInt(b, f.ts, 10), `,"values":`...))
}

// userOf names in metadata the user whose message it is.
func userOf(u registry.User) []script.Pair {
	var j struct{ Email, FirstName, LastName string }
	_ = json.Unmarshal(u.Text, &j) // what has no name has none
	list := []script.Pair{pair("userId", proto.FormatUUID(u.ID)), pair("userName", j.Email), pair("userEmail", j.Email)}
	for _, p := range [...]script.Pair{pair("userFirstName", j.FirstName), pair("userLastName", j.LastName)} {
		if p.Value != "" {
			list = append(list, p)
		}
	}
	return list
}

// customerOf names the customer of what a message is about, or else the user's own.
func (r *Rules) customerOf(u registry.User, m *rules.Message) []script.Pair {
	customer := rules.Entity{ID: u.Customer}
	if strings.HasPrefix(m.Type, "ENTITY") || strings.HasPrefix(m.Type, "ALARM") {
		if owner, ok := r.Owner(&m.Originator); ok {
			customer = owner
		}
	}
	if customer.ID == (proto.UUID{}) || customer.ID == proto.NullUUID {
		return nil
	}
	return []script.Pair{pair("customerId", proto.FormatUUID(customer.ID))}
}

// entered are the messages of an event that people have made; none: it enters no chain.
func (r *Rules) entered(e *proto.Event) []*rules.Message {
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
		case proto.ActionAttributesUpdated:
			m.Type, m.Data = rules.AttributesUpdated, string(f.appendJSON(nil))
			m.Metadata = []script.Pair{pair("scope", f.scope)}
		case proto.ActionAttributesDeleted, proto.ActionTimeseriesDeleted:
			var names []string
			fields(f.list, func(num protowire.Number, v []byte, _ uint64) {
				if num == 1 {
					f.scope = string(v)
				} else {
					names = append(names, string(v))
				}
			})
			list, _ := json.Marshal(names) // of texts
			if m.Type = rules.AttributesDeleted; e.Action == proto.ActionTimeseriesDeleted {
				m.Type, m.Data = "TIMESERIES_DELETED", `{"timeseries":`+string(list)+`}`
				break
			}
			m.Data, m.Metadata = `{"attributes":`+string(list)+`}`, []script.Pair{pair("scope", f.scope)}
		case proto.ActionRelationsDeleted:
			m.Type, m.Data = "RELATIONS_DELETED", "{}"
		default:
			return nil
		}
	case proto.KindRelation:
		return r.related(e, m)
	case proto.KindAlarm:
		m.Type = alarmMessages[e.Action]
		text, ok := r.Registry.Entity(proto.KindAlarm, r.Registry.AlarmID(e.Entity))
		a := readAlarm(e.Entity, text)
		if !ok || a == nil || m.Type == "" {
			return nil
		}
		m.Originator, m.Data = a.Originator, string(text)
		m.Metadata = []script.Pair{pair("entityName", a.Type), pair("entityType", a.Originator.Type)}
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
		m.Metadata = []script.Pair{pair("entityName", j.Name+j.Title), pair("entityType", m.Originator.Type)}
	default:
		return nil
	}
	return []*rules.Message{m}
}

// related are the messages of a relation, one for each of its ends.
func (r *Rules) related(e *proto.Event, m *rules.Message) []*rules.Message {
	var u proto.UplinkMsg
	if pb.Unmarshal(e.Fragment, &u) != nil || len(u.RelationUpdateMsg) == 0 {
		return nil
	}
	m.Type, m.Data = "RELATION_ADD_OR_UPDATE", u.RelationUpdateMsg[0].GetEntity()
	if e.Action == proto.ActionRelationDeleted {
		m.Type = "RELATION_DELETED"
	}
	var j struct{ From, To ref }
	_ = json.Unmarshal([]byte(m.Data), &j) // what is none has no ends
	var list []*rules.Message
	for _, end := range [...]ref{j.From, j.To} {
		if who, ok := end.entity(); ok {
			c := *m
			c.Originator = who
			list = append(list, &c)
		}
	}
	return list
}

var (
	alarmMessages = map[proto.Action]string{
		proto.ActionAdded: "ENTITY_CREATED", proto.ActionUpdated: "ENTITY_UPDATED", proto.ActionAlarmAck: "ALARM_ACK",
		proto.ActionAlarmClear: "ALARM_CLEAR", proto.ActionDeleted: "ALARM_DELETE",
	}
	entityMessages = map[proto.Action]string{
		proto.ActionAdded: "ENTITY_CREATED", proto.ActionUpdated: "ENTITY_UPDATED", proto.ActionDeleted: "ENTITY_DELETED",
	}
	entityTypes = map[proto.Kind]string{
		proto.KindDevice: "DEVICE", proto.KindAsset: "ASSET", proto.KindEntityView: "ENTITY_VIEW", proto.KindDashboard: "DASHBOARD",
	}
)
