package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	tlog "github.com/tidwall/wal"
)

// Sentinels that callers test for.
var (
	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("wal: queue is closed")
	// ErrLocked: another process holds the directory.
	ErrLocked = errors.New("wal: directory is held by another process")
	// ErrFull: the quota is reached and the policy is to refuse.
	ErrFull = errors.New("wal: queue is full")
	// ErrTooLarge: a fragment is larger than MaxFragment.
	ErrTooLarge = errors.New("wal: event is too large")
	// ErrUnavailable: the medium refuses writes at the moment (full, failing, read-only); nothing was accepted.
	ErrUnavailable = errors.New("wal: queue cannot be written")
)

// MaxFragment bounds one event's fragment in bytes: what the server takes in one message (wire contract 2.5).
const MaxFragment = 4 << 20

// Event is what a caller appends. What Kind and Action mean is the caller's affair.
type Event struct {
	Kind     uint8 // 0 to 63
	Action   uint8
	Time     int64 // milliseconds since the Unix epoch
	Entity   [16]byte
	Fragment []byte
}

// Entry is an event read back. Its Fragment is valid only until the callback returns.
type Entry struct {
	Event
	Position
}

// Position is a place in the queue. Offset is the library's index of a frame; control frames take offsets too, so Seq counts
// the events up to and including that offset over the life of the directory.
type Position struct {
	Offset uint64
	Seq    uint64
}

// Options of a queue.
type Options struct {
	Dir         string        // segments and the committed-offset file
	CorruptDir  string        // where cut and damaged bytes are kept
	SegmentSize int           // bytes; 0 = 512 KiB
	MaxBytes    int64         // quota; 0 = unlimited
	MaxAge      time.Duration // 0 = unlimited
	Policy      string        // "drop_oldest" or "reject_new"
	FlashBudget int64         // bytes a day; 0 = unlimited
	MaxDelay    time.Duration // longest stretch of a group commit under the budget
	Log         *slog.Logger

	inject func(op string) error // a fault before "write", "sync", "committed" or "drop", in tests
}

// Stats is a snapshot of the counters. Events are counted over the life of the directory.
type Stats struct {
	Accepted, Deployed, Pending, Dropped, Dead, Damaged uint64

	First, Last, Committed uint64 // offsets
	Bytes                  int64  // on the medium, all segments
	OldestPending          int64  // Time of the oldest pending event, 0 = none
	FlashBytesToday        int64  // written since midnight UTC by this process's life
	Commits                uint64 // group commits of this process's life
	Segments               int
	Writable               bool
	LastError              error
}

// Policies at the quota.
const (
	DropOldest = "drop_oldest"
	RejectNew  = "reject_new"
)

// DefaultSegmentSize in bytes. A segment is what is dropped at a time and what the library holds in memory (hazard "the default
// 20 MB segments live in RAM").
const DefaultSegmentSize = 512 << 10

// segment is what is known of one file.
type segment struct {
	first uint64 // offset of its first frame
	bytes int64
}

// Queue is the durable queue of events. Its methods are safe for concurrent use. One goroutine, the committer, makes every call into
// the library and writes every file; readers read the files by themselves.
type Queue struct {
	o    Options
	log  *slog.Logger
	lock *os.File // keeps the flock

	kick    chan struct{} // something for the committer to do
	wake    chan struct{}
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once

	commits, flash atomic.Int64
	flashDay       atomic.Int64 // day of flash, since the epoch

	mu        sync.Mutex // guards everything below
	pending   *group     // being filled
	spare     *group
	space     chan struct{} // closed when the pending group is taken; nil if nobody waits
	shut      bool
	end       Position
	segments  []segment // sorted; the last is the tail
	bytes     int64
	committed Position
	counters  counters
	urgent    bool // the committed position wants to go to its file
	lastErr   error
	epoch     uint64 // changes when files may have been replaced under the readers
	oldest    struct {
		behind uint64 // committed offset it was looked up for
		time   int64
		known  bool
	}
	damaged map[uint64]struct{} // segments whose damage was logged; bounded by the segments

	// The committer's own.
	store     *tlog.Log
	file      *committedFile
	proven    bool // false after a failure, until a write has succeeded
	batch     tlog.Batch
	told      Position // committed position of the newest control frame; written under mu
	filed     Position // committed position in the file; written under mu, because Commit looks at it
	lastWrite time.Time
	lastDrop  time.Time
	lastAge   time.Time
	retryAt   time.Time
}

