package rules

import (
	"reflect"
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
	customer, _ := reg.Owner(&a.Originator)
	id, tenant := Entity{"ALARM", a.ID}, reg.Tenant()
	return members(alarmKeys,
		id.ref(), wholeTree(a.Created), tenant.ref(), customer.ref(), textTree(a.Type), a.Originator.ref(),
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
	m.setMeta("entityType", e.Type)
	m.setMeta("comment", comment.String())
	return m
}

// alarmDetails runs a script on the message and the previous details, "" if there are none.
func (r *round) alarmDetails(p *script.Program, before string) (details string, ok bool) {
	args, err := r.args()
	if !r.check(err) {
		return "", false
	}
	if before != "" && before != "null" {
		args.Metadata = append(append([]script.Pair{}, args.Metadata...), script.Pair{Key: "prevAlarmDetails", Value: before})
	}
	v, err := p.Run(r.e.env(), args)
	if !r.check(err) {
		return "", false
	}
	b, err := p.Language().AppendJSON(nil, v, script.AsStored)
	return string(b), r.check(err)
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

type createAlarm struct {
	_         uncompared
	Use       bool   `conf:"useMessageAlarmData"`
	Overwrite bool   `conf:"overwriteAlarmDetails"`
	Type      string `conf:"alarmType"`
	Severity  string `conf:"severity"`
	Dynamic   bool   `conf:"dynamicSeverity"`
	spread    `conf:""`
	Types     []string `conf:"relationTypes"`
	program   *script.Program
}

// spread says whom an alarm is shown to beside its originator.
type spread struct {
	Propagate bool `conf:"propagate"`
	Owner     bool `conf:"propagateToOwner"`
	Tenant    bool `conf:"propagateToTenant"`
}

// alarmScript is the script that makes the details of an alarm.
type alarmScript struct {
	_      uncompared
	Script *script.Program `conf:"alarmDetailsBuildTbel alarmDetailsBuildJs"`
}

func (f *createAlarm) prepare(_ *node, c *config) {
	if !f.Use || f.Overwrite {
		var s alarmScript
		c.fill(reflect.ValueOf(&s).Elem())
		f.program = s.Script
	}
	if !f.Use && !f.Dynamic && !isSeverity(f.Severity) {
		c.bad("severity", "names no severity")
	}
}

func (f *createAlarm) do(r *round) {
	m, now := r.m, r.e.opt.Now()
	name, ok := m.pattern(f.Type)
	severity, to, types, details := f.Severity, f.spread, f.Types, ""
	if f.Dynamic && ok {
		severity, ok = m.pattern(severity)
	}
	start := m.when()
	end := start
	if given := m.object(); f.Use {
		name, severity = textOf(given, "type"), textOf(given, "severity")
		g := &config{t: given}
		g.fill(reflect.ValueOf(&to).Elem())
		types, details = g.list("propagateRelationTypes"), given.get("details").String()
		start, end = g.whole("startTs", 0), g.whole("endTs", 0)
		ok = ok && g.err == nil && (end <= 0 || start <= end)
		if start == 0 {
			start = now
		}
		if end == 0 {
			end = start
		}
	}
	if !ok || !isSeverity(severity) || name == "" {
		r.fail("Used incorrect pattern or Alarm Severity not included in message")
		return
	}
	a := new(Alarm)
	notice, flag, relation, before := "ENTITY_UPDATED", "isExistingAlarm", "Updated", ""
	if open := r.e.reg.OpenAlarm(&m.Originator, name); open != nil {
		*a = *open
		a.End, before = now, a.Details
	} else {
		notice, flag, relation = "ENTITY_CREATED", "isNewAlarm", "Created"
		a.Type, a.Originator, a.Created, a.Start, a.End = name, m.Originator, now, start, end
		if text, ok := r.e.reg.Fields(&m.Originator); ok {
			fields, _ := parseTree(text)
			a.OriginatorName, a.OriginatorLabel = textOf(fields, "name"), textOf(fields, "label")
		}
	}
	if f.program != nil {
		if details, ok = r.alarmDetails(f.program, before); !ok {
			return
		}
	}
	if len(details) > maxDetails {
		r.fail("the details of the alarm are larger than 64 KiB")
		return
	}
	was := a.Severity
	a.Severity, a.Details, a.Relations = severity, details, types
	a.Propagate, a.PropagateOwner, a.ToTenant = to.Propagate, to.Owner, to.Tenant
	if r.check(r.out.SaveAlarm(a)) {
		if was != "" && was != severity {
			r.make(a.Comment(r.e.reg, now, was, Entity{}))
		}
		r.alarmDone(a, notice, flag, relation)
	}
}

type clearAlarm struct {
	_           uncompared
	Type        string `conf:"alarmType"`
	alarmScript `conf:""`
}

func (f *clearAlarm) do(r *round) {
	m := r.m
	var a *Alarm
	if is(m.Originator.Type, "ALARM") {
		a = r.e.reg.AlarmByID(m.Originator.ID)
	} else {
		name, ok := m.pattern(f.Type)
		if !ok {
			r.fail(noJSON)
			return
		}
		a = r.e.reg.OpenAlarm(&m.Originator, name)
	}
	if a == nil || a.ID == (proto.UUID{}) {
		r.tell("False")
		return
	}
	if a.Cleared {
		r.tell("Success")
		return
	}
	details, ok := r.alarmDetails(f.Script, a.Details)
	if !ok {
		return
	}
	b := *a
	b.Details, b.Cleared, b.ClearedAt = details, true, r.e.opt.Now()
	if r.check(r.out.SaveAlarm(&b)) {
		r.alarmDone(&b, "ALARM_CLEAR", "isClearedAlarm", "Cleared")
	}
}
