package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/store"
)

// DeadLetter is an event that the cloud refuses, and why. Its identity is the offset it had in the
// queue.
type DeadLetter struct {
	Event
	Offset  uint64
	Reason  string    // what the cloud said, shortened and redacted by the caller; kept up to MaxReason bytes
	Tries   int       // deliveries tried
	At      time.Time // of the first refusal, to the millisecond
	Resting bool      // no more tries by itself
	Pinned  bool      // others depend on it: of its class the bound discards it last
	Class   DeadClass // a pinned one is a DeadCreation at least
}

// Bounds of a DeadLog beside its bytes.
const (
	MaxReason      = 1 << 10 // bytes of a reason kept
	MaxDeadLetters = 32768   // dead letters kept: about 5 MiB of memory
)

// DeadLog is the bounded, durable log of dead letters: a store.Store in the file "letters" of its
// directory. Damaged bytes of it are kept in "corrupt" beside the directory.
//
//	key    offset u64, big-endian         value  dead letter
//	key    "n"                            value  delivered u64 | discarded u64
//
// A dead letter is version u8 | flags u8 (1 = resting, 2 = pinned, 4 = DeadNever, 8 = DeadCreation)
// | kind u8 | action u8 | entity [16] | time i64 | at i64 | tries u32 | len(reason) u16 | reason |
// fragment. Counters and the removal that they count are in one batch, so they agree after a power
// cut. All methods may be called from any goroutine.
type DeadLog struct {
	mu       sync.Mutex // guards what follows but store, which has its own
	store    *store.Store
	maxBytes int64
	log      *slog.Logger
	letters  []deadEntry // by offset
	use      deadUse     // of letters
	count    deadCount
	gap      Gap // discarded by the bound since TakeGap was called last
	batch    store.Batch
	value    []byte // the last dead letter encoded
}

// deadEntry is what is in memory of a dead letter.
type deadEntry struct {
	offset  uint64
	entity  [16]byte
	size    uint32 // in the file
	kind    uint8
	action  uint8
	tries   uint8 // up to 255
	resting bool
	pinned  bool
	class   DeadClass
}

// worth orders the dead letters of a class that the bound discards: the least first.
func (e *deadEntry) worth() int {
	switch {
	case e.pinned:
		return 2
	case e.resting:
		return 0
	}
	return 1
}

type deadCount struct{ delivered, discarded uint64 }

// DeadStats counts the dead letters. Delivered and Discarded are over the life of the directory.
type DeadStats struct {
	Letters   int // kept now, resting ones too
	Resting   int
	Pinned    int
	Delivered uint64 // accepted by the cloud at a later try
	Discarded uint64 // given up: by the bound or by a user
	Bytes     int64  // of those kept; between compactions the file may be twice as long, and 64 KiB

	Classes [deadClasses]DeadShare // of those kept, by DeadClass
}

const (
	deadCountKey = "n"
	deadVersion  = 1
	deadResting  = 1
	deadPinned   = 2
	deadNever    = 4
	deadCreation = 8
	deadDefault  = 16 << 20
	deadFixed    = 1 + 1 + 1 + 1 + 16 + 8 + 8 + 4 + 2
)

var errBadDeadLetter = errors.New("wal: dead letter does not decode")

// OpenDead opens the log in dir, its dead letters bounded to maxBytes (0 = 16 MiB). Dead letters
// whose offset is above committed are forgotten: a crash came between their writing and the commit,
// and the queue still holds them.
func OpenDead(dir string, maxBytes int64, committed uint64, log *slog.Logger) (*DeadLog, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if maxBytes <= 0 {
		maxBytes = deadDefault
	}
	s, err := store.Open(store.Options{
		Path:       filepath.Join(dir, "letters"),
		CorruptDir: filepath.Join(filepath.Dir(filepath.Clean(dir)), "corrupt"),
		Log:        log,
	})
	if err != nil {
		return nil, err
	}
	d := &DeadLog{store: s, maxBytes: maxBytes, log: log}
	if err := d.load(committed); err != nil {
		s.Close()
		return nil, err
	}
	return d, nil
}

