package ruling

import (
	"errors"
	"strconv"
	"time"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
)

// saveValues stores what a node saves.
func (r *Rules) saveValues(v *rules.Values, p *payload.Parser) error {
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
		if err == nil && v.Latest {
			r.Latest.Observe(events)
		}
		return err
	}
	scope, ok := scopes[v.Scope]
	if !ok {
		return errScope
	}
	if !r.Registry.Here(v.Entity.Type, v.Entity.ID) {
		return errors.New("the entity of the attributes is not here")
	}
	events, err := p.Attributes(b, v.Entity.ID, 0)
	for i := 0; i < len(events) && err == nil; i++ {
		if f, ok := open(events[i].Fragment); ok {
			err = r.Registry.KeepValues(v.Entity.ID, scope, v.Time, f.values())
		}
	}
	return err
}

// Change implements rules.Outlet.
func (t *take) Change(c *rules.Change) error {
	if c.Kind != "relation" {
		return errors.New("the edge does not change this: it is the cloud's to decide")
	}
	relation := func(from, to rules.Entity) string {
		b := append([]byte(`{"from":{"entityType":"`), from.Type...)
		b = append(append(b, `","id":"`...), proto.FormatUUID(from.ID)...)
		b = append(append(b, `"},"to":{"entityType":"`...), to.Type...)
		b = append(append(b, `","id":"`...), proto.FormatUUID(to.ID)...)
		b = proto.AppendJSONString(append(b, `"},"type":`...), []byte(c.Relation))
		return string(append(b, `,"typeGroup":"COMMON","additionalInfo":null}`...))
	}
	text := relation(c.Entity, c.Other)
	// Relations go up whatever the chain says (RULES.md 0.2).
	action, update := proto.ActionRelationAddOrUpdate, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	if c.Delete {
		action, update = proto.ActionRelationDeleted, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	}
	if err := t.Registry.Edit(0, registry.Edit{Kind: proto.KindRelation, Text: text, Deleted: c.Delete}); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.extra.Add(1)
	return t.add(proto.Event{
		Kind: proto.KindRelation, Action: action, Time: t.Clock.Stamp(), Entity: c.Entity.ID,
		Fragment: proto.AppendUpdate(nil, proto.KindRelation, update, c.Entity.ID, text),
	})
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
	t.complain("a node of a rule chain is not executed; messages pass it", node, kind)
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
	r.Log.Warn(what, "node", strconv.Quote(node), "text", text)
}
