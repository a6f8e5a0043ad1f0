// Package sync is the agent: the intake where events enter, and the one loop that carries them to
// the cloud and brings back what the cloud provisions.
//
//	doors ──> Intake ──> wal.Queue ──> loop ──Send──> link.Session ──> cloud
//	                        ^            │ ^                             │
//	                        └──Commit────┤ └──Inbox── acks, downlinks ───┘
//	                                     ├──> Registry (apply, one fsync, then acknowledge)
//	                                     ├──> wal.DeadLog (what the cloud refuses)
//	                                     └──> calls.Table <──> Doors (past the queue)
//
// # The walk of a telemetry event
//
//	device/payload   JSON becomes proto.Event: a fragment of the wire's bytes, made once
//	intake.go        Accept or Submit runs it through the rule chains (package ruling), and hands
//	                 what they push to the queue; the 200 follows the fsync
//	loop.go          the queue wakes the loop; turn calls maybeSend
//	uplink.go        fill reads the queue; take looks at each event: its time, whether it is sent
//	batch.go         batch.take: HERE A BATCH IS CUT, by number, bytes, rank, barrier and entity
//	aside.go         an event that is not to be sent goes to the dead letters instead
//	alarms.go        an alarm goes under the id that the cloud has it under
//	window.go        admits says whether one more batch may be in flight
//	link/session.go  Send takes the bytes; the sender writes them to the stream
//	uplink.go        the answer: commit moves the committed offset, or the batch is refused
//	gone.go          what is acknowledged of an entity that is gone counts as refused
//	refused.go       A REFUSED EVENT IS FOUND: the batch is sent again in halves
//	outage.go        does anything pass? if not, it is the cloud, and the queue stays as it is
//	deadletters.go   moveToDead: HERE IT GOES; rest ends the tries
//	retry.go         maybeRetry tries it again
//	dependents.go    what stands behind a refused creation waits with it
//	repeat.go        the session was lost: WHAT THE CLOUD MAY HAVE LOST WITH IT GOES AGAIN
//
// # The walk of a creation that the cloud has answered with success
//
// A server at a limit of its tenant answers so too, and does not have the entity (CONTRACT.md
// 13.1). So the answer proves nothing:
//
//	batch.go         no data rides in one uplink with a creation
//	proof.go         keepTaken: HERE A CREATION WAITS FOR ITS PROOF: it and what went up with it
//	                 are written to the dead letters, and counted as those
//	aside.go         what the entity does meanwhile follows, and is not sent
//	syncing.go       askSync: a sync, one for a burst, whose end removes nothing here
//	proof.go         prove: a message names the entity; settleProofs: what went up counts as
//	                 deployed, and what waits goes up
//	                 judgeTaken: the sync is over and did not bring it: it is refused, in silence
//
// Nothing else of the entity was sent, so nothing of it is lost in the cloud or told as deployed.
//
// # The walk of a device whose creation is refused
//
//	creation.go      made it durable here and queued its creation; batch.go sends many together
//	refused.go       the refused creation goes to the dead letters, pinned; the device stays
//	                 usable
//	aside.go         takeAside: each later event of the device follows it. The batch that is
//	                 being filled goes on around these events, and storeAside writes them
//	                 together, with one fsync, once a second or for each asideEvents of them.
//	                 After two refusals in a row further creations follow without a try
//	syncing.go       no sync brings the entity: beginSync has the registry spare it
//	room.go          the Intake refuses new data of these devices when their room is used up
//	retry.go         one creation is tried after a pause that doubles. Once one is accepted the
//	                 others follow, more and more in one uplink, and behind them their dependents,
//	                 as many in one uplink as of other data, in the order of each entity
//	dependents.go    forget: when the last dependent has left, the entity's events go the ordinary
//	                 way again
//	overflow.go      a backlog beyond the log's share waits in a queue of its own; maybeReturn has
//	                 it return to the queue then
//
// Only a hopeless text, or a retry.max of at most 1, lets a creation rest; its dependents wait
// until a person retries it (dead_orders.go). If a person drops it, its dependents go with it, and
// the cloud never has the device: what it sends afterwards goes up and is dropped there in silence
// (CONTRACT.md 4.7).
//
// # The walk of an event whose edge is gone
//
// The edge's id may be another one at a connect: made anew in the cloud, another server, another
// key. Ids of the former edge's entities are unknown to the new server, which drops their data in
// silence (CONTRACT.md 4.7):
//
//	otheredge.go     beEdge: HERE THE EDGE CHANGES: a mark and the names (former, durable), then
//	                 the registry's wipe (registry/wipe.go, durable in steps)
//	                 nothing goes up until the first sync has said what is here; then an event up
//	                 to the mark's end goes up if its entity is here under its id, else
//	                 setApart: HERE IT GOES, in batches; it counts as dead
//	                 moveLetters: the dead letters of the former edge go the same way
//	former_orders.go RetryByName: a person has it return to the queue for the entity of its name
//
// A device made here whose creation the former edge did not accept stays, and goes up to the new
// edge with its data. If the server had saved the device and assigned it to nobody, because its
// edge was deleted, the creation goes behind a deletion (halfmade.go). Within a session the edge
// never changes: another one's configuration is ignored.
//
// # The walk of an acknowledged event that a person has go up again
//
//	orders           Agent.Replay: what is acknowledged now and of that time, by edgesync replay
//	wal/keep.go      Options.KeepBytes has left its segment; Pin keeps it while it is to be read
//	replay.go        replayGroup: while hardly anything waits, HERE IT IS APPENDED AGAIN, and
//	                 goes the way of an event of its own; the position is durable (saveReplay)
//
// # The walk of a downlink
//
//	link/session.go  the receiver puts it into the inbox; a large OTA package goes to the registry
//	                 before (TakePackage), which writes it beside its place
//	receive.go       received takes up to 96 messages or 1 MiB a turn, and hands each to handle
//	downlink.go      beforeApply is the list of what comes before the registry
//	registry         Apply stages it; a package is put in its place
//	receive.go       acknowledge: one fsync (Flush), then an acknowledgement for each message
//	ask.go           what is new is asked about
//
// # Who owns what
//
// The loop's goroutine owns all of type loop: the session, the window, the backoff, the state. The
// goroutine of an attempt, and the receiver and the sender of a session, only pass messages over
// bounded channels. What belongs to one session stands in parts that forgetSession resets. What
// people decide about dead letters (Dead) is an order that the loop carries out between two turns.
//
// # Nothing in the loop waits for the network
//
//   - Session.Send refuses a message that finds no slot, and then the session ends (errOverrun). It
//     cannot come to that: the window bounds batches; calls and questions look for slots first;
//     receiving stops while 128 of 256 slots are taken, and a turn holds at most 96
//     acknowledgements.
//   - Session.Close returns at once; the next attempt waits, in its own goroutine, until the
//     session is gone. Only stop waits for both, and the process ends after 10 s in any case.
//   - The result of an attempt has a channel of size 1, and there is one attempt at a time.
//   - Callbacks promise not to block: Doors.Deliver and registry.Watcher hand bytes to a buffer of
//     the connection or drop the connection; Request.Reply and calls of the REST API have a channel
//     of size 1 for their one answer; Deps.Syncing sets how eagerly the garbage collector works.
//   - An order waits until the loop takes it; who gave it waits at most 3 s for that.
//
// The loop does wait for the medium: Registry.Flush, DeadLog.Put and Queue.Commit. A turn moves at
// most 64 events to the dead letters one by one, and 1,024 dependents together. /healthz fails when
// a turn takes a minute.
//
// # Invariants
//
//   - The queue knows what is durable and what is committed. The loop knows, for this session only,
//     what it has read and sent. When a session ends it reads again from the committed offset:
//     at-least-once, in order.
//   - The committed offset moves only over events that the cloud acknowledged with success, that
//     are durably in the dead-letter log, its overflow, or among those of former edges, that the
//     quota or max_age has dropped, or that cannot be read any more (counted as damaged). While
//     dependents wait to be written, what is acknowledged behind them is held (uplink.go, advance),
//     at most a second.
//   - What the cloud acknowledged shortly before it ended a session is sent again before anything
//     else of the queue, in its order, up to the committed offset, and is counted by itself
//     (repeat.go). It changes neither the committed offset nor the dead letters.
//   - No event goes to an edge that it was not accepted under, unless its entity is that edge's
//     too.
//   - A batch holds consecutive events whose ranks do not fall, so that the server works them off
//     in their order (CONTRACT.md 4.2); of devices that it creates those of each device. Nothing is
//     in flight beside an entity event, and no two updates of one entity's attributes are in flight
//     together.
//   - After a refusal everything in flight is awaited. Then everything from the first refused batch
//     on is sent again, one batch at a time, in ever smaller batches, until the refused event
//     stands alone.
//   - An event goes to the dead letters because it is refused while others pass. When the cloud
//     refuses everything, one event goes there, or those of one entity if the texts are hopeless
//     ones, and the others stay in the queue (outage.go). Creations, and what waits for them, go
//     there whatever else passes: the cloud may refuse nothing but creations.
//   - A call of the cloud is acknowledged at once, answered once, before its caller gives up, and
//     never carried out twice: see package calls.
//   - Data of a device made here never stands before its creation in the queue (creation.go), and
//     is not sent before the cloud has shown that it has the device (proof.go).
//   - A sync takes no entity away whose creation waits to be taken, or to be proved.
//   - A downlink is acknowledged after the fsync that makes it durable. What cannot be stored is
//     not acknowledged and comes again.
//   - An event that was accepted before the time was known is sent with its true time once the
//     clock is known, or with an estimate after clock.Patience. Which of the two is written to
//     flash before the event is sent, so that a repetition carries the same time.
//   - Timers are monotonic: a clock that jumps changes no wait. Only calls kept over a restart end
//     by the server's clock.
//
// # Lock order
//
//	Agent.creating (creation.go) -> registry -> queue
//	calls.Table, Agent.board, Intake.pool: innermost, and held while nothing else is called
//
// The loop holds no lock while it calls registry, queue, dead-letter log or doors.
//
// # Checklists
//
// To add a kind of message that goes up:
//
//  1. proto/event.go: its Kind or Action, its rank and whether it is a barrier (CONTRACT.md 4.2),
//     Sendable; proto/names.go its name. The numbers are stored in the queue and never change.
//  2. proto/encode*.go: the appender of its fragment, and a test against the generated code.
//  3. Where it enters: device/payload, rest or creation.go make the event and hand it to Intake.
//  4. cloudtest: what the server makes of it; testdata/contract.tsv: the rule and its test.
//
// One that comes down: registry.Apply and its stores; ask.go if no sync brings it; a step in
// beforeApply (downlink.go) if it must be seen before.
//
// To add a configuration key: see package config.
//
// To add a metric:
//
//  1. snapshot.go: a field of Snapshot with its unit; a name once published keeps its meaning.
//  2. publish.go: published and publish, if the loop knows the value; Snapshot or AddCounts fills
//     it; cli/agent.go, snapshot, if only the assembly knows it (addresses, medium).
//  3. status/metrics.go: a row in the table; status/text.go if people are to see it too.
//
// To add something that a person must know at once:
//
//  1. snapshot.go: what it is known by, with its time.
//  2. status/headline.go: its Kind, its place among the others, and its sentence; that is the one
//     place, and every surface shows what it says. headline_test.go: the exact sentence.
//  3. If events are given up: a tally.Reason, and a Note where they are counted.
//
// # Files
//
// agent.go, ports.go and snapshot.go are the outside, publish.go what the loop lets others see.
// loop.go is the select and the turn; limits.go every number; state.go the connection, dial.go
// attempts, contact.go outages, capacity.go the room, probe.go, quiet.go. Up: intake.go, uplink.go,
// batch.go, window.go, alarms.go, aside.go, refused.go, outage.go, judge.go, deadletters.go,
// retry.go, dependents.go, overflow.go, proof.go, room.go, refused_creations.go, dead_orders.go,
// gap.go, gone.go, repeat.go, replay.go, creation.go, halfmade.go. Another edge: otheredge.go,
// former_orders.go. Down: receive.go, downlink.go, syncing.go, ask.go. Past the queue: direct.go,
// rpc.go, rpc_clock.go.
//
// # The surface that scripts build on
//
// What follows keeps its names and meanings. Keys, defaults and bounds are in config.toml.example.
//
//   - Configuration: --config FILE, else /etc/edgesync/config.toml, else /etc/config/edgesync, else
//     ./config.toml. No file at all is fine, a named one that is missing is not. Then the
//     environment, then flags; later wins.
//   - Environment: each key as EDGESYNC_ and its path in capitals, with _ for the dots. A variable
//     set to the empty string sets its key to empty (a listener: off). An unknown EDGESYNC_ name is
//     an error with the nearest right one, but for those that Kubernetes gives for services. The
//     names of ThingsBoard Edge for what is here count too (CONTRACT.md 2.2); CLOUD_RPC_TIMEOUT is
//     in milliseconds, but a value below 100 in seconds, as in ThingsBoard Edge's own files, and
//     that is logged.
//   - data_dir: all state, in queue/, dead/, former/, overflow/, registry/, rules/, clock, link,
//     tally, minutes, replay, max_bytes, corrupt/, lock and agent.sock. The lock is taken before
//     any port is opened.
//   - http.listen: the device API, the REST API, the page, /metrics, /healthz and /readyz.
//     mqtt.listen: the device API over MQTT. Port 0 lets the system choose; the address is logged
//     and in `status`. Empty is off, and then the address in `status` is "".
//   - /healthz: 200 while the loop turns and the queue takes events, whatever the cloud does.
//     /readyz: 200 when devices can be served: the queue takes events, and a sync has completed
//     once, now or in an earlier life; else 503. The body names the connection state.
//   - `edgesync status --json` asks the running agent through agent.sock; without one it reads the
//     files. Fields: type Snapshot. Counts are events, the agent's own among them, over the life of
//     data_dir, and survive SIGKILL.
//   - accepted = deployed + pending + dropped + dead + damaged, always. dead counts what lies in
//     the dead-letter log, also while it is tried again from there, in its overflow, and what is
//     kept of former edges; damaged what was acknowledged to a device and cannot be read any more.
//   - Exit codes: 0 fine; 1 failed, an unwritable data_dir too; 2 usage; 75 another agent holds
//     data_dir; 78 configuration, a missing routing key too.
//   - SIGTERM and SIGINT stop within 10 s. SIGHUP says that the link may be back, and that
//     certificates may be new.
//
// # Bounds of memory
//
// BOUNDS.md has every bound in bytes, what happens beyond it, and the test that drives it there.
//
// # Time limits
//
// Each number is a constant in limits.go, or where the table says; tests check the waits under a
// fake clock.
//
//	the first dial                         at once
//	after a lost session or a failed dial  a random part of reconnect.interval (3 s), doubling to
//	                                       reconnect.max_interval (60 s) until the first
//	                                       acknowledgement; SIGHUP ends the wait
//	refused credentials, a deleted edge    10 s doubling to 5 min; of a renewed secret and the
//	                                       configured one in turn
//	three clean ends within 10 s of ACCEPTED
//	                                       reconnect.max_interval (60 s): another agent uses this
//	                                       key
//	dial and TLS; the answer to CONNECT    cloud.timeout (5 s) each, doubling with each timeout
//	                                       in a row to 60 s
//	the oldest batch without an answer     ten times what answers take on this link, at least 5 s,
//	                                       at most 60 s (at least 15 s until eight answers were
//	                                       timed, in this life), then a new stream; doubled with
//	                                       each such end in a row
//	nothing received, nothing in flight    30 s, then a probe; 20 s without its answer: a new
//	                                       stream
//	nothing received, something in flight  5 s, then one small message: a dead link shows after
//	                                       keepalive.timeout more (TCP_USER_TIMEOUT; Linux)
//	pings below that (gRPC)                keepalive.time (30 s), keepalive.timeout (10 s)
//	no downlink although asked             3 min, then a new stream
//	a sync without progress                3 min, then once again; then a new stream
//	a large message that comes             while its bytes come, or a package is being stored,
//	                                       none of these waits is over
//	a batch                                batch.size (100) events, 256 KiB, batch.timeout (1 s);
//	                                       an entity event, an attribute or an alarm sends what is
//	                                       there
//	what a lost session may have cost      telemetry and attributes acknowledged in its last
//	                                       sync.repeat (10 s) go again first, as far as the queue
//	                                       has them; of an end that was noticed late, those before
//	                                       the cloud was heard last; each at most three times
//	                                       while sessions are shorter
//	one of them that is refused            three tries, 1 s doubling; then the queue goes on, and
//	                                       the next tries follow when something is accepted, or
//	                                       after 60 s
//	a replay                               256 events or 32 KiB while fewer than 256 wait; a look
//	                                       each second while the link, a sync, the rate limit or
//	                                       the flash budget keeps it from that
//	the window                             1 to 16 batches, 2 at first, 1 MiB; one more while
//	                                       acknowledgements come within 250 ms of the best of the
//	                                       session, one less when they take 500 ms longer
//	a rate limit of the server             1 s doubling to 60 s, one batch in flight
//	a refused event                        moved to the dead letters when others pass; a hopeless
//	                                       text (CONTRACT.md 4.5) rests there
//	dead letters that wait                 one of them every retry.interval (3 s), the least tried
//	                                       first; once one was accepted, the others as fast as
//	                                       they are accepted, up to batch.size in one uplink;
//	                                       after retry.max (10) tries, the first refusal among
//	                                       them, a dead letter rests
//	refused creations                      one of them, the least tried first, after
//	                                       retry.interval doubling to 60 s; once one was accepted,
//	                                       the others and their dependents as above; none rests
//	                                       but for a hopeless text or retry.max of at most 1
//	creations that the cloud has taken     a sync (fullSync=false) 250 ms after the answer, one
//	                                       for all that come meanwhile; after a sync not before
//	                                       ten times what it took, nor 100 ms for each message
//	                                       of it, at least 1 s, at most 60 s. So data of a new
//	                                       device waits for about 1 s and the sync (1 s on a quiet
//	                                       server, 24 s on a loaded one), and behind another sync
//	                                       up to 60 s more. While no sync completes it waits, for
//	                                       as long as that takes, unless a message names the
//	                                       entity
//	creations refused in silence           one of them, after 3 s doubling to 10 min, each try
//	                                       with a sync; once one was proved, as above
//	a creation that meets the rate limit   the third time, if an uplink without events passes
//	                                       meanwhile, it counts as refused
//	dependents                             moved to the dead letters together: 1,024, 512 KiB or
//	                                       1 s after the first; tried when their commit is
//	                                       durable, looked after each second
//	the last dependents                    for at most 2 s, and not again for 10 s, no event of
//	                                       their devices is read, nor what stands behind it: else
//	                                       a device that never pauses went this way for ever
//	a cloud that refuses everything        six events, 1 s doubling to 60 s between two rounds; of
//	                                       dead letters one, retry.interval doubling to 60 s, and
//	                                       no try counts
//	an event that ends the stream alone    three times, then moved to the dead letters
//	another edge than before               nothing goes up until the first sync is complete; then
//	                                       batches of 256 events or 256 KiB are set apart
//	questions after a sync                 20 entities an uplink, one each second
//	a call of the cloud                    250 ms before its caller gives up, at least 5 s; one
//	                                       for a device that is not here waits 3 s for it (calls)
//	a device's own call                    60 s (calls), over HTTP 30 s (device)
//	the gateway of a known device          noted in the cloud at most once an hour (creation.go)
//	a clock without a time                 5 min after the first connection, then an estimate
//	                                       (clock)
//	the committed offset                   rides on the next commit; its own fsync after 5 s of
//	                                       quiet, or 1 MiB of acknowledged events (wal/queue.go)
//	attributes that devices wrote          on flash within a minute, within an hour while the
//	                                       flash budget is short; the events are there at once
//	a turn                                 96 messages or 1 MiB of the server, 64 events moved to
//	                                       the dead letters, and 1,024 dependents; at least one
//	                                       each 5 s
//	a stop                                 5 s for acknowledgements, 3 s for answers to devices,
//	                                       10 s in all (cli)
//	the same complaint in the log          at most every 30 s
//	the same refusal in the log            at most every 10 min (refusal)
//	renewed certificates                   looked for every 30 s (keypair)
//	wrong credentials of one address       10, then one every 6 s; right ones are never held up,
//	                                       but for a second when they are used there for the first
//	                                       time (device, rest, guess)
package sync
