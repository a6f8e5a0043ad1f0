package guess

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var attacker, elsewhere = Address("192.0.2.1:99"), Address("192.0.2.2:99")

// rig counts what becomes of attempts.
type rig struct {
	*testing.T
	*Limiter
}

// try makes an attempt that is right or wrong, and returns how long it took to be judged.
func (r rig) try(from netip.Prefix, secret string, right bool) (time.Duration, error) {
	began := time.Now()
	a, err := r.Begin(r.Context(), from, r.Secret("token", secret))
	switch {
	case err != nil:
	case right:
		a.Right([16]byte([]byte(fmt.Sprintf("%-16s", secret))))
	default:
		a.Wrong()
	}
	return time.Since(began), err
}

func (r rig) expect(what string, from netip.Prefix, secret string, right bool, want time.Duration, wantErr error) {
	r.Helper()
	if took, err := r.try(from, secret, right); took != want || !errors.Is(err, wantErr) {
		r.Errorf("%s: %v after %v, want %v after %v", what, err, took, wantErr, want)
	}
}

func bubble(t *testing.T, l func() *Limiter, fn func(r rig)) {
	synctest.Test(t, func(t *testing.T) { fn(rig{t, l()}) })
}

// A restart brings all devices behind one address at the same moment: right ones are judged at
// once, however many are being judged; wrong ones use up the burst as ever.
func TestManyDevicesOfOneAddress(t *testing.T) {
	for _, right := range []bool{true, false} {
		bubble(t, New, func(r rig) {
			var begun []Attempt
			for n := range Burst {
				a, err := r.Begin(r.Context(), attacker, r.Secret("token", fmt.Sprint("held", n)))
				if err != nil {
					t.Fatal(err)
				}
				begun = append(begun, a)
			}
			var wg sync.WaitGroup
			var atOnce, refused atomic.Int64
			for n := range 90 {
				wg.Go(func() {
					switch took, err := r.try(attacker, fmt.Sprint("device", n), right); {
					case err != nil:
						refused.Add(1)
					case took == 0:
						atOnce.Add(1)
					}
				})
			}
			synctest.Wait()
			if got := atOnce.Load() + refused.Load(); got != 0 {
				t.Errorf("%d attempts did not wait for those that are being judged", got)
			}
			for n := range begun {
				if right {
					begun[n].Right([16]byte{byte(n)})
				} else {
					begun[n].Wrong()
				}
			}
			wg.Wait()
			want, wantRefused := int64(90), int64(0)
			if !right {
				want, wantRefused = 0, 90-OfAddress
			}
			if atOnce.Load() != want || refused.Load() != wantRefused {
				t.Errorf("right %v: %d judged at once, %d refused; want %d, %d", right, atOnce.Load(), refused.Load(), want, wantRefused)
			}
		})
	}
}

// 4,000 guesses a second for three seconds: what is judged is the burst and what was delayed.
func TestNoMoreAreJudgedThanAreDelayed(t *testing.T) {
	bubble(t, New, func(r rig) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		atOnce, late, refused := 0, 0, 0
		for n := range 12000 {
			wg.Go(func() {
				took, err := r.try(attacker, fmt.Sprint("guess", n), false)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					refused++
				case took == 0:
					atOnce++
				case took == Delay:
					late++
				}
			})
			time.Sleep(time.Second / 4000)
		}
		wg.Wait()
		if atOnce != Burst || late != 3*OfAddress || atOnce+late+refused != 12000 {
			r.Errorf("judged %d at once and %d late, refused %d", atOnce, late, refused)
		}
	})
}

// Attempts at the same time are all counted before the first of them is judged.
func TestManyAtOnceAreCounted(t *testing.T) {
	bubble(t, NewStrict, func(r rig) {
		judged := 0
		for range 100 {
			if _, err := r.BeginAs(attacker, r.Secret("user", "root")); err == nil {
				judged++
			}
		}
		if judged != Burst {
			r.Errorf("%d are judged before one of them was wrong", judged)
		}
	})
}

