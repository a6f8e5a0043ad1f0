package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"edgesync/wal/disk"
)

// maintain does what is due between groups: it tries to come back after a failure, syncs what waits
// for it, writes the committed position to its file and drops segments. It returns when to come
// again at the latest.
func (q *Queue) maintain(now time.Time) time.Duration {
	if !q.proven && !now.Before(q.retryAt) {
		q.commit(new(group)) // a control frame, as a probe: devices that are refused bring no group
	}
	q.measure(now)
	wait := fileAfter
	if !q.dirty.IsZero() {
		if d := q.o.Interval - now.Sub(q.dirty); d > 0 {
			wait = min(wait, d)
		} else {
			q.syncWrites(now)
		}
	}
	q.mu.Lock()
	committed := q.committed
	unwanted := q.unwantedLocked()
	quiet := q.lastWrite.Add(fileAfter).Sub(now)
	unframed := committed.Offset != q.framed.Offset && committed.Offset != q.filed.Offset
	due := committed.Offset != q.filed.Offset && q.urgent || unframed && quiet <= 0
	q.mu.Unlock()
	if due {
		q.save()
	} else if unframed {
		wait = min(wait, quiet)
	}
	if q.store != nil {
		if n := q.droppable(unwanted); n >= dropAtOnce || n > 0 && now.Sub(q.lastDrop) >= dropEvery {
			q.drop(n, now)
		}
	}
	if q.store != nil && q.o.MaxAge > 0 && now.Sub(q.lastAge) >= dropEvery {
		q.lastAge = now
		q.expire(now)
	}
	if q.store != nil && quiet <= 0 {
		if _, ok := q.record(); ok {
			q.commit(new(group))
		}
	}
	if q.store != nil {
		q.fillTail(now)
	}
	if !q.reserved && q.o.Reserve > 0 && !now.Before(q.reserveAt) {
		q.reserveAt = now.Add(refillEvery)
		q.fillReserve()
	}
	if !q.proven {
		wait = min(wait, reopenEvery)
	}
	return wait
}

// Settle has the committed position written soon, and not after a pause: one fsync, or none where
// it is durable.
func (q *Queue) Settle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.committed.Offset > max(q.framed.Offset, q.filed.Offset) {
		q.urgent = true
		poke(q.kick)
	}
}

// save makes the committed position durable in its file; false if the medium refuses. Then a crash
// costs a few duplicates.
func (q *Queue) save() bool {
	q.mu.Lock()
	c, kept := q.stateLocked(), q.kept
	q.urgent = false
	q.mu.Unlock()
	err := q.file.write(&c, q.ops)
	if errors.Is(err, syscall.ENOSPC) && q.releaseReserve() { // file systems that never write in place need room for it
		err = q.file.write(&c, q.ops)
	}
	if err != nil {
		q.log.Warn("the committed offset cannot be written; after a crash more events would be sent twice",
			"error", err)
		return false
	}
	q.mu.Lock()
	q.filed, q.savedKept = c.committed, kept
	if q.framed.Offset < c.committed.Offset {
		q.framed = c.committed
	}
	q.mu.Unlock()
	q.ledger.add(Account{Written: slotSize, Fsyncs: 1})
	q.charge(q.o.CommitBytes, time.Now())
	return true
}

// reserveName is the file of the reserve. It holds random bytes, because some file systems
// compress.
const reserveName = "reserve"

// fillReserve writes the reserve, if there is room for it.
func (q *Queue) fillReserve() {
	path := filepath.Join(q.o.Dir, reserveName)
	if i, err := os.Lstat(path); err == nil && i.Mode().IsRegular() && i.Size() == q.o.Reserve {
		q.restored()
		return
	}
	// A medium without that room is not written to until it refuses, time and again.
	if free, err := q.o.free(q.o.Dir); err == nil && free < q.o.Reserve+max(q.o.Floor, 2*disk.Block) {
		return
	}
	b := make([]byte, q.o.Reserve)
	noise(b)
	if err := q.ops.Replace(path, b); err == nil {
		q.restored()
		q.ledger.add(Account{Written: q.o.Reserve, Fsyncs: 2})
		q.charge(wear(0, q.o.Reserve, q.o.CommitBytes), time.Now())
	}
}

