// Package clock dates events on machines whose own clock may be wrong when they start: a board
// without a battery begins in 1970 or where it stopped, and gets the time later, by NTP or from the
// cloud.
//
//	Stamp ──> queue ──> Date ──> batch      the time of an event now; its date once that is known
//	Update, ObserveCloud, AcceptEstimate    called by the loop: look at the machine's clock, take
//	                                        the cloud's time, wait no longer
//
// The machine's clock is believed when it shows a time that is neither before this binary was built
// nor before the last time seen in this data directory. While it is not believed, events get the
// time since the machine's start as a mark (proto.Undated). Their dates follow from the time of
// that start:
//
//	Unknown   only an estimate is known: this start was after the one before it, and not before
//	          the last time seen
//	System    the machine's clock is right
//	Cloud     the machine's clock is wrong, and the cloud's serves
//
// # The file "clock"
//
//	edgesync clock 1
//	seen 1767225600000                  newest time that was believed, ms since the epoch
//	boot 6f1c… 4711 1767225590000 =     a start of the machine without a clock: its name, the
//	                                    offset of its first frame, its time, how that is known
//
// "=" is exact, "~" is an estimate in use, "?" is an estimate that may still become exact. At most
// maxBoots starts are remembered. The file is written once an hour, at the end, and before an event
// that it dates is sent, so that the event has the same date when it is sent again.
//
// # Invariants
//
//   - The date of an event never changes once Date has said that it is known.
//   - The dates of two starts are in the order of the starts.
//   - What cannot be written is logged once and relied on all the same: a medium that takes nothing
//     holds up no event.
//   - No clock is believed that shows a time before 2026.
//
// Limits: slack is what NTP may set a clock back; cloudSlack is how late a message of the cloud may
// come (CONTRACT.md 6.1); Patience is how long events without a time wait after the first
// connection.
package clock
