// Package payload turns what a device sends, telemetry or attributes as JSON, into events for the
// queue. It converts every value as the server would have converted it, and refuses what the server
// would acknowledge and then lose. It knows neither HTTP nor MQTT; the doors for devices and the
// local REST API stand above it.
//
//	{"ts":1767225600000,"values":{"temperature":21.5,"door":true}}
//	  │ begin      valid UTF-8, with U+FFFD for what is malformed               (package charset)
//	  │ scanner    the text, byte by byte, without recursion, as leniently as the server reads it;
//	  │            strict text takes the short way                          (scan.go, lenient.go)
//	  │ object     keys checked, the last of equal keys wins, nulls dropped   (object.go, key.go)
//	  │ value      long, double, bool, string or JSON, by the text of the value         (value.go)
//	  │ proto      the fragment: one EntityDataProto of the uplink message, in wire form
//	  ▼ []proto.Event, one for each element of a telemetry array, one for an object of attributes
//
// A payload in protobuf is translated to JSON by package schema first, so that it takes the same
// way.
//
// # Invariants
//
//   - All or nothing: a payload with anything wrong in it gives no events and one error, an
//     [*Error] with the offset, or one that wraps [ErrTooLarge]. Wrong is what the server refuses
//     or loses; a value that the server keeps, as nan or "K\xfcche", costs no other value.
//   - A value that comes this way is stored in the cloud as if the device had posted it there
//     (API.md 1.3). value.go says which of the server's two conversions is ours.
//   - Only telemetry that is too large to be in memory whole is read element by element, by
//     [Rows], and is then not all or nothing.
//   - Memory is bounded whatever the payload holds: by [MaxEvents], [MaxKeys], the depth of nesting
//     and the digits of numbers whose exponent is written out.
//   - No allocation for each event: a [Parser] keeps its buffers from call to call.
//
// # Files
//
// parser.go the Parser and its buffers; telemetry.go, attributes.go, gateway.go the three forms;
// rows.go telemetry in pieces; object.go, key.go, value.go what objects consist of; scan.go the
// text, lenient.go what the server takes beyond RFC 8259.
package payload
