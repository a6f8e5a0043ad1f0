package mqttfuzz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

var (
	errMustNotCome = errors.New("a packet that must not come")
	errDoor        = errors.New("refused by what the door checked behind the codec")
	errPanic       = errors.New("it panics")
)

// theirs decodes a packet with the other codec, and checks what the door checked behind it when it
// used that. Only tests have to live with its panics.
func theirs(version, head byte, body []byte) (pk packets.Packet, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	pk.ProtocolVersion = version
	if err := pk.FixedHeader.Decode(head); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = len(body)
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if err = pk.ConnectDecode(body); err != nil {
			return pk, err
		}
		name, v := string(pk.Connect.ProtocolName), pk.ProtocolVersion
		if pk.ReservedBit != 0 || (name != "MQIsdp" || v != 3) && (name != "MQTT" || v != 4 && v != 5) {
			return pk, errDoor
		}
	case packets.Publish:
		if err = pk.PublishDecode(body); err != nil {
			return pk, err
		}
		p := &pk.Properties
		notOffered := p.TopicAliasFlag || len(p.SubscriptionIdentifier) > 0
		if strings.ContainsAny(pk.TopicName, "+#") || pk.FixedHeader.Qos > 0 && pk.PacketID == 0 || notOffered {
			return pk, errDoor
		}
	case packets.Subscribe:
		if err = pk.SubscribeDecode(body); err == nil && pk.PacketID == 0 {
			err = errDoor
		}
	case packets.Unsubscribe:
		if err = pk.UnsubscribeDecode(body); err == nil && (pk.PacketID == 0 || len(pk.Filters) == 0) {
			err = errDoor
		}
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Pingreq:
		err = pk.PingreqDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	default:
		err = errMustNotCome
	}
	return pk, err
}
