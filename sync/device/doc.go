// Package device holds the doors for devices: ThingsBoard's device API over HTTP and MQTT (API.md),
// so that a device made for ThingsBoard changes only the host name. It owns the connections of
// devices and what is said over them. Queue, registry and agent are interfaces to it, in [Ports].
//
//	POST /api/v1/TOKEN/telemetry
//	  │ HTTP       checks the token (401), the size (413), the type (415); decodes the charset
//	  │ payload    JSON → values as the server would convert them → events; 400 says why and where
//	  │ Intake     all events of the request in one call, all or none; returns when durable;
//	  │            of telemetry beyond 1 MiB group after group, as it comes (http_rows.go)
//	  ▼ 200        the events survive kill -9 and a power cut; 503 when they were refused
//
//	a connection of HTTP, over TLS or not
//	  │ slotListener  a slot for it; another connection gives way if there is none
//	  │ webListener   looks at its first bytes: who speaks MQTT to this port is told
//	  ▼ talk          one goroutine: the request in front is
//	    ├ plain       plainpost knows each byte of its head: the handler above, called with what
//	    │             an http.Server would show it; the answer is one write; then the next request
//	    ├ partial     reads on, for 10 s since it began; they begin anew where it turns into other
//	    └ other       front hands the connection to an http.Server, with all bytes since the last
//	                  request; that one parses and answers the request, and all that follow
//
//	PUBLISH v1/devices/me/telemetry
//	  │ mqttConn   whole packets; memory only for what has come
//	  │ mqtt       checks the packet and takes it apart, without a copy
//	  │ session    the meaning of the topic; the order of acknowledgements; protobuf → JSON
//	  │ payload    as above; a bad payload ends the session, MQTT 5 gets a reason
//	  │ Submitter  returns at once, so that a hundred publishes share one fsync
//	  ▼ PUBACK     from the committer, in order, through the writer
//
//	a command, a changed attribute, a deleted device
//	  │ Doors      which session speaks for the device now, itself or its gateway; polls
//	  ▼ session or poll
//
// # Invariants
//
//   - 200 and PUBACK are sent only after the intake has called the events durable. If anything
//     fails before, nothing of the request is kept; but of a gateway's message each device's part
//     is judged alone, and of telemetry beyond 1 MiB what stands in front may be kept, and the
//     answer says how much.
//   - What the server would acknowledge and then lose is refused here, with a reason (API.md 1.4).
//   - All that a network brings is bounded, in bytes: the table in sync/doc.go says how. No few
//     shared slots are taken before a sender has shown that it goes on: large bodies, packets and
//     answers take bytes as they move, and who is slow, or takes much, gives way (package share).
//   - What waits because of us, for the medium or for others, does not count against its sender,
//     and is answered with 503 and Retry-After, not as a mistake.
//   - Nobody who has not shown who it is has a share in what few can have.
//   - A key is answered once, however often it is asked; an answer that would be too large is
//     refused.
//   - A request has one parser. A connection is handed over only between two requests, before
//     anything of the next one was used: so no bytes are a body to one parser and a request to the
//     other.
//   - Somebody new always gets in. When slots run short, a connection that makes no progress is
//     evicted, of the host with the most such connections first (slots.go).
//   - What has come over a device's connection is handled, even if the device connects again
//     before it was read.
//   - No more guesses are judged than are delayed, and a token that was right lately is never
//     held up by others' guesses (package guess). Tokens appear in no log and no answer.
//   - Nothing is routed between devices. An MQTT device publishes to, and receives from, fixed
//     topics only; a gateway publishes to those that the configuration maps, too.
//   - Neither the loop nor the committer ever waits for a device. What is sent to a device is kept
//     up to a bound; beyond it the connection is closed.
//
// # Goroutines
//
// One for each connection reads, and over HTTP writes; one more looks whether a device leaves whose
// post waits for others. One for the whole MQTT door writes, and one more for each device that does
// not take at once what is sent to it. The methods of [Doors] may be called from any.
//
// # Files
//
//	doors.go spoken.go slots.go                 what the protocols share
//	http*.go polls.go                           HTTP: what is asked, and the answers
//	front.go talk*.go server.go                 HTTP: connections, and their limits
//	mqtt*.go                                    MQTT
//	requests.go answers.go claim.go provision.go    what devices ask, in either protocol
//	upcalls.go                                  calls of devices to the cloud: a share for each
//	packages.go                                 firmware and software
//	traces.go strangers.go                      what was refused; other protocols at a port
//	plainpost/ mqtt/                            bytes → heads of plain posts; bytes ⇄ MQTT packets
//	mqtt_foreign.go foreign/                    topics that ThingsBoard does not know
//	payload/ schema/ charset/                   JSON → events; protobuf ⇄ JSON; bytes → UTF-8
package device
