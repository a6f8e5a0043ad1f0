// Package share divides memory among senders, or readers, that may be slow or hostile. It owns no
// memory: it counts the bytes that others hold for a transfer, and says who has to give way.
//
//	Open ── Grow ── Moved … Grow ── Moved ──┬── Ours ── Close
//	        bytes that are held             │  the far end has done its part: no eviction
//	                                        └── evicted: the transfer is ended by its cut
//
// # Invariants
//
//   - The bytes held never exceed the budget, but for what an evicted transfer frees in a moment.
//   - A pass takes bytes for what has moved, not for what was announced.
//   - Nobody waits behind somebody who does not go on. When bytes run short, these give way, in
//     this order: a transfer that is slower than Rate; the youngest of an owner that has several;
//     and for the oldest transfer of all, the youngest.
//   - Who finds nobody to give way waits, at most Patience in all, and then gets ErrFull. The
//     time of waiting, and that in which we are the reason, do not count against a transfer.
//   - Work that takes megabytes while it lasts, and no longer, is done one after the other, in a
//     Lane.
package share
