package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edgesync/wal/disk"
)

const (
	readerBuffer = 64 << 10
	// giveUpAfter is how long a segment may refuse to be read before its events count as damaged. A
	// medium that comes back must not cost events; one that never does must not block the rest.
	giveUpAfter = time.Minute
)

// Reader reads events in order, straight from the segments' files, and only what is durable. It
// never calls the library, so it neither waits for an fsync nor races with one. One goroutine uses
// a Reader.
type Reader struct {
	q      *Queue
	pos    Position // of the last frame consumed
	main   bool     // its position keeps thinning away
	passed bool     // it reads what is committed too, as far as that is still there

	epoch    uint64   // of the files; see Queue
	f        *os.File // the segment that contains pos.Offset+1, or nil
	first    uint64   // of that segment
	at       uint64   // offset of the frame at buf[r]
	buf      []byte
	r, w     int
	filePos  int64 // of buf[w]
	hurt     bool  // the frame at buf[r] was found behind damage
	failedAt time.Time
	entry    Entry // handed to the callback
}

// Reader returns a reader that stands at the committed position, for the one consumer of the queue:
// the segment that it is in, and all before that, are not thinned.
func (q *Queue) Reader() *Reader { return &Reader{q: q, pos: q.Committed(), main: true} }

// Position is that of the last frame consumed.
func (r *Reader) Position() Position { return r.pos }

// Seek moves the reader to a position that it or the queue has reported before; the next Read
// begins behind it.
func (r *Reader) Seek(p Position) {
	r.pos = p
	if r.main {
		r.q.leave(p.Offset)
	}
}

// errReplacing means that the segment is being thinned. A token in Queue.Wake follows when that is
// done.
var errReplacing = errors.New("wal: segment is being replaced")

// Close releases the reader's file.
func (r *Reader) Close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
	if len(r.buf) > 4*readerBuffer { // after a large event or a search for intact frames
		r.buf = nil
	}
}

// Read calls fn for each event behind the reader's position until the last durable event has been
// read, or fn returns false. That event is then not consumed: the next Read begins with it. Frames
// that cannot be read are passed over; Position.Seq counts them, so that Commit can tell them from
// what was deployed. An error is the medium's, and nothing is passed over for it: try again later.
// Where the medium refuses to read a segment it is a CorruptError.
func (r *Reader) Read(fn func(e *Entry) bool) error {
	end, committed, epoch := r.q.bounds()
	if r.pos.Offset < committed.Offset && !r.passed { // the quota dropped what was here
		r.pos = committed
	}
	if r.epoch != epoch { // the files may have been replaced
		r.Close()
		r.epoch = epoch
	}
	e := &r.entry
	var limit uint64
	var bytes int64
	for r.pos.Offset < end.Offset {
		if r.f == nil || r.at != r.pos.Offset+1 || r.at >= limit {
			there, err := r.locate(end)
			if errors.Is(err, errReplacing) {
				return nil
			}
			if err != nil {
				return err
			}
			if !there {
				limit = 0
				continue
			}
			limit, bytes = r.q.extent(r.first)
		}
		f, offset, err := r.step(limit, bytes)
		switch {
		case err != nil:
			if err := r.failed(err, limit, end); err != nil {
				return err
			}
			continue
		case f == nil:
			r.lost(min(limit, end.Offset+1), end)
			continue
		case offset > r.pos.Offset+1 && r.hurt:
			r.pos.Seq += lostEvents(r.first, r.pos.Offset+1, offset-1)
			r.pos.Offset = offset - 1
		case offset > r.pos.Offset+1:
			n := offset - 1 - r.pos.Offset
			r.pos = Position{offset - 1, r.pos.Seq + n, r.pos.Thinned + n}
		}
		r.hurt = false
		switch f.typ() {
		case frameEvent:
			f.event(&e.Event)
			e.Position = Position{offset, r.pos.Seq + 1, r.pos.Thinned}
			if !fn(e) {
				r.unread(len(f), offset)
				return nil
			}
			r.pos = e.Position
		case frameControl:
			r.pos.Offset = offset
			if c, ok := parseControl(f.payload()); ok {
				r.pos.Seq = c.seq
			}
		case frameLost:
			r.pos.Seq += lostEvents(r.first, offset, offset)
			r.pos.Offset = offset
		}
	}
	if r.pos.Offset == end.Offset {
		r.pos.Seq = end.Seq
	}
	return nil
}

// unread puts the frame that step returned last back, so that step begins at the offset at.
func (r *Reader) unread(n int, at uint64) {
	r.r -= entrySize(n)
	r.at = at
}

// lost passes over everything up to the offset limit, of which nothing can be read any more.
func (r *Reader) lost(limit uint64, end Position) {
	limit = max(limit, r.pos.Offset+2) // never stand still
	r.q.damage(r.first, r.pos.Offset+1, limit-1)
	r.pos.Seq += lostEvents(r.first, r.pos.Offset+1, limit-1)
	r.pos.Offset = limit - 1
	if r.pos.Offset >= end.Offset {
		r.pos = end
	}
	r.Close()
}

// failed decides about an error of the medium: nil if what cannot be read was passed over.
func (r *Reader) failed(err error, limit uint64, end Position) error {
	r.Close()
	now := time.Now()
	if r.failedAt.IsZero() {
		r.failedAt = now
	}
	if errors.Is(err, fs.ErrNotExist) ||
		(disk.Worn(err) || errors.Is(err, disk.ErrIrregular)) && now.Sub(r.failedAt) >= giveUpAfter {
		r.failedAt = time.Time{}
		r.lost(min(limit, end.Offset+1), end)
		return nil
	}
	return err
}

