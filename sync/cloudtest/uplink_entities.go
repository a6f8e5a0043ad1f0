package cloudtest

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"

	"edgesync/proto"
)

// maxName is the longest name of an entity, in characters (CONTRACT.md 5.5).
const maxName = 255

// kind describes one kind of entities for the code that all of them share: the points in which the
// server's processors differ.
type kind struct {
	typ   entityType
	part  string // name of the message, for the error about a null entity
	word  string // the kind's name inside a sentence of an error
	noun  string // the kind's name at the beginning of a sentence
	class string // Java class below org.thingsboard.server.common.data
	where string // processor and method, for the stack trace

	title    string // member that must not be empty; "" = the name, which the server makes up
	titleErr string
	assign   bool // assigned to the edge when created
	managed  bool // gets a relation EDGE -ManagedByEdge-> it when created
	undying  bool // DELETED is an unsupported message type
}

var (
	deviceKind = &kind{
		typ: typeDevice, part: "deviceUpdateMsg", word: "device", noun: "Device", class: "Device", assign: true, managed: true,
		where: "device.DeviceEdgeProcessor.processDeviceMsgFromEdge(DeviceEdgeProcessor.java:76)",
	}
	assetKind = &kind{
		typ: typeAsset, part: "assetUpdateMsg", word: "asset", noun: "Asset", class: "asset.Asset", assign: true, managed: true,
		where: "asset.AssetEdgeProcessor.processAssetMsgFromEdge(AssetEdgeProcessor.java:70)",
	}
	entityViewKind = &kind{
		typ: typeEntityView, part: "entityViewUpdateMsg", word: "entityView", noun: "Entity view",
		class: "EntityView", assign: true, managed: true,
		where: "entityview.EntityViewEdgeProcessor.processEntityViewMsgFromEdge(EntityViewEdgeProcessor.java:64)",
	}
	dashboardKind = &kind{
		typ: typeDashboard, part: "dashboardUpdateMsg", word: "dashboard", noun: "Dashboard", class: "Dashboard",
		assign: true, managed: true,
		title: "title", titleErr: "Dashboard title should be specified!",
		where: "dashboard.DashboardEdgeProcessor.processDashboardMsgFromEdge(DashboardEdgeProcessor.java:60)",
	}
	deviceProfileKind = &kind{
		typ: typeDeviceProfile, part: "deviceProfileUpdateMsg", word: "device profile", noun: "Device profile", class: "DeviceProfile",
		managed: true, undying: true,
		where: "device.profile.DeviceProfileEdgeProcessor.processDeviceProfileMsgFromEdge(DeviceProfileEdgeProcessor.java:63)",
	}
	assetProfileKind = &kind{
		typ: typeAssetProfile, part: "assetProfileUpdateMsg", word: "asset profile", noun: "Asset profile", class: "asset.AssetProfile",
		managed: true, undying: true,
		where: "asset.profile.AssetProfileEdgeProcessor.processAssetProfileMsgFromEdge(AssetProfileEdgeProcessor.java:63)",
	}
	ruleChainKind = &kind{
		typ: typeRuleChain, part: "ruleChainUpdateMsg", word: "ruleChain", noun: "Rule chain", class: "rule.RuleChain", assign: true,
		title: "name", titleErr: "Rule chain name should be specified!",
		where: "rule.RuleChainEdgeProcessor.processRuleChainMsgFromEdge(RuleChainEdgeProcessor.java:64)",
	}
	resourceKind = &kind{
		typ: typeResource, part: "resourceUpdateMsg", word: "resource", noun: "Resource", class: "TbResource", undying: true,
		title: "title", titleErr: "Title should be specified!",
		where: "resource.ResourceEdgeProcessor.processResourceMsgFromEdge(ResourceEdgeProcessor.java:61)",
	}
	calculatedFieldKind = &kind{
		typ: typeCalculatedField, part: "calculatedFieldUpdateMsg", word: "calculated field", noun: "Calculated field",
		class: "cf.CalculatedField", title: "name", titleErr: "Calculated field name should be specified!",
		where: "cf.CalculatedFieldEdgeProcessor.processCalculatedFieldMsgFromEdge(CalculatedFieldEdgeProcessor.java:60)",
	}
	aiModelKind = &kind{
		typ: typeAIModel, part: "aiModelUpdateMsg", word: "AI model", noun: "AI model", class: "ai.AiModel",
		title: "name", titleErr: "Validation error: name must not be blank",
		where: "ai.AiModelEdgeProcessor.processAiModelMsgFromEdge(AiModelEdgeProcessor.java:58)",
	}
	userKind = &kind{
		typ: typeUser, part: "userUpdateMsg", word: "user", noun: "User", class: "User", title: "email",
		titleErr: "User email should be specified!", where: "user.UserEdgeProcessor.processUserMsgFromEdge(UserEdgeProcessor.java:62)",
	}
	apiKeyKind = &kind{
		typ: typeAPIKey, part: "apiKeyUpdateMsg", word: "API key", noun: "API key", class: "pat.ApiKey", title: "-",
		where: "apikey.ApiKeyEdgeProcessor.processApiKeyMsgFromEdge(ApiKeyEdgeProcessor.java:55)",
	}
)

