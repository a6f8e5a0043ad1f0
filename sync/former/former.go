package former

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/wal"
	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// Options of a Store.
type Options struct {
	Dir        string // data_dir/former or data_dir/overflow; it is made when the first event comes
	CorruptDir string // where damaged bytes are kept
	MaxBytes   int64  // bound of the events; 0: none
	Floor      int64  // bytes of the medium that they leave free; 0: none
	Log        *slog.Logger
	Meter      disk.Meter // of what is written
}

// Store holds the events of former edges. Safe for concurrent use; a call that writes holds the
// others up as long as the medium takes.
type Store struct {
	o Options

	mu       sync.Mutex // guards all that follows
	store    *store.Store
	events   *wal.Queue // nil: there are none
	count    count
	mark     mark
	marked   bool
	edges    []Edge
	entities map[proto.UUID]*entity
	names    int             // bytes that they take, see maxNames
	letters  map[uint64]bool // offsets of the dead letters of the last batch
	pass     *pass           // of Return, that goes on
	closed   bool
}

// Event is an event that comes here.
type Event struct {
	wal.Event
	Offset uint64 // in the queue
	Letter bool   // it was a dead letter
}

const header = 8 // bytes in front of a fragment

// MaxFragment bounds the fragment of an event, in bytes.
const MaxFragment = wal.MaxFragment - header

// Open opens the store in o.Dir. What a crash has left uncounted is counted.
func Open(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: o, entities: make(map[proto.UUID]*entity)}
	if _, err := os.Lstat(o.Dir); errors.Is(err, os.ErrNotExist) {
		return s, nil // most gateways never need one
	}
	if err := s.openStore(); err != nil {
		return nil, err
	}
	if err := s.load(s.store); err != nil {
		o.Log.Warn("a record about events of a former edge is unreadable", "error", err)
	}
	s.removeOld()
	var err error
	if _, there := os.Lstat(s.eventsDir()); there == nil {
		err = errors.Join(s.openEvents(), s.recount())
	} else if n := s.kept(); n > 0 { // somebody has removed them
		c := s.count
		c.damaged += n
		err = s.retire(c)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) openStore() (err error) {
	if s.store != nil {
		return nil
	}
	s.store, err = store.Open(store.Options{
		Path: filepath.Join(s.o.Dir, "store"), CorruptDir: s.o.CorruptDir, Log: s.o.Log, Meter: s.o.Meter,
	})
	if err != nil {
		return fmt.Errorf("former: %w", err)
	}
	return nil
}

const eventsName = "events-"

func (s *Store) eventsDir() string {
	return filepath.Join(s.o.Dir, eventsName+strconv.FormatUint(uint64(s.count.generation), 10))
}

// openEvents opens the events, or begins them.
func (s *Store) openEvents() (err error) {
	if s.events != nil {
		return nil
	}
	s.events, err = wal.Open(wal.Options{
		Dir: s.eventsDir(), CorruptDir: s.o.CorruptDir, MaxBytes: s.o.MaxBytes, Floor: s.o.Floor, Policy: wal.RejectNew, Log: s.o.Log,
	})
	if err != nil {
		return fmt.Errorf("former: open the events: %w", err)
	}
	return nil
}

// removeOld removes events that are gone.
func (s *Store) removeOld() {
	files, _ := os.ReadDir(s.o.Dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), eventsName) && f.Name() != filepath.Base(s.eventsDir()) {
			if err := removeTree(filepath.Join(s.o.Dir, f.Name()), f); err != nil {
				s.o.Log.Warn("events of a former edge that are gone cannot be removed", "error", err)
			}
		}
	}
}

// removeTree removes a file, or a directory with all that is in it, until something cannot be
// removed. os.RemoveAll, which is made for directories that somebody else changes meanwhile, would
// be 12 kB more of code on MIPS.
func removeTree(path string, f os.DirEntry) error {
	if f.IsDir() {
		files, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := removeTree(filepath.Join(path, f.Name()), f); err != nil {
				return err
			}
		}
	}
	return os.Remove(path)
}