// noise fills b with bytes that do not compress.
func noise(b []byte) {
	x := uint64(time.Now().UnixNano()) | 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
}

// restored notes that the reserve is there. Events are accepted again.
func (q *Queue) restored() {
	q.reserved = true
	if !q.starved {
		return
	}
	q.starved = false
	if q.proven {
		q.mu.Lock()
		q.lastErr = nil
		q.mu.Unlock()
	}
}

// releaseReserve gives the reserve back; false if there is none. What is free then is for the
// committed position and for cutting what was refused: events would use it up, and nothing could be
// dropped any more.
func (q *Queue) releaseReserve() bool {
	if q.o.Reserve <= 0 {
		return false
	}
	path := filepath.Join(q.o.Dir, reserveName)
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	q.reserved, q.starved, q.reserveAt = false, true, time.Now().Add(refillEvery)
	q.log.Warn("the medium is full; the reserve is given back so that the committed offset can be written",
		"dir", q.o.Dir, "bytes", q.o.Reserve)
	if _, err := q.ops.Remove(q.o.Dir, []string{reserveName}); err != nil {
		q.log.Warn("the reserve cannot be given back", "error", err)
		return false
	}
	return true
}

// errStarved refuses events while the reserve is given back.
var errStarved = fmt.Errorf("%w: what is free is for the committed offset: %w", ErrUnavailable, syscall.ENOSPC)

// admit refuses events as long as the reserve is given back.
func (q *Queue) admit() error {
	if !q.starved {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lastErr == nil {
		q.lastErr = errStarved
	}
	return errStarved
}

// droppable counts the segments at the front that hold only what is committed. What follows them
// must begin with a control frame, which holds the count of events; so an empty tail never becomes
// the first.
func (q *Queue) droppable(committed uint64) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, s := range q.segments {
		if s.first > committed+1 {
			break
		}
		if s.bytes > 0 {
			n = i
		}
	}
	return n
}

// drop removes the first n segments; the committed position is durable before. The library's
// TruncateFront would write anew what is left of a segment, and fails in a damaged one. So the
// files are deleted here, the oldest first, and the library opens the log again, which costs it the
// reading of one segment and no writing.
func (q *Queue) drop(n int, now time.Time) bool {
	q.lastDrop = now
	if next := q.firsts(n + 1)[n]; q.filed.Offset+1 < next && !q.save() || !q.syncWrites(now) {
		return false
	}
	if q.remove(n, now) != nil {
		return false
	}
	return q.reopenLog("segments were dropped", now)
}

// remove deletes the files of the first n segments, the oldest first.
func (q *Queue) remove(n int, now time.Time) error {
	names := make([]string, n)
	for i, first := range q.firsts(n) {
		names[i] = segmentName(first)
	}
	gone, err := q.ops.Remove(q.o.Dir, names)
	if gone > 0 {
		q.ledger.add(Account{Fsyncs: 1})
		q.charge(q.o.CommitBytes, now)
		if q.starved {
			q.reserveAt = now
		}
	}
	q.mu.Lock()
	for _, s := range q.segments[:gone] {
		delete(q.damaged, s.first)
		q.bytes -= s.bytes
	}
	q.segments = slices.Delete(q.segments, 0, gone)
	q.mu.Unlock()
	if err != nil {
		q.log.Warn("committed segments cannot be deleted", "dir", q.o.Dir, "first", names[0], "segments", n, "error", err)
	}
	return err
}

// reopenLog has the library see which segments there are now.
func (q *Queue) reopenLog(after string, now time.Time) bool {
	q.mu.Lock()
	end := q.end.Offset
	q.mu.Unlock()
	err := q.cutFill()
	if err == nil {
		err = q.store.Close()
	}
	if err == nil {
		q.store, err = openLog(&q.o, end)
	}
	if err != nil {
		q.poison(fmt.Errorf("open after %s: %w", after, err), now)
		return false
	}
	return true
}

// firsts returns the first offsets of the first n segments.
func (q *Queue) firsts(n int) []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	f := make([]uint64, n)
	for i := range f {
		f[i] = q.segments[i].first
	}
	return f
}
