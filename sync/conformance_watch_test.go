package sync

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// The entities that a server takes data of (CONTRACT.md 4.7), the scopes of attributes
// (CONTRACT.md 7.1), the words that answer a call (CONTRACT.md 8.1), and the groups of relations
// (CONTRACT.md 5.7).
var (
	dataTypes = []string{"DEVICE", "ASSET", "ENTITY_VIEW", "DASHBOARD", "TENANT", "CUSTOMER", "USER", "EDGE"}
	scopes    = []string{"SERVER_SCOPE", "SHARED_SCOPE", "CLIENT_SCOPE"}
	words     = []string{"", "NOT_FOUND", "FORBIDDEN", "NO_ACTIVE_CONNECTION", "TIMEOUT", "INTERNAL"}
	groups    = []string{"COMMON", "DASHBOARD", "RULE_CHAIN", "RULE_NODE", "EDGE", "EDGE_AUTO_ASSIGN_RULE_CHAIN"}
	// partsUp are the parts that may go up. Any other would overwrite what the tenant owns, or be
	// lost in silence (CONTRACT.md 4.7, 5.5).
	partsUp = []protoreflect.Name{
		"entityData", "deviceUpdateMsg", "deviceCredentialsUpdateMsg", "alarmUpdateMsg", "relationUpdateMsg",
		"attributesRequestMsg", "relationRequestMsg", "ruleChainMetadataRequestMsg", "calculatedFieldRequestMsg",
		"deviceRpcCallMsg", "assetUpdateMsg", "dashboardUpdateMsg", "entityViewUpdateMsg",
	}
)

