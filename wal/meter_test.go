package wal

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// What others write is in the account of the day: bytes, fsyncs, and what the medium writes for
// them.
func TestAccountHoldsWhatOthersWrite(t *testing.T) {
	o := testOptions(queueDir(t))
	o.CommitBytes = 10_000
	q := openQueue(t, o)
	before := q.Stats().Today
	q.Meter(0, 100, 1)
	q.Meter(4000, 200, 2) // two blocks, two commits
	a := q.Stats().Today
	if a.Written-before.Written != 300 || a.Fsyncs-before.Fsyncs != 3 || a.Wear-before.Wear != 3*10_000+disk.Block {
		t.Errorf("%+v, before %+v", a, before)
	}
	if a.Commits != before.Commits || a.Events != before.Events {
		t.Errorf("others make no group commits: %+v, before %+v", a, before)
	}
}

// What others write is taken from the flash budget: a commit waits for it.
func TestBudgetCountsWhatOthersWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := openQueue(t, Options{
			Dir: filepath.Join(memDir(t), "queue"), MaxBytes: 8 << 20, FlashBudget: 1 << 30, MaxDelay: time.Second,
		})
		took := func() time.Duration {
			began := time.Now()
			if err := q.Append(context.Background(), Event{Fragment: make([]byte, 8)}); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		if d := took(); d != 0 {
			t.Errorf("a commit within the budget took %v", d)
		}
		q.Meter(0, 1<<30/24, 1)
		if d := took(); d != time.Second {
			t.Errorf("after others had used up the budget a commit took %v, want queue.max_delay", d)
		}
	})
}

// What others write beyond the bucket is owed in full, and commits that cannot wait meanwhile cost
// what they cost: a day gives its budget and no more. What nobody waits for waits until that is
// paid and half of the bucket is there again.
func TestBudgetOwesWhatOthersWrite(t *testing.T) {
	const hour = int64(86400)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := budget{perDay: 24 * hour}
	if !b.spare(start) {
		t.Error("a full bucket has nothing to spare")
	}
	b.spendElsewhere(5*hour, start) // the bucket and four hours of budget
	if d, want := b.wait(1, start), 4*24*time.Hour/23; d.Round(time.Minute) != want.Round(time.Minute) {
		t.Errorf("a commit waits %v, want %v", d, want)
	}
	spent := 5 * hour
	now := start
	for range 60 { // a commit each minute that queue.max_delay forces out, of half a minute's budget
		now = now.Add(time.Minute)
		b.spend(hour/120, now)
		spent += hour / 120
	}
	if d, want := b.wait(1, now), (3*24*time.Hour+30*time.Minute*24+time.Hour)/23; d.Round(time.Minute) != want.Round(time.Minute) {
		t.Errorf("after an hour of commits another waits %v, want %v", d, want)
	}
	for b.wait(hour/120, now) > 0 {
		now = now.Add(time.Minute)
	}
	if b.spare(now) {
		t.Error("there is something to spare as soon as everything is paid")
	}
	flowed := hour + int64(now.Sub(start).Seconds()*b.perSecond())
	if flowed < spent || flowed > spent+hour/30 {
		t.Errorf("%d bytes were spent, and %d had flowed in when that was paid", spent, flowed)
	}
	if !b.spare(now.Add(32 * time.Minute)) {
		t.Error("half an hour later there is nothing to spare")
	}

	// The debt ends after a day and an hour, whatever was written; without a budget there is none.
	b.spendElsewhere(1<<40, now)
	if d := b.wait(1, now.Add(24*time.Hour)); d <= 0 || d > 2*time.Hour {
		t.Errorf("a day later a commit waits %v", d)
	}
	if d := b.wait(1, now.Add(26*time.Hour)); d != 0 {
		t.Errorf("two hours later a commit waits %v", d)
	}
	var none budget
	none.spendElsewhere(1<<40, now)
	if d := none.wait(1, now); d != 0 || !none.spare(now) {
		t.Errorf("without a budget a commit waits %v", d)
	}
}

// Every byte and fsync of a log of dead letters is metered, compactions too.
func TestDeadLettersAreMetered(t *testing.T) {
	d := openDead(t, filepath.Join(t.TempDir(), "dead"), 1<<20, 0)
	before := d.store.Stats()
	var bytes int64
	var fsyncs int
	d.Meter(func(_, n int64, f int) { bytes, fsyncs = bytes+n, fsyncs+f })
	one := store.PutSize(8, deadFixed+len("refused")+100)
	const rounds = 3000
	for range rounds {
		put(t, d, deadOf(DeadRefused, 1))
	}
	after := d.store.Stats()
	compactions := after.Compactions - before.Compactions
	if bytes != after.Written-before.Written || bytes < rounds*one || compactions == 0 || fsyncs != rounds+2*int(compactions) {
		t.Errorf("%d bytes and %d fsyncs, the store %+v, before %+v", bytes, fsyncs, after, before)
	}
}
