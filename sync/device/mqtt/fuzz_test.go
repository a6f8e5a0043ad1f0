package mqtt_test

import (
	"bytes"
	"fmt"
	"testing"
	"unsafe"

	"edgesync/sync/device/mqtt"
)

// seeds are packets of all kinds, with the version of MQTT that they are of.
func seeds(f *testing.F) {
	lists := [][]byte{
		props(), props(0x21, 0, 1, 0x27, 0, 0, 1, 0, 0x11, 0, 0, 0, 9), props(0x26, "k", "v", 0x26, "k", "w"),
		props(1, 1, 9, "\xff"), props(0x0b, 0xff, 0xff, 0xff, 0x7f),
		{2, 0x21},
	}
	for _, version := range []byte{3, 4, 5} {
		name := "MQTT"
		if version == 3 {
			name = "MQIsdp"
		}
		for _, list := range lists {
			if version != 5 {
				list = nil
			}
			f.Add(version, packet(
				0x10, name, int(version), 0xee, 0, 60, list, "client", list, "will", "gone", "user", "password",
			))
			f.Add(version, packet(0x32, "v1/devices/me/telemetry", 0, 1, list, []byte(`{"a":1}`)))
			f.Add(version, packet(0x30, "Küche", list))
			f.Add(version, packet(0x82, 0, 9, list, "v1/devices/me/attributes", 1, "#", 2))
			f.Add(version, packet(0xa2, 0, 9, list, "v1/devices/me/attributes", "#"))
			f.Add(version, packet(0x40, 0, 9, 0x10, list))
		}
		f.Add(version, packet(0x62, 0, 9))
		f.Add(version, packet(0xc0))
		f.Add(version, packet(0xe0, 4, 0))
		f.Add(version, packet(0xf0, 0x18, 0))
		f.Add(version, []byte{0x30, 0xff, 0xff, 0xff, 0xff})
	}
}

// within tells whether a part lies in the packet, behind its header.
func within(frame, part []byte) bool {
	if part == nil {
		return true
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(frame)))
	return at >= begin+2 && at+uintptr(cap(part)) <= begin+uintptr(len(frame))
}

// FuzzDecode holds that no packet makes the codec panic, that it refuses with one of the reasons
// that there are, that what it decodes lies in the packet, and that decoding what was encoded again
// gives the same.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, version byte, in []byte) {
		version = 3 + version%3
		frame := in
		size, remaining, err := mqtt.Header(in)
		if err != nil {
			if e := refused(t, err); e.Reason != mqtt.ReasonMalformed {
				t.Errorf("%v: %#x", e, e.Reason)
			}
		} else if total := size + remaining; size > 0 && total <= len(in) {
			if size < 2 || size > 5 || remaining < 0 || remaining > 268435455 {
				t.Fatalf("a header of %d bytes says %d follow", size, remaining)
			}
			frame = bytes.Clone(in[:total])
		}
		var p packets
		if err := decode(version, frame, &p); err != nil {
			e := refused(t, err)
			switch e.Reason {
			case mqtt.ReasonMalformed, mqtt.ReasonProtocol, mqtt.ReasonVersion:
			default:
				t.Errorf("%v: %#x", e, e.Reason)
			}
			if e.Type != mqtt.TypeOf(frame) || e.Field == "" || e.Fault == "" {
				t.Errorf("%+v", e)
			}
			if fmt.Sprintf("%v", p) != fmt.Sprintf("%v", packets{}) {
				t.Errorf("behind %v: %+v", err, p)
			}
			return
		}
		lists := []mqtt.Properties{
			p.connect.Properties, p.connect.Will.Properties, p.publish.Properties, p.subscription.Properties,
		}
		parts := [][]byte{
			p.connect.ClientID, p.connect.Will.Topic, p.connect.Will.Payload, p.connect.User, p.connect.Password,
			p.publish.Topic, p.publish.Payload,
		}
		for _, list := range lists {
			parts = append(parts, list)
			n := 0
			for v := range list.All() {
				parts = append(parts, v.Name, v.Value)
				n++
			}
			if n == 0 && len(list) > 0 || n > len(list)/2 {
				t.Errorf("%d properties in %x", n, list)
			}
		}
		for v := range p.subscription.Filters.All() {
			parts = append(parts, v.Name)
		}
		for _, part := range parts {
			if !within(frame, part) {
				t.Errorf("%x is not of the packet", part)
			}
		}
		var encoded []byte
		switch mqtt.TypeOf(frame) {
		case mqtt.TypeConnect:
			encoded = encodeConnect(&p.connect)
		case mqtt.TypePublish:
			encoded = encodePublish(&p.publish, version)
			if len(p.publish.Properties) == 0 && !p.publish.Duplicate && !p.publish.Retain {
				q := p.publish
				sent := mqtt.AppendPublish(nil, version, string(q.Topic), q.Payload, q.QoS, q.ID)
				if !bytes.Equal(sent, encoded) {
					t.Errorf("sent as %x", sent)
				}
			}
		case mqtt.TypeSubscribe, mqtt.TypeUnsubscribe:
			encoded = encodeSubscription(&p.subscription, version)
		default:
			return
		}
		var again packets
		if err := decode(version, encoded, &again); err != nil {
			t.Fatalf("%x, encoded again as %x: %v", frame, encoded, err)
		}
		if got, want := fmt.Sprintf("%+v", again), fmt.Sprintf("%+v", p); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
