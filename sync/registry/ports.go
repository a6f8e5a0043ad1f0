package registry

import "edgesync/proto"

// Watcher hears of changes that live sessions must follow. sync/device is one; Watch hands it over
// before the loop runs.
//
// Whatever it hears (names, credentials, profiles, shared attributes, deletions), it hears in the
// order in which it was stored, one call at a time, and what it hears of is in force already. A
// sync that brings nothing new calls nothing.
//
// The calls are made by whoever changes the registry: by a writer of another change too, if that
// one is at it. No lock of the registry is held meanwhile. So a method may call all that reads the
// registry, and all that stores what the watcher does not hear of (KeepCall, DropCall, Posted of
// client attributes, Prepare, Flush). A change that it hears of itself is for another goroutine to
// make: at the bound of what it has not heard yet (1 MiB) such a change waits for the watcher. For
// the same reason a method must not block, nor take a lock under which somebody makes such a
// change.
type Watcher interface {
	// DeviceChanged says that a device was made, changed or removed. For DeviceDeleted d is what it
	// was.
	DeviceChanged(d Device, what Change)
	// SharedAttributes says that shared attributes of a device were set (also to the same value
	// again, API.md 2) and deleted. set and deleted are valid during the call only.
	SharedAttributes(device proto.UUID, set []proto.KV, deleted []string)
}

// Change says what of a device changed; several bits at once are possible.
type Change uint8

// The changes, and what a live session does.
const (
	// DeviceCreated: nothing to do; a gateway may be waiting for the device.
	DeviceCreated Change = 1 << iota
	// DeviceRenamed: a direct session goes on; a gateway's sub-session goes on under the old name
	// (API.md 4.3).
	DeviceRenamed
	// CredentialsChanged: close the direct session (API.md 3.1). Not reported when the same
	// credentials were saved again.
	CredentialsChanged
	// GatewayChanged: additionalInfo.gateway was switched; it counts at the next connect (API.md
	// 4.3).
	GatewayChanged
	// ProfileChanged: another profile, or its topics, payload type or schemas. A direct session
	// goes by the new profile at once.
	ProfileChanged
	// DeviceDeleted: deleted or unassigned, which look the same (CONTRACT.md 6.3). Close every
	// session of the device.
	DeviceDeleted
)

// Scope is the scope of an attribute (CONTRACT.md 7.1).
type Scope uint8

// The scopes.
const (
	ClientScope Scope = iota // what the device posted
	SharedScope              // settings for the device
	ServerScope              // invisible to devices
)

var _ Lookups = (*Registry)(nil)

// Lookups is what the doors ask the registry. *Registry answers from memory or with one read of
// flash, with a link or without. Any goroutine. Secrets are compared in constant time, and lookups
// go by keyed digests.
type Lookups interface {
	// ByToken finds the device with this access token. Only credentials of type ACCESS_TOKEN count.
	ByToken(token string) (Device, bool)
	// ByMQTT finds the device that these fields of an MQTT CONNECT prove, in the order of API.md
	// 3.2: MQTT_BASIC in all its combinations, then the user name as access token. An empty user
	// name counts as none.
	ByMQTT(clientID, userName string, password []byte) (Device, bool)
	// ByCertificate finds the device with this X.509 certificate (DER). Validity dates and chain
	// are the caller's to check.
	ByCertificate(der []byte) (Device, bool)
	// ByName finds a device by its exact name; ByID by its id.
	ByName(name string) (Device, bool)
	ByID(id proto.UUID) (Device, bool)
	// Profile reads what the doors need of a device profile.
	Profile(id proto.UUID) (Profile, bool)
	// Provision finds the profile with this provisioning key and secret, whose strategy is not
	// disabled (API.md 5).
	Provision(key, secret string) (Profile, bool)
	// Attributes calls fn for the attributes of a device: those named by keys, or all of the scope
	// if keys is nil. The order is that of keys, or by name. kv is valid during the call only. What
	// a device posts as client attributes the intake puts here when it is accepted; the doors do
	// nothing for it. proto.AppendJSONValue writes a value.
	Attributes(device proto.UUID, scope Scope, keys []string, fn func(kv *proto.KV))
	// TimedAttributes is Attributes with the time of each value's writer, in milliseconds since the
	// Unix epoch.
	TimedAttributes(device proto.UUID, scope Scope, keys []string, fn func(ts int64, kv *proto.KV))
	// Credentials reads a device's credentials as ThingsBoard's JSON, secrets included (for
	// CHECK_PRE_PROVISIONED_DEVICES).
	Credentials(id proto.UUID) (json []byte, ok bool)
}

// Profile is what the doors need of a device profile (CONTRACT.md 6.4).
type Profile struct {
	ID   proto.UUID
	Name string
	// The strategy: DISABLED, ALLOW_CREATE_NEW_DEVICES, CHECK_PRE_PROVISIONED_DEVICES or
	// X509_CERTIFICATE_CHAIN.
	Provisioning      string
	TelemetryTopic    string // of an MQTT profile that sets its own; else ""
	AttributesTopic   string
	SubscribeTopic    string // deviceAttributesSubscribeTopic
	Protobuf          bool   // transportPayloadType PROTOBUF
	Schemas           Schemas
	AckInvalid        bool // sendAckOnValidationException
	Default           bool
	ConfiguredForMQTT bool // transportType MQTT
	// Chain is the rule chain of the profile's devices; zero: the edge's root. It need not be here.
	Chain proto.UUID
}

// MaxSchema is the most bytes of a schema; a longer one is left out.
const MaxSchema = 16 << 10

// Schemas are the texts of the proto3 schemas of a profile with protobuf payloads, "" for none, and
// when JSON goes too.
type Schemas struct {
	Telemetry  string
	Attributes string
	Call       string // of commands to the device; the server's own if the profile has none
	Answer     string // of the answers to them; the same
	JSONToo    bool   // enableCompatibilityWithJsonPayloadFormat: what is no protobuf is read as JSON
	// useJsonPayloadFormatForDefaultDownlinkTopics, which counts only together with the other: JSON
	// goes down on v1 topics.
	JSONDown bool
}
