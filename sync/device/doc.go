// Package device is the door for devices: it speaks ThingsBoard's device API, so that a device changes only the host name.
// It owns the parsing of what devices send, and the connections they send it over; it knows neither the queue nor the registry but
// through two small interfaces, [Intake] and [Devices].
//
//	POST /api/v1/TOKEN/telemetry
//	  │ HTTP       who is it (401), how large (413), of what type (415)
//	  │ Parser     JSON → values, converted as the server would → fragments; 400 names what is wrong and where
//	  │ Intake     all events of the request, in one call, all or none; returns when they are durable, else 503
//	  ▼ 200        the event survives kill -9 and a power cut
//
// # Invariants
//
//   - 200 is said only after the intake said durable. Whatever fails before, nothing of the request is kept.
//   - What the server would acknowledge and then lose is refused here, with a reason (device API 1.4).
//   - An event that comes this way is stored in the cloud as if the device had posted it there (device API 1.3; value.go says
//     which of the server's two conversions is ours).
//   - Nothing that a network brings grows without bound: bodies, nesting, elements, keys, written-out numbers, connections, large
//     requests at a time, the memory of addresses with wrong tokens.
//   - A right token is never refused because of wrong ones from the same address. Tokens appear in no log and no answer.
//
// The parsing (scan.go, value.go, payload.go) does not know HTTP: the MQTT door feeds the same [Parser].
package device
