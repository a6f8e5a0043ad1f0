package wal

import (
	"errors"
	"log/slog"
	"time"
)

// DeadLetter is an event that the cloud refuses, with the story of it. Its identity is the offset it had in the queue.
type DeadLetter struct {
	Event
	Offset  uint64
	Reason  string    // what the cloud said, shortened and redacted by the caller
	Tries   int       // deliveries tried
	At      time.Time // of the first refusal
	Resting bool      // no more tries by itself
}

// DeadLog is the bounded, durable log of dead letters.
type DeadLog struct{}

// DeadStats counts the letters. Delivered and Discarded are over the life of the directory.
type DeadStats struct {
	Letters   int // kept now, resting ones too
	Resting   int
	Delivered uint64 // accepted by the cloud at a later try
	Discarded uint64 // given up: by the bound or by a user
	Bytes     int64
}

// OpenDead opens the log in dir, bounded to maxBytes. Letters whose offset is above committed are forgotten: a crash came between
// their writing and the commit, and the queue holds them still.
func OpenDead(dir string, maxBytes int64, committed uint64, log *slog.Logger) (*DeadLog, error) {
	return nil, errors.ErrUnsupported
}

// Put stores a letter durably; a letter with the same offset is replaced.
func (d *DeadLog) Put(l DeadLetter) error { return errors.ErrUnsupported }

// Remove forgets a letter durably and counts it as delivered or discarded.
func (d *DeadLog) Remove(offset uint64, delivered bool) error { return errors.ErrUnsupported }

// Get reads one letter.
func (d *DeadLog) Get(offset uint64) (DeadLetter, bool, error) { return DeadLetter{}, false, nil }

// Each calls fn for the letters in order of their offsets until it returns false.
func (d *DeadLog) Each(fn func(l *DeadLetter) bool) error { return nil }

// Stats is a snapshot.
func (d *DeadLog) Stats() DeadStats { return DeadStats{} }

// Close releases the log.
func (d *DeadLog) Close() error { return nil }
