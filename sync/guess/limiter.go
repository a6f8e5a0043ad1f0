package guess

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Bounds of attempts. ThingsBoard's own, when switched on, blocks an address for a minute after ten
// wrong ones (API.md 6).
const (
	Burst     = 10              // attempts of one address that are judged at once
	Every     = 6 * time.Second // one more after each
	Delay     = time.Second     // before an attempt beyond is judged
	Waiting   = 32              // attempts in their delay at a time
	OfAddress = 4               // of them, of one address
	Addresses = 1024            // addresses that have a count of their own
)

// ErrTooMany is returned for an attempt that is not judged. Whoever makes it should try again
// later.
var ErrTooMany = errors.New("too many wrong attempts; try again later")

// Secret stands for a secret, or a name. It is a keyed hash and tells nothing about it.
type Secret uint64

// bucket is what attempts are counted by: an address, and at one where a name is known, the name.
type bucket struct {
	from netip.Prefix
	name Secret
}

// Limiter decides when an attempt may be judged. Its methods may be called from many goroutines.
type Limiter struct {
	seed    maphash.Seed
	begun   time.Time
	waiting int // attempts in their delay at a time; 0: none is delayed, and those beyond are refused

	mu      sync.Mutex // guards what follows
	full    map[bucket]time.Time
	open    map[bucket]int       // attempts that count and are being judged
	ended   sync.Cond            // one of them has ended
	delayed map[netip.Prefix]int // attempts in their delay
	waits   int                  // of all addresses
	right   memory
}

// New returns a Limiter that delays attempts beyond the burst.
func New() *Limiter { return newLimiter(Waiting) }

// NewStrict returns a Limiter that refuses attempts beyond the burst: for secrets whose judging
// takes long by itself.
func NewStrict() *Limiter { return newLimiter(0) }

func newLimiter(waiting int) *Limiter {
	l := &Limiter{
		seed: maphash.MakeSeed(), begun: time.Now(), waiting: waiting,
		full: make(map[bucket]time.Time), open: make(map[bucket]int), delayed: make(map[netip.Prefix]int),
	}
	l.ended.L = &l.mu
	return l
}

// Secret returns what stands for the parts of a secret. Secrets of different kinds are different.
func (l *Limiter) Secret(kind string, parts ...string) Secret {
	var h maphash.Hash
	h.SetSeed(l.seed)
	_, _ = h.WriteString(kind)
	for _, p := range parts {
		var n [4]byte // of the part, so that no part reaches into the next
		n[0], n[1], n[2], n[3] = byte(len(p)>>24), byte(len(p)>>16), byte(len(p)>>8), byte(len(p))
		_, _ = h.Write(n[:])
		_, _ = h.WriteString(p)
	}
	return Secret(max(h.Sum64(), 1))
}

// Attempt is one that may be judged now. Right or Wrong ends it.
type Attempt struct {
	limiter *Limiter
	from    netip.Prefix
	secret  Secret
	bucket  bucket
	paid    bool // counts in bucket, and is not ended
	// Known reports whether the secret, or the name, was right lately from this address.
	Known bool
	// Late reports whether the attempt was delayed.
	Late bool
	// Debt is how many attempts counted for the address when this one began, of those that were
	// wrong or are being judged.
	Debt int
}

// Begin returns when a secret that comes from an address may be judged: at once, or after Delay.
// Many devices behind one address may come at the same moment, after a restart for example. So an
// attempt that finds the burst used up by attempts that are being judged waits for their end: only
// wrong ones use it up for longer.
//
// Its errors are ErrTooMany and that of ctx; the secret is then not to be judged.
func (l *Limiter) Begin(ctx context.Context, from netip.Prefix, secret Secret) (Attempt, error) {
	a := Attempt{limiter: l, from: from, secret: secret, bucket: bucket{from: from}}
	l.mu.Lock()
	if l.right.has(secret, l.hash(from), l.minute()) {
		l.mu.Unlock()
		a.Known = true
		return a, nil
	}
	for !l.room(a.bucket, time.Now()) && l.open[a.bucket] > 0 {
		l.ended.Wait()
	}
	wait, err := l.enter(&a, time.Now())
	l.mu.Unlock()
	if !wait || err != nil {
		return a, err
	}
	a.Late = true
	t := time.NewTimer(Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits--
	if l.delayed[from]--; l.delayed[from] == 0 {
		delete(l.delayed, from)
	}
	return a, err
}

// Knows reports whether a secret was right lately from an address.
func (l *Limiter) Knows(from netip.Prefix, secret Secret) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.right.has(secret, l.hash(from), l.minute())
}

