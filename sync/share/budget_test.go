package share

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a budget of 100 bytes in a bubble.
type rig struct {
	*testing.T
	*Budget
}

func bubble(t *testing.T, fn func(r rig)) {
	synctest.Test(t, func(t *testing.T) { fn(rig{t, New(100)}) })
}

func (r rig) open(owner byte) *Pass {
	p := new(Pass)
	r.Open(p, Owner{owner}, nil)
	return p
}

// counter counts how often it is cut.
type counter int

func (c *counter) Cut() { *c++ }

// grow expects a pass to get its bytes after a time, or an error.
func (r rig) grow(p *Pass, held int, after time.Duration, want error) {
	r.Helper()
	if waited, err := p.Grow(held, nil); waited != after || !errors.Is(err, want) {
		r.Errorf("%d bytes: %v after %v, want %v after %v", held, err, waited, want, after)
	}
	if r.Used() > 100 {
		r.Errorf("%d bytes are held", r.Used())
	}
}

func TestOneOfManyGivesWay(t *testing.T) {
	bubble(t, func(r rig) {
		var hostile [10]Pass
		var cut counter
		for i := range hostile {
			r.Open(&hostile[i], Owner{1}, &cut)
			r.grow(&hostile[i], 10, 0, nil)
		}
		honest := r.open(2)
		r.grow(honest, 15, 0, nil)
		for i := range hostile {
			p := &hostile[i]
			if p.Evicted() != (i >= 8) {
				r.Errorf("pass %d: evicted %v", i, p.Evicted())
			}
		}
		if err := hostile[9].Moved(1); !errors.Is(err, ErrEvicted) || cut != 2 {
			r.Errorf("%v, %d cut", err, cut)
		}
		if err := hostile[0].Moved(1); err != nil {
			r.Error(err)
		}
		for i := range hostile {
			hostile[i].Close()
			hostile[i].Close()
		}
		honest.Close()
		if r.Used() != 0 || len(r.passes) != 0 {
			r.Errorf("%d bytes and %d passes are left", r.Used(), len(r.passes))
		}
	})
}

func TestTheSlowGiveWay(t *testing.T) {
	bubble(t, func(r rig) {
		slow, fast := r.open(1), r.open(2)
		r.grow(slow, 50, 0, nil)
		r.grow(fast, 50, 0, nil)
		time.Sleep(2 * Grace)
		_ = fast.Moved(2 * Rate * 2)
		r.grow(r.open(3), 50, 0, nil)
		if !slow.Evicted() || fast.Evicted() {
			r.Errorf("evicted: the slow one %v, the fast one %v", slow.Evicted(), fast.Evicted())
		}
	})
}

// A transfer that stops gives way as soon as that shows.
func TestNobodyWaitsLongForTheSlow(t *testing.T) {
	bubble(t, func(r rig) {
		for owner := range byte(10) {
			p := r.open(owner)
			r.grow(p, 10, 0, nil)
			_ = p.Moved(10)
		}
		r.grow(r.open(99), 10, Grace+recheck, nil)
	})
}

// While we are the reason nobody is evicted, and nobody's time runs.
func TestOurTimeDoesNotCount(t *testing.T) {
	bubble(t, func(r rig) {
		done, waiting := r.open(1), r.open(2)
		r.grow(done, 60, 0, nil)
		r.grow(waiting, 40, 0, nil)
		if err := done.Ours(); err != nil {
			r.Fatal(err)
		}
		time.AfterFunc(8*time.Second, done.Close)
		_ = waiting.Moved(5)
		r.grow(waiting, 50, 8*time.Second, nil)
		time.Sleep(time.Second)
		if other := r.open(3); true {
			r.grow(other, 50, 0, nil)
			r.grow(other, 51, Grace-time.Second+recheck, nil) // the 8 s did not count, the rest does
		}
		if !waiting.Evicted() || done.Evicted() {
			r.Error("another one gave way")
		}
	})
}

func TestPatience(t *testing.T) {
	bubble(t, func(r rig) {
		p := r.open(1)
		r.grow(p, 100, 0, nil)
		_ = p.Ours()
		late := r.open(2)
		r.grow(late, 1, Patience, ErrFull)
		r.grow(late, 1, 0, ErrFull) // in all
		r.grow(late, 101, 0, ErrFull)
		gone := make(chan struct{})
		close(gone)
		if waited, err := r.open(3).Grow(1, gone); waited != 0 || !errors.Is(err, ErrFull) {
			r.Errorf("%v after %v", err, waited)
		}
	})
}

// Honest transfers that need more than there is do not wait for each other for ever: the oldest
// goes on.
func TestTheOldestGoesOn(t *testing.T) {
	bubble(t, func(r rig) {
		first, second := r.open(1), r.open(2)
		r.grow(first, 50, 0, nil)
		r.grow(second, 50, 0, nil)
		waits := make(chan error, 1)
		go func() {
			_, err := second.Grow(60, nil)
			waits <- err
		}()
		synctest.Wait()
		r.grow(first, 60, 0, nil)
		if err := <-waits; !errors.Is(err, ErrEvicted) {
			r.Error(err)
		}
		if r.Used() != 60 {
			r.Errorf("%d bytes are held", r.Used())
		}
	})
}

// Several transfers of one owner go one after another.
func TestManyOfOneOwnerWait(t *testing.T) {
	bubble(t, func(r rig) {
		first, second := r.open(1), r.open(1)
		r.grow(first, 80, 0, nil)
		time.AfterFunc(time.Second, first.Close)
		r.grow(second, 80, time.Second, nil)
		second.Theirs()
		if second.Evicted() {
			r.Error("evicted")
		}
	})
}

// What a large body of a device costs.
func TestATransferAllocatesNothing(t *testing.T) {
	b, p, cut := New(100), new(Pass), new(counter)
	if n := testing.AllocsPerRun(100, func() {
		b.Open(p, Owner{1}, cut)
		if _, err := p.Grow(10, nil); err != nil {
			t.Fatal(err)
		}
		_ = p.Moved(10)
		_ = p.Ours()
		p.Close()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
