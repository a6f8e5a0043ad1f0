package wal

import (
	"sync"
	"time"
)

// Stats is a snapshot of the counters. Events are counted over the life of the directory.
type Stats struct {
	Accepted, Deployed, Pending, Dropped, Dead, Damaged uint64

	First, Last, Committed uint64        // offsets
	Bytes                  int64         // of all segments
	Acknowledged           int64         // of those of them of which all is committed
	OldestPending          int64         // Time of the oldest pending event; 0 = none, or it cannot be read
	Today                  Account       // what was written today
	Since                  time.Duration // how long Today covers
	Commits                uint64        // group commits of this process's life
	Stretched              uint64        // of them, those that the flash budget made wait
	SlowSyncs              uint64        // fsyncs of this process's life that took longer than SlowSync
	SyncTimes              TimeCounts    // of the fsyncs of segments, of this process's life
	CommitBytes            int64         // what one commit costs the medium
	Segments               int
	Writable               bool
	LastError              error
}

// Stats is a snapshot of one moment. It reads one event from the medium when the committed position
// has moved since the last call.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	s := Stats{
		Accepted: q.end.Seq, Deployed: q.counters.deployed, Dead: q.counters.dead, Damaged: q.counters.damaged,
		Pending: q.end.Seq - q.committed.Seq - q.ahead, Dropped: q.counters.dropped + q.ahead,
		First: q.segments[0].first, Last: q.end.Offset, Committed: q.committed.Offset,
		Bytes: q.bytes, Acknowledged: q.acknowledgedLocked(), Segments: len(q.segments),
		Writable: q.lastErr == nil && !q.shut, LastError: q.lastErr,
	}
	committed, empty := q.committed, q.end.Seq == q.committed.Seq
	q.mu.Unlock()
	s.Today, s.CommitBytes = q.ledger.today(), q.o.CommitBytes
	s.Commits, s.Stretched = uint64(q.commits.Load()), uint64(q.stretched.Load())
	s.SlowSyncs, s.SyncTimes = q.slow.total(), q.slow.life.Noted()
	now := time.Now()
	s.Since = min(now.Sub(q.opened), now.Sub(now.UTC().Truncate(day)))
	if !empty {
		s.OldestPending = q.oldestBehind(committed)
	}
	return s
}

// oldest is the time of the first event behind one committed position.
type oldest struct {
	mu     sync.Mutex // guards what follows; taken before Queue.mu, which the reader takes
	behind uint64     // committed offset that the event was looked up for
	time   int64
	known  bool
}

// oldestBehind is the time of the first event behind a position, 0 if there is none or it cannot be
// read. It is read once for each position that is asked for.
func (q *Queue) oldestBehind(p Position) int64 {
	o := &q.oldest
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known && o.behind == p.Offset {
		return o.time
	}
	r := &Reader{q: q, pos: p, passed: true, buf: make([]byte, 16<<10)}
	defer r.Close()
	var found int64
	known := false
	err := r.Read(func(e *Entry) bool {
		found, known = e.Time, true
		return false
	})
	if err != nil || !known {
		return 0
	}
	o.behind, o.time, o.known = p.Offset, found, true
	return found
}
