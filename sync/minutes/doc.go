// Package minutes remembers what the agent did in each minute of the last day: how many events
// waited, came and left, how old the oldest was, how much of the room was used, and whether there
// was a link.
//
//	snapshot ──Take, every 10 s──> Log ──Append──> GET /api/edgesync/history
//	                                │
//	                                └──> data_dir/minutes
//
// # Times
//
// Within a life minutes are counted by the monotonic clock and dated when they are read, so that a
// clock that is set later dates them rightly. Minutes of earlier lives keep the date that they were
// written with.
//
// # When it is written
//
// The file is appended to at a stop, and once an hour at most, in a minute in which the queue has
// written anyway. Nothing is synced for it: the file system writes it along with what follows. A
// power cut costs the minutes since, and nothing else.
//
// # Format
//
// The file "minutes" in data_dir:
//
//	edgesync minutes 1 LF
//	frame*
//	frame    length of payload u16 LE, CRC-32 (IEEE) of payload u32 LE, payload
//	payload  uvarint of the first minute since the Unix epoch, then the minutes
//	minute   byte seen<<4 | up; unless that is 0: uvarints of backlog, in, out, latency, room
//
// Later frames win where minutes overlap. What does not parse ends the file, and the next write
// replaces it; so does one that would make it larger than maxFile.
//
// # Bounds
//
// A day: 1,440 minutes of 20 bytes. A file of more than 64 KiB is not read.
package minutes
