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

// Thinning halves a stretch of the backlog: two neighbouring segments become one, without every second event of each series. What was
// thinned most is thinned next only when everything else has been thinned as often, so the backlog keeps one density over its whole
// length: an outage twice as long leaves half as many values, and no hole. Offsets do not shift: the frames that stay keep theirs, and
// a reader knows by the jump from one intact frame to the next how many were removed.
//
// The new content is written beside the old one and synced; then the intention is made durable, in the committed file; then the new
// file takes its place. Open finishes what a crash has left behind after the intention (resumeThinning).
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

// thinOnce makes room by thinning the segments that were thinned least, the oldest of them; false if none is left.
func (q *Queue) thinOnce(now time.Time) bool {
	if q.o.Series == nil || !q.settleWrites(now) {
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

// errNotWorth: there is too little in a segment that may be thinned.
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

// replace puts the file that writeThin has written in its place; false if the reader has come there meanwhile.
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
	poke(q.wake) // a reader may wait in front of it
	return true, nil
}

// pickThin finds the oldest of the segments that were thinned least, and its neighbour if that was thinned as often. The reader has
// reached none of them, and the tail is not among them.
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
			s.level = maxLevel // one without a head could not tell that it was thinned
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

// writeThin writes the new content of a, with that of b if it is one, beside it.
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
	if f, _, bad := next(s.out, a.first); bad || f.typ() != frameControl { // without its head the new segment could not tell its level
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

// sieve takes segments and gives the content of the one that replaces them.
type sieve struct {
	series func(kind, action uint8, fragment []byte) (uint64, bool)
	salt   uint64
	room   int // bytes of out; beyond it goes on no further, because frames of lost events may take more room than what was damaged
	out    []byte
	gap    Gap
	odd    [thinBits / 64]uint64 // whether a series, by its hash, has had an odd number of events
	run    uint64                // offsets left out since the last frame written
}

// segment takes one: the head of the new segment tells its level, what is damaged stays so, offset for offset.
func (s *sieve) segment(data []byte, first, limit uint64, isHead bool, level uint8) {
	if s.out == nil {
		s.out = make([]byte, 0, len(data))
	}
	offset := first
	for pos := 0; pos < len(data) && offset < limit && len(s.out) <= s.room; {
		f, at, n, bad := follow(data[pos:], offset, limit)
		if bad {
			jump, found, ok := resync(data[pos:], offset+1, limit)
			if !ok {
				break
			}
			for ; offset < found && len(s.out) <= s.room; offset++ {
				s.put(nil, offset)
			}
			pos += jump
			continue
		}
		s.run += at - offset
		raw := data[pos : pos+n]
		switch {
		case f.typ() == frameControl && at == first && isHead:
			h := frame(slices.Clone(f))
			h[offAction] = level
			h.seal(at)
			s.put(h, at)
		case f.typ() == frameEvent && s.run < maxJump && at+1 < limit && pos+n < len(data) && s.drops(f): // the last one tells that the end is not torn
			s.gap.see(f.time())
			s.run++
		case f.typ() == frameControl:
			s.put(unpadded(f, at), at)
		default:
			s.out = append(s.out, raw...)
			s.run = 0
		}
		pos, offset = pos+n, at+1
	}
	for ; offset < limit && len(s.out) <= s.room; offset++ { // a torn end is damage too
		s.put(nil, offset)
	}
}

// put writes a frame, or one that says that there is nothing readable at its offset.
func (s *sieve) put(f frame, offset uint64) {
	if f == nil {
		s.out = appendLost(s.out, offset)
	} else {
		s.out = appendEntry(s.out, f)
	}
	s.run = 0
}

// drops tells whether this event is the second of two of its series.
func (s *sieve) drops(f frame) bool {
	series, may := s.series(f.kind(), f[offAction], f.payload())
	if !may {
		return false
	}
	h := (series ^ s.salt) * 0x9e3779b97f4a7c15 // so that a series and an entity do not cancel each other out
	h ^= h >> 29
	for _, c := range f[offEntity:headerSize] {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h ^= h >> 32
	h ^= h >> 16
	bit := h % thinBits
	mask := uint64(1) << (bit % 64)
	s.odd[bit/64] ^= mask
	return s.odd[bit/64]&mask == 0
}

// resumeThinning puts a finished file in its place, or removes what was not finished. Doing it again changes nothing.
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
	// The other segment's events are in the first one now. Its place in the list of files decides what readers see, so it goes last.
	if t.from > t.into && thinLevel(path, t.into) == t.level {
		if err := os.Remove(filepath.Join(dir, segmentName(t.from))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.SyncDir(dir)
}

// thinLevel is how often the segment in a file was thinned, by its head; 0 if it has none.
func thinLevel(path string, first uint64) uint8 {
	f, _, ok := headOf(path, first)
	if !ok {
		return 0
	}
	return f[offAction]
}
