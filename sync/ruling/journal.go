package ruling

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/sync/rules"
	"edgesync/wal"
	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// maxStaged bounds what is staged and not durable, in bytes; beyond it nothing more is kept.
const maxStaged = 4 << 20

// spare is what the journal leaves free of the medium, in bytes: the queue needs it to take what
// comes of windows, and only then their log shrinks.
const spare = 512 << 10

var (
	errStaged = errors.New("rules: more waits for the medium than there is room for, in memory or on it")
	errMedium = errors.New("rules: what waits cannot be written")
)

// sumsKey is the record of the counters. Records of messages have longer keys.
const sumsKey = "sums"

// messageKey is the length of a message's key; those of what nodes remember are longer.
const messageKey = 28

// journal is what nodes hold, on flash. What is staged becomes durable together, in its order, with
// one fsync for all who wait. Any goroutine stages; run's writes.
type journal struct {
	store *store.Store
	log   *slog.Logger
	wake  chan struct{}
	bad   atomic.Bool                     // the medium has refused what was written last
	room  atomic.Int64                    // bytes that may be staged
	free  func(dir string) (int64, error) // of the medium

	mu      sync.Mutex // guards what follows
	next    store.Batch
	windows []wal.Event   // of the log of windows, behind its batch
	staged  int           // bytes of theirs
	waiting []func(error) // until next and windows are durable
	hard    bool          // one of them waits for an fsync, too
	todo    []func()      // for the goroutine of run

	writing sync.Mutex // held while a batch is written; guards what follows
	batch   store.Batch
	open    windowLog
}

func openJournal(o *Options) (*journal, error) {
	s, err := store.Open(store.Options{
		Path: filepath.Join(o.Dir, "store"), CorruptDir: o.CorruptDir, Log: o.Log, Meter: o.Meter,
	})
	if err != nil {
		return nil, fmt.Errorf("open what rules keep: %w", err)
	}
	j := &journal{store: s, log: o.Log, wake: make(chan struct{}, 1), free: disk.Free, open: windowLog{
		dir: windowsDir(o.Dir), corrupt: o.CorruptDir, segment: windowsSegment, floor: cleanFloor, fill: o.Fill, log: o.Log, meter: o.Meter,
	}}
	if err := j.open.load(); err != nil {
		return nil, errors.Join(err, j.close())
	}
	j.measure()
	return j, nil
}

// measure looks how much may be staged: half of what is free, for another half may be on its way to
// the medium then.
func (j *journal) measure() {
	room := int64(maxStaged)
	if free, err := j.free(filepath.Dir(j.open.dir)); err == nil {
		room = min(room, (free-spare)/2)
	}
	j.room.Store(room)
}

// full reports whether nothing more is staged, and then has the medium looked at again. j is
// locked.
func (j *journal) full() bool {
	if int64(j.next.Size()+j.staged) < j.room.Load() {
		return false
	}
	rouse(j.wake)
	return true
}

func (j *journal) close() error { return errors.Join(j.open.close(), j.store.Close()) }

// Keep implements rules.Journal.
func (j *journal) Keep(key string, record []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if key != sumsKey && j.full() {
		return errStaged
	}
	j.next.Put(key, record)
	return nil
}

// window is rules.Journal's Window.
func (j *journal) window(kind uint8, record []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if kind != rules.WindowGone && (j.full() || len(record) > wal.MaxFragment) {
		return errStaged
	}
	j.staged += int(recordBytes(record))
	j.windows = append(j.windows, wal.Event{Kind: kind, Fragment: append([]byte(nil), record...)})
	return nil
}

// forgotten is a record that is to go: one of the store, or messages of a window.
type forgotten struct {
	_      uncompared
	what   string // key, or record of the log of windows
	window bool
}

func (j *journal) forget(list []forgotten) {
	for _, f := range list {
		if f.window {
			_ = j.window(rules.WindowGone, []byte(f.what)) // always taken
			continue
		}
		j.mu.Lock()
		j.next.Delete(f.what)
		j.mu.Unlock()
	}
}

// commit has done called, by the writing goroutine, when what is staged is durable, or is not.
// Unless hard it need only survive the process.
func (j *journal) commit(hard bool, done func(error)) {
	j.mu.Lock()
	j.hard = j.hard || hard
	j.waiting = append(j.waiting, done)
	j.mu.Unlock()
	rouse(j.wake)
}

// refuses reports whether the medium takes nothing, and has it tried again.
func (j *journal) refuses() bool {
	bad := j.bad.Load()
	if bad {
		rouse(j.wake)
	}
	return bad
}

