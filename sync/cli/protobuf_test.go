package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
)

// protobufField is a field of bytes.
func protobufField(number protowire.Number, parts ...string) string {
	b := protowire.AppendTag(nil, number, protowire.BytesType)
	text := ""
	for _, p := range parts {
		text += p
	}
	return string(protowire.AppendString(b, text))
}

// A device that knows nothing but protobuf, from its provisioning on: the profile comes from the
// cloud, its telemetry gets there, attributes and commands come down; and what the cloud changes in
// the profile counts at once.
func TestProtobufDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	id := s.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(id)
	push := func(kind proto.UpdateMsgType, telemetry string) {
		schema, _ := json.Marshal(telemetry)
		profile := []*proto.DeviceProfileUpdateMsg{{
			MsgType: kind, IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(`{"id":{"entityType":"DEVICE_PROFILE","id":%q},"tenantId":{"entityType":"TENANT","id":%q},"name":"meters","type":"DEFAULT","transportType":"MQTT",
			"provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"key",
			"profileData":{"provisionConfiguration":{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":"secret"},"transportConfiguration":{"type":"MQTT",
			"deviceTelemetryTopic":"v1/devices/me/telemetry","deviceAttributesTopic":"v1/devices/me/attributes",
			"deviceAttributesSubscribeTopic":"v1/devices/me/attributes",
			"transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":%s}}}}`,
				proto.FormatUUID(id), proto.FormatUUID(s.cloud.Tenant().TenantID()), schema),
		}}
		// The tenant has it too, or the next sync would give the device another one.
		if o := s.cloud.Tenant().Process(s.edge.ID, &proto.UplinkMsg{DeviceProfileUpdateMsg: profile}, time.Now()); !o.Success {
			t.Fatalf("the tenant takes no profile: %+v", o)
		}
		s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{DeviceProfileUpdateMsg: profile})
	}
	push(proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, `syntax = "proto3"; message Reading { optional int64 energy_total = 1; }`)
	addr := r.snapshot().MQTTAddress
	dial := func(token string) (net.Conn, *bufio.Reader) {
		t.Helper()
		c, in, code, err := mqttDial(addr, token)
		if err != nil || code != 0 {
			t.Fatalf("CONNACK %d, %v", code, err)
		}
		t.Cleanup(func() { c.Close() })
		return c, in
	}
	publish := func(c net.Conn, topic, payload string) {
		_, _ = c.Write(mqttPacket(0x32, mqttString(topic), []byte{0, 2}, []byte(payload)))
	}

	var token string
	s.eventually("the profile is here", func() bool {
		c, in := dial("provision")
		defer c.Close()
		publish(c, "/provision/request", protobufField(1, "meter")+protobufField(3, protobufField(1, "key"), protobufField(2, "secret")))
		_, answer := mqttMessage(t, in)
		if len(answer) > 4 && answer[:3] == "\x08\x01\x1a" { // SUCCESS, and the token
			token = answer[4:]
		}
		return token != ""
	})
	meter := s.mustBeNamed("meter")
	c, in := dial(token)
	publish(c, "v1/devices/me/telemetry", "\x08\x96\x01")
	if b, err := in.Peek(4); err != nil || b[0] != 0x40 {
		t.Fatalf("%x %v", b, err)
	}
	s.arrived(meter, "energyTotal", 1)
	if got := s.cloud.Tenant().Series(meter.ID, "energyTotal")[0].Value.Long; got != 150 {
		t.Errorf("the cloud has %d", got)
	}
	c.Write(mqttPacket(0x82, []byte{0, 1}, mqttString("v1/devices/me/attributes"), []byte{0},
		mqttString("v1/devices/me/rpc/request/+"), []byte{0}))
	if head, err := in.Peek(5); err != nil || head[0] != 0x40 || head[4] != 0x90 {
		t.Fatalf("%x %v, want PUBACK and SUBACK", head, err)
	}
	s.share(meter, "fan", true)
	topic, payload := mqttMessage(t, in)
	if want := protobufField(2, protobufField(1, "fan"), "\x18\x01"); topic != "v1/devices/me/attributes" ||
		len(payload) < len(want) || payload[len(payload)-len(want):] != want {
		t.Errorf("%s %q", topic, payload)
	}
	answer := make(chan string, 1)
	go func() {
		got, err := s.cloud.CallRPC(t.Context(), meter.ID, "reset", `"now"`, false, patience)
		answer <- fmt.Sprint(got, " ", err)
	}()
	topic, payload = mqttMessage(t, in)
	if want := protobufField(1, "reset"); len(payload) < len(want) || payload[:len(want)] != want ||
		payload[len(payload)-5:] != protobufField(3, "now") {
		t.Errorf("%s %q", topic, payload)
	}
	publish(c, "v1/devices/me/rpc/response/"+topic[len("v1/devices/me/rpc/request/"):], protobufField(1, "done"))
	if got := <-answer; got != `{"payload":"done"} <nil>` {
		t.Errorf("the cloud got %s", got)
	}

	push(proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, `syntax = "proto3"; message Reading { optional int64 renamed = 1; }`)
	s.eventually("the new schema counts", func() bool {
		publish(c, "v1/devices/me/telemetry", "\x08\x07")
		return len(s.cloud.Tenant().Series(meter.ID, "renamed")) > 0
	})
	balanced(t, r.snapshot())
}