// group is what one commit makes durable. Its frames lack offsets and checksums until then.
type group struct {
	buf     []byte
	sizes   []int
	waiting bool          // somebody waits for this group
	done    []func(error) // to be called
	outcome *outcome      // of those who wait; nil if none does
}

// outcome is what became of a group. Closing done wakes all who wait for it at once; err is set before.
type outcome struct {
	done chan struct{}
	err  error
}

const (
	groupBytes  = 1 << 20         // more than that waits for the commit under way: bounded memory, and slow flash slows the devices
	fileAfter   = 5 * time.Second // of quiet, the committed position goes to its file
	fileBytes   = 1 << 20         // acknowledged bytes after which it does so in any case
	dropEvery   = time.Second
	dropAtOnce  = 8 // segments
	reopenEvery = time.Second
)

// Append makes events durable, all or none, in one group commit shared with all that wait. It blocks while the group is full; ctx
// bounds that wait only: what has been handed over is either durable or refused when Append returns. Errors wrap ErrClosed, ErrFull,
// ErrTooLarge or ErrUnavailable.
func (q *Queue) Append(ctx context.Context, events ...Event) error {
	o, err := q.submit(ctx, events, nil)
	if err != nil {
		return err
	}
	<-o.done
	return o.err
}

// Submit is Append without waiting: done is called once, in commit order, from the committer's goroutine; it must not block. If Submit
// returns an error done is not called.
func (q *Queue) Submit(ctx context.Context, events []Event, done func(error)) error {
	_, err := q.submit(ctx, events, done)
	return err
}

// submit puts events into the pending group. fn is called with its outcome; a nil fn means that the caller waits for the outcome.
func (q *Queue) submit(ctx context.Context, events []Event, fn func(error)) (*outcome, error) {
	size := 0
	for i := range events {
		if k := events[i].Kind; k > maxKind {
			return nil, fmt.Errorf("wal: kind %d of an event, at most %d", k, maxKind)
		}
		if n := len(events[i].Fragment); n > MaxFragment {
			return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, MaxFragment)
		}
		size += headerSize + len(events[i].Fragment)
	}
	q.mu.Lock()
	for !q.shut && q.pending.waiting && len(q.pending.buf)+size > groupBytes {
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the group commit before: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	if q.shut {
		q.mu.Unlock()
		return nil, ErrClosed
	}
	g := q.pending
	for i := range events {
		before := len(g.buf)
		g.buf = appendFrame(g.buf, frameEvent, &events[i])
		g.sizes = append(g.sizes, len(g.buf)-before)
	}
	g.waiting = true
	if fn != nil {
		g.done = append(g.done, fn)
	} else if g.outcome == nil {
		g.outcome = &outcome{done: make(chan struct{})}
	}
	o := g.outcome
	q.mu.Unlock()
	poke(q.kick)
	return o, nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Commit moves the committed position forward to p. Of the events between, deployed were acknowledged by the cloud and dead moved to
// the dead-letter log; the rest could not be read and count as damaged. A p at or below the committed one is ignored. It is durable
// with the next group commit, or in its file after a moment; a crash before that means that those events are sent again.
func (q *Queue) Commit(p Position, deployed, dead uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return ErrClosed
	}
	if p.Offset <= q.committed.Offset {
		return nil
	}
	if p.Offset >= q.end.Offset {
		p = q.end
	}
	p.Seq = min(p.Seq, q.end.Seq)
	p.Seq = max(p.Seq, q.committed.Seq)
	delta := p.Seq - q.committed.Seq
	dead = min(dead, delta) // the quota may have dropped part of it meanwhile
	deployed = min(deployed, delta-dead)
	q.counters.deployed += deployed
	q.counters.dead += dead
	q.counters.damaged += delta - deployed - dead
	q.committed = p
	if frames := q.end.Offset - q.segments[0].first + 1; (p.Offset-min(p.Offset, q.filed.Offset))*uint64(q.bytes) >= fileBytes*frames {
		q.urgent = true
		poke(q.kick)
	}
	return nil
}

