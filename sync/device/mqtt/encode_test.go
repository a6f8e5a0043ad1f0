package mqtt_test

import (
	"bytes"
	"strings"
	"testing"

	"edgesync/sync/device/mqtt"
)

// What a server sends, byte for byte.
func TestAppend(t *testing.T) {
	long := strings.Repeat("c", 200)
	topic, payload := "v1/devices/me/attributes", []byte(`{"a":1}`)
	codes := bytes.Repeat([]byte{0x8f}, 200)
	connack := func(version, code byte, expires bool, id string) []byte {
		return (&mqtt.Connack{Code: code, ExpiresAtOnce: expires, AssignedID: id}).Append(nil, version)
	}
	for _, c := range []struct {
		name      string
		got, want []byte
	}{
		{"CONNACK, 3.1.1", connack(4, 5, true, "x"), []byte{0x20, 2, 0, 5}},
		{"CONNACK, 5", connack(5, 0x86, false, ""), []byte{0x20, 3, 0, 0x86, 0}},
		{"CONNACK, 5, session", connack(5, 0, true, ""), []byte{0x20, 8, 0, 0, 5, 0x11, 0, 0, 0, 0}},
		{"CONNACK, 5, id", connack(5, 0, false, "xy"), []byte{0x20, 8, 0, 0, 5, 0x12, 0, 2, 'x', 'y'}},
		{
			"CONNACK, 5, all and long", connack(5, 0, true, long),
			packet(0x20, 0, 0, props(0x11, 0, 0, 0, 0, 0x12, long)),
		},
		{"PUBLISH, QoS 0", mqtt.AppendPublish(nil, 4, topic, payload, 0, 7), packet(0x30, topic, payload)},
		{"PUBLISH, QoS 1", mqtt.AppendPublish(nil, 3, topic, payload, 1, 0x102), packet(0x32, topic, 1, 2, payload)},
		{
			"PUBLISH, QoS 1, 5", mqtt.AppendPublish(nil, 5, topic, payload, 1, 0x102),
			packet(0x32, topic, 1, 2, 0, payload),
		},
		{"PUBLISH, QoS 2, empty", mqtt.AppendPublish(nil, 4, "", nil, 2, 1), packet(0x34, "", 0, 1)},
		{"PUBACK", mqtt.AppendAck(nil, mqtt.TypePuback, 4, 0x102, 0x99), []byte{0x40, 2, 1, 2}},
		{"PUBACK, 5", mqtt.AppendAck(nil, mqtt.TypePuback, 5, 0x102, 0), []byte{0x40, 2, 1, 2}},
		{"PUBREC, 5, reason", mqtt.AppendAck(nil, mqtt.TypePubrec, 5, 0x102, 0x99), []byte{0x50, 3, 1, 2, 0x99}},
		{"PUBCOMP", mqtt.AppendAck(nil, mqtt.TypePubcomp, 3, 0x102, 0), []byte{0x70, 2, 1, 2}},
		{"SUBACK", mqtt.AppendSuback(nil, 4, 0x102, []byte{0, 1, 0x80}), []byte{0x90, 5, 1, 2, 0, 1, 0x80}},
		{"SUBACK, 5, long", mqtt.AppendSuback(nil, 5, 0x102, codes), packet(0x90, 1, 2, 0, codes)},
		{"UNSUBACK", mqtt.AppendUnsuback(nil, 4, 0x102, []byte{0, 0x11}), []byte{0xb0, 2, 1, 2}},
		{"UNSUBACK, 5", mqtt.AppendUnsuback(nil, 5, 0x102, []byte{0, 0x11}), []byte{0xb0, 5, 1, 2, 0, 0, 0x11}},
		{"PINGRESP", mqtt.AppendPingresp(nil), []byte{0xd0, 0}},
		{"DISCONNECT", mqtt.AppendDisconnect(nil, 0x8e), []byte{0xe0, 2, 0x8e, 0}},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s: got %x, want %x", c.name, c.got, c.want)
		}
	}
	// Behind what is there already.
	if got := mqtt.AppendPingresp([]byte{1}); !bytes.Equal(got, []byte{1, 0xd0, 0}) {
		t.Errorf("%x", got)
	}
}

// The size is known before a message is put together, in all lengths of the remaining length.
func TestPublishSize(t *testing.T) {
	for _, version := range []byte{3, 4, 5} {
		for qos := range byte(3) {
			for _, n := range []int{
				0, 100, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126,
				16370, 16375, 16380, 70000, 2097150,
			} {
				payload := make([]byte, n)
				b := mqtt.AppendPublish(nil, version, "topic", payload, qos, 1)
				if size := mqtt.PublishSize(version, "topic", len(payload), qos); size != len(b) {
					t.Errorf("version %d, QoS %d, %d bytes: %d, not %d", version, qos, n, size, len(b))
				}
				var p mqtt.Publish
				err := p.Decode(version, b)
				if err != nil || string(p.Topic) != "topic" || len(p.Payload) != n || p.QoS != qos {
					t.Fatalf("version %d, QoS %d, %d bytes: %+v, %v", version, qos, n, p, err)
				}
			}
		}
	}
}

// Answers are put together without an allocation where the room is there.
func TestAppendingAllocatesNothing(t *testing.T) {
	room := make([]byte, 0, 256)
	payload, codes := []byte(`{"a":1}`), []byte{0, 1}
	if n := testing.AllocsPerRun(10, func() {
		b := mqtt.AppendAck(room, mqtt.TypePuback, 5, 1, 0x99)
		b = mqtt.AppendPublish(b, 5, "v1/devices/me/attributes", payload, 1, 1)
		b = mqtt.AppendSuback(b, 5, 1, codes)
		b = mqtt.AppendDisconnect(mqtt.AppendPingresp(b), 0x8e)
		if len(b) > cap(room) {
			t.Fatal("more than there is room for")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
