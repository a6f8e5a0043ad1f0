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
	if err := d.commit(count, gone, nil); err != nil {
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
			d.letters[i].resting = false
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
