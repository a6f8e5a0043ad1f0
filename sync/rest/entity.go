package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// entityDef says what an entity of a kind looks like (wire contract 5.5, 5.8). An update is a full replacement: what the body leaves out gets its default.
type entityDef struct {
	kind   proto.Kind
	typ    string // as ThingsBoard spells it
	word   string // for people
	name   string // the field with the name
	fields []field
}

type field struct {
	name  string
	is    shape
	other string // default, as JSON
}

// shape is what a field may hold; null is always allowed, and is the default then.
type shape uint8

const (
	text     shape = iota // at most 255 characters, neither NUL nor markup
	number                // integral
	flag                  // true or false
	object                // a JSON object
	list                  // a JSON array
	kept                  // what is stored already, and nothing else
	profile               // of a device or asset that is here
	customer              // that is here
	owner                 // a device or asset that is here
)

const nobodysCustomer = `{"entityType":"CUSTOMER","id":"13814000-1dd2-11b2-8080-808080808080"}`

var (
	deviceDef = &entityDef{proto.KindDevice, "DEVICE", "Device", "name", []field{
		{"customerId", customer, nobodysCustomer},
		{"type", text, "null"},
		{"label", text, "null"},
		{"deviceProfileId", profile, "null"},
		{"firmwareId", kept, "null"},
		{"softwareId", kept, "null"},
		{"externalId", kept, "null"},
		{"additionalInfo", object, "null"},
		{"deviceData", object, `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}`},
	}}
	assetDef = &entityDef{proto.KindAsset, "ASSET", "Asset", "name", []field{
		{"customerId", customer, nobodysCustomer},
		{"type", text, "null"},
		{"label", text, "null"},
		{"assetProfileId", profile, "null"},
		{"externalId", kept, "null"},
		{"additionalInfo", object, "null"},
	}}
	viewDef = &entityDef{proto.KindEntityView, "ENTITY_VIEW", "Entity view", "name", []field{
		{"customerId", customer, nobodysCustomer},
		{"entityId", owner, ""},
		{"type", text, `"default"`},
		{"keys", object, `{"timeseries":[],"attributes":{"cs":[],"ss":[],"sh":[]}}`},
		{"startTimeMs", number, "0"},
		{"endTimeMs", number, "0"},
		{"externalId", kept, "null"},
		{"additionalInfo", object, "null"},
	}}
	dashboardDef = &entityDef{proto.KindDashboard, "DASHBOARD", "Dashboard", "title", []field{
		{"image", text, "null"},
		{"mobileHide", flag, "false"},
		{"mobileOrder", number, "null"},
		{"assignedCustomers", kept, "null"},
		{"configuration", object, "{}"},
		{"resources", list, "null"},
		{"externalId", kept, "null"},
	}}
)

// document is an entity's JSON, field by field.
type document map[string]json.RawMessage

func decodeDocument(text []byte) (document, bool) {
	var d document
	return d, registry.ValidObject(text) && json.Unmarshal(text, &d) == nil
}

func (d document) text(name string) (s string) {
	_ = json.Unmarshal(d[name], &s)
	return s
}

// id is the id in a field that holds {"id":…}.
func (d document) id(name string) (proto.UUID, string, bool) {
	var ref reference
	if json.Unmarshal(d[name], &ref) != nil {
		return proto.UUID{}, "", false
	}
	id, ok := proto.ParseUUID(ref.ID)
	return id, ref.Type, ok
}

func (d document) encode() []byte {
	b, _ := json.Marshal(d) // of texts that were decoded
	return b
}

type reference struct {
	Type string `json:"entityType"`
	ID   string `json:"id"`
}