func TestRightOnesAreNotHeldUp(t *testing.T) {
	bubble(t, New, func(r rig) {
		r.expect("the first time", attacker, "lamp", true, 0, nil)
		for n := range Burst {
			r.expect("a guess", attacker, fmt.Sprint("guess", n), false, 0, nil)
		}
		r.expect("a guess beyond", attacker, "guess", false, Delay, nil)
		ctx, cancel := context.WithCancel(r.Context())
		var wg sync.WaitGroup
		for range OfAddress {
			wg.Go(func() { _, _ = r.Begin(ctx, attacker, r.Secret("token", "guess")) })
		}
		synctest.Wait()
		r.expect("a crowd", attacker, "guess", false, 0, ErrTooMany)
		r.expect("right lately", attacker, "lamp", true, 0, nil)
		r.expect("right, but not here", attacker, "pump", true, 0, ErrTooMany)
		r.expect("elsewhere", elsewhere, "guess", false, 0, nil)
		for range 3 {
			r.expect("elsewhere", elsewhere, "pump", true, 0, nil)
		}
		cancel()
		wg.Wait()
		r.expect("the crowd has left", attacker, "pump", true, Delay, nil)
		r.expect("right since", attacker, "pump", true, 0, nil)
		time.Sleep(Every)
		r.expect("after a while", attacker, "guess", false, 0, nil)
		r.expect("once", attacker, "guess", false, Delay, nil)
	})
}

// A secret that is right no more is a guess like any other from then on.
func TestRevokedSecretsAreForgotten(t *testing.T) {
	bubble(t, New, func(r rig) {
		r.expect("right", attacker, "lamp", true, 0, nil)
		for range Burst {
			r.expect("revoked", attacker, "lamp", false, 0, nil)
		}
		r.expect("revoked", attacker, "lamp", false, Delay, nil)
	})
}

func TestLatelyIsADay(t *testing.T) {
	bubble(t, New, func(r rig) {
		r.expect("right", attacker, "lamp", true, 0, nil)
		r.expect("right", attacker, "pump", true, 0, nil)
		time.Sleep(24 * time.Hour)
		for n := range Burst {
			r.expect("a guess", attacker, fmt.Sprint("guess", n), false, 0, nil)
		}
		r.expect("a day later", attacker, "lamp", true, 0, nil)
		time.Sleep(2 * time.Minute)
		for n := range Burst {
			r.expect("a guess", attacker, fmt.Sprint("guess", n), false, 0, nil)
		}
		r.expect("more than a day later", attacker, "pump", true, Delay, nil)
	})
}

// All waiting places taken from eight addresses hold up no address that made no guesses.
func TestAddressesDoNotHoldUpOthers(t *testing.T) {
	bubble(t, New, func(r rig) {
		var wg sync.WaitGroup
		for i := range 100 {
			from := Address(fmt.Sprintf("10.0.0.%d:1", i))
			for range Burst + OfAddress {
				wg.Go(func() { _, _ = r.try(from, "guess", false) })
			}
		}
		synctest.Wait()
		r.expect("in the crowd", Address("10.0.0.99:1"), "new", true, 0, ErrTooMany)
		r.expect("elsewhere", elsewhere, "new", true, 0, nil)
		wg.Wait()
	})
}

