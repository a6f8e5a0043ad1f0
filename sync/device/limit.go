package device

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Limits on wrong tokens. ThingsBoard's own, when switched on, blocks an address for a minute after ten (device API 6).
const (
	wrongBurst     = 10              // answered at once, for each address
	wrongEvery     = 6 * time.Second // one more after each
	wrongAddresses = 1024            // remembered at a time
	wrongDelay     = time.Second     // of answers beyond the limit
	wrongWaiting   = 32              // such answers at a time; more are not waited for
)

// wrongTokens counts wrong tokens by address. Only they are slowed down: who has a right one never gets here. Its methods may be
// called from many goroutines.
type wrongTokens struct {
	waiting chan struct{}

	mu sync.Mutex
	// full is when the address has its whole burst again. An address is forgotten when that is past.
	full map[netip.Prefix]time.Time
}

func newWrongTokens() *wrongTokens {
	return &wrongTokens{waiting: make(chan struct{}, wrongWaiting), full: make(map[netip.Prefix]time.Time)}
}

// allow counts a wrong token and tells whether it is within the limit of its address.
func (l *wrongTokens) allow(remote string, now time.Time) bool {
	from := addressOf(remote) // the zero Prefix stands for all that have no place of their own
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.full[from]; !known && len(l.full) >= wrongAddresses {
		for a, t := range l.full {
			if !t.After(now) {
				delete(l.full, a)
			}
		}
		if len(l.full) >= wrongAddresses {
			from = netip.Prefix{}
		}
	}
	t := l.full[from]
	if t.Before(now) {
		t = now
	}
	t = t.Add(wrongEvery)
	if t.Sub(now) > wrongBurst*wrongEvery {
		return false
	}
	l.full[from] = t
	return true
}

// wait holds the caller up, and tells false at once if too many are held up already.
func (l *wrongTokens) wait(ctx context.Context) bool {
	select {
	case l.waiting <- struct{}{}:
	default:
		return false
	}
	defer func() { <-l.waiting }()
	t := time.NewTimer(wrongDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return true
}
