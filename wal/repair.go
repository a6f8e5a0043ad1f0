package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"edgesync/wal/disk"
)

// tailBytes bounds what is read of the last segment: a segment overshoots its size by at most one
// frame.
const tailBytes = 64 << 20

// tail is what repair found in the last segment. That is all that is read at start, however long
// the backlog.
type tail struct {
	first   uint64 // offset of its first frame; 1 if there is no segment at all
	last    uint64 // offset of its last frame; first-1 if it is empty
	bytes   int64
	seq     uint64 // events accepted up to last
	seqSure bool   // seq is from a control frame; else it counts from 0 at first
	guessed bool   // lost frames follow that control frame, each counted as an event
	newest  control
	found   bool  // newest holds something
	time    int64 // of the last frame that has one
}

// repair makes dir a log that the library opens. Left-over temporary files go; a tail that is torn,
// zeroed or garbage is cut; unreadable frames between readable ones become lost frames one by one,
// so that offsets never shift against the committed one. Cut bytes and damaged files are kept in
// corrupt. ops cuts; all else is done on the medium itself. It reads the last segment only. Calling
// it again changes nothing.
func repair(ops disk.Ops, dir, corrupt string, thin thinning, log *slog.Logger) (tail, error) {
	if err := resumeThinning(disk.System{}, dir, thin, log); err != nil {
		return tail{}, err
	}
	firsts, err := tidy(dir, corrupt, log)
	if err != nil {
		return tail{}, err
	}
	if len(firsts) == 0 {
		return tail{first: 1, seqSure: true}, nil
	}
	first := firsts[len(firsts)-1]
	t, err := repairTail(ops, dir, corrupt, first, log)
	if err != nil {
		return t, fmt.Errorf("repair of segment %s: %w", segmentName(first), err)
	}
	t.countBefore(dir, firsts)
	return t, nil
}

// tidy leaves only what the library may see: segments under their names. It returns their first
// offsets, sorted.
//
// A TEMP file was not finished. A START file is the library's copy of the end of a segment, made to
// replace it: while that segment is still there the copy is not needed, and when it is gone the
// copy takes its name. What the library would take for a segment but is none (a directory, a link,
// an END file, a number beyond any offset) is set aside, and so is what stands where another file
// of the queue belongs.
func tidy(dir, corrupt string, log *slog.Logger) ([]uint64, error) {
	for _, name := range [...]string{committedName, reserveName} {
		if err := disk.MakeWay(filepath.Join(dir, name), disk.File, corrupt, log); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts, starts []uint64
	changed := false
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(dir, name)
		number, suffix := name[:min(20, len(name))], name[min(20, len(name)):]
		first, ok := segmentFirst(number)
		switch regular := e.Type().IsRegular(); {
		case suffix == "" && ok && regular:
			firsts = append(firsts, first)
		case suffix == ".START" && ok && regular:
			starts = append(starts, first)
		case (strings.HasSuffix(name, ".TEMP") || strings.HasSuffix(name, thinSuffix)) && regular:
			log.Info("removing a left-over file", "file", path)
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			changed = true
		case digits(number) && (suffix == "" || suffix == ".START" || suffix == ".END"),
			strings.HasSuffix(name, disk.Temp) || strings.HasSuffix(name, thinSuffix):
			log.Warn("setting aside what is no segment", "file", path)
			if err := disk.SetAside(path, corrupt); err != nil {
				return nil, err
			}
			changed = true
		}
	}
	sortUint64(firsts)
	for _, first := range starts {
		path := filepath.Join(dir, segmentName(first))
		if len(firsts) > 0 && firsts[0] <= first {
			err = os.Remove(path + ".START")
		} else if err = os.Rename(path+".START", path); err == nil {
			firsts = append([]uint64{first}, firsts...)
		}
		if err != nil {
			return nil, err
		}
		changed = true
	}
	if changed {
		err = disk.SyncDir(dir)
	}
	return firsts, err
}

func digits(s string) bool {
	return len(s) == 20 && strings.Trim(s, "0123456789") == ""
}

