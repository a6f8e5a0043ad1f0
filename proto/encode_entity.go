package proto

import "google.golang.org/protobuf/encoding/protowire"

// entityField is the number of the field that holds the entity's JSON, by the part that the entity
// travels in (CONTRACT.md 1.5).
var entityField = [kindEnd]protowire.Number{
	KindDevice: 18, KindDeviceCredentials: 6, KindAlarm: 18, KindRelation: 11, KindAsset: 12, KindDashboard: 12, KindEntityView: 12,
	KindAssetProfile: 13, KindDeviceProfile: 22, KindResource: 11, KindAlarmComment: 2, KindRuleChain: 10, KindRuleChainMetadata: 8,
	KindCalculatedField: 4, KindAIModel: 4, KindUser: 11, KindUserCredentials: 5, KindAPIKey: 4,
}

// idless reports whether the update message of a kind has no ids of its own (CONTRACT.md 1.5).
func idless(k Kind) bool {
	return k == KindRelation || k == KindAlarmComment || typeless(k) || k == KindRuleChainMetadata
}

// typeless reports whether the update message of a kind has no msgType either (CONTRACT.md 1.5).
func typeless(k Kind) bool { return k == KindDeviceCredentials || k == KindUserCredentials }

// AppendUpdate appends the fragment that creates, updates or deletes an entity, acknowledges or
// clears an alarm, or sets credentials. kind is the part of UplinkMsg that the fragment travels in;
// json is the whole entity as the server knows it (CONTRACT.md 5.1, 5.5, 5.6, 5.7, 5.8). A deletion
// needs json only for alarms, relations and comments. The id is left out where the message has
// none. AppendUpdate panics for a kind that is no update.
func AppendUpdate(dst []byte, kind Kind, t UpdateMsgType, id UUID, json string) []byte {
	field := entityField[kind]
	if field == 0 {
		panic("proto: not an update: " + kind.String())
	}
	msb, lsb := Halves(id)
	if idless(kind) {
		msb, lsb = 0, 0
	}
	if typeless(kind) {
		t = 0
	}
	size := varintField(int64(t)) + varintField(msb) + varintField(lsb)
	if json != "" {
		size += protowire.SizeTag(field) + protowire.SizeBytes(len(json))
	}
	dst = appendHead(dst, protowire.Number(kind), size)
	dst = appendVarintField(dst, 1, int64(t))
	dst = appendVarintField(dst, 2, msb)
	dst = appendVarintField(dst, 3, lsb)
	return appendStringField(dst, field, json)
}

// AppendAttributesRequest appends the fragment that asks for the attributes of a scope. All latest
// telemetry of the entity comes along (CONTRACT.md 7.3).
func AppendAttributesRequest(dst []byte, entity UUID, entityType, scope string) []byte {
	size := entitySize(entity, entityType) + stringField(scope)
	dst = appendAsk(dst, KindAttributesAsk, entity, entityType, size)
	return appendStringField(dst, 4, scope)
}

// AppendRequest appends the fragment of one of the requests that name an entity: KindRelationAsk,
// KindCalculatedFieldAsk, KindEntityViewsAsk, and, with an empty entityType,
// KindRuleChainMetadataAsk, KindUserCredentialsAsk, KindDeviceCredentialsAsk,
// KindWidgetBundleTypesAsk (CONTRACT.md 5.9).
func AppendRequest(dst []byte, kind Kind, entity UUID, entityType string) []byte {
	return appendAsk(dst, kind, entity, entityType, entitySize(entity, entityType))
}

func appendAsk(dst []byte, kind Kind, entity UUID, entityType string, size int) []byte {
	msb, lsb := Halves(entity)
	dst = appendHead(dst, protowire.Number(kind), size)
	dst = appendVarintField(dst, 1, msb)
	dst = appendVarintField(dst, 2, lsb)
	return appendStringField(dst, 3, entityType)
}

// AppendRPCAnswer appends the fragment that answers a call of the cloud and carries the ids of that
// call unchanged (CONTRACT.md 8.1). errorWord is "" or one of the five words; the server takes a
// word before a response.
func AppendRPCAnswer(dst []byte, c *DeviceRpcCallMsg, response, errorWord string) []byte {
	answer := stringField(response) + stringField(errorWord)
	size := varintField(c.GetDeviceIdMSB()) + varintField(c.GetDeviceIdLSB()) + varintField(c.GetRequestUuidMSB()) +
		varintField(c.GetRequestUuidLSB()) +
		varintField(int64(c.GetRequestId())) + varintField(c.GetExpirationTime()) + boolField(c.GetOneway()) + 1 +
		protowire.SizeBytes(answer)
	dst = appendHead(dst, protowire.Number(KindRPC), size)
	dst = appendVarintField(dst, 1, c.GetDeviceIdMSB())
	dst = appendVarintField(dst, 2, c.GetDeviceIdLSB())
	dst = appendVarintField(dst, 3, c.GetRequestUuidMSB())
	dst = appendVarintField(dst, 4, c.GetRequestUuidLSB())
	dst = appendVarintField(dst, 5, int64(c.GetRequestId()))
	dst = appendVarintField(dst, 6, c.GetExpirationTime())
	if c.GetOneway() {
		dst = appendVarintField(dst, 7, 1)
	}
	dst = appendHead(dst, 9, answer) // responseMsg: present also when it is empty
	dst = appendStringField(dst, 1, response)
	return appendStringField(dst, 2, errorWord)
}

// AppendRPCRequest appends the fragment of a device's own call (CONTRACT.md 8.2). service and
// session must not be empty: they come back with the answer.
func AppendRPCRequest(dst []byte, device UUID, id int32, service, session, method, params string) []byte {
	msb, lsb := Halves(device)
	request := stringField(method) + stringField(params)
	size := varintField(msb) + varintField(lsb) + varintField(int64(id)) + 1 + protowire.SizeBytes(request) +
		1 + protowire.SizeBytes(len(service)) + 1 + protowire.SizeBytes(len(session))
	dst = appendHead(dst, protowire.Number(KindRPC), size)
	dst = appendVarintField(dst, 1, msb)
	dst = appendVarintField(dst, 2, lsb)
	dst = appendVarintField(dst, 5, int64(id))
	dst = appendHead(dst, 8, request) // requestMsg
	dst = appendStringField(dst, 1, method)
	dst = appendStringField(dst, 2, params)
	dst = appendHead(dst, 13, len(service)) // explicit presence
	dst = append(dst, service...)
	dst = appendHead(dst, 14, len(session))
	return append(dst, session...)
}

func boolField(b bool) int {
	if b {
		return 2
	}
	return 0
}
