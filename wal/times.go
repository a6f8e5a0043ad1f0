package wal

import (
	"math/bits"
	"sync"
	"time"
)

// TimeClasses is how many classes of durations a [Times] has.
const TimeClasses = 16

// Times counts durations by their size, for a histogram. The zero value has none. It is safe for
// concurrent use.
type Times struct {
	mu sync.Mutex // innermost
	TimeCounts
}

// TimeCounts is what a Times has counted.
type TimeCounts struct {
	// Counts has at i those below 2^i ms that are in no class before; the last has all others.
	Counts [TimeClasses]uint64
	Sum    time.Duration
}

// timeClass is the class of a duration.
func timeClass(took time.Duration) int {
	return min(bits.Len64(uint64(max(took, 0)/time.Millisecond)), TimeClasses-1)
}

// Note counts a duration.
func (t *Times) Note(took time.Duration) {
	t.mu.Lock()
	t.Counts[timeClass(took)]++
	t.Sum += max(took, 0)
	t.mu.Unlock()
}

// Noted is what was counted so far.
func (t *Times) Noted() TimeCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.TimeCounts
}
