package wal

import "fmt"

// reviveBytes bounds in bytes the dead letters that are rewritten in one batch.
const reviveBytes = 1 << 20

// Discard forgets, durably and in one write, the dead letters whose offsets the function which
// picks, and counts them as discarded. It returns how many there were.
func (d *DeadLog) Discard(which func(offset uint64) bool) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := d.picked(which)
	count := d.count
	count.discarded += uint64(len(gone))
	return d.forget(count, gone)
}

// picked is the dead letters whose offsets the function which picks. The caller holds mu.
func (d *DeadLog) picked(which func(offset uint64) bool) (picked []deadEntry) {
	for _, e := range d.letters {
		if which(e.offset) {
			picked = append(picked, e)
		}
	}
	return picked
}

// forget writes that dead letters are gone, with the count that says what became of them. It
// returns how many there were; without any it writes nothing. The caller holds mu.
func (d *DeadLog) forget(count deadCount, gone []deadEntry) (int, error) {
	if len(gone) == 0 {
		return 0, nil
	}
	if err := d.commit(count, gone); err != nil {
		return 0, err
	}
	return len(gone), nil
}

// Revive wakes the dead letters whose offsets the function which picks: they no longer rest, and no
// tries count. It returns how many there were; with an error, how many of them are durably awake.
// One that cannot be read is passed over.
func (d *DeadLog) Revive(which func(offset uint64) bool) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var woken []int // indexes into letters of what is in the batch
	apply := func() error {
		err := d.store.Apply(&d.batch)
		d.batch.Reset()
		if err != nil {
			return err
		}
		for _, i := range woken {
			d.letters[i].resting, d.letters[i].tries = false, 0
		}
		n += len(woken)
		woken = woken[:0]
		return nil
	}
	for i, e := range d.letters {
		if !which(e.offset) {
			continue
		}
		value, ok, err := d.store.Get(deadKey(e.offset), d.value[:0])
		d.value = value
		var l DeadLetter
		if err != nil || !ok || decodeDeadLetter(value, &l) != nil {
			continue
		}
		if len(woken) > 0 && d.batch.Size()+len(value) > reviveBytes {
			if err := apply(); err != nil {
				return n, err
			}
		}
		wakeDeadLetter(value)
		d.batch.Put(deadKey(e.offset), value)
		woken = append(woken, i)
	}
	err = apply()
	if cap(d.value) > 64<<10 {
		d.value = nil
	}
	return n, err
}

// Deliver forgets, durably and in one write, the dead letters whose offsets the function which
// picks, and counts them as delivered. It returns how many there were.
func (d *DeadLog) Deliver(which func(offset uint64) bool) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := d.picked(which)
	count := d.count
	count.delivered += uint64(len(gone))
	return d.forget(count, gone)
}

// Release forgets, durably and in one write, the dead letters whose offsets the function which
// picks, and counts nothing: they are kept elsewhere now. It returns how many there were.
func (d *DeadLog) Release(which func(offset uint64) bool) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.forget(d.count, d.picked(which))
}

// waitingTogether is how many dead letters Waiting takes note of at a time.
const waitingTogether = 64

// Waiting calls fn for the dead letters that do not rest, from the offset from on and in order,
// until it returns false. What rests is not read. Else it is as Each, but for its cost: that of the
// dead letters that fn gets.
func (d *DeadLog) Waiting(from uint64, fn func(l *DeadLetter) bool) error {
	var (
		offsets [waitingTogether]uint64
		value   []byte
		worst   error
	)
	for {
		n := 0
		d.mu.Lock()
		i, _ := d.find(from)
		for ; i < len(d.letters) && n < len(offsets); i++ {
			if !d.letters[i].resting {
				offsets[n] = d.letters[i].offset
				n++
			}
		}
		d.mu.Unlock()
		for _, offset := range offsets[:n] {
			v, ok, err := d.store.Get(deadKey(offset), value[:0])
			value = v
			l := DeadLetter{Offset: offset}
			if err == nil && ok {
				err = decodeDeadLetter(value, &l)
			}
			if err != nil {
				worst = fmt.Errorf("wal: dead letter %d: %w", offset, err)
				continue
			}
			if ok && !fn(&l) {
				return worst
			}
		}
		if n < len(offsets) {
			return worst
		}
		from = offsets[n-1] + 1
	}
}

// DeadEntry is what is in memory of a dead letter.
type DeadEntry struct {
	Offset  uint64
	Entity  [16]byte
	Kind    uint8
	Action  uint8
	Tries   int // as in the log, up to 255
	Resting bool
	Pinned  bool
	Class   DeadClass
	Size    int64 // bytes of the bound that it takes, more than those of its fragment
}

// Entries calls fn for the dead letters in order of their offsets until it returns false. It reads
// nothing from the medium. fn must not call methods of d; the entry is valid only until it returns.
func (d *DeadLog) Entries(fn func(e *DeadEntry) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out DeadEntry
	for i := range d.letters {
		e := &d.letters[i]
		out = DeadEntry{
			Offset: e.offset, Entity: e.entity, Kind: e.kind, Action: e.action, Tries: int(e.tries),
			Resting: e.resting, Pinned: e.pinned, Class: e.class, Size: int64(e.size),
		}
		if !fn(&out) {
			return
		}
	}
}

// PutAll is Put for dead letters in order of their offsets, all or none, with one write and one
// fsync where all of them fit into the log together. They may take at most store.MaxBatch.
func (d *DeadLog) PutAll(letters []DeadLetter) error {
	done, err := d.putTogether(letters)
	for i := 0; i < len(letters) && err == nil && !done; i++ {
		err = d.Put(letters[i])
	}
	return err
}

// putTogether is PutAll; not done: they do not fit together, and nothing was written.
func (d *DeadLog) putTogether(letters []DeadLetter) (done bool, err error) {
	if len(letters) == 0 {
		return true, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	use, puts, spare := d.use, make([]deadEntry, 0, len(letters)), make([]uint64, 0, len(letters))
	defer d.batch.Reset()
	for i := range letters {
		l := &letters[i]
		if len(l.Fragment) > MaxFragment {
			return false, fmt.Errorf("%w: dead letter of %d bytes", ErrTooLarge, len(l.Fragment))
		}
		l.Class = l.class()
		d.value = appendDeadLetter(d.value[:0], l)
		put := entryOf(l, len(d.value))
		use.add(&put)
		if k, ok := d.find(l.Offset); ok {
			use.remove(&d.letters[k])
		}
		d.batch.Put(deadKey(l.Offset), d.value)
		puts, spare = append(puts, put), append(spare, l.Offset)
	}
	if cap(d.value) > 64<<10 {
		d.value = nil
	}
	gone, ok := d.overflow(use, spare)
	if !ok {
		return false, nil
	}
	count := d.count
	count.discarded += uint64(len(gone))
	gap := d.survey(gone)
	if err := d.commit(count, gone, puts...); err != nil {
		return false, err
	}
	d.gap.add(gap)
	return true, nil
}
