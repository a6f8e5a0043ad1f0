package cloudtest

import (
	"encoding/json"
	"fmt"
	"strings"

	"edgesync/proto"
)

// The functions of this file compose downlinks: the messages of each kind with the entities inside,
// as the server composes them (CONTRACT.md 6.3, 6.4). They read the database at the time of the
// call, as the server reads its database at the time of sending.

const (
	created = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	updated = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	deleted = proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
)

func dataFor(r ref) *proto.EntityDataProto {
	d := &proto.EntityDataProto{EntityType: templates[r.typ].name}
	d.EntityIdMSB, d.EntityIdLSB = proto.Halves(r.id)
	return d
}

// keyValue is a value on the wire.
func keyValue(key string, v Value) *proto.KeyValueProto {
	kv := &proto.KeyValueProto{Key: key, Type: v.Type}
	switch v.Type {
	case proto.KeyValueType_BOOLEAN_V:
		kv.BoolV = v.Bool
	case proto.KeyValueType_LONG_V:
		kv.LongV = v.Long
	case proto.KeyValueType_DOUBLE_V:
		kv.DoubleV = v.Dbl
	case proto.KeyValueType_STRING_V:
		kv.StringV = v.Str
	case proto.KeyValueType_JSON_V:
		kv.JsonV = v.Str
	}
	return kv
}

func deviceProfileMsg(r *record, typ proto.UpdateMsgType) *proto.DeviceProfileUpdateMsg {
	m := &proto.DeviceProfileUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return m
}

func assetProfileMsg(r *record, typ proto.UpdateMsgType) *proto.AssetProfileUpdateMsg {
	m := &proto.AssetProfileUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return m
}

// deviceDown is a device with its credentials; a created device comes with its profile too.
func (t *Tenant) deviceDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.DeviceUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	down := &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m}}
	if r.credentials != nil {
		down.DeviceCredentialsUpdateMsg = []*proto.DeviceCredentialsUpdateMsg{{Entity: r.credentialsJSON()}}
	}
	if typ == created {
		if p := t.records[refOf(r.field("deviceProfileId"), typeDeviceProfile)]; p != nil {
			down.DeviceProfileUpdateMsg = []*proto.DeviceProfileUpdateMsg{deviceProfileMsg(p, created)}
		}
	}
	return down
}

// assetDown is an asset; a created asset comes with its profile.
func (t *Tenant) assetDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.AssetUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	down := &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{m}}
	if typ == created {
		if p := t.records[refOf(r.field("assetProfileId"), typeAssetProfile)]; p != nil {
			down.AssetProfileUpdateMsg = []*proto.AssetProfileUpdateMsg{assetProfileMsg(p, created)}
		}
	}
	return down
}

func entityViewDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.EntityViewUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return &proto.DownlinkMsg{EntityViewUpdateMsg: []*proto.EntityViewUpdateMsg{m}}
}

func dashboardDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.DashboardUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{m}}
}

func customerDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.CustomerUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return &proto.DownlinkMsg{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{m}}
}

// userDown is a user with the user's credentials.
func userDown(r *record, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.UserUpdateMsg{MsgType: typ, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	down := &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{m}}
	if r.secret != nil {
		down.UserCredentialsUpdateMsg = []*proto.UserCredentialsUpdateMsg{{Entity: string(r.secret)}}
	}
	return down
}

// ruleChainDown is a rule chain with its metadata. The root flag inside the JSON marks the edge's
// root chain.
func ruleChainDown(r *record, root bool, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	text := strings.Replace(r.marshal(), `"root":`+string(r.field("root")), fmt.Sprintf(`"root":%t`, root), 1)
	m := &proto.RuleChainUpdateMsg{MsgType: typ, Entity: text}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	nodes := metadataMsg(r)
	nodes.MsgType = typ
	return &proto.DownlinkMsg{
		RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{m}, RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{nodes},
	}
}

func metadataMsg(r *record) *proto.RuleChainMetadataUpdateMsg {
	rest := `"firstNodeIndex":null,"nodes":[],"connections":null,"ruleChainConnections":null`
	if r.metadata != nil {
		rest = string(r.metadata)
	}
	return &proto.RuleChainMetadataUpdateMsg{Entity: `{"ruleChainId":` + idJSON(r.ref) + `,"version":null,` + rest + `}`}
}

func calculatedFieldDown(r *record) *proto.DownlinkMsg {
	m := &proto.CalculatedFieldUpdateMsg{MsgType: created, Entity: r.marshal()}
	m.IdMSB, m.IdLSB = proto.Halves(r.id)
	return &proto.DownlinkMsg{CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{m}}
}

// deletedDown is ENTITY_DELETED, with ids only, of a type that has ids on the wire
// (CONTRACT.md 6.3); nil for other types.
func deletedDown(r ref) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(r.id)
	switch r.typ {
	case typeDevice:
		return &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeAsset:
		return &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeEntityView:
		return &proto.DownlinkMsg{EntityViewUpdateMsg: []*proto.EntityViewUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeDashboard:
		return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeUser:
		return &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeCustomer:
		return &proto.DownlinkMsg{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeRuleChain:
		return &proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeCalculatedField:
		return &proto.DownlinkMsg{CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	case typeAIModel:
		return &proto.DownlinkMsg{AiModelUpdateMsg: []*proto.AiModelUpdateMsg{{MsgType: deleted, IdMSB: msb, IdLSB: lsb}}}
	}
	return nil
}

// refOf reads an id object whose entity type is known. null, and anything that is no id object,
// gives the zero id.
func refOf(raw json.RawMessage, typ entityType) ref {
	var o struct {
		ID string `json:"id"`
	}
	r := ref{typ: typ}
	if json.Unmarshal(raw, &o) == nil {
		r.id, _ = proto.ParseUUID(o.ID)
	}
	return r
}
