package rest

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// alarmDoc is an alarm as the server reads and writes it (CONTRACT.md 5.6).
type alarmDoc struct {
	ID                     *reference      `json:"id"`
	Created                int64           `json:"createdTime"`
	Tenant                 json.RawMessage `json:"tenantId"`
	Customer               json.RawMessage `json:"customerId"` // left to the server
	Type                   string          `json:"type"`
	Originator             *reference      `json:"originator"`
	Severity               string          `json:"severity"`
	Acknowledged           bool            `json:"acknowledged"`
	Cleared                bool            `json:"cleared"`
	Assignee               json.RawMessage `json:"assigneeId"`
	Start                  int64           `json:"startTs"`
	End                    int64           `json:"endTs"`
	Ack                    int64           `json:"ackTs"`
	Clear                  int64           `json:"clearTs"`
	Assign                 int64           `json:"assignTs"`
	Details                json.RawMessage `json:"details"`
	Propagate              bool            `json:"propagate"`
	PropagateToOwner       bool            `json:"propagateToOwner"`
	PropagateToTenant      bool            `json:"propagateToTenant"`
	PropagateRelationTypes []string        `json:"propagateRelationTypes"`
	Name                   string          `json:"name"`   // written only
	Status                 string          `json:"status"` // written only
}

var severities = []string{"CRITICAL", "MAJOR", "MINOR", "WARNING", "INDETERMINATE"}

// encode writes an alarm, with the name and the status that follow from its other fields.
func (a *alarmDoc) encode() []byte {
	a.Name = a.Type
	a.Status = a.status()
	if a.PropagateRelationTypes == nil {
		a.PropagateRelationTypes = []string{}
	}
	b, _ := json.Marshal(a) // of texts that were decoded
	return b
}

func (a *alarmDoc) status() string {
	s := "ACTIVE_"
	if a.Cleared {
		s = "CLEARED_"
	}
	if a.Acknowledged {
		return s + "ACK"
	}
	return s + "UNACK"
}

func (a *alarmDoc) id() (id proto.UUID) {
	if a.ID != nil {
		id, _ = proto.ParseUUID(a.ID.ID)
	}
	return id
}

func decodeAlarm(text []byte) (a alarmDoc, ok bool) {
	return a, registry.ValidObject(text) && json.Unmarshal(text, &a) == nil && a.Originator != nil
}

// mayOn reports whether an entity is here and the user may touch its data.
func (c *call) mayOn(typ string, id proto.UUID) error {
	switch {
	case c.admin() && c.Registry.Exists(typ, id):
		return nil
	case c.admin():
		return errNotFound
	}
	for _, def := range []*entityDef{deviceDef, assetDef, viewDef, dashboardDef} {
		if def.typ == typ {
			_, err := c.read1(def, id)
			return err
		}
	}
	if typ == "CUSTOMER" && id == c.user.Customer || typ == "USER" && id == c.user.ID {
		return nil
	}
	return errForbidden
}

// storedAlarm reads an alarm that the user may touch.
func (c *call) storedAlarm(id proto.UUID) (a alarmDoc, err error) {
	id = c.Registry.AlarmID(id)
	text, ok := c.Registry.Entity(proto.KindAlarm, id)
	if !ok {
		return a, errNotFound
	}
	if a, ok = decodeAlarm(text); !ok {
		return a, errNotFound
	}
	if a.ID == nil { // the cloud may send the id outside the JSON only
		a.ID = &reference{"ALARM", proto.FormatUUID(id)}
	}
	if c.admin() {
		return a, nil
	}
	of, _ := proto.ParseUUID(a.Originator.ID)
	return a, c.mayOn(a.Originator.Type, of)
}

// activeAlarm finds the alarm of that type that is not cleared.
func (c *call) activeAlarm(originator *reference, typ string) (found alarmDoc, ok bool) {
	c.Registry.Entities(proto.KindAlarm, func(id proto.UUID, text []byte) bool {
		if !bytes.Contains(text, []byte(originator.ID)) {
			return true
		}
		a, readable := decodeAlarm(text)
		if readable && a.Type == typ && *a.Originator == *originator && !a.Cleared {
			a.ID = &reference{"ALARM", proto.FormatUUID(id)}
			found, ok = a, true
		}
		return !ok
	})
	return found, ok
}

