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
