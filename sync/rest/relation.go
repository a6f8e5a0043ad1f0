package rest

import (
	"encoding/json"
	"errors"
	"slices"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// relationDoc is a relation as the server reads and writes it (CONTRACT.md 5.7).
type relationDoc struct {
	From  *reference      `json:"from"`
	To    *reference      `json:"to"`
	Type  string          `json:"type"`
	Group string          `json:"typeGroup"`
	Ver   json.RawMessage `json:"version"`
	Info  json.RawMessage `json:"additionalInfo"`
}

var relationGroups = []string{"COMMON", "DASHBOARD", "RULE_CHAIN", "RULE_NODE", "EDGE", "EDGE_AUTO_ASSIGN_RULE_CHAIN"}

const commonGroup = "COMMON"

// checkRelation finds what the server would refuse for good, or acknowledge and lose: both ends
// must be here.
func (c *call) checkRelation(d *relationDoc) error {
	for _, end := range []*reference{d.From, d.To} {
		if end == nil {
			return bad("Relation from and to should be specified!")
		}
		id, ok := proto.ParseUUID(end.ID)
		if !ok || end.Type == "" {
			return bad("a relation's end is malformed")
		}
		end.ID = proto.FormatUUID(id)
		if err := c.mayOn(end.Type, id); err != nil {
			return err
		}
	}
	if d.Group == "" {
		d.Group = commonGroup
	}
	switch why := badText(d.Type); {
	case d.Type == "":
		return bad("Relation type should be specified!")
	case why != "":
		return bad("Validation error: type " + why)
	case !slices.Contains(relationGroups, d.Group):
		return bad("Relation typeGroup is unknown")
	case !isNull(d.Info) && d.Info[0] != '{':
		return bad("Relation additionalInfo must be a JSON object")
	}
	d.Ver = nil
	return nil
}

func (d *relationDoc) encode() []byte {
	b, _ := json.Marshal(d) // of texts that were decoded
	return b
}

func (d *relationDoc) from() proto.UUID {
	id, _ := proto.ParseUUID(d.From.ID)
	return id
}

// relationEvent is one event about a relation, and the same change here. A relation has no id; the
// entity of its events is the one where the relation begins.
func (c *call) relationEvent(d *relationDoc, text []byte, deleted bool) (proto.Event, registry.Edit) {
	action, t := proto.ActionRelationAddOrUpdate, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	if deleted {
		action, t = proto.ActionRelationDeleted, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	}
	return c.event(proto.KindRelation, action, d.from(), proto.AppendUpdate(nil, proto.KindRelation, t, proto.UUID{}, string(text))),
		registry.Edit{Kind: proto.KindRelation, Text: string(text), Deleted: deleted}
}

func (c *call) saveRelation() (any, error) {
	var in relationDoc
	if !registry.ValidObject(c.body) || json.Unmarshal(c.body, &in) != nil {
		return nil, bad("the body must be a relation as a JSON object")
	}
	if err := c.checkRelation(&in); err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	text := in.encode()
	event, edit := c.relationEvent(&in, text, false)
	if err := c.commit([]proto.Event{event}, edit); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

// namedRelation is the relation that the parameters name.
func (c *call) namedRelation() (d relationDoc, text []byte, err error) {
	d = relationDoc{
		From: &reference{c.query("fromType"), c.query("fromId")}, To: &reference{c.query("toType"), c.query("toId")},
		Type: c.query("relationType"), Group: c.query("relationTypeGroup"),
	}
	if err := c.checkRelation(&d); err != nil {
		return d, nil, err
	}
	text, ok := c.Registry.Relation(d.encode())
	if !ok {
		return d, nil, errNotFound
	}
	return d, text, nil
}

func (c *call) relation() (any, error) {
	_, text, err := c.namedRelation()
	if err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

func (c *call) deleteRelation() (any, error) {
	c.edit.Lock()
	defer c.edit.Unlock()
	d, text, err := c.namedRelation()
	if err != nil {
		return nil, err
	}
	event, edit := c.relationEvent(&d, text, true)
	if err := c.commit([]proto.Event{event}, edit); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

// relationsOf collects the relations of an entity that are of the group, and of the type if one is
// given, until they have most bytes. whole: these are all.
func (c *call) relationsOf(id proto.UUID, to bool, typ, group string, most int) (list []relationDoc, whole bool) {
	bytes := 0
	c.Registry.Relations(id, to, func(text []byte) {
		var d relationDoc
		if bytes > most {
			return
		}
		if json.Unmarshal(text, &d) == nil && d.From != nil && d.To != nil && d.Group == group && (typ == "" || d.Type == typ) {
			list = append(list, d)
			bytes += len(text)
		}
	})
	return list, bytes <= most
}

// relations is GET of the relations at one end: by parameters, or as relationsAt by the path.
func (c *call) relations() (any, error) {
	if c.query("fromId") != "" {
		return c.relationsFrom(c.query("fromType"), c.query("fromId"), c.query("relationType"), false)
	}
	return c.relationsFrom(c.query("toType"), c.query("toId"), c.query("relationType"), true)
}

func (c *call) relationsAt(to bool) (any, error) {
	typ := ""
	if len(c.args) > 2 {
		typ = c.args[2]
	}
	return c.relationsFrom(c.args[0], c.args[1], typ, to)
}

func (c *call) relationsFrom(entityType, id, typ string, to bool) (any, error) {
	u, ok := proto.ParseUUID(id)
	if !ok {
		return nil, bad("fromId and fromType, or toId and toType, must be given")
	}
	if err := c.mayOn(entityType, u); err != nil {
		return nil, err
	}
	group := c.query("relationTypeGroup")
	if group == "" {
		group = commonGroup
	}
	list, whole := c.relationsOf(u, to, typ, group, maxAnswer)
	if !whole {
		return nil, errManyRelations
	}
	if list == nil {
		list = []relationDoc{}
	}
	return list, nil
}

// deleteRelations deletes all common relations of an entity. RELATIONS_DELETED has no form on the
// wire (CONTRACT.md 5.2), so each relation that is known here goes up as a deletion of its own.
func (c *call) deleteRelations() (any, error) {
	id, ok := proto.ParseUUID(c.query("entityId"))
	if !ok {
		return nil, bad("entityId and entityType must be given")
	}
	if err := c.mayOn(c.query("entityType"), id); err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	// In portions, because an entity may have thousands.
	for _, to := range []bool{false, true} {
		var first string // of the last portion
		for whole := false; !whole; {
			var list []relationDoc
			list, whole = c.relationsOf(id, to, "", commonGroup, maxBody)
			if len(list) > 0 {
				now := string(list[0].encode())
				if now == first {
					return nil, errors.New("rest: a relation that was deleted is still here")
				}
				first = now
			}
			for part := range slices.Chunk(list, 100) {
				var events []proto.Event
				var edits []registry.Edit
				for i := range part {
					e, edit := c.relationEvent(&part[i], part[i].encode(), true)
					events, edits = append(events, e), append(edits, edit)
				}
				err := c.accept(events)
				if err == nil {
					err = c.stored(c.Registry.Edit(c.Intake.End(), edits...))
				}
				if err != nil {
					return nil, err
				}
			}
		}
	}
	// The rule chains hear of all of them at once (RULES.md 2.2).
	f := proto.AppendAttributeDelete(nil, id, c.query("entityType"), "", nil)
	e := c.event(proto.KindEntityData, proto.ActionRelationsDeleted, id, f)
	return nil, c.entered([]proto.Event{e}, func() error { return nil })
}
