package rest

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// checks lets one password at a time be compared, which takes a second on a small machine. Those
// that wait are let in by rank, then in their order, and few of an address wait: a crowd of
// addresses with wrong passwords does not keep out who has the right one. Its methods may be called
// from many goroutines.
type checks struct {
	mu      sync.Mutex // guards what follows
	busy    bool
	waiting []*waiter // in their order, at most maxChecks
}

// waiter is a login that waits.
type waiter struct {
	from netip.Prefix
	rank int       // the lower one goes first
	turn chan bool // of size 1: whether it is its turn, or it has given way
}

// enter waits until a password may be compared, and returns false where that is not to be soon.
// leave must follow where it returned true.
func (c *checks) enter(ctx context.Context, from netip.Prefix, rank int) bool {
	c.mu.Lock()
	if !c.busy {
		c.busy = true
		c.mu.Unlock()
		return true
	}
	w := &waiter{from, rank, make(chan bool, 1)}
	if !c.admit(w) {
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	t := time.NewTimer(checkLimit)
	defer t.Stop()
	select {
	case turn := <-w.turn:
		return turn
	case <-t.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.remove(w)
	c.mu.Unlock()
	select {
	case turn := <-w.turn: // it came in the same moment
		if turn {
			c.leave()
		}
	default:
	}
	return false
}

// admit adds a waiter; of its address, or of all, the one that is worst gives way. The caller holds
// mu.
func (c *checks) admit(w *waiter) bool {
	var worst, own *waiter
	of := 0
	for _, o := range c.waiting {
		if worst == nil || o.rank >= worst.rank {
			worst = o
		}
		if o.from == w.from {
			if of++; own == nil || o.rank >= own.rank {
				own = o
			}
		}
	}
	switch {
	case of >= ofAddress:
		worst = own
	case len(c.waiting) < maxChecks:
		worst = nil
	}
	if worst != nil {
		if worst.rank <= w.rank {
			return false
		}
		c.remove(worst)
		worst.turn <- false
	}
	c.waiting = append(c.waiting, w)
	return true
}

// leave lets the next one in.
func (c *checks) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next *waiter
	for _, w := range c.waiting {
		if next == nil || w.rank < next.rank {
			next = w
		}
	}
	if next == nil {
		c.busy = false
		return
	}
	c.remove(next)
	next.turn <- true
}

// remove takes a waiter out. The caller holds mu.
func (c *checks) remove(w *waiter) {
	for i, o := range c.waiting {
		if o == w {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return
		}
	}
}