// entityUpdate is an update message of any kind.
type entityUpdate interface {
	GetMsgType() proto.UpdateMsgType
	GetIdMSB() int64
	GetIdLSB() int64
	GetEntity() string
}

// resolve completes an entity before it is stored; its error is thrown.
type resolve func(next *record, o object) error

// entity processes one update message of a kind.
func (u *uplink) entity(k *kind, m entityUpdate, complete resolve) error {
	id := proto.UUIDOf(m.GetIdMSB(), m.GetIdLSB())
	switch typ := m.GetMsgType(); {
	case typ == created || typ == updated:
		return u.save(k, id, m, complete)
	case typ == deleted && !k.undying:
		return u.delete(k, id)
	default:
		u.unsupported(typ, k.where)
		return nil
	}
}

// save creates or replaces an entity (CONTRACT.md 5.1, 5.5).
func (u *uplink) save(k *kind, id proto.UUID, m entityUpdate, complete resolve) error {
	t := u.t
	o, err := readObject(m.GetEntity(), k.class, k.where)
	if err != nil {
		return err
	}
	if o == nil {
		return u.cannotConvert(k.part, k.word, m.GetMsgType(), m.GetIdMSB(), m.GetIdLSB(), m.GetEntity(), k.where)
	}
	old := t.find(k.typ, id)
	next := newRecord(ref{k.typ, id})
	u.take(next, old, o)
	name, renamed, err := u.nameFor(k, next.ref, o)
	if err != nil {
		return err
	}
	if err := u.validate(k, next, o, name); err != nil {
		return err
	}
	if old != nil && old.same(o) {
		u.drop() // not saved: nothing has changed if the JSON is the server's own complete one
		return nil
	}
	if complete != nil {
		if err := complete(next, o); err != nil {
			return err
		}
	}
	if old == nil && t.atLimit(k.typ) {
		t.swallowed++
		return nil // answered as if it were stored (CONTRACT.md 13.1)
	}
	if old == nil {
		next.version = 1
		if k.title != "-" {
			t.rename(next, name)
		}
		t.insert(next)
	} else {
		if k.title != "-" {
			next.name = old.name
			t.rename(next, name)
			t.rename(old, name)
		}
		old.fields = next.fields
		old.version++
		next = old
	}
	if renamed {
		u.renames = append(u.renames, func() *proto.DownlinkMsg { return u.renamedDown(next.ref) })
	}
	if old != nil {
		return nil
	}
	if u.edge.deleted {
		if k.assign {
			// The entity is saved nevertheless (CONTRACT.md 2.6).
			return &thrown{"Can't assign " + k.word + " to non-existent edge!", k.where}
		}
		return nil
	}
	if k.managed {
		t.saveRelation(relation{relationKey{ref{typeEdge, u.edge.ID}, next.ref, "ManagedByEdge", "COMMON"}, "null"})
	}
	if k.assign {
		next.assign(u.edge.ID)
	}
	return nil
}

// take fills the record from the JSON. Missing members are cleared, except for the time of creation
// and the customer.
func (u *uplink) take(next, old *record, o object) {
	tpl := templates[next.typ]
	for i, name := range tpl.members {
		switch name {
		case "id":
			next.fields[i] = json.RawMessage(idJSON(next.ref))
		case "version":
		case "createdTime":
			ms := o.millis(name)
			if ms == 0 && old != nil {
				ms = old.created()
			}
			if ms == 0 {
				var timed bool
				if ms, timed = uuidTime(next.id); !timed {
					ms = u.now.UnixMilli()
				}
			}
			next.fields[i] = strconv.AppendInt(nil, ms, 10)
		case "customerId":
			switch {
			case o.given(name) != nil:
				next.fields[i] = json.RawMessage(idJSON(refOf(o[name], typeCustomer)))
			case old != nil:
				next.fields[i] = old.field(name)
			default:
				next.fields[i] = json.RawMessage(idJSON(ref{typeCustomer, proto.NullUUID}))
			}
		default:
			next.fields[i] = o.given(name)
		}
	}
}