// never returns what must never go out and stands in an uplink: what the server would refuse for
// good, acknowledge and lose, or end the stream for (CONTRACT.md 12). Every uplink of every test
// against the cloud in a box goes through never.
func never(u *proto.UplinkMsg, tenant proto.UUID) (bad []string) {
	complain := func(section, format string, a ...any) { bad = append(bad, section+": "+fmt.Sprintf(format, a...)) }
	if n := pb.Size(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: u}); n > cloudtest.MaxRequest {
		complain("2.5", "%d bytes", n)
	}
	u.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.IsList() && !slices.Contains(partsUp, f.Name()) {
			complain("4.7", "%s goes up", f.Name())
		}
		return true
	})
	values := func(kvs []*proto.KeyValueProto) {
		for _, kv := range kvs {
			if n := len(utf16.Encode([]rune(kv.Key))); n == 0 || n > 255 {
				complain("4.7", "a key of %d characters", n)
			}
			switch {
			case math.IsNaN(kv.DoubleV) || math.IsInf(kv.DoubleV, 0):
				complain("5.3", "%s is %v", kv.Key, kv.DoubleV)
			case kv.Type == proto.KeyValueType_JSON_V && (!json.Valid([]byte(kv.JsonV)) || kv.JsonV == "null"):
				complain("5.3", "%s is the JSON %q", kv.Key, kv.JsonV)
			case proto.KeyValueType_name[int32(kv.Type)] == "":
				complain("4.7", "%s is of type %d", kv.Key, kv.Type)
			}
		}
	}
	type entityScope struct{ id, scope string }
	attributes := map[entityScope]bool{}
	for _, e := range u.EntityData {
		if e.EntityIdMSB == 0 && e.EntityIdLSB == 0 || !slices.Contains(dataTypes, e.EntityType) {
			complain("4.7", "data of %q %x%x", e.EntityType, e.EntityIdMSB, e.EntityIdLSB)
		}
		scope := e.PostAttributeScope
		if m := e.PostTelemetryMsg; m != nil {
			if len(m.TsKvList) != 1 {
				complain("4.3", "%d lists of telemetry in one message", len(m.TsKvList))
			}
			for _, l := range m.TsKvList {
				var keys []string
				for _, kv := range l.Kv {
					keys = append(keys, kv.Key)
				}
				if l.Ts == math.MaxInt64 {
					complain("4.7", "ts %d", l.Ts)
				}
				if slices.Contains(keys, "ts") && slices.Contains(keys, "values") {
					complain("5.3", "ts and values together")
				}
				values(l.Kv)
			}
		}
		if m := e.PostAttributesMsg; m != nil {
			values(m.Kv)
			if e.AttributeTs != nil {
				complain("7.2", "posted attributes with a time")
			}
		}
		if m := e.AttributesUpdatedMsg; m != nil {
			values(m.Kv)
			if e.AttributeTs == nil {
				complain("7.2", "updated attributes without a time")
			}
		}
		if m := e.AttributeDeleteMsg; m != nil {
			scope = m.Scope
		}
		if e.PostTelemetryMsg == nil {
			if !slices.Contains(scopes, scope) {
				complain("7.1", "scope %q", scope)
			}
			p := entityScope{fmt.Sprintf("%x %x", e.EntityIdMSB, e.EntityIdLSB), scope}
			if attributes[p] {
				complain("4.3", "attributes of one entity twice")
			}
			attributes[p] = true
		}
	}
	entity := func(part string, m interface {
		GetMsgType() proto.UpdateMsgType
		GetIdMSB() int64
		GetIdLSB() int64
		GetEntity() string
	}, always bool,
	) {
		if m.GetIdMSB() == 0 && m.GetIdLSB() == 0 {
			complain("5.5", "%s without an id", part)
		}
		if m.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE && !always {
			return
		}
		var j struct {
			TenantID, Originator struct{ EntityType, ID string }
			Severity             string
			Version              json.RawMessage
		}
		if err := json.Unmarshal([]byte(m.GetEntity()), &j); err != nil {
			complain("5.1", "%s: %v", part, err)
		}
		if j.TenantID.ID != proto.FormatUUID(tenant) {
			complain("5.1", "%s of tenant %q", part, j.TenantID.ID)
		}
		if v := string(j.Version); v != "" && v != "null" {
			complain("5.1", "%s of version %s", part, v)
		}
		if part == "alarm" && (j.Originator.EntityType == "" || j.Originator.ID == "" || j.Severity == "") {
			complain("5.6", "alarm %s", m.GetEntity())
		}
	}
	for _, m := range u.DeviceUpdateMsg {
		entity("device", m, false)
	}
	for _, m := range u.AssetUpdateMsg {
		entity("asset", m, false)
	}
	for _, m := range u.EntityViewUpdateMsg {
		entity("entity view", m, false)
	}
	for _, m := range u.DashboardUpdateMsg {
		entity("dashboard", m, false)
	}
	for _, m := range u.AlarmUpdateMsg {
		entity("alarm", m, true)
	}
	for _, m := range u.RelationUpdateMsg {
		var j struct {
			From, To        struct{ EntityType, ID string }
			Type, TypeGroup string
		}
		whole := json.Unmarshal([]byte(m.Entity), &j) == nil && j.From.EntityType != "" &&
			j.From.ID != "" && j.To.EntityType != "" && j.To.ID != ""
		if !whole || j.Type == "" || !slices.Contains(groups, j.TypeGroup) {
			complain("5.7", "relation %s", m.Entity)
		}
	}
	for _, m := range u.DeviceRpcCallMsg {
		switch {
		case m.ResponseMsg != nil && !slices.Contains(words, m.ResponseMsg.Error):
			complain("8.1", "the word %q", m.ResponseMsg.Error)
		case m.RequestMsg != nil && (m.GetServiceId() == "" || m.GetSessionId() == ""):
			complain("8.2", "a call without service and session")
		case m.RequestMsg == nil && m.ResponseMsg == nil:
			complain("8.1", "neither call nor answer")
		}
	}
	return bad
}