// load reads what the store holds and removes what must not be there.
func (d *DeadLog) load(committed uint64) error {
	d.count = d.stored()
	count := d.read(committed)
	gone, _ := d.overflow(d.use, nil)
	count.discarded += uint64(len(gone))
	gap := d.survey(gone)
	err := d.commit(count, gone)
	if err == nil {
		d.gap.add(gap)
	}
	return err
}

// stored is the count that is in the store.
func (d *DeadLog) stored() (c deadCount) {
	if value, _, err := d.store.Get(deadCountKey, nil); err == nil && len(value) == 16 {
		c = deadCount{binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])}
	}
	return c
}

// read fills letters from the store. What must not be there goes into the batch as a deletion, and
// the count that it returns goes with it.
func (d *DeadLog) read(committed uint64) deadCount {
	count := d.stored()
	var value []byte
	for _, key := range d.store.Keys("") { // sorted, so by offset
		if key == deadCountKey {
			continue
		}
		v, _, err := d.store.Get(key, value[:0])
		value = v
		if err == nil && len(key) != 8 {
			err = errBadDeadLetter
		}
		var l DeadLetter
		if err == nil {
			err = decodeDeadLetter(value, &l)
		}
		if err != nil {
			// Nothing of it is known any more, and it was counted as dead when it was put here.
			d.log.Warn("a dead letter is unreadable and is discarded", "error", err)
			count.discarded++
			d.batch.Delete(key)
			continue
		}
		offset := binary.BigEndian.Uint64([]byte(key))
		if offset > committed {
			d.batch.Delete(key)
			continue
		}
		e := entryOf(&l, len(value))
		e.offset = offset
		d.letters = append(d.letters, e)
		d.use.add(&e)
	}
	return count
}

// entryOf is what is in memory of a dead letter that is encoded to so many bytes.
func entryOf(l *DeadLetter, size int) deadEntry {
	return deadEntry{
		offset: l.Offset, entity: l.Entity, size: uint32(store.PutSize(8, size)), kind: l.Kind, action: l.Action,
		tries: uint8(min(max(l.Tries, 0), math.MaxUint8)), resting: l.Resting, pinned: l.Pinned, class: l.Class,
	}
}

// commit makes the batch durable, with the deletion of gone and the counters in it, and then
// updates memory: gone leaves, puts come.
func (d *DeadLog) commit(count deadCount, gone []deadEntry, puts ...deadEntry) error {
	for _, e := range gone {
		d.batch.Delete(deadKey(e.offset))
	}
	if count != d.count {
		v := binary.BigEndian.AppendUint64(nil, count.delivered)
		d.batch.Put(deadCountKey, binary.BigEndian.AppendUint64(v, count.discarded))
	}
	err := d.store.Apply(&d.batch)
	d.batch.Reset()
	if err != nil {
		return err
	}
	d.count = count
	for _, e := range gone {
		if i, ok := d.find(e.offset); ok {
			d.use.remove(&d.letters[i])
			d.letters[i].size = 0 // no dead letter has this size
		}
	}
	if len(gone) > 0 {
		d.letters = slices.DeleteFunc(d.letters, func(e deadEntry) bool { return e.size == 0 })
	}
	for k := range puts {
		put := &puts[k]
		i, ok := d.find(put.offset)
		if ok {
			d.use.remove(&d.letters[i])
			d.letters[i] = *put
		} else {
			d.letters = append(d.letters, *put)
			copy(d.letters[i+1:], d.letters[i:])
			d.letters[i] = *put
		}
		d.use.add(put)
	}
	return nil
}

func (d *DeadLog) find(offset uint64) (int, bool) {
	return slices.BinarySearchFunc(d.letters, offset, func(e deadEntry, o uint64) int {
		return cmp.Compare(e.offset, o)
	})
}

