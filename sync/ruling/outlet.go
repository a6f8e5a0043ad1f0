package ruling

import (
	"encoding/json"
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
)

// saveValues stores what a node saves. t is locked.
func (t *take) saveValues(v *rules.Values) error {
	r, p := t.Rules, &t.parser
	b := []byte{'{'}
	for i := range v.Pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(proto.AppendJSONString(b, []byte(v.Pairs[i].Key)), ':')
		b = append(b, v.Pairs[i].Value...)
	}
	b = append(b, '}')
	if v.Scope == "" {
		events, err := p.Telemetry(b, v.Entity.ID, v.Time)
		switch {
		case err != nil || !v.Latest:
		case r.readsLatest.Load() && !t.shared:
			more, ok := r.steps.own(v.Entity.ID, t).(func([]proto.Event))
			if ok {
				more(events)
				break
			}
			undo, more := r.Latest.Replace(v.Entity.ID, events)
			t.change(v.Entity.ID, more, undo)
		default: // no chain would notice
			r.Latest.Observe(events)
		}
		return err
	}
	scope, ok := scopes[v.Scope]
	if !ok {
		return errScope
	}
	if !r.Registry.Here(v.Entity.Type, v.Entity.ID) {
		return errNotHere
	}
	events, err := p.Attributes(b, v.Entity.ID, 0)
	for i := 0; i < len(events) && err == nil; i++ {
		f, ok := open(events[i].Fragment)
		switch {
		case !ok:
		case t.shared: // it is not undone, so that nobody asks what was there before
			err = r.Registry.KeepValues(v.Entity.ID, scope, v.Time, f.values())
		default:
			was := own(t, valuesOf{v.Entity.ID, scope}, func() (*registry.Replaced, func()) {
				was := r.Registry.Replaced(v.Entity.ID, scope)
				return was, was.Undo
			})
			err = was.Replace(v.Time, f.values())
		}
	}
	return err
}

// valuesOf are the attributes of an entity.
type valuesOf struct {
	id    proto.UUID
	scope registry.Scope
}

// Change implements rules.Outlet.
func (t *take) Change(c *rules.Change) error {
	switch c.Kind {
	case "relation":
		// Relations go up whatever the chain says (RULES.md 0.2).
		action, update := proto.ActionRelationAddOrUpdate, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
		if c.Delete {
			action, update = proto.ActionRelationDeleted, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
		}
		return t.edit(proto.KindRelation, action, update, registry.Edit{Text: c.JSON(), Deleted: c.Delete}, c.Entity.ID)
	case "customer":
		return t.assign(c)
	}
	if !t.Registry.HasDevice(c.Entity.ID) {
		return errNotHere
	}
	if !t.later(func() { t.force(c.Entity.ID, c.Event, c.Time) }) {
		return errors.New("too much is to be done")
	}
	return nil
}

// edit stores a change and has it go up.
func (t *take) edit(kind proto.Kind, action proto.Action, update proto.UpdateMsgType, e registry.Edit, id proto.UUID) error {
	e.Kind = kind
	undo, what := registry.Edit{Kind: kind, ID: id}, any(edited{kind, id})
	if kind == proto.KindRelation {
		undo.Text, undo.Deleted, what = e.Text, !e.Deleted, e.Text
	} else if !t.shared { // else it is not undone
		before, _ := t.Registry.EntityText(entityTypes[kind], id)
		undo.Text = string(before)
	}
	if err := t.Registry.Edit(0, e); err != nil {
		return err
	}
	*own(t, what, func() (*uint64, func()) {
		n := new(uint64)
		return n, func() {
			_ = t.Registry.Edit(0, undo) // else it stays as it is
			t.extra.Add(-*n)
		}
	})++
	t.mu.Lock()
	defer t.mu.Unlock()
	t.extra.Add(1)
	return t.add(proto.Event{
		Kind: kind, Action: action, Time: t.Clock.Stamp(), Entity: id, Fragment: proto.AppendUpdate(nil, kind, update, id, e.Text),
	})
}

// edited is an entity that is changed.
type edited struct {
	kind proto.Kind
	id   proto.UUID
}

// assign gives an entity to a customer, or takes it from its customer.
func (t *take) assign(c *rules.Change) error {
	var kind proto.Kind
	for _, k := range [...]proto.Kind{proto.KindDevice, proto.KindAsset, proto.KindEntityView} {
		if entityTypes[k] == c.Entity.Type {
			kind = k
		}
	}
	text, ok := t.Registry.EntityText(c.Entity.Type, c.Entity.ID)
	var j map[string]json.RawMessage
	if kind == 0 || !ok || json.Unmarshal(text, &j) != nil {
		return errNotHere
	}
	owner, has := t.Owner(&c.Entity)
	if has != c.Delete && (c.Delete || owner == c.Other) {
		return nil // it is so
	}
	if c.Delete {
		c.Other = rules.Entity{Type: "CUSTOMER", ID: proto.NullUUID}
	}
	j["customerId"] = json.RawMessage(c.Other.JSON())
	delete(j, "version") // the server would compare it (CONTRACT.md 5.1)
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return t.edit(kind, proto.ActionUpdated, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE,
		registry.Edit{ID: c.Entity.ID, Text: string(text)}, c.Entity.ID)
}

// Log implements rules.Outlet.
func (t *take) Log(node, line string) {
	if len(line) > maxLine {
		line = line[:maxLine] + "…"
	}
	t.Rules.Options.Log.Debug("rule chain", "node", node, "line", line)
}

// maxLine bounds a line of a log node, in bytes.
const maxLine = 1 << 10

// Failed implements rules.Outlet. The report says it too; here it is said once in a while.
func (t *take) Failed(node, text string) { t.complain("a node of a rule chain failed", node, text) }

// Dropped implements rules.Outlet: without a chain the caller goes on as the default one does.
func (t *take) Dropped(*rules.Message) {}

// Unsupported implements rules.Outlet.
func (t *take) Unsupported(node, kind string, _ *rules.Message) {
	t.daily("a node of a rule chain is not executed; messages pass it", node, kind)
}

// daily logs what goes on until somebody changes a chain: once a day.
func (r *Rules) daily(what, node, text string) {
	now := time.Now()
	r.dayMu.Lock()
	last, said := r.said24[what+node]
	if said = said && now.Sub(last) < 24*time.Hour; !said {
		if len(r.said24) >= maxNodes {
			clear(r.said24)
		}
		r.said24[what+node] = now
	}
	r.dayMu.Unlock()
	if !said {
		r.Log.Warn(what, "node", node, "text", text)
	}
}

// complain logs, at most every half minute.
func (r *Rules) complain(what, node, text string) {
	now := time.Now().Unix()
	last := r.said.Load()
	if now-last < int64(complainEvery/time.Second) || !r.said.CompareAndSwap(last, now) {
		return
	}
	if len(text) > maxLine {
		text = text[:maxLine] + "…"
	}
	r.Log.Warn(what, "node", node, "text", text)
}
