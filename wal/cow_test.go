package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
)

// cow is a medium that writes no block in place, as JFFS2 and UBIFS: when it is full, an overwrite,
// an fsync of one and a cut to a smaller size are refused too. Deleting goes on.
type cow struct {
	disk.System
	room atomic.Int64 // bytes, of blocks of disk.Block
	dir  *string
}

// used is what the files take, others' included.
func (c *cow) used() (n int64) {
	entries, _ := os.ReadDir(*c.dir)
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			n += (i.Size() + disk.Block - 1) / disk.Block * disk.Block
		}
	}
	return n
}

// full refuses what needs so many bytes more.
func (c *cow) full(need int64) error {
	if used, room := c.used(), c.room.Load(); used+need > room {
		return fmt.Errorf("%d of %d bytes are used: %w", used, room, syscall.ENOSPC)
	}
	return nil
}

// Append leaves what was written of a refused group, as a file system does that writes by pages.
func (c *cow) Append(_ bool, write func() error) error {
	if err := write(); err != nil {
		return err
	}
	return c.full(0)
}

func (c *cow) SyncData(f *os.File) error {
	if err := c.full(0); err != nil {
		return err
	}
	return c.System.SyncData(f)
}

func (c *cow) Sync(f *os.File) error {
	if err := c.full(disk.Block); err != nil {
		return err
	}
	return c.System.Sync(f)
}

func (c *cow) Cut(f *os.File, size int64) error {
	if err := c.full(disk.Block); err != nil {
		return err
	}
	return c.System.Cut(f, size)
}

func (c *cow) Replace(path string, data []byte) error {
	if err := c.full(int64(len(data))); err != nil {
		return err
	}
	return c.System.Replace(path, data)
}

// fillCow appends single events until one is refused, and returns its number.
func fillCow(t *testing.T, q *Queue, next uint64) uint64 {
	t.Helper()
	next, err := appendUntilRefused(t, q, next)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append on a full medium: %v", err)
	}
	return next
}

// The queue fills a medium that needs room even to cut a file. What was accepted stays, what was
// refused stays away, and acknowledgements alone make room again, time after time.
func TestFullMediumThatNeverWritesInPlace(t *testing.T) {
	for _, reserve := range []int64{0, 8 << 10} {
		t.Run(fmt.Sprint(reserve), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOptions(queueDir(t))
				o.SegmentSize, o.Reserve = 4<<10, reserve
				medium := &cow{dir: &o.Dir}
				medium.room.Store(64 << 10)
				o.ops = medium
				q := openQueue(t, o)
				time.Sleep(fileAfter) // the reserve is written
				next := uint64(1)
				for round := range 3 {
					first := next
					next = fillCow(t, q, next)
					for range 5 { // devices go on; they are refused
						time.Sleep(reopenEvery)
						for q.Append(context.Background(), testEvent(next)) == nil {
							next++
						}
					}
					if s := q.Stats(); s.Accepted != next-1 || s.Writable {
						t.Fatalf("round %d: %+v", round, s)
					}
					after := openQueue(t, func() Options { o := testOptions(copyDir(t, o.Dir)); o.SegmentSize = 4 << 10; return o }())
					got := pendingNumbers(t, after)
					if reserve == 0 && len(got) == int(next-first)+1 { // there was no room to cut the refused one
						got = got[:len(got)-1]
					}
					if !slices.Equal(got, span(first, next-1)) {
						t.Fatalf("after a crash: %s, want %d to %d", sprint(got), first, next-1)
					}
					closeQueue(t, after)
					if reserve == 0 { // nothing can be given back
						break
					}
					if got := commitRead(t, q); !slices.Equal(got, span(first, next-1)) {
						t.Fatalf("read %s, want %d to %d", sprint(got), first, next-1)
					}
					time.Sleep(2*fileAfter + refillEvery)
					s := q.Stats()
					if i, err := os.Lstat(filepath.Join(o.Dir, reserveName)); err != nil || i.Size() != reserve ||
						!s.Writable || s.LastError != nil || s.Pending != 0 || s.Deployed != next-1 {
						t.Fatalf("round %d: not back by itself: %+v, reserve: %v", round, s, err)
					}
				}
				medium.room.Store(128 << 10) // others make room
				time.Sleep(2*fileAfter + refillEvery)
				appendEvents(t, q, next, 10)
				closeQueue(t, q)
			})
		})
	}
}

// A crash leaves a torn tail on such a medium, and the medium is full when the queue is opened: the
// room for cutting the tail is the reserve's, or that of segments that were acknowledged.
func TestOpensOnFullMediumThatNeverWritesInPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		reserve   int64
		committed bool
	}{"reserve": {8 << 10, false}, "committed segments": {0, true}} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(queueDir(t))
			o.SegmentSize = 8 << 10
			q := openQueue(t, o)
			q.Keep(1) // so that nothing is dropped
			appendEvents(t, q, 1, 500)
			want := span(1, 500)
			if tt.committed {
				commitRead(t, q)
				appendEvents(t, q, 501, 10)
				want = span(501, 510)
			}
			closeQueue(t, q)
			if tt.reserve > 0 {
				writeFile(t, filepath.Join(o.Dir, reserveName), make([]byte, tt.reserve))
			}
			addTail([]byte{0x85, 1, 2, 3})(t, o.Dir)
			c := &cow{dir: &o.Dir}
			c.room.Store(c.used())
			o.ops, o.Reserve = c, tt.reserve
			q = openQueue(t, o)
			if got := pendingNumbers(t, q); !slices.Equal(got, want) {
				t.Fatalf("read %s, want %d to %d", sprint(got), want[0], want[len(want)-1])
			}
			if s := q.Stats(); s.Damaged != 0 || s.Accepted != want[len(want)-1] {
				t.Fatalf("%+v", s)
			}
			closeQueue(t, q)
		})
	}
}
