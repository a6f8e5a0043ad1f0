package wal

import (
	"sync"
	"time"

	"edgesync/wal/disk"
)

const day = 24 * time.Hour

// budget is the token bucket of the flash (config.toml.example, queue.flash_budget): while it has
// tokens every commit is immediate. What it gives in any 24 hours is at most perDay: the bucket's
// content and what flows in meanwhile.
type budget struct {
	mu     sync.Mutex    // guards everything; taken last
	perDay int64         // bytes; 0 = unlimited
	most   time.Duration // longest stretch of a group commit
	tokens int64         // bytes; negative after commits that could not wait
	owed   int64         // bytes that others wrote without tokens
	at     time.Time
}

// capacity is what may be spent at once: an hour's share.
func (b *budget) capacity() int64 { return b.perDay / 24 }

// perSecond is what flows in a second, in bytes: what of a day the bucket itself does not hold.
func (b *budget) perSecond() float64 { return float64(b.perDay-b.capacity()) / day.Seconds() }

// refill lets flow in what is due: first it pays for commits, then for what is owed, and then it
// fills the bucket. The lock is held.
func (b *budget) refill(now time.Time) {
	if b.at.IsZero() {
		b.tokens = b.capacity()
	} else if d := now.Sub(b.at); d > 0 {
		in := int64(min(d, day).Seconds() * b.perSecond())
		if in == 0 {
			return // too short a time to count; at stays, so it is not lost
		}
		paid := min(in-min(in, max(-b.tokens, 0)), b.owed)
		b.owed -= paid
		b.tokens = min(b.capacity(), b.tokens+in-paid)
	}
	b.at = now
}

// wait is how long it takes until a commit of so many bytes has its tokens; 0 = now.
func (b *budget) wait(cost int64, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.perDay <= 0 {
		return 0
	}
	b.refill(now)
	missing := min(cost, b.capacity()) - b.tokens + b.owed
	if missing <= 0 {
		return 0
	}
	return time.Duration(float64(missing) / b.perSecond() * float64(time.Second))
}

// spend takes tokens for a commit. The debt is bounded, so that a burst that queue.max_delay forces
// out does not slow the days after it.
func (b *budget) spend(cost int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.perDay <= 0 {
		return
	}
	b.refill(now)
	b.tokens = max(b.tokens-cost, -b.capacity())
}

// spendElsewhere takes tokens for what others have written, and what there are no tokens for is
// owed, at most a day's budget: a firmware of megabytes is paid for as events are, and does not
// slow the days after the next.
func (b *budget) spendElsewhere(cost int64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.perDay <= 0 {
		return
	}
	b.refill(now)
	paid := min(cost, max(b.tokens, 0))
	b.tokens -= paid
	b.owed = min(b.owed+cost-paid, b.perDay)
}

// spare reports whether half of the bucket is there.
func (b *budget) spare(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.perDay <= 0 {
		return true
	}
	b.refill(now)
	return b.tokens >= b.capacity()/2
}

// limits are the budget in bytes a day, and the longest stretch of a group commit.
func (b *budget) limits() (perDay int64, most time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.perDay, b.most
}

// SetBudget replaces Options.FlashBudget and Options.MaxDelay. Any goroutine.
func (q *Queue) SetBudget(perDay int64, most time.Duration) {
	b, now := &q.budget, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.perDay > 0 {
		b.refill(now)
	}
	b.perDay, b.most = perDay, most
	b.tokens = min(b.tokens, b.capacity())
}

// Meter puts what others have written to the medium into the account of the day, and takes it from
// the flash budget: commits wait for it. It is the disk.Meter of the files beside the queue, never
// blocks, and may be called from any goroutine.
func (q *Queue) Meter(at, bytes int64, fsyncs int) {
	cost := bytes // without an fsync it shares the commits of the next one
	if fsyncs > 0 {
		cost = wear(at, bytes, q.o.CommitBytes) + int64(fsyncs-1)*q.o.CommitBytes
	}
	q.budget.spendElsewhere(cost, time.Now())
	q.ledger.add(Account{Written: bytes, Wear: cost, Fsyncs: uint64(fsyncs)})
}

// Spare reports whether the flash budget has tokens for what nobody waits for: half of the bucket
// is left to devices and to what cannot wait. It is true without a budget. Any goroutine.
func (q *Queue) Spare() bool { return q.budget.spare(time.Now()) }

// Account is what was written to the medium since midnight UTC, or since this process began if that
// was later, by the queue and by whom it meters (Queue.Meter).
type Account struct {
	Written int64  // bytes handed to files
	Wear    int64  // bytes that the medium has written for it, by what a commit costs it
	Fsyncs  uint64 // of files and directories
	Commits uint64 // group commits
	Events  int64  // bytes of the events' fragments
	Number  uint64 // of events
}

// add takes another account into this one.
func (a *Account) add(o Account) {
	a.Written += o.Written
	a.Wear += o.Wear
	a.Fsyncs += o.Fsyncs
	a.Commits += o.Commits
	a.Events += o.Events
	a.Number += o.Number
}

// ledger keeps the account of the day, and that of the process's life.
type ledger struct {
	mu   sync.Mutex // guards what follows
	day  int64      // since the epoch
	now  Account
	life Account
}

func (l *ledger) add(a Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	l.now.add(a)
	l.life.add(a)
}

func (l *ledger) today() Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	return l.now
}

// Life is what was written since this process began, by the queue and by whom it meters.
func (q *Queue) Life() Account {
	q.ledger.mu.Lock()
	defer q.ledger.mu.Unlock()
	return q.ledger.life
}

// turn begins a new day. The lock is held.
func (l *ledger) turn() {
	if d := time.Now().Unix() / 86400; d != l.day {
		l.day, l.now = d, Account{}
	}
}

// wear is what a write of n bytes at position at of a file costs the medium in bytes: commit, which
// covers the first block, and each further block that it touches.
func wear(at, n, commit int64) int64 {
	blocks := (at+max(n, 1)-1)/disk.Block - at/disk.Block + 1
	return commit + (blocks-1)*disk.Block
}
