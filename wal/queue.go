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

	"edgesync/wal/disk"

	tlog "github.com/tidwall/wal"
)

// Sentinels that callers test for.
var (
	// ErrClosed means that the queue was closed.
	ErrClosed = errors.New("wal: queue is closed")
	// ErrFull means that the quota is reached and the policy is to refuse.
	ErrFull = errors.New("wal: queue is full")
	// ErrTooLarge means that a fragment is larger than MaxFragment.
	ErrTooLarge = errors.New("wal: event is too large")
	// ErrUnavailable means that the medium refuses writes at the moment (full, failing, read-only);
	// nothing was accepted.
	ErrUnavailable = errors.New("wal: queue cannot be written")
)

// MaxFragment bounds one event's fragment in bytes: what the server takes in one message
// (CONTRACT.md 2.5).
const MaxFragment = 4 << 20

// Event is what a caller appends. The queue does not interpret Kind, Action, Again and Entity.
type Event struct {
	Kind     uint8 // 0 to 63
	Action   uint8 // 0 to 127
	Again    bool  // a copy of an event that was acknowledged before, made because a person asked
	Time     int64 // milliseconds since the Unix epoch
	Entity   [16]byte
	Fragment []byte
}

// Entry is an event read back. Its Fragment is valid only until the callback returns.
type Entry struct {
	Event
	Position
}

// Position is an offset of the queue and what was counted up to it. Offset is the library's index
// of a frame. Control frames take offsets too, so Seq counts the events up to and including that
// offset over the life of the directory. Thinned counts those of them that thinning has removed
// behind the position at which the queue was opened; it is never stored.
type Position struct {
	Offset  uint64
	Seq     uint64
	Thinned uint64
}

// Options of a queue.
type Options struct {
	Dir         string        // segments and the committed file
	CorruptDir  string        // where cut and damaged bytes are kept
	SegmentSize int           // bytes; 0 = 512 KiB
	MaxBytes    int64         // quota; 0 = unlimited
	MaxAge      time.Duration // 0 = unlimited
	Policy      string        // at the quota: DropOldest (also if empty), RejectNew or Thin
	Interval    time.Duration // between fsyncs: events are accepted once written. 0 = after their fsync
	FlashBudget int64         // bytes a day; 0 = unlimited
	MaxDelay    time.Duration // longest stretch of a group commit under the budget
	CommitBytes int64         // what one commit costs the medium; 0 = medium.AssumedCommit
	KeepBytes   int64         // of the newest segments of which all is committed; they give way as those of Keep do
	Pinned      uint64        // what is pinned from the first moment on (Queue.Pin); 0 = nothing
	Reserve     int64         // bytes of the file "reserve": room for the committed file on a full disk
	Floor       int64         // bytes of the medium that the queue leaves free (measure); 0 = none
	Fill        bool          // the file system overwrites in place: the tail gets its room beforehand
	Log         *slog.Logger

	// Now is the time for frames of the queue's own and for MaxAge, in milliseconds since the
	// epoch. A time outside the years 2020 to 2099 means that it is not known, and then nothing is
	// too old. nil: the machine's clock.
	Now func() int64
	// Series says whether an event may be thinned, and which series of its entity it belongs to:
	// each series is thinned by itself. nil: none may. The goroutine that commits calls it.
	Series func(kind, action uint8, fragment []byte) (series uint64, may bool)
	// Record makes the event that reports a gap; total is how many events were dropped over the
	// life of the directory. ok is false while it cannot be made, and then it is asked again. nil:
	// gaps are only counted. The goroutine that commits calls it.
	Record func(g Gap, total uint64) (e Event, ok bool)

	// Dropped is told of each gap when it is counted: how many events gave way, and why. nil:
	// nobody is. The goroutine that commits calls it; it must not block, nor call the queue.
	Dropped func(g Gap)

	padUpTo    int64 // room that tests have given up at the end of a segment (pad.go) though nobody waits
	besideFrom int   // appends of a group during whose fsync the next may be written; 0 = manyWaiting

	free func(dir string) (int64, error) // nil = disk.Free

	ops disk.Ops // nil = disk.System; tests put a medium in its place
}

// Policies at the quota.
const (
	DropOldest = "drop_oldest" // the oldest events give way
	RejectNew  = "reject_new"  // Append fails with ErrFull
	Thin       = "thin"        // every second event of each series gives way, evenly over the backlog (Options.Series)
)

