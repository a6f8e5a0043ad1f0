package cloudtest

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"edgesync/proto"
)

// Tenant is the database behind the cloud in a box: everything that the server keeps of one tenant.
// That is edges, entities, credentials, time series, attributes, relations and alarms. Safe for
// concurrent use: one mutex guards all of it.
type Tenant struct {
	mu      sync.Mutex
	id      proto.UUID
	profile proto.UUID // of the tenant
	node    uint64     // distinguishes the ids of this tenant from those of another
	serial  uint64     // of the last id made

	edges   map[proto.UUID]*edgeState
	byKey   map[string]proto.UUID
	records map[ref]*record
	order   [entityTypes][]proto.UUID          // ids in order of creation
	names   [entityTypes]map[string]proto.UUID // where names must be unique
	byCred  map[string]proto.UUID              // devices by credentials id

	packages []*proto.OtaPackageUpdateMsg // with their binaries, in order of upload

	relations []relation
	relation  map[relationKey]int // index in relations

	deviceProfile, assetProfile, rootChain, admin proto.UUID // the defaults
	widgetTypes                                   int
	activeAlarms                                  map[alarmKey]proto.UUID

	limits    [entityTypes]int // one more than the most entities of each type; 0: no limit
	swallowed int              // creations beyond a limit

	counts  Counts
	scratch []pair // of the uplink being processed
}

// edgeState is an edge together with the state that is not part of its configuration.
type edgeState struct {
	Edge
	root    proto.UUID   // its root rule chain
	chains  []proto.UUID // rule chains in the order in which they were assigned, of those that were
	deleted bool
}

// Edge is an edge entity of the tenant.
type Edge struct {
	ID         proto.UUID
	Customer   proto.UUID // proto.NullUUID when unassigned
	Name       string
	Type       string
	RoutingKey string
	Secret     string
	CloudType  string // in the edge's configuration; "" = "CE" (CONTRACT.md 2.3)
	Created    time.Time
}

// Device is a device with its credentials, as a test or scripts/cloud sets it up.
type Device struct {
	ID      proto.UUID
	Name    string
	Profile string // name of its device profile; "" = "default"
	Label   string
	// Credentials as in CONTRACT.md 5.5.
	CredentialsType, CredentialsID, CredentialsValue string
	Gateway                                          bool
}

// Value is one stored value with its stored type, after the server's conversions (CONTRACT.md 5.3).
type Value struct {
	Type proto.KeyValueType
	Bool bool
	Long int64
	Dbl  float64
	Str  string // STRING_V and JSON_V
}

// Point is one row of a time series.
type Point struct {
	TS    int64
	Value Value
	// Writes counts how often this row was written: 1 + the number of duplicates.
	Writes int
}

// Outcome is the result of one uplink.
type Outcome struct {
	Success bool
	Error   string // the server's text, stack trace lines included; see CONTRACT.md 4.5
	Never   bool   // the answer never comes (a telemetry part without lists)
	// Mixed: the uplink held attributes, so that its answer may come far out of order
	// (CONTRACT.md 4.3).
	Mixed bool
	// Events are the messages, without ids, that the server queues for the edge in consequence, in
	// order: answers to requests, renames.
	Events []*proto.DownlinkMsg
	// Everywhere are messages for all other edges of the tenant: DELETED of what this uplink
	// deleted (CONTRACT.md 6.3).
	Everywhere []*proto.DownlinkMsg
	// RPCReplies are answers of devices to calls from the cloud; RPCCalls are calls of devices.
	RPCReplies, RPCCalls []*proto.DeviceRpcCallMsg
}

// AddEdge adds an edge, or replaces the one with that id. An edge whose Created is zero counts as
// old: its first connect brings no EdgeUpdateMsg.
func (t *Tenant) AddEdge(e Edge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Customer == (proto.UUID{}) {
		e.Customer = proto.NullUUID
	}
	if e.Type == "" {
		e.Type = "default"
	}
	if e.CloudType == "" {
		e.CloudType = "CE"
	}
	st := &edgeState{Edge: e, root: t.rootChain}
	if old := t.edges[e.ID]; old != nil {
		st.root, st.chains = old.root, old.chains
		delete(t.byKey, old.RoutingKey)
	}
	t.edges[e.ID] = st
	t.byKey[e.RoutingKey] = e.ID
	if t.find(typeEdge, e.ID) == nil {
		t.insert(newRecord(ref{typeEdge, e.ID}))
	}
	if chain := t.find(typeRuleChain, st.root); chain != nil {
		chain.assign(e.ID)
	}
}

