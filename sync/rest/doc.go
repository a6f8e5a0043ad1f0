// Package rest is the local REST API: ThingsBoard's own paths and bodies, so that scripts written
// for ThingsBoard work against the edge.
//
//	POST /api/auth/login         a user that the cloud sent here, by bcrypt hash → an opaque token
//	  │ route       path, method, authority; bodies bounded and read only for who is logged in
//	  │ entity, …   what the server would refuse for good is refused here, with a reason (CONTRACT.md 4.5, 4.7, 4.8)
//	  │ Intake      the event, durable; else 503, and nothing has changed
//	  ▼ Registry    the same change here, durable; then 200
//
// # Invariants
//
//   - What was answered with 200 is on flash twice: in the queue, on its way to the cloud, and in the registry. Between the two a crash may fall; then
//     nobody was told 200, the cloud gets the change, and the next sync brings it back.
//   - Nothing is shown or changed for whom it does not belong to: a customer's user sees what is assigned to his customer.
//   - A user who is deleted, disabled or has a new password in the cloud has no session any more at his next request.
//   - Sessions, addresses with wrong passwords, latest values, bodies and calls on their way are bounded.
//
// # Files
//
// rest.go the handler and its routes; session.go, login.go who asks; entity.go devices, assets,
// entity views, dashboards; credentials.go; list.go pages of them; alarm.go; relation.go;
// rulechain.go; telemetry.go attributes and time series; latest.go the latest values; rpc.go calls.
//
// All methods may be called from many goroutines.
package rest