// DefaultSegmentSize is the size of a segment in bytes. A segment is what is dropped at a time. The
// library holds the newest and the one before it in memory, so its own default of 20 MB would not
// do.
const DefaultSegmentSize = 512 << 10

// segment is what is known of one segment file.
type segment struct {
	first uint64 // offset of its first frame
	bytes int64
	level int8 // how often it was thinned; levelUnknown until its head was read
}

const levelUnknown = -1

// Queue is the durable queue of events. Its methods are safe for concurrent use.
//
// The holder of own calls the library and writes the files: the committer's goroutine, or a
// goroutine in Append that found nobody committing, which spares a lone writer two switches between
// goroutines. syncMany only calls fsync, on behalf of the holder. Readers read the files by
// themselves. doc.go has the order of the locks.
type Queue struct {
	o    Options
	log  *slog.Logger
	lock *os.File // keeps the flock

	kick     chan struct{} // there is something for the committer to do
	outcomes chan *outcome // of large groups, for wakeMany
	syncs    chan fileSync // for syncMany, while the next group is written
	syncErr  chan error    // its outcomes, in order
	many     chan struct{} // enough wait for the next group
	wake     chan struct{}
	closing  chan struct{}
	closed   chan struct{}
	once     sync.Once

	commits, stretched atomic.Int64
	syncTook           atomic.Int64 // nanoseconds of the last fsync by syncMany
	ledger             ledger
	slow               slowSyncs
	oldest             oldest
	opened             time.Time

	mu        sync.Mutex    // guards everything below, up to own
	pending   *group        // being filled
	spare     []*group      // at most two: one group is synced, the next written, a third filled
	enough    int           // appends in the pending group at which many gets a token
	space     chan struct{} // closed when the pending group is taken; nil if nobody waits
	shut      bool
	newest    int64     // time of the last frame when the queue was opened
	end       Position  // of what was accepted
	synced    Position  // of what is durable, for readers; behind end with Options.Interval only
	segments  []segment // sorted; the last is the tail
	bytes     int64
	most      int64 // that bytes may be; 0 = unlimited. Written under own too
	committed Position
	counters  counters
	ahead     uint64 // events behind committed that thinning has removed
	gap       Gap    // that no event reports yet
	rejected  Rejected
	kept      uint64 // see Keep; noneKept = nothing
	savedKept uint64 // the same, in the committed file when it was written last
	pinned    uint64 // see Pin; noneKept = nothing
	frontier  uint64 // last offset of the segment that the reader is in; thinning begins behind it
	replacing uint64 // first offset of what thinning is replacing now; 0 = nothing
	urgent    bool   // the committed position is due in its file
	lastErr   error
	epoch     uint64              // changes when files may have been replaced under the readers
	damaged   map[uint64]struct{} // segments whose damage was logged; bounded by the segments

	own       sync.Mutex // guards what follows; taken before mu
	ops       disk.Ops
	store     *tlog.Log
	append    func() error // has store write batch
	file      *committedFile
	proven    bool // false after a failure, until a write has succeeded
	batch     tlog.Batch
	groups    [2]written // the newest groups, in turn
	lately    int        // appends of the largest group lately: each group forgets a quarter
	crowd     bool       // many writers had the next group ready while the last fsync for many ran
	tail      tailFile
	budget    budget
	thin      thinning  // under way
	dirty     time.Time // of the first write since the last fsync, with Options.Interval; zero = none
	unsynced  int64     // bytes since then
	newNames  bool      // among what is not synced are the names of segments that hold something
	newTail   bool      // nothing is in the tail yet, and its name is not synced
	running   bool      // it was open before: memory is newer than the files
	reserved  bool      // the reserve is there
	starved   bool      // it was given back, and is not there again: no events are taken
	framed    Position  // committed position in the newest durable control frame; written under mu too
	framing   Position  // the same, in the newest one that is written
	filed     Position  // committed position in its file; written under mu too
	lastWrite time.Time
	lastDrop  time.Time
	lastAge   time.Time
	retryAt   time.Time
	reserveAt time.Time // next try to fill the reserve
	measured  time.Time // when Floor was looked after
	below     bool      // and less was free
}

// group is what one commit makes durable. Its frames get their offsets and checksums then.
type group struct {
	buf     []byte
	sizes   []int
	waiting bool          // somebody waits for this group
	since   time.Time     // when the first of them came
	appends int           // that they came with
	events  int64         // bytes of fragments
	done    []func(error) // to be called
	outcome *outcome      // of those who wait; nil if none does
}