// later has fn called by the writing goroutine.
func (j *journal) later(fn func()) {
	j.mu.Lock()
	j.todo = append(j.todo, fn)
	j.mu.Unlock()
	rouse(j.wake)
}

// do calls what is to be called.
func (j *journal) do() {
	j.mu.Lock()
	todo := j.todo
	j.todo = nil
	j.mu.Unlock()
	for _, fn := range todo {
		fn()
	}
}

// wait is commit that waits.
func (j *journal) wait(hard bool) error {
	end := make(chan error, 1)
	j.commit(hard, func(err error) { end <- err })
	return <-end
}

// run writes what is staged, until stop is closed; then the rest. It calls weigh now and then.
func (j *journal) run(stop <-chan struct{}, weigh func()) {
	for {
		weigh()
		select {
		case <-j.wake:
			j.do()
			j.write()
		case <-stop:
			j.do()
			j.write()
			return
		}
	}
}

// write makes durable what is staged. What the medium refuses stays, and is written before anything
// else.
func (j *journal) write() {
	j.writing.Lock()
	defer j.writing.Unlock()
	err := j.apply()
	j.mu.Lock()
	waiting := j.waiting
	j.store.Lazy(len(waiting) > 0 && !j.hard)
	j.hard = false
	j.waiting = nil
	if err == nil {
		j.next, j.batch = j.batch, j.next
		j.windows, j.open.batch, j.staged = j.open.batch, j.windows, 0
	}
	j.mu.Unlock()
	if err == nil {
		err = j.apply()
	}
	j.bad.Store(err != nil)
	for _, done := range waiting {
		done(err)
	}
	if err := j.open.clean(); err != nil {
		j.log.Debug("the windows of rule chains cannot be cleaned", "error", err)
	}
	j.measure()
}

// apply writes the windows first: what is in them as well is only then removed from the store.
func (j *journal) apply() error {
	if err := j.open.write(); err != nil {
		return err
	}
	err := j.store.Apply(&j.batch)
	if err == nil || errors.Is(err, store.ErrBatchTooLarge) {
		j.batch.Reset()
	}
	return err
}

// restore gives back the records of messages, in the order of their keys, and the windows.
func (j *journal) restore(e *rules.Engine) {
	keys := j.store.Keys("")
	slices.Sort(keys)
	for _, key := range keys {
		if key == sumsKey {
			continue
		}
		record, ok, err := j.store.Get(key, nil)
		if ok && err == nil {
			err = e.Restore(key, record)
		}
		if err != nil {
			j.log.Warn("a message that waited in a rule chain is unreadable and is lost", "error", err)
			j.forget([]forgotten{{what: key}})
		}
	}
	if lost := e.RestoreWindows(&j.open.WindowLog); lost > 0 {
		j.log.Warn("messages that waited in windows of rule chains are unreadable and are lost", "messages", lost)
	}
}

// Counts are the counters of rules over the life of a data directory. What Made and Filtered,
// Merged and Held mean is said at rules.Sums.
type Counts struct {
	Made, Filtered, Merged, Safety, Failed, Unsupported uint64
	Held                                                uint64 // messages that wait now
}

func countsOf(s *rules.Sums) Counts {
	return Counts{
		Made: s.Made, Filtered: s.Filtered, Merged: s.Merged, Safety: s.Safety, Failed: s.Failed, Unsupported: s.Unsupported,
		Held: uint64(max(0, s.Held)),
	}
}

func (c *Counts) fields() [6]*uint64 {
	return [6]*uint64{&c.Made, &c.Filtered, &c.Merged, &c.Safety, &c.Failed, &c.Unsupported}
}

func (c *Counts) append(b []byte) []byte {
	for _, f := range c.fields() {
		b = binary.AppendUvarint(b, *f)
	}
	return b
}

// readCounts reads the record of the counters; what is damaged is 0.
func readCounts(s *store.Store) (c Counts) {
	b, _, _ := s.Get(sumsKey, nil)
	for _, f := range c.fields() {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		*f, b = v, b[n:]
	}
	return c
}

// ReadCounts reads the counters of a data directory that no agent holds, or that one holds: then
// they are those of its last minute.
func ReadCounts(dir string) (c Counts) {
	s, err := store.Inspect(filepath.Join(dir, "store"))
	if err != nil {
		return c
	}
	defer s.Close()
	c = readCounts(s)
	for _, key := range s.Keys("") {
		if len(key) == messageKey {
			c.Held++
		}
	}
	c.Held += uint64(waiting(dir))
	return c
}

// sumsEvery is how often counters alone are written.
const sumsEvery = time.Minute
