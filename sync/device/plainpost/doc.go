// Package plainpost reads the head of a plain post: a request over HTTP/1.1 that posts telemetry or
// attributes of one device, as nearly all devices write it.
//
//	POST /api/v1/TOKEN/telemetry HTTP/1.1
//	Host: 192.0.2.1:8080
//	Content-Type: application/json
//	Content-Length: 28
//
// It is no parser of HTTP. It knows the one way in which such a head is written, and nine fields;
// all else is Other, and for the parser that knows HTTP. So a head is either understood in full or
// not touched.
//
// # Invariants
//
//   - Each byte of a plain head is printable ASCII, or belongs to a CR LF at the end of a line: no
//     tab, no NUL, no lone CR or LF, no line that goes on in the next.
//   - The length of the body is said once, in decimal digits without a sign, a space behind them,
//     or a zero in front. There is no other field that says where the body ends: Transfer-Encoding
//     is not among the nine, as Expect, Upgrade, Content-Encoding and Origin are not.
//   - No field is there twice.
//   - What is Partial turns into Other with the first byte that no plain head has, or at the end of
//     the first line that no plain head has: nobody waits for the rest of what is not plain.
//   - Parse allocates nothing, keeps nothing, and looks at the bytes of the head only.
package plainpost
