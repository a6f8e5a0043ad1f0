package cloudtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"

	"edgesync/proto"
)

// entityType numbers the types of entities that this cloud keeps.
type entityType uint8

const (
	typeNone entityType = iota
	typeTenant
	typeCustomer
	typeUser
	typeEdge
	typeDevice
	typeAsset
	typeEntityView
	typeDashboard
	typeDeviceProfile
	typeAssetProfile
	typeRuleChain
	typeAlarm
	typeResource
	typeCalculatedField
	typeAIModel
	typeAPIKey
	typeWidgetsBundle
	typeWidgetType
	typeTenantProfile
	typeOther // known to the server by name, never kept here
	entityTypes
)

// template describes the JSON of one type: its name on the wire and its members in the server's
// order (CONTRACT.md 6.4), each with the JSON text of its default.
type template struct {
	name    string
	members []string
	blank   []string
	index   map[string]int
}

func newTemplate(name string, members ...string) *template {
	t := &template{name: name, index: make(map[string]int)}
	for _, m := range members {
		key, blank, ok := strings.Cut(m, "=")
		if !ok {
			blank = "null"
		}
		t.index[key] = len(t.members)
		t.members, t.blank = append(t.members, key), append(t.blank, blank)
	}
	return t
}

// defaultDeviceData is the data of a device that was saved without any.
const defaultDeviceData = `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"}}`

const defaultProfileData = `{"configuration":{"type":"DEFAULT"},"transportConfiguration":{"type":"DEFAULT"},` +
	`"provisionConfiguration":{"type":"DISABLED","provisionDeviceSecret":null},"alarms":null}`

var templates = [entityTypes]*template{
	typeTenant: newTemplate("TENANT", "id", "createdTime=0", "country", "state", "city", "address", "address2", "zip",
		"phone", "email", "title",
		"region", "tenantProfileId", "version", "name", "additionalInfo"),
	typeTenantProfile: newTemplate("TENANT_PROFILE", "id", "createdTime=0", "name", "description",
		"isolatedTbRuleEngine=false", "default=false",
		"profileData"),
	typeCustomer: newTemplate("CUSTOMER", "id", "createdTime=0", "country", "state", "city", "address", "address2", "zip", "phone", "email",
		"title", "tenantId", "externalId", "version", "name", "additionalInfo"),
	typeUser: newTemplate("USER", "id", "createdTime=0", "tenantId", "customerId", "email", "authority", "firstName", "lastName", "phone",
		"version", "name", "additionalInfo"),
	typeEdge: newTemplate("EDGE", "id"),
	typeDevice: newTemplate("DEVICE", "id", "createdTime=0", "tenantId", "customerId", "name", "type", "label",
		"deviceProfileId", "firmwareId",
		"softwareId", "externalId", "version", "additionalInfo", "deviceData="+defaultDeviceData),
	typeAsset: newTemplate("ASSET", "id", "createdTime=0", "tenantId", "customerId", "name", "type", "label",
		"assetProfileId", "externalId",
		"version", "additionalInfo"),
	typeEntityView: newTemplate("ENTITY_VIEW", "entityId", "tenantId", "customerId", "name", "type", "keys", "startTimeMs=0", "endTimeMs=0",
		"externalId", "version", "id", "createdTime=0", "additionalInfo"),
	typeDashboard: newTemplate("DASHBOARD", "id", "createdTime=0", "tenantId", "title", "name", "image", "mobileHide=false", "mobileOrder",
		"assignedCustomers", "configuration", "resources", "version", "externalId"),
	typeDeviceProfile: newTemplate("DEVICE_PROFILE", "id", "createdTime=0", "tenantId", "name", "description", "image", `type="DEFAULT"`,
		`transportType="DEFAULT"`, `provisionType="DISABLED"`, "defaultRuleChainId", "defaultDashboardId", "defaultQueueName",
		"provisionDeviceKey", "firmwareId", "softwareId", "defaultEdgeRuleChainId", "externalId", "version", "default=false",
		"profileData="+defaultProfileData),
	typeAssetProfile: newTemplate("ASSET_PROFILE", "id", "createdTime=0", "tenantId", "name", "description", "image", "defaultRuleChainId",
		"defaultDashboardId", "defaultQueueName", "defaultEdgeRuleChainId", "externalId", "version", "default=false"),
	typeRuleChain: newTemplate("RULE_CHAIN", "id", "createdTime=0", "tenantId", "name", `type="EDGE"`, "firstRuleNodeId", "root=false",
		"debugMode=false", "externalId", "version", "configuration", "additionalInfo"),
	typeAlarm: newTemplate("ALARM", "tenantId", "customerId", "type", "originator", "severity", "acknowledged=false", "cleared=false",
		"assigneeId", "startTs=0", "endTs=0", "ackTs=0", "clearTs=0", "assignTs=0", "details", "propagate=false", "propagateToOwner=false",
		"propagateToTenant=false", "propagateRelationTypes=[]", "id", "createdTime=0", "name", "status"),
	typeResource: newTemplate("TB_RESOURCE", "id", "createdTime=0", "tenantId", "title", "resourceType",
		"resourceSubType", "resourceKey", "etag",
		"fileName", "descriptor", "publicResourceKey", "externalId", "data", "preview", "link", "publicLink", "name"),
	typeCalculatedField: newTemplate("CALCULATED_FIELD", "id", "createdTime=0", "tenantId", "entityId", "type", "name", "debugSettings",
		"configurationVersion=0", "configuration", "version", "additionalInfo"),
	typeAIModel: newTemplate("AI_MODEL", "id", "createdTime=0", "tenantId", "version", "name", "configuration", "externalId"),
	typeAPIKey: newTemplate("API_KEY", "id", "createdTime=0", "tenantId", "userId", "description", "enabled=false", "expirationTime=0",
		"value"),
	typeWidgetsBundle: newTemplate("WIDGETS_BUNDLE", "id", "createdTime=0", "tenantId", "alias", "title", "image",
		"scada=false", "description",
		"order", "externalId", "version", "name"),
	typeWidgetType: newTemplate("WIDGET_TYPE", "id", "createdTime=0", "tenantId", "fqn", "name", "deprecated=false",
		"scada=false", "version",
		"descriptor", "image", "description", "tags", "externalId", "resources"),
}

