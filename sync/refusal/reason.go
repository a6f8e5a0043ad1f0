package refusal

// Door is where a refusal happened.
type Door uint8

// The doors, each with and without TLS.
const (
	HTTP Door = iota
	MQTT

	doors
)

var doorNames = [doors]string{"http", "mqtt"}

// String is the door's name in metrics and status.
func (d Door) String() string { return doorNames[d] }

// Reason is why something was refused.
type Reason uint8

// The reasons. Their names are labels in metrics and stay as they are.
const (
	UnknownToken Reason = iota // no device here has these credentials
	NotSynced                  // the same, while no sync has completed yet
	Guessing                   // not judged, because of wrong credentials from the same address
	Provisioning               // a request for credentials that gets none
	BadPayload                 // a payload that cannot be stored
	BadRequest                 // an HTTP request that is wrong beside its body
	UnknownTopic               // a topic, a filter or a path that does not exist
	NotGateway                 // a topic of gateways, of a device that is none
	TooLarge                   // a body or a packet beyond its bound
	Malformed                  // a packet that is no MQTT, or breaks the protocol
	WrongVersion               // a version of MQTT that is not spoken here, such as a bridge's
	WrongPort                  // another protocol than that of the port
	TLS                        // a handshake that failed
	Full                       // the queue takes no event
	NoRoom                     // no room for events of a device that the cloud refuses to create
	Busy                       // too much at a time
	Slow                       // a request or packet that did not come whole in time

	reasons
)

// texts are the name of each reason, what it says to a person, and what helps.
var texts = [reasons]struct{ name, words, cure string }{
	UnknownToken: {
		"unknown_token", "unknown token",
		"compare its credentials with those of the device in ThingsBoard, and see that the device is assigned to this edge",
	},
	NotSynced: {
		"not_synced", "no sync has completed yet, so that its token cannot be judged",
		"see `edgesync status`: this edge must reach the cloud once",
	},
	Guessing: {
		"guessing", "too many wrong tokens or passwords came from its address",
		"mend the device with the wrong token at this address; others there have to wait",
	},
	Provisioning: {
		"provisioning", "it asks for credentials and gets none",
		"compare its provisioning key, secret and name with the device profile in ThingsBoard",
	},
	BadPayload: {"bad_payload", "its payload cannot be stored", "mend what the device sends"},
	BadRequest: {"bad_request", "its request is wrong", "mend what the device asks"},
	UnknownTopic: {
		"unknown_topic", "the topic or path does not exist",
		"use a topic of the device API, such as v1/devices/me/telemetry, or name the topic in [[mqtt.map]] for a gateway's token",
	},
	NotGateway: {
		"not_gateway", "it publishes to a topic of gateways and is none",
		"tick \"Is gateway\" for the device in ThingsBoard",
	},
	TooLarge:  {"too_large", "it sends more in one piece than is taken", "send smaller pieces"},
	Malformed: {"malformed", "it breaks the MQTT protocol", "mend or update the MQTT library of the device"},
	WrongVersion: {
		"wrong_version", "it speaks a version of MQTT that is not spoken here",
		"let it speak MQTT 3.1, 3.1.1 or 5",
	},
	WrongPort: {"wrong_port", "it speaks another protocol than this port", "see the detail"},
	TLS:       {"tls", "its TLS handshake failed", "see the detail"},
	Full: {
		"full", "the queue takes no events",
		"see `edgesync status`; the device has to send again later",
	},
	NoRoom: {
		"no_room", "the cloud refuses to create its device, and the room for such devices is used up",
		"see `edgesync status` for the reason of the cloud",
	},
	Busy: {"busy", "too much comes at a time", "let fewer devices send large pieces at the same time"},
	Slow: {"slow", "what it sends does not come whole in time", "look at its network"},
}

// String is the reason's name in metrics and status.
func (r Reason) String() string { return texts[r].name }

// Words say the reason to a person.
func (r Reason) Words() string { return texts[r].words }

// Cure says what helps.
func (r Reason) Cure() string { return texts[r].cure }
