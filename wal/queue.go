package wal

import (
	"context"
	"errors"
	"log/slog"
	"time"
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

// Queue is the durable queue of events.
type Queue struct{}

// Open repairs what needs repair and opens the queue.
func Open(o Options) (*Queue, error) { return nil, errors.ErrUnsupported }

// Append makes events durable, all or none, in one group commit shared with all that wait.
func (q *Queue) Append(ctx context.Context, events ...Event) error { return errors.ErrUnsupported }

// Submit is Append without waiting: done is called, in commit order, from the committer's goroutine.
func (q *Queue) Submit(ctx context.Context, events []Event, done func(error)) error {
	return errors.ErrUnsupported
}

// Reader reads events from the first uncommitted one on. One goroutine uses it.
type Reader struct{}

// Reader returns a reader that stands at the committed position.
func (q *Queue) Reader() *Reader { return &Reader{} }

// Read calls fn for each event behind the reader's position until fn returns false (that entry is then not consumed: the next
// Read begins with it) or the last durable event has been read.
func (r *Reader) Read(fn func(e *Entry) bool) error { return errors.ErrUnsupported }

// Position is that of the last frame consumed.
func (r *Reader) Position() Position { return Position{} }

// Seek moves the reader back (or forth) to a position it had before; the next Read begins behind it.
func (r *Reader) Seek(p Position) {}

// Commit moves the committed position forward to p. Of the events between, deployed were acknowledged by the cloud and dead
// moved to the dead-letter log; the rest could not be read and count as damaged. A p at or below the committed one is ignored.
func (q *Queue) Commit(p Position, deployed, dead uint64) error { return errors.ErrUnsupported }

// Committed is the committed position, End that of the last durable frame.
func (q *Queue) Committed() Position { return Position{} }

// End is the position of the last durable frame.
func (q *Queue) End() Position { return Position{} }

// Wake gets a token after each group commit, for one consumer.
func (q *Queue) Wake() <-chan struct{} { return nil }

// Stats is a snapshot.
func (q *Queue) Stats() Stats { return Stats{} }

// Close makes everything durable, the committed position too, and releases the directory.
func (q *Queue) Close() error { return nil }

// Inspect reads the counters of a directory that no process holds, without changing anything.
func Inspect(dir string) (Stats, error) { return Stats{}, errors.ErrUnsupported }
