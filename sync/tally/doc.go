// Package tally remembers over a restart what the counters of the queue do not tell: what was given
// up, for which reason, and when; what a person has seen of it; and what the medium has written
// over the life of a data directory.
//
// # When it is written
//
// The file "tally" in data_dir is written at a stop, when a person has seen the losses (Seen), and
// with the first loss of an hour, which has cost a segment or a person's order anyway, and with
// each 8 MiB that the medium has worn. Nothing is written on a schedule. A crash forgets what came
// since: the events are counted all the same, under no reason (Unrecorded).
//
// # Format
//
// Text, a fact a line, numbers in decimal, times in milliseconds since the Unix epoch, 0 = unknown:
//
//	edgesync tally 1
//	loss REASON TOTAL EVENTS FROM TO SINCE UNTIL     at most one for each reason
//	damaged SEEN
//	flash WRITTEN WORN SINCE
//
// A line that does not parse ends the file; what stands before it counts.
//
// # Bounds
//
// One loss for each of five reasons. A file of more than maxFile bytes is not read.
package tally