// alarmEvent is one event about an alarm; each carries the whole alarm.
func (c *call) alarmEvent(action proto.Action, t proto.UpdateMsgType, a *alarmDoc) proto.Event {
	return c.event(proto.KindAlarm, action, a.id(), proto.AppendUpdate(nil, proto.KindAlarm, t, a.id(), string(a.encode())))
}

// saveAlarm is POST of an alarm. With an id it changes that alarm; without one it changes the
// active alarm of the same originator and type, or makes one. The server does the same with a
// creation, but keeps its own id then, and refuses for good a creation that comes after the
// clearing (CONTRACT.md 4.8, 5.6). So an alarm that is here already goes up as an update.
func (c *call) saveAlarm() (any, error) {
	var in alarmDoc
	if !registry.ValidObject(c.body) {
		return nil, bad("the body must be an alarm as a JSON object")
	}
	if err := json.Unmarshal(c.body, &in); err != nil {
		return nil, bad("an alarm field is malformed")
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	of, ok := proto.ParseUUID(in.Originator.ID)
	if !ok {
		return nil, bad("Alarm originator is malformed")
	}
	in.Originator.ID = proto.FormatUUID(of)
	if err := c.mayOn(in.Originator.Type, of); err != nil {
		return nil, err
	}
	tenant, err := c.tenant()
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	old, known := alarmDoc{}, false
	if in.ID != nil {
		id, ok := proto.ParseUUID(in.ID.ID)
		if !ok {
			return nil, bad("Alarm field id is malformed")
		}
		if old, err = c.storedAlarm(id); err != nil {
			return nil, err
		}
		if *old.Originator != *in.Originator || old.Type != in.Type {
			return nil, bad("Alarm originator and type cannot be changed")
		}
		known = true
	} else {
		old, known = c.activeAlarm(in.Originator, in.Type)
	}
	a := alarmDoc{
		ID: &reference{"ALARM", proto.FormatUUID(proto.NewUUID())}, Created: c.Clock.Now(), Tenant: tenant,
		Type: in.Type, Originator: in.Originator,
		Start: in.Start, End: in.End,
	}
	now := c.Clock.Now()
	if known {
		a = old
		a.Tenant, a.End = tenant, max(in.End, old.End)
		if in.End == 0 {
			a.End = now
		}
	} else {
		if a.Start == 0 {
			a.Start = now
		}
		a.End = max(a.End, a.Start)
	}
	a.Severity, a.Details, a.Propagate, a.PropagateToOwner = in.Severity, in.Details, in.Propagate, in.PropagateToOwner
	a.PropagateToTenant, a.PropagateRelationTypes = in.PropagateToTenant, in.PropagateRelationTypes
	action, t := proto.ActionAdded, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	if known {
		action, t = proto.ActionUpdated, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	}
	events := []proto.Event{c.alarmEvent(action, t, &a)}
	// The server takes neither from a creation or an update: each needs an event of its own.
	if in.Acknowledged && !a.Acknowledged {
		a.Acknowledged, a.Ack = true, stamp(in.Ack, now)
		events = append(events, c.alarmEvent(proto.ActionAlarmAck, proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE, &a))
	}
	if in.Cleared && !a.Cleared {
		a.Cleared, a.Clear = true, stamp(in.Clear, now)
		events = append(events, c.alarmEvent(proto.ActionAlarmClear, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE, &a))
	}
	return c.putAlarm(&a, events)
}

func stamp(ts, now int64) int64 {
	if ts > 0 {
		return ts
	}
	return now
}

// check finds what the server would refuse for good, or acknowledge and lose.
func (a *alarmDoc) check() error {
	switch {
	case strings.TrimSpace(a.Type) == "":
		return bad("Alarm type should be specified!")
	case a.Originator == nil || a.Originator.Type == "" || a.Originator.ID == "":
		return bad("Alarm originator should be specified!")
	case !slices.Contains(severities, a.Severity):
		return bad("Alarm severity must be one of " + strings.Join(severities, ", "))
	case a.Start < 0 || a.End < 0 || a.Ack < 0 || a.Clear < 0:
		return bad("Alarm times must not be negative")
	case len(a.PropagateRelationTypes) > 64:
		return bad("too many propagateRelationTypes")
	case bytes.Contains(a.Details, []byte(`\u0000`)):
		return bad("Alarm details are malformed")
	}
	for _, s := range append([]string{a.Type}, a.PropagateRelationTypes...) {
		if why := badText(s); why != "" {
			return bad("Validation error: type " + why)
		}
	}
	return nil
}

func (c *call) putAlarm(a *alarmDoc, events []proto.Event) (any, error) {
	text := a.encode()
	if err := c.commit(events, registry.Edit{Kind: proto.KindAlarm, ID: a.id(), Text: string(text)}); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

func (c *call) argAlarm() (a alarmDoc, err error) {
	id, err := c.argID(0)
	if err != nil {
		return a, err
	}
	return c.storedAlarm(id)
}

func (c *call) alarm() (any, error) {
	a, err := c.argAlarm()
	if err != nil {
		return nil, err
	}
	return json.RawMessage(a.encode()), nil
}

func (c *call) ackAlarm() (any, error) {
	flag := func(a *alarmDoc) (*bool, *int64) { return &a.Acknowledged, &a.Ack }
	return c.markAlarm(flag, "Alarm was already acknowledged!", proto.ActionAlarmAck, proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE)
}

func (c *call) clearAlarm() (any, error) {
	flag := func(a *alarmDoc) (*bool, *int64) { return &a.Cleared, &a.Clear }
	return c.markAlarm(flag, "Alarm was already cleared!", proto.ActionAlarmClear, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE)
}

// markAlarm sets a flag of the alarm in the path, and the time of it; twice is the answer when it
// is set already.
func (c *call) markAlarm(flag func(*alarmDoc) (*bool, *int64), twice string, action proto.Action, t proto.UpdateMsgType) (any, error) {
	c.edit.Lock()
	defer c.edit.Unlock()
	a, err := c.argAlarm()
	if err != nil {
		return nil, err
	}
	set, at := flag(&a)
	if *set {
		return nil, bad(twice)
	}
	*set, *at = true, c.Clock.Now()
	return c.putAlarm(&a, []proto.Event{c.alarmEvent(action, t, &a)})
}

func (c *call) deleteAlarm() (any, error) {
	c.edit.Lock()
	defer c.edit.Unlock()
	a, err := c.argAlarm()
	if err != nil {
		return nil, err
	}
	e := c.alarmEvent(proto.ActionDeleted, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, &a)
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: proto.KindAlarm, ID: a.id(), Deleted: true}); err != nil {
		return nil, err
	}
	return true, nil
}