// bounds returns the durable end, the committed position and the epoch of the files.
func (q *Queue) bounds() (end, committed Position, epoch uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end, q.committed, q.epoch
}

// Committed is the committed position.
func (q *Queue) Committed() Position { _, c, _ := q.bounds(); return c }

// DurablyCommitted is the committed position that a crash now would leave: the newest that stands in a control frame or in its file.
func (q *Queue) DurablyCommitted() Position {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.told.Offset > q.filed.Offset {
		return q.told
	}
	return q.filed
}

// End is the position of the last durable frame.
func (q *Queue) End() Position { e, _, _ := q.bounds(); return e }

// Wake gets a token after each group commit, for one consumer.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// segmentOf returns the first offset of the segment that holds offset, or of the first segment behind it.
func (q *Queue) segmentOf(offset uint64) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := sort.Search(len(q.segments), func(i int) bool { return q.segments[i].first > offset })
	return q.segments[max(0, i-1)].first
}

// extent returns where a segment ends: the first offset of the next one, and how many of its bytes are durable; -1 = all there are.
func (q *Queue) extent(first uint64) (limit uint64, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := sort.Search(len(q.segments), func(i int) bool { return q.segments[i].first > first })
	if i < len(q.segments) {
		return q.segments[i].first, -1
	}
	return math.MaxUint64, q.segments[len(q.segments)-1].bytes
}

// dropped tells whether a segment is no longer among those of the queue.
func (q *Queue) dropped(first uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !slices.ContainsFunc(q.segments, func(s segment) bool { return s.first == first })
}

// damage notes that frames from one offset to another cannot be read, keeps the file for people, and logs it once a segment.
func (q *Queue) damage(first, from, to uint64) {
	q.mu.Lock()
	_, known := q.damaged[first]
	q.damaged[first] = struct{}{}
	q.mu.Unlock()
	if known {
		return
	}
	path := filepath.Join(q.o.Dir, segmentName(first))
	q.log.Error("events in the queue cannot be read; they are passed over and counted as damaged", "file", path, "from", from, "to", to)
	if b, err := readBounded(path, corruptBytes/2); err == nil {
		keep(q.o.CorruptDir, segmentName(first)+".damaged", b, q.log)
	}
}

// Stats is a snapshot.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{
		Accepted: q.end.Seq, Deployed: q.counters.deployed, Pending: q.end.Seq - q.committed.Seq, Dropped: q.counters.dropped,
		Dead: q.counters.dead, Damaged: q.counters.damaged, First: q.segments[0].first, Last: q.end.Offset, Committed: q.committed.Offset,
		Bytes: q.bytes, Commits: uint64(q.commits.Load()), Segments: len(q.segments), Writable: q.lastErr == nil && !q.shut, LastError: q.lastErr,
	}
	if q.flashDay.Load() == today() {
		s.FlashBytesToday = q.flash.Load()
	}
	s.OldestPending = q.oldestLocked()
	return s
}

// oldestLocked is the time of the first event behind the committed position. It is read once for each position that is asked for.
func (q *Queue) oldestLocked() int64 {
	if q.end.Seq == q.committed.Seq {
		return 0
	}
	behind := q.committed.Offset
	if q.oldest.known && q.oldest.behind == behind {
		return q.oldest.time
	}
	r := &Reader{q: q, pos: q.committed, buf: make([]byte, 16<<10)}
	var found int64
	known := false
	q.mu.Unlock() // the reader takes it
	err := r.Read(func(e *Entry) bool { found, known = e.Time, true; return false })
	r.Close()
	q.mu.Lock()
	if err != nil || !known {
		return 0
	}
	q.oldest.behind, q.oldest.time, q.oldest.known = behind, found, true
	return found
}

func today() int64 { return time.Now().Unix() / 86400 }

// wrote adds to the account of the flash.
func (q *Queue) wrote(n int) {
	if d := today(); q.flashDay.Swap(d) != d {
		q.flash.Store(0)
	}
	q.flash.Add(int64(n))
}

// Close makes everything durable, the committed position too, and releases the directory. Appends that come later get ErrClosed.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.shut = true
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
	q.mu.Unlock()
	q.once.Do(func() { close(q.closing) })
	<-q.closed
	return q.lastErr
}