func TestMemoryOfAddressesIsBounded(t *testing.T) {
	bubble(t, New, func(r rig) {
		r.expect("right lately", Address("[2001:db8:2::1]:1"), "lamp", true, 0, nil)
		judged := 0
		for i := range 10 * Addresses {
			if a, err := r.Begin(canceled(), Address(fmt.Sprintf("10.%d.%d.%d:99", i>>16, i>>8&255, i&255)), 1); err == nil {
				a.Wrong()
				judged++
			}
		}
		if len(r.full) > Addresses+1 || judged != Addresses+Burst {
			r.Errorf("%d addresses remembered, %d judged", len(r.full), judged)
		}
		r.expect("right lately", Address("[2001:db8:2::2]:2"), "lamp", true, 0, nil)
		time.Sleep(time.Hour)
		for i := range Burst { // one host of IPv6 has 2^64 addresses
			r.expect("of a network", Address(fmt.Sprintf("[2001:db8::%x]:1", i)), "guess", false, 0, nil)
		}
		r.expect("of a network", Address("[2001:db8::9999]:1"), "guess", false, Delay, nil)
		if len(r.full) > 2 || len(r.delayed) != 0 || r.waits != 0 {
			r.Errorf("left: %d addresses, %d that wait", len(r.full), r.waits)
		}
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// One device with endless secrets pushes its own out of the memory, and nobody else's.
func TestMemoryOfSecretsIsBounded(t *testing.T) {
	bubble(t, New, func(r rig) {
		add := func(owner byte, secret string) {
			a, err := r.Begin(canceled(), elsewhere, r.Secret("token", secret))
			if err != nil {
				r.Fatal(err)
			}
			a.Right([16]byte{owner})
		}
		for n := range 200 {
			add(byte(n), fmt.Sprint("of", n))
		}
		for n := range 10000 {
			add(255, fmt.Sprint("more", n))
		}
		for n := range 200 {
			if a, _ := r.Begin(canceled(), elsewhere, r.Secret("token", fmt.Sprint("of", n))); !a.Known {
				r.Errorf("secret %d is forgotten", n)
			}
		}
		used := 0
		for _, e := range r.right.entries {
			if e.at != 0 {
				used++
			}
		}
		if used != 200+ofOwner || len(r.right.entries) != sets*ways {
			r.Errorf("%d of %d entries are used", used, len(r.right.entries))
		}
	})
}

// A name that is known at an address has its own count there.
func TestNamesHaveTheirOwnCount(t *testing.T) {
	bubble(t, NewStrict, func(r rig) {
		login := func(name string, right bool) error {
			a, err := r.BeginAs(attacker, r.Secret("user", name))
			switch {
			case err != nil:
			case right:
				a.Right([16]byte([]byte(fmt.Sprintf("%-16s", name))))
			default:
				a.Wrong()
			}
			return err
		}
		if err := login("root", true); err != nil {
			r.Fatal(err)
		}
		for range Burst {
			if err := login("nobody", false); err != nil {
				r.Fatal(err)
			}
		}
		if err := login("nobody", false); !errors.Is(err, ErrTooMany) {
			r.Errorf("another name: %v", err)
		}
		for n := range Burst + 5 {
			if err := login("root", false); (err == nil) != (n < Burst) {
				r.Errorf("guess %d at the name: %v", n, err)
			}
		}
		if err := login("root", true); !errors.Is(err, ErrTooMany) {
			r.Errorf("the name behind guesses at it: %v", err)
		}
		time.Sleep(Every)
		if err := login("root", true); err != nil {
			r.Errorf("after a while: %v", err)
		}
	})
}

// What every request of a device costs.
func TestRightAllocatesNothing(t *testing.T) {
	l, ctx, owner := New(), t.Context(), [16]byte{1}
	if n := testing.AllocsPerRun(100, func() {
		a, err := l.Begin(ctx, elsewhere, l.Secret("token", "A1B2C3D4E5F6G7H8I9J0"))
		if err != nil {
			t.Fatal(err)
		}
		a.Right(owner)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.7:99":           "10.0.0.7/32",
		"[2001:db8:1:2:3::4]:9": "2001:db8:1:2::/64", "[::ffff:10.0.0.7]:9": "10.0.0.7/32",
		"[fe80::1%eth0]:9": "fe80::/64", "odd": "invalid Prefix",
	} {
		if got := Address(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
