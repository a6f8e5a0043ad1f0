package mqttfuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"edgesync/sync/device/mqtt"
)

// whole puts a header before a body.
func whole(head byte, body []byte) []byte {
	return append(appendLength([]byte{head}, len(body)), body...)
}

func appendLength(dst []byte, n int) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// FuzzDecode feeds both codecs the same packet: the same verdict and the same fields, or a
// difference that has its reason.
func FuzzDecode(f *testing.F) {
	for _, s := range decodeSeeds() {
		f.Add(s.version, s.head, s.body)
	}
	f.Fuzz(func(t *testing.T, version, head byte, body []byte) {
		compare(t, 3+version%3, head, body)
	})
}

// panics stands for a difference: the other codec panics, and we refuse.
const panics = "a packet that the other panics on"

// compare returns the difference that explains that the verdicts are not the same, "" where they
// are.
func compare(t *testing.T, version, head byte, body []byte) string {
	frame := whole(head, body)
	pk, theirErr := theirs(version, head, body)
	differ := func(ourErr error) (string, bool) {
		switch {
		case errors.Is(theirErr, errPanic):
			if ourErr == nil {
				t.Errorf("version %d, %x: accepted; the other: %v", version, frame, theirErr)
			}
			return panics, true
		case ourErr != nil && theirErr == nil:
			name, ok := explained(weRefuse, version, frame, ourErr)
			if !ok {
				t.Errorf("version %d, %x: %v; accepted by the other", version, frame, ourErr)
			}
			return name, true
		case ourErr == nil && theirErr != nil:
			name, ok := explained(theyRefuse, version, frame, theirErr)
			if !ok {
				t.Errorf("version %d, %x: accepted; refused by the other: %v", version, frame, theirErr)
			}
			return name, true
		}
		return "", ourErr != nil
	}
	same := func(what string, ours, theirs any) {
		if a, b := fmt.Sprintf("%#v", ours), fmt.Sprintf("%#v", theirs); a != b {
			t.Errorf("version %d, %x: %s is %s, the other says %s", version, frame, what, a, b)
		}
	}
	switch mqtt.TypeOf(frame) {
	case mqtt.TypeConnect:
		var c mqtt.Connect
		if name, done := differ(c.Decode(frame)); done {
			return name
		}
		o := &pk.Connect
		same("version", c.Version, pk.ProtocolVersion)
		same("clean start", c.CleanStart, o.Clean)
		same("keep-alive", c.KeepAlive, o.Keepalive)
		same("client id", string(c.ClientID), o.ClientIdentifier)
		w := &c.Will
		same("flags of the will", []any{w.Given, w.QoS, w.Retain}, []any{o.WillFlag, o.WillQos, o.WillRetain})
		same("topic of the will", string(w.Topic), o.WillTopic)
		same("payload of the will", string(w.Payload), string(o.WillPayload))
		same("user", []any{c.HasUser, string(c.User)}, []any{o.UsernameFlag, string(o.Username)})
		same("password", []any{c.HasPass, string(c.Password)}, []any{o.PasswordFlag, string(o.Password)})
		sameProperties(t, c.Properties, pk.Properties)
		sameProperties(t, c.Will.Properties, o.WillProperties)
	case mqtt.TypePublish:
		var p mqtt.Publish
		if name, done := differ(p.Decode(version, frame)); done {
			return name
		}
		h := &pk.FixedHeader
		same("flags", []any{p.QoS, p.Duplicate, p.Retain}, []any{h.Qos, h.Dup, h.Retain})
		same("topic", string(p.Topic), pk.TopicName)
		same("id", p.ID, pk.PacketID)
		same("payload", string(p.Payload), string(pk.Payload))
		sameProperties(t, p.Properties, pk.Properties)
	case mqtt.TypeSubscribe, mqtt.TypeUnsubscribe:
		var s mqtt.Subscription
		if name, done := differ(s.Decode(version, frame)); done {
			return name
		}
		same("id", s.ID, pk.PacketID)
		same("filters", s.Filters.Len(), len(pk.Filters))
		i := 0
		for v := range s.Filters.All() {
			o := &pk.Filters[i]
			same("filter", []any{string(v.Name), v.QoS}, []any{o.Filter, o.Qos})
			if version == 5 {
				same("no local", v.Options&4 != 0, o.NoLocal)
				same("retain as published", v.Options&8 != 0, o.RetainAsPublished)
				same("retain handling", v.Options>>4&3, o.RetainHandling)
				same("identifier", int(s.Properties.Number(mqtt.PropSubscriptionID)), o.Identifier)
			}
			i++
		}
		sameProperties(t, s.Properties, pk.Properties)
	case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubrel, mqtt.TypePubcomp:
		id, err := mqtt.DecodeAck(frame)
		if name, done := differ(err); done {
			return name
		}
		same("id", id, pk.PacketID)
	case mqtt.TypePingreq, mqtt.TypeDisconnect:
		name, _ := differ(nil)
		return name
	default:
		name, _ := differ(mqtt.Unexpected(frame))
		return name
	}
	return ""
}