func repairTail(ops disk.Ops, dir, corrupt string, first uint64, log *slog.Logger) (tail, error) {
	path := filepath.Join(dir, segmentName(first))
	data, err := disk.Read(path, tailBytes)
	if disk.Worn(err) {
		log.Error("the last segment can be read in parts only", "file", path, "error", err)
		data, err = disk.Salvage(path, tailBytes)
	}
	if err != nil {
		return tail{}, err
	}
	t, out, pos := scan(data, first, func(at, bytes int, offsets uint64) {
		log.Error("unreadable events in the last segment",
			"file", path, "position", at, "bytes", bytes, "offsets", offsets)
	})
	if cut := len(data) - pos; cut > 0 {
		level := slog.LevelDebug // zeros are room that was set aside (fill.go), or of a write that nobody relies on
		if !zeros(data[pos:]) {
			level = slog.LevelWarn
			disk.Keep(corrupt, segmentName(first)+".tail", data[pos:], log)
		}
		log.Log(context.Background(), level, "cutting an incomplete tail", "file", path, "position", pos, "bytes", cut)
	}
	switch {
	case out != nil:
		disk.Keep(corrupt, segmentName(first)+".damaged", data, log)
		if err := disk.Replace(path, out); err == nil {
			return t, nil
		} else if !errors.Is(err, syscall.ENOSPC) {
			return t, err
		}
		return t, disk.Overwrite(path, out) // no room for a second copy
	case pos < len(data):
		return t, truncate(ops, path, int64(pos))
	}
	return t, nil
}

// scan walks through the bytes of a last segment. pos is where its readable part ends. out is the
// content with every unreadable stretch in front of readable frames replaced, or nil if there is
// none; each such stretch is reported.
func scan(data []byte, first uint64, report func(at, bytes int, offsets uint64)) (t tail, out []byte, pos int) {
	t = tail{first: first, last: first - 1}
	for pos < len(data) {
		offset := t.last + 1
		f, n, bad := next(data[pos:], offset)
		if !bad {
			if out != nil {
				out = append(out, data[pos:pos+n]...)
			}
			t.add(f)
			pos += n
			continue
		}
		at, found, ok := resync(data[pos:], offset+1, offset+1<<16)
		if !ok {
			break
		}
		report(pos, at, found-offset)
		if out == nil {
			out = append(make([]byte, 0, len(data)), data[:pos]...)
		}
		for ; offset < found; offset++ {
			out = appendLost(out, offset)
			t.add(frame(out[len(out)-headerSize:]))
		}
		pos += at
	}
	t.bytes = int64(pos)
	if out != nil {
		t.bytes = int64(len(out))
	}
	return t, out, pos
}

// add counts a frame into the tail.
func (t *tail) add(f frame) {
	t.last++
	if f.typ() != frameLost {
		t.time = f.time()
	}
	switch f.typ() {
	case frameEvent:
		t.seq++
	case frameLost: // an event until a control frame says otherwise; the head of a segment is a control frame
		if t.last != t.first {
			t.seq++
			t.guessed = true
		}
	case frameControl:
		if c, ok := parseControl(f.payload()); ok {
			t.seq, t.seqSure, t.guessed, t.newest, t.found = c.seq, true, false, c, true
		}
	}
}

// countBefore finds how many events came before a last segment without a control frame, and what
// was committed by then.
func (t *tail) countBefore(dir string, firsts []uint64) {
	if t.seqSure {
		return
	}
	if t.first == 1 {
		t.seqSure = true
	} else if before, ok := countedBefore(dir, firsts[:len(firsts)-1], t.first); ok {
		t.seq += before.seq
		t.seqSure, t.newest, t.found = true, before.newest, true
		t.guessed = t.guessed || before.guessed
	}
}

func appendLost(dst []byte, offset uint64) []byte {
	dst = binary.AppendUvarint(dst, headerSize)
	start := len(dst)
	dst = appendFrame(dst, frameLost, &Event{})
	frame(dst[start:]).seal(offset)
	return dst
}

// lostEvents is how many events the unreadable frames of a segment count for until a control frame
// says otherwise: one each, but for the segment's head, which is a control frame.
func lostEvents(first, from, to uint64) uint64 {
	n := to + 1 - from
	if from <= first && first <= to {
		n--
	}
	return n
}

// countedBefore finds how many events were accepted before offset by the control frames of earlier
// segments, and the newest of those frames. It goes back by a few segments at most.
func countedBefore(dir string, firsts []uint64, offset uint64) (t tail, ok bool) {
	for i := len(firsts) - 1; i >= 0 && i >= len(firsts)-4; i-- {
		data, err := disk.Read(filepath.Join(dir, segmentName(firsts[i])), tailBytes)
		if err != nil {
			continue
		}
		t := tail{first: firsts[i], last: firsts[i] - 1}
		for pos := 0; pos < len(data) && t.last+1 < offset; {
			f, jump, n, bad := follow(data[pos:], t.last+1, offset)
			if bad {
				at, found, ok := resync(data[pos:], t.last+2, offset)
				if !ok {
					break
				}
				t.seq += lostEvents(t.first, t.last+1, found-1)
				t.guessed = true
				t.last, pos = found-1, pos+at
				continue
			}
			t.seq += jump - t.last - 1 // thinned
			t.last = jump - 1
			t.add(f)
			pos += n
		}
		if t.seqSure {
			t.seq += lostEvents(t.first, t.last+1, offset-1)
			t.guessed = t.guessed || t.last+1 < offset
			return t, true
		}
	}
	return tail{}, false
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
