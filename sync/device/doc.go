// Package device is the doors for devices: they speak ThingsBoard's device API over HTTP and MQTT,
// so that a device changes only the host name. It owns the parsing of what devices send, and the
// connections they send it over; queue, registry and agent are interfaces to it, in [Ports].
// [Doors] knows who speaks for which device now, and brings them what comes from the cloud.
//
//	POST /api/v1/TOKEN/telemetry
//	  │ HTTP       who is it (401), how large (413), of what type (415)
//	  │ Parser     JSON → values, converted as the server would → fragments; 400 names what is wrong and where
//	  │ Intake     all events of the request, in one call, all or none; returns when they are durable, else 503
//	  ▼ 200        the event survives kill -9 and a power cut
//
//	PUBLISH v1/devices/me/telemetry
//	  │ mqttConn   whole packets, with memory for what has come
//	  │ session    what the topic means; a place in the order of acknowledgements; JSON of what is protobuf
//	  │ Parser     the same; a bad payload ends the session, MQTT 5 hears why
//	  │ Submitter  returns at once, so that a hundred publishes share one fsync
//	  ▼ PUBACK     from the committer, in order, through the writer
//
// # Invariants
//
//   - 200 and PUBACK are said only after the intake said durable. Whatever fails before, nothing of
//     the request is kept.
//   - What the server would acknowledge and then lose is refused here, with a reason (API.md 1.4).
//   - An event that comes this way is stored in the cloud as if the device had posted it there
//     (API.md 1.3; value.go says which of the server's two conversions is ours).
//   - Nothing that a network brings grows without bound: bodies, nesting, elements, keys,
//     written-out numbers, connections, large requests at a time, the memory of addresses with
//     wrong tokens.
//   - Somebody new always gets in: when connections run short whoever does not get on with it gives
//     way, of the busiest address first.
//   - What has come over a device's connection is handled, also when the device connects again
//     before it was read.
//   - A right token is never refused because of wrong ones from the same address. Tokens appear in
//     no log and no answer.
//   - Nothing is routed between devices: an MQTT device publishes to and hears from fixed topics
//     only.
//   - Neither the loop nor the committer ever waits for a device: what is sent to one is kept for
//     it, up to a bound, then it is closed.
//
// One goroutine for each connection reads; one for the MQTT door writes, and one more for each
// device that does not take at once what it is sent. The parsing (scan.go, value.go, payload.go)
// knows neither HTTP nor MQTT.
package device