// nameFor is the name that the entity gets. A name that another entity of the type has already, and
// a missing name, are made unique by 15 random letters (CONTRACT.md 5.5).
func (u *uplink) nameFor(k *kind, r ref, o object) (name string, renamed bool, err error) {
	member := k.title
	switch member {
	case "-":
		return "", false, nil
	case "":
		member = "name"
	}
	name = o.text(member)
	if name == "" && k.title != "" {
		return "", false, &thrown{k.titleErr, k.where}
	}
	names := u.t.names[k.typ]
	if names == nil {
		return name, false, nil
	}
	if name == "" {
		return "null_" + u.t.randomWord(15), true, nil
	}
	if id, taken := names[name]; taken && id != r.id {
		return name + "_" + u.t.randomWord(15), true, nil
	}
	return name, false, nil
}

// validate checks what the server's validators check, in the same order (CONTRACT.md 4.5).
func (u *uplink) validate(k *kind, next *record, o object, name string) error {
	if len(utf16.Encode([]rune(name))) > maxName {
		member := k.title
		if member == "" {
			member = "name"
		}
		return &thrown{"Validation error: " + member + " length must be equal or less than 255", k.where}
	}
	switch tenant := refOf(o["tenantId"], typeTenant); tenant.id {
	case proto.UUID{}:
		return &thrown{k.noun + " should be assigned to tenant!", k.where}
	case u.t.id:
	default:
		return &thrown{k.noun + " is referencing to non-existent tenant!", k.where}
	}
	if _, has := templates[k.typ].index["customerId"]; has {
		c := refOf(next.field("customerId"), typeCustomer)
		if c.id != proto.NullUUID && c.id != (proto.UUID{}) && !u.t.exists(c) {
			return &thrown{"Can't assign " + k.word + " to non-existent customer!", k.where}
		}
	}
	return nil
}

// same reports whether the JSON is the server's own complete JSON of the record (CONTRACT.md 4.8).
func (r *record) same(o object) bool {
	tpl := templates[r.typ]
	for i, name := range tpl.members {
		if name == "id" || name == "version" {
			continue
		}
		given := o[name]
		if given == nil {
			given = json.RawMessage("null")
			if b := tpl.blank[i]; b == "0" || b == "false" {
				given = json.RawMessage(b)
			}
		}
		if !sameJSON(given, r.field(name)) {
			return false
		}
	}
	return true
}

// renamedDown is the downlink with a name that the server made up.
func (u *uplink) renamedDown(r ref) *proto.DownlinkMsg {
	rec := u.t.records[r]
	if rec == nil {
		return nil
	}
	switch r.typ {
	case typeDevice:
		return u.t.deviceDown(rec, updated)
	case typeAsset:
		return u.t.assetDown(rec, updated)
	case typeEntityView:
		return entityViewDown(rec, updated)
	case typeDeviceProfile:
		return &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{deviceProfileMsg(rec, updated)}}
	case typeAssetProfile:
		return &proto.DownlinkMsg{AssetProfileUpdateMsg: []*proto.AssetProfileUpdateMsg{assetProfileMsg(rec, updated)}}
	case typeUser:
		return userDown(rec, updated)
	}
	return nil
}

// delete deletes an entity; an unknown one is no error. A rule chain is only unassigned from the
// edge (CONTRACT.md 5.8).
func (u *uplink) delete(k *kind, id proto.UUID) error {
	r := u.t.find(k.typ, id)
	if r == nil {
		u.drop()
		return nil
	}
	switch k.typ {
	case typeRuleChain:
		if id == u.edge.root {
			return &thrown{"Can't unassign root rule chain from edge [" + u.edge.Name +
				"]. Please assign another root rule chain first!", k.where}
		}
		for i, e := range r.edges {
			if e == u.edge.ID {
				r.edges = append(r.edges[:i], r.edges[i+1:]...)
				break
			}
		}
		return nil
	case typeDevice, typeAsset:
		if u.t.referenced(r.ref) {
			return &thrown{"Can't delete " + k.word + " that has entity views or is referenced in calculated fields!", k.where}
		}
	}
	u.t.remove(r.ref)
	if down := deletedDown(r.ref); down != nil {
		u.out.Everywhere = append(u.out.Everywhere, down)
	}
	return nil
}

// referenced reports whether an entity view or a calculated field refers to the entity.
func (t *Tenant) referenced(r ref) bool {
	for _, typ := range []entityType{typeEntityView, typeCalculatedField} {
		for _, id := range t.order[typ] {
			if refOf(t.find(typ, id).field("entityId"), r.typ) == r {
				return true
			}
		}
	}
	return false
}