// typeNumbers finds a type by its name on the wire. Types that the server knows and this cloud does
// not keep are typeOther: data for them is dropped, while an unknown name is an error
// (CONTRACT.md 4.5, 4.7).
var typeNumbers = func() map[string]entityType {
	m := make(map[string]entityType)
	for i, t := range templates {
		if t != nil {
			m[t.name] = entityType(i)
		}
	}
	for _, name := range []string{
		"RULE_NODE", "OTA_PACKAGE", "RPC", "QUEUE", "QUEUE_STATS", "NOTIFICATION_TARGET", "NOTIFICATION_TEMPLATE", "NOTIFICATION_REQUEST",
		"NOTIFICATION", "NOTIFICATION_RULE", "OAUTH2_CLIENT", "DOMAIN", "MOBILE_APP", "MOBILE_APP_BUNDLE", "CALCULATED_FIELD_LINK", "JOB",
		"ADMIN_SETTINGS",
	} {
		m[name] = typeOther
	}
	return m
}()

// hasTelemetry reports whether the server takes data of such an entity (CONTRACT.md 4.7).
func (t entityType) hasTelemetry() bool {
	switch t {
	case typeDevice, typeAsset, typeEntityView, typeDashboard, typeTenant, typeCustomer, typeUser, typeEdge:
		return true
	}
	return false
}

// ref names an entity.
type ref struct {
	typ entityType
	id  proto.UUID
}

// record is an entity with everything that belongs to it.
type record struct {
	ref
	name    string
	version int64
	fields  []json.RawMessage // by the template's index; nil = the default
	edges   []proto.UUID      // edges that it is assigned to

	series map[string]*series
	keys   []string // of series, in order of arrival
	attrs  [scopes]attributes

	// Activity of a device, by the server's clock (CONTRACT.md 5.3), in milliseconds; zero = never.
	activeSince, lastActivity int64

	credentials *login          // of a device
	secret      json.RawMessage // JSON of the credentials of a user
	metadata    json.RawMessage // of a rule chain: its nodes and connections without the chain's id
	comments    []comment       // of an alarm
}