// BeginAs is Begin for a secret of somebody with a name, such as a password, which is guessed by
// name. Where the name is known at the address it has a count of its own there, so that guesses at
// other names do not hold it up.
func (l *Limiter) BeginAs(from netip.Prefix, name Secret) (Attempt, error) {
	a := Attempt{limiter: l, from: from, secret: name, bucket: bucket{from: from}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.Known = l.right.has(name, l.hash(from), l.minute()); a.Known {
		a.bucket.name = name
	}
	if wait, err := l.enter(&a, time.Now()); err != nil || wait {
		return a, ErrTooMany
	}
	return a, nil
}

// room reports whether one more attempt may be judged at once. The caller holds mu.
func (l *Limiter) room(b bucket, now time.Time) bool {
	t := l.full[l.counted(b, now)]
	return t.Before(now) || t.Add(Every).Sub(now) <= Burst*Every
}

// enter counts an attempt, or says that it must wait. The caller holds mu.
func (l *Limiter) enter(a *Attempt, now time.Time) (wait bool, err error) {
	a.bucket = l.counted(a.bucket, now)
	t := l.full[a.bucket]
	if t.Before(now) {
		t = now
	}
	a.Debt = int((t.Sub(now) + Every - 1) / Every)
	if t = t.Add(Every); t.Sub(now) <= Burst*Every {
		l.full[a.bucket], a.paid = t, true
		l.open[a.bucket]++
		return false, nil
	}
	if l.waits >= l.waiting || l.delayed[a.from] >= OfAddress {
		return false, ErrTooMany
	}
	l.waits++
	l.delayed[a.from]++
	return true, nil
}

// counted is what an attempt is counted by: the zero bucket where there are too many. The caller
// holds mu.
func (l *Limiter) counted(b bucket, now time.Time) bucket {
	if _, known := l.full[b]; known || len(l.full) < Addresses {
		return b
	}
	for k, t := range l.full {
		if !t.After(now) {
			delete(l.full, k)
		}
	}
	if len(l.full) < Addresses {
		return b
	}
	return bucket{}
}

// Right ends an attempt whose secret was right, and remembers that. owner is whose secret it is:
// who has many secrets pushes only his own out of the memory. It allocates nothing.
func (a *Attempt) Right(owner [16]byte) { a.RightAs(owner, a.secret) }

// RightAs is Right where less than the whole of what came was needed: secret is that part.
func (a *Attempt) RightAs(owner [16]byte, secret Secret) {
	l := a.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.paid {
		l.end(a)
		l.pay(a.bucket, -Every)
	}
	var h maphash.Hash
	h.SetSeed(l.seed)
	_, _ = h.Write(owner[:])
	l.right.add(secret, uint32(h.Sum64()), l.hash(a.from), l.minute())
}

// Wrong ends an attempt whose secret was wrong.
func (a *Attempt) Wrong() {
	l := a.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.paid {
		l.end(a)
	} else if a.Known { // right once, and no more
		now := time.Now()
		l.right.forget(a.secret)
		a.bucket = l.counted(a.bucket, now)
		if l.full[a.bucket].Before(now) {
			l.full[a.bucket] = now
		}
		l.pay(a.bucket, Every)
	}
}

// end notes that a counted attempt is judged, or never will be. The caller holds mu.
func (l *Limiter) end(a *Attempt) {
	a.paid = false
	if l.open[a.bucket]--; l.open[a.bucket] == 0 {
		delete(l.open, a.bucket)
	}
	l.ended.Broadcast()
}

// pay changes a count by d, up to Burst. The caller holds mu.
func (l *Limiter) pay(b bucket, d time.Duration) {
	now := time.Now()
	t := l.full[b].Add(d)
	if t.After(now.Add(Burst * Every)) {
		t = now.Add(Burst * Every)
	}
	if !t.After(now) {
		delete(l.full, b)
		return
	}
	l.full[b] = t
}

// Release ends an attempt that was not judged after all.
func (a *Attempt) Release() {
	l := a.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.paid {
		l.end(a)
		l.pay(a.bucket, -Every)
	}
}

// minute is the age of the limiter in minutes, from 1.
func (l *Limiter) minute() uint32 { return uint32(time.Since(l.begun)/time.Minute) + 1 }

// hash stands for an address in the memory.
func (l *Limiter) hash(from netip.Prefix) uint32 {
	b := from.Addr().As16()
	return uint32(maphash.Bytes(l.seed, b[:]))
}

// Address returns the part of a network address, such as "192.0.2.7:1883", that stands for a host:
// all of IPv4, the first 64 bits of IPv6, whose other 64 bits a host chooses itself. It is zero for
// what is no address.
func Address(remote string) (prefix netip.Prefix) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return prefix
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ = addr.Prefix(bits)
	return prefix
}