// EdgeByKey finds an edge by its routing key. The bool is false for an unknown key and for a
// deleted edge, which Deleted still knows by its id.
func (t *Tenant) EdgeByKey(key string) (Edge, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.byKey[key]
	if !ok {
		return Edge{}, false
	}
	return t.edges[id].Edge, true
}

// SaveEdge replaces the edge with that id.
func (t *Tenant) SaveEdge(e Edge) { t.AddEdge(e) }

// DeleteEdge deletes the edge; its devices stay.
func (t *Tenant) DeleteEdge(id proto.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[id]
	if st == nil || st.deleted {
		return
	}
	st.deleted = true
	delete(t.byKey, st.RoutingKey)
	t.remove(ref{typeEdge, id})
	for _, r := range t.records {
		r.edges = slices.DeleteFunc(r.edges, func(e proto.UUID) bool { return e == id })
	}
}

// Deleted reports whether the edge was deleted. The stream of a deleted edge stays open
// (CONTRACT.md 2.6).
func (t *Tenant) Deleted(id proto.UUID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[id]
	return st != nil && st.deleted
}

// Configuration is the edge's EdgeConfiguration as the server sends it (CONTRACT.md 2.3), nil for
// an unknown edge.
func (t *Tenant) Configuration(id proto.UUID) *proto.EdgeConfiguration {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.edges[id]
	if st == nil {
		return nil
	}
	return t.configuration(st)
}

func (t *Tenant) configuration(st *edgeState) *proto.EdgeConfiguration {
	c := &proto.EdgeConfiguration{
		Name: st.Name, Type: st.Type, RoutingKey: st.RoutingKey, Secret: st.Secret, AdditionalInfo: "null", CloudType: st.CloudType,
	}
	c.EdgeIdMSB, c.EdgeIdLSB = proto.Halves(st.ID)
	c.TenantIdMSB, c.TenantIdLSB = proto.Halves(t.id)
	c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(st.Customer)
	return c
}

// AddDevice creates a device, assigns it to the edge (zero UUID: to none) and returns the event for
// that edge. A zero ID is replaced by a new one, see Devices. Empty credentials become an
// ACCESS_TOKEN like those that the server makes.
func (t *Tenant) AddDevice(edge proto.UUID, d Device) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if d.ID == (proto.UUID{}) {
		d.ID = t.newID(now)
	}
	r := newRecord(ref{typeDevice, d.ID})
	r.set("createdTime", millisText(now))
	r.set("customerId", idJSON(ref{typeCustomer, proto.NullUUID}))
	t.fillDevice(r, d, now)
	r.version = 1
	r.assign(edge)
	t.insert(r)
	if d.CredentialsType == "" && d.CredentialsID == "" {
		d.CredentialsType, d.CredentialsID = "ACCESS_TOKEN", t.randomWord(20)
	}
	t.saveCredentials(r, d.CredentialsType, d.CredentialsID, d.CredentialsValue, now)
	return t.deviceDown(r, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE)
}

// SaveDevice updates name, label, profile and gateway flag of a device and returns the event for
// its edge, nil for an unknown device. Credentials in d are ignored.
func (t *Tenant) SaveDevice(d Device) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeDevice, d.ID)
	if r == nil {
		return nil
	}
	t.fillDevice(r, d, time.Now())
	r.version++
	return t.deviceDown(r, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE)
}

// fillDevice writes the members of the record that a Device describes.
func (t *Tenant) fillDevice(r *record, d Device, now time.Time) {
	profile := t.profileNamed(typeDeviceProfile, d.Profile, now)
	t.rename(r, d.Name)
	r.set("tenantId", idJSON(ref{typeTenant, t.id}))
	r.set("type", quoted(profile.name))
	r.set("deviceProfileId", idJSON(profile.ref))
	r.set("label", "null")
	if d.Label != "" {
		r.set("label", quoted(d.Label))
	}
	r.set("additionalInfo", "null")
	if d.Gateway {
		r.set("additionalInfo", `{"gateway":true,"overwriteActivityTime":false,"description":""}`)
	}
}

// SetCredentials changes the credentials of a device and returns the event for its edge, nil for an
// unknown device.
func (t *Tenant) SetCredentials(id proto.UUID, typ, credID, credValue string) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeDevice, id)
	if r == nil {
		return nil
	}
	t.saveCredentials(r, typ, credID, credValue, time.Now())
	return &proto.DownlinkMsg{DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{Entity: r.credentialsJSON()}}}
}

// Unassign takes a device from its edge and returns the event for that edge.
func (t *Tenant) Unassign(device proto.UUID) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.find(typeDevice, device); r != nil {
		r.edges = nil
	}
	return deletedDown(ref{typeDevice, device})
}

