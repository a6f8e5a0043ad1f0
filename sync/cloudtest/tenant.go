package cloudtest

import (
	"time"

	"edgesync/proto"
)

// Tenant is everything that the server keeps of one tenant: edges, entities, credentials, time series, attributes, relations,
// alarms. It is the database behind the cloud in a box. Safe for concurrent use.
type Tenant struct{}

// NewTenant returns a fresh tenant: system widget bundles and types, profiles "default", rule chain, admin settings.
func NewTenant() *Tenant { return &Tenant{} }

// Edge is an edge entity of the tenant.
type Edge struct {
	ID         proto.UUID
	Customer   proto.UUID // proto.NullUUID when unassigned
	Name       string
	Type       string
	RoutingKey string
	Secret     string
	Created    time.Time
}

// Device is a device with its credentials, as a test or the program sets it up.
type Device struct {
	ID      proto.UUID
	Name    string
	Profile string // name of its device profile; "" = "default"
	Label   string
	// Credentials as in wire contract 5.5.
	CredentialsType, CredentialsID, CredentialsValue string
	Gateway                                          bool
}

// Value is one stored value with its stored type, as after the server's conversions (wire contract 5.3).
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

// Outcome is what came of one uplink.
type Outcome struct {
	Success bool
	Error   string // the server's text, stack trace lines included; see wire contract 4.5
	Never   bool   // the answer never comes (a telemetry part without lists)
	// Mixed: attributes were among it, so that its answer may overtake others by far (wire contract 4.3).
	Mixed bool
	// Events are what the server queues for the edge in consequence, in order: answers to requests, renames. Without ids.
	Events []*proto.DownlinkMsg
	// RPCReplies are answers of devices to calls from the cloud; RPCCalls are calls of devices.
	RPCReplies, RPCCalls []*proto.DeviceRpcCallMsg
}

// Process works off one uplink of the edge as the server does (wire contract 4.2 to 4.8, 5, 7): fixed order of the parts, silent
// drops, value conversions, attribute time filter, errors with the server's texts, parts applied before an error stay.
func (t *Tenant) Process(edge proto.UUID, u *proto.UplinkMsg, now time.Time) Outcome {
	return Outcome{}
}

// Steps returns the sequence of a sync (wire contract 3.2): one element a step, each a list of messages without ids.
// SyncCompleted is not among them.
func (t *Tenant) Steps(edge proto.UUID, full bool) [][]*proto.DownlinkMsg { return nil }

// AddEdge, EdgeByKey, SaveEdge and DeleteEdge administer edges. The bool of EdgeByKey is false for an unknown key;
// a deleted edge is unknown by its key, and Deleted tells so by its id.
func (t *Tenant) AddEdge(e Edge) {}

// EdgeByKey finds an edge by its routing key.
func (t *Tenant) EdgeByKey(key string) (Edge, bool) { return Edge{}, false }

// SaveEdge replaces the edge with that id.
func (t *Tenant) SaveEdge(e Edge) {}

// DeleteEdge deletes the edge; its devices stay.
func (t *Tenant) DeleteEdge(id proto.UUID) {}

// Configuration is the edge's EdgeConfiguration as the server sends it (wire contract 2.3).
func (t *Tenant) Configuration(id proto.UUID) *proto.EdgeConfiguration { return nil }

// AddDevice creates a device and assigns it to the edge (zero UUID: to none). It returns the event for that edge.
func (t *Tenant) AddDevice(edge proto.UUID, d Device) *proto.DownlinkMsg { return nil }

// SaveDevice updates a device (rename, label) and returns the event for its edge.
func (t *Tenant) SaveDevice(d Device) *proto.DownlinkMsg { return nil }

// SetCredentials changes the credentials of a device and returns the event for its edge.
func (t *Tenant) SetCredentials(id proto.UUID, typ, credID, credValue string) *proto.DownlinkMsg {
	return nil
}

// Unassign takes a device from its edge; Delete deletes it. Both return the event: it goes to the edge, and in the case of Delete
// to every edge of the tenant (wire contract 6.3).
func (t *Tenant) Unassign(device proto.UUID) *proto.DownlinkMsg { return nil }

// Delete deletes a device.
func (t *Tenant) Delete(device proto.UUID) *proto.DownlinkMsg { return nil }

// SetAttributes writes attributes as a user of the server would and returns the event that a push-to-edge node would make of it.
func (t *Tenant) SetAttributes(entity proto.UUID, entityType, scope string, kv []*proto.KeyValueProto, now time.Time) *proto.DownlinkMsg {
	return nil
}

// DeviceOf returns a device by id with the edge that it is assigned to.
func (t *Tenant) DeviceOf(id proto.UUID) (d Device, edge proto.UUID, ok bool) {
	return Device{}, proto.UUID{}, false
}

// Devices lists all devices of the tenant, sorted by name.
func (t *Tenant) Devices() []Device { return nil }

// Series returns the rows of one key of one entity, sorted by TS. Order of arrival is in Arrivals.
func (t *Tenant) Series(entity proto.UUID, key string) []Point { return nil }

// Arrivals returns the timestamps of one key in the order in which they first arrived.
func (t *Tenant) Arrivals(entity proto.UUID, key string) []int64 { return nil }

// Attribute returns one attribute and its lastUpdateTs.
func (t *Tenant) Attribute(entity proto.UUID, scope, key string) (v Value, ts int64, ok bool) {
	return Value{}, 0, false
}

// Counts are totals since the start.
func (t *Tenant) Counts() Counts { return Counts{} }

// Counts of what arrived.
type Counts struct {
	Uplinks, Events, Points, Duplicates, Dropped uint64
}
