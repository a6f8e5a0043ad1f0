package mqtt_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"edgesync/sync/device/mqtt"
)

func TestConnect(t *testing.T) {
	all := props(
		0x11, 0, 0, 0, 60, 0x21, 0, 2, 0x27, 0, 0, 4, 0, 0x26, "k", "v", 0x26, "k", "w",
		0x15, "plain", 0x16, "\x00\xff", 0x17, 1, 0x19, 0, 0x22, 0, 9,
	)
	ofWill := props(0x18, 0, 0, 0, 1, 1, 1, 2, 0, 0, 0, 1, 3, "x", 8, "y", 9, "\x00")
	none := []byte{}
	for _, c := range []struct {
		name  string
		frame []byte
		want  mqtt.Connect
	}{
		{
			"3.1", packet(0x10, "MQIsdp", 3, 0x02, 0, 60, "c"),
			mqtt.Connect{Version: 3, CleanStart: true, KeepAlive: 60, ClientID: []byte("c")},
		},
		{
			"3.1.1, no client id", packet(0x10, "MQTT", 4, 0, 1, 0, ""),
			mqtt.Connect{Version: 4, KeepAlive: 256, ClientID: none},
		},
		{
			"3.1.1, everything", packet(0x10, "MQTT", 4, 0xee, 0, 0, "c", "t", "\xff\x00", "u", "p"),
			mqtt.Connect{
				Version: 4, CleanStart: true, ClientID: []byte("c"),
				HasUser: true, User: []byte("u"), HasPass: true, Password: []byte("p"),
				Will: mqtt.Will{Given: true, QoS: 1, Retain: true, Topic: []byte("t"), Payload: []byte("\xff\x00")},
			},
		},
		{
			"a user that is no text", packet(0x10, "MQTT", 4, 0x80, 0, 0, "", "\xff"),
			mqtt.Connect{Version: 4, ClientID: none, HasUser: true, User: []byte("\xff")},
		},
		{
			"a password alone", packet(0x10, "MQTT", 4, 0x40, 0, 0, "", "p"),
			mqtt.Connect{Version: 4, ClientID: none, HasPass: true, Password: []byte("p")},
		},
		{"more behind it", packet(0x10, "MQTT", 4, 0, 0, 0, "", "more"), mqtt.Connect{Version: 4, ClientID: none}},
		{
			"5", packet(0x10, "MQTT", 5, 0x04, 0, 0, all, "c", ofWill, "t", ""),
			mqtt.Connect{
				Version: 5, ClientID: []byte("c"), Properties: all[1:],
				Will: mqtt.Will{Given: true, Topic: []byte("t"), Payload: none, Properties: ofWill[1:]},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mqtt.Connect{Version: 9, User: []byte("of the packet before")}
			if err := got.Decode(c.frame); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestProperties(t *testing.T) {
	var c mqtt.Connect
	list := props(0x21, 1, 2, 0x26, "k", "v", 0x27, 1, 2, 3, 4, 0x26, "", "w", 0x16, "data")
	frame := packet(0x10, "MQTT", 5, 0, 0, 0, list, "")
	if err := c.Decode(frame); err != nil {
		t.Fatal(err)
	}
	want := []mqtt.Property{
		{ID: mqtt.PropReceiveMaximum, Number: 0x102},
		{ID: mqtt.PropUser, Name: []byte("k"), Value: []byte("v")},
		{ID: mqtt.PropMaximumPacketSize, Number: 0x1020304},
		{ID: mqtt.PropUser, Name: []byte{}, Value: []byte("w")},
		{ID: 0x16, Value: []byte("data")},
	}
	if got := slices.Collect(c.Properties.All()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for range c.Properties.All() {
		break // the first is enough
	}
	if n := c.Properties.Number(mqtt.PropMaximumPacketSize); n != 0x1020304 {
		t.Errorf("Maximum Packet Size %#x", n)
	}
	if n := c.Properties.Number(mqtt.PropSessionExpiry); n != 0 {
		t.Errorf("Session Expiry Interval %d", n)
	}
	// Who calls it with what was not decoded gets no panic either.
	for _, p := range []mqtt.Properties{{0xff}, {0x21}, {0x26, 0, 1}, {0x0b, 0x80}, {4}} {
		if got := slices.Collect(p.All()); got != nil || p.Number(0x21) != 0 {
			t.Errorf("%x: %v", p, got)
		}
	}
}

func TestPublish(t *testing.T) {
	list := props(1, 1, 0x26, "k", "v", 9, "\xff")
	none := []byte{}
	for _, c := range []struct {
		name    string
		version byte
		frame   []byte
		want    mqtt.Publish
	}{
		{"QoS 0", 4, packet(0x30, "a/b", []byte("x")), mqtt.Publish{Topic: []byte("a/b"), Payload: []byte("x")}},
		{
			"QoS 1, 3.1", 3, packet(0x32, "t", 1, 2, []byte("x")),
			mqtt.Publish{QoS: 1, Topic: []byte("t"), ID: 0x102, Payload: []byte("x")},
		},
		{
			"QoS 2, all flags, no topic, no payload", 4, packet(0x3d, "", 0, 1),
			mqtt.Publish{QoS: 2, Duplicate: true, Retain: true, Topic: none, ID: 1, Payload: none},
		},
		{
			"a duplicate with QoS 0", 4, packet(0x38, "t"),
			mqtt.Publish{Duplicate: true, Topic: []byte("t"), Payload: none},
		},
		{"more than ASCII", 4, packet(0x30, "Küche/🌡"), mqtt.Publish{Topic: []byte("Küche/🌡"), Payload: none}},
		{"5", 5, packet(0x30, "t", 0, []byte("x")), mqtt.Publish{Topic: []byte("t"), Payload: []byte("x")}},
		{
			"5 with properties", 5, packet(0x32, "t", 0, 7, list, []byte("x")),
			mqtt.Publish{QoS: 1, Topic: []byte("t"), ID: 7, Properties: list[1:], Payload: []byte("x")},
		},
		{
			"a length of more bytes than it needs", 4,
			[]byte{0x30, 0x83, 0x80, 0, 0, 1, 't'},
			mqtt.Publish{Topic: []byte("t"), Payload: none},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mqtt.Publish{ID: 9, Payload: []byte("of the packet before")}
			if err := got.Decode(c.version, c.frame); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestSubscriptions(t *testing.T) {
	var s mqtt.Subscription
	id := props(0x0b, 0xff, 0x7f, 0x26, "k", "v")
	list := func() (all []string) {
		for f := range s.Filters.All() {
			all = append(all, fmt.Sprintf("%s %d %#x", f.Name, f.QoS, f.Options))
		}
		if len(all) != s.Filters.Len() {
			t.Errorf("%d filters, Len says %d", len(all), s.Filters.Len())
		}
		return all
	}
	for _, c := range []struct {
		version byte
		frame   []byte
		props   string
		want    string
	}{
		{3, packet(0x82, 0, 9, "a", 0, "b/+", 1, "", 2), "", "[a 0 0x0 b/+ 1 0x1  2 0x2]"},
		{4, packet(0x82, 0, 9), "", "[]"}, // the door answers it, as the server does
		{5, packet(0x82, 0, 9, id, "a", 0xfd), string(id[1:]), "[a 1 0xfd]"},
		{4, packet(0xa2, 0, 9, "a", "b"), "", "[a 0 0x0 b 0 0x0]"},
		{5, packet(0xa2, 0, 9, 0, "a"), "", "[a 0 0x0]"},
	} {
		if err := s.Decode(c.version, c.frame); err != nil {
			t.Fatalf("%x: %v", c.frame, err)
		}
		got := fmt.Sprint(list())
		if got != c.want || s.ID != 9 || string(s.Properties) != c.props || s.Type != mqtt.TypeOf(c.frame) {
			t.Errorf("%x: %s, %+v", c.frame, got, s)
		}
	}
	for range s.Filters.All() {
		break // the first is enough
	}
}

func TestAcknowledgements(t *testing.T) {
	for _, frame := range [][]byte{
		packet(0x40, 1, 2), packet(0x50, 1, 2), packet(0x62, 1, 2), packet(0x70, 1, 2),
		packet(0x40, 1, 2, 0x10, props(0x1f, "why")), packet(0x4f, 1, 2, 0xff), packet(0x40, 1, 2, 0x10, 9),
	} {
		if id, err := mqtt.DecodeAck(frame); id != 0x102 || err != nil {
			t.Errorf("%x: %#x, %v", frame, id, err)
		}
	}
}

// Each refusal says what is wrong, and what to answer in MQTT 5.
func TestRefusals(t *testing.T) {
	const malformed, protocol, version = mqtt.ReasonMalformed, mqtt.ReasonProtocol, mqtt.ReasonVersion
	const (
		foreign  = "properties: one that does not belong there"
		twice    = "properties: one that may come once comes twice"
		cut      = "properties: a value is cut off"
		unending = "properties: a length of more than 4 bytes"
		noText   = "properties: a text is not UTF-8, or with U+0000"
		reserved = ": reserved bits are wrong"
		bad      = "not UTF-8, or with U+0000"
	)
	for _, c := range []struct {
		version byte
		frame   []byte
		want    string
		reason  byte
	}{
		// Headers
		{4, nil, "packet of type 0: type: must not come now", protocol},
		{4, []byte{0x30}, "PUBLISH: remaining length: not that of the packet", malformed},
		{4, []byte{0x30, 2, 0}, "PUBLISH: remaining length: not that of the packet", malformed},
		{4, []byte{0x30, 0x80, 0x80, 0x80, 0x80, 1}, "PUBLISH: remaining length: not that of the packet", malformed},
		{5, packet(0xf0, 0x18, 0), "AUTH: type: must not come now", protocol},
		{5, packet(0x20, 0, 0, 0), "CONNACK: type: must not come now", protocol},
		{5, packet(0x00), "packet of type 0: type: must not come now", protocol},

		// CONNECT
		{0, packet(0x11, "MQTT", 4, 0, 0, 0, ""), "CONNECT: flags of the header" + reserved, malformed},
		{0, packet(0x10), "CONNECT: protocol name: cut off", malformed},
		{0, packet(0x10, "MQTT"), "CONNECT: protocol version: cut off", malformed},
		{0, packet(0x10, "MQTT", 4), "CONNECT: flags: cut off", malformed},
		{0, packet(0x10, "MQTT", 4, 0, 0), "CONNECT: keep-alive: cut off", malformed},
		{0, packet(0x10, "MQTT", 3, 0, 0, 0, ""), "CONNECT: protocol: not MQTT 3.1, 3.1.1 or 5", version},
		{0, packet(0x10, "MQIsdp", 4, 0, 0, 0, ""), "CONNECT: protocol: not MQTT 3.1, 3.1.1 or 5", version},
		{0, packet(0x10, "MQTT", 0x84, 0, 0, 0, ""), "CONNECT: protocol: not MQTT 3.1, 3.1.1 or 5", version},
		{0, packet(0x10, "MQTT", 4, 1, 0, 0, ""), "CONNECT: flags" + reserved, malformed},
		{0, packet(0x10, "MQTT", 4, 0, 0, 0), "CONNECT: client id: cut off", malformed},
		{0, packet(0x10, "MQTT", 4, 0, 0, 0, "a\x00"), "CONNECT: client id: not UTF-8, or with U+0000", malformed},
		{0, packet(0x10, "MQTT", 4, 4, 0, 0, "", "\xed\xa0\x80", ""), "CONNECT: topic of the will: " + bad, malformed},
		{0, packet(0x10, "MQTT", 4, 4, 0, 0, "", "t"), "CONNECT: payload of the will: cut off", malformed},
		{0, packet(0x10, "MQTT", 4, 0x80, 0, 0, ""), "CONNECT: user name: cut off", malformed},
		{0, packet(0x10, "MQTT", 4, 0xc0, 0, 0, "", "u", 0, 5, 0), "CONNECT: password: cut off", malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0), "CONNECT: properties: cut off", malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1), "CONNECT: " + unending, malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, 9, 0x21, 0, 1), "CONNECT: properties: cut off", malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, props(0x21, 0), ""), "CONNECT: " + cut, malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, props(0x21, 0, 1, 0x21, 0, 1), ""), "CONNECT: " + twice, protocol},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, props(0x15, "\xff"), ""), "CONNECT: " + noText, malformed},
		{0, packet(0x10, "MQTT", 5, 0, 0, 0, props(0x26, "k", "\x00"), ""), "CONNECT: " + noText, malformed},
		{0, packet(0x10, "MQTT", 5, 4, 0, 0, props(0x18, 0, 0, 0, 1), "", 0, "", ""), "CONNECT: " + foreign, malformed},
		{0, packet(0x10, "MQTT", 5, 4, 0, 0, 0, "", props(0x21, 0, 1), "", ""), "CONNECT: " + foreign, malformed},

		// PUBLISH
		{4, packet(0x36, "t", 0, 1), "PUBLISH: QoS: 3", malformed},
		{4, packet(0x30, 0), "PUBLISH: topic: cut off", malformed},
		{4, packet(0x30, 0, 2, int('x')), "PUBLISH: topic: cut off", malformed},
		{4, packet(0x30, "a/+"), "PUBLISH: topic: with a wildcard", malformed},
		{4, packet(0x30, "#"), "PUBLISH: topic: with a wildcard", malformed},
		{4, packet(0x30, "a\x00"), "PUBLISH: topic: not UTF-8, or with U+0000", malformed},
		{4, packet(0x30, "\xc0\x80"), "PUBLISH: topic: not UTF-8, or with U+0000", malformed},
		{4, packet(0x32, "t", 1), "PUBLISH: packet id: cut off", malformed},
		{4, packet(0x34, "t", 0, 0), "PUBLISH: packet id: 0", malformed},
		{5, packet(0x30, "t"), "PUBLISH: properties: cut off", malformed},
		{5, packet(0x30, "t", props(0x23, 0, 1)), "PUBLISH: properties: a topic alias, which is not offered here", 0x94},
		{5, packet(0x30, "", props(0x23, 0, 0)), "PUBLISH: properties: a topic alias, which is not offered here", 0x94},
		{5, packet(0x30, "t", props(1, 1, 0x23)), "PUBLISH: properties: a topic alias, which is not offered here", 0x94},
		{5, packet(0x10, "MQTT", 5, 0, 0, 0, props(0x23, 0, 1), ""), "CONNECT: " + foreign, malformed},
		{5, packet(0x30, "t", props(0x0b, 1)), "PUBLISH: " + foreign, malformed},
		{5, packet(0x30, "t", props(0xff, 1)), "PUBLISH: " + foreign, malformed},
		{5, packet(0x30, "t", props(1, 0, 1, 0)), "PUBLISH: " + twice, protocol},
		{5, packet(0x30, "t", 1, 1, 0), "PUBLISH: " + cut, malformed}, // it goes on behind the list
		{5, packet(0x30, "t", props(9, 0, 9, 0)), "PUBLISH: " + cut, malformed},
		{5, packet(0x30, "t", props(0x26, "k")), "PUBLISH: " + cut, malformed},

		// SUBSCRIBE, UNSUBSCRIBE
		{4, packet(0x80, 0, 9, "a", 0), "SUBSCRIBE: flags of the header" + reserved, malformed},
		{4, packet(0xa3, 0, 9, "a"), "UNSUBSCRIBE: flags of the header" + reserved, malformed},
		{4, packet(0x82), "SUBSCRIBE: packet id: cut off", malformed},
		{4, packet(0x82, 0, 0, "a", 0), "SUBSCRIBE: packet id: 0", malformed},
		{4, packet(0xa2, 0, 0, "a"), "UNSUBSCRIBE: packet id: 0", malformed},
		{4, packet(0x82, 0, 9, "a"), "SUBSCRIBE: options of a filter: cut off", malformed},
		{5, packet(0x82, 0, 9, 0, "a"), "SUBSCRIBE: options of a filter: cut off", malformed},
		{4, packet(0x82, 0, 9, "a", 3), "SUBSCRIBE: options of a filter" + reserved, malformed},
		{4, packet(0x82, 0, 9, "a", 4), "SUBSCRIBE: options of a filter" + reserved, malformed},
		{5, packet(0x82, 0, 9, 0, "a", 7), "SUBSCRIBE: options of a filter" + reserved, malformed},
		{4, packet(0x82, 0, 9, "\xff", 0), "SUBSCRIBE: filter: not UTF-8, or with U+0000", malformed},
		{4, packet(0xa2, 0, 9, 0), "UNSUBSCRIBE: filter: cut off", malformed},
		{4, packet(0xa2, 0, 9), "UNSUBSCRIBE: filters: none", malformed},
		{5, packet(0xa2, 0, 9, props(0x0b, 1), "a"), "UNSUBSCRIBE: " + foreign, malformed},

		// Acknowledgements
		{4, packet(0x40, 1), "PUBACK: packet id: cut off", malformed},
		{4, packet(0x60, 0, 1), "PUBREL: flags of the header" + reserved, malformed},
		{4, packet(0x70), "PUBCOMP: packet id: cut off", malformed},
	} {
		err := decode(c.version, c.frame, new(packets))
		if err == nil {
			t.Errorf("version %d, %x: not refused, want %q", c.version, c.frame, c.want)
			continue
		}
		if e := refused(t, err); e.Error() != c.want || e.Reason != c.reason || e.Type != mqtt.TypeOf(c.frame) {
			t.Errorf("version %d, %x: %q %#x\nwant %q %#x", c.version, c.frame, e, e.Reason, c.want, c.reason)
		}
	}
	// Each decoder refuses the packets of the others.
	frame := packet(0x30, "t")
	_, err := mqtt.DecodeAck(frame)
	for _, err := range []error{
		err, new(mqtt.Connect).Decode(frame), new(mqtt.Subscription).Decode(4, frame),
		new(mqtt.Publish).Decode(4, packet(0x40, 0, 1)),
	} {
		if e := refused(t, err); e.Reason != protocol {
			t.Error(err)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		b               []byte
		size, remaining int
	}{
		{nil, 0, 0},
		{[]byte{0x30}, 0, 0},
		{[]byte{0x30, 0x80}, 0, 0},
		{[]byte{0x30, 0xff, 0xff, 0xff}, 0, 0},
		{[]byte{0x30, 0}, 2, 0},
		{[]byte{0x30, 127, 9}, 2, 127},
		{[]byte{0x30, 0x80, 1}, 3, 128},
		{[]byte{0x30, 0x80, 0x80, 4}, 4, 65536},
		{[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 5, 268435455},
	} {
		if size, remaining, err := mqtt.Header(c.b); size != c.size || remaining != c.remaining || err != nil {
			t.Errorf("%x: %d, %d, %v", c.b, size, remaining, err)
		}
	}
	_, _, err := mqtt.Header([]byte{0x82, 0x80, 0x80, 0x80, 0x80})
	if e := refused(t, err); e.Reason != mqtt.ReasonMalformed ||
		e.Error() != "SUBSCRIBE: remaining length: longer than 4 bytes" {
		t.Error(err)
	}
}

// What is decoded lies in the packet: nothing is allocated for it, however many filters or
// properties.
func TestDecodingAllocatesNothing(t *testing.T) {
	many := bytes.Repeat(join("v1/devices/me/attributes", 1), 2000)
	user := bytes.Repeat(join(0x26, "k", "v"), 2000)
	var p packets
	for _, frame := range [][]byte{
		packet(0x10, "MQTT", 5, 0xc4, 0, 60, props(0x21, 0, 1, user), "client", 0, "t", "x", "user", "password"),
		packet(0x32, "v1/devices/me/telemetry", 0, 1, props(user), []byte(`{"a":1}`)),
		packet(0x82, 0, 1, props(user), many), packet(0x40, 0, 1),
	} {
		if n := testing.AllocsPerRun(10, func() {
			if err := decode(5, frame, &p); err != nil {
				t.Fatal(err)
			}
			p.connect.Properties.Number(mqtt.PropMaximumPacketSize)
			for f := range p.subscription.Filters.All() {
				p.qos += f.QoS
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", mqtt.TypeOf(frame), n)
		}
	}
	if s := strings.Repeat("x", 65535); decode(4, packet(0x30, s), &p) != nil || string(p.publish.Topic) != s {
		t.Error("the longest topic")
	}
}

// packets are the structs to decode into, used again and again.
type packets struct {
	connect      mqtt.Connect
	publish      mqtt.Publish
	subscription mqtt.Subscription
	id           uint16
	qos          byte
}

// decode decodes a packet of whatever type, as the door does.
func decode(version byte, frame []byte, p *packets) (err error) {
	switch mqtt.TypeOf(frame) {
	case mqtt.TypeConnect:
		return p.connect.Decode(frame)
	case mqtt.TypePublish:
		return p.publish.Decode(version, frame)
	case mqtt.TypeSubscribe, mqtt.TypeUnsubscribe:
		return p.subscription.Decode(version, frame)
	case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubrel, mqtt.TypePubcomp:
		p.id, err = mqtt.DecodeAck(frame)
		return err
	case mqtt.TypePingreq, mqtt.TypeDisconnect:
		return nil
	}
	return mqtt.Unexpected(frame)
}
