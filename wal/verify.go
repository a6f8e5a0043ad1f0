package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"edgesync/wal/disk"
)

// Checked is what Verify has read.
type Checked struct {
	Segments, Frames, Events, Damages int
	Lost                              int // frames that repair marked as lost
	Thinned                           uint64
	Bytes                             int64
}

// Verify reads every frame of every segment, and the committed file, and reports each damage.
// Nothing is changed; a process may hold the directory. Frames that repair marked as lost are
// intact, and counted. An error means that the directory cannot be read.
func Verify(dir string, report func(damage *CorruptError)) (c Checked, err error) {
	complain := func(damage *CorruptError) {
		c.Damages++
		report(damage)
	}
	known, _, _ := readCommitted(dir) // before the segments: it only grows
	committed, damaged := committedDamage(dir)
	for _, text := range damaged {
		complain(&CorruptError{Segment: committedName, Err: errors.New(text)})
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return c, err
	}
	for _, e := range entries {
		number, suffix := e.Name()[:min(20, len(e.Name()))], e.Name()[min(20, len(e.Name())):]
		if _, ok := segmentFirst(number); digits(number) && suffix == "" && (!ok || !e.Type().IsRegular()) {
			complain(&CorruptError{
				Segment: e.Name(), Err: errors.New(e.Name() + " has the name of a segment and is none"),
			})
		}
	}
	var first, begin, end, seq uint64 // of the segment; of all; events accepted up to end
	sure, file := false, ""
	err = Walk(dir, 1, func(r *Record) bool {
		if r.File != file {
			file = r.File
			first, _ = segmentFirst(file)
			c.Segments++
		}
		if begin == 0 {
			begin, sure = r.Offset, r.Offset == 1
		}
		c.Bytes += r.Bytes
		switch r.Found {
		case FoundTorn:
			complain(r.Corrupt())
		case FoundDamage, FoundMissing:
			complain(r.Corrupt())
			if r.Last >= r.Offset {
				seq += lostEvents(first, r.Offset, r.Last)
			}
		case FoundLost:
			c.Lost++
			c.Frames++
			seq += lostEvents(first, r.Offset, r.Last)
		case FoundThinned:
			c.Thinned += r.Last + 1 - r.Offset
			seq += r.Last + 1 - r.Offset
		case FoundEvent:
			c.Events++
			c.Frames++
			seq++
		default:
			c.Frames++
			seq, sure = r.Control.Accepted, true
		}
		end = max(end, r.Last)
		return true
	})
	if err != nil {
		return c, err
	}
	if last, ok := lastSegment(dir); ok {
		end = max(end, last-1)
	}
	switch st, inspectErr := Inspect(dir); {
	case committed > end:
		complain(&CorruptError{Offset: end + 1, Err: fmt.Errorf(
			"the end of the queue is missing: the committed file goes up to offset %d, the segments to %d",
			committed, end)})
	case sure && known.seq > seq:
		complain(&CorruptError{Offset: end + 1, Err: fmt.Errorf(
			"%d events at the end of the queue are missing: "+
				"the committed file counts %d that were accepted, the segments %d",
			known.seq-seq, known.seq, seq)})
	case inspectErr == nil && begin > st.Committed+1:
		complain(&CorruptError{Offset: st.Committed + 1, Err: fmt.Errorf(
			"offsets %d to %d are missing in front of the first segment, and the cloud has not acknowledged them",
			st.Committed+1, begin-1)})
	}
	return c, nil
}

func lastSegment(dir string) (first uint64, ok bool) {
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) == 0 {
		return 0, false
	}
	return firsts[len(firsts)-1], true
}

// committedDamage reads the committed file: the offset that it holds, and what is wrong with it. An
// empty slot was never written.
func committedDamage(dir string) (offset uint64, damages []string) {
	for range walkTries { // an agent may be writing it
		var b []byte
		var err error
		damages = damages[:0]
		path := filepath.Join(dir, committedName)
		if i, statErr := os.Lstat(path); statErr == nil && !i.Mode().IsRegular() {
			return 0, []string{"the committed file is no regular file"}
		}
		b, err = disk.Read(path, slotDistance+slotSize)
		if errors.Is(err, fs.ErrNotExist) {
			if _, any := lastSegment(dir); any {
				damages = append(damages, "the committed file is missing; the control frames in the segments count")
			}
			return 0, damages
		}
		if err != nil {
			return 0, append(damages, "the committed file cannot be read: "+err.Error())
		}
		for i, at := range [...]int{0, slotDistance} {
			slot := b[min(at, len(b)):min(at+slotSize, len(b))]
			if _, c, ok := parseSlot(slot); ok {
				offset = max(offset, c.committed.Offset)
			} else if len(bytes.Trim(slot, "\x00")) > 0 {
				damages = append(damages,
					"the committed file at "+strconv.Itoa(at)+": slot "+strconv.Itoa(i)+" is damaged")
			}
		}
		if len(damages) == 0 {
			break
		}
		time.Sleep(walkPause)
	}
	return offset, damages
}
