package rest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/proto"
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

func TestAttemptsAreBounded(t *testing.T) {
	a := attempts{full: map[string]time.Time{}}
	now := time.Now()
	for i := range 5000 {
		a.wrong(fmt.Sprint(i), now)
	}
	if len(a.full) > wrongAddresses+1 {
		t.Errorf("%d addresses", len(a.full))
	}
	if a.allowed("somebody new", now) {
		t.Error("addresses that are counted together are not limited")
	}
	if !a.allowed("0", now) {
		t.Error("an address that is counted by itself suffers for the others")
	}
	if later := now.Add(wrongEvery * 5000); !a.allowed("somebody new", later) {
		t.Error("not forgotten")
	}
	for remote, want := range map[string]string{
		"10.0.0.7:99":           "10.0.0.7/32",
		"[2001:db8:1:2:3::4]:9": "2001:db8:1:2::/64", "[::ffff:10.0.0.7]:9": "10.0.0.7/32", "odd": "",
	} {
		if got := address(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
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
