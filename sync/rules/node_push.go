package rules

import (
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// pushAction is the action of the event for a message (RULES.md 4.4); "" if it is not pushed.
func pushAction(m *Message) string {
	action := actions.find(m.Type)
	switch {
	case action == "event" && m.meta("scope") != "":
		return AttributesUpdated
	case action == "event":
		return "TIMESERIES_UPDATED"
	case action != "alarm":
		return action
	case m.meta("isNewAlarm") == "true":
		return "ADDED"
	case m.meta("isClearedAlarm") == "true":
		return "ALARM_CLEAR"
	}
	return "UPDATED"
}

// actions are the actions of message types; some depend on the message.
var actions = table{
	PostTelemetry, "TIMESERIES_UPDATED", "TIMESERIES_UPDATED", "TIMESERIES_UPDATED", PostAttributes, "POST_ATTRIBUTES",
	AttributesUpdated, AttributesUpdated, AttributesDeleted, AttributesDeleted, "ALARM_ACK", "ALARM_ACK",
	"ALARM_CLEAR", "ALARM_CLEAR", "CONNECT_EVENT", "event", "DISCONNECT_EVENT", "event", "ACTIVITY_EVENT", "event",
	"INACTIVITY_EVENT", "event", CallFromDevice, "RPC_CALL", "ALARM", "alarm", "ALARM_CREATED", "alarm",
	"ALARM_UPDATED", "alarm", "ALARM_SEVERITY_UPDATED", "alarm",
}

// pushable are the types of originators, beside DEVICE, of which there are events.
const pushable = " ASSET ENTITY_VIEW DASHBOARD TENANT CUSTOMER USER EDGE "

func makePush(n *node, c *config) work {
	n.plain, n.scope = plainPush, c.scope("scope", "SERVER_SCOPE")
	return func(r *round) {
		m := r.m
		if strings.EqualFold(m.meta("source"), "cloud") {
			m.from.pushed = true // the cloud has it
			r.end()
			return
		}
		if raw := m.from.raw; m.Up && len(raw) == 1 && raw[0].Data == m.Data && raw[0].Originator == m.Originator {
			r.tell("Success")
			return
		}
		action := pushAction(m)
		if action == "" {
			r.fail("Unsupported msg type " + m.Type)
			return
		}
		scope, ok := m.scopeOf(r.n.scope)
		if !ok {
			r.fail("there is no scope " + scope)
			return
		}
		e := &r.event // which nobody keeps
		*e = Event{Action: action, Entity: m.Originator, Time: m.when(), Scope: scope, Data: m.Data, Message: m}
		if action == "ADDED" || action == "UPDATED" || strings.HasPrefix(action, "ALARM") {
			t := m.object()
			if e.Alarm = idOf(t.get("id")); t == nil {
				r.fail("Message body is not an alarm!")
				return
			}
		}
		if e.Alarm == (proto.UUID{}) && m.Originator.Type != proto.DeviceEntity && !strings.Contains(pushable, " "+m.Originator.Type+" ") {
			// A real edge makes no event of it, and goes on (RULES.md 2.5, 4.4).
			r.n.mem.failure(r.e.opt.Now(), "messages of a "+m.Originator.Type+" cannot go to the cloud: change the originator")
			r.tell("Success")
			return
		}
		if r.check(r.out.Push(e)) {
			if m.pushed { // each event counts once
				r.tally.Made++
				r.tally.Accepted++
			}
			m.pushed, m.from.pushed = true, true
			r.tell("Success")
		}
	}
}

func makeLog(_ *node, c *config) work {
	p := c.program("tbelScript", "jsScript", script.Arguments)
	field := "jsScript"
	if p != nil && p.Language() == script.TBEL {
		field = "tbelScript"
	}
	standard := strings.TrimSpace(c.text(field)) == standardLog
	return func(r *round) {
		line := ""
		if standard {
			line = "\nIncoming message:\n" + r.m.Data + "\nIncoming metadata:\n" + string(r.m.appendMetadata(nil))
		} else {
			v := r.result(p)
			if v == nil {
				return
			}
			if line = v.Text(); !isString(v) {
				b, err := p.Language().AppendJSON(nil, v, script.AsScript)
				if err == nil && p.Language() == script.JavaScript {
					err = errorText("Wrong result type: " + v.Kind().String())
				}
				if !r.check(err) {
					return
				}
				line = string(b)
			}
		}
		r.out.Log(r.n.name, line)
		r.tell("Success")
	}
}

// standardLog is the script that each new log node has.
const standardLog = `return '\nIncoming message:\n' + JSON.stringify(msg) + '\nIncoming metadata:\n' + JSON.stringify(metadata);`