// The watch over all uplinks sees each thing that must never go out.
func TestNeverSees(t *testing.T) {
	tenant := proto.UUID{7: 9, 15: 1}
	data := func(change func(e *proto.EntityDataProto)) *proto.UplinkMsg {
		e := &proto.EntityDataProto{EntityIdMSB: 1, EntityIdLSB: 2, EntityType: "DEVICE"}
		change(e)
		return &proto.UplinkMsg{EntityData: []*proto.EntityDataProto{e}}
	}
	telemetry := func(ts int64, kv ...*proto.KeyValueProto) *proto.UplinkMsg {
		return data(func(e *proto.EntityDataProto) {
			e.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: ts, Kv: kv}}}
		})
	}
	text := `{"tenantId":{"entityType":"TENANT","id":"` + proto.FormatUUID(tenant) + `"},"name":"d"`
	device := func(msb int64, entity string) *proto.UplinkMsg {
		return &proto.UplinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{IdMSB: msb, Entity: entity}}}
	}
	ts := int64(5)
	post := func(e *proto.EntityDataProto) {
		e.PostAttributesMsg, e.PostAttributeScope = &proto.PostAttributeMsg{Kv: longs("a", 1)}, "CLIENT_SCOPE"
	}
	twice := data(post)
	twice.EntityData = append(twice.EntityData, twice.EntityData[0])
	for _, c := range []struct {
		want string
		u    *proto.UplinkMsg
	}{
		{"", telemetry(1, longs("a", 1, "ts", 2)...)},
		{"", data(post)},
		{"", device(1, text+"}")},
		{"2.5", telemetry(1, &proto.KeyValueProto{Key: "a", Type: 3, StringV: strings.Repeat("x", cloudtest.MaxRequest)})},
		{"4.7", &proto.UplinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{}}}},
		{"4.7", telemetry(1, longs("", 1)...)},
		{"4.7", telemetry(1, longs(strings.Repeat("k", 256), 1)...)},
		{"4.7", telemetry(math.MaxInt64, longs("a", 1)...)},
		{"4.7", telemetry(1, &proto.KeyValueProto{Key: "a", Type: 9})},
		{"5.3", telemetry(1, longs("ts", 1, "values", 2)...)},
		{"5.3", telemetry(1, &proto.KeyValueProto{Key: "a", Type: 2, DoubleV: math.NaN()})},
		{"5.3", telemetry(1, &proto.KeyValueProto{Key: "a", Type: 4, JsonV: "null"})},
		{"4.7", data(func(e *proto.EntityDataProto) { post(e); e.EntityIdMSB, e.EntityIdLSB = 0, 0 })},
		{"4.7", data(func(e *proto.EntityDataProto) { post(e); e.EntityType = "RULE_CHAIN" })},
		{"4.3", data(func(e *proto.EntityDataProto) { e.PostTelemetryMsg = &proto.PostTelemetryMsg{} })},
		{"4.3", twice},
		{"7.1", data(func(e *proto.EntityDataProto) { post(e); e.PostAttributeScope = "ODD" })},
		{"7.2", data(func(e *proto.EntityDataProto) { post(e); e.AttributeTs = &ts })},
		{"7.2", data(func(e *proto.EntityDataProto) {
			e.AttributesUpdatedMsg, e.PostAttributeScope = &proto.PostAttributeMsg{Kv: longs("a", 1)}, "SERVER_SCOPE"
		})},
		{"5.5", device(0, text+"}")},
		{"5.1", device(1, "{}")},
		{"5.1", device(1, text+`,"version":3}`)},
		{"5.6", &proto.UplinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{{MsgType: entityDeleted, IdMSB: 1, Entity: text + "}"}}}},
		{"5.7", &proto.UplinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{
			Entity: `{"from":{"entityType":"DEVICE","id":"x"},"to":{"id":"x"},"type":"t","typeGroup":"COMMON"}`,
		}}}},
		{"8.1", &proto.UplinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{ResponseMsg: &proto.RpcResponseMsg{Error: "ODD"}}}}},
		{"8.1", &proto.UplinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{}}}},
		{"8.2", &proto.UplinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{RequestMsg: &proto.RpcRequestMsg{}}}}},
	} {
		got := never(c.u, tenant)
		if c.want == "" && len(got) == 0 || len(got) == 1 && strings.HasPrefix(got[0], c.want+": ") {
			continue
		}
		t.Errorf("%.200v: %q, want one of %q", c.u, got, c.want)
	}
}
