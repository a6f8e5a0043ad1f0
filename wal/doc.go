// Package wal puts bytes on flash: a queue of events on github.com/tidwall/wal, a small durable map (Store) and the log of dead
// letters on it. It knows nothing of what the bytes mean.
//
// # Queue directory
//
//	00000000000000000001   segments of the library, each named after the offset of its first frame
//	00000000000000004093   (512 KiB by default; dropped whole, from the front)
//	committed              the committed position, two slots
//	reserve                room that is given back when a full medium would refuse the committed file
//	LOCK                   flock: one process a directory
//
// # Segment
//
// The library writes entry behind entry, each a length (uvarint) and that many bytes; the bytes are one frame of ours:
//
//	0        4      5        6      8        14        30
//	+--------+------+--------+------+--------+---------+----------------
//	| CRC32C | type | action | low  | time   | entity  | fragment …
//	+--------+------+--------+------+--------+---------+----------------
//	  over the      event's    of the  ms, 48   UUID
//	  offset and    action     offset  bits
//	  all behind it
//
// type is two bits of frame type (1 event, 2 control, 3 lost; 0 is never valid, so zeros are no frame) and six bits of the event's kind.
// With the length an event of less than 16 KiB costs at most 32 bytes beyond its fragment.
//
// The checksum covers the frame's 64-bit offset, which is not stored whole: what was written for another place does not pass. The low
// 16 bits are stored, so that reading can go on behind a damaged length: the next place where type, low bits and checksum agree is an
// intact frame, and its offset tells how many are missing. Offsets therefore never shift against the committed one.
//
// A control frame takes an offset but is no event. It holds, each as a uvarint: events accepted before it; the committed position (offset,
// events up to it) and how many of those were deployed, dropped, dead and damaged; how many events behind it thinning has removed; the
// thinning under way; the gap that no event has told of yet. One stands at the head of every segment, so that start-up needs the last
// segment only; one rides in each group commit after the committed position has moved, so that this costs no fsync of its own. Zeros
// behind the numbers of one that ends a segment count for nothing (pad.go).
//
// # Thinned segments
//
// The policy "thin" replaces two neighbouring segments by one that lacks every second event of each series (Options.Series). The frames
// that stay keep their offsets; where one intact frame follows another with a jump between their offsets, what lay between was removed
// on purpose, has been counted as dropped and told by a gap. The action byte of the segment's head counts how often it was thinned.
//
//	before   | c 1 2 3 4 |  | c 6 7 8 9 |          c control, always kept
//	after    | c 1   3   c 6   8 |                 first offset and name are those of the first segment
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
// The slots are written in turn. The newest of both slots and of the control frames in the last segment counts, if it lies within the
// log; if all are lost, everything that is still there is sent again. It is written after 5 s without an append, after each MiB
// acknowledged, before segments are dropped or thinned, and at Close. What was delivered behind the newest of them is delivered again after
// a crash: at most one window, and what was acknowledged since it was written.
//
// # Invariants
//
//   - Append returns nil after the fsync that covers its events, never before. With Options.Interval it returns after the write; readers,
//     and so the committed position, stay behind the fsync.
//   - accepted = deployed + pending + dropped + dead + damaged; accepted is the Seq of the end, pending that minus the committed Seq and
//     minus what thinning has removed between.
//   - Readers read the files, up to what is durable; only the holder of Queue.own calls the library.
//   - A group is accepted after every group in front of it. If one fails, so do all that were written behind it.
//   - After any error of a write the library's handle is given up, the files are cut back to the last acknowledged byte, and the log is
//     opened anew: an event that was refused never shows up later.
//   - Every drop is told by one event, made by Options.Record: a gap stays in the control frames until that event is in the log.
//   - Nothing grows with the backlog but a list of 24 bytes a segment. The library keeps copies of the tail (copy.go) and of the
//     segment before it in memory.
//
// # Flash
//
// A group commit is one write and one fsync. Options.FlashBudget is a token bucket: while it has tokens a commit is immediate; when
// they run short the group collects, at most Options.MaxDelay. What a commit costs is Options.CommitBytes, and a block of 4 KiB for each
// further one that it touches. Where the file system overwrites in place, the tail is filled with zeros beforehand while commits are
// small: a commit then costs half, because the journal stays as it is; for large ones its room is reserved (fill.go). A new segment costs
// the fsync of its directory, and one of the segment that is full, by the library; when others wait a group is made to end with its
// segment, so that this is its own (pad.go). With many writers the next group is written while the fsync of the one in front of it runs (pipeline.go).
//
// # Assumptions
//
// fsync returns after the data is on the medium, and fails if it is not. A sector of 512 bytes is written whole or not at all, or what
// the write changes in it reads as an error or garbage, which the checksum tells; what it leaves as it is stays. (Without that no file can
// be appended to safely, unless each commit takes sectors of its own; the committed file, whose slots do, needs it not.) Rename is atomic. After
// a power cut an unsynced tail may be missing, short, zero or garbage; a file that was created, renamed or deleted since the fsync of its
// directory may be there or not.
//
// # What a crash leaves, and what opening does
//
//	crash                                left behind                         opening
//	C1  before the group's write         nothing                             nothing
//	C2  in the write                     a torn last frame                   cuts it; nothing of it was acknowledged
//	C3  after the write, before fsync    all, part, zeros or garbage         cuts from the first frame that is not intact
//	    (of one group or of two)
//	C4  after fsync, before the answer   the events                          keeps them; devices send again: duplicates
//	C5  when a segment begins            an empty or missing new segment     goes on in the one that is there
//	C6  writing the committed file       one torn slot                       takes the other one, or a control frame
//	C7  dropping segments                some of them gone, from the front   goes on; the position was durable before
//	C8  rewriting a damaged tail         NAME.TEMP                           removes it and repairs again
//	C9  writing a thinned segment        NAME.TEMP or NAME.THIN              removes it: the intention was not durable yet
//	C10 after the intention              NAME.THIN, whole                    puts it in its place, removes the other segment
//	C11 after the rename                 the other segment, still there      removes it; until then readers use it, not its copy
//	C12 between a drop and its record    the gap, in a control               the next group tells it
//	C13 with an interval, before fsync   accepted events, or none of them    as C3: this is what "interval" may cost
//
// Old versions of the library's own truncation leave NAME.START; opening finishes or removes it.
//
// # Damage
//
//	in the last segment, before intact frames     each unreadable frame is replaced by one of type lost, the original goes to corrupt
//	at the end of the last segment                cut, kept in corrupt
//	in an older segment, or one missing           reading goes on at the next intact frame; counted as damaged when committed
//	beside events that thinning has removed       those count as damaged when passed, and as dropped once the queue is empty
//
// Repair, which a person calls, treats older segments as the last one, and puts lost frames where offsets are missing; a Reader counts
// both alike. Verify, Walk, Inspect and InspectDead only read, take no lock, and may be used while a process writes and drops.
//
// # Files
//
// queue.go is what callers use; committer.go and pipeline.go make groups durable; recover.go comes back after a failure; upkeep.go, quota.go
// and thin.go look after the files; frame.go, control.go and pad.go are the bytes; open.go and repair.go the way back; reader.go the way out;
// budget.go the flash; store*.go and dead*.go the map and the letters; walk.go, verify.go, mend.go and look.go what a person does from outside.
package wal
