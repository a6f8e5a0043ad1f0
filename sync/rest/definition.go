package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"edgesync/proto"
)

// entityDef says what an entity of a kind looks like (CONTRACT.md 5.5, 5.8). An update is a full
// replacement: what the body leaves out gets its default.
type entityDef struct {
	kind   proto.Kind
	typ    string // as ThingsBoard spells it
	word   string // in messages
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
	profile               // a device or asset profile that is here
	customer              // a customer that is here
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

// validDeviceData reports whether the server can read the data: because of an unknown type it would
// refuse the device (CONTRACT.md 4.5).
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

// tenant is the tenant of this edge. Until the cloud has sent it, nothing can be made here.
func (c *call) tenant() (json.RawMessage, error) {
	e := c.Registry.Edge()
	if e == nil {
		return nil, &failure{http.StatusServiceUnavailable, codeGeneral, "the cloud has not said yet which tenant this edge belongs to"}
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
	// Fields of the server, of whatever release, that a script sends back.
	for f, v := range in {
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

// completeDevice makes type and profile agree: the type is the name of the profile. A profile that
// is not here the server finds or makes by that name.
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

// completeAsset is completeDevice for assets.
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
