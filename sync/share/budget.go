package share

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// What a transfer must do to keep its bytes while others need them.
const (
	Rate     = 2 << 10          // bytes a second
	Grace    = 2 * time.Second  // for which it may fall behind that
	Patience = 10 * time.Second // for which a transfer waits for bytes
	recheck  = 500 * time.Millisecond
)

var (
	// ErrFull is returned where no bytes became free in time: try again later.
	ErrFull = errors.New("too much is being transferred; try again later")
	// ErrEvicted is returned where the transfer had to give way to others.
	ErrEvicted = errors.New("the transfer was too slow, or one of many, while others waited; try again later")
)

// Owner is who transfers: a device, a user.
type Owner = [16]byte

// Budget is a number of bytes that transfers share. Its methods may be called from many goroutines.
type Budget struct {
	most int

	mu     sync.Mutex // guards what follows, and the passes
	used   int
	passes []*Pass       // in the order of their age; each holds some bytes, or asks for its first
	freed  chan struct{} // closed when bytes become free
	waits  int           // transfers that wait for that
}

// Cutter ends what a transfer waits for at its far end. Cut is called once, under the budget's
// lock, so it must not block; any goroutine may call it.
type Cutter interface{ Cut() }

// New returns a budget of so many bytes.
func New(most int) *Budget { return &Budget{most: most, freed: make(chan struct{})} }

// Most is how many bytes the budget has.
func (b *Budget) Most() int { return b.most }

// Used is how many bytes are held now.
func (b *Budget) Used() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Pass is one transfer, from Open to Close. It may then be opened again. One goroutine uses it.
type Pass struct {
	budget *Budget
	owner  Owner
	cut    Cutter

	held    int
	until   time.Time // from then on it is slow; each byte that moves puts that off
	ours    bool      // we are the reason that it does not go on
	waits   bool      // it waits for bytes
	waited  time.Duration
	evicted bool
}

// Open begins a transfer, which holds nothing yet. cut is what is called if it has to give way; it
// may be nil. Open keeps p until Close.
func (b *Budget) Open(p *Pass, owner Owner, cut Cutter) {
	*p = Pass{budget: b, owner: owner, cut: cut, until: time.Now().Add(Grace)}
	b.mu.Lock()
	b.passes = append(b.passes, p)
	b.mu.Unlock()
}

// IsOpen reports whether the transfer has begun and not ended.
func (p *Pass) IsOpen() bool { return p.budget != nil }

// Grow changes how many bytes the transfer holds, and waits for them where that must be, at most
// Patience in all or until done is closed. waited is for how long; it does not count against the
// far end, whose time limits the caller prolongs by it.
func (p *Pass) Grow(held int, done <-chan struct{}) (waited time.Duration, err error) {
	b := p.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	began := time.Now()
	defer func() {
		p.waits = false
		waited = time.Since(began)
		p.waited += waited
		p.until = p.until.Add(waited)
	}()
	for {
		switch {
		case p.evicted:
			return 0, ErrEvicted
		case held > b.most:
			return 0, ErrFull
		case held <= p.held:
			b.free(p.held - held)
			p.held = held
			return 0, nil
		case b.used+held-p.held <= b.most:
			b.used += held - p.held
			p.held = held
			return 0, nil
		}
		if v := b.victim(p, time.Now()); v != nil {
			v.evicted = true
			b.remove(v)
			if v.cut != nil {
				v.cut.Cut()
			}
			continue
		}
		left := Patience - p.waited - time.Since(began)
		if left <= 0 {
			return 0, ErrFull
		}
		p.waits = true
		freed := b.freed
		b.waits++
		b.mu.Unlock()
		t := time.NewTimer(min(left, recheck))
		select {
		case <-freed:
		case <-t.C:
		case <-done:
			err = ErrFull
		}
		t.Stop()
		b.mu.Lock()
		b.waits--
		if err != nil {
			return 0, err
		}
	}
}

// victim is who gives way for p, or nil. The caller holds mu.
func (b *Budget) victim(p *Pass, now time.Time) *Pass {
	var slow, youngest, oldest *Pass
	type share struct{ passes, held int }
	owners := make(map[Owner]share)
	for _, v := range b.passes {
		if v.ours {
			continue
		}
		if oldest == nil {
			oldest = v
		}
		s := owners[v.owner]
		owners[v.owner] = share{s.passes + 1, s.held + v.held}
		if v == p || v.held == 0 {
			continue
		}
		youngest = v
		if slow == nil && !v.waits && now.After(v.until) {
			slow = v
		}
	}
	if slow != nil {
		return slow
	}
	var greedy Owner
	most := 0
	for o, s := range owners {
		if s.passes > 1 && s.held > most {
			greedy, most = o, s.held
		}
	}
	if most > 0 {
		for _, v := range slices.Backward(b.passes) {
			if v.owner != greedy || v.ours || v != p && v.held == 0 {
				continue
			}
			if v != p {
				return v
			}
			break // p is the one that is too many: it waits
		}
	}
	if oldest == p {
		return youngest
	}
	return nil
}

// free gives n bytes back. The caller holds mu.
func (b *Budget) free(n int) {
	if n == 0 {
		return
	}
	if b.used -= n; b.waits > 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// remove takes a pass out, with its bytes. The caller holds mu.
func (b *Budget) remove(p *Pass) {
	if at := slices.Index(b.passes, p); at >= 0 {
		b.passes = slices.Delete(b.passes, at, at+1)
	}
	b.free(p.held)
	p.held = 0
}

// Moved notes that so many bytes have moved. It returns ErrEvicted where the transfer has to end.
func (p *Pass) Moved(n int) error {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	p.until = p.until.Add(time.Duration(n) * time.Second / Rate)
	if most := time.Now().Add(Grace); p.until.After(most) {
		p.until = most
	}
	if p.evicted {
		return ErrEvicted
	}
	return nil
}

// Ours notes that we are the reason for what follows: nobody evicts the transfer. It returns
// ErrEvicted where that has happened already.
func (p *Pass) Ours() error {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	p.ours = true
	if p.evicted {
		return ErrEvicted
	}
	return nil
}

// Theirs notes that the far end is the reason for what follows.
func (p *Pass) Theirs() {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	p.ours, p.until = false, time.Now().Add(Grace)
}

// Evicted reports whether the transfer had to give way.
func (p *Pass) Evicted() bool {
	b := p.budget
	if b == nil {
		return p.evicted
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.evicted
}

// Close ends the transfer and frees its bytes. It does nothing where the transfer has not begun.
func (p *Pass) Close() {
	b := p.budget
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(p)
	p.budget, p.cut = nil, nil
}