// alarmsOf is GET of the alarms of an originator, the newest first, a page at a time; searchStatus
// and status select.
func (c *call) alarmsOf() (any, error) {
	id, err := c.argID(1)
	if err != nil {
		return nil, err
	}
	if err := c.mayOn(c.args[0], id); err != nil {
		return nil, err
	}
	size, number, err := c.paging()
	if err != nil {
		return nil, err
	}
	of := reference{c.args[0], proto.FormatUUID(id)}
	// Those of the page are read again: a thousand with their details would not fit into memory.
	type listed struct {
		id      proto.UUID
		created int64
	}
	var list []listed
	c.Registry.Entities(proto.KindAlarm, func(id proto.UUID, text []byte) bool {
		if !bytes.Contains(text, []byte(of.ID)) {
			return true
		}
		if a, ok := decodeAlarm(text); ok && *a.Originator == of && a.matches(c.query("searchStatus"), c.query("status")) {
			list = append(list, listed{id, a.Created})
		}
		return len(list) < maxPage
	})
	sort.SliceStable(list, func(i, j int) bool { return list[i].created > list[j].created })
	p := page{Elements: len(list), Pages: (len(list) + size - 1) / size}
	for i, bytes := number*size, 0; i < min(len(list), (number+1)*size); i++ {
		text, _ := c.Registry.Entity(proto.KindAlarm, list[i].id)
		a, ok := decodeAlarm(text)
		if !ok {
			continue // it went a moment ago
		}
		a.ID = &reference{"ALARM", proto.FormatUUID(list[i].id)}
		encoded := a.encode()
		if bytes += len(encoded); bytes > maxAnswer && p.data != nil {
			break
		}
		p.add(encoded)
	}
	p.More = number+1 < p.Pages
	return p.encode(), nil
}

func (a *alarmDoc) matches(search, status string) bool {
	if status != "" && status != a.status() {
		return false
	}
	switch search {
	case "ACTIVE":
		return !a.Cleared
	case "CLEARED":
		return a.Cleared
	case "ACK":
		return a.Acknowledged
	case "UNACK":
		return !a.Acknowledged
	}
	return true
}