// outcome is what became of a group. Closing done wakes all who wait for it at once; err is set
// before that.
type outcome struct {
	done chan struct{}
	err  error
}

const (
	groupBytes  = 1 << 20         // more waits for the commit under way, and so do the devices
	fileAfter   = 5 * time.Second // of quiet, the committed position goes to its file
	fileBytes   = 1 << 20         // acknowledged bytes after which it does so in any case
	dropEvery   = time.Second
	dropAtOnce  = 8 // segments
	reopenEvery = time.Second
	manyWaiting = 32
	refillEvery = 30 * time.Second // after which a used reserve is filled again
)

// Append makes events durable, all or none, in one group commit shared with all that wait. It
// blocks while the group is full; ctx bounds that wait only. What has been handed over is either
// durable or refused when Append returns. Errors wrap ErrClosed, ErrFull, ErrTooLarge or
// ErrUnavailable.
func (q *Queue) Append(ctx context.Context, events ...Event) error {
	o, first, err := q.submit(ctx, events, nil)
	if err != nil {
		return err
	}
	if first { // whoever comes later shares what becomes of this
		led := q.own.TryLock() // nobody commits
		if led {
			// Where many write, a commit of this event alone would have all others wait for it.
			if led = q.lately < q.o.besideFrom && q.hold(time.Now(), nil) <= 0; led {
				q.flush(false)
			}
			q.own.Unlock()
		}
		if !led {
			poke(q.kick)
		}
	}
	<-o.done
	return o.err
}

// Submit is Append without waiting: done is called once, in commit order, from the committer's
// goroutine, and must not block. If Submit returns an error, done is not called.
func (q *Queue) Submit(ctx context.Context, events []Event, done func(error)) error {
	_, first, err := q.submit(ctx, events, done)
	if first {
		poke(q.kick)
	}
	return err
}

// submit puts events into the pending group. fn is called with its outcome; a nil fn means that the
// caller waits for the outcome. The first of a group must see to it that the group is committed.
func (q *Queue) submit(ctx context.Context, events []Event, fn func(error)) (o *outcome, first bool, err error) {
	size, bytes := 0, 0
	for i := range events {
		if k := events[i].Kind; k > maxKind {
			return nil, false, fmt.Errorf("wal: kind %d of an event, at most %d", k, maxKind)
		}
		if a := events[i].Action; a > maxAction {
			return nil, false, fmt.Errorf("wal: action %d of an event, at most %d", a, maxAction)
		}
		if n := len(events[i].Fragment); n > MaxFragment {
			return nil, false, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, MaxFragment)
		}
		bytes += len(events[i].Fragment)
	}
	size = bytes + headerSize*len(events)
	q.mu.Lock()
	for !q.shut && q.pending.waiting && len(q.pending.buf)+size > groupBytes {
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		poke(q.kick)
		select {
		case <-space:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("waiting for the group commit before: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	if q.shut {
		q.mu.Unlock()
		return nil, false, ErrClosed
	}
	g := q.pending
	for i := range events {
		before := len(g.buf)
		g.buf = appendFrame(g.buf, frameEvent, &events[i])
		g.sizes = append(g.sizes, len(g.buf)-before)
	}
	if first = !g.waiting; first {
		g.waiting, g.since = true, time.Now()
	}
	g.appends++
	g.events += int64(bytes)
	q.signalEnoughLocked()
	if fn != nil {
		g.done = append(g.done, fn)
	} else if g.outcome == nil {
		g.outcome = &outcome{done: make(chan struct{})}
	}
	o = g.outcome
	q.mu.Unlock()
	return o, first, nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Commit moves the committed position forward to p. Of the events between, deployed were
// acknowledged by the cloud and dead moved to the dead letters; the rest could not be read and
// count as damaged. A p at or below the committed position is ignored. The position is durable with
// the next group commit, or in its file after a moment; a crash before that means that those events
// are sent again.
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
		p.Offset, p.Seq = q.end.Offset, q.end.Seq
	}
	p.Seq = min(p.Seq, q.end.Seq)
	p.Seq = max(p.Seq, q.committed.Seq)
	p.Thinned = max(p.Thinned, q.committed.Thinned)
	delta := p.Seq - q.committed.Seq
	thinned := min(p.Thinned-q.committed.Thinned, q.ahead, delta)
	dead = min(dead, delta-thinned) // the quota may have dropped part of it meanwhile
	deployed = min(deployed, delta-thinned-dead)
	q.counters.deployed += deployed
	q.counters.dead += dead
	q.counters.dropped += thinned
	q.counters.damaged += delta - deployed - dead - thinned
	q.ahead -= thinned
	q.committed = p
	q.balanceLocked()
	frames, since := q.end.Offset-q.segments[0].first+1, p.Offset-min(p.Offset, q.filed.Offset)
	if since*uint64(q.bytes) >= fileBytes*frames { // by the mean size of a frame
		q.urgent = true
		poke(q.kick)
	}
	return nil
}