// sameProperties compares all that there are.
func sameProperties(t *testing.T, ours mqtt.Properties, theirs packets.Properties) {
	var p packets.Properties
	for v := range ours.All() {
		switch v.ID {
		case packets.PropPayloadFormat:
			p.PayloadFormat, p.PayloadFormatFlag = byte(v.Number), true
		case packets.PropMessageExpiryInterval:
			p.MessageExpiryInterval = v.Number
		case packets.PropContentType:
			p.ContentType = string(v.Value)
		case packets.PropResponseTopic:
			p.ResponseTopic = string(v.Value)
		case packets.PropCorrelationData:
			p.CorrelationData = v.Value
		case packets.PropSubscriptionIdentifier:
			p.SubscriptionIdentifier = append(p.SubscriptionIdentifier, int(v.Number))
		case packets.PropSessionExpiryInterval:
			p.SessionExpiryInterval, p.SessionExpiryIntervalFlag = v.Number, true
		case packets.PropAuthenticationMethod:
			p.AuthenticationMethod = string(v.Value)
		case packets.PropAuthenticationData:
			p.AuthenticationData = v.Value
		case packets.PropRequestProblemInfo:
			p.RequestProblemInfo, p.RequestProblemInfoFlag = byte(v.Number), true
		case packets.PropWillDelayInterval:
			p.WillDelayInterval = v.Number
		case packets.PropRequestResponseInfo:
			p.RequestResponseInfo = byte(v.Number)
		case packets.PropReceiveMaximum:
			p.ReceiveMaximum = uint16(v.Number)
		case packets.PropTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(v.Number)
		case packets.PropUser:
			p.User = append(p.User, packets.UserProperty{Key: string(v.Name), Val: string(v.Value)})
		case packets.PropMaximumPacketSize:
			p.MaximumPacketSize = v.Number
		default:
			t.Errorf("property %d", v.ID)
		}
	}
	if !reflect.DeepEqual(p, theirs) {
		t.Errorf("properties %x:\n%+v, the other says\n%+v", []byte(ours), p, theirs)
	}
}

// FuzzHeader holds the remaining length of both against each other.
func FuzzHeader(f *testing.F) {
	for _, b := range [][]byte{{0}, {0x7f}, {0x80, 1}, {0xff, 0xff, 0xff, 0x7f}, {0x80, 0x80, 0x80, 0x80, 0}, {0xff}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		size, remaining, err := mqtt.Header(append([]byte{0x30}, in...))
		n, used, theirErr := packets.DecodeLength(bytes.NewBuffer(in))
		switch {
		case err == nil && size > 0:
			if theirErr != nil || n != remaining || 1+used != size {
				t.Errorf("%x: %d in %d bytes, the other says %d in %d, %v", in, remaining, size-1, n, used, theirErr)
			}
		case theirErr == nil && used <= 4: // it knows no bound on the bytes
			t.Errorf("%x: %d, %d, %v, the other says %d in %d", in, size, remaining, err, n, used)
		}
	})
}

