package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// smallMedium has a number of bytes, of which the queue takes what its files have and others what
// they like.
type smallMedium struct {
	size, others atomic.Int64
	queue        atomic.Pointer[Queue]
}

func (m *smallMedium) free(string) (int64, error) {
	n := m.size.Load() - m.others.Load()
	if q := m.queue.Load(); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		n -= q.bytes
	}
	return max(n, 0), nil
}

// floorQueue is a queue without a quota of its own on a medium of 64 KiB, of which 16 stay free.
func floorQueue(t *testing.T, policy string) (*Queue, *smallMedium) {
	m := new(smallMedium)
	m.size.Store(64 << 10)
	o := quotaOptions(t, policy)
	o.MaxBytes, o.Floor, o.free = 1<<20, 16<<10, m.free
	q := openQueue(t, o)
	m.queue.Store(q)
	return q, m
}

func room(q *Queue) int64 { limit, _ := q.Room(); return limit }

func TestFloorRefusesNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, m := floorQueue(t, RejectNew)
		if n := room(q); n != 48<<10 {
			t.Fatalf("the room is %d bytes", n)
		}
		var n uint64
		var err error
		for err == nil {
			n++
			err = q.Append(context.Background(), testEvent(n))
			time.Sleep(10 * time.Millisecond)
		}
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "of at most 49152 (more would fill the medium)") {
			t.Fatal(err)
		}
		if free, _ := m.free(""); free < 16<<10 || free > 17<<10 {
			t.Fatalf("%d bytes are free", free)
		}
		// What others give back may be used a second later, what the cloud acknowledges at once.
		m.size.Add(1 << 10)
		time.Sleep(time.Second)
		appendEvents(t, q, n, 1)
		commitRead(t, q)
		appendEvents(t, q, n+1, 300)
		closeQueue(t, q)
	})
}

func TestFloorDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, m := floorQueue(t, DropOldest)
		const events = 3000
		least := int64(1 << 20)
		for n := uint64(1); n <= events; n++ {
			appendEvents(t, q, n, 1)
			free, _ := m.free("")
			least = min(least, free)
			time.Sleep(10 * time.Millisecond)
		}
		if least < 16<<10 {
			t.Errorf("only %d bytes were free", least)
		}
		s := q.Stats()
		checkIdentity(t, s)
		if got, want := pendingNumbers(t, q), span(s.Dropped+1, events); s.Dropped == 0 || !slices.Equal(got, want) {
			t.Fatalf("read %s, stats %+v", sprint(got), s)
		}
		if s.Bytes < 40<<10 {
			t.Errorf("%d bytes are used, of 48 KiB", s.Bytes)
		}
		closeQueue(t, q)
	})
}

// Others fill the medium: the queue does not grow, and what waits does not give way to them.
func TestFloorIsNotTheQueuesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, m := floorQueue(t, DropOldest)
		appendEvents(t, q, 1, 300)
		before := q.Stats()
		m.others.Store(1 << 20)
		time.Sleep(2 * time.Second)
		for n := uint64(301); n <= 1300; n++ {
			appendEvents(t, q, n, 1)
			time.Sleep(100 * time.Millisecond)
		}
		s := q.Stats()
		if s.Bytes > before.Bytes || s.Bytes < before.Bytes-2*4096 {
			t.Errorf("%d bytes are used, before %d", s.Bytes, before.Bytes)
		}
		if got, want := pendingNumbers(t, q), span(s.Dropped+1, 1300); !slices.Equal(got, want) {
			t.Errorf("read %s, stats %+v", sprint(got), s)
		}
		m.others.Store(0)
		time.Sleep(10 * time.Second) // the upkeep sees it while nothing comes
		if n := room(q); n != 48<<10 {
			t.Errorf("the room is %d bytes", n)
		}
		closeQueue(t, q)
	})
}

// On a medium without room a queue has one segment all the same.
func TestFloorLeavesOneSegment(t *testing.T) {
	m := new(smallMedium)
	o := quotaOptions(t, RejectNew)
	o.MaxBytes, o.Floor, o.free = 0, 16<<10, m.free
	q := openQueue(t, o)
	if n := room(q); n != 4096 {
		t.Fatalf("the room is %d bytes", n)
	}
	appendEvents(t, q, 1, 10)
	closeQueue(t, q)
}

// The reserve is not made of what is to stay free.
func TestFloorIsNotReserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(smallMedium)
		o := quotaOptions(t, RejectNew)
		o.Floor, o.Reserve, o.free = 16<<10, 8<<10, m.free
		q := openQueue(t, o)
		for _, free := range []int64{24<<10 - 1, 24 << 10} {
			m.size.Store(free)
			time.Sleep(2 * refillEvery)
			_, err := os.Lstat(filepath.Join(o.Dir, reserveName))
			if made := err == nil; made != (free == 24<<10) {
				t.Errorf("with %d bytes free: reserved is %v", free, made)
			}
		}
		closeQueue(t, q)
	})
}
