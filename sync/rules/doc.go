// Package rules executes the rule chains of an edge, as the server sends them. RULES.md is the
// law; where this package does more than a real edge, so that nothing is lost, it is section 7.2.
//
//	Head, Metadata ──compile──▶ plan: chains of nodes, a way for each message type
//	                              │
//	events ──WayOf──▶ no run: as the way says, untouched
//	           └────▶ Handle ──round──▶ nodes ──▶ Outlet: push, save, call, …
//	                              ▲       │ ▲
//	                    Registry ─┘       ▼ │ windows, delays, calls (Journal)
//	                                     Run: time
//
// # Who does what
//
// Handle runs a message, and what comes of it, to the end in the goroutine that brings it. The
// messages of an originator run one behind the other, in the order in which they come (a lock for
// a sixteenth of the originators). Run has the one further goroutine: it wakes windows, delays,
// calls without answer and generators. A change of the plan waits for the rounds that are on
// their way, and they never see it.
//
// The engine calls Registry and Outlet with these locks held. They must not call it back, but
// from another goroutine.
//
// # Files
//
//	engine.go      the plan, which chain a message takes, the sums
//	plan.go        metadata become chains; kinds.go the types of nodes; config.go what nodes read
//	upgrade.go     configurations of older servers
//	way.go         what needs no run
//	round.go       the way of one message; fall-back
//	held.go        what waits, timers; record.go what the journal keeps of it
//	windows.go     windows as bytes, in memory and in their log; node_window.go their node
//	cell.go        what nodes remember of entities; undo.go what is refused leaves no trace
//	world.go       Registry and Outlet
//	node_*.go      the nodes; exp.go custom functions, path.go JSON paths
//	tree.go        JSON in its order; message.go messages, patterns
//	report.go      what people want to know
//	export.go      a chain as people export it
//	try*.go        an edge in memory, for files of steps
//
// # Invariants
//
//   - Received and made messages are as many as those that are accepted, filtered, held or merged,
//     while none is on its way (Sums). A copy, a message that a node makes and one of a window are
//     made; what a window takes together is merged.
//   - A node that is not executed lets messages pass. What would be lost by it, or by a failure, is
//     pushed once as it entered, if it is telemetry or attributes of a device (Outlet.Instead).
//   - The memory of a round is used again: no message that is held refers to it.
//   - Metadata that leave a node as it is leave its memory as it is.
//   - A message that is refused (Ledger) leaves no trace but in the counters of nodes.
//   - What a node names, as another chain or a device, is looked up when a message comes.
//   - Scripts, metadata and messages are hostile: see bounds.
//
// # Bounds
//
// Metadata are at most 4 MiB with 2,000 nodes, 20,000 connections and 200,000 JSON values, nested
// 128 deep; there are at most 200 chains. A message meets at most as many nodes as the tenant's
// profile says, else 200, and all that comes of it 20 times as many. Chains call each other 64
// deep. In all windows, delays and calls wait at most 100,000 messages and 4 MiB as they are in
// memory, in one window what takes 3 MiB once it is read; beyond that the message is not kept (it
// fails, and so is pushed), and that window, or else the one that is the next to go, goes at once.
// What nodes remember of entities is 1 MiB; beyond it a node forgets one entity for another.
// A JSON path looks at 100,000 values, a custom function
// is 1 KiB. The bounds of scripts are those of package script.
//
// # Records
//
// A journal keeps, of each message that waits in a delay or for a call, one record:
//
//	key     chain [16] | node [8] | number [4]      node: hash of type, name, configuration and
//	                                                place among equals (node.key); big-endian
//	record  1 | type | originator's type | id [16] | time | since | executions | flags
//	        | n, n × (key | value) | n, n × (chain [16] | node [8]) | data
//
// Texts are their length as uvarint and their bytes; time and since are varints, in ms since the
// epoch; executions and n are uvarints; flags: 1 = was pushed. The first byte is the form. What
// belongs to a change of the chain is found again by the key, as long as the node is the same.
// Restore takes the records after a start, in the order of their keys. Those of windows are of
// older releases, and move into the log.
//
// Of what a node remembers of an entity (calculate delta, geofencing, saves with an interval) there
// is one record, which the next one replaces:
//
//	key     chain [16] | node [8] | id of the entity [16] | its type
//	record  2 | value (float64, big-endian) | time | word | each interval, less the one before
//
// It is staged when what came of the message is in the queue, survives the process from then on,
// and the power with the next fsync. So a crash makes a node see a message again, not miss one.
// Message counts, generators and rates of device states begin anew.
//
// # The log of windows
//
// Messages of a device are mostly alike. In a window, in memory as in the log, each is written as
// what it has other than the first one, some ten bytes:
//
//	begun    window | chain [16] | node [8] | length, record of the first message
//	         | place | message; the last two are missing once that message has gone
//	grew     window | place | message
//	gone     window | places, each as what it is beyond the one before; none: all, and the window
//	message  flags | time beyond the first's | [originator's type | id [16]]
//	         | timed: nothing
//	           like: twice the number of a metadata value, from 1, and its change, or one more and
//	           what it is beyond the first's, as a number; until 0
//	           else: type | executions | n, n × (key | value) | n, n × (chain [16] | node [8])
//	         | change of the data | [message, as it entered]
//	change   bytes at the beginning and at the end that stay | text between them
//	flags    1 was pushed, 2 met a node that is not executed, 4 like, 8 an originator of its own,
//	         16 it entered as another message, 32 timed: like, and of the metadata only ts is
//	         another, by as much as the time
//
// window and place are uvarints; no number of a window and no place in one is used twice while the
// log knows it. WindowLog is what the records come to, in their order. Its owner may write any
// record that is still needed (Rest) again at the end and then give up the head, and a crash
// between the two changes nothing: so a message may stand in front of the record that says what it
// is written against, and twice, but "gone" stands behind all that it ends.
//
// # Not executed
//
// The types without work in kinds.go. Alarm rules of the node "device profile" and
// calculated fields: these nodes pass messages on (RULES.md 4.7).
package rules
