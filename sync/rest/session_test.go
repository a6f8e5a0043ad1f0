package rest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/proto"
	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

// A login of an unknown user costs what a login of a known one does.
func TestNobodysHashIsCompared(t *testing.T) {
	if cost, err := bcrypt.Cost([]byte(nobody)); err != nil || cost != bcrypt.DefaultCost {
		t.Errorf("cost %d, %v", cost, err)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(nobody), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Error(err)
	}
}

func TestSessionsExpire(t *testing.T) {
	s := newSessions()
	u := &registry.User{ID: proto.UUID{1}, Hash: "h"}
	now := time.Now()
	token, refresh := s.begin(u, now)
	find := func(token string, renew bool, after time.Duration) string {
		o, expired := s.find(token, renew, now.Add(after))
		return fmt.Sprint(o != nil, expired)
	}
	for _, c := range []struct {
		token string
		renew bool
		after time.Duration
		want  string
	}{
		{token, false, tokenLife - 1, "true false"},
		{token, false, tokenLife, "false true"},
		{refresh, false, 0, "false false"},
		{token, true, 0, "false false"},
		{refresh, true, tokenLife, "true false"},
		{refresh, true, refreshLife, "false true"},
		{refresh, true, 0, "false false"}, // gone for good
	} {
		if got := find(c.token, c.renew, c.after); got != c.want {
			t.Errorf("renew %v after %v: %s, want %s", c.renew, c.after, got, c.want)
		}
	}
	if len(s.byToken)+len(s.byRenew) != 0 {
		t.Error("something is left")
	}
}

// Many users have maxSessions sessions, and the one that was used least lately gives way.
func TestSessionsOfManyUsersAreBounded(t *testing.T) {
	s := newSessions()
	now := time.Now()
	var tokens []string
	for i := range maxSessions + 5 {
		token, _ := s.begin(&registry.User{ID: proto.UUID{byte(i)}, Hash: "h"}, now.Add(time.Duration(i)))
		tokens = append(tokens, token)
	}
	for i, token := range tokens {
		if o, _ := s.find(token, false, now); (o != nil) != (i >= 5) {
			t.Errorf("session %d: %v", i, o != nil)
		}
	}
	if len(s.byToken) != maxSessions || len(s.byRenew) != maxSessions {
		t.Errorf("%d sessions", len(s.byToken))
	}
}

// A crowd of addresses with wrong passwords keeps nobody out: neither who was here lately, nor an
// address that has sent no wrong ones.
func TestChecksOfACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c checks
		address := func(i int) netip.Prefix { return guess.Address(fmt.Sprintf("10.0.0.%d:1", i)) }
		if !c.enter(t.Context(), address(0), 1) {
			t.Fatal("nobody is there")
		}
		go func() { // each check takes a second
			for range 1000 {
				time.Sleep(time.Second)
				c.leave()
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		crowd := func(rank int) {
			for i := range 60 {
				for range 5 {
					go c.enter(ctx, address(i), rank)
				}
			}
			synctest.Wait() // all of it has come
		}
		crowd(3)
		waiting := func() int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.waiting)
		}
		if n := waiting(); n != maxChecks {
			t.Errorf("%d wait", n)
		}
		for rank, who := range []string{"who was here lately", "an address without wrong ones", "with one wrong one"} {
			crowd(3)
			began := time.Now()
			if ok := c.enter(t.Context(), address(100+rank), rank); !ok || time.Since(began) > time.Second {
				t.Errorf("%s: %v after %v", who, ok, time.Since(began))
			}
		}
		// The same address does not take more than its places, but for better ones.
		crowd(3)
		if c.enter(t.Context(), address(0), 3) {
			t.Error("a third one of an address is let in")
		}
		began := time.Now()
		if ok := c.enter(t.Context(), address(0), 0); !ok || time.Since(began) > time.Second {
			t.Errorf("the right one at a bad address: %v after %v", ok, time.Since(began))
		}
		cancel()
		synctest.Wait()
		if n := waiting(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		time.Sleep(1001 * time.Second)
		synctest.Wait()
		if c.busy {
			t.Error("still busy")
		}
	})
}

func TestMatch(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{"GET", "device/x", "device/* [x]"},
		{"POST", "device/credentials", "device/credentials []"},
		{"GET", "device/x/credentials", "device/*/credentials [x]"},
		{"POST", "plugins/telemetry/DEVICE/x/attributes/SERVER_SCOPE", "plugins/telemetry/*/*/attributes/* [DEVICE x SERVER_SCOPE]"},
		{"POST", "plugins/telemetry/DEVICE/x/timeseries/ANY", "plugins/telemetry/*/*/timeseries/* [DEVICE x ANY]"},
		{"POST", "plugins/telemetry/DEVICE/x/SERVER_SCOPE", "plugins/telemetry/*/*/* [DEVICE x SERVER_SCOPE]"},
		{"DELETE", "plugins/telemetry/DEVICE/x/timeseries/delete", "plugins/telemetry/*/*/timeseries/delete [DEVICE x]"},
		{"GET", "alarm/info/x", "alarm/info/* [x]"},
		{"PUT", "device", "allowed POST"},
		{"GET", "device/", "allowed "},
		{"GET", "", "allowed "},
		{"GET", "device/x/credentials/y", "allowed "},
	} {
		r, args, allowed := match(c.method, c.path)
		got := "allowed " + allowed
		if r != nil {
			got = fmt.Sprint(r.path, " ", args)
		}
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func BenchmarkLatestObserve(b *testing.B) {
	l := NewLatest(nil)
	kvs := []proto.KV{
		{Key: []byte("temperature"), Type: proto.KeyValueType_DOUBLE_V, Double: 21.5},
		{Key: []byte("humidity"), Type: proto.KeyValueType_LONG_V, Long: 48},
		{Key: []byte("door"), Type: proto.KeyValueType_BOOLEAN_V, Bool: true},
	}
	id := proto.UUID{1}
	events := []proto.Event{{
		Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, "DEVICE", 1767225600123, kvs),
	}}
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(events)
	}
}
