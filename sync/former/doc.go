// Package former keeps the events that were accepted under an edge that this gateway is no longer:
// the edge was made anew in the cloud, the gateway went to another server, or got another routing
// key. The ids in those events are unknown to the new server, which would acknowledge and drop them
// (CONTRACT.md 4.7). They stay here until a person has them sent to the entities of the same names,
// or gives them up.
//
//	loop ──Begin──▶ mark, names ──Put, a batch an fsync──▶ events ──Return──▶ the queue again
//	                                                          └─────Drop────▶ given up
//
// # Why not the dead-letter log, and why not the queue
//
// The dead-letter log is bounded to some MiB and keeps an index in memory, and a backlog may be
// millions of events. In the queue the events would hold up the committed offset, and with it what
// the new edge sends. So they move, in order and in batches, to a queue of their own: what leaves
// the one comes to the other, so that the room on the medium hardly changes.
//
// # Files, in data_dir/former
//
//	store        a store.Store: counters, the mark, names (records.go)
//	events-N     a wal.Queue that is never committed; N counts how often all of it was gone.
//	             A fragment is the event's offset in the queue before, times two, plus one for a
//	             dead letter, u64, and the event's fragment
//
// # The walk, and where it may be cut
//
//	Begin      the mark and the names of all entities, in one batch. After it, and before the
//	           registry is the new edge's, the mark is void: it names the edge that is still there
//	End        the mark gets its end, once the first sync of the new edge has completed
//	Put        events, fsync; then counters, fsync. Between the two: opening counts what is behind
//	           the last event that was counted
//	Finish     once the committed offset behind the mark's end is durable: the mark goes
//	Return     the queue takes a batch, fsync; then counters, fsync. Between the two: that batch
//	           is sent twice, and counts as accepted twice
//	Drop       one batch says that all is gone; the files follow, at the next opening at last
//
// # The overflow
//
// A Store in data_dir/overflow keeps dependents that the dead-letter log has no room for: a backlog
// of devices that the cloud then refused to create. It has no mark and no names. Its events return
// to the queue by themselves, for the entities that they are of (Target.Same), once the cloud has
// these; GiveUp goes with a creation that a person drops (sync/overflow.go).
//
// # Sums
//
// An event that moves here counts as dead in the queue, as one that moves to the dead-letter log
// does. One that returns is accepted by the queue a second time; Stats.Returned is taken off both,
// so that accepted = deployed + pending + dropped + dead + damaged, each event counted once.
package former
