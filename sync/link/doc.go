// Package link is the session with the cloud: one gRPC stream, from the dial to its end.
//
//	Dialer.Open ──dial, TLS, CONNECT──> Session
//
//	loop ──Send──> 256 slots ──sender──>   ┐
//	                                       │ one gRPC stream (CONTRACT.md 2)
//	loop <──Inbox── 64 slots <──receiver── ┘
//
// Session is an interface because it is the seam that tests fake: what is above it knows neither
// gRPC nor the network.
//
// # Invariants
//
//   - No method of a Session waits for the network. Send refuses a message for which there is no
//     slot; Close returns at once, and Done is closed when nothing of the session is
//     left.
//   - The goroutines of a session are its sender and its receiver, and one more while it closes.
//     They end with the session, also when the server neither reads nor answers.
//   - What is received and not handled is bounded by 64 messages and InboxBytes of what they take
//     decoded; a larger message comes alone. What is to be sent is bounded by 256 messages. Beyond
//     that HTTP/2 holds up the server, and Send refuses.
//   - What a message takes decoded is reckoned before it is decoded (cost.go). Beyond MaxCost only
//     the id of its downlink is taken out of it.
//   - Of a large OTA package no more is in memory than its message: who takes packages reads its
//     text out of the transport's buffers (package.go), in the receiver's goroutine.
//   - The secret stands in no error: the server's words pass Redact. The user and the password of a
//     proxy stand in none, and no word of the proxy does.
//
// # Files
//
// dial.go opens a session; proxy.go reads from the environment which way it takes, and tunnel.go
// dials through a proxy; session.go carries messages; codec.go and codec_large.go turn bytes into
// messages, package.go takes packages out of them, cost.go says what they will take; buffers.go
// counts the transport's buffers, gzip.go compresses; refusal.go says in words why a session did
// not begin or has ended, and history.go remembers over restarts whether advice about the
// configuration is of use.
package link
