package rest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"edgesync/sync/rest"
)

// A visitor is who is logged in; a customer's user sees what is the customer's.
func TestVisitor(t *testing.T) {
	r := newRig(t)
	for name, admin := range map[string]bool{root: true, ours: false} {
		q := httptest.NewRequest("GET", "/", nil)
		q.Header.Set("X-Authorization", "Bearer "+r.token(name))
		v, ok := r.api.(*rest.Handler).Visitor(q)
		if !ok || !strings.EqualFold(v.Name, name) || v.Admin != admin {
			t.Fatalf("%s: %+v, %v", name, v, ok)
		}
		for n, sees := range map[int]bool{meter: true, hall: true, lamp: admin, 99: admin} {
			if v.Sees(id(n)) != sees {
				t.Errorf("%s sees %d: %v", name, n, !sees)
			}
		}
	}
	q := httptest.NewRequest("GET", "/", nil)
	if v, ok := r.api.(*rest.Handler).Visitor(q); ok {
		t.Errorf("nobody: %+v", v)
	}
}

// A password is not taken where it can be read on its way.
func TestOverheard(t *testing.T) {
	for from, want := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "192.168.1.5:1": false, "10.9.8.7:1": false, "[fd00::1]:1": false,
		"[fe80::1%eth0]:1":      false,
		"[::ffff:172.16.0.1]:1": false, "8.8.8.8:1": true, "100.64.0.1:1": true, "[2001:db8::1]:1": true, "": true, "@": true,
	} {
		q := httptest.NewRequest("POST", "/api/auth/login", nil)
		q.RemoteAddr = from
		if got := rest.Overheard(q, false); got != want {
			t.Errorf("from %q: %v", from, got)
		}
		if rest.Overheard(q, true) {
			t.Errorf("from %q over TLS", from)
		}
	}
}
