package cloudtest

import (
	"encoding/json"
	"strconv"

	"edgesync/proto"
)

// alarmKey identifies the active alarm of an originator: there is at most one of each type.
type alarmKey struct {
	originator ref
	name       string
}

var severities = []string{"MAJOR", "INDETERMINATE", "WARNING", "MINOR", "CRITICAL"}

const (
	inAlarm   = "alarm.BaseAlarmProcessor.processAlarmMsg(BaseAlarmProcessor.java:60)"
	inComment = "alarm.comment.AlarmCommentEdgeProcessor.processAlarmCommentMsgFromEdge(AlarmCommentEdgeProcessor.java:40)"
	inRelate  = "relation.BaseRelationProcessor.processRelationMsg(BaseRelationProcessor.java:44)"
)

// alarms processes alarm updates (CONTRACT.md 5.6). Every message type requires the JSON.
func (u *uplink) alarms(m *proto.UplinkMsg) error {
	return all(u, m.GetAlarmUpdateMsg(), func(m *proto.AlarmUpdateMsg) error {
		o, err := readObject(m.GetEntity(), "alarm.Alarm", inAlarm)
		if err != nil {
			return err
		}
		if o == nil {
			return u.cannotConvert("alarmUpdateMsg", "alarm", m.GetMsgType(), m.GetIdMSB(), m.GetIdLSB(), m.GetEntity(), inAlarm)
		}
		if _, _, err := o.word("severity", "alarm.AlarmSeverity", severities, inAlarm); err != nil {
			return err
		}
		originator, ok, err := o.originator("originator", inAlarm)
		if err != nil {
			return err
		}
		if !ok {
			u.drop()
			return nil
		}
		id := proto.UUIDOf(m.GetIdMSB(), m.GetIdLSB())
		switch m.GetMsgType() {
		case created:
			u.raise(id, originator, o)
		case updated:
			u.onAlarm(refOf(o["id"], typeAlarm).id, func(r *record) { u.refresh(r, o) })
		case proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE:
			u.onAlarm(id, func(r *record) {
				if string(r.field("acknowledged")) != "true" {
					r.set("acknowledged", "true")
					r.set("ackTs", strconv.FormatInt(o.millis("ackTs"), 10))
				}
			})
		case proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE:
			u.onAlarm(id, func(r *record) { u.clear(r, o) })
		case deleted:
			u.onAlarm(id, func(r *record) {
				u.t.forgetActive(r)
				u.t.remove(r.ref)
			})
		default:
			u.unsupported(m.GetMsgType(), inAlarm)
		}
		return nil
	})
}

// onAlarm calls change with a known alarm and then sets the alarm's status. An unknown alarm is
// dropped.
func (u *uplink) onAlarm(id proto.UUID, change func(*record)) {
	r := u.t.find(typeAlarm, id)
	if r == nil {
		u.drop()
		return
	}
	change(r)
	r.setStatus()
}

// raise creates the alarm, or updates the active one of that originator and type, which keeps its
// own id. A cleared alarm cannot be raised again under its id: the database refuses, for ever
// (CONTRACT.md 4.8). The refusal is a failed future here; the recordings do not show whether it is
// an exception.
func (u *uplink) raise(id proto.UUID, originator ref, o object) {
	for _, check := range []struct {
		missing bool
		text    string
	}{
		{o.text("type") == "", "Alarm type should be specified!"},
		{o.given("severity") == nil, "Alarm severity should be specified!"},
		{o.given("tenantId") == nil, "Alarm should be assigned to tenant!"},
		{o.given("tenantId") != nil && refOf(o["tenantId"], typeTenant).id != u.t.id, "Alarm is referencing to non-existent tenant!"},
	} {
		if check.missing {
			u.fail(check.text, inAlarm)
			return
		}
	}
	key := alarmKey{originator, o.text("type")}
	if active, ok := u.t.activeAlarms[key]; ok {
		r := u.t.find(typeAlarm, active)
		u.refresh(r, o)
		r.setStatus()
		return
	}
	if u.t.find(typeAlarm, id) != nil {
		u.fail("ERROR: duplicate key value violates unique constraint \"alarm_pkey\"\n  Detail: Key (id)=("+proto.FormatUUID(id)+
			") already exists.\n  Where: SQL statement \"INSERT INTO alarm\"", inAlarm)
		return
	}
	r := newRecord(ref{typeAlarm, id})
	r.set("tenantId", idJSON(ref{typeTenant, u.t.id}))
	r.set("type", quoted(key.name))
	r.set("name", quoted(key.name))
	r.set("originator", string(o["originator"]))
	r.set("createdTime", millisText(u.now))
	u.refresh(r, o)
	r.setStatus()
	u.t.insert(r)
	u.t.activeAlarms[key] = id
}

