package sync

import "time"

// The time limits and other numbers of the loop. The table in doc.go says what each is for; those
// of calls stand in sync/calls, those of one stream in sync/link.
const (
	// Attempts (dial.go).
	refusedMin = 10 * time.Second // after refused credentials, and while the edge is deleted in the cloud
	refusedMax = 5 * time.Minute
	timeoutMax = 60 * time.Second // for the dial and the answer to CONNECT, after doubling
	// Three clean ends within ten seconds of ACCEPTED: the server completes the older stream of an
	// edge that connects again (CONTRACT.md 2.6), so two agents with one key throw each other out
	// for ever unless one of them waits.
	quickEnd     = 10 * time.Second
	quickEndsMax = 3

	// What ends a session (loop.go).
	// The oldest unacknowledged uplink: ackTimes what acknowledgements take on this link, within
	// these bounds; at least ackTimeoutFirst until ackSamples have been measured: a cloud that has
	// just come up is slower than later. Each session that ends so doubles it, until a batch is
	// acknowledged.
	ackTimeoutMin   = 5 * time.Second
	ackTimeoutFirst = 15 * time.Second
	ackTimeout      = 60 * time.Second
	ackTimes        = 10
	ackSamples      = 8
	probeAfter      = 30 * time.Second // of hearing nothing with nothing in flight
	probeTimeout    = 20 * time.Second
	wakeAfter       = 5 * time.Second // of hearing nothing with something in flight
	syncPatience    = 3 * time.Minute // a sync that stands still; another edge may hold up all downlinks for two minutes (CONTRACT.md 6.1)
	// The question for our own edge always has an answer. Without any downlink for so long the
	// server does not poll for us (CONTRACT.md 10.17); less would not do, for another edge may hold
	// up all downlinks for two minutes (CONTRACT.md 6.1).
	silenceAfter = 3 * time.Minute
	// An event that was so often in a row alone in flight when the server ended the stream goes to
	// the dead letters.
	poisonEnds = 3

	// A turn (loop.go, receive.go, uplink.go).
	heartbeat    = 5 * time.Second // the loop turns at least this often
	turnMessages = 96              // of the server that one turn takes, and acknowledgements held meanwhile
	turnBytes    = 1 << 20         // of those messages; the one that reaches it is taken too
	turnMoves    = 64              // events that one turn moves to the dead letters, each with an fsync
	asideEvents  = 1024            // dependents that are moved there together, with one fsync for all of them
	asideBytes   = 512 << 10       // of those; the one that reaches it is taken too
	asideWait    = time.Second     // after the first of them, for others
	// Slots of the session, of link.Slots: nothing is received while receiveBelow are taken, so
	// that there is room for turnMessages acknowledgements; batches leave windowMax free for what
	// goes beside them.
	receiveBelow = 128
	slotsPause   = 20 * time.Millisecond // between two looks while so many are taken

	// Batches (batch.go).
	batchBytes   = 256 << 10 // of the fragments; an event that is alone larger goes alone
	spareBatches = 4         // buffers kept for reuse

	// The window (window.go; CONTRACT.md 12).
	windowStart = 2
	windowMax   = 16
	windowBytes = 1 << 20
	growWithin  = 250 * time.Millisecond // over the best round trip of the session
	shrinkFrom  = 500 * time.Millisecond

	// What is sent again after the end of a session (repeat.go).
	repeatParts   = 16          // stretches that sync.repeat is divided into: what goes again is exact to one of them
	repeatTimes   = 3           // that one event is repeated while sessions are shorter than sync.repeat
	repeatPause   = time.Minute // between two tries while the cloud refuses everything
	repeatRefused = 3           // refusals of one event in a row after which the queue goes on meanwhile

	// After a rate limit of the server.
	pauseMin    = time.Second
	pauseMax    = 60 * time.Second
	answerPause = 2 * time.Second // before an answer is tried again: its caller waits ten seconds in all

	// Questions after a sync (ask.go).
	askTogether  = 20      // entities in one uplink
	maxQuestions = 1 << 16 // entities to be asked about, as many as the registry has records
	askPause     = time.Second
	duplicateFor = 3 * time.Minute // after a question telemetry only comes back; another edge may hold it up for two (CONTRACT.md 6.1)

	// Calls (rpc.go).
	callMinimum  = 5 * time.Second // the server's least timeout: what a call gets while its clock is not known
	unroutedWait = 3 * time.Second // for the device of a call: the server looks for new events every second
	maxUnrouted  = 32              // calls that wait for their devices
	unroutedMost = 256 << 10       // bytes of them
	// Bytes of what goes beside the batches and is not acknowledged; the one that reaches it is
	// sent too. The rest waits in the table of calls.
	directBytes = 1 << 20

	// Texts of the cloud.
	maxText = 4 << 10 // bytes that are kept of a reason, and of an error

	// A cloud that refuses everything (outage.go).
	scoutsARound = 4    // events from behind the head that one round sends
	scoutsLooked = 4096 // events that one look for a scout reads
	maxScouted   = 64   // entities that a look passes over; then it begins at the head again

	// Dead letters (deadletters.go, dependents.go, dead_orders.go).
	dependentPause = 30 * time.Second      // between two looks while only dependents wait, whose creations are refused
	commitPause    = time.Second           // the same while they wait for a commit to be durable
	lastLegLook    = 50 * time.Millisecond // the same while nothing more is read (retry.go)
	lastLegMax     = 2 * time.Second       // for that
	lastLegPause   = 10 * time.Second      // between two such times
	refusedInARow  = 2                     // creations; then the next ones go to the dead letters without a try
	limitedBirths  = 2                     // rate limits in a row that a creation meets in the queue; then it goes there too
	orderPatience  = 3 * time.Second       // for the loop to take an order; a slow flash may hold it up

	// Room for data of devices whose creations are refused (room.go).
	roomReserve = 16      // this part of the room is kept for what is on its way when the room is used up
	roomLooked  = 1 << 16 // events of the backlog that are looked through at the start

	// Proofs of creations (proof.go).
	proofWait  = 250 * time.Millisecond // after the answer to a creation, for others, before a sync is asked for
	proofTimes = 10                     // what the last sync took, before the next one for proofs
	proofEach  = 100 * time.Millisecond // for each message of it, because a sync brings all devices
	proofMin   = time.Second            // at least, for that
	proofMax   = 60 * time.Second       // at most
	settleLook = 50 * time.Millisecond  // between two looks while what is proved waits for a durable commit
	silentMin  = 3 * time.Second        // between two tries of creations that are refused in silence: each costs a sync
	silentMax  = 10 * time.Minute

	// What status says of refused creations (refused_creations.go).
	namedCreations   = 8   // of which the name is kept
	createdNameBytes = 128 // of a name

	// Another edge (otheredge.go).
	movesApart  = 8         // of turnMoves: what one batch that is set apart counts
	apartEvents = 256       // of one batch
	apartBytes  = 256 << 10 // of one batch
	// Pending events that are looked through for creations at a change of the edge: a device made
	// here is known to stand at or before a Seq, which those of one group commit may share.
	creationsLooked = 4096
	returnPending   = 8192            // events that may wait in the queue while others return to it
	overflowPause   = 5 * time.Second // between two looks at what can return from the overflow
	maxEdgeName     = 200             // bytes of a name in the log

	// A replay (replay.go).
	replayPending = 256         // events that may wait in the queue while a group follows
	replayEvents  = 256         // of a group
	replayBytes   = 32 << 10    // of a group, and one event
	replayLooked  = 256 << 10   // bytes that one turn reads for it
	replaySaved   = 256 << 10   // bytes read before the position is written
	replayPause   = time.Second // between two looks while it waits

	// Quiet (quiet.go).
	quietFor    = 2 * time.Second  // after work, before memory is given back
	askGiveBack = 20 * time.Second // while much is asked about, memory is given back so often
	devicesStep = 1024             // by which the number of devices changes before it is reported again

	// The rest.
	flushEvery    = time.Minute      // what is staged in the registry and waits for nobody
	flushLatest   = time.Hour        // the same while the flash budget is short
	complainEvery = 30 * time.Second // the same complaint is logged at most this often
	stopTimeout   = 5 * time.Second  // for the acknowledgements due at a stop
	turnLimit     = 60 * time.Second // of one turn, before health is denied: a slow flash may hold it for seconds
	announceLimit = 5 * time.Second  // for a full or failing queue at the start
)
