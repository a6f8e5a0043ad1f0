// Package ruling joins the rule engine (package rules) to the agent: it stands before the queue, is
// what chains read and what they do, and keeps what waits in them over a restart.
//
//	doors ──> sync.Intake ──Take──> take: events ⇄ messages ──> rules.Engine
//	             │ ^                    │                          │ ^
//	             │ └── events ──────────┘<── Push, Instead ────────┘ │ windows, time
//	             v                                                   v │
//	          wal.Queue <──flush── back <────────────────────── Run, Answer
//	             first                │
//	             then                 v
//	                            journal (DATA_DIR/rules): what nodes hold
//
// # The way of an event
//
//	take.go      way: what the chain decides alone. An event that is stored and pushed as it
//	             is, as by the default chain, goes to the queue without a look at its values
//	message.go   else its fragment becomes a message, whose values are those that the transport of
//	             a real edge makes of them
//	take.go      the engine runs it in this goroutine; Push gathers events, in their order. One
//	             that is pushed as it came is the same bytes again
//	take.go      secure: what nodes hold is made durable, if there are events too
//	intake.go    (package sync) the events enter the queue in one group commit
//	take.go      end: what nodes hold is made durable, if it is not; then the device is answered
//
// So a device hears "accepted" when what was pushed is in the queue, and what waits is in the
// journal, each with one fsync for all who come at the same time; mostly a message does one of the
// two. What nodes remember (rules.Note) is written behind the events, without an fsync of its own.
//
// Where the queue refuses, the device sends the message again, and each node is to see it as new:
// all that the message did here is undone (undo.go), what nodes remember, windows, delays,
// attributes, alarms, relations, and the counters. Not undone are calls of devices. The same is
// done where the medium takes nothing of what waits; until it does, what a window or a delay would
// keep is refused at once. Of a request that is refused nothing is in the queue, for all of it
// enters the queue in one append, and last. Only what is larger than all requests may gather
// (wideBytes) goes there in parts.
//
// # What comes of time
//
// Windows, delays, generators and answers of devices have no caller. What comes of them is gathered
// in back, and flush hands it to the queue; only then the journal forgets what has waited. A crash
// between the two pushes a window again, and loses nothing. While the queue refuses, nothing that
// is due is done: windows wait, and are bounded.
//
// # What waits, on flash
//
//	rules/store     a store (wal/store): messages in delays and calls, a record each, and the
//	                counters
//	rules/windows   a queue (package wal), which begins with the first window: the log of windows
//	                (rules/doc.go). A value costs it about half of what it costs the event queue
//
// Where the medium has less than 512 KiB free, nothing more is kept, and messages go up as they
// came: the queue must be able to take what comes of windows, for only then their log shrinks.
//
// Both are written together, by one goroutine, for all who wait: the log first. What of the log
// waits no longer is given up from its head, once it is more than half of the log and 256 KiB;
// what still waits there is written again at the end before. In memory a window is the same bytes
// as in the log. What was in windows of a node that is gone is pushed by the goroutine of Run, a
// window at a time, so that it is never in memory at once.
//
// # Chains
//
// The registry tells (Hear) when a chain, its metadata or the tenant's profile changes, and the
// goroutine of Run reads them (chains.go). A text that has not changed is not looked at. The root
// is the chain whose head says so; the registry takes the flag from the former one. With rules.file
// one chain counts in place of all.
//
// # What people make
//
// What comes over REST goes up whatever a chain says; its message enters the chain behind it
// (entered.go), and a push node leaves out what has gone up unchanged.
//
// # Calls
//
// A call of the cloud or of REST goes through the chain if that does more than to call the device
// (calls.go), in a goroutine of its own, and to the device in any case: no call is silent. A
// device's own call goes to the cloud if the chain neither answers nor pushes it.
//
// # Counters
//
// Messages that came, and were made, are as many as those that were pushed, filtered, wait, or were
// merged (rules.Sums). Made, filtered and merged ones are written with what nodes hold, at least
// each minute while they change, and at the end: a crash costs what was counted since, and no
// event. What came is reckoned from the others and from what entered the queue.
//
// # Locks
//
//	a lock of the engine -> take.mu -> registry, queue, table of calls
//	registry -> alarms.heard
//
// # Files
//
// ruling.go opens, runs and closes; chains.go, take.go, undo.go, message.go, entered.go, calls.go
// as above;
// world.go what nodes read; outlet.go and alarms.go what they do; journal.go what survives, and
// windows.go the log of windows; report.go what people see.
package ruling