// recount counts the events behind the last one that was counted.
func (s *Store) recount() error {
	var b store.Batch
	batch := newBatch()
	r := s.events.Reader()
	defer r.Close()
	s.count.counted = min(s.count.counted, s.events.End().Offset)
	counted := s.count.counted
	err := r.Read(func(e *wal.Entry) bool {
		if e.Offset > counted && len(e.Fragment) >= header {
			batch.take(s, &e.Event, binary.BigEndian.Uint64(e.Fragment), e.Fragment[header:])
			s.count.counted = e.Offset
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("former: read the events: %w", err)
	}
	if s.count.counted == counted {
		return nil
	}
	batch.write(s, &b)
	return s.apply(&b)
}

// batch is what one batch of events changes.
type batch struct {
	changed map[proto.UUID]bool
	letters []byte
}

func newBatch() *batch { return &batch{changed: make(map[proto.UUID]bool)} }

// take counts one event in memory.
func (b *batch) take(s *Store, e *wal.Event, from uint64, fragment []byte) {
	id := s.entityOf(e, fragment)
	s.entities[id].kept++
	b.changed[id] = true
	if s.pass != nil { // it lies behind the end of the walk
		s.pass.left[id]++
	}
	if from&1 != 0 {
		b.letters = binary.BigEndian.AppendUint64(b.letters, from>>1)
		if s.letters == nil {
			s.letters = make(map[uint64]bool)
		}
		s.letters[from>>1] = true
	} else {
		s.count.last = from >> 1
	}
}

// write puts what has changed into a batch of the store.
func (b *batch) write(s *Store, out *store.Batch) {
	for id := range b.changed {
		out.Put(entityKey(id), s.entities[id].encode())
	}
	if b.letters != nil {
		out.Put(keyLetters, b.letters)
	}
	out.Put(keyCount, s.count.encode())
}

// entityOf is the id of the entity that an event counts for: that of an alarm's originator, else
// the event's own; zero where there is no room for another.
func (s *Store) entityOf(e *wal.Event, fragment []byte) proto.UUID {
	id := countsFor(e, fragment)
	if s.entities[id] != nil {
		return id
	}
	n := &entity{edge: s.mark.edge, typ: plain.Cut(proto.EntityTypeOf(fragment), 64)}
	if s.names+n.cost() > maxNames {
		id = proto.UUID{}
		if s.entities[id] != nil {
			return id
		}
		n.typ = ""
	}
	s.add(id, n)
	return id
}

// countsFor is entityOf as far as the event says it.
func countsFor(e *wal.Event, fragment []byte) proto.UUID {
	if proto.Kind(e.Kind) == proto.KindAlarm {
		if o, ok := proto.OriginatorOf(fragment); ok {
			return o
		}
	}
	return e.Entity
}

func (s *Store) apply(b *store.Batch) error {
	err := s.store.Apply(b)
	b.Reset()
	if err != nil {
		return fmt.Errorf("former: %w", err)
	}
	return nil
}

// Has reports whether an event of the queue is here already: a crash came between Put and the
// commit behind it, or what was in flight in front of it is sent again.
func (s *Store) Has(e *wal.Event, offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset > s.count.last {
		return false
	}
	// One that was passed because its entity was here has no event of that entity beside it.
	n := s.entities[countsFor(e, e.Fragment)]
	if n == nil {
		n = s.entities[proto.UUID{}]
	}
	return n != nil && n.kept > 0
}

// HasLetter is Has for a dead letter of the last batch.
func (s *Store) HasLetter(offset uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.letters[offset]
}

// Put takes events, durably, with one fsync for them and one for their number. After an error none
// of them counts as taken; those that were may come again.
func (s *Store) Put(ctx context.Context, events []Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return wal.ErrClosed
	}
	if err := errors.Join(s.openStore(), s.openEvents()); err != nil {
		return err
	}
	list := make([]wal.Event, len(events))
	for i, e := range events {
		from := e.Offset << 1
		if e.Letter {
			from |= 1
		}
		list[i] = e.Event
		list[i].Fragment = append(binary.BigEndian.AppendUint64(make([]byte, 0, header+len(e.Fragment)), from), e.Fragment...)
	}
	if err := s.events.Append(ctx, list...); err != nil {
		return fmt.Errorf("former: %w", err)
	}
	bytes := 0
	for i := range list {
		bytes += len(list[i].Fragment)
	}
	s.o.Meter.Add(0, int64(bytes), 1)
	clear(s.letters)
	// The counters are those of what is in the events, whatever becomes of this write: what is not
	// counted on flash is counted at the next opening.
	batch := newBatch()
	for i := range list {
		batch.take(s, &events[i].Event, binary.BigEndian.Uint64(list[i].Fragment), events[i].Fragment)
	}
	s.count.counted = s.events.End().Offset
	var b store.Batch
	batch.write(s, &b)
	if err := s.apply(&b); err != nil {
		s.o.Log.Warn("the number of events of a former edge cannot be written; it is at the next start", "error", err)
	}
	return nil
}

// Drop gives up all events that are here. It returns how many there were.
func (s *Store) Drop() (n uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = s.kept()
	if n == 0 {
		return 0, nil
	}
	c := s.count
	c.discarded += n
	return n, s.retire(c)
}

// GiveUp gives up the events of some entities. It returns how many there were.
func (s *Store) GiveUp(ids []proto.UUID) (n uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, c := newBatch(), s.count
	for _, id := range ids {
		if e := s.entities[id]; e != nil && e.kept > 0 && !changed.changed[id] {
			n += e.kept
			changed.changed[id] = true
		}
	}
	if n == 0 || s.closed {
		return 0, nil
	}
	s.stopPass()
	c.discarded += n
	if n == s.kept() {
		return n, s.retire(c)
	}
	for id := range changed.changed {
		e := s.entities[id]
		e.kept, e.sent = 0, s.events.End().Offset
	}
	s.count = c
	var b store.Batch
	changed.write(s, &b)
	return n, s.apply(&b)
}

// Any reports whether any event is here.
func (s *Store) Any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept() > 0
}

// retire makes it durable that no event is left here.
func (s *Store) retire(c count) error {
	c.generation++
	c.counted = 0
	var b store.Batch
	b.Put(keyCount, c.encode())
	for id, e := range s.entities {
		if s.marked && e.name != "" { // a mark needs the names
			reset := *e
			reset.kept, reset.sent = 0, 0
			b.Put(entityKey(id), reset.encode())
		} else {
			b.Delete(entityKey(id))
		}
	}
	if err := s.apply(&b); err != nil {
		return err
	}
	for id, e := range s.entities {
		e.kept, e.sent = 0, 0
		if !s.marked || e.name == "" {
			s.names -= e.cost()
			delete(s.entities, id)
		}
	}
	s.count, s.pass = c, nil
	var err error
	if s.events != nil {
		err = s.events.Close()
		s.events = nil
	}
	s.removeOld()
	return err
}

func (s *Store) kept() (n uint64) {
	for _, e := range s.entities {
		n += e.kept
	}
	return n
}

// Close releases the files.
func (s *Store) Close() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.events != nil {
		err = s.events.Close()
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}
