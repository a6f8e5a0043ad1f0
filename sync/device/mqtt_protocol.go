package device

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The protocol: what a packet says, and the answers that need no thought. Packets are taken apart
// by the library's packets package, which is the only part of it that is used. Its server would
// hold for each connection a second goroutine and a stack of 16 KiB, the frames of its calls being
// large, where ours rests on a shallow one; and what it is for, routing between clients, is what
// this door must not do (device API 3.1).

var (
	errMalformed = errors.New("a malformed packet")
	errProtocol  = errors.New("a packet that must not come now")
	errGone      = errors.New("the device has disconnected")
)

// readConnect takes a CONNECT apart. An error closes the connection without a word (device API
// 3.2).
func readConnect(frame []byte) (pk packets.Packet, err error) {
	body := bodyOf(frame)
	if err := pk.FixedHeader.Decode(frame[0]); err != nil || pk.FixedHeader.Type != packets.Connect {
		return pk, errProtocol
	}
	pk.FixedHeader.Remaining = len(body)
	if err := pk.ConnectDecode(body); err != nil {
		return pk, errMalformed
	}
	name := string(pk.Connect.ProtocolName)
	if v := pk.ProtocolVersion; pk.ReservedBit != 0 || (name != "MQIsdp" || v != 3) && (name != "MQTT" || v != 4 && v != 5) {
		return pk, errProtocol
	}
	return pk, nil
}

// connack answers a CONNECT. session present is always 0: no session outlives its connection. There
// are no properties but those that MQTT 5 demands: clients would take a Receive Maximum or Maximum
// Packet Size for the whole of their limits (device API 9).
func connack(pk *packets.Packet, code byte, assigned string) []byte {
	b := []byte{0x20, 2, 0, code}
	if pk.ProtocolVersion != 5 {
		return b
	}
	b = append(b, 0) // length of the properties
	if code == 0 && pk.Properties.SessionExpiryInterval > 0 {
		b = append(b, 0x11, 0, 0, 0, 0) // Session Expiry Interval
	}
	if code == 0 && assigned != "" {
		b = binary.BigEndian.AppendUint16(append(b, 0x12), uint16(len(assigned))) // Assigned Client Identifier
		b = append(b, assigned...)
	}
	b[1], b[4] = byte(len(b)-2), byte(len(b)-5)
	return b
}

// bodyOf is a packet without its fixed header.
func bodyOf(frame []byte) []byte {
	i := 1
	for frame[i]&0x80 != 0 {
		i++
	}
	return frame[i+1:]
}

// handle works on one packet of a device that is connected; an error ends the connection. frame is
// valid during the call only.
func (s *session) handle(frame []byte) error {
	body := bodyOf(frame)
	switch frame[0] >> 4 {
	case packets.Publish:
		return s.handlePublish(frame[0], body)
	case packets.Subscribe:
		return s.handleSubscribe(frame[0], body)
	case packets.Unsubscribe:
		return s.handleUnsubscribe(frame[0], body)
	case packets.Puback:
		s.acknowledged(body)
		return nil
	case packets.Pubrel: // the third step of QoS 2
		if len(body) < 2 || frame[0] != 0x62 {
			return errMalformed
		}
		return s.write([]byte{0x70, 2, body[0], body[1]})
	case packets.Pingreq:
		return s.write([]byte{0xd0, 0})
	case packets.Pubrec, packets.Pubcomp:
		return nil
	case packets.Disconnect:
		return errGone
	}
	return errProtocol
}

func (s *session) write(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// handlePublish is the path of the data, so it does without the library but for the properties of
// MQTT 5.
func (s *session) handlePublish(head byte, body []byte) error {
	qos := head >> 1 & 3
	if qos == 3 || len(body) < 2 {
		return errMalformed
	}
	n := int(binary.BigEndian.Uint16(body))
	if body = body[2:]; len(body) < n {
		return errMalformed
	}
	name := string(body[:n])
	if body = body[n:]; !utf8.ValidString(name) || strings.ContainsAny(name, "+#\x00") {
		return errMalformed
	}
	var id uint16
	if qos > 0 {
		if len(body) < 2 {
			return errMalformed
		}
		if id, body = binary.BigEndian.Uint16(body), body[2:]; id == 0 {
			return errMalformed
		}
	}
	if s.version == 5 {
		if len(body) == 0 {
			return errMalformed
		}
		if body[0] == 0 {
			body = body[1:]
		} else {
			used, err := publishProperties(body)
			if err != nil {
				return err
			}
			body = body[used:]
		}
	}
	s.publish(name, body, id, qos)
	return nil
}

// publishProperties is the length of the properties of a PUBLISH. A topic alias was not offered.
func publishProperties(body []byte) (int, error) {
	var p packets.Properties
	n, err := p.Decode(packets.Publish, bytes.NewBuffer(body))
	if err != nil || n > len(body) || p.TopicAliasFlag || len(p.SubscriptionIdentifier) > 0 {
		return 0, errMalformed
	}
	return n, nil
}

// handleSubscribe makes subscriptions work, then says so, then delivers what waited for them
// (device API 4.1).
func (s *session) handleSubscribe(head byte, body []byte) error {
	pk := packets.Packet{ProtocolVersion: s.version}
	if err := pk.FixedHeader.Decode(head); err != nil {
		return errMalformed
	}
	pk.FixedHeader.Remaining = len(body)
	if err := pk.SubscribeDecode(body); err != nil || pk.PacketID == 0 {
		return errMalformed
	}
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		switch {
		case s.subscribe(f.Filter, min(f.Qos, 1)):
			codes[i] = min(f.Qos, 1)
		case s.version == 5:
			codes[i] = 0x8f
		default:
			codes[i] = 0x80
		}
	}
	if err := s.answer(0x90, pk.PacketID, codes); err != nil {
		return err
	}
	s.pending()
	return nil
}

func (s *session) handleUnsubscribe(head byte, body []byte) error {
	pk := packets.Packet{ProtocolVersion: s.version}
	if err := pk.FixedHeader.Decode(head); err != nil {
		return errMalformed
	}
	pk.FixedHeader.Remaining = len(body)
	if err := pk.UnsubscribeDecode(body); err != nil || pk.PacketID == 0 || len(pk.Filters) == 0 {
		return errMalformed
	}
	var codes []byte
	for _, f := range pk.Filters {
		code := byte(0x11) // no subscription existed
		if s.unsubscribe(f.Filter) {
			code = 0
		}
		if s.version == 5 {
			codes = append(codes, code)
		}
	}
	return s.answer(0xb0, pk.PacketID, codes)
}

// answer writes a SUBACK or UNSUBACK.
func (s *session) answer(head byte, id uint16, codes []byte) error {
	b := make([]byte, 0, 8+len(codes))
	remaining := 2 + len(codes)
	if s.version == 5 {
		remaining++ // no properties
	}
	b = binary.AppendUvarint(append(b, head), uint64(remaining)) // the same coding
	b = binary.BigEndian.AppendUint16(b, id)
	if s.version == 5 {
		b = append(b, 0)
	}
	return s.write(append(b, codes...))
}
