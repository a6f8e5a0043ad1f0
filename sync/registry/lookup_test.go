package registry_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"edgesync/sync/registry"
)

func TestLookupAllocatesNothing(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1")))
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := r.ByToken("t1"); !ok {
			t.Error("not found")
		}
		r.ByToken("unknown")
		r.ByID(id(1))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, ok := r.ByToken(strings.Repeat("x", 1<<20)); ok {
		t.Error("a huge token was found")
	}
}

// Tokens are looked up by the first 16 bytes of SHA-256 over a key of this process and the token:
// of one length whatever the token's, and not predictable, so that the time of a look-up says
// nothing of the tokens that are known. Nothing is compared before that.
func TestTokensAreFoundByAKeyedDigest(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "token-of-a"), creds(2, "ACCESS_TOKEN", "token-of-b-which-is-longer")))
	first := r.Digests()
	if len(first) != 2 {
		t.Fatalf("%d digests for two tokens", len(first))
	}
	key := r.DigestKey()
	for _, token := range []string{"token-of-a", "token-of-b-which-is-longer"} {
		sum := sha256.Sum256(append(key[:], token...))
		if !slices.Contains(first, [16]byte(sum[:16])) {
			t.Errorf("%s is not found by its keyed digest", token)
		}
	}
	for _, token := range []string{"token-of-", "token-of-a ", "token-of-b", "Token-of-a", ""} {
		if d, ok := r.ByToken(token); ok {
			t.Errorf("%q found %s", token, d.Name)
		}
	}
	r.Close()
	r = open(t, dir)
	if _, ok := r.ByToken("token-of-a"); !ok {
		t.Error("not found after a restart")
	}
	for _, d := range r.Digests() {
		if slices.Contains(first, d) {
			t.Error("a digest is the same after a restart")
		}
	}
}

// A look-up costs the same however many devices there are.
func BenchmarkByToken(b *testing.B) {
	for _, n := range []int{1, 100, 5000, 20_000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			r := open(b, b.TempDir())
			for i := range n {
				m := devices(device(i, fmt.Sprintf("meter-%d", i)))
				m.DeviceCredentialsUpdateMsg = tokens(creds(i, "ACCESS_TOKEN",
					fmt.Sprintf("A1B2C3D4E5F6G7H8%05d", i))).DeviceCredentialsUpdateMsg
				if _, err := r.Apply(m); err != nil {
					b.Fatal(err)
				}
			}
			for _, token := range []string{fmt.Sprintf("A1B2C3D4E5F6G7H8%05d", n-1), "A1B2C3D4E5F6G7H8"} {
				b.Run(fmt.Sprintf("known=%v", len(token) > 16), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, ok := r.ByToken(token); ok != (len(token) > 16) {
							b.Fatal(ok)
						}
					}
				})
			}
		})
	}
}

func TestLookupsWhileApplying(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d, ok := r.ByToken("t"); ok && d.Name != "a" && d.Name != "b" {
					t.Errorf("found %q", d.Name)
					return
				}
				r.ByID(id(1))
				r.Each(func(registry.Device) bool { return true })
				r.Devices()
				r.Counts()
				r.Synced()
			}
		})
	}
	for i := range 100 {
		if _, err := r.Apply(tokens(creds(1+i%2, "ACCESS_TOKEN", "t"))); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if got := state(r, "t"); got != "a/default//NONE b/default//ACCESS_TOKEN t=b" {
		t.Error(got)
	}
}
