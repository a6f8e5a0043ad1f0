package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"time"

	"edgesync/wal/disk"
)

// Found is the kind of what Walk met.
type Found uint8

// What may be met in a queue directory.
const (
	FoundEvent   Found = iota + 1
	FoundControl       // a frame of the queue's own book-keeping
	FoundLost          // a lost frame, which repair has written for an unreadable one
	FoundDamage        // bytes that are no frame; offsets are concerned if Last is at least Offset
	FoundMissing       // offsets for which there are no bytes
	FoundTorn          // bytes at the end of the log that are no frame: a write that was not finished, or damage
	FoundThinned       // offsets of events that thinning has removed on purpose
)

// Record is what Walk met at one position of the queue's files.
type Record struct {
	Found
	Offset, Last uint64  // first and last offset; of a torn end Last is unknown and Offset-1
	Event        Event   // of other frames only its Time; the Fragment is valid until the callback returns
	Control      Control // of a control frame
	File         string  // the segment's name
	At, Bytes    int64   // where in the file
	Err          error   // of the medium, if that is why it is damage
}

// Control is what a control frame holds: the events accepted before it, the committed offset, and
// the counters that go with it.
type Control struct {
	Accepted, Committed, Deployed, Dropped, Dead, Damaged uint64
}

// What does not read at the end of the log is looked at again so often, with such pauses, because
// an agent may be writing there.
const (
	walkTries = 3
	walkPause = 20 * time.Millisecond
)

// Walk calls fn for everything from the offset from on, in order, until fn returns false. It only
// reads, takes no lock, and needs memory for one frame, or for one segment where that is damaged. A
// process may write and drop segments meanwhile; what it has written and not yet made durable may
// be among what is met. An error is of the directory; a file that cannot be read is a Record.
func Walk(dir string, from uint64, fn func(*Record) bool) error {
	q := &Queue{log: slog.New(slog.DiscardHandler), damaged: make(map[uint64]struct{})}
	w := walker{dir: dir, fn: fn, want: max(from, 1), r: Reader{q: q, buf: make([]byte, readerBuffer)}}
	w.r.q.o.Dir = dir
	defer w.r.Close()
	firsts, err := listSegments(dir)
	if err != nil {
		return err
	}
	if i := after(firsts, w.want); i > 0 {
		firsts = firsts[i-1:]
	}
	started := false
	for len(firsts) > 0 {
		first := firsts[0]
		if !started && first > w.want { // dropped long ago
			w.want = first
		}
		last := len(firsts) == 1
		limit := uint64(maxOffset + 1)
		if !last {
			limit = firsts[1]
		}
		gone, more := w.segment(first, limit, last)
		if !more {
			return nil
		}
		started = started || !gone
		if !gone && !last {
			firsts = firsts[1:]
			continue
		}
		// A segment may have begun, or the front been dropped, since the directory was read.
		if firsts, err = listSegments(dir); err != nil {
			return err
		}
		if !gone {
			i := after(firsts, first)
			if 0 < i && i < len(firsts) && firsts[i-1] == first {
				i-- // it has gone on since its end was read, before the next began
			}
			firsts = firsts[i:]
		} else if i := after(firsts, w.want); i > 0 { // thinning has moved it into the one before
			firsts = firsts[i-1:]
		} else if len(firsts) > 0 { // dropped meanwhile: that is no damage
			w.want = firsts[0]
		}
	}
	return nil
}

// after is the index of the first segment that begins behind offset.
func after(firsts []uint64, offset uint64) int {
	return sort.Search(len(firsts), func(i int) bool { return firsts[i] > offset })
}

// walker is the state of one Walk.
type walker struct {
	dir  string
	fn   func(*Record) bool
	want uint64 // the next offset to report
	r    Reader
	rec  Record
}

