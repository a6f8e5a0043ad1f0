package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"syscall"
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

// Open repairs what needs repair and opens the queue. It fails only for a directory that another
// process holds (disk.ErrLocked) or that cannot be read or written, never for damaged content.
func Open(o Options) (*Queue, error) {
	o.SegmentSize = segmentSize(o)
	if o.Policy == "" {
		o.Policy = DropOldest
	}
	if o.CommitBytes <= 0 {
		o.CommitBytes = medium.AssumedCommit
	}
	if o.free == nil {
		o.free = disk.Free
	}
	if o.besideFrom == 0 {
		o.besideFrom = manyWaiting
	}
	q := &Queue{
		o: o, log: o.Log, kick: make(chan struct{}, 1), outcomes: make(chan *outcome, 1),
		syncs: make(chan fileSync, 1), syncErr: make(chan error, 2), many: make(chan struct{}, 1), enough: math.MaxInt,
		wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		pending: new(group), spare: append(make([]*group, 0, 2), new(group)), damaged: make(map[uint64]struct{}),
		most: o.MaxBytes, lastWrite: time.Now(), opened: time.Now(),
		budget: budget{perDay: o.FlashBudget, most: o.MaxDelay}, pinned: noneKept,
	}
	if o.Pinned != 0 {
		q.pinned = o.Pinned
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
	if err := disk.MakeWay(o.Dir, disk.Dir, o.CorruptDir, q.log); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	_, err := os.Lstat(o.Dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if fresh { // a power cut must not take it away with all that is in it
		if err := q.ops.SyncDir(filepath.Dir(filepath.Clean(o.Dir))); err != nil {
			return nil, fmt.Errorf("queue: %w", errors.Join(err, os.Remove(o.Dir)))
		}
	}
	lock, err := lockQueue(o.Dir, o.CorruptDir, q.log)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.lock, q.proven = lock, true
	if err := q.open(); err != nil {
		return nil, fmt.Errorf("queue %s: %w", o.Dir, errors.Join(err, q.file.close(), lock.Close()))
	}
	q.measure(time.Now())
	go q.run()
	go q.wakeMany()
	go q.syncMany()
	return q, nil
}

// lockQueue takes the directory for this process.
func lockQueue(dir, corrupt string, log *slog.Logger) (*os.File, error) {
	if err := disk.MakeWay(filepath.Join(dir, "LOCK"), disk.File, corrupt, log); err != nil {
		return nil, err
	}
	return disk.Lock(dir)
}

// segmentSize is the size of segments in bytes: as asked for, within bounds, and so small that a
// quota holds several.
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

// open repairs the directory, opens the library's log and works out where things stand: at start,
// and again after a failure.
func (q *Queue) open() error {
	var c control
	var ok bool
	if q.file == nil {
		c, _, _ = readCommitted(q.o.Dir)
	} else {
		c.thin = q.thin
	}
	t, err := repair(q.ops, q.o.Dir, q.o.CorruptDir, c.thin, q.log)
	if errors.Is(err, syscall.ENOSPC) && q.file == nil { // after a failure cutBack has made room
		q.filed = c.committed
		if q.segments, err = sizes(q.o.Dir); err == nil {
			err = syscall.ENOSPC
		}
	}
	for errors.Is(err, syscall.ENOSPC) && q.makeRoom() {
		t, err = repair(q.ops, q.o.Dir, q.o.CorruptDir, c.thin, q.log)
	}
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
			q.log.Warn("the committed offset cannot be read from its file; "+
				"what the log itself does not know to be acknowledged is sent again", "dir", q.o.Dir)
		}
	} else {
		q.mu.Lock()
		c, ok, reach = q.stateLocked(), true, q.end.Offset
		q.mu.Unlock()
	}
	p := standingOf(q.o.Dir, t, c, ok, reach)
	if p.behind(&t) {
		q.log.Error("the end of the queue is missing; its offsets are not used again",
			"dir", q.o.Dir, "last", t.last, "known", p.end.Offset, "events", p.end.Seq)
		if err := disk.Replace(filepath.Join(q.o.Dir, segmentName(p.end.Offset+1)), nil); err != nil {
			return err
		}
	}
	if q.store, err = openLog(&q.o, p.end.Offset); err != nil {
		return err
	}
	// What a killed process wrote and did not sync is found all the same, and relied on from here
	// on.
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
		p = standingOf(q.o.Dir, t, q.stateLocked(), true, reach)
	}
	if !q.running {
		q.kept, q.savedKept = p.kept, p.kept
	}
	q.running = true
	q.framed = q.filed
	if t.found && t.newest.committed.Offset > q.framed.Offset {
		q.framed = t.newest.committed
	}
	q.framing = q.framed
	p.committed.Thinned = q.committed.Thinned
	q.end, q.synced, q.committed, q.counters, q.ahead, q.gap = p.end, p.end, p.committed, p.counters, p.ahead, p.gap
	q.replacing, q.thin = 0, thinning{}
	q.epoch++
	q.setSegments(segments)
	return nil
}

// openLog opens the library's log, and makes sure that its last offset is the queue's.
func openLog(o *Options, end uint64) (*tlog.Log, error) {
	store, err := tlog.Open(o.Dir, &tlog.Options{
		NoSync: true, SegmentSize: o.SegmentSize, SegmentCacheSize: 1, NoCopy: true, AllowEmpty: true,
		DirPerms: 0o700, FilePerms: 0o600,
	})
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

// headSeq reads how many events were accepted before a segment.
func headSeq(dir string, first uint64) (uint64, bool) {
	_, c, ok := head(dir, first)
	return c.seq, ok
}

// sizes lists the segments of a directory. One that vanishes meanwhile was dropped.
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

// setSegments takes the list of segments. The caller holds mu.
func (q *Queue) setSegments(list []segment) {
	q.segments, q.bytes = list, 0
	for _, s := range list {
		q.bytes += s.bytes
	}
}

// Inspect reads the counters of a directory without changing anything; a process may hold it
// meanwhile.
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
	p := standingOf(dir, t, c, ok, c.committed.Offset)
	q := &Queue{
		o: Options{Dir: dir}, log: slog.New(slog.DiscardHandler), damaged: make(map[uint64]struct{}),
		end: p.end, synced: p.end, committed: p.committed, counters: p.counters, ahead: p.ahead,
	}
	q.setSegments(segments)
	return q.Stats(), nil
}
