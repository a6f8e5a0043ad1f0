// Package rest is the local REST API: ThingsBoard's own paths and bodies, so that scripts written
// for ThingsBoard work against the edge. REST.md lists the paths for users.
//
//	POST /api/auth/login    a user that the cloud sent here, by bcrypt hash → an opaque token
//	  │ routes.go           path, method, authority
//	  │ rest.go             the body: bounded, and read only for who is logged in; then a slot
//	  │ entity.go, …        what the server would refuse for good is refused here, with a reason
//	  │                     (CONTRACT.md 4.5, 4.7, 4.8)
//	  │ Intake              the event, durable; else 503, and nothing has changed
//	  ▼ Registry            the same change here, durable; then 200
//
// # Invariants
//
//   - What was answered with 200 is on flash twice: in the queue, on its way to the cloud, and in
//     the registry. A crash may fall between the two; then nobody got the 200, the cloud gets the
//     change, and the next sync brings it back.
//   - Nothing is shown to, or changed by, whom it does not belong to: a customer's user sees what
//     is assigned to the customer.
//   - A user who is deleted, disabled or gets another password in the cloud has no session any more
//     at the next request.
//   - Nobody's slow bodies, unread answers, logins or wrong passwords keep others out: bytes are
//     shared as in the doors (package share), guesses are counted as there (package guess).
//   - A password is not taken where it can be read on its way: over plain HTTP from a public
//     address (visitor.go).
//   - Sessions, addresses with wrong passwords, latest values, bodies and calls on their way are
//     bounded; the bounds stand at the top of their files.
//
// # Formats
//
// Bodies and answers are ThingsBoard's JSON. A failure is {"status", "message", "errorCode",
// "timestamp"} with ThingsBoard's numbers (answer.go). Nothing is stored on flash by this package:
// sessions and the latest values live in memory and end with the process.
//
// # Files
//
//	rest.go        the handler: one request from its path to the queue and the registry
//	routes.go      which path does what, for whom
//	answer.go      successes and failures as ThingsBoard words them
//	session.go     who is logged in; visitor.go: for the page
//	login.go       passwords; checks.go: their limits
//	entity.go      devices, assets, entity views, dashboards; list.go: pages of them
//	definition.go  what such an entity may hold; document.go: its JSON, field by field
//	credentials.go, alarm.go, relation.go, rulechain.go
//	telemetry.go   attributes and time series; latest.go: the latest values
//	edge.go        this edge; events.go: what waits in the queue
//	rpc.go         calls of devices
//
// All methods may be called from many goroutines.
package rest