// Delete deletes a device and returns the event for every edge of the tenant (CONTRACT.md 6.3).
func (t *Tenant) Delete(device proto.UUID) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(ref{typeDevice, device})
	return deletedDown(ref{typeDevice, device})
}

// SetAttributes writes attributes as a user of the server does and returns the event that a
// push-to-edge node makes of them, nil for an unknown entity or scope.
func (t *Tenant) SetAttributes(entity proto.UUID, entityType, scope string, kv []*proto.KeyValueProto, now time.Time) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	sc, ok := scopeOf(scope)
	r := t.find(typeNumbers[entityType], entity)
	if r == nil || !ok {
		return nil
	}
	pairs, err := convertList(nil, kv)
	if err != nil {
		return nil
	}
	ms := now.UnixMilli()
	sent := &proto.PostAttributeMsg{}
	for _, p := range pairs {
		if p.val.Type != skipped {
			r.attrs[sc].set(p.key, p.val, ms)
			sent.Kv = append(sent.Kv, keyValue(p.key, p.val))
		}
	}
	d := dataFor(r.ref)
	d.AttributesUpdatedMsg, d.PostAttributeScope, d.AttributeTs = sent, scope, &ms
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{d}}
}

// DeviceOf returns a device by id with the edge that it is assigned to.
func (t *Tenant) DeviceOf(id proto.UUID) (d Device, edge proto.UUID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(typeDevice, id)
	if r == nil {
		return Device{}, proto.UUID{}, false
	}
	if len(r.edges) > 0 {
		edge = r.edges[0]
	}
	return r.device(), edge, true
}

// Devices lists all devices of the tenant, sorted by name.
func (t *Tenant) Devices() []Device {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Device, 0, len(t.order[typeDevice]))
	for _, id := range t.order[typeDevice] {
		list = append(list, t.find(typeDevice, id).device())
	}
	slices.SortFunc(list, func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// seriesFor finds the series of a key of an entity of any type.
func (t *Tenant) seriesFor(entity proto.UUID, key string) *series {
	for typ := range entityTypes {
		if typ.hasTelemetry() {
			if r := t.find(typ, entity); r != nil {
				return r.series[key]
			}
		}
	}
	return nil
}

// Series returns the rows of one key of one entity, sorted by TS. Arrivals has them in the order of
// arrival.
func (t *Tenant) Series(entity proto.UUID, key string) []Point {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.seriesFor(entity, key)
	if s == nil {
		return nil
	}
	s.merge()
	points := make([]Point, len(s.rows))
	for i := range s.rows {
		r := &s.rows[i]
		points[i] = Point{TS: r.ts, Value: r.value(), Writes: int(min(r.writes, 1<<31-1))}
	}
	return points
}

// Arrivals returns the timestamps of one key in the order in which they first arrived.
func (t *Tenant) Arrivals(entity proto.UUID, key string) []int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.seriesFor(entity, key); s != nil {
		return slices.Clone(s.arrivals)
	}
	return nil
}

// Keys lists the keys of an entity's time series in the order in which they first arrived.
func (t *Tenant) Keys(entity proto.UUID) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for typ := range entityTypes {
		if typ.hasTelemetry() {
			if r := t.find(typ, entity); r != nil {
				return slices.Clone(r.keys)
			}
		}
	}
	return nil
}

// Attribute returns one attribute and its lastUpdateTs. SERVER_SCOPE includes "active" and
// "lastActivityTime", which the server itself keeps of a device (CONTRACT.md 5.3).
func (t *Tenant) Attribute(entity proto.UUID, scope, key string) (v Value, ts int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sc, ok := scopeOf(scope)
	if !ok {
		return Value{}, 0, false
	}
	for typ := range entityTypes {
		r := t.find(typ, entity)
		if r == nil {
			continue
		}
		if a := r.attrs[sc].get(key); a != nil {
			return a.val, a.ts, true
		}
		if sc == serverScope && r.activeSince != 0 {
			switch key {
			case "active":
				return Value{Type: proto.KeyValueType_BOOLEAN_V, Bool: true}, r.activeSince, true
			case "lastActivityTime":
				return Value{Type: proto.KeyValueType_LONG_V, Long: r.lastActivity}, r.lastActivity, true
			}
		}
	}
	return Value{}, 0, false
}

// Counts are totals since the start.
func (t *Tenant) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// Counts of what arrived.
type Counts struct {
	Uplinks    uint64 // messages
	Events     uint64 // their parts: elements of entityData, updates, requests
	Points     uint64 // rows of time series, each counted once
	Duplicates uint64 // values for a row that existed already
	Dropped    uint64 // parts, lists of telemetry, values that were silently dropped (CONTRACT.md 4.7)
}
