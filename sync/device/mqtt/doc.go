// Package mqtt takes apart the packets that MQTT clients send and puts together those that a server
// sends them: MQTT 3.1, 3.1.1 and 5. It knows neither connections nor topics of its own; the MQTT
// door of package device does.
//
//	 1 byte           1–4 bytes          remaining length, in bytes
//	┌──────┬───────┬──────────────────┬──────────────────────────────────────────────┐
//	│ type │ flags │ remaining length │ CONNECT      name, level, flags, keep-alive, │
//	│  ×16 │       │ 7 bits a byte,   │              properties, client id, will,    │
//	│      │       │ the lowest first │              user name, password             │
//	└──────┴───────┴──────────────────┤ PUBLISH      topic, id (QoS > 0), properties,│
//	   strings and binary data:       │              payload                         │
//	   2 bytes of length, then them   │ SUBSCRIBE    id, properties, filters with    │
//	   properties: their length in    │              options                         │
//	   bytes, coded like the          │ UNSUBSCRIBE  id, properties, filters         │
//	   remaining length; then each    │ PUBACK …     id, and what nobody reads       │
//	   as 1 byte, its number, and a   └──────────────────────────────────────────────┘
//	   value of the type that belongs
//	   to the number; MQTT 5 only
//
// # Invariants
//
//   - No input makes the package panic, and no packet makes it allocate: what was decoded are
//     slices of the packet, valid as long as the packet is. Only a refusal allocates, its [Error].
//   - A packet that is refused says which field is wrong, how, and the reason code that MQTT 5 has
//     for that.
//   - Decoding is all or nothing: behind an error the struct is empty. It may be used again for the
//     next packet.
//
// # What is checked
//
// As strictly as the codec that this one replaced, github.com/mochi-mqtt/server, and as its use in
// the door was: scripts/ci/mqttfuzz holds both against each other and lists every difference. So
// the strings of the protocol are UTF-8 without U+0000, topics have no wildcards, packet ids of
// PUBLISH, SUBSCRIBE and UNSUBSCRIBE are not 0, flags that are fixed are as they must be,
// properties belong to their packet and come once. ThingsBoard's server looks neither at flags and
// bodies of PINGREQ and DISCONNECT, nor at what follows the id of an acknowledgement, nor at a
// duplicate flag with QoS 0, nor behind the last field of a CONNECT; nor does this package.
package mqtt
