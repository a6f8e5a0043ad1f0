package cli

import (
	"errors"
	"fmt"
	"time"

	"edgesync/sync/status"
	"edgesync/wal"
)

const (
	// maxTail bounds --tail: the offsets of so many events are in memory.
	maxTail = 10000
	// followEvery is how often --follow looks for what is new.
	followEvery = time.Second
)

var errTail = errors.New("--tail takes a number from 1 to 10000")

// tailFrom finds the offset of the last but tail-1 of the frames that d shows. Where all are shown
// the last few segments are enough.
func (d *dumper) tailFrom(queue string, last uint64) (from uint64, err error) {
	ring, n := make([]uint64, d.f.tail), uint64(0)
	near := last - min(last, 4*d.f.tail)
	for _, begin := range []uint64{max(d.f.from, near), d.f.from} {
		n = 0
		err = wal.Walk(queue, begin, func(r *wal.Record) bool {
			if d.shows(r) {
				ring[n%d.f.tail] = r.Offset
				n++
			}
			return true
		})
		if err != nil || n >= d.f.tail {
			break
		}
	}
	switch {
	case n >= d.f.tail:
		return ring[n%d.f.tail], err
	case n > 0:
		return ring[0], err
	}
	return last + 1, err
}

// follow prints what comes, until the process is stopped.
func (t *tool) follow(d *dumper, queue, dataDir string) error {
	for d.f.limit == 0 || d.shown < d.f.limit {
		time.Sleep(followEvery)
		var last uint64
		if s, err := status.Fetch(dataDir); dataDir != "" && err == nil && s.Running {
			last, d.committed = s.LastOffset, max(d.committed, s.Committed)
		} else {
			st, err := wal.Inspect(queue)
			if err != nil {
				return fmt.Errorf("read the queue at %s: %w", queue, err)
			}
			last, d.committed = st.Last, max(d.committed, st.Committed)
		}
		if last < d.next {
			continue
		}
		d.end = last
		if err := wal.Walk(queue, d.next, d.record); err != nil {
			return fmt.Errorf("read the queue at %s: %w", queue, err)
		}
		d.next = max(d.next, last+1)
		if err := d.w.Flush(); err != nil {
			return err
		}
	}
	return nil
}
