package proto

import "google.golang.org/protobuf/encoding/protowire"

// UplinkHeader is the number of bytes to leave free in front of the fragments for [FrameUplink]:
// msgType (2), tag and length of uplinkMsg (1 + 5), tag and value of uplinkMsgId (1 + 10, the
// length of a negative id).
const UplinkHeader = 2 + 1 + 5 + 1 + 10

// FrameUplink makes a complete RequestMsg of buf, whose first [UplinkHeader] bytes are free and
// whose rest is fragments. The header is written right before the fragments, and the part of buf
// from the header on is returned. The fragments are not moved. FrameUplink panics if buf is shorter
// than UplinkHeader.
func FrameUplink(buf []byte, id int32) []byte {
	var head [UplinkHeader]byte
	h := appendUplinkHead(head[:0], id, len(buf)-UplinkHeader)
	start := UplinkHeader - len(h)
	copy(buf[start:UplinkHeader], h)
	return buf[start:]
}

// RequestSize is the exact size in bytes of the RequestMsg that [FrameUplink] makes of that many
// bytes of fragments. The server compares this size with the limit that it announces
// (CONTRACT.md 2.5).
func RequestSize(fragments int, id int32) int {
	n := varintField(int64(id)) + fragments
	return 2 + 1 + protowire.SizeBytes(n)
}

// AppendProbe appends a complete RequestMsg with an empty UplinkMsg. The server acknowledges the
// probe like any other uplink and stores nothing (CONTRACT.md 4.2).
func AppendProbe(dst []byte, id int32) []byte {
	return appendUplinkHead(dst, id, 0)
}

// padField is a field of UplinkMsg that no server knows.
const padField = 1000

// AppendPaddedProbe appends a probe that is larger by the bytes of pad, which the server skips as a
// field that it does not know, and acknowledges (CONTRACT.md 4.2).
func AppendPaddedProbe(dst []byte, id int32, pad []byte) []byte {
	dst = appendUplinkHead(dst, id, protowire.SizeTag(padField)+protowire.SizeBytes(len(pad)))
	dst = protowire.AppendTag(dst, padField, protowire.BytesType)
	return protowire.AppendBytes(dst, pad)
}

// appendUplinkHead appends the beginning of a RequestMsg, up to the fragments, which have that many
// bytes.
func appendUplinkHead(dst []byte, id int32, fragments int) []byte {
	dst = appendVarintField(dst, 1, int64(RequestMsgType_UPLINK_RPC_MESSAGE))
	dst = appendHead(dst, 3, varintField(int64(id))+fragments) // uplinkMsg
	return appendVarintField(dst, 1, int64(id))
}

// AppendDownlinkResponse appends a complete RequestMsg that answers the DownlinkMsg with that id:
// with success if errText is empty. Failure is only for entityData that cannot be stored for a
// while; after a failure of anything else the server takes the downlink as done (CONTRACT.md 6.1).
func AppendDownlinkResponse(dst []byte, id int32, errText string) []byte {
	var ok int64
	if errText == "" {
		ok = 1
	}
	size := varintField(ok) + stringField(errText) + varintField(int64(id))
	// The type must be this one: with CONNECT, the default, or any other type the server ignores
	// the answer without a trace (CONTRACT.md 2.3).
	dst = appendVarintField(dst, 1, int64(RequestMsgType_UPLINK_RPC_MESSAGE))
	dst = appendHead(dst, 4, size) // downlinkResponseMsg
	dst = appendVarintField(dst, 1, ok)
	dst = appendStringField(dst, 2, errText)
	return appendVarintField(dst, 3, int64(id))
}

// AppendConnect appends a complete RequestMsg that opens a session. maxInbound is the largest
// DownlinkMsg in bytes that the server may send; 0 is left out and means no limit
// (CONTRACT.md 2.5). The appended bytes contain the secret.
func AppendConnect(dst []byte, routingKey, secret string, version EdgeVersion, maxInbound int32) []byte {
	size := stringField(routingKey) + stringField(secret) + varintField(int64(version)) + varintField(int64(maxInbound))
	// msgType is CONNECT_RPC_MESSAGE, which is 0 and therefore not written.
	dst = appendHead(dst, 2, size) // connectRequestMsg
	dst = appendStringField(dst, 1, routingKey)
	dst = appendStringField(dst, 2, secret)
	dst = appendVarintField(dst, 3, int64(version))
	return appendVarintField(dst, 4, int64(maxInbound))
}

// AppendSyncRequest appends a complete RequestMsg that asks for the entities of this edge
// (CONTRACT.md 3).
func AppendSyncRequest(dst []byte, full bool) []byte {
	dst = appendVarintField(dst, 1, int64(RequestMsgType_SYNC_REQUEST_RPC_MESSAGE))
	dst = appendHead(dst, 5, 2) // syncRequestMsg
	dst = protowire.AppendTag(dst, 2, protowire.VarintType)
	return protowire.AppendVarint(dst, protowire.EncodeBool(full)) // explicit presence: written also when false
}

// AppendSyncEscape appends a complete RequestMsg of type SYNC without a body. It clears the
// server's mark that a sync is running, which is the way out of a sync that stands still
// (CONTRACT.md 3.6).
func AppendSyncEscape(dst []byte) []byte {
	return appendVarintField(dst, 1, int64(RequestMsgType_SYNC_REQUEST_RPC_MESSAGE))
}
