package rules

import (
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// relations are the relation of each message type that has one (RULES.md 3.2). What is not here
// is named as its type is written: with blanks, and a capital where a word begins.
var relations = table{
	PostAttributes, "Post attributes",
	PostTelemetry, "Post telemetry",
	CallFromDevice, "RPC Request from Device",
	CallToDevice, "RPC Request to Device",
	"ALARM_ACK", "Alarm Acknowledged",
	"ALARM_CLEAR", "Alarm Cleared",
	"REST_API_REQUEST", "REST API request",
	"RELATION_ADD_OR_UPDATE", "Relation Added or Updated",
	"RELATIONS_DELETED", "All Relations Deleted",
	"RELATION_DELETED", "Relation Deleted",
	"ENTITY_ASSIGNED_FROM_TENANT", "Entity Assigned From Tenant",
}

// named are the types whose relation is their own words; relations are compared without case.
const named = " ALARM ALARM_CREATED ALARM_UPDATED ALARM_SEVERITY_UPDATED ALARM_ASSIGNED ALARM_UNASSIGNED" +
	" ACTIVITY_EVENT INACTIVITY_EVENT CONNECT_EVENT DISCONNECT_EVENT COMMENT_CREATED COMMENT_UPDATED" +
	" ENTITY_CREATED ENTITY_UPDATED ENTITY_DELETED ENTITY_ASSIGNED ENTITY_UNASSIGNED ENTITY_ASSIGNED_TO_TENANT" +
	" ATTRIBUTES_UPDATED ATTRIBUTES_DELETED TIMESERIES_UPDATED TIMESERIES_DELETED" +
	" RPC_QUEUED RPC_SENT RPC_DELIVERED RPC_SUCCESSFUL RPC_TIMEOUT RPC_EXPIRED RPC_FAILED RPC_DELETED "

func relationOf(typ string) string {
	if r := relations.find(typ); r != "" {
		return r
	}
	if strings.IndexByte(typ, ' ') < 0 && strings.Contains(named, " "+typ+" ") {
		return strings.ReplaceAll(typ, "_", " ")
	}
	return "Other"
}

func (r *round) truth(b bool) {
	if b {
		r.tell("True")
	} else {
		r.tell("False")
	}
}

// passing is a node that only lets messages pass.
type passing struct{}

func (*passing) do(r *round) { r.tell("Success") }

type typeSwitch struct{}

func (*typeSwitch) do(r *round) { r.tell(relationOf(r.m.Type)) }

//go:noinline
func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

type typeFilter struct {
	Types map[string]bool `conf:"messageTypes"`
}

func (f *typeFilter) prepare(n *node, _ *config) { n.types = f.Types }

func (f *typeFilter) do(r *round) { r.truth(f.Types[r.m.Type]) }

type entitySwitch struct{}

func (*entitySwitch) do(r *round) { r.tell(strings.ReplaceAll(r.m.Originator.Type, "_", " ")) }

type entityFilter struct {
	Types map[string]bool `conf:"originatorTypes"`
}

func (f *entityFilter) do(r *round) { r.truth(f.Types[r.m.Originator.Type]) }

type fieldCheck struct {
	Data     []string `conf:"messageNames"`
	Metadata []string `conf:"metadataNames"`
	All      bool     `conf:"checkAllKeys"`
}

func (f *fieldCheck) do(r *round) {
	t := r.m.object()
	if t == nil && len(f.Data) > 0 {
		r.fail(notObject)
		return
	}
	is := f.All
	for _, key := range f.Data {
		if (t.get(key) != nil) != f.All {
			is = !f.All
		}
	}
	for _, key := range f.Metadata {
		if r.m.hasMeta(key) != f.All {
			is = !f.All
		}
	}
	r.truth(is)
}

// notObject is the failure of a node that looks into the data.
const notObject = "Message body is not an object!"

type profileSwitch struct{ want string }

func (s *profileSwitch) prepare(n *node, _ *config) {
	if s.want = "DEVICE"; n.typ == "filter.TbAssetTypeSwitchNode" {
		s.want = "ASSET"
	}
}

func (s *profileSwitch) do(r *round) {
	who := &r.m.Originator
	if who.Type != s.want {
		r.fail("Unsupported originator type: " + who.Type + "! Only " + s.want + " type is allowed.")
		return
	}
	name, _, ok := r.e.reg.Profile(who)
	if !ok {
		r.fail("the profile of the originator is not stored here")
		return
	}
	r.tell(name)
}

// args are the arguments of a script on the message. They are good until the next call.
func (r *round) args() (script.Args, error) {
	err := r.doc.Load(r.m.Data)
	return script.Args{Msg: &r.doc, Metadata: r.m.Metadata, MsgType: r.m.Type}, err
}

// result runs a script on the message; nil if it failed, and the node with it.
func (r *round) result(p *script.Program) *script.Value {
	args, err := r.args()
	if !r.check(err) {
		return nil
	}
	v, err := p.Run(r.e.env(), args)
	if !r.check(err) {
		return nil
	}
	return v
}

type scriptFilter struct {
	Script *script.Program `conf:"tbelScript jsScript"`
}

func (f *scriptFilter) do(r *round) {
	v := r.result(f.Script)
	switch {
	case v == nil:
	case v.Kind() != script.Bool:
		r.wrong(v)
	default:
		r.truth(v.Bool())
	}
}

// wrong is the failure of a node whose script gave what is of no use to it.
//
//go:noinline
func (r *round) wrong(v *script.Value) { r.failOn("Wrong result type: %", v.Kind().String()) }

func isString(v *script.Value) bool { return v.Kind() == script.Text || v.Kind() == script.Char }

func isRow(v *script.Value) bool { return v.Kind() >= script.List && v.Kind() <= script.Set }

type scriptSwitch struct {
	Script *script.Program `conf:"tbelScript jsScript"`
}

func (s *scriptSwitch) do(r *round) {
	v := r.result(s.Script)
	if v == nil {
		return
	}
	if isString(v) {
		r.tell(v.Text())
		return
	}
	if !isRow(v) {
		r.wrong(v)
		return
	}
	var names []string
	for i := range v.Len() {
		name := v.At(i)
		if !isString(name) {
			r.wrong(name)
			return
		}
		names = addString(names, name.Text())
	}
	r.tell(names...)
}

type alarmStatus struct {
	Wanted map[string]bool `conf:"alarmStatusList"`
}

func (s *alarmStatus) do(r *round) {
	var a *Alarm
	if t := r.m.object(); t != nil {
		a = r.e.reg.AlarmByID(idOf(t.get("id")))
	}
	if a == nil {
		r.fail("No such alarm found.")
		return
	}
	r.truth(s.Wanted[a.Status()])
}

type relationCheck struct {
	_        uncompared
	Out      bool       `conf:"direction FROM"`
	Relation string     `conf:"relationType"`
	Single   bool       `conf:"checkForSingleEntity"`
	Type     string     `conf:"entityType"`
	ID       proto.UUID `conf:"entityId"`
}

func (f *relationCheck) prepare(_ *node, c *config) {
	if f.Single && f.ID == (proto.UUID{}) {
		c.bad("entityId", "is missing")
	}
}

func (f *relationCheck) do(r *round) {
	found := false
	for _, rel := range r.e.reg.Related(&r.m.Originator, f.Out) {
		if rel.Type == f.Relation && (!f.Single || rel.Other.ID == f.ID && rel.Other.Type == f.Type) {
			found = true
		}
	}
	r.truth(found)
}
