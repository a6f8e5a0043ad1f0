package cloudtest

import (
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
)

// How many entities a fresh tenant of the real server has (CONTRACT.md 3.3). The content of those
// in this package is small and invented.
const (
	systemWidgetTypes = 684
	systemBundles     = 28
)

// NewTenant returns a fresh tenant: system widget bundles and types, profiles "default", rule
// chain, admin settings, one tenant administrator.
func NewTenant() *Tenant {
	return newTenant(proto.UUID{})
}

// newTenant makes a tenant with that id; zero stands for a new id.
func newTenant(id proto.UUID) *Tenant {
	t := &Tenant{
		node: rand.Uint64() | 1<<40, edges: make(map[proto.UUID]*edgeState), byKey: make(map[string]proto.UUID),
		records: make(map[ref]*record), byCred: make(map[string]proto.UUID), relation: make(map[relationKey]int),
		activeAlarms: make(map[alarmKey]proto.UUID),
		widgetTypes:  systemWidgetTypes,
	}
	for _, typ := range []entityType{typeDevice, typeAsset, typeEntityView, typeDeviceProfile, typeAssetProfile, typeUser} {
		t.names[typ] = make(map[string]proto.UUID)
	}
	now := time.Now()
	if id == (proto.UUID{}) {
		id = t.newID(now)
	}
	t.id, t.profile = id, t.newID(now)
	t.foundation(now)
	return t
}

// SetWidgetTypes sets how many system widget types a full sync brings. The default is 684, as on
// the real server; a lower number makes a test's sync faster.
func (t *Tenant) SetWidgetTypes(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.widgetTypes = max(n, 0)
}

// TenantID returns the id of the tenant.
func (t *Tenant) TenantID() proto.UUID { return t.id }

// NewID makes a time-based id, as ThingsBoard does: all ids of one server share their last eight
// bytes.
func (t *Tenant) NewID() proto.UUID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newID(time.Now())
}

// newID is NewID for a caller that holds t.mu.
func (t *Tenant) newID(now time.Time) (id proto.UUID) {
	t.serial++
	ticks := uint64(now.UnixMilli())*10_000 + 0x01B21DD213814000 + t.serial%10_000
	binary.BigEndian.PutUint32(id[:4], uint32(ticks))
	binary.BigEndian.PutUint16(id[4:], uint16(ticks>>32))
	binary.BigEndian.PutUint16(id[6:], uint16(ticks>>48)&0x0FFF|0x1000)
	binary.BigEndian.PutUint64(id[8:], t.node)
	id[8] = id[8]&0x3F | 0x80
	return id
}

// randomWord returns n random letters.
func (t *Tenant) randomWord(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	return string(b)
}

func (t *Tenant) find(typ entityType, id proto.UUID) *record { return t.records[ref{typ, id}] }

// exists reports whether there is such an entity; never for a type that this cloud does not keep.
func (t *Tenant) exists(r ref) bool { return t.records[r] != nil }

// insert adds a record, whose name must be free.
func (t *Tenant) insert(r *record) {
	if _, twice := t.records[r.ref]; !twice {
		t.order[r.typ] = append(t.order[r.typ], r.id)
	}
	if i, ok := templates[r.typ].index["id"]; ok {
		r.fields[i] = json.RawMessage(idJSON(r.ref))
	}
	t.records[r.ref] = r
	if t.names[r.typ] != nil {
		t.names[r.typ][r.name] = r.id
	}
}

// rename gives a record its name and updates the index of names.
func (t *Tenant) rename(r *record, name string) {
	if names := t.names[r.typ]; names != nil {
		if t.records[r.ref] == r && names[r.name] == r.id {
			delete(names, r.name)
		}
		if t.records[r.ref] == r {
			names[name] = r.id
		}
	}
	r.name = name
	if r.typ == typeUser {
		r.set("email", quoted(name))
	}
	if r.typ == typeDashboard || r.typ == typeResource || r.typ == typeWidgetsBundle || r.typ == typeCustomer || r.typ == typeTenant {
		r.set("title", quoted(name))
	}
	r.set("name", quoted(name))
}

// remove deletes an entity with everything that belongs to it.
func (t *Tenant) remove(r ref) {
	rec := t.records[r]
	if rec == nil {
		return
	}
	delete(t.records, r)
	t.order[r.typ] = slices.DeleteFunc(t.order[r.typ], func(id proto.UUID) bool { return id == r.id })
	if names := t.names[r.typ]; names != nil && names[rec.name] == r.id {
		delete(names, rec.name)
	}
	if rec.credentials != nil {
		delete(t.byCred, rec.credentials.key)
	}
	t.relations = slices.DeleteFunc(t.relations, func(x relation) bool { return x.from == r || x.to == r })
	clear(t.relation)
	for i := range t.relations {
		t.relation[t.relations[i].relationKey] = i
	}
}

