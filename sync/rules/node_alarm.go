package rules

import (
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// Status is the status of an alarm as a word: ACTIVE_UNACK, ACTIVE_ACK, CLEARED_UNACK,
// CLEARED_ACK.
//
//go:noinline
func (a *Alarm) Status() string {
	s := "ACTIVE"
	if a.Cleared {
		s = "CLEARED"
	}
	if a.Acknowledged {
		return s + "_ACK"
	}
	return s + "_UNACK"
}

// alarmKeys are the members of an alarm's JSON, in the order of tree.
const alarmKeys = "id createdTime tenantId customerId type originator severity acknowledged cleared assigneeId" +
	" startTs endTs ackTs clearTs assignTs details propagate propagateToOwner propagateToTenant propagateRelationTypes" +
	" originatorName originatorLabel originatorDisplayName assignee name status"

// tree is the alarm as JSON in the data of a message (RULES.md 4.4).
func (a *Alarm) tree(reg Registry) *tree {
	details, err := parseTree(a.Details)
	if err != nil {
		details = &tree{}
	}
	relations := &tree{kind: isList}
	for _, rel := range a.Relations {
		relations.items = addTree(relations.items, textTree(rel))
	}
	customer, _ := reg.Owner(a.Originator)
	return members(alarmKeys,
		Entity{"ALARM", a.ID}.ref(), wholeTree(a.Created), reg.Tenant().ref(), customer.ref(), textTree(a.Type), a.Originator.ref(),
		textTree(a.Severity), boolTree(a.Acknowledged), boolTree(a.Cleared), &tree{},
		wholeTree(a.Start), wholeTree(a.End),
		wholeTree(a.AcknowledgedAt), wholeTree(a.ClearedAt), wholeTree(0), details, boolTree(a.Propagate),
		boolTree(a.PropagateOwner), boolTree(a.ToTenant), relations, textTree(a.OriginatorName), textTree(a.OriginatorLabel),
		textTree(a.OriginatorName), &tree{},
		textTree(a.Type), textTree(a.Status()))
}

// JSON is the alarm as a server writes it, and as messages have it.
func (a *Alarm) JSON(reg Registry) string { return a.tree(reg).String() }

// Comment is the message of the comment that a server writes at an alarm whose severity has
// changed, for a user, or for nobody (RULES.md 2.2).
func (a *Alarm) Comment(reg Registry, now int64, was string, user Entity) *Message {
	text := members("text subtype oldSeverity newSeverity", textTree("Alarm severity was updated from "+was+" to "+a.Severity),
		textTree("SEVERITY_CHANGED"), textTree(was), textTree(a.Severity))
	e := Entity{"ALARM", a.ID}
	comment := members("alarmId userId type comment id createdTime name", e.ref(), user.ref(), textTree("SYSTEM"), text,
		members("id", textTree(proto.FormatUUID(proto.NewUUID()))), wholeTree(now), textTree(text.String()))
	m := newMessage("COMMENT_CREATED", e, now, a.JSON(reg))
	m.setMeta("entityName", a.Type)
	m.setMeta("entityType", "ALARM")
	m.setMeta("comment", comment.String())
	return m
}

// alarmDetails runs a script on the message and the previous details, "" if there are none.
func (r *round) alarmDetails(p *script.Program, before string) (details string, ok bool) {
	args, err := r.args()
	if !r.check(err) {
		return "", false
	}
	if before != "" {
		args.Metadata = append(append([]script.Pair{}, args.Metadata...), script.Pair{Key: "prevAlarmDetails", Value: before})
	}
	v, err := p.Run(r.e.env(), args)
	if !r.check(err) {
		return "", false
	}
	b, err := p.Language().AppendJSON(nil, v, script.AsStored)
	return string(b), r.check(err)
}

//go:noinline
func (c *config) alarmProgram() *script.Program {
	return c.program("alarmDetailsBuildTbel", "alarmDetailsBuildJs", script.Arguments)
}

// alarmDone tells what became of an alarm: to the chain, then by the relation.
func (r *round) alarmDone(a *Alarm, notice, flag, relation string) {
	t := a.tree(r.e.reg)
	data := t.String()
	m := newMessage(notice, a.Originator, r.e.opt.Now(), data)
	m.setMeta("ruleNodeId", r.n.uuid())
	r.make(m)
	r.m.Type = "ALARM"
	r.m.setMeta(flag, "true")
	r.m.Data = data
	r.tell(relation)
}

const severities = " CRITICAL MAJOR MINOR WARNING INDETERMINATE "

func isSeverity(word string) bool {
	return word != "" && strings.IndexByte(word, ' ') < 0 && strings.Contains(severities, " "+word+" ")
}

// maxDetails bounds the details of an alarm.
const maxDetails = 64 << 10

func makeCreateAlarm(_ *node, c *config) work {
	use, overwrite := c.flag("useMessageAlarmData"), c.flag("overwriteAlarmDetails")
	typ, severity, dynamic := c.text("alarmType"), c.text("severity"), c.flag("dynamicSeverity")
	propagate, owner, tenant := c.flag("propagate"), c.flag("propagateToOwner"), c.flag("propagateToTenant")
	types := c.list("relationTypes")
	var p *script.Program
	if !use || overwrite {
		p = c.alarmProgram()
	}
	if !use && !dynamic && !isSeverity(severity) {
		c.bad("severity", "names no severity")
	}
	return func(r *round) {
		m := r.m
		want := Alarm{Severity: severity, Propagate: propagate, PropagateOwner: owner, ToTenant: tenant, Relations: types}
		name, ok := m.pattern(typ)
		if dynamic && ok {
			want.Severity, ok = m.pattern(severity)
		}
		given := m.object()
		if use {
			name, want.Severity = textOf(given, "type"), textOf(given, "severity")
			g := &config{t: given}
			want.Propagate, want.PropagateOwner = g.flag("propagate"), g.flag("propagateToOwner")
			want.ToTenant, want.Relations = g.flag("propagateToTenant"), g.list("propagateRelationTypes")
			want.Details = given.get("details").String()
		}
		if !ok || !isSeverity(want.Severity) || name == "" {
			r.fail("Used incorrect pattern or Alarm Severity not included in message")
			return
		}
		now := r.e.opt.Now()
		a := r.e.reg.OpenAlarm(m.Originator, name)
		notice, flag, relation, before := "ENTITY_UPDATED", "isExistingAlarm", "Updated", ""
		if a == nil {
			notice, flag, relation = "ENTITY_CREATED", "isNewAlarm", "Created"
			at := m.when()
			a = &Alarm{Type: name, Originator: m.Originator, Created: now, Start: at, End: at}
			if text, ok := r.e.reg.Fields(m.Originator); ok {
				fields, _ := parseTree(text)
				a.OriginatorName, a.OriginatorLabel = textOf(fields, "name"), textOf(fields, "label")
			}
		} else {
			c := *a
			a = &c
			a.End, before = now, a.Details
		}
		if p != nil {
			if want.Details, ok = r.alarmDetails(p, before); !ok {
				return
			}
		}
		if len(want.Details) > maxDetails {
			r.fail("the details of the alarm are larger than 64 KiB")
			return
		}
		was := a.Severity
		a.Severity, a.Details, a.Relations = want.Severity, want.Details, want.Relations
		a.Propagate, a.PropagateOwner, a.ToTenant = want.Propagate, want.PropagateOwner, want.ToTenant
		if r.check(r.out.SaveAlarm(a)) {
			if was != "" && was != a.Severity {
				r.make(a.Comment(r.e.reg, now, was, Entity{}))
			}
			r.alarmDone(a, notice, flag, relation)
		}
	}
}

func makeClearAlarm(_ *node, c *config) work {
	typ, p := c.text("alarmType"), c.alarmProgram()
	return func(r *round) {
		m := r.m
		var a *Alarm
		if m.Originator.Type == "ALARM" {
			a = r.e.reg.AlarmByID(m.Originator.ID)
		} else {
			name, ok := m.pattern(typ)
			if !ok {
				r.fail("Message body is no JSON!")
				return
			}
			a = r.e.reg.OpenAlarm(m.Originator, name)
		}
		if a == nil || a.ID == (proto.UUID{}) {
			r.tell("False")
			return
		}
		if a.Cleared {
			r.tell("Success")
			return
		}
		details, ok := r.alarmDetails(p, a.Details)
		if !ok {
			return
		}
		b := *a
		b.Details, b.Cleared, b.ClearedAt = details, true, r.e.opt.Now()
		if r.check(r.out.SaveAlarm(&b)) {
			r.alarmDone(&b, "ALARM_CLEAR", "isClearedAlarm", "Cleared")
		}
	}
}
