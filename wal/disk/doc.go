// Package disk holds what every package does with files and directories, so that there is one way
// to do it: what is durable, bounded and locked is so in the same manner everywhere.
//
//	Replace, ReplaceFunc  new content: write NAME.TEMP, fsync, rename, fsync of the directory
//	SyncDir               names become durable; a file system without such an fsync is no error
//	Read, ReadRegular     a file is never read beyond a limit; ReadBounded takes a pipe too
//	Salvage, Worn         what a worn medium still gives back
//	Keep, SetAside        damaged bytes go to corrupt/ for people: 8 files, 4 MiB
//	MakeWay, Open         what is of the wrong type (a pipe where a file should be) goes there too
//	Lock                  one process a directory (file LOCK)
//	Free                  what may still be written, as the kernel estimates it
//	DataDir               the agent's directory: its lock (file lock), the quota kept in max_bytes
//	Format, CheckFormat   the version of what lies there; a newer one is left alone
//	State, Exchange       all of an agent's state, replaced as a whole
//	Meter                 accounts for what is written, by whoever writes
//	Ops, System           the operations by which a queue changes its medium; tests fake them
//
// # Invariants
//
//   - After a crash a replaced file has its old content or its new one. After nil it has the new
//     one.
//   - Nothing here retries or waits. An error is the operating system's, wrapped.
//   - Nothing goes by a file's time, which is wrong after 2038 on some file systems and before the
//     clock is set.
//   - corrupt/ never hinders a repair: what cannot be kept there is logged.
//   - No open waits: a pipe in a data directory is no file (Open). Only ReadBounded, which the
//     configuration is read with, takes one.
//
// Package powercut below works out, for tests, what a power cut may leave of a directory.
package disk
