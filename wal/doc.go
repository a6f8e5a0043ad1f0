// Package wal puts events on flash: a queue on github.com/tidwall/wal (Queue), and the log of the
// events that the cloud refuses (DeadLog). It knows nothing of what the bytes mean.
//
// Three packages below know neither the queue nor the dead letters: wal/disk is files and
// directories, wal/medium what the kernel says of the medium, wal/store the small durable map that
// DeadLog and the registry lie in.
//
// Where the formats of a data directory are described: queue/ here; dead/ in dead.go and
// wal/store/doc.go; registry/ in sync/registry/doc.go; former/ and overflow/, whose events
// are a queue of this package, in sync/former/doc.go; clock in sync/clock/doc.go.
//
// # Queue directory
//
//	00000000000000000001   segments of the library, each named after the offset of its first frame
//	00000000000000004093   (an eighth of Options.MaxBytes, at least 64 KiB and at most 512 KiB by
//	                       default; dropped whole, from the front)
//	committed              the committed position, two slots
//	reserve                room that is given back when a full medium refuses the committed
//	                       file, or to cut what was refused; until it is there again no events
//	                       are taken. It is not made of what Options.Floor leaves free, and
//	                       events end there as at the quota (measure)
//	LOCK                   flock: one process a directory
//
// # Segment
//
// The library writes entry behind entry, each a length (uvarint) and that many bytes. The bytes are
// one frame:
//
//	0        4      5        6      8        14        30
//	+--------+------+--------+------+--------+---------+----------------
//	| CRC32C | type | action | low  | time   | entity  | fragment …
//	+--------+------+--------+------+--------+---------+----------------
//	  over the      event's    of the  ms, 48   UUID
//	  offset and    action     offset  bits
//	  all behind it
//
// type is two bits of frame type (1 event, 2 control, 3 lost; 0 is never valid, so zeros are no
// frame) and six bits of the event's kind. The high bit of an event's action marks a copy
// (Event.Again). With its length an event of less than 16 KiB costs at
// most 32 bytes beyond its fragment.
//
// The checksum covers the frame's 64-bit offset, which is not stored whole: a frame that was
// written for another offset does not pass. The low 16 bits are stored, so that reading can go on
// behind a damaged length: the next position where type, low bits and checksum agree is an intact
// frame, and its offset says how many are missing. So offsets never shift against the committed
// one.
//
// A control frame takes an offset and is no event. It holds, each as a uvarint: the events accepted
// before it; the committed position (offset, events up to it) and how many of those were deployed,
// dropped, dead and damaged; how many events behind it thinning has removed; the thinning under
// way; the gap that no event reports yet; if it is not 0, how far in front of the committed
// position Queue.Keep reaches. One stands at the head of every segment, so that start-up needs the
// last segment only. One rides in each group commit after the committed position has
// moved, so that this costs no fsync of its own. Zeros behind the numbers of the one that ends a
// segment are padding (pad.go).
//
// # Thinned segments
//
// The policy "thin" replaces two neighbouring segments by one that lacks every second event of each
// series (Options.Series). The frames that stay keep their offsets. Where one intact frame follows
// another with a jump between their offsets, the frames between were removed on purpose, counted as
// dropped and reported by a gap. The action byte of the segment's head counts how often it was
// thinned.
//
//	before   | c 1 2 3 4 |  | c 6 7 8 9 |          c control, always kept
//	after    | c 1   3   c 6   8 |                 first offset and name: the first segment's
//
// Neither the tail nor what the reader has reached is thinned.
//
// # Committed file
//
//	0                                          4096
//	+------------------------------------------+------------------------------------------+
//	| magic CRC32C generation length control   | magic CRC32C generation length control   |
//	+------------------------------------------+------------------------------------------+
//
// The slots are written in turn. Of both slots and the control frames in the last segment the
// newest counts, if it lies within the log. If all are lost, everything that is still there is sent
// again. The file is written after 5 s without an append, after each MiB acknowledged, when Settle
// asks for it, before segments are dropped or thinned, and at Close. What was delivered behind the
// newest of them is delivered again after a crash: at most one window, and what was acknowledged
// since the file was written.
//
// # Invariants
//
//   - Append returns nil after the fsync that covers its events, never before. With
//     Options.Interval it returns after the write. Readers, and so the committed position, stay
//     behind the fsync.
//   - accepted = deployed + pending + dropped + dead + damaged. accepted is the Seq of the end;
//     pending is that minus the committed Seq and minus what thinning has removed between.
//   - Readers read the files, up to what is durable. Only the holder of Queue.own calls the
//     library.
//   - A group is accepted after every group in front of it. If one fails, so do all behind it.
//   - After any error of a write the library's handle is given up, the files are cut back to the
//     last acknowledged byte, and the log is opened anew: an event that was refused never shows up
//     later.
//   - Every drop is reported by one event, made by Options.Record: a gap stays in the control
//     frames until that event is in the log.
//   - Committed segments are deleted within a second or so, but for those that Queue.Keep,
//     Queue.Pin or Options.KeepBytes ask for: these stay until the quota, max_age or a full medium
//     needs their room. They give way before anything that is pending.
//   - Nothing grows with the backlog but a list of 24 bytes a segment. The library keeps a copy of
//     the tail in memory.
//
// # Locks
//
// A goroutine that holds a lock takes only locks that stand below it in the table. Queue.mu is held
// during no call to the medium, but for the heads of segments that thinning sees for the first
// time.
//
//	lock           guards                                  held by
//	Queue.own      the library, the files                  committer, or the Append that leads a
//	                                                       commit
//	oldest.mu      the time of the oldest pending event    Stats
//	Queue.mu       counters, positions, list of segments   everybody, briefly
//	slowSyncs.mu   counts of slow fsyncs                   whoever waited for an fsync; Stats
//	budget.mu      the tokens                              whoever wrote; Spare
//	ledger.mu      the account of the day                  whoever wrote; Stats
//	DeadLog.mu     the dead letters                        its callers; before the store's own
//
// # Flash
//
// A group commit is one write and one fsync. Options.FlashBudget is a token bucket: while it has
// tokens a commit is immediate; when they run short the group collects, at most Options.MaxDelay. A
// commit costs Options.CommitBytes, and a block of 4 KiB for each further one that it touches.
// Whoever writes beside the queue says so to Queue.Meter: the account of the day has it, and it
// takes tokens as a commit does. What there are no tokens for is owed, at most a day's budget, and
// commits wait until it is paid. What nobody waits for asks Queue.Spare before, and so leaves half
// of the bucket to others. The day costs more than the budget only by the commits that
// Options.MaxDelay forces out: their debt is bounded by the bucket.
//
// Where the file system overwrites in place, the tail is filled with zeros beforehand while commits
// are small: a commit then costs half, because the journal stays as it is. For large commits the
// room is reserved (fill.go). A new segment costs the fsync of its directory, and one of the
// segment that is full, by the library. When others wait, a group is made to end with its segment,
// so that the library's fsync is its own (pad.go). With many writers the next group is written
// while the fsync of the one in front of it runs (pipeline.go).
//
// # Assumptions
//
// fsync returns after the data is on the medium, and fails if it is not. A sector of 512 bytes is
// written whole or not at all, or what the write changes in it reads as an error or as garbage,
// which the checksum finds; what the write leaves as it is stays. Without that no file can be
// appended to safely, unless each commit takes sectors of its own; the committed file, whose slots
// do, does not rely on it. Rename is atomic. After a power cut an unsynced tail may be missing,
// short, zero or garbage. A file that was created, renamed or deleted since the fsync of its
// directory may be there or not.
//
// # What a crash leaves, and what opening does
//
//	     crash                       left behind               opening
//	C1   before the group's write    nothing                   nothing
//	C2   in the write                a torn last frame         cuts it; nothing of it was
//	                                                           acknowledged
//	C3   after the write, before     all, part, zeros or       cuts from the first frame that is
//	     fsync (of one group or of   garbage                   not intact
//	     two)
//	C4   after fsync, before the     the events                keeps them; devices send again:
//	     answer                                                duplicates
//	C5   when a segment begins       an empty or missing new   goes on in the one that is there
//	                                 segment
//	C6   writing the committed file  one torn slot             takes the other one, or a control
//	                                                           frame
//	C7   dropping segments           some of them gone, from   goes on; the position was durable
//	                                 the front                 before
//	C8   rewriting a damaged tail    NAME.TEMP                 removes it and repairs again
//	C9   writing a thinned segment   NAME.TEMP or NAME.THIN    removes it: the intention was not
//	                                                           durable yet
//	C10  after the intention         NAME.THIN, whole          renames it, removes the other
//	                                                           segment
//	C11  after the rename            the other segment, still  removes it; until then readers use
//	                                 there                     it, not its copy
//	C12  between a drop and its      the gap, in a control     the next group reports it
//	     record                      frame
//	C13  with an interval, before    accepted events, or none  as C3: this is what "interval" may
//	     fsync                       of them                   cost
//
// Old versions of the library's own truncation leave NAME.START; opening finishes or removes it.
//
// # Damage
//
//	in the last segment, before intact frames   each unreadable frame becomes one of type lost;
//	                                            the original goes to corrupt
//	at the end of the last segment              cut, kept in corrupt
//	in an older segment, or one missing         reading goes on at the next intact frame;
//	                                            counted as damaged when committed
//	beside events that thinning has removed     those count as damaged when passed, and as
//	                                            dropped once the queue is empty
//	the committed file, segments in front       what is missing behind the newest position that
//	                                            a control frame knows is damaged, never deployed
//	every segment                               counting goes on from the committed file
//	a name of the queue's for what is no file   goes to corrupt (disk.MakeWay); the file counts as
//	                                            missing
//
// Repair, which a person calls, treats older segments as the last one, and puts lost frames where
// offsets are missing; a Reader counts both alike. Verify reports each damage as a CorruptError.
// Verify, Walk, Inspect and InspectDead only read, take no lock, and may be used while a process
// writes and drops.
//
// # Dead letters
//
// A DeadLog holds at most maxBytes and MaxDeadLetters. Its room has three shares (DeadClass): 1/16
// for what can never be sent, 7/16 for what was refused, 8/16 for refused creations and what waits
// behind them. What can never be sent stays within its share and gives way first. Each of the two
// others may use what is free, and loses nothing of its share to the other. What waits behind a
// refused creation is of its class, not pinned, and has no reason and no tries; older releases
// wrote a reason and one try. PutAll writes many dead letters in one batch. Kind, action, entity
// and tries of each are in memory, so that who looks for the next one to send reads only that one.
//
// # Files
//
//	queue.go, stats.go          what callers use
//	committer.go, pipeline.go   groups become durable
//	recover.go                  the way back after a failure
//	upkeep.go, quota.go,        the files between groups
//	thin.go, sieve.go, fill.go
//	frame.go, control.go,       the bytes
//	pad.go, committed.go
//	open.go, standing.go,       the way in after a stop
//	repair.go
//	reader.go, keep.go          the way out, and once more
//	budget.go, slow.go          the flash: what is spent, and how long it takes
//	dead*.go                    the dead letters
//	walk.go, verify.go,         what a person does from outside
//	mend.go, look.go
package wal
