package mqttfuzz

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"edgesync/sync/device/mqtt"
)

// difference is a known disagreement between our codec and mochi's that is right as it is.
type difference struct {
	name string
	why  string
	// applies reports whether the difference explains that one codec refuses a packet, with that
	// error, and the other accepts it.
	applies func(version byte, frame []byte, err error) bool
}

// weRefuse are the differences where mochi's codec accepts the packet. Where mochi's panics,
// reading behind the end of a SUBSCRIBE whose last filter has no options, ours refuses as well.
var weRefuse = []difference{
	{
		"a property twice",
		"MQTT 5 calls it a protocol error in the section of each property; mochi takes the last",
		ourFault("properties", "one that may come once comes twice"),
	},
	{
		"a property that is longer than the list of properties",
		"the value is cut off where the list ends; mochi reads on in what follows",
		ourFault("properties", "a value is cut off"),
	},
	{
		"a variable byte integer of more than four bytes",
		"MQTT 5, 1.5.5: at most four; mochi takes zeros without end",
		ourFault("properties", "a length of more than 4 bytes"),
	},
}

// theyRefuse are the differences where mochi's codec refuses the packet and ours accepts it.
var theyRefuse = []difference{
	{
		"flags of PUBACK, PUBREC, PUBCOMP, PINGREQ and DISCONNECT",
		"the door never looked at them, and ThingsBoard's server does not either",
		func(_ byte, frame []byte, err error) bool {
			switch mqtt.TypeOf(frame) {
			case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubcomp, mqtt.TypePingreq, mqtt.TypeDisconnect:
				return errors.Is(err, packets.ErrMalformedFlags)
			}
			return false
		},
	},
	{
		"a PUBLISH with QoS 0 that says it is a duplicate",
		"the door never looked at it, and ThingsBoard's server does not either",
		func(_ byte, frame []byte, err error) bool {
			return mqtt.TypeOf(frame) == mqtt.TypePublish && errors.Is(err, packets.ErrProtocolViolationDupNoQos)
		},
	},
	{
		"reason and properties of acknowledgements and of DISCONNECT", "nobody reads them",
		func(version byte, frame []byte, err error) bool {
			switch mqtt.TypeOf(frame) {
			case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubrel, mqtt.TypePubcomp, mqtt.TypeDisconnect:
				ofRest := errors.Is(err, packets.ErrMalformedProperties) || errors.Is(err, packets.ErrMalformedReasonCode)
				return version == 5 && ofRest
			}
			return false
		},
	},
}

// ourFault is for refusals of ours that say that.
func ourFault(field, fault string) func(byte, []byte, error) bool {
	return func(_ byte, _ []byte, err error) bool {
		var e *mqtt.Error
		return errors.As(err, &e) && e.Field == field && e.Fault == fault
	}
}

// explained returns the difference that explains a verdict.
func explained(by []difference, version byte, frame []byte, err error) (name string, ok bool) {
	for _, d := range by {
		if d.applies(version, frame, err) {
			return d.name, true
		}
	}
	return "", false
}
