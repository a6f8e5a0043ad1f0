package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
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

	waiters        sync.Pool // of chan error
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
	oldest    struct {
		offset uint64
		time   int64
	}
	damaged map[uint64]struct{} // segments whose damage was logged; bounded by the segments

	// The committer's own.
	store     *tlog.Log
	file      *committedFile
	batch     tlog.Batch
	told      Position // committed position of the newest control frame
	filed     Position // committed position in the file
	lastWrite time.Time
	lastDrop  time.Time
	retryAt   time.Time
	inject    func(op string) error // a fault, in tests
}

// group is what one commit makes durable. Its frames lack offsets and checksums until then.
type group struct {
	buf    []byte
	sizes  []int
	done   []waiter
	events int
}

type waiter struct {
	c  chan error
	fn func(error)
}

const (
	groupBytes  = 1 << 20         // more than that waits for the commit under way: bounded memory, and slow flash slows the devices
	fileAfter   = 5 * time.Second // of quiet, the committed position goes to its file
	fileBytes   = 1 << 20         // acknowledged bytes after which it does so in any case
	dropEvery   = time.Second
	dropAtOnce  = 8 // segments
	reopenEvery = time.Second
)

// Open repairs what needs repair and opens the queue. It fails only for a directory that another process holds (ErrLocked) or that
// cannot be read or written, never for damaged content.
func Open(o Options) (*Queue, error) {
	if o.SegmentSize <= 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.Policy == "" {
		o.Policy = DropOldest
	}
	q := &Queue{
		o: o, log: o.Log, kick: make(chan struct{}, 1), wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		pending: new(group), spare: new(group), damaged: make(map[uint64]struct{}), lastWrite: time.Now(),
		waiters: sync.Pool{New: func() any { return make(chan error, 1) }},
	}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.lock = lock
	if err := q.open(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("queue %s: %w", o.Dir, err)
	}
	go q.run()
	return q, nil
}

// open repairs the directory, opens the library's log and works out where things stand.
func (q *Queue) open() error {
	t, err := repair(q.o.Dir, q.o.CorruptDir, q.log)
	if err != nil {
		return err
	}
	store, err := tlog.Open(q.o.Dir, &tlog.Options{NoSync: true, SegmentSize: q.o.SegmentSize, SegmentCacheSize: 1, NoCopy: true, AllowEmpty: true, DirPerms: 0o700, FilePerms: 0o600})
	if err != nil {
		return err
	}
	last, err := store.LastIndex()
	if err == nil && last != t.last {
		err = fmt.Errorf("the library sees %d as the last offset, repair saw %d", last, t.last)
	}
	if err == nil {
		err = syncDir(q.o.Dir)
	}
	var c control
	var generation uint64
	var ok bool
	if q.file == nil && err == nil {
		c, generation, ok = readCommitted(q.o.Dir)
		q.file, err = openCommitted(q.o.Dir, generation)
	}
	if err != nil {
		store.Close()
		return err
	}
	q.store = store
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end = Position{t.last, t.seq}
	if q.committed != (Position{}) { // reopened after a failure: what was committed in memory is newer
		ok, c = true, control{committed: q.committed, counters: q.counters}
	}
	q.place(t, c, ok)
	return q.listLocked()
}

// place finds the committed position: the newest of the file and the tail's control frames that lies within the log. If both are lost
// everything that is still there is sent again.
func (q *Queue) place(t tail, c control, ok bool) {
	if t.found && (!ok || t.newest.committed.Offset > c.committed.Offset) {
		c, ok = t.newest, true
	}
	if ok && (c.committed.Offset > t.last || c.committed.Seq > t.seq) {
		q.log.Warn("the committed offset lies beyond the end of the queue; it is drawn back", "committed", c.committed.Offset, "last", t.last)
		ok = false
		if t.found && t.newest.committed.Offset <= t.last && t.newest.committed.Seq <= t.seq {
			c, ok = t.newest, true
		}
	}
	if !ok {
		c = control{}
		if first, err := listSegments(q.o.Dir); err == nil && len(first) > 0 && first[0] > 1 {
			c.committed.Offset = first[0] - 1
			if seq, ok := headSeq(q.o.Dir, first[0]); ok {
				c.committed.Seq = min(seq, t.seq)
				c.counters.deployed = c.committed.Seq
			}
		}
	}
	q.committed, q.counters = c.committed, c.counters
	if ok {
		q.told = c.committed
	}
}

// headSeq reads how many events were accepted before the segment, from the control frame at its head.
func headSeq(dir string, first uint64) (uint64, bool) {
	b, err := readBounded(filepath.Join(dir, segmentName(first)), headerSize+controlSize+maxPrefix)
	if err != nil {
		return 0, false
	}
	f, _, bad := next(b, first)
	if bad || f.typ() != frameControl {
		return 0, false
	}
	c, ok := parseControl(f.payload())
	return c.seq, ok
}

