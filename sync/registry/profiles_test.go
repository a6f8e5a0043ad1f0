package registry_test

import (
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

func TestProfiles(t *testing.T) {
	r := open(t, t.TempDir())
	give := func(n int, text string) {
		t.Helper()
		apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{IdMSB: int64(n), Entity: text}}})
	}
	give(1, `{"name":"a","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"k1",`+
		`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s1"}}}`)
	give(2, `{"name":"b","provisionType":"CHECK_PRE_PROVISIONED_DEVICES","provisionDeviceKey":"k2",`+
		`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s2"}}}`)
	give(3, `{"name":"c","provisionType":"DISABLED","provisionDeviceKey":"k3",`+
		`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s3"}}}`)
	give(4, `{"name":"d","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"k4",`+
		`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":null}}}`)
	give(5, `{"name":"e","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"",`+
		`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":""}}}`)
	give(6, `{"name":"m","transportType":"MQTT","default":true,"profileData":{"transportConfiguration":{"type":"MQTT","deviceTelemetryTopic":"t/x","deviceAttributesTopic":"t/y",
		"deviceAttributesSubscribeTopic":"t/z","sendAckOnValidationException":true,"transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF"}}}}`)
	long, fits := strings.Repeat("x", registry.MaxSchema+1), strings.Repeat("x", registry.MaxSchema)
	give(7, `{"name":"p","transportType":"MQTT","profileData":{"transportConfiguration":{"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF",
		"deviceTelemetryProtoSchema":"t","deviceAttributesProtoSchema":"`+long+`","deviceRpcRequestProtoSchema":"`+fits+`","deviceRpcResponseProtoSchema":"`+long+`",
		"enableCompatibilityWithJsonPayloadFormat":false,"useJsonPayloadFormatForDefaultDownlinkTopics":true}}}}`)
	give(8, `{"name":"j","transportType":"MQTT","profileData":{"transportConfiguration":{"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"JSON",
		"deviceTelemetryProtoSchema":"t","enableCompatibilityWithJsonPayloadFormat":true}}}}`)
	for _, c := range []struct{ key, secret, want string }{
		{"k1", "s1", "a"},
		{"k2", "s2", "b"},
		{"k1", "s2", ""},
		{"k1", "", ""},
		{"", "", ""},
		{"k3", "s3", ""},
		{"k4", "", ""},
		{"k4", "null", ""},
		{"k1", "s1 ", ""},
	} {
		p, ok := r.Provision(c.key, c.secret)
		if ok != (c.want != "") || p.Name != c.want {
			t.Errorf("%q %q: %q %v, want %q", c.key, c.secret, p.Name, ok, c.want)
		}
	}
	p, ok := r.Profile(proto.UUIDOf(6, 0))
	want := registry.Profile{
		ID: proto.UUIDOf(6, 0), Name: "m", TelemetryTopic: "t/x", AttributesTopic: "t/y", SubscribeTopic: "t/z",
		Protobuf: true, AckInvalid: true, Default: true, ConfiguredForMQTT: true,
	}
	// The server has schemas for commands and their answers where a profile has none.
	if c, a := p.Schemas.Call, p.Schemas.Answer; !strings.Contains(c, "optional int32 requestId = 2;") ||
		!strings.Contains(a, "optional string payload = 1;") {
		t.Errorf("%s\n%s", c, a)
	}
	p.Schemas = registry.Schemas{}
	if !ok || p != want {
		t.Errorf("%+v %v", p, ok)
	}
	if p, _ = r.Profile(proto.UUIDOf(7, 0)); p.Schemas != (registry.Schemas{Telemetry: "t", Call: fits}) || !p.Protobuf {
		t.Errorf("%+v", p)
	}
	if p, _ = r.Profile(proto.UUIDOf(8, 0)); p.Schemas != (registry.Schemas{}) || p.Protobuf {
		t.Errorf("%+v", p)
	}
	if _, ok := r.Profile(proto.UUIDOf(9, 0)); ok {
		t.Error("a profile that is not there")
	}
}
