// Package proto is the wire contract with a ThingsBoard server: the messages (edge.proto, telemetry.proto and the code
// generated from them) and the encoding of events. It knows nothing else of this project.
//
// # Two ways to the same bytes
//
// The generated code decodes what the server sends, and encodes what is rare. Events are many and small, so they are
// written once, when a device posts them, by appending wire bytes to a buffer (encode.go), and are never decoded on their way:
//
//	fragment   field tag | length | message         one element of an UplinkMsg, stored in the queue as it is
//	UplinkMsg  id | fragment | fragment | …         built by concatenation; the order of fields does not matter to a decoder
//	RequestMsg msgType | tag | length | UplinkMsg   what one gRPC message carries
//
// The lengths of the outer two are known only when the last fragment is there, so [FrameUplink] fills in their header
// backwards, into [UplinkHeader] bytes that its caller left free in front of the fragments.
//
// # Invariants
//
//   - What is appended is what the generated code would marshal for the same message, byte for byte: fields in the order of their
//     numbers, defaults left out (tests compare). So a fragment's size can be predicted.
//   - A telemetry fragment holds exactly one TsKvListProto: with several the acknowledgement covers one of them, with none it
//     never comes (wire contract 4.3).
//   - The encoder does not judge: strings must be valid UTF-8 and keys acceptable to the server (wire contract 4.7). That is the
//     business of those who take values from outside.
//   - Encoding neither allocates (beyond growing the caller's buffer) nor uses reflection.
package proto
