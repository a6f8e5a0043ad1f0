package wal

import (
	"log/slog"
	"sync"
	"time"
)

// SlowSync is the fsync that counts as slow (Stats.SlowSyncs). 500 ms is what a sound card may take
// for one write at most (SD Physical Layer Specification, "Write Timeout": 250 ms, of SDXC 500 ms).
const SlowSync = 500 * time.Millisecond

const (
	slowShare  = 100              // more than one in so many is worth a line: the 99th percentile is above the bound
	slowWindow = 10 * time.Minute // over which they are counted, and at most one line is logged
)

// slowSyncs counts the fsyncs of segments that took long, and logs when the 99th percentile of a
// window is above SlowSync. Whoever waits for an fsync notes it: the owner of the files, or
// syncMany. The library's fsync of a segment that is full counts with the write that fills it.
type slowSyncs struct {
	mu     sync.Mutex          // guards what follows
	slow   uint64              // in all
	begun  time.Time           // of the window
	above  uint64              // of the window, those that were slow
	logged bool                // in this window
	life   Times               // all of this process's life
	syncs  [TimeClasses]uint32 // of the window, by the binary logarithm of their milliseconds; the last one takes all above
}

// note counts an fsync that began at a time and is over now.
func (s *slowSyncs) note(began time.Time, dir string, log *slog.Logger) {
	now := time.Now()
	took := now.Sub(began)
	s.life.Note(took)
	if p99, all, due := s.count(now, took); due {
		log.Warn("the medium is slow: an fsync takes longer than it should, and devices wait for it",
			"dir", dir, "took", took.Round(time.Millisecond), "p99_up_to", p99, "of_fsyncs", all, "bound", SlowSync)
	}
}

// count is note without the line; due says that one is to be logged.
func (s *slowSyncs) count(now time.Time, took time.Duration) (p99 time.Duration, all uint64, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.begun) >= slowWindow {
		s.begun, s.above, s.logged, s.syncs = now, 0, false, [len(s.syncs)]uint32{}
	}
	s.syncs[timeClass(took)]++
	if took <= SlowSync {
		return 0, 0, false
	}
	s.slow++
	s.above++
	p99, all = s.percentile()
	due = !s.logged && s.above*slowShare > all
	s.logged = s.logged || due
	return p99, all, due
}

// percentile is what all but one in slowShare of the window's fsyncs stay below, rounded up to a
// power of two of milliseconds, and how many there were.
func (s *slowSyncs) percentile() (p99 time.Duration, all uint64) {
	for _, n := range s.syncs {
		all += uint64(n)
	}
	above := uint64(0)
	i := len(s.syncs) - 1
	for ; i > 0; i-- {
		if above += uint64(s.syncs[i]); above*slowShare > all {
			break
		}
	}
	return time.Millisecond << i, all
}

// total is how many were slow since the queue was opened.
func (s *slowSyncs) total() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slow
}