// FuzzAppend lets the other codec read what we send.
func FuzzAppend(f *testing.F) {
	for version := range byte(3) {
		f.Add(version, byte(0), uint16(1), "v1/devices/me/attributes", []byte(`{"fan":true}`), true)
		f.Add(version, byte(0x99), uint16(65535), "", []byte{}, false)
		f.Add(version, byte(0x86), uint16(300), "a client id that was made", bytes.Repeat([]byte{0x8f}, 200), true)
	}
	f.Fuzz(func(t *testing.T, version, code byte, id uint16, text string, data []byte, flag bool) {
		version = 3 + version%3
		if len(text) > 65535 || !valid(text) {
			return
		}
		read := func(b []byte, want byte) packets.Packet {
			t.Helper()
			pk := packets.Packet{ProtocolVersion: version}
			size, remaining, err := mqtt.Header(b)
			if err != nil || size+remaining != len(b) {
				t.Fatalf("%x: %v", b, err)
			}
			if err := pk.FixedHeader.Decode(b[0]); err != nil || pk.FixedHeader.Type != want {
				t.Fatalf("%x: %v", b, err)
			}
			pk.FixedHeader.Remaining = remaining
			body := b[size:]
			switch want {
			case packets.Connack:
				err = pk.ConnackDecode(body)
			case packets.Publish:
				err = pk.PublishDecode(body)
			case packets.Puback:
				err = pk.PubackDecode(body)
			case packets.Pubrec:
				err = pk.PubrecDecode(body)
			case packets.Suback:
				err = pk.SubackDecode(body)
			case packets.Unsuback:
				err = pk.UnsubackDecode(body)
			case packets.Disconnect:
				err = pk.DisconnectDecode(body)
			case packets.Pingresp:
				err = pk.PingrespDecode(body)
			}
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			return pk
		}
		five := version == 5
		c := mqtt.Connack{Code: code, ExpiresAtOnce: flag, AssignedID: text}
		pk := read(c.Append(nil, version), packets.Connack)
		p := &pk.Properties
		if pk.ReasonCode != code || pk.SessionPresent || p.SessionExpiryInterval != 0 {
			t.Errorf("CONNACK %+v", pk)
		}
		if five && (p.AssignedClientID != text || p.SessionExpiryIntervalFlag != flag) {
			t.Errorf("CONNACK %+v", pk)
		}
		qos := code % 3
		pk = read(mqtt.AppendPublish(nil, version, text, data, qos, id), packets.Publish)
		if pk.TopicName != text || !bytes.Equal(pk.Payload, data) {
			t.Errorf("PUBLISH %+v", pk)
		}
		if pk.FixedHeader.Qos != qos || qos > 0 && pk.PacketID != id {
			t.Errorf("PUBLISH %+v", pk)
		}
		for _, what := range []byte{packets.Puback, packets.Pubrec} {
			pk = read(mqtt.AppendAck(nil, mqtt.Type(what), version, id, code), what)
			if pk.PacketID != id || five && pk.ReasonCode != code {
				t.Errorf("acknowledgement %+v", pk)
			}
		}
		pk = read(mqtt.AppendSuback(nil, version, id, data), packets.Suback)
		if pk.PacketID != id || !bytes.Equal(pk.ReasonCodes, data) {
			t.Errorf("SUBACK %+v", pk)
		}
		pk = read(mqtt.AppendUnsuback(nil, version, id, data), packets.Unsuback)
		if pk.PacketID != id || five && !bytes.Equal(pk.ReasonCodes, data) {
			t.Errorf("UNSUBACK %+v", pk)
		}
		read(mqtt.AppendPingresp(nil), packets.Pingresp)
		if five {
			if pk = read(mqtt.AppendDisconnect(nil, code), packets.Disconnect); pk.ReasonCode != code {
				t.Errorf("DISCONNECT %+v", pk)
			}
		}
	})
}
