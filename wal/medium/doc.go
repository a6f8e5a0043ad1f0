// Package medium asks the kernel for the medium under a directory: which file system and device it
// is, whether a power cut empties it, how much room is left, and what a commit costs.
//
//	/proc/self/mountinfo ──▶ mount ──▶ device in /sys ──▶ name, RAM disk, counter of sectors
//	      statfs(2) ──▶ kind, room, read-only               │
//	      five small commits in the directory ──────────────┴──▶ bytes a commit
//
// Read only looks, and may be called for each status page. Probe measures too, and writes 660
// bytes: the agent calls it once, at start. An overlay leads to the device of its upper directory.
// What the kernel does not say leaves its field empty; a cost that cannot be measured is estimated
// from the flash's page size, or AssumedCommit. Of an overlay whose upper directory cannot be seen,
// as in a jail, a file tells whether it is raw flash: JFFS2 and UBIFS know no fallocate.
//
// The functions have no state and may be called from any goroutine.
package medium
