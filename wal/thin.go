package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edgesync/wal/disk"
)

// thinning is the replacement of segments that is under way. Thinning halves a stretch of the
// backlog: two neighbouring segments become one, without every second event of each series. The
// segments that were thinned least are thinned next, the oldest of them, so the backlog keeps one
// density over its whole length: an outage twice as long leaves half as many values, and no hole.
// Offsets do not shift: the frames that stay keep theirs, and a reader knows by the jump from one
// intact frame to the next how many were removed.
//
// The new content is written beside the old one and synced; then the intention is made durable, in
// the committed file; then the new file takes the name. Open finishes what a crash has left behind
// after the intention (resumeThinning).
type thinning struct {
	into  uint64 // first offset of the segment that is replaced; 0 = none is
	from  uint64 // first offset of the one whose events move into it; 0 = none
	bytes uint64 // of the new file, so that one that was never finished is not taken for it
	level uint8  // how often its events were thinned
}

const (
	thinSuffix = ".THIN"
	maxLevel   = 40    // 2 to the 40th events become one
	maxJump    = 60000 // offsets that may be missing in a row: 16 bits of them are in the frame
	thinBits   = 1 << 16
)

// thinOnce makes room by thinning the oldest of the segments that were thinned least; false if none
// is left.
func (q *Queue) thinOnce(now time.Time) bool {
	if q.o.Series == nil || !q.syncWrites(now) {
		return false
	}
	for {
		a, b, ok := q.pickThin()
		if !ok {
			return false
		}
		t, gap, err := q.writeThin(a, b, uint8(a.level)+1)
		if errors.Is(err, errNotWorth) {
			q.setLevel(a.first, maxLevel)
			q.setLevel(b.first, maxLevel)
			continue
		}
		done := false
		if err == nil {
			done, err = q.replace(t, gap, now)
		}
		if err != nil {
			q.log.Warn("the backlog cannot be thinned", "dir", q.o.Dir, "error", err)
			return false
		}
		if done {
			return q.reopenLog("thinning", now)
		}
	}
}

// errNotWorth means that too little in a segment may be thinned.
var errNotWorth = errors.New("wal: thinning would make no room")

// setLevel notes how often a segment was thinned.
func (q *Queue) setLevel(first uint64, level int8) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.segments {
		if q.segments[i].first == first {
			q.segments[i].level = level
		}
	}
}

// replace gives the file that writeThin has written its name; false if the reader has come there
// meanwhile.
func (q *Queue) replace(t thinning, gap Gap, now time.Time) (bool, error) {
	fresh := filepath.Join(q.o.Dir, segmentName(t.into)+thinSuffix)
	q.mu.Lock()
	if max(q.frontier, q.committed.Offset) >= t.into {
		q.mu.Unlock()
		return false, os.Remove(fresh)
	}
	before := q.gap
	q.replacing, q.thin = t.into, t
	q.ahead += gap.Events
	q.gap.add(gap)
	q.mu.Unlock()
	if !q.save() {
		q.mu.Lock()
		q.replacing, q.thin, q.gap = 0, thinning{}, before
		q.ahead -= gap.Events
		q.mu.Unlock()
		return false, errors.Join(errors.New("the intention cannot be written"), os.Remove(fresh))
	}
	if err := resumeThinning(q.ops, q.o.Dir, t, q.log); err != nil {
		return false, q.poison(fmt.Errorf("replace a thinned segment: %w", err), now) // opening again finishes it
	}
	q.tell(gap)
	q.ledger.add(Account{Fsyncs: 1})
	q.charge(q.o.CommitBytes, now)
	q.mu.Lock()
	i := slices.IndexFunc(q.segments, func(s segment) bool { return s.first == t.into })
	q.bytes += int64(t.bytes) - q.segments[i].bytes
	q.segments[i].bytes, q.segments[i].level = int64(t.bytes), int8(t.level)
	if t.from != 0 {
		q.bytes -= q.segments[i+1].bytes
		q.segments = slices.Delete(q.segments, i+1, i+2)
	}
	q.replacing, q.thin = 0, thinning{}
	q.epoch++
	q.mu.Unlock()
	poke(q.wake) // a reader may be waiting for it
	return true, nil
}