// Put stores a dead letter durably; one with the same offset is replaced. When the bound is reached
// older ones of its class are discarded and counted in the same write (DeadClass). A dead letter
// that does not fit beside the shares of the other classes is counted as discarded and not kept.
func (d *DeadLog) Put(l DeadLetter) error {
	if len(l.Fragment) > MaxFragment {
		return fmt.Errorf("%w: dead letter of %d bytes", ErrTooLarge, len(l.Fragment))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.Class = l.class()
	d.value = appendDeadLetter(d.value[:0], &l)
	put := entryOf(&l, len(d.value))
	use := d.use
	use.add(&put)
	var old []deadEntry
	if i, ok := d.find(l.Offset); ok {
		use.remove(&d.letters[i])
		old = d.letters[i : i+1 : i+1]
	}
	count := d.count
	gone, ok := d.overflow(use, []uint64{l.Offset})
	if !ok {
		count.discarded++
		err := d.commit(count, slices.Clone(old))
		if err == nil {
			d.gap.add(Gap{Events: 1, First: l.Time, Last: l.Time, Why: WhyDead})
		}
		return err
	}
	count.discarded += uint64(len(gone))
	gap := d.survey(gone)
	d.batch.Put(deadKey(l.Offset), d.value)
	err := d.commit(count, gone, put)
	if err == nil {
		d.gap.add(gap)
	}
	if cap(d.value) > 64<<10 {
		d.value = nil
	}
	return err
}

// survey reads the times of dead letters that are about to be discarded; one that cannot be read
// leaves them unknown.
func (d *DeadLog) survey(gone []deadEntry) (g Gap) {
	var value []byte
	for _, e := range gone {
		v, ok, err := d.store.Get(deadKey(e.offset), value[:0])
		value = v
		var l DeadLetter
		if err == nil && ok {
			_ = decodeDeadLetter(value, &l)
		}
		g.add(Gap{Events: 1, First: l.Time, Last: l.Time, Why: WhyDead})
	}
	return g
}

// TakeGap returns what the bound has discarded since TakeGap was called last, or since the log was
// opened.
func (d *DeadLog) TakeGap() Gap {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.gap
	d.gap = Gap{}
	return g
}

// Remove forgets a dead letter durably, and counts it as delivered or discarded. One that is not
// there is not counted.
func (d *DeadLog) Remove(offset uint64, delivered bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.find(offset)
	if !ok {
		return nil
	}
	count := d.count
	if delivered {
		count.delivered++
	} else {
		count.discarded++
	}
	return d.commit(count, []deadEntry{d.letters[i]})
}

// Get reads one dead letter.
func (d *DeadLog) Get(offset uint64) (DeadLetter, bool, error) {
	var l DeadLetter
	value, ok, err := d.store.Get(deadKey(offset), nil)
	if err == nil && ok {
		l.Offset = offset
		err = decodeDeadLetter(value, &l)
	}
	if err != nil || !ok {
		return DeadLetter{}, false, err
	}
	return l, true, nil
}

// Has reports whether there is a dead letter at offset. It does not touch the medium.
func (d *DeadLog) Has(offset uint64) bool {
	d.mu.Lock()
	_, ok := d.find(offset)
	d.mu.Unlock()
	return ok
}

// Each calls fn for the dead letters in order of their offsets until it returns false. The dead
// letter is valid only until fn returns; fn may put and remove others. One that cannot be read is
// passed over; the error is that of the last such one, at the end.
func (d *DeadLog) Each(fn func(l *DeadLetter) bool) error {
	d.mu.Lock()
	letters := slices.Clone(d.letters)
	d.mu.Unlock()
	var (
		value []byte
		worst error
	)
	for _, e := range letters {
		v, ok, err := d.store.Get(deadKey(e.offset), value[:0])
		value = v
		l := DeadLetter{Offset: e.offset}
		if err == nil && ok {
			err = decodeDeadLetter(value, &l)
		}
		if err != nil {
			worst = fmt.Errorf("wal: dead letter %d: %w", e.offset, err)
			continue
		}
		if ok && !fn(&l) {
			break
		}
	}
	return worst
}

// Stats is a snapshot.
func (d *DeadLog) Stats() DeadStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := DeadStats{
		Letters: len(d.letters), Delivered: d.count.delivered, Discarded: d.count.discarded, Bytes: d.use.sum().Bytes,
		Classes: d.use,
	}
	for _, e := range d.letters {
		if e.resting {
			st.Resting++
		}
		if e.pinned {
			st.Pinned++
		}
	}
	return st
}

