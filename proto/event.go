package proto

// UUID is an entity id in big-endian order: the first eight bytes are the MSB field of a message,
// the last eight the LSB.
type UUID = [16]byte

// NullUUID stands for "no customer" in entity JSON and in EdgeConfiguration (CONTRACT.md 2.3).
// NullUUID is not zero.
var NullUUID = UUID{0x13, 0x81, 0x40, 0x00, 0x1d, 0xd2, 0x11, 0xb2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}

// Event is one thing that happened at the edge, ready for the queue. Fragment is the exact bytes
// that the event occupies inside an UplinkMsg (field tag, length, message), so that a batch is
// built by concatenating fragments.
type Event struct {
	Kind     Kind
	Action   Action
	Time     int64 // when the event was accepted, in milliseconds since the Unix epoch
	Entity   UUID  // what the event is about; order is kept per entity
	Fragment []byte
}

// Kind is the part of UplinkMsg that an event travels in: the number of its field
// (CONTRACT.md 1.5).
type Kind uint8

// The kinds of events, named after the fields of UplinkMsg.
const (
	KindEntityData           Kind = 2
	KindDevice               Kind = 3
	KindDeviceCredentials    Kind = 4
	KindAlarm                Kind = 5
	KindRelation             Kind = 6
	KindRuleChainMetadataAsk Kind = 7
	KindAttributesAsk        Kind = 8
	KindRelationAsk          Kind = 9
	KindUserCredentialsAsk   Kind = 10
	KindDeviceCredentialsAsk Kind = 11
	KindRPC                  Kind = 12
	KindWidgetBundleTypesAsk Kind = 14
	KindEntityViewsAsk       Kind = 15
	KindAsset                Kind = 16
	KindDashboard            Kind = 17
	KindEntityView           Kind = 18
	KindAssetProfile         Kind = 19
	KindDeviceProfile        Kind = 20
	KindResource             Kind = 21
	KindAlarmComment         Kind = 22
	KindRuleChain            Kind = 23
	KindRuleChainMetadata    Kind = 24
	KindCalculatedField      Kind = 25
	KindCalculatedFieldAsk   Kind = 26
	KindAIModel              Kind = 27
	KindUser                 Kind = 28
	KindUserCredentials      Kind = 29
	KindAPIKey               Kind = 30
	kindEnd                  Kind = 31
)

// serverOrder is the order in which the server processes the parts of one UplinkMsg
// (CONTRACT.md 4.2).
var serverOrder = [...]Kind{
	KindDeviceProfile, KindDevice, KindDeviceCredentials, KindAssetProfile, KindAsset, KindRuleChain, KindRuleChainMetadata,
	KindEntityView, KindEntityData, KindAlarm, KindAlarmComment, KindRelation, KindDashboard, KindResource,
	KindRuleChainMetadataAsk, KindAttributesAsk, KindRelationAsk, KindCalculatedFieldAsk, KindUserCredentialsAsk,
	KindDeviceCredentialsAsk, KindRPC, KindWidgetBundleTypesAsk, KindEntityViewsAsk, KindCalculatedField, KindAIModel, KindUser,
	KindUserCredentials, KindAPIKey,
}

var rank = func() (r [kindEnd]uint8) {
	for i, k := range serverOrder {
		r[k] = uint8(i + 1)
	}
	return r
}()

// Rank is the position of a kind in the server's order inside one UplinkMsg, from 1; 0 for a number
// that is no kind. A batch may take the next event only while the rank does not fall: otherwise the
// server would reverse the order of the two events.
func (k Kind) Rank() uint8 {
	if k >= kindEnd {
		return 0
	}
	return rank[k]
}

// Barrier reports whether nothing may be in flight beside an event of this kind. The reason: data
// for an entity whose creation failed is acknowledged and silently dropped (CONTRACT.md 4.7).
func (k Kind) Barrier() bool {
	switch k {
	case KindEntityData, KindRPC, KindAttributesAsk, KindRelationAsk, KindCalculatedFieldAsk, KindRuleChainMetadataAsk,
		KindUserCredentialsAsk, KindDeviceCredentialsAsk, KindWidgetBundleTypesAsk, KindEntityViewsAsk:
		return false
	}
	return true
}

// Action is what happened, in the words of ThingsBoard's cloud events (CONTRACT.md 5.2).
type Action uint8

// The actions. Their numbers are stored in the queue and never change.
const (
	ActionNone Action = iota
	ActionAdded
	ActionUpdated
	ActionDeleted
	ActionTimeseriesUpdated
	ActionTimeseriesDeleted
	ActionAttributesUpdated
	ActionPostAttributes
	ActionAttributesDeleted
	ActionAlarmAck
	ActionAlarmClear
	ActionRelationAddOrUpdate
	ActionRelationDeleted
	ActionRelationsDeleted
	ActionRPCCall
	ActionCredentialsUpdated
	ActionAttributesRequest
	ActionRelationRequest
	ActionCalculatedFieldRequest
	ActionRuleChainMetadataRequest
	ActionClaim // a device may be claimed; ThingsBoard has no such cloud event (API.md 5)
	actionEnd
)

var actionNames = [actionEnd]string{
	"NONE", "ADDED", "UPDATED", "DELETED", "TIMESERIES_UPDATED", "TIMESERIES_DELETED", "ATTRIBUTES_UPDATED", "POST_ATTRIBUTES",
	"ATTRIBUTES_DELETED", "ALARM_ACK", "ALARM_CLEAR", "RELATION_ADD_OR_UPDATE", "RELATION_DELETED", "RELATIONS_DELETED",
	"RPC_CALL", "CREDENTIALS_UPDATED", "ATTRIBUTES_REQUEST", "RELATION_REQUEST", "CALCULATED_FIELD_REQUEST",
	"RULE_CHAIN_METADATA_REQUEST", "CLAIM",
}

// Sendable reports whether the action has a form on the wire. Actions without one are applied at
// the edge only (CONTRACT.md 5.2).
func (a Action) Sendable() bool {
	return a != ActionTimeseriesDeleted && a != ActionRelationsDeleted && a != ActionClaim
}

// String is the action's name as ThingsBoard spells it.
func (a Action) String() string {
	if a < actionEnd {
		return actionNames[a]
	}
	return "UNKNOWN"
}
