// Package wal puts bytes on flash: a queue of events on github.com/tidwall/wal, a small durable map (Store) and the log of dead
// letters on it. It knows nothing of what the bytes mean.
//
// # Queue directory
//
//	00000000000000000001   segments of the library, each named after the offset of its first frame
//	00000000000000004093   (512 KiB by default; dropped whole, from the front)
//	committed              the committed position, two slots
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
// A control frame takes an offset but is no event. It holds: events accepted before it, the committed position (offset, events up to
// it), and how many of those were deployed, dropped, dead and damaged. One stands at the head of every segment, so that start-up needs
// the last segment only; one rides in each group commit after the committed position has moved, so that this costs no fsync of its own.
//
// # Committed file
//
//	0                                  4096
//	+----------------------------------+----------------------------------+
//	| magic CRC32C generation control  | magic CRC32C generation control  |
//	+----------------------------------+----------------------------------+
//
// The slots are written in turn. The newest of both slots and of the control frames in the last segment counts, if it lies within the
// log; if all are lost, everything that is still there is sent again. It is written after 5 s without an append, after each MiB
// acknowledged, when a segment is dropped, and at Close. What was delivered behind the newest of them is delivered
// again after a crash: at most one window, and what was acknowledged since it was written.
//
// # Invariants
//
//   - Append returns nil after the fsync that covers its events, never before.
//   - accepted = deployed + pending + dropped + dead + damaged; accepted is the Seq of the end, pending that minus the committed Seq.
//   - Readers read the files, up to what is durable; only the committer's goroutine calls the library.
//   - After any error of a write the library's handle is given up, the files are cut back to the last acknowledged byte, and the log is
//     opened anew: an event that was refused never shows up later.
//   - Nothing grows with the backlog but a list of 16 bytes a segment.
//
// # Assumptions
//
// fsync returns after the data is on the medium, and fails if it is not. A sector of 512 bytes is written whole or not at all, or it
// reads as an error or garbage, which the checksum tells. Rename is atomic. After a power cut an unsynced tail may be missing, short,
// zero or garbage.
//
// # What a crash leaves, and what opening does
//
//	crash                               left behind                         opening
//	C1 before the group's write         nothing                             nothing
//	C2 in the write                     a torn last frame                   cuts it; nothing of it was acknowledged
//	C3 after the write, before fsync    all, part, zeros or garbage         cuts from the first frame that is not intact
//	C4 after fsync, before the answer   the events                          keeps them; devices send again: duplicates
//	C5 when a segment begins            an empty or missing new segment     goes on in the one that is there
//	C6 writing the committed file       one torn slot                       takes the other one, or a control frame
//	C7 dropping segments                NAME.TEMP, or NAME.START            removes the first; the library finishes the second
//	C8 rewriting a damaged tail         NAME.TEMP                           removes it and repairs again
//
// # Damage
//
//	in the last segment, before intact frames     each unreadable frame is replaced by one of type lost, the original goes to corrupt
//	at the end of the last segment                cut, kept in corrupt
//	in an older segment, or one missing           reading goes on at the next intact frame; counted as damaged when committed
package wal
