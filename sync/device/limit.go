package device

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Limits on wrong tokens. ThingsBoard's own, when switched on, blocks an address for a minute after
// ten (API.md 6).
const (
	wrongBurst     = 10              // wrong tokens of one address that are answered at once
	wrongEvery     = 6 * time.Second // one more is answered at once after each
	wrongAddresses = 1024            // addresses that are remembered at a time
	wrongDelay     = time.Second     // before an answer beyond the limit
	wrongWaiting   = 32              // such answers at a time; more come at once
)

// wrongTokens counts wrong tokens by address and slows down the answers to them. A right token is
// never slowed down. Its methods may be called from many goroutines.
type wrongTokens struct {
	waiting chan struct{}

	mu sync.Mutex
	// full is when an address may have wrongBurst answers at once again. After that it is
	// forgotten.
	full map[netip.Prefix]time.Time
}

func newWrongTokens() *wrongTokens {
	return &wrongTokens{waiting: make(chan struct{}, wrongWaiting), full: make(map[netip.Prefix]time.Time)}
}

// allow counts a wrong token and reports whether it is within the limit of its address.
func (l *wrongTokens) allow(remote string, now time.Time) bool {
	from := addressOf(remote) // the zero Prefix counts for all addresses that are not remembered
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

// wait delays the caller by wrongDelay. It returns false at once if too many callers wait already.
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