// profileNamed finds the device or asset profile of that name, or creates it; "" is the default
// profile.
func (t *Tenant) profileNamed(typ entityType, name string, now time.Time) *record {
	if name == "" {
		if typ == typeDeviceProfile {
			return t.find(typ, t.deviceProfile)
		}
		return t.find(typ, t.assetProfile)
	}
	if id, ok := t.names[typ][name]; ok {
		return t.find(typ, id)
	}
	r := newRecord(ref{typ, t.newID(now)})
	r.set("createdTime", millisText(now))
	r.set("tenantId", idJSON(ref{typeTenant, t.id}))
	t.rename(r, name)
	r.version = 1
	t.insert(r)
	return r
}

// device returns the record as a Device.
func (r *record) device() Device {
	d := Device{ID: r.id, Name: r.name, Profile: text(r.field("type")), Label: text(r.field("label"))}
	var info struct {
		Gateway bool `json:"gateway"`
	}
	if json.Unmarshal(r.field("additionalInfo"), &info) == nil {
		d.Gateway = info.Gateway
	}
	if c := r.credentials; c != nil {
		d.CredentialsType, d.CredentialsID, d.CredentialsValue = c.typ, c.key, c.text
	}
	return d
}

// saveCredentials stores credentials of a device with the id that the server computes
// (CONTRACT.md 5.5).
func (t *Tenant) saveCredentials(r *record, typ, key, value string, now time.Time) {
	switch typ {
	case "MQTT_BASIC":
		key, value = basicCredentials(value, key)
	case "X509_CERTIFICATE":
		value = certificateBody(value)
		key = sha3Hex(value)
	case "ACCESS_TOKEN":
		value = ""
	}
	c := r.credentials
	if c == nil {
		c = &login{id: t.newID(now), created: now.UnixMilli()}
		r.credentials = c
	} else {
		delete(t.byCred, c.key)
	}
	c.typ, c.key, c.text = typ, key, value
	c.version++
	t.byCred[key] = r.id
}

// basicCredentials computes the id of MQTT_BASIC credentials and writes their value in the server's
// order of members.
func basicCredentials(value, key string) (id, normal string) {
	var basic struct {
		ClientID *string `json:"clientId"`
		UserName *string `json:"userName"`
		Password *string `json:"password"`
	}
	if json.Unmarshal([]byte(value), &basic) != nil {
		return key, value
	}
	word := func(s *string) string {
		if s == nil {
			return "null"
		}
		return quoted(*s)
	}
	normal = `{"clientId":` + word(basic.ClientID) + `,"userName":` + word(basic.UserName) + `,"password":` + word(basic.Password) + `}`
	client, user := basic.ClientID != nil && *basic.ClientID != "", basic.UserName != nil && *basic.UserName != ""
	switch {
	case client && user:
		return sha3Hex(*basic.ClientID + "|" + *basic.UserName), normal
	case client:
		return sha3Hex(*basic.ClientID), normal
	case user:
		return *basic.UserName, normal
	}
	return key, normal
}

// certificateBody returns the base64 text of a certificate, without header, footer and line ends.
func certificateBody(pem string) string {
	pem = strings.ReplaceAll(pem, "-----BEGIN CERTIFICATE-----", "")
	pem = strings.ReplaceAll(pem, "-----END CERTIFICATE-----", "")
	return strings.NewReplacer("\n", "", "\r", "").Replace(pem)
}

func sha3Hex(s string) string {
	sum := sha3.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// credentialsJSON is the entity of a deviceCredentialsUpdateMsg (CONTRACT.md 6.4).
func (r *record) credentialsJSON() string {
	c := r.credentials
	value := "null"
	if c.text != "" {
		value = quoted(c.text)
	}
	return `{"id":{"id":"` + proto.FormatUUID(c.id) + `"},"createdTime":` + strconv.FormatInt(c.created, 10) +
		`,"deviceId":` + idJSON(r.ref) +
		`,"credentialsType":` + quoted(c.typ) + `,"credentialsId":` + quoted(c.key) + `,"credentialsValue":` + value + `,"version":null}`
}

func millisText(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// text returns the string in a JSON text; "" for null and anything that is no string.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// relationKey identifies a relation (CONTRACT.md 5.7).
type relationKey struct {
	from, to    ref
	name, group string
}

type relation struct {
	relationKey
	info string // JSON
}

func (t *Tenant) saveRelation(r relation) {
	if i, ok := t.relation[r.relationKey]; ok {
		t.relations[i] = r
		return
	}
	t.relation[r.relationKey] = len(t.relations)
	t.relations = append(t.relations, r)
}

func (t *Tenant) deleteRelation(k relationKey) {
	i, ok := t.relation[k]
	if !ok {
		return
	}
	t.relations = slices.Delete(t.relations, i, i+1)
	delete(t.relation, k)
	for ; i < len(t.relations); i++ {
		t.relation[t.relations[i].relationKey] = i
	}
}

func (r relation) marshal() string {
	return `{"from":` + idJSON(r.from) + `,"to":` + idJSON(r.to) + `,"type":` + quoted(r.name) + `,"typeGroup":` + quoted(r.group) +
		`,"version":null,"additionalInfo":` + r.info + `}`
}
