package wal

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// A queue is compared with a slice: append, read, seek, commit, crash (a copy of the directory at
// that moment), opening again, a changed byte, dropped segments, and the quota. The seed of a
// failing run is in its name.
func TestModel(t *testing.T) {
	seeds := uint64(24)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run("seed="+string(rune('0'+seed/10))+string(rune('0'+seed%10)), func(t *testing.T) { runModel(t, seed) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 77))
	o := testOptions(memDir(t) + "/queue")
	o.SegmentSize = 512 + rnd.IntN(4096)
	o.padUpTo = int64(rnd.IntN(2) * 150)
	o.besideFrom = rnd.IntN(2)
	if seed%4 == 3 {
		o.MaxBytes = int64(o.SegmentSize) * 12
	}
	q := openQueue(t, o)
	defer func() { q.Close() }()
	r := q.Reader()
	defer func() { r.Close() }()
	var last uint64      // event appended last
	var consumed uint64  // event the reader consumed last
	var committed uint64 // event committed last
	var durable uint64   // lower bound of the committed position that a crash leaves
	var marks []Position // of the reader, all behind the committed one
	var numbers []uint64 // event at each mark
	var deployed, missing uint64
	damaged := false

	// read takes up to n events and checks that they follow in order, without a gap unless
	// something was damaged or dropped.
	read := func(n int) {
		if n == 0 {
			return
		}
		if err := r.Read(func(e *Entry) bool {
			k := number(t, &e.Event)
			floor := max(consumed, committed)
			if k <= consumed {
				t.Fatalf("event %d read behind %d", k, consumed)
			}
			if k != consumed+1 && !damaged && o.MaxBytes == 0 {
				t.Fatalf("event %d read behind %d, committed %d", k, consumed, floor)
			}
			if n == 0 {
				return false
			}
			n--
			missing += k - consumed - 1
			consumed = k
			return true
		}); err != nil {
			t.Fatal(err)
		}
		marks, numbers = append(marks, r.Position()), append(numbers, consumed)
	}
	check := func() {
		s := q.Stats()
		checkIdentity(t, s)
		if !damaged && (s.Accepted != last || s.Damaged != 0) {
			t.Fatalf("%d events appended: %+v", last, s)
		}
		if !damaged && o.MaxBytes == 0 && (s.Deployed != deployed || s.Pending != last-committed) {
			t.Fatalf("%d deployed, %d pending: %+v", deployed, last-committed, s)
		}
	}
	for range 300 {
		switch rnd.IntN(12) {
		case 0, 1, 2, 3: // append
			events := make([]Event, 1+rnd.IntN(30))
			for i := range events {
				events[i] = testEvent(last + 1 + uint64(i))
			}
			if err := q.Append(context.Background(), events...); err != nil {
				t.Fatal(err)
			}
			last += uint64(len(events))
		case 4, 5, 6:
			read(rnd.IntN(60))
		case 7: // seek back to somewhere
			if len(marks) > 0 {
				i := rnd.IntN(len(marks))
				r.Seek(marks[i])
				consumed = numbers[i]
				marks, numbers = marks[:i+1], numbers[:i+1]
			}
		case 8: // commit all or part of what was read
			if len(marks) == 0 {
				break
			}
			i := rnd.IntN(len(marks))
			n := numbers[i] - min(numbers[i], committed)
			if err := q.Commit(marks[i], n, 0); err != nil {
				t.Fatal(err)
			}
			deployed += n
			committed = max(committed, numbers[i])
			marks, numbers = marks[i+1:], numbers[i+1:]
			if consumed < committed {
				t.Fatal("the model is wrong")
			}
		case 9: // close and open
			r.Close()
			closeQueue(t, q)
			before := q.Stats()
			q = openQueue(t, o)
			after := q.Stats()
			if !damaged && (after.Accepted != before.Accepted || after.Committed != before.Committed || after.Dropped != before.Dropped) {
				t.Fatalf("closed with\n%+v, opened with\n%+v", before, after)
			}
			checkInspect(t, q)
			durable = committed
			r = q.Reader()
			consumed, marks, numbers = committed, nil, nil
			if damaged || o.MaxBytes > 0 {
				consumed = 0
			}
		case 10: // crash: the copy must hold everything accepted
			c := openQueue(t, testOptions(copyDir(t, o.Dir)))
			got := pendingNumbers(t, c)
			if !slices.IsSorted(got) {
				t.Fatalf("order: %s", sprint(got))
			}
			if !damaged && o.MaxBytes == 0 {
				if len(got) > 0 && (got[0] > committed+1 || got[0] <= durable) ||
					len(got) == 0 && committed < last || !slices.Equal(got, span(last+1-uint64(len(got)), last)) {
					t.Fatalf("after a crash with %d appended, %d committed, %d of them durable: %s", last, committed, durable, sprint(got))
				}
			}
			checkIdentity(t, c.Stats())
			closeQueue(t, c)
		case 11: // one byte changes, seldom, while the queue is closed
			if seed%4 != 1 || rnd.IntN(4) > 0 {
				break
			}
			r.Close()
			closeQueue(t, q)
			paths := segmentsOf(t, o.Dir)
			p := paths[rnd.IntN(len(paths))]
			if b := readFile(t, p); len(b) > 0 {
				b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
				writeFile(t, p, b)
				damaged = true
			}
			q = openQueue(t, o)
			r = q.Reader()
			consumed, marks, numbers = 0, nil, nil
		}
		check()
	}
	read(1 << 30)
	if err := q.Commit(r.Position(), 0, 0); err != nil {
		t.Fatal(err)
	}
	if s := q.Stats(); s.Pending != 0 {
		t.Fatalf("pending after everything was committed: %+v", s)
	}
	if _, err := os.Stat(o.Dir); err != nil {
		t.Fatal(err)
	}
}

// Writers, a reader that commits, another reader that only looks, statistics and drops work at
// once.
func TestConcurrentUse(t *testing.T) {
	o := testOptions(queueDir(t))
	o.SegmentSize = 4096
	q := openQueue(t, o)
	const writers = 8
	each := uint64(400)
	if testing.Short() {
		each = 100
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range each {
				if err := q.Append(context.Background(), testEvent(1+i*writers+w)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var lookers sync.WaitGroup
	lookers.Go(func() {
		for !done.Load() {
			s := q.Stats()
			if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
				t.Errorf("identity: %+v", s)
				return
			}
			r := q.Reader()
			if err := r.Read(func(*Entry) bool { return true }); err != nil {
				t.Error(err)
			}
			r.Close()
		}
	})
	seen := make(map[uint64]bool)
	r := q.Reader()
	defer r.Close()
	for uint64(len(seen)) < writers*each {
		<-q.Wake()
		before := len(seen)
		if err := r.Read(func(e *Entry) bool {
			n := number(t, &e.Event)
			if seen[n] {
				t.Errorf("event %d twice", n)
			}
			seen[n] = true
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if err := q.Commit(r.Position(), uint64(len(seen)-before), 0); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	done.Store(true)
	lookers.Wait()
	s := q.Stats()
	if s.Accepted != writers*each || s.Deployed != writers*each || s.Damaged != 0 || s.Pending != 0 {
		t.Fatalf("%+v", s)
	}
	closeQueue(t, q)
	if err := q.Append(context.Background(), testEvent(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
