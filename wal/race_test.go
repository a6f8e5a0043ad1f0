package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Everything happens at once: writers that wait and writers that do not, a reader that commits and
// goes back, lookers, a quota that thins and drops, segments that come and go, a medium that fails
// now and then, and Close in the middle of it.
func TestEverythingAtOnce(t *testing.T) {
	for _, interval := range []time.Duration{0, 2 * time.Millisecond} {
		t.Run(interval.String(), func(t *testing.T) { everythingAtOnce(t, interval) })
	}
}

func everythingAtOnce(t *testing.T, interval time.Duration) {
	o := thinOptions(t)
	o.Dir = memDir(t) + "/queue"
	o.SegmentSize, o.MaxBytes, o.Interval = 1024, 12<<10, interval
	o.besideFrom = 2
	o.FlashBudget, o.MaxDelay, o.CommitBytes = 24*64<<10, time.Millisecond, 512
	o.Record = func(g Gap, _ uint64) (Event, bool) {
		return Event{Action: gapAction, Fragment: make([]byte, 16)}, true
	}
	var ops atomic.Int64
	o.ops = byStep(func(op string) error {
		if n := ops.Add(1); n == 700 && op != "open" {
			return syscall.EIO
		}
		return nil
	})
	q := openQueue(t, o)
	each := uint64(300)
	if testing.Short() {
		each = 100
	}
	const writers = 8
	var wg sync.WaitGroup
	var done atomic.Bool
	var mu sync.Mutex // guards acked and callbacks
	acked := make(map[uint64]bool)
	callbacks := 0
	taken := func(n uint64, err error) {
		if err != nil && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrClosed) {
			t.Errorf("event %d: %v", n, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if acked[n] {
			t.Errorf("event %d has two outcomes", n)
		}
		if err == nil {
			acked[n] = true
		}
	}
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range each {
				n := 1 + i*writers + w
				if w%2 == 0 {
					taken(n, q.Append(context.Background(), thinEvent(n)))
					continue
				}
				answer := make(chan struct{})
				if err := q.Submit(context.Background(), []Event{thinEvent(n)}, func(err error) {
					taken(n, err)
					mu.Lock()
					callbacks++
					mu.Unlock()
					close(answer)
				}); err != nil {
					t.Error(err)
					return
				}
				if i%4 == 0 {
					<-answer
				}
			}
		})
	}
	var lookers sync.WaitGroup
	for range 2 {
		lookers.Go(func() {
			for !done.Load() {
				s := q.Stats()
				if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged || s.Pending > s.Accepted {
					t.Errorf("identity: %+v", s)
					return
				}
				if d, c := q.DurablyCommitted(), q.Committed(); d.Seq > c.Seq {
					t.Errorf("durably committed %+v, committed %+v", d, c)
				}
				if _, err := Inspect(o.Dir); err != nil {
					t.Errorf("inspect: %v", err)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	r := q.Reader()
	defer r.Close()
	delivered := make(map[uint64]int)
	unacked, committed := uint64(0), uint64(0)
	read := func() {
		last := r.Position().Seq
		if err := r.Read(func(e *Entry) bool {
			if e.Seq <= last {
				t.Errorf("event %d behind %d", e.Seq, last)
			}
			last = e.Seq
			unacked++
			if e.Action != gapAction {
				delivered[binary.LittleEndian.Uint64(e.Fragment)]++
			}
			return rand.IntN(40) > 0
		}); err != nil {
			t.Error(err)
		}
		// The event at which the callback ends is not consumed.
		if last > r.Position().Seq {
			unacked--
		}
	}
	commit := func() {
		p := r.Position()
		if err := q.Commit(p, unacked, 0); err != nil {
			t.Error(err)
		}
		unacked = 0
		if c := q.Committed().Seq; c < committed {
			t.Errorf("the committed position went back from %d to %d", committed, c)
		} else {
			committed = c
		}
	}
	for running := true; running; {
		select {
		case <-q.Wake():
		case <-finished:
			running = false
		}
		read()
		switch rand.IntN(16) { // so seldom that the quota is reached
		case 0:
			commit()
		case 1:
			r.Seek(q.Committed())
			unacked = 0
		}
	}
	for accepted := false; !accepted; { // the medium may still refuse
		accepted = q.Append(context.Background(), Event{Action: gapAction, Fragment: make([]byte, 16)}) == nil
	}
	for {
		q.own.Lock()
		q.syncWrites(time.Now())
		q.own.Unlock()
		read()
		commit()
		if q.Stats().Pending == 0 {
			break
		}
	}
	done.Store(true)
	lookers.Wait()
	s := q.Stats()
	lost := uint64(0)
	for n := range acked {
		if delivered[n] == 0 {
			lost++
		}
	}
	for n := range delivered {
		if !acked[n] {
			t.Errorf("event %d was refused and delivered", n)
		}
	}
	if lost > s.Dropped || s.Damaged != 0 || s.Accepted < uint64(len(acked)) || callbacks != int(each)*writers/2 {
		t.Errorf("%d acknowledged, %d of them not delivered, %d callbacks: %+v", len(acked), lost, callbacks, s)
	}
	if s.Dropped == 0 {
		t.Errorf("nothing was dropped: %+v", s)
	}
	accepted := len(acked)
	// Close while everybody appends: each append gets an outcome, and what was accepted is there
	// afterwards.
	clear(acked)
	var late sync.WaitGroup
	begun := make(chan struct{}, writers)
	for w := range uint64(writers) {
		late.Go(func() {
			for n := 1_000_000 + w; ; n += writers {
				err := q.Append(context.Background(), thinEvent(n))
				taken(n, err)
				if errors.Is(err, ErrClosed) {
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range writers {
		<-begun
	}
	closeErr := q.Close()
	late.Wait()
	t.Logf("%d steps, %d events accepted, %d dropped; closed with %v", ops.Load(), accepted, s.Dropped, closeErr)
	o.ops = nil
	q = openQueue(t, o)
	after := q.Stats()
	if checkIdentity(t, after); after.Damaged != 0 || after.Accepted-s.Accepted < uint64(len(acked)) {
		t.Errorf("%d acknowledged at the end: %+v, before %+v", len(acked), after, s)
	}
	closeQueue(t, q)
}
