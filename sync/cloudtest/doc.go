// Package cloudtest is a ThingsBoard cloud in a box: the server's end of the edge link, faithful to the wire contract
// (section 11), with faults on demand. Tests run it over an in-memory connection under a fake clock; the program
// scripts/cloud runs it on a port for people who have no server.
//
// Two halves. [Tenant] is the database: entities, credentials, time series, what each part of an uplink does to them.
// [Cloud] is everything between the socket and the database: sessions, order, acknowledgements, delivery, faults.
//
//	           one stream                                  one edge
//	edge ───▶ reader ──▶ Tenant.Process ──┐            ┌─ queue of events ◀── administration, answers to requests
//	          (one message at a time)     ▼            ▼
//	edge ◀─── writer ◀── uplink acks, EdgeUpdateMsg    delivery (every second: RPC first, then pages of 50)
//	             ▲─────────────────────────────────────┘
//
// Each session has three goroutines: the reader works off the messages of its stream strictly in order, the delivery
// goroutine owns packs and syncs, the writer is the only one to write to the stream. The call's own goroutine only waits for
// the verdict on how the stream ends. What a session shares with others is guarded by Cloud.mu; no goroutine ever blocks on the network or on
// a timer while it holds a mutex, so that a synctest bubble's clock keeps going.
//
// Rules that hold, with their section of the wire contract: messages of one stream are processed one after the other, answers may
// overtake each other (4.3); a downlink that is not acknowledged is sent again after 60 and 120 s under the same id, then
// given up (6.1); what was not acknowledged at the end of a session comes again in the next under new ids (6.1); a sync
// holds back events and RPC (3.4); an RPC without acknowledgement and another event behind it hold up the events of all edges (6.1).
//
// Everything is bounded: queues, packs, remembered ids, the size of a message.
package cloudtest
