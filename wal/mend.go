package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"edgesync/wal/disk"
)

// mostMissing bounds the offsets in a row for which Repair makes lost frames: 31 bytes each.
const mostMissing = 1 << 16

// Repair does what opening does to a directory, and reads the older segments too: what is
// unreadable there is marked as lost, as opening does in the last one, so that Verify finds the
// directory intact afterwards. What was cut or replaced is kept in corrupt, bounded; everything
// done is logged. Calling it again changes nothing. disk.ErrLocked means that another process holds
// the directory.
func Repair(dir, corrupt string, log *slog.Logger) (err error) {
	if _, err := os.Stat(dir); err != nil {
		return err // and do not make one
	}
	lock, err := lockQueue(dir, corrupt, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	c, generation, ok := readCommitted(dir)
	t, err := repair(disk.System{}, dir, corrupt, c.thin, log)
	if err != nil {
		return err
	}
	_, damages := committedDamage(dir)
	p := standingOf(dir, t, c, ok, c.committed.Offset)
	if p.end.Offset > t.last {
		log.Error("the end of the queue is missing; its offsets are not used again",
			"last", t.last, "known", p.end.Offset)
		if err := disk.Replace(filepath.Join(dir, segmentName(p.end.Offset+1)), nil); err != nil {
			return err
		}
	}
	firsts, err := listSegments(dir)
	if err != nil {
		return err
	}
	if from := p.committed.Offset + 1; len(firsts) > 0 && firsts[0] > from {
		log.Error("the front of the queue is missing, marked as lost", "from", from, "to", firsts[0]-1)
		if err := mendFront(dir, from, firsts[0]); err != nil {
			return err
		}
	}
	for i := range len(firsts) - 1 {
		if err := mend(dir, corrupt, firsts[i], firsts[i+1], log); err != nil {
			return fmt.Errorf("repair of segment %s: %w", segmentName(firsts[i]), err)
		}
	}
	if err := mendEnd(dir, corrupt, c.thin, p.end.Seq, log); err != nil {
		return err
	}
	if len(damages) == 0 {
		return nil
	}
	for _, d := range damages {
		log.Warn("writing the committed file anew", "because", d, "committed", p.committed.Offset)
	}
	return rewriteCommitted(dir, corrupt, generation,
		control{seq: p.end.Seq, committed: p.committed, counters: p.counters, ahead: p.ahead, gap: p.gap})
}

// mend replaces what is unreadable in a segment that is not the last, and what is missing behind it
// up to limit, by lost frames. Counts do not change by that: a Reader counts a lost frame as it
// counts an unreadable one. A segment that the medium refuses to read is left, because it may come
// back.
func mend(dir, corrupt string, first, limit uint64, log *slog.Logger) error {
	path := filepath.Join(dir, segmentName(first))
	data, err := disk.Read(path, tailBytes)
	if disk.Worn(err) || errors.Is(err, fs.ErrPermission) {
		log.Error("a segment cannot be read and is left as it is", "file", path, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	out := make([]byte, 0, len(data))
	offset, pos, whole := first, 0, true
	for pos < len(data) && offset < limit {
		_, at, n, bad := follow(data[pos:], offset, limit)
		if !bad {
			out = append(out, data[pos:pos+n]...)
			offset, pos = at+1, pos+n
			continue
		}
		jump, found, ok := resync(data[pos:], offset+1, min(limit, offset+mostMissing))
		if !ok {
			break
		}
		log.Error("unreadable events in an older segment, marked as lost",
			"file", path, "position", pos, "bytes", jump, "offsets", found-offset)
		whole = false
		for ; offset < found; offset++ {
			out = appendLost(out, offset)
		}
		pos += jump
	}
	if missing := limit - offset; missing > mostMissing {
		log.Error("a segment does not join the next one and is left as it is",
			"file", path, "last", offset-1, "next", limit)
		return nil
	} else if missing > 0 {
		log.Error("the end of an older segment is missing, marked as lost",
			"file", path, "position", pos, "bytes", len(data)-pos, "offsets", missing)
		whole = false
	} else if pos < len(data) {
		log.Warn("cutting bytes behind the last event of an older segment",
			"file", path, "position", pos, "bytes", len(data)-pos)
		whole = false
	}
	if whole {
		return nil
	}
	for ; offset < limit; offset++ {
		out = appendLost(out, offset)
	}
	disk.Keep(corrupt, segmentName(first)+".damaged", data, log)
	return disk.Replace(path, out)
}

// mendFront makes a segment of lost frames where one is gone.
func mendFront(dir string, from, limit uint64) error {
	from = max(from, limit-min(limit, mostMissing)) // the rest stays missing; reading passes over it
	var out []byte
	for o := from; o < limit; o++ {
		out = appendLost(out, o)
	}
	return disk.Replace(filepath.Join(dir, segmentName(from)), out)
}

// mendEnd appends lost frames for events that are known to have been accepted and of which nothing
// is there.
func mendEnd(dir, corrupt string, thin thinning, seq uint64, log *slog.Logger) error {
	t, err := repair(disk.System{}, dir, corrupt, thin, log)
	if err != nil || t.seq >= seq || !t.seqSure {
		return err
	}
	log.Error("events at the end of the queue are missing, marked as lost", "events", seq-t.seq)
	path := filepath.Join(dir, segmentName(t.first))
	data, err := disk.Read(path, tailBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := 0; t.seq < seq && n < mostMissing; n++ {
		data = appendLost(data, t.last+1)
		t.add(frame(data[len(data)-headerSize:]))
	}
	return disk.Replace(path, data)
}

// rewriteCommitted writes c into both slots.
func rewriteCommitted(dir, corrupt string, generation uint64, c control) error {
	f, err := openCommitted(dir, corrupt, generation)
	if err != nil {
		return err
	}
	for range 2 {
		err = errors.Join(err, f.write(&c, disk.System{}))
	}
	return errors.Join(err, f.close(), disk.SyncDir(dir))
}