// segment reports one segment from want on. gone: the file is not there. more: fn wants to go on.
func (w *walker) segment(first, limit uint64, last bool) (gone, more bool) {
	r := &w.r
	r.Close()
	path := filepath.Join(w.dir, segmentName(first))
	f, err := disk.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, true
	}
	w.rec.File = segmentName(first)
	if err != nil {
		return false, w.report(Record{Found: FoundDamage, Offset: max(w.want, first), Last: limit - 1, Err: err})
	}
	r.f, r.first, r.at = f, first, first
	r.r, r.w, r.filePos = 0, 0, 0
	if r.buf == nil {
		r.buf = make([]byte, readerBuffer)
	}
	if first > w.want && !w.report(Record{Found: FoundMissing, Offset: w.want, Last: first - 1}) {
		return false, false
	}
	for tries := 0; ; {
		at, pos := r.at, r.filePos-int64(r.w-r.r)
		r.hurt = false
		f, offset, err := r.step(limit, -1)
		here := r.filePos - int64(r.w-r.r) // behind f
		if last && tries < walkTries && err == nil && (f == nil && r.r < r.w || r.hurt) {
			tries++
			time.Sleep(walkPause)
			r.at, r.filePos, r.r, r.w = at, pos, 0, 0
			continue
		}
		tries = 0
		switch {
		case err != nil:
			rec := Record{Found: FoundDamage, Offset: at, Last: limit - 1, At: pos, Bytes: w.size() - pos, Err: err}
			if last {
				rec.Found, rec.Last = FoundTorn, at-1
			}
			return false, w.report(rec)
		case f == nil && last:
			// Zeros are room that was set aside (fill.go), or of a write that nobody relies on.
			if n := w.size() - pos; n > 0 && r.r < r.w && !zeros(r.buf[r.r:r.w]) {
				return false, w.report(Record{Found: FoundTorn, Offset: at, Last: at - 1, At: pos, Bytes: n})
			}
			return false, true
		case f == nil && at >= limit && w.replacing() == first: // what follows is a copy of the next segment
			return false, true
		case f == nil:
			if n := w.size() - pos; n > 0 {
				return false, w.report(Record{Found: FoundDamage, Offset: at, Last: limit - 1, At: pos, Bytes: n})
			}
			return false, at >= limit || w.report(Record{Found: FoundMissing, Offset: at, Last: limit - 1, At: pos})
		}
		n := int64(entrySize(len(f)))
		if offset > at {
			rec := Record{Found: FoundThinned, Offset: at, Last: offset - 1, At: pos}
			if r.hurt {
				rec.Found, rec.Bytes = FoundDamage, here-n-pos
			}
			if !w.report(rec) {
				return false, false
			}
		}
		rec := Record{Offset: offset, Last: offset, At: here - n, Bytes: n}
		switch f.typ() {
		case frameEvent:
			rec.Found = FoundEvent
			f.event(&rec.Event)
		case frameControl:
			rec.Found, rec.Event.Time = FoundControl, f.time()
			if c, ok := parseControl(f.payload()); ok {
				n := &c.counters
				rec.Control = Control{c.seq, c.committed.Offset, n.deployed, n.dropped, n.dead, n.damaged}
			}
		default:
			rec.Found, rec.Event.Time = FoundLost, f.time()
		}
		if !w.report(rec) {
			return false, false
		}
	}
}

// replacing is the segment that thinning is replacing, from the committed file; 0 = none.
func (w *walker) replacing() uint64 {
	c, _, _ := readCommitted(w.dir)
	return c.thin.into
}

// report hands a record over if it concerns what is wanted.
func (w *walker) report(rec Record) bool {
	if rec.Last >= rec.Offset {
		if rec.Last < w.want {
			return true
		}
		rec.Offset = max(rec.Offset, w.want)
		w.want = rec.Last + 1
	}
	rec.File = w.rec.File
	w.rec = rec
	return w.fn(&w.rec)
}

// size of the open segment.
func (w *walker) size() int64 {
	if i, err := w.r.f.Stat(); err == nil {
		return i.Size()
	}
	return 0
}

// Corrupt is the damage that the record stands for; nil if it is none.
func (r *Record) Corrupt() *CorruptError {
	if r.Found != FoundDamage && r.Found != FoundMissing && r.Found != FoundTorn {
		return nil
	}
	text := r.text()
	err := errors.New(text)
	if r.Err != nil {
		err = fmt.Errorf("%s (%w)", text, r.Err)
	}
	return &CorruptError{Segment: r.File, Offset: r.Offset, Err: err}
}

// String describes damage for people.
func (r *Record) String() string {
	if r.Err != nil {
		return r.text() + " (" + r.Err.Error() + ")"
	}
	return r.text()
}

// text is String without the medium's error.
func (r *Record) text() string {
	offsets := fmt.Sprintf("offsets %d to %d", r.Offset, r.Last)
	if r.Last == r.Offset {
		offsets = fmt.Sprintf("offset %d", r.Offset)
	}
	var s string
	switch {
	case r.Found == FoundMissing:
		s = offsets + " missing, nothing is there"
	case r.Found == FoundTorn:
		s = fmt.Sprintf("%d bytes at the end are no frame: what would be offset %d and on", r.Bytes, r.Offset)
	case r.Found == FoundDamage && r.Last < r.Offset:
		s = fmt.Sprintf("%d bytes are no frame, no offset is missing", r.Bytes)
	case r.Found == FoundDamage:
		s = fmt.Sprintf("%d bytes unreadable: %s", r.Bytes, offsets)
	case r.Found == FoundThinned:
		s = offsets + " removed by thinning"
	case r.Found == FoundLost:
		s = offsets + " was unreadable and repair marked it as lost"
	default:
		s = offsets
	}
	return fmt.Sprintf("segment %s at %d: %s", r.File, r.At, s)
}
