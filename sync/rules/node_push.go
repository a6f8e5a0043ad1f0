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
	case is(action, "event"):
		if m.meta("scope") != "" {
			return AttributesUpdated
		}
		return "TIMESERIES_UPDATED"
	case !is(action, "alarm"):
		return action
	case is(m.meta("isNewAlarm"), "true"):
		return "ADDED"
	case is(m.meta("isClearedAlarm"), "true"):
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

type pushing struct {
	Scope scope `conf:"scope"`
}

func (p *pushing) prepare(n *node, _ *config) { n.scope = string(p.Scope) }

func (p *pushing) do(r *round) {
	m := r.m
	if strings.EqualFold(m.meta("source"), "cloud") {
		m.from.pushed = true // the cloud has it
		r.end()
		return
	}
	action := pushAction(m)
	if action == "" {
		r.failOn("Unsupported msg type %", m.Type)
		return
	}
	alarm := action == "ADDED" || action == "UPDATED" || strings.HasPrefix(action, "ALARM")
	if raw := m.from.raw; m.Up && len(raw) == 1 && raw[0].Data == m.Data && raw[0].Originator == m.Originator &&
		(alarm || raw[0].Type == m.Type) {
		r.tell("Success")
		return
	}
	scope, ok := r.scopeOf(p.Scope)
	if !ok {
		return
	}
	e := &r.event // which nobody keeps
	*e = Event{Action: action, Entity: m.Originator, Time: m.when(), Scope: scope, Data: m.Data, Message: m}
	if alarm {
		t := m.object()
		if e.Alarm = idOf(t.get("id")); t == nil {
			r.fail("Message body is not an alarm!")
			return
		}
	}
	if typ := m.Originator.Type; e.Alarm == (proto.UUID{}) && !is(typ, proto.DeviceEntity) && !strings.Contains(pushable, " "+typ+" ") {
		// A real edge makes no event of it, and goes on (RULES.md 2.5, 4.4).
		r.n.mem.failure(r.e.opt.Now(), filled("messages of a % cannot go to the cloud: change the originator", typ))
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

type logLine struct {
	_        uncompared
	Script   *script.Program `conf:"tbelScript jsScript"`
	TBEL     string          `conf:"tbelScript"`
	JS       string          `conf:"jsScript"`
	standard bool
}

func (l *logLine) prepare(*node, *config) {
	text := l.JS
	if l.Script != nil && l.Script.Language() == script.TBEL {
		text = l.TBEL
	}
	l.standard = trim(text) == standardLog
}

func (l *logLine) do(r *round) {
	line := ""
	if l.standard {
		line = "\nIncoming message:\n" + r.m.Data + "\nIncoming metadata:\n" + string(r.m.appendMetadata(nil))
	} else {
		v := r.result(l.Script)
		if v == nil {
			return
		}
		if line = v.Text(); !isString(v) {
			lang := l.Script.Language()
			b, err := lang.AppendJSON(nil, v, script.AsScript)
			if !r.check(err) {
				return
			}
			if lang == script.JavaScript {
				r.wrong(v)
				return
			}
			line = string(b)
		}
	}
	r.out.Log(r.n.name, line)
	r.tell("Success")
}

// standardLog is the script that each new log node has.
const standardLog = `return '\nIncoming message:\n' + JSON.stringify(msg) + '\nIncoming metadata:\n' + JSON.stringify(metadata);`