// locate opens the segment that holds the frame behind the position, and skips to it. false means
// that the position has moved over what is gone instead.
func (r *Reader) locate(end Position) (bool, error) {
	want := r.pos.Offset + 1
	first, ok := r.q.enter(want, r.main)
	if !ok {
		return false, errReplacing
	}
	if r.f != nil && (first != r.first || want < r.at) {
		r.Close()
	}
	if r.f == nil {
		r.first, r.at = first, first
		r.r, r.w, r.filePos = 0, 0, 0
		if first > want { // the segments before this one are gone
			r.passTo(first-1, end)
			return false, nil
		}
		f, err := disk.Open(filepath.Join(r.q.o.Dir, segmentName(first)), os.O_RDONLY, 0)
		if err != nil {
			// While segments are being dropped their files go first, so the committed position
			// counts too.
			if _, committed, _ := r.q.bounds(); errors.Is(err, fs.ErrNotExist) && (committed.Offset >= want || r.q.dropped(first)) {
				gone := want
				if r.passed {
					gone, _ = r.q.extent(first)
				}
				r.passTo(gone-1, end)
				return false, nil
			}
			if errors.Is(err, disk.ErrIrregular) {
				err = &CorruptError{segmentName(first), want, err}
			}
			limit, _ := r.q.extent(first)
			return false, r.failed(err, limit, end)
		}
		r.f = f
		if r.buf == nil {
			r.buf = make([]byte, readerBuffer)
		}
	}
	for r.at < want {
		limit, bytes := r.q.extent(r.first)
		f, offset, err := r.step(limit, bytes)
		if err != nil {
			return false, r.failed(err, limit, end)
		}
		if f == nil {
			r.at = want
		} else if offset >= want {
			r.unread(len(f), want)
			break
		} else {
			r.hurt = false
		}
	}
	return true, nil
}

// passTo moves over what is gone: what the quota dropped and counted, or what is missing.
func (r *Reader) passTo(offset uint64, end Position) {
	_, committed, _ := r.q.bounds()
	if r.passed && offset < committed.Offset { // the control frame at the head of the next segment has the count
		r.pos.Offset = max(r.pos.Offset, offset)
	} else if committed.Offset > r.pos.Offset {
		r.pos = committed
	} else if offset > r.pos.Offset {
		r.q.damage(r.first, r.pos.Offset+1, offset)
		r.pos.Seq += offset - r.pos.Offset
		r.pos.Offset = offset
	}
	if r.pos.Offset >= end.Offset {
		r.pos = end
	}
}

// step returns the next intact frame of the open segment and its offset; nil if there is none below
// limit, the first offset of the next segment. bytes bounds what of the file is durable; -1 = all.
func (r *Reader) step(limit uint64, bytes int64) (frame, uint64, error) {
	if r.f == nil {
		return nil, 0, nil
	}
	if r.at >= limit {
		return nil, 0, nil
	}
	for need := headerSize + maxPrefix; ; {
		size, p := binary.Uvarint(r.buf[r.r:r.w])
		if p > 0 && p <= maxPrefix && size >= headerSize && size <= maxFrame {
			need = p + int(size)
		}
		if r.w-r.r >= need {
			break
		}
		more, err := r.fill(need, bytes)
		if err != nil {
			return nil, 0, err
		}
		if !more {
			break
		}
	}
	f, at, n, bad := follow(r.buf[r.r:r.w], r.at, limit)
	if !bad {
		r.r += n
		r.at = at + 1
		r.failedAt = time.Time{}
		return f, at, nil
	}
	return r.resync(limit, bytes)
}

// resync looks for the next intact frame in the rest of the segment.
func (r *Reader) resync(limit uint64, bytes int64) (frame, uint64, error) {
	for {
		more, err := r.fill(r.w-r.r+readerBuffer, bytes)
		if err != nil {
			return nil, 0, err
		}
		if !more {
			break
		}
	}
	at, offset, ok := resync(r.buf[r.r:r.w], r.at+1, limit)
	if !ok {
		return nil, 0, nil
	}
	r.q.damage(r.first, r.at, offset-1)
	r.hurt = true
	f, n, _ := next(r.buf[r.r+at:r.w], offset)
	r.r += at + n
	r.at = offset + 1
	return f, offset, nil
}

// fill reads more of the file, so that need bytes are in the buffer if the file has as many; false
// if nothing could be added.
func (r *Reader) fill(need int, bytes int64) (bool, error) {
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.w -= r.r
		r.r = 0
	}
	if need > len(r.buf) {
		r.buf = append(r.buf, make([]byte, need-len(r.buf))...)
	}
	room := r.buf[r.w:]
	if bytes >= 0 {
		room = room[:min(int64(len(room)), max(0, bytes-r.filePos))]
	}
	if len(room) == 0 {
		return false, nil
	}
	n, err := r.f.ReadAt(room, r.filePos)
	r.w += n
	r.filePos += int64(n)
	if err != nil && err != io.EOF {
		name := segmentName(r.first)
		return false, &CorruptError{name, r.at, fmt.Errorf("segment %s at %d: %w", name, r.filePos, err)}
	}
	return n > 0, nil
}
