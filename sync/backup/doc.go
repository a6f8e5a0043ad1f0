// Package backup writes the state in a data directory to an archive, and reads such an archive
// back.
//
//	data_dir ──(hold)── list, open ──(go on)── tar, gzip ──> FILE
//	FILE ──> data_dir/incoming.TEMP ──disk.Exchange──> data_dir
//
// # One moment
//
// A copy is of one moment. While the holder of the directory holds still (Hold), every file is
// opened, and what is written in place is read: the newest segment of each queue, and the committed
// position. All else only grows, is replaced by another file, or is deleted, and so what was opened
// stays as it was for whoever reads it up to its length of that moment. The hold lasts some
// milliseconds, however large the queue is; packing comes after it.
//
// # Archive
//
// A tar (ustar) in gzip. The first file, "edgesync-backup", says what the archive is:
//
//	edgesync backup 1
//	format 1                        of the data directory (disk.Format)
//	time 2026-11-30T08:00:00Z
//	queue yes                       or no: without events, and what belongs to them
//
// Then come regular files with their paths below data_dir.
//
// # Trust
//
// An archive is as hostile as any file: names are plain and below the names of disk.State, each
// comes once, sizes and number are bounded by the caller's limit and maxFiles, and nothing but
// regular files is taken. What the files hold is checked by who opens them. The archive holds
// tokens and passwords of devices and users: it gets mode 0600.
package backup
