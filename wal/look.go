package wal

import (
	"log/slog"
	"path/filepath"

	"edgesync/wal/store"
)

// SegmentInfo is one file of the queue.
type SegmentInfo struct {
	File  string
	First uint64 // offset of its first frame
	Bytes int64
	Time  int64 // when it was begun, milliseconds since the Unix epoch; 0 = unknown
}

// Segments lists the segments of a directory, the oldest first, without changing anything.
func Segments(dir string) ([]SegmentInfo, error) {
	list, err := sizes(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]SegmentInfo, len(list))
	for i, s := range list {
		infos[i] = SegmentInfo{File: segmentName(s.first), First: s.first, Bytes: s.bytes}
		if f, _, ok := head(dir, s.first); ok {
			infos[i].Time = f.time()
		}
	}
	return infos, nil
}

// Newest is the Time of the newest event in a directory, 0 if its last two segments hold none.
// Nothing is changed.
func Newest(dir string) (newest int64, err error) {
	firsts, err := listSegments(dir)
	if err != nil {
		return 0, err
	}
	for i := len(firsts) - 1; i >= max(0, len(firsts)-2) && newest == 0; i-- {
		err = Walk(dir, firsts[i], func(r *Record) bool {
			if r.Found == FoundEvent {
				newest = r.Event.Time
			}
			return true
		})
	}
	return newest, err
}

// InspectDead reads a log of dead letters without a lock and without changing anything; a process
// may hold it meanwhile. It calls fn, which may be nil, for each dead letter in order of the
// offsets until fn returns false. Those above committed do not count (OpenDead). A log that does
// not exist is empty.
func InspectDead(dir string, committed uint64, fn func(l *DeadLetter) bool) (DeadStats, error) {
	s, err := store.Inspect(filepath.Join(dir, "letters"))
	if err != nil {
		return DeadStats{}, err
	}
	defer s.Close()
	d := &DeadLog{store: s, log: slog.New(slog.DiscardHandler)}
	d.count = d.read(committed)
	if fn != nil {
		err = d.Each(fn)
	}
	return d.Stats(), err
}

// Peek reads the first event behind the position p, if it stands at or before the offset last, and
// copies its fragment; not ok if there is none any more. It has a reader of its own, so that the
// queue's reader stays where it is, and what that has read stays safe from thinning. An error is
// the medium's. It may be called from any goroutine.
func (q *Queue) Peek(p Position, last uint64) (e Entry, ok bool, err error) {
	r := &Reader{q: q, pos: p}
	defer r.Close()
	err = r.Read(func(f *Entry) bool {
		if ok || f.Offset > last {
			return false
		}
		e, ok = *f, true
		e.Fragment = append([]byte(nil), f.Fragment...)
		return true
	})
	return e, ok, err
}
