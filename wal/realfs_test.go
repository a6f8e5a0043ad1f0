package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

// mountTmpfs mounts a small tmpfs, or skips the test and says why.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// appendUntilRefused appends events from number next on. It returns the first number that was
// refused and the error.
func appendUntilRefused(t *testing.T, q *Queue, next uint64) (uint64, error) {
	t.Helper()
	for limit := next + 100_000; next < limit; next++ {
		if err := q.Append(context.Background(), testEvent(next)); err != nil {
			return next, err
		}
	}
	t.Fatal("nothing is refused")
	return 0, nil
}

// Another program fills the disk while the queue is open, and makes room later. What was accepted
// stays, the committed position still reaches the medium, and the queue comes back by itself.
// (TestFullDisk fills the disk and opens anew.)
func TestDiskFilledByOthers(t *testing.T) {
	mount := mountTmpfs(t, "size=1m")
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(filepath.Join(mount, "queue"))
		o.SegmentSize = 64 << 10
		q := openQueue(t, o)
		appendEvents(t, q, 1, 500)
		ballast := filepath.Join(mount, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
		next, err := appendUntilRefused(t, q, 501) // the last page of the tail still takes some events
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("append on a full disk: %v", err)
		}
		if s := q.Stats(); s.Writable || s.Accepted != next-1 {
			t.Fatalf("%+v", s)
		}
		// Only half of a segment is acknowledged, so that nothing can be dropped.
		r := q.Reader()
		count := uint64(0)
		if err := r.Read(func(e *Entry) bool {
			if count == 200 {
				return false
			}
			count++
			return number(t, &e.Event) == count
		}); err != nil || count != 200 {
			t.Fatalf("read %d events, %v", count, err)
		}
		at := r.Position()
		r.Close()
		if err := q.Commit(at, count, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * fileAfter)
		if got := q.DurablyCommitted(); got != at {
			t.Fatalf("the medium has %+v as the committed position, not %+v", got, at)
		}
		if got := pendingNumbers(t, q); !slices.Equal(got, span(201, next-1)) {
			t.Fatalf("read %s of %d", sprint(got), next-1)
		}
		// A crash here, while the disk is still full.
		if s, err := Inspect(o.Dir); err != nil || s.Accepted != next-1 || s.Deployed != 200 {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * fileAfter)
		if s := q.Stats(); !s.Writable || s.LastError != nil {
			t.Fatalf("not back by itself: %+v", s)
		}
		appendEvents(t, q, next, 100)
		closeQueue(t, q)
		q = openQueue(t, o)
		if got := pendingNumbers(t, q); !slices.Equal(got, span(201, next+99)) {
			t.Fatalf("read %s, want 201 to %d", sprint(got), next+99)
		}
		closeQueue(t, q)
	})
}

// The queue itself fills the disk. Only the cloud's acknowledgements make room again.
func TestDiskFilledByQueue(t *testing.T) {
	mount := mountTmpfs(t, "size=1m")
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(filepath.Join(mount, "queue"))
		o.SegmentSize = 64 << 10
		q := openQueue(t, o)
		next := uint64(1)
		for range 3 {
			first := next
			var err error
			if next, err = appendUntilRefused(t, q, next); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("append on a full disk: %v", err)
			}
			if next-first < 1000 {
				t.Fatalf("%d events fill the disk", next-first)
			}
			if got := commitRead(t, q); !slices.Equal(got, span(first, next-1)) {
				t.Fatalf("read %s, want %d to %d", sprint(got), first, next-1)
			}
			time.Sleep(2 * fileAfter)
			if s := q.Stats(); !s.Writable || s.Pending != 0 || s.Deployed != next-1 {
				t.Fatalf("not back by itself: %+v", s)
			}
		}
		closeQueue(t, q)
	})
}

// The queue itself fills the disk, of which a part is to stay free.
func TestFloorOfADisk(t *testing.T) {
	mount := mountTmpfs(t, "size=1m")
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(filepath.Join(mount, "queue"))
		o.SegmentSize, o.Floor, o.Policy = 64<<10, 256<<10, RejectNew
		q := openQueue(t, o)
		next := uint64(1)
		for range 2 {
			first := next
			var err error
			for ; err == nil; next++ {
				err = q.Append(context.Background(), testEvent(next))
				time.Sleep(time.Millisecond)
			}
			next--
			if free, e := disk.Free(mount); !errors.Is(err, ErrFull) || e != nil || free < 250<<10 || free > 280<<10 {
				t.Fatalf("%v with %d bytes free, %v", err, free, e)
			}
			if got := commitRead(t, q); !slices.Equal(got, span(first, next-1)) {
				t.Fatalf("read %s, want %d to %d", sprint(got), first, next-1)
			}
			time.Sleep(2 * fileAfter)
		}
		closeQueue(t, q)
	})
}

// The directory becomes read-only under an open queue, and writable again. The kernel refuses to
// remount a file system on which files are open for writing. So a read-only mount of the same
// directory is put over it: what is opened from then on gets EROFS.
func TestReadOnlyRemount(t *testing.T) {
	mount := mountTmpfs(t, "size=4m")
	o := testOptions(filepath.Join(mount, "queue"))
	o.SegmentSize = 16 << 10
	synctest.Test(t, func(t *testing.T) {
		q := openQueue(t, o)
		appendEvents(t, q, 1, 500)
		if m, err := medium.Read(o.Dir); err != nil || m.ReadOnly ||
			!m.RAM || m.FS != "tmpfs" || m.Total != 4<<20 || m.Device != "" || m.CommitBytes != 0 {
			t.Fatalf("%+v, %v", m, err)
		}
		if err := syscall.Mount(mount, mount, "", syscall.MS_BIND, ""); err != nil {
			t.Skipf("no bind mounts here: %v", err)
		}
		over := true
		defer func() {
			if over {
				syscall.Unmount(mount, syscall.MNT_DETACH)
			}
		}()
		if err := syscall.Mount("", mount, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("a bind mount cannot be made read-only here: %v", err)
		}
		if m, err := medium.Read(o.Dir); err != nil || !m.ReadOnly || !m.RAM {
			t.Fatalf("%+v, %v", m, err)
		}
		next, err := appendUntilRefused(t, q, 501) // up to the next segment
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EROFS) {
			t.Fatalf("append to a read-only directory: %v", err)
		}
		for range 5 {
			if err := q.Append(context.Background(), testEvent(5000)); !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EROFS) {
				t.Fatalf("append to a read-only directory: %v", err)
			}
			time.Sleep(time.Second)
		}
		if s := q.Stats(); s.Writable || !errors.Is(s.LastError, syscall.EROFS) {
			t.Fatalf("%+v", s)
		}
		if got := commitRead(t, q); !slices.Equal(got, span(1, next-1)) {
			t.Fatalf("read %s of %d", sprint(got), next-1)
		}
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		over = false
		time.Sleep(2 * fileAfter)
		if s := q.Stats(); !s.Writable || s.LastError != nil || s.Deployed != next-1 {
			t.Fatalf("not back by itself: %+v", s)
		}
		appendEvents(t, q, next, 100)
		closeQueue(t, q)
		q = openQueue(t, o)
		if got := pendingNumbers(t, q); !slices.Equal(got, span(next, next+99)) {
			t.Fatalf("read %s, want %d to %d", sprint(got), next, next+99)
		}
		closeQueue(t, q)
	})
}
