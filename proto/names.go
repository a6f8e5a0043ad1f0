package proto

import (
	"strconv"
	"strings"
)

// kindNames are the names of the kinds for people, by number; "" stands where no kind has the
// number.
var kindNames = [kindEnd]string{
	KindEntityData: "ENTITY_DATA", KindDevice: "DEVICE", KindDeviceCredentials: "DEVICE_CREDENTIALS",
	KindAlarm: "ALARM", KindRelation: "RELATION",
	KindRuleChainMetadataAsk: "RULE_CHAIN_METADATA_REQUEST", KindAttributesAsk: "ATTRIBUTES_REQUEST", KindRelationAsk: "RELATION_REQUEST",
	KindUserCredentialsAsk: "USER_CREDENTIALS_REQUEST", KindDeviceCredentialsAsk: "DEVICE_CREDENTIALS_REQUEST", KindRPC: "RPC",
	KindWidgetBundleTypesAsk: "WIDGET_BUNDLE_TYPES_REQUEST", KindEntityViewsAsk: "ENTITY_VIEWS_REQUEST", KindAsset: "ASSET",
	KindDashboard: "DASHBOARD", KindEntityView: "ENTITY_VIEW", KindAssetProfile: "ASSET_PROFILE", KindDeviceProfile: "DEVICE_PROFILE",
	KindResource: "RESOURCE", KindAlarmComment: "ALARM_COMMENT", KindRuleChain: "RULE_CHAIN", KindRuleChainMetadata: "RULE_CHAIN_METADATA",
	KindCalculatedField: "CALCULATED_FIELD", KindCalculatedFieldAsk: "CALCULATED_FIELD_REQUEST", KindAIModel: "AI_MODEL", KindUser: "USER",
	KindUserCredentials: "USER_CREDENTIALS", KindAPIKey: "API_KEY",
}

// String is the kind's name for people.
func (k Kind) String() string {
	if k < kindEnd && kindNames[k] != "" {
		return kindNames[k]
	}
	return "KIND_" + strconv.Itoa(int(k))
}

// ParseKind reads a kind's name, in any case, with - or _.
func ParseKind(s string) (Kind, bool) {
	s = plainName(s)
	for k, n := range kindNames {
		if n != "" && n == s {
			return Kind(k), true
		}
	}
	return 0, false
}

// ParseAction reads an action's name, in any case, with - or _.
func ParseAction(s string) (Action, bool) {
	s = plainName(s)
	for a, n := range actionNames {
		if n == s {
			return Action(a), true
		}
	}
	return 0, false
}

func plainName(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }

// KindNames lists the names of all kinds.
func KindNames() (names []string) {
	for _, n := range kindNames {
		if n != "" {
			names = append(names, n)
		}
	}
	return names
}

// ActionNames lists the names of all actions.
func ActionNames() []string { return append([]string(nil), actionNames[:]...) }

// EntityType is the type of the entity that an event of this kind is about; "" where the type does
// not follow from the kind and is named in the message.
func (k Kind) EntityType() string {
	switch k {
	case KindDevice, KindDeviceCredentials, KindDeviceCredentialsAsk, KindRPC:
		return DeviceEntity
	case KindAlarm, KindAlarmComment:
		return "ALARM"
	case KindUser, KindUserCredentials, KindUserCredentialsAsk:
		return "USER"
	case KindRuleChain, KindRuleChainMetadata, KindRuleChainMetadataAsk:
		return "RULE_CHAIN"
	case KindWidgetBundleTypesAsk:
		return "WIDGETS_BUNDLE"
	case KindResource:
		return "TB_RESOURCE"
	case KindAsset, KindDashboard, KindEntityView, KindAssetProfile, KindDeviceProfile, KindCalculatedField, KindAIModel, KindAPIKey:
		return k.String()
	}
	return ""
}