// Meter has what is written from now on go to m.
func (d *DeadLog) Meter(m disk.Meter) { d.store.Meter(m) }

// Room is what the dead letters of a class may take without using what is there for others.
func (d *DeadLog) Room(class DeadClass) DeadShare { return DeadRoom(class, d.maxBytes) }

// Use is what the dead letters of a class take.
func (d *DeadLog) Use(class DeadClass) DeadShare {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.use[class%deadClasses]
}

// Close releases the log.
func (d *DeadLog) Close() error { return d.store.Close() }

// class is the class that counts: what others depend on is a creation.
func (l *DeadLetter) class() DeadClass {
	if l.Pinned || l.Class >= deadClasses {
		return DeadCreation
	}
	return l.Class
}

func deadKey(offset uint64) string {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], offset)
	return string(k[:])
}

func appendDeadLetter(p []byte, l *DeadLetter) []byte {
	var flags byte
	if l.Resting {
		flags |= deadResting
	}
	if l.Pinned {
		flags |= deadPinned
	}
	switch l.Class {
	case DeadNever:
		flags |= deadNever
	case DeadCreation:
		flags |= deadCreation
	}
	reason := l.Reason[:min(len(l.Reason), MaxReason)]
	p = append(p, deadVersion, flags, l.Kind, l.Action)
	p = append(p, l.Entity[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(l.Time))
	p = binary.LittleEndian.AppendUint64(p, uint64(l.At.UnixMilli()))
	p = binary.LittleEndian.AppendUint32(p, uint32(min(max(l.Tries, 0), math.MaxInt32)))
	p = binary.LittleEndian.AppendUint16(p, uint16(len(reason)))
	p = append(p, reason...)
	return append(p, l.Fragment...)
}

// wakeDeadLetter changes an encoded dead letter to one that does not rest and was not tried.
func wakeDeadLetter(p []byte) {
	p[1] &^= deadResting
	binary.LittleEndian.PutUint32(p[36:], 0)
}

// decodeDeadLetter fills all of l but its offset. The fragment lies in p.
func decodeDeadLetter(p []byte, l *DeadLetter) error {
	if len(p) < deadFixed || p[0] != deadVersion {
		return errBadDeadLetter
	}
	l.Resting, l.Pinned = p[1]&deadResting != 0, p[1]&deadPinned != 0
	l.Class = DeadRefused
	switch {
	case p[1]&deadNever != 0:
		l.Class = DeadNever
	case p[1]&deadCreation != 0:
		l.Class = DeadCreation
	}
	l.Class = l.class() // before there were classes creations were pinned
	l.Kind, l.Action = p[2], p[3]
	l.Entity = [16]byte(p[4:20])
	l.Time = int64(binary.LittleEndian.Uint64(p[20:]))
	l.At = time.UnixMilli(int64(binary.LittleEndian.Uint64(p[28:]))).UTC()
	tries := binary.LittleEndian.Uint32(p[36:])
	n := int(binary.LittleEndian.Uint16(p[40:]))
	if tries > math.MaxInt32 || n > len(p)-deadFixed {
		return errBadDeadLetter
	}
	l.Tries = int(tries)
	l.Reason = string(p[deadFixed : deadFixed+n])
	l.Fragment = p[deadFixed+n:]
	return nil
}
