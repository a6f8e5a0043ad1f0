package mqtt_test

import (
	"testing"

	"edgesync/sync/device/mqtt"
)

// What the packets of a device cost: the way of the data, and the rest.
func BenchmarkDecode(b *testing.B) {
	telemetry := []byte(`{"ts":1767225600000,"values":{"temperature":21.5,"humidity":40,"door":false}}`)
	content := props(1, 1, 3, "application/json", 0x26, "sensor", "17")
	limits := props(0x11, 0, 0, 0, 60, 0x21, 0, 20)
	for _, c := range []struct {
		name    string
		version byte
		frame   []byte
	}{
		{"publish-3.1.1", 4, packet(0x32, "v1/devices/me/telemetry", 0, 1, telemetry)},
		{"publish-5", 5, packet(0x32, "v1/devices/me/telemetry", 0, 1, 0, telemetry)},
		{"publish-5-properties", 5, packet(0x32, "v1/devices/me/telemetry", 0, 1, content, telemetry)},
		{"connect-5", 5, packet(0x10, "MQTT", 5, 0xc2, 0, 60, limits, "client", "token", "password")},
		{"subscribe-3.1.1", 4, packet(0x82, 0, 9, "v1/devices/me/attributes", 1, "v1/devices/me/rpc/request/+", 1)},
		{"subscribe-5", 5, packet(0x82, 0, 9, 0, "v1/devices/me/attributes", 1, "v1/devices/me/rpc/request/+", 1)},
		{"puback", 4, packet(0x40, 0, 9)},
	} {
		b.Run(c.name, func(b *testing.B) {
			var p packets
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(c.version, c.frame, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	payload := []byte(`{"method":"setGpio","params":{"pin":1}}`)
	room := make([]byte, 0, 256)
	b.Run("puback", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			room = mqtt.AppendAck(room[:0], mqtt.TypePuback, 4, 1, 0)
		}
	})
	b.Run("publish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			room = mqtt.AppendPublish(room[:0], 5, "v1/devices/me/rpc/request/12", payload, 1, 1)
		}
	})
}
