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

func makePass(n *node, _ *config) work {
	n.plain = plainPass
	return func(r *round) { r.tell("Success") }
}

func makeTypeSwitch(n *node, _ *config) work {
	n.plain = plainSwitch
	return func(r *round) { r.tell(relationOf(r.m.Type)) }
}

//go:noinline
func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

func makeTypeFilter(n *node, c *config) work {
	n.plain, n.types = plainFilter, setOf(c.list("messageTypes"))
	return func(r *round) { r.truth(n.types[r.m.Type]) }
}

func makeEntitySwitch(_ *node, _ *config) work {
	return func(r *round) { r.tell(strings.ReplaceAll(r.m.Originator.Type, "_", " ")) }
}

func makeEntityFilter(_ *node, c *config) work {
	types := setOf(c.list("originatorTypes"))
	return func(r *round) { r.truth(types[r.m.Originator.Type]) }
}

func makeCheckFields(_ *node, c *config) work {
	data, metadata, all := c.list("messageNames"), c.list("metadataNames"), c.flag("checkAllKeys")
	return func(r *round) {
		t := r.m.object()
		if t == nil {
			r.fail("Message body is not an object!")
			return
		}
		for _, key := range data {
			if (t.get(key) != nil) != all {
				r.truth(!all)
				return
			}
		}
		for _, key := range metadata {
			if r.m.hasMeta(key) != all {
				r.truth(!all)
				return
			}
		}
		r.truth(all)
	}
}

func makeProfileSwitch(n *node, _ *config) work {
	want := "DEVICE"
	if n.typ == "filter.TbAssetTypeSwitchNode" {
		want = "ASSET"
	}
	return func(r *round) {
		if r.m.Originator.Type != want {
			r.fail("Unsupported originator type: " + r.m.Originator.Type + "! Only " + want + " type is allowed.")
			return
		}
		name, _, ok := r.e.reg.Profile(r.m.Originator)
		if !ok {
			r.fail("the profile of the originator is not stored here")
			return
		}
		r.tell(name)
	}
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

func makeScriptFilter(_ *node, c *config) work {
	p := c.program("tbelScript", "jsScript", script.Arguments)
	return func(r *round) {
		v := r.result(p)
		switch {
		case v == nil:
		case v.Kind() != script.Bool:
			r.fail("Wrong result type: " + v.Kind().String())
		default:
			r.truth(v.Bool())
		}
	}
}

func isString(v *script.Value) bool { return v.Kind() == script.Text || v.Kind() == script.Char }

func isRow(v *script.Value) bool { return v.Kind() >= script.List && v.Kind() <= script.Set }

func makeScriptSwitch(_ *node, c *config) work {
	p := c.program("tbelScript", "jsScript", script.Arguments)
	return func(r *round) {
		v := r.result(p)
		if v == nil {
			return
		}
		if isString(v) {
			r.tell(v.Text())
			return
		}
		if !isRow(v) {
			r.fail("Wrong result type: " + v.Kind().String())
			return
		}
		names := make([]string, 0, v.Len())
		for i := range v.Len() {
			if !isString(v.At(i)) {
				r.fail("Wrong result type: " + v.At(i).Kind().String())
				return
			}
			names = addString(names, v.At(i).Text())
		}
		r.tell(names...)
	}
}

func makeAlarmStatus(_ *node, c *config) work {
	wanted := setOf(c.list("alarmStatusList"))
	return func(r *round) {
		var a *Alarm
		if t := r.m.object(); t != nil {
			a = r.e.reg.AlarmByID(idOf(t.get("id")))
		}
		if a == nil {
			r.fail("No such alarm found.")
			return
		}
		r.truth(wanted[a.Status()])
	}
}

func makeCheckRelation(_ *node, c *config) work {
	out, typ := c.text("direction") == "FROM", c.text("relationType")
	single := c.flag("checkForSingleEntity")
	other := Entity{Type: c.text("entityType"), ID: c.id("entityId")}
	if single && other.ID == (proto.UUID{}) {
		c.bad("entityId", "is missing")
	}
	return func(r *round) {
		for _, rel := range r.e.reg.Related(r.m.Originator, out) {
			if rel.Type == typ && (!single || rel.Other == other) {
				r.truth(true)
				return
			}
		}
		r.truth(false)
	}
}
