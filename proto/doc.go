// Package proto holds the messages between an edge and a ThingsBoard server (edge.proto,
// telemetry.proto and the code generated from them) and the encoding of events. CONTRACT.md is the
// law for both: what the server does with each message. The package imports nothing else of this
// project.
//
// # Two ways to the same bytes
//
// The generated code decodes what the server sends, and encodes what is rare. Events are many and
// small, so they are written once, when a device posts them, by appending wire bytes to a buffer
// (encode*.go), and are never decoded on their way:
//
//	fragment   field tag | length | message         one element of an UplinkMsg, as in the queue
//	UplinkMsg  id | fragment | fragment | …         by concatenation, in any order of fields
//	RequestMsg msgType | tag | length | UplinkMsg   what one gRPC message carries
//
// The lengths of UplinkMsg and RequestMsg are known only when the last fragment is there.
// [FrameUplink] therefore writes both headers backwards, into [UplinkHeader] bytes that the caller
// left free in front of the fragments.
//
// # Invariants
//
//   - An appender writes, byte for byte, what the generated code would marshal for the same
//     message: fields in the order of their numbers, defaults left out. Tests compare the two. So a
//     fragment's size can be predicted.
//   - A telemetry fragment holds exactly one TsKvListProto: with several the acknowledgement covers
//     one of them, with none it never comes (CONTRACT.md 4.3).
//   - The encoder does not check values: strings must be valid UTF-8 and keys acceptable to the
//     server (CONTRACT.md 4.7). Whoever takes values from outside checks them.
//   - Encoding neither allocates (beyond growing the caller's buffer) nor uses reflection.
//   - The numbers of actions are stored in the queue and never change.
//
// # Files
//
//	event.go     Event, Kind (a part of UplinkMsg; its order there), Action; names.go their names
//	encode*.go   the appenders: entity data, entities and requests, whole RequestMsgs
//	undated.go   events from before the time was known: how the true time gets into them
//	series.go    which series a fragment belongs to, for thinning
//	content.go   a fragment as JSON for people, without secrets (mask.go)
//	json.go      values as ThingsBoard writes them; stored.go what the server makes of a value
package proto