// listLocked reads names and sizes of the segments.
func (q *Queue) listLocked() error {
	firsts, err := listSegments(q.o.Dir)
	if err != nil {
		return err
	}
	q.segments, q.bytes = q.segments[:0], 0
	for _, f := range firsts {
		i, err := os.Stat(filepath.Join(q.o.Dir, segmentName(f)))
		if err != nil {
			return err
		}
		q.segments = append(q.segments, segment{f, i.Size()})
		q.bytes += i.Size()
	}
	return nil
}

// Append makes events durable, all or none, in one group commit shared with all that wait. It blocks while the group is full; ctx
// bounds that wait only: what has been handed over is either durable or refused when Append returns. Errors wrap ErrClosed, ErrFull,
// ErrTooLarge or ErrUnavailable.
func (q *Queue) Append(ctx context.Context, events ...Event) error {
	c := q.waiters.Get().(chan error)
	defer q.waiters.Put(c)
	if err := q.submit(ctx, events, waiter{c: c}); err != nil {
		return err
	}
	return <-c
}

// Submit is Append without waiting: done is called once, in commit order, from the committer's goroutine; it must not block. If Submit
// returns an error done is not called.
func (q *Queue) Submit(ctx context.Context, events []Event, done func(error)) error {
	return q.submit(ctx, events, waiter{fn: done})
}

func (q *Queue) submit(ctx context.Context, events []Event, w waiter) error {
	size := 0
	for i := range events {
		if n := len(events[i].Fragment); n > MaxFragment {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, MaxFragment)
		}
		size += headerSize + len(events[i].Fragment)
	}
	q.mu.Lock()
	for !q.shut && len(q.pending.done) > 0 && len(q.pending.buf)+size > groupBytes {
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the group commit before: %w", ctx.Err())
		}
		q.mu.Lock()
	}
	if q.shut {
		q.mu.Unlock()
		return ErrClosed
	}
	g := q.pending
	for i := range events {
		before := len(g.buf)
		g.buf = appendFrame(g.buf, frameEvent, &events[i])
		g.sizes = append(g.sizes, len(g.buf)-before)
	}
	g.events += len(events)
	g.done = append(g.done, w)
	q.mu.Unlock()
	poke(q.kick)
	return nil
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
	if p.Offset > q.end.Offset || p.Seq > q.end.Seq {
		p = Position{min(p.Offset, q.end.Offset), min(p.Seq, q.end.Seq)}
	}
	if p.Offset <= q.committed.Offset {
		return nil
	}
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

// bounds returns the durable end and the committed position.
func (q *Queue) bounds() (end, committed Position) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end, q.committed
}

// Committed is the committed position.
func (q *Queue) Committed() Position { _, c := q.bounds(); return c }

// End is the position of the last durable frame.
func (q *Queue) End() Position { e, _ := q.bounds(); return e }

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
	if q.oldest.offset == q.committed.Offset && q.oldest.time != 0 {
		return q.oldest.time
	}
	r := &Reader{q: q, pos: q.committed, buf: make([]byte, 16<<10)}
	var found int64
	q.mu.Unlock() // the reader takes it
	err := r.Read(func(e *Entry) bool { found = e.Time; return false })
	r.Close()
	q.mu.Lock()
	if err != nil {
		return 0
	}
	q.oldest.offset, q.oldest.time = r.pos.Offset, found
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

// Inspect reads the counters of a directory without changing anything; a process may hold it meanwhile.
func Inspect(dir string) (Stats, error) {
	firsts, err := listSegments(dir)
	if err != nil {
		return Stats{}, err
	}
	q := &Queue{o: Options{Dir: dir}, log: slog.New(slog.DiscardHandler), damaged: make(map[uint64]struct{})}
	t := tail{first: 1}
	if n := len(firsts); n > 0 {
		data, err := readBounded(filepath.Join(dir, segmentName(firsts[n-1])), tailBytes)
		if err != nil {
			return Stats{}, err
		}
		t, _, _ = scan(data, firsts[n-1], func(int, int, uint64) {})
		if !t.seqSure && n > 1 {
			before, _ := seqBefore(dir, firsts[:n-1], firsts[n-1])
			t.seq += before
		}
	}
	q.end = Position{t.last, t.seq}
	c, _, ok := readCommitted(dir)
	q.place(t, c, ok)
	if err := q.listLocked(); err != nil {
		return Stats{}, err
	}
	if len(q.segments) == 0 {
		q.segments = []segment{{first: 1}}
	}
	return q.Stats(), nil
}