// balanceLocked keeps ahead within what is pending. Where the frames around a gap are damaged, the
// events that thinning has removed there count as damaged when they are passed. Once too few events
// are pending for ahead, that many of the damaged are known to have been thinned, and count as
// dropped.
func (q *Queue) balanceLocked() {
	if rest := q.end.Seq - q.committed.Seq; q.ahead > rest {
		n := q.ahead - rest
		moved := min(n, q.counters.damaged)
		q.counters.damaged -= moved
		q.counters.dropped += moved
		q.ahead = rest
	}
}

// bounds returns the durable end, the committed position and the epoch of the files.
func (q *Queue) bounds() (end, committed Position, epoch uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.synced, q.committed, q.epoch
}

// Committed is the committed position.
func (q *Queue) Committed() Position { _, c, _ := q.bounds(); return c }

// DurablyCommitted is the committed position that a crash now would leave: the newest in a control
// frame or in its file.
func (q *Queue) DurablyCommitted() Position {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.framed.Offset > q.filed.Offset {
		return q.framed
	}
	return q.filed
}

// End is the position of the last durable frame.
func (q *Queue) End() Position { e, _, _ := q.bounds(); return e }

// Newest is the time of the last frame that was there when the queue was opened, 0 if its last
// segment had none. The time now is at least that.
func (q *Queue) Newest() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.newest
}

// Wake gets a token after each group commit, for one consumer.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// enter returns the first offset of the segment that holds offset, or of the first segment behind
// it. If the queue's reader goes there (main), thinning stays away from it. ok is false while
// thinning is replacing that segment.
func (q *Queue) enter(offset uint64, main bool) (first uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := max(0, sort.Search(len(q.segments), func(i int) bool { return q.segments[i].first > offset })-1)
	first = q.segments[i].first
	if q.replacing != 0 && first >= q.replacing {
		return first, false
	}
	if main {
		q.frontier = q.end.Offset
		if i+1 < len(q.segments) {
			q.frontier = q.segments[i+1].first - 1
		}
	}
	return first, true
}

// leave notes that the queue's reader has gone back to an offset.
func (q *Queue) leave(offset uint64) {
	q.mu.Lock()
	q.frontier = offset
	q.mu.Unlock()
}

// extent returns where a segment ends: the first offset of the next one, and how many of its bytes
// are durable (-1 = all there are).
func (q *Queue) extent(first uint64) (limit uint64, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := sort.Search(len(q.segments), func(i int) bool { return q.segments[i].first > first })
	if i < len(q.segments) {
		return q.segments[i].first, -1
	}
	return math.MaxUint64, q.segments[len(q.segments)-1].bytes
}

// dropped reports whether a segment is no longer among those of the queue.
func (q *Queue) dropped(first uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !slices.ContainsFunc(q.segments, func(s segment) bool { return s.first == first })
}

// damage notes that frames from one offset to another cannot be read, keeps the file for people,
// and logs that once a segment.
func (q *Queue) damage(first, from, to uint64) {
	q.mu.Lock()
	_, known := q.damaged[first]
	q.damaged[first] = struct{}{}
	q.mu.Unlock()
	if known {
		return
	}
	path := filepath.Join(q.o.Dir, segmentName(first))
	q.log.Error("events in the queue cannot be read; they are passed over and counted as damaged",
		"file", path, "from", from, "to", to)
	if b, err := disk.Read(path, disk.CorruptBytes/2); err == nil {
		disk.Keep(q.o.CorruptDir, segmentName(first)+".damaged", b, q.log)
	}
}

// Close makes everything durable, the committed position too, and releases the directory. Later
// appends get ErrClosed.
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
