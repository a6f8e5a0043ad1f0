// Package sync is the agent: its configuration, the intake where events enter, and the one loop that carries them to the cloud and
// brings back what the cloud provisions.
//
//	doors ──> Intake ──> wal.Queue ──> loop ──fragments, concatenated──> sender ──┐
//	                        ^            │                                         │ one gRPC stream
//	                        └──Commit────┤<──────────acks, downlinks── receiver ──┘ (wire contract 2)
//	                                     ├──> Registry (apply, one fsync, then acknowledge)
//	                                     ├──> wal.DeadLog (what the cloud refuses, retried from there)
//	                                     └──> Doors (calls to devices; their answers and own calls go up at once, past the queue)
//
// # Who owns what
//
// The loop's goroutine owns the session, the window, the backoff and the state. The receiver and the sender of a session and the
// dialler of an attempt only pass messages over bounded channels. The loop never blocks on the network; while the server does not
// read, the sender waits and the window stays full. What people decide about dead letters (Dead) is an order that the loop carries out
// between two turns; nobody else touches the tries.
//
// # Positions
//
// The queue knows what is durable and what is committed. The loop knows, for this session only, what it has read and sent. When a
// session ends it forgets that and reads again from the committed offset: at-least-once, in order.
//
// # Invariants
//
//   - The committed offset moves only over events that the cloud acknowledged with success, that are durably in the dead-letter log,
//     or that cannot be read any more (counted as damaged).
//   - A batch holds consecutive events whose ranks do not fall, so that the server works them off in their order (wire contract 4.2).
//     Nothing is in flight beside an entity event, and no two updates of one entity's attributes are in flight together.
//   - After a refusal everything in flight is awaited, then all from the first refused event on is sent again, one batch at a time,
//     halving until the culprit stands alone and goes to the dead-letter log.
//   - A call of the cloud is acknowledged at once, answered once, before its caller gives up, and never carried out twice: calls.go keeps
//     it until it is answered or expires, by the server's clock; of a persistent one call and answer survive a restart.
//   - Data of a device made here never stands before its creation in the queue (birth.go).
//   - A downlink is acknowledged after the fsync that makes it durable. What cannot be stored is not acknowledged and comes again.
//   - Every wait has a bound, and all of them stand at the top of loop.go, state.go, backoff.go and downlink.go.
//
// # Files
//
// agent.go is the outside of it; loop.go the select; state.go every transition of the connection state; session.go and codec*.go the stream;
// batch.go, window.go and uplink.go sending; calls.go RPC both ways, calls_kept.go what of it survives a restart, calls_local.go calls made
// here; ask.go what is asked after a sync; birth.go devices made here; deadletters.go the retries, dead_orders.go what people want done
// with them; downlink.go what comes down; config*.go the configuration.
package sync
