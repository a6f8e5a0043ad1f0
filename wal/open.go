package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/medium"

	tlog "github.com/tidwall/wal"
)

// Bounds of a segment's size. The upper one keeps a tail within what repair reads.
const (
	minSegmentSize = 512
	maxSegmentSize = 16 << 20
)

// Open repairs what needs repair and opens the queue. It fails only for a directory that another process holds (disk.ErrLocked) or that
// cannot be read or written, never for damaged content.
func Open(o Options) (*Queue, error) {
	o.SegmentSize = segmentSize(o)
	if o.Policy == "" {
		o.Policy = DropOldest
	}
	if o.CommitBytes <= 0 {
		o.CommitBytes = medium.AssumedCommit
	}
	if o.besideFrom == 0 {
		o.besideFrom = manyWaiting
	}
	q := &Queue{
		o: o, log: o.Log, kick: make(chan struct{}, 1), outcomes: make(chan *outcome, 1),
		syncs: make(chan fileSync, 1), syncErr: make(chan error, 2), many: make(chan struct{}, 1), enough: math.MaxInt, wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		pending: new(group), spare: append(make([]*group, 0, 2), new(group)), damaged: make(map[uint64]struct{}), lastWrite: time.Now(), opened: time.Now(),
		budget: budget{perDay: o.FlashBudget},
	}
	if q.o.Now == nil {
		q.o.Now = func() int64 { return time.Now().UnixMilli() }
	}
	if q.ops = o.ops; q.ops == nil {
		q.ops = disk.System{}
	}
	q.append = func() error { return q.store.WriteBatch(&q.batch) } // made once: a commit allocates nothing for it
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	_, err := os.Lstat(o.Dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if fresh { // or a power cut might take it away with all that is in it
		if err := q.ops.SyncDir(filepath.Dir(filepath.Clean(o.Dir))); err != nil {
			return nil, fmt.Errorf("queue: %w", errors.Join(err, os.Remove(o.Dir)))
		}
	}
	lock, err := disk.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.lock, q.proven = lock, true
	if err := q.open(); err != nil {
		return nil, fmt.Errorf("queue %s: %w", o.Dir, errors.Join(err, q.file.close(), lock.Close()))
	}
	go q.run()
	go q.wakeMany()
	go q.syncMany()
	return q, nil
}

// segmentSize is the size of segments: as asked for, within bounds, and so small that a quota holds several.
func segmentSize(o Options) int {
	n := o.SegmentSize
	if n <= 0 {
		n = DefaultSegmentSize
	}
	if o.MaxBytes > 0 {
		n = int(min(int64(n), max(o.MaxBytes/8, 64<<10)))
	}
	return min(max(n, minSegmentSize), maxSegmentSize)
}

// open repairs the directory, opens the library's log and works out where things stand; at start, and again after a failure.
func (q *Queue) open() error {
	var c control
	var ok bool
	if q.file == nil {
		c, _, _ = readCommitted(q.o.Dir)
	} else {
		c.thin = q.thin
	}
	t, err := repair(q.o.Dir, q.o.CorruptDir, c.thin, q.log)
	if err != nil {
		return err
	}
	var reach uint64 // the offset up to which the log is known to have gone
	if q.file == nil {
		var generation uint64
		c, generation, ok = readCommitted(q.o.Dir)
		unread := !ok && t.last > 0 && !unwritten(q.o.Dir)
		if q.file, err = openCommitted(q.o.Dir, q.o.CorruptDir, generation); err != nil {
			return err
		}
		if err := q.ops.Sync(q.file.f); err != nil {
			return err
		}
		q.filed, reach = c.committed, c.committed.Offset
		if unread {
			q.log.Warn("the committed offset cannot be read from its file; what the log itself does not know to be acknowledged is sent again", "dir", q.o.Dir)
		}
	} else {
		q.mu.Lock()
		c, ok, reach = q.stateLocked(), true, q.end.Offset
		q.mu.Unlock()
	}
	p := settle(q.o.Dir, t, c, ok, reach)
	if p.end.Offset > t.last {
		q.log.Error("the end of the queue is missing; its offsets are not used again", "dir", q.o.Dir, "last", t.last, "known", p.end.Offset)
		if err := disk.Replace(filepath.Join(q.o.Dir, segmentName(p.end.Offset+1)), nil); err != nil {
			return err
		}
	}
	if q.store, err = openLog(&q.o, p.end.Offset); err != nil {
		return err
	}
	// What a killed process wrote and did not sync is found all the same, and relied on from here on.
	segments, err := sizes(q.o.Dir)
	if err == nil {
		err = q.ops.Adopt(func() error { return errors.Join(q.store.Sync(), disk.SyncDir(q.o.Dir)) })
	}
	if err != nil {
		q.store.Close()
		q.store = nil
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest, q.newNames, q.newTail = t.time, false, false
	if q.running && q.committed.Offset > c.committed.Offset { // the cloud went on acknowledging meanwhile
		p = settle(q.o.Dir, t, q.stateLocked(), true, reach)
	}
	q.running = true
	q.told = q.filed
	if t.found && t.newest.committed.Offset > q.told.Offset {
		q.told = t.newest.committed
	}
	q.telling = q.told
	p.committed.Thinned = q.committed.Thinned
	q.end, q.synced, q.committed, q.counters, q.ahead, q.gap = p.end, p.end, p.committed, p.counters, p.ahead, p.gap
	q.replacing, q.thin = 0, thinning{}
	q.epoch++
	q.setSegments(segments)
	return nil
}

// openLog opens the library's log and makes sure that it sees what we do.
func openLog(o *Options, end uint64) (*tlog.Log, error) {
	store, err := tlog.Open(o.Dir, &tlog.Options{NoSync: true, SegmentSize: o.SegmentSize, SegmentCacheSize: 1, NoCopy: true, AllowEmpty: true, DirPerms: 0o700, FilePerms: 0o600})
	if err != nil {
		return nil, err
	}
	last, err := store.LastIndex()
	if err == nil && last != end {
		err = fmt.Errorf("the library sees %d as the last offset, we %d", last, end)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// place is where a directory stands.
type place struct {
	end, committed Position
	counters       counters
	ahead          uint64
	gap            Gap
}

// settle works out where things stand. c is what the committed file tells, or after a failure the memory, if ok; of it and the newest
// control frame of the tail the later one counts. If both are lost everything that is still there is sent again.
//
// When the log is known to have reached further than the tail does now, what is missing was acknowledged to devices and cannot be read
// any more. Its offsets are not used again: an old committed offset, or a reader, would pass over what is written there.
func settle(dir string, t tail, c control, ok bool, reach uint64) (p place) {
	p.end = Position{Offset: t.last, Seq: t.seq}
	known := uint64(0) // events known to have been accepted
	lost := !ok
	if ok {
		known = c.seq
	}
	if t.found && (!ok || t.newest.newer(&c)) {
		c, ok = t.newest, true
	}
	if !ok {
		if first, seq, found := startSeq(dir); found {
			p.committed = Position{Offset: first - 1, Seq: min(seq, p.end.Seq)}
			p.counters.deployed = p.committed.Seq
		}
		return p
	}
	p.committed, p.counters, p.ahead, p.gap = c.committed, c.counters, c.ahead, c.gap
	if !t.seqSure {
		p.end.Seq = c.committed.Seq + max(t.last, c.committed.Offset) - c.committed.Offset
	}
	p.end.Seq = max(p.end.Seq, c.committed.Seq, known)
	p.end.Offset = max(p.end.Offset, reach, c.committed.Offset)
	if p.committed.Offset == p.end.Offset { // nothing is left to read: what is missing is counted now
		p.counters.damaged += p.end.Seq - p.committed.Seq
		p.committed = p.end
	}
	if first, seq, found := startSeq(dir); lost && found && p.committed.Offset < first-1 && seq >= p.committed.Seq {
		// A control frame from before a drop. Only what the committed offset had passed is dropped, so what is gone was not pending.
		seq = min(seq, p.end.Seq)
		passed := seq - p.committed.Seq
		already := min(p.ahead, passed) // counted when it was thinned
		p.counters.deployed += passed - already
		p.counters.dropped += already
		p.ahead -= already
		p.committed.Offset, p.committed.Seq = first-1, seq
	}
	p.ahead = min(p.ahead, p.end.Seq-p.committed.Seq)
	return p
}

// startSeq finds the first offset that is still there and how many events were accepted before it.
func startSeq(dir string) (first, seq uint64, ok bool) {
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) == 0 {
		return 0, 0, false
	}
	for i, f := range firsts[:min(4, len(firsts))] {
		if seq, ok := headSeq(dir, f); ok {
			if i > 0 { // what lies before cannot be told from control frames
				seq -= min(seq, f-firsts[0])
			}
			return firsts[0], seq, true
		}
	}
	return firsts[0], 0, true
}

// head reads the control frame at the head of a segment.
func head(dir string, first uint64) (frame, control, bool) {
	return headOf(filepath.Join(dir, segmentName(first)), first)
}

func headOf(path string, first uint64) (frame, control, bool) {
	b, err := disk.Read(path, headerSize+maxControlSize+maxPrefix)
	if err != nil {
		return nil, control{}, false
	}
	f, _, bad := next(b, first)
	if bad || f.typ() != frameControl {
		return nil, control{}, false
	}
	c, ok := parseControl(f.payload())
	return f, c, ok
}

// headSeq reads how many events were accepted before the segment.
func headSeq(dir string, first uint64) (uint64, bool) {
	_, c, ok := head(dir, first)
	return c.seq, ok
}

// sizes lists the segments of a directory. One that goes away meanwhile was dropped.
func sizes(dir string) ([]segment, error) {
	firsts, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	list := make([]segment, 0, len(firsts)+1)
	for _, f := range firsts {
		i, err := os.Stat(filepath.Join(dir, segmentName(f)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, segment{f, i.Size(), levelUnknown})
	}
	return list, nil
}

// setSegments is called with the lock held.
func (q *Queue) setSegments(list []segment) {
	q.segments, q.bytes = list, 0
	for _, s := range list {
		q.bytes += s.bytes
	}
}

// Inspect reads the counters of a directory without changing anything; a process may hold it meanwhile.
func Inspect(dir string) (Stats, error) {
	var err error
	for range 5 { // segments may be dropped under our eyes
		var s Stats
		if s, err = inspect(dir); !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
	return Stats{}, err
}

func inspect(dir string) (Stats, error) {
	segments, err := sizes(dir)
	if err != nil {
		return Stats{}, err
	}
	t := tail{first: 1, seqSure: true}
	if n := len(segments); n > 0 {
		firsts := make([]uint64, n)
		for i, s := range segments {
			firsts[i] = s.first
		}
		path := filepath.Join(dir, segmentName(firsts[n-1]))
		data, err := disk.Read(path, tailBytes)
		if disk.Worn(err) {
			data, err = disk.Salvage(path, tailBytes)
		}
		if err != nil {
			return Stats{}, err
		}
		t, _, _ = scan(data, firsts[n-1], func(int, int, uint64) {})
		t.countBefore(dir, firsts)
		segments[n-1].bytes = t.bytes // what follows is cut, or room that was set aside
	} else {
		segments = []segment{{first: 1}}
	}
	c, _, ok := readCommitted(dir)
	p := settle(dir, t, c, ok, c.committed.Offset)
	q := &Queue{
		o: Options{Dir: dir}, log: slog.New(slog.DiscardHandler), damaged: make(map[uint64]struct{}),
		end: p.end, synced: p.end, committed: p.committed, counters: p.counters, ahead: p.ahead,
	}
	q.setSegments(segments)
	return q.Stats(), nil
}
