package mqtt_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"edgesync/sync/device/mqtt"
)

// join puts bytes, strings and slices one behind the other; strings with their length before them.
func join(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		case []byte:
			b = append(b, p...)
		default:
			panic("join: neither byte, string nor slice")
		}
	}
	return b
}

// packet puts a header before a body.
func packet(head byte, parts ...any) []byte {
	body := join(parts...)
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

// props is a list of properties with its length.
func props(parts ...any) []byte {
	list := join(parts...)
	return append(binary.AppendUvarint(nil, uint64(len(list))), list...)
}

// What clients send, for the way back: a test decodes, encodes and decodes again.

func encodeConnect(c *mqtt.Connect) []byte {
	name, flags := "MQTT", 0
	if c.Version == 3 {
		name = "MQIsdp"
	}
	set := func(on bool, bit int) {
		if on {
			flags |= bit
		}
	}
	set(c.CleanStart, 0x02)
	set(c.Will.Given, 0x04)
	set(c.Will.Retain, 0x20)
	set(c.HasPass, 0x40)
	set(c.HasUser, 0x80)
	flags |= int(c.Will.QoS) << 3
	b := binary.BigEndian.AppendUint16(join(name, int(c.Version), flags), c.KeepAlive)
	if c.Version == 5 {
		b = append(b, props([]byte(c.Properties))...)
	}
	b = append(b, join(string(c.ClientID))...)
	if c.Will.Given {
		if c.Version == 5 {
			b = append(b, props([]byte(c.Will.Properties))...)
		}
		b = append(b, join(string(c.Will.Topic), string(c.Will.Payload))...)
	}
	if c.HasUser {
		b = append(b, join(string(c.User))...)
	}
	if c.HasPass {
		b = append(b, join(string(c.Password))...)
	}
	return packet(0x10, b)
}

func encodePublish(p *mqtt.Publish, version byte) []byte {
	head := 0x30 | p.QoS<<1
	if p.Duplicate {
		head |= 8
	}
	if p.Retain {
		head |= 1
	}
	b := join(string(p.Topic))
	if p.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, p.ID)
	}
	if version == 5 {
		b = append(b, props([]byte(p.Properties))...)
	}
	return packet(head, b, p.Payload)
}

func encodeSubscription(s *mqtt.Subscription, version byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, s.ID)
	if version == 5 {
		b = append(b, props([]byte(s.Properties))...)
	}
	for f := range s.Filters.All() {
		b = append(b, join(string(f.Name))...)
		if s.Type == mqtt.TypeSubscribe {
			b = append(b, f.Options)
		}
	}
	return packet(byte(s.Type)<<4|2, b)
}

// refused expects err to be a refusal.
func refused(t testing.TB, err error) *mqtt.Error {
	t.Helper()
	var e *mqtt.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no refusal", err, err)
	}
	return e
}