// pickThin finds the oldest of the segments that were thinned least, and its neighbour if that was
// thinned as often. The reader has reached neither, and the tail is not among them.
func (q *Queue) pickThin() (a, b segment, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	behind := max(q.frontier, q.committed.Offset)
	last := len(q.segments) - 1
	best := -1
	for i := range q.segments[:last] {
		s := &q.segments[i]
		if s.first <= behind || s.bytes == 0 {
			continue
		}
		if s.level == levelUnknown {
			s.level = maxLevel // without its head a segment could not record its level
			if f, _, ok := head(q.o.Dir, s.first); ok {
				s.level = int8(min(f[offAction], maxLevel))
			}
		}
		if s.level < maxLevel && (best < 0 || s.level < q.segments[best].level) {
			best = i
		}
	}
	if best < 0 {
		return a, b, false
	}
	a = q.segments[best]
	if best+1 < last && q.segments[best+1].level == a.level {
		b = q.segments[best+1]
	}
	return a, b, true
}

// writeThin writes the new content of a, with that of b if there is one, beside a.
func (q *Queue) writeThin(a, b segment, level uint8) (thinning, Gap, error) {
	t := thinning{into: a.first, from: b.first, level: level}
	s := sieve{series: q.o.Series, salt: a.first ^ uint64(level)<<56, room: int((a.bytes + b.bytes) * 7 / 8)}
	for _, old := range []segment{a, b} {
		if old.first == 0 {
			continue
		}
		limit, _ := q.extent(old.first)
		data, err := disk.Read(filepath.Join(q.o.Dir, segmentName(old.first)), tailBytes)
		if disk.Worn(err) {
			data, err = disk.Salvage(filepath.Join(q.o.Dir, segmentName(old.first)), tailBytes)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return t, s.gap, err
		}
		s.segment(data, old.first, limit, old.first == a.first, level)
	}
	if len(s.out) > s.room {
		return t, s.gap, errNotWorth
	}
	if f, _, bad := next(s.out, a.first); bad || f.typ() != frameControl { // see pickThin
		return t, s.gap, errNotWorth
	}
	t.bytes = uint64(len(s.out))
	s.gap.Why = WhyThin
	path := filepath.Join(q.o.Dir, segmentName(a.first)+thinSuffix)
	if err := q.ops.Replace(path, s.out); err != nil {
		return t, s.gap, err
	}
	q.ledger.add(Account{Written: int64(t.bytes), Fsyncs: 2})
	q.charge(wear(0, int64(t.bytes), q.o.CommitBytes), time.Now())
	return t, s.gap, nil
}

// resumeThinning gives a finished file its name. What was not finished it leaves to tidy. Doing it
// again changes nothing.
func resumeThinning(ops disk.Ops, dir string, t thinning, log *slog.Logger) error {
	if t.into == 0 {
		return nil
	}
	path := filepath.Join(dir, segmentName(t.into))
	i, err := os.Lstat(path + thinSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist): // done, or done and dropped
	case err != nil:
		return err
	case !i.Mode().IsRegular() || uint64(i.Size()) != t.bytes || thinLevel(path+thinSuffix, t.into) != t.level:
		return nil // of a later attempt, which never came to its intention
	default:
		if err := ops.Rename(path+thinSuffix, path); err != nil {
			return err
		}
		log.Debug("a stretch of the backlog was thinned", "file", path, "level", t.level)
	}
	// The other segment's events are in the first one now. What readers see depends on which files
	// there are, so it goes last.
	if t.from > t.into && thinLevel(path, t.into) == t.level {
		if err := os.Remove(filepath.Join(dir, segmentName(t.from))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// thinLevel is how often the segment in a file was thinned, from its head; 0 if it has none.
func thinLevel(path string, first uint64) uint8 {
	f, _, ok := headOf(path, first)
	if !ok {
		return 0
	}
	return f[offAction]
}