// refresh copies the members that an update may change, which excludes whether the alarm is
// acknowledged or cleared.
func (u *uplink) refresh(r *record, o object) {
	for _, name := range []string{
		"severity", "details", "propagate", "propagateToOwner", "propagateToTenant", "propagateRelationTypes",
	} {
		if raw := o.given(name); raw != nil {
			r.set(name, string(raw))
		}
	}
	for _, name := range []string{"startTs", "endTs"} {
		ms := o.millis(name)
		if ms == 0 {
			ms = u.now.UnixMilli()
		}
		r.set(name, strconv.FormatInt(ms, 10))
	}
}

// clear clears an active alarm. It does nothing to a cleared one.
func (u *uplink) clear(r *record, o object) {
	if string(r.field("cleared")) == "true" {
		return
	}
	u.t.forgetActive(r)
	r.set("cleared", "true")
	r.set("clearTs", strconv.FormatInt(o.millis("clearTs"), 10))
	if details := o.given("details"); details != nil {
		r.set("details", string(details))
	}
}

// forgetActive removes an alarm from the active ones.
func (t *Tenant) forgetActive(r *record) {
	o := object{"originator": r.field("originator")}
	originator, _, _ := o.originator("originator", inAlarm) // no error: it was read before
	key := alarmKey{originator, text(r.field("type"))}
	if t.activeAlarms[key] == r.id {
		delete(t.activeAlarms, key)
	}
}

func (r *record) setStatus() {
	status := "ACTIVE"
	if string(r.field("cleared")) == "true" {
		status = "CLEARED"
	}
	if string(r.field("acknowledged")) == "true" {
		status += "_ACK"
	} else {
		status += "_UNACK"
	}
	r.set("status", quoted(status))
}

// alarmComments stores comments by the id in their JSON. DELETED is acknowledged and does nothing
// (CONTRACT.md 5.6).
func (u *uplink) alarmComments(m *proto.UplinkMsg) error {
	return all(u, m.GetAlarmCommentUpdateMsg(), func(m *proto.AlarmCommentUpdateMsg) error {
		o, err := readObject(m.GetEntity(), "alarm.AlarmComment", inComment)
		if err != nil {
			return err
		}
		alarm := u.t.records[refOf(o["alarmId"], typeAlarm)]
		if alarm == nil {
			u.drop()
			return nil
		}
		switch m.GetMsgType() {
		case created, updated:
			id := refOf(o["id"], typeNone).id
			if id == (proto.UUID{}) {
				id = u.t.newID(u.now)
			}
			c := comment{id: id, json: json.RawMessage(m.GetEntity())}
			for i := range alarm.comments {
				if alarm.comments[i].id == id {
					alarm.comments[i] = c
					return nil
				}
			}
			alarm.comments = append(alarm.comments, c)
		case deleted:
			u.drop()
		default:
			u.unsupported(m.GetMsgType(), inComment)
		}
		return nil
	})
}

var typeGroups = []string{"EDGE_AUTO_ASSIGN_RULE_CHAIN", "DASHBOARD", "RULE_NODE", "COMMON", "EDGE", "RULE_CHAIN"}

// relations stores and deletes relations whose two ends exist (CONTRACT.md 5.7).
func (u *uplink) relations(m *proto.UplinkMsg) error {
	return all(u, m.GetRelationUpdateMsg(), func(m *proto.RelationUpdateMsg) error {
		o, err := readObject(m.GetEntity(), "relation.EntityRelation", inRelate)
		if err != nil {
			return err
		}
		group, grouped, err := o.word("typeGroup", "relation.RelationTypeGroup", typeGroups, inRelate)
		if err != nil {
			return err
		}
		from, hasFrom, err := o.originator("from", inRelate)
		if err != nil {
			return err
		}
		to, hasTo, err := o.originator("to", inRelate)
		if err != nil {
			return err
		}
		r := relation{relationKey{from, to, o.text("type"), group}, "null"}
		switch m.GetMsgType() {
		case created, updated:
			if !hasFrom || !hasTo || !u.t.exists(from) || !u.t.exists(to) {
				u.drop()
				return nil
			}
			if !grouped {
				return &thrown{"Validation error: typeGroup must not be null", inRelate}
			}
			if r.name == "" {
				return &thrown{"Validation error: type must not be null", inRelate}
			}
			if info := o.given("additionalInfo"); info != nil {
				r.info = string(info)
			}
			u.t.saveRelation(r)
		case deleted:
			u.t.deleteRelation(r.relationKey)
		default:
			u.unsupported(m.GetMsgType(), inRelate)
		}
		return nil
	})
}