// login is the credentials of a device (CONTRACT.md 5.5).
type login struct {
	id             proto.UUID
	created        int64
	typ, key, text string
	version        int64
}

// comment is a comment on an alarm.
type comment struct {
	id   proto.UUID
	json json.RawMessage
}

func newRecord(r ref) *record {
	return &record{ref: r, fields: make([]json.RawMessage, len(templates[r.typ].members))}
}

// field is the JSON text of a member; "null" if it has neither a value nor a default.
func (r *record) field(name string) json.RawMessage {
	i, ok := templates[r.typ].index[name]
	if !ok {
		return nil
	}
	if r.fields[i] == nil {
		return json.RawMessage(templates[r.typ].blank[i])
	}
	return r.fields[i]
}

func (r *record) set(name string, text string) {
	if i, ok := templates[r.typ].index[name]; ok {
		r.fields[i] = json.RawMessage(text)
	}
}

func (r *record) created() int64 {
	n, _ := strconv.ParseInt(string(r.field("createdTime")), 10, 64)
	return n
}

// marshal is the entity as downlinks carry it: all members, version always null (CONTRACT.md 6.4).
func (r *record) marshal() string {
	t := templates[r.typ]
	b := make([]byte, 0, 512)
	for i, name := range t.members {
		if i == 0 {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, name), ':')
		switch name {
		case "version":
			b = append(b, "null"...)
		case "deviceData":
			b = appendDeviceData(b, r.field(name))
		default:
			b = append(b, r.field(name)...)
		}
	}
	return string(append(b, '}'))
}

// appendDeviceData writes the data of a device with the key "type" twice in its configuration: a
// quirk of the server's serializer that a strict parser must survive (CONTRACT.md 6.4).
func appendDeviceData(b []byte, data json.RawMessage) []byte {
	var parts struct {
		Configuration          map[string]json.RawMessage `json:"configuration"`
		TransportConfiguration json.RawMessage            `json:"transportConfiguration"`
	}
	if json.Unmarshal(data, &parts) != nil || parts.Configuration["type"] == nil {
		return append(b, data...)
	}
	b = append(b, `{"configuration":{"type":`...)
	b = append(append(b, parts.Configuration["type"]...), `,"type":`...)
	b = append(b, parts.Configuration["type"]...)
	b = append(b, `},"transportConfiguration":`...)
	if parts.TransportConfiguration == nil {
		parts.TransportConfiguration = json.RawMessage("null")
	}
	return append(append(b, parts.TransportConfiguration...), '}')
}

// assigned reports whether the record is assigned to the edge.
func (r *record) assigned(edge proto.UUID) bool {
	for _, e := range r.edges {
		if e == edge {
			return true
		}
	}
	return false
}

func (r *record) assign(edge proto.UUID) {
	if edge != (proto.UUID{}) && !r.assigned(edge) {
		r.edges = append(r.edges, edge)
	}
}

// seriesOf finds the series of a key and creates it when there is none.
func (r *record) seriesOf(key string) *series {
	s := r.series[key]
	if s == nil {
		if r.series == nil {
			r.series = make(map[string]*series)
		}
		s = new(series)
		r.series[key] = s
		r.keys = append(r.keys, key)
	}
	return s
}

// uuidTime is the time inside a time-based id, in milliseconds since the Unix epoch; ok is false
// for an id of another version.
func uuidTime(id proto.UUID) (ms int64, ok bool) {
	if id[6]>>4 != 1 {
		return 0, false
	}
	ticks := int64(binary.BigEndian.Uint32(id[:4])) | int64(binary.BigEndian.Uint16(id[4:6]))<<32 |
		int64(binary.BigEndian.Uint16(id[6:8])&0x0FFF)<<48
	const gregorian = 0x01B21DD213814000 // 100 ns between 1582-10-15 and 1970-01-01
	return (ticks - gregorian) / 10_000, true
}

// idJSON is an entity id in JSON (CONTRACT.md 5.1).
func idJSON(r ref) string {
	return `{"entityType":"` + templates[r.typ].name + `","id":"` + proto.FormatUUID(r.id) + `"}`
}

func quoted(s string) string { return string(appendQuoted(nil, s)) }

// sameJSON reports whether two JSON texts have the same content.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := canonical(a)
	y, errY := canonical(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func canonical(raw json.RawMessage) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