func refJSON(typ string, id proto.UUID) json.RawMessage {
	return json.RawMessage(`{"entityType":"` + typ + `","id":"` + proto.FormatUUID(id) + `"}`)
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// badText tells why the server would refuse a text for good; "" if it would not.
func badText(s string) string {
	switch {
	case utf8.RuneCountInString(s) > 255:
		return "length must be equal or less than 255"
	case strings.ContainsAny(s, "\x00<>"):
		return "is malformed"
	}
	return ""
}

// valid checks one field and returns what is stored of it.
func (c *call) valid(def *entityDef, f field, v json.RawMessage, old document) (json.RawMessage, error) {
	wrong := bad(def.word + " field " + f.name + " is malformed")
	if isNull(v) {
		if f.is == owner {
			return nil, bad(def.word + " " + f.name + " should be specified!")
		}
		return json.RawMessage(f.other), nil
	}
	switch f.is {
	case text:
		var s string
		if json.Unmarshal(v, &s) != nil {
			return nil, wrong
		}
		if why := badText(s); why != "" {
			return nil, bad("Validation error: " + f.name + " " + why)
		}
	case number:
		if _, err := strconv.ParseInt(string(v), 10, 64); err != nil {
			return nil, wrong
		}
	case flag:
		if s := string(v); s != "true" && s != "false" {
			return nil, wrong
		}
	case object:
		if v[0] != '{' || bytes.Contains(v, []byte(`\u0000`)) {
			return nil, wrong
		}
		if f.name == "deviceData" && !validDeviceData(v) {
			return nil, wrong
		}
	case list:
		if v[0] != '[' {
			return nil, wrong
		}
	case kept:
		if o := old[f.name]; isNull(o) || !same(o, v) {
			return nil, bad(def.word + " field " + f.name + " cannot be set at the edge")
		}
		return old[f.name], nil
	default:
		var ref reference
		if json.Unmarshal(v, &ref) != nil {
			return nil, wrong
		}
		id, ok := proto.ParseUUID(ref.ID)
		if !ok {
			return nil, wrong
		}
		return c.validRef(def, f, ref.Type, id, old)
	}
	return v, nil
}

func (c *call) validRef(def *entityDef, f field, typ string, id proto.UUID, old document) (json.RawMessage, error) {
	was, _, had := old.id(f.name)
	switch f.is {
	case customer:
		if id != proto.NullUUID && !(had && was == id) && !c.Registry.Exists("CUSTOMER", id) {
			return nil, bad("Can't assign " + strings.ToLower(def.word) + " to non-existent customer!")
		}
		return refJSON("CUSTOMER", id), nil
	case profile:
		if def == deviceDef {
			if _, ok := c.Registry.Profile(id); !ok {
				return nil, bad("Device is referencing non existing device profile!")
			}
			return refJSON("DEVICE_PROFILE", id), nil
		}
		if _, ok := c.Registry.Entity(proto.KindAssetProfile, id); !ok {
			return nil, bad("Asset is referencing non existing asset profile!")
		}
		return refJSON("ASSET_PROFILE", id), nil
	default: // owner
		if typ != "DEVICE" && typ != "ASSET" || !c.Registry.Here(typ, id) {
			return nil, bad(def.word + " is referencing an entity that is not here")
		}
		return refJSON(typ, id), nil
	}
}

// same tells whether two texts are the same JSON, but for blanks and order.
func same(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

// validDeviceData tells whether the server can read the data: an unknown type would make it refuse the device (wire contract 4.5).
func validDeviceData(v json.RawMessage) bool {
	type part *struct{ Type string }
	var j struct {
		Configuration          part
		TransportConfiguration part
	}
	if json.Unmarshal(v, &j) != nil || j.Configuration != nil && j.Configuration.Type != "DEFAULT" {
		return false
	}
	if j.TransportConfiguration == nil {
		return true
	}
	switch j.TransportConfiguration.Type {
	case "DEFAULT", "MQTT", "COAP", "LWM2M", "SNMP":
		return true
	}
	return false
}

// tenant is the tenant of this edge, without which nothing can be made here.
func (c *call) tenant() (json.RawMessage, error) {
	e := c.Registry.Edge()
	if e == nil {
		return nil, &failure{http.StatusServiceUnavailable, codeGeneral, "the cloud has not told yet which tenant this edge belongs to"}
	}
	return refJSON("TENANT", proto.UUIDOf(e.TenantIdMSB, e.TenantIdLSB)), nil
}

// build makes the entity that a body describes; old is what it replaces, nil for a new one.
func (c *call) build(def *entityDef, in, old document, id proto.UUID) (document, error) {
	tenant, err := c.tenant()
	if err != nil {
		return nil, err
	}
	name := in.text(def.name)
	if strings.TrimSpace(name) == "" {
		return nil, bad(def.word + " " + def.name + " should be specified!")
	}
	if why := badText(name); why != "" {
		return nil, bad("Validation error: " + def.name + " " + why)
	}
	out := document{"id": refJSON(def.typ, id), "tenantId": tenant, "version": json.RawMessage("null")}
	out["name"] = json.RawMessage(proto.AppendJSONString(nil, name))
	out[def.name] = out["name"]
	if out["createdTime"] = old["createdTime"]; isNull(out["createdTime"]) {
		out["createdTime"] = json.RawMessage(strconv.FormatInt(c.Clock.Now(), 10))
	}
	for _, f := range def.fields {
		if out[f.name], err = c.valid(def, f, in[f.name], old); err != nil {
			return nil, err
		}
	}
	for f, v := range in { // fields that the server has, of whatever release, and that a script brings back
		if _, known := out[f]; !known && old[f] != nil {
			out[f] = v
		}
	}
	switch def {
	case deviceDef:
		c.completeDevice(out)
	case assetDef:
		c.completeAsset(out)
	}
	return out, nil
}

// completeDevice brings type and profile together: the type is the name of the profile. A profile that is not here the server finds or makes by that name.
func (c *call) completeDevice(d document) {
	if id, _, ok := d.id("deviceProfileId"); ok {
		p, _ := c.Registry.Profile(id)
		d["type"] = json.RawMessage(proto.AppendJSONString(nil, p.Name))
		return
	}
	if p, ok := c.Registry.DeviceProfile(d.text("type")); ok {
		d["deviceProfileId"], d["type"] = refJSON("DEVICE_PROFILE", p.ID), json.RawMessage(proto.AppendJSONString(nil, p.Name))
	} else if d.text("type") == "" {
		d["type"] = json.RawMessage(`"default"`)
	}
}

func (c *call) completeAsset(d document) {
	want, _, byID := d.id("assetProfileId")
	name := d.text("type")
	c.Registry.Entities(proto.KindAssetProfile, func(id proto.UUID, text []byte) bool {
		var p struct {
			Name    string
			Default bool
		}
		if json.Unmarshal(text, &p) != nil {
			return true
		}
		if byID && id != want || !byID && name != "" && p.Name != name || !byID && name == "" && !p.Default {
			return true
		}
		d["assetProfileId"], d["type"] = refJSON("ASSET_PROFILE", id), json.RawMessage(proto.AppendJSONString(nil, p.Name))
		return false
	})
	if d.text("type") == "" {
		d["type"] = json.RawMessage(`"default"`)
	}
}

// named finds another entity of that name, which must not be: the server would rename ours (wire contract 4.8). Dashboards may share theirs.
func (c *call) named(def *entityDef, name string, but proto.UUID) (found proto.UUID, taken bool) {
	switch def {
	case dashboardDef:
		return found, false
	case deviceDef:
		d, ok := c.Registry.ByName(name)
		return d.ID, ok && d.ID != but
	}
	c.Registry.Entities(def.kind, func(id proto.UUID, text []byte) bool {
		var j struct{ Name string }
		if json.Unmarshal(text, &j) == nil && j.Name == name && id != but {
			found, taken = id, true
		}
		return !taken
	})
	return found, taken
}

// save is POST of an entity: with an id it replaces that one, without it makes one.
func (c *call) save(def *entityDef) (any, error) {
	in, err := c.object()
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	if !isNull(in["id"]) {
		return c.update(def, in)
	}
	if !c.admin() {
		return nil, errForbidden
	}
	if def == deviceDef {
		return c.create(in, c.query("accessToken"))
	}
	id := proto.NewUUID()
	out, err := c.build(def, in, nil, id)
	if err != nil {
		return nil, err
	}
	if _, taken := c.named(def, out.text(def.name), id); taken {
		return nil, bad(def.word + " with such name already exists!")
	}
	return c.put(def, out, id, proto.ActionAdded)
}

// put queues and stores an entity.
func (c *call) put(def *entityDef, out document, id proto.UUID, action proto.Action) (any, error) {
	text := out.encode()
	t := proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	if action == proto.ActionUpdated {
		t = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	}
	e := c.event(def.kind, action, id, proto.AppendUpdate(nil, def.kind, t, id, string(text)))
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: def.kind, ID: id, Text: string(text)}); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

func (c *call) update(def *entityDef, in document) (any, error) {
	id, _, ok := in.id("id")
	if !ok {
		return nil, bad(def.word + " field id is malformed")
	}
	old, err := c.read1(def, id)
	if err != nil {
		return nil, err
	}
	out, err := c.build(def, in, old, id)
	if err != nil {
		return nil, err
	}
	if !c.admin() && !same(out["customerId"], old["customerId"]) {
		return nil, errForbidden
	}
	if _, taken := c.named(def, out.text(def.name), id); taken {
		return nil, bad(def.word + " with such name already exists!")
	}
	return c.put(def, out, id, proto.ActionUpdated)
}

// create makes a device with an access token; "" stands for a new one.
func (c *call) create(in document, token string) (any, error) {
	return c.createWith(in, &proto.NewDevice{CredentialsID: token})
}

func (c *call) createWith(in document, n *proto.NewDevice) (any, error) {
	n.ID = proto.NewUUID()
	out, err := c.build(deviceDef, in, nil, n.ID)
	if err != nil {
		return nil, err
	}
	if why := badText(n.CredentialsID); why != "" {
		return nil, bad("Validation error: credentialsId " + why)
	}
	text := out.encode()
	n.Name, n.Entity = out.text("name"), string(text)
	switch id, err := c.Births.Create(c.r.Context(), n); {
	case errors.Is(err, agent.ErrNameTaken) && id == (proto.UUID{}), errors.Is(err, agent.ErrNameTaken) && !c.nameIs(id, n.Name):
		return nil, bad("Device credentials are already assigned to another device!")
	case errors.Is(err, agent.ErrNameTaken):
		return nil, bad("Device with such name already exists!")
	case err != nil:
		c.Log.Warn("a device could not be made by REST", "error", err)
		return nil, &failure{http.StatusServiceUnavailable, codeGeneral, wordsNotStored}
	}
	return json.RawMessage(text), nil
}

func (c *call) nameIs(id proto.UUID, name string) bool {
	d, ok := c.Registry.ByName(name)
	return ok && d.ID == id
}

// read1 reads an entity that the user may see.
func (c *call) read1(def *entityDef, id proto.UUID) (document, error) {
	text, ok := c.Registry.Entity(def.kind, id)
	if !ok {
		return nil, errNotFound
	}
	d, ok := decodeDocument(text)
	if !ok {
		return nil, errNotFound
	}
	if !c.sees(def, d) {
		return nil, errForbidden
	}
	return d, nil
}

// sees tells whether an entity is the user's: a customer's user sees what is assigned to the customer.
func (c *call) sees(def *entityDef, d document) bool {
	if c.admin() {
		return true
	}
	if def == dashboardDef {
		var list []struct {
			ID reference `json:"customerId"`
		}
		if json.Unmarshal(d["assignedCustomers"], &list) != nil {
			return false
		}
		for _, a := range list {
			if a.ID.ID == proto.FormatUUID(c.user.Customer) {
				return true
			}
		}
		return false
	}
	id, _, ok := d.id("customerId")
	return ok && id == c.user.Customer && id != proto.NullUUID
}

// argID is an id in the path.
func (c *call) argID(i int) (proto.UUID, error) {
	id, ok := proto.ParseUUID(c.args[i])
	if !ok {
		return id, bad("Invalid UUID string: it must be like 784f394c-42b6-435a-983c-b7beff2784f9")
	}
	return id, nil
}

func (c *call) get(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	if _, err := c.read1(def, id); err != nil {
		return nil, err
	}
	text, _ := c.Registry.Entity(def.kind, id)
	return json.RawMessage(text), nil
}

func (c *call) delete(def *entityDef) (any, error) {
	id, err := c.argID(0)
	if err != nil {
		return nil, err
	}
	c.edit.Lock()
	defer c.edit.Unlock()
	if _, err := c.read1(def, id); err != nil {
		return nil, err
	}
	if c.referenced(id) {
		return nil, bad("Can't delete " + strings.ToLower(def.word) + " that has entity views or is referenced in calculated fields!")
	}
	e := c.event(def.kind, proto.ActionDeleted, id, proto.AppendUpdate(nil, def.kind, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, id, ""))
	if err := c.commit([]proto.Event{e}, registry.Edit{Kind: def.kind, ID: id, Deleted: true}); err != nil {
		return nil, err
	}
	c.Latest.forget(id)
	return nil, nil
}

// referenced tells whether the server would refuse to delete an entity (wire contract 4.5).
func (c *call) referenced(id proto.UUID) (yes bool) {
	name := []byte(proto.FormatUUID(id))
	refers := func(own string) func(proto.UUID, []byte) bool {
		return func(_ proto.UUID, text []byte) bool {
			d, ok := decodeDocument(text)
			if !ok || !bytes.Contains(text, name) {
				return true
			}
			of, _, _ := d.id("entityId")
			if own == "" {
				yes = of == id // a view of it
			} else {
				yes = of != id // a field of another, which takes values of it
			}
			return !yes
		}
	}
	c.Registry.Entities(proto.KindEntityView, refers(""))
	if !yes {
		c.Registry.Entities(proto.KindCalculatedField, refers("arguments"))
	}
	return yes
}
