// Package cloudtest is a ThingsBoard cloud in a box: the server's end of the edge link, faithful to
// the contract (CONTRACT.md 11), with faults on demand. Tests run it over an in-memory connection
// under a fake clock; the program scripts/cloud runs it on a port for people who have no server.
//
// The package has two parts. [Tenant] is the database: entities, credentials, time series, and what
// each part of an uplink does to them. [Cloud] is everything between the socket and the database:
// sessions, order, acknowledgements, delivery, faults.
//
//	           one stream                                  one edge
//	edge ───▶ reader ──▶ Tenant.Process ──┐            ┌─ queue of events ◀── administration,
//	          (one message at a time)     ▼            ▼                      answers to requests
//	edge ◀─── writer ◀── uplink acks, EdgeUpdateMsg    delivery (every second: RPC first,
//	             ▲─────────────────────────────────────┘         then pages of 50)
//
// Each session has three goroutines, and one more while it is flooded. The reader processes the
// messages of its stream strictly in order, the delivery goroutine owns packs and syncs, and only
// the writer writes to the stream. The goroutine of the gRPC call waits for the verdict on how
// the stream ends. Cloud.mu guards what sessions share. No goroutine blocks on the network or on
// a timer while it holds a mutex, so that the clock of a synctest bubble advances.
//
// # Invariants
//
//   - Messages of one stream are processed one after the other; answers may overtake each other
//     (CONTRACT.md 4.3).
//   - A downlink that is not acknowledged is sent again after 60 and 120 s under the same id, and
//     then given up (CONTRACT.md 6.1).
//   - Downlinks that were not acknowledged at the end of a session come again in the next one under
//     new ids (CONTRACT.md 6.1).
//   - A sync holds back events and RPC (CONTRACT.md 3.4).
//   - An unacknowledged RPC and another event behind it hold up the events of all edges
//     (CONTRACT.md 6.1).
//   - Everything is bounded: queues, packs, remembered ids, the size of a message.
//
// # Files
//
//	cloud.go       Cloud: options, bounds, listening; conn.go connections, session.go one stream
//	acks.go        answers to uplinks; codec.go frames and counting
//	delivery.go    packs and syncs; events.go the event table of an edge; rpc.go calls
//	admin.go       what an administrator does, admin_edge.go with an edge, admin_chain.go with
//	               rule chains
//	faults*.go     what goes wrong on demand; memory.go what is acknowledged and lost
//	observe.go     what tests look at: Stats, WaitFor, OnUplink
//	tenant*.go     Tenant: entities, time series, packages, what goes down
//	uplink*.go     what each part of an uplink does to the database
//	values*.go     how the server converts values
package cloudtest
